//! Witnesses of the log. In: what was typed. Out: whom to ask and where. Never here: whether a key is one, which who asks finds out.

use std::collections::HashSet;

use super::{Scene, server};
use crate::config::settings::Scheme;
use crate::config::settings::witness::Witness;
use crate::config::typed::witness::Witness as Typed;

/// Witnesses at most: a checkpoint has room for 64 signatures, and each is asked once a second.
const WITNESSES_MAX: usize = 16;

/// Every witness that was typed, under names of their own.
pub(super) fn witnesses(typed: Option<&[Typed]>, scene: &mut Scene<'_, '_>) -> Vec<Witness> {
    let (typed, mut names) = (typed.unwrap_or_default(), HashSet::new());
    if let Some(name) = typed.get(WITNESSES_MAX).and_then(|witness| witness.name.as_ref()) {
        let message = format!("more than {WITNESSES_MAX} witnesses are named");
        scene.findings.refuse(name.at(), message, "remove some");
    }
    typed.iter().filter_map(|witness| one(witness, &mut names, scene)).collect()
}

fn one<'w>(typed: &'w Typed, names: &mut HashSet<&'w str>, scene: &mut Scene<'_, '_>) -> Option<Witness> {
    // One that lacks something was named as such already.
    let (name, url, key) = (typed.name.as_ref()?, typed.url.as_ref()?, typed.key.as_ref()?);
    if !names.insert(name.value()) {
        let message = format!("two witnesses are called `{}`", name.value().escape_debug());
        scene.findings.refuse(name.at(), message, "give each a name of its own");
    }
    if key.value().matches('+').count() < 2 {
        let message = format!("the key of witness `{}` is not of the form `NAME+ID+KEY`", name.value().escape_debug());
        scene.findings.refuse(key.at(), message, "write what `portcullis witness` tells when it starts");
    }
    let parsed = server::upstream(url, scene)?;
    if parsed.scheme == Scheme::Http && !parsed.authority.is_loopback() {
        // What is sent is signed and public, and so is the answer; a stranger could keep it back, and no more.
        let message = format!("witness `{}` is reached without TLS", name.value().escape_debug());
        scene.findings.warn(url.at(), message, "write `https` unless the way to it is trusted");
    }
    let mut to = server::upstream_url(Some(&parsed));
    to.path = format!("{}/add-checkpoint", parsed.path.trim_end_matches('/')).into_boxed_str();
    Some(Witness { name: name.value().as_str().into(), url: to, key: key.value().as_str().into() })
}
