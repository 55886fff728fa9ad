//! Learns the tools of servers that say `learn = "first-use"` and have no catalogue yet. In: what was read. Out: catalogues, on disk and in
//! what serves. Never here: a tool that was reviewed or learned before; those change by `portcullis tools approve` alone.

use crate::control::Plane;
use crate::history::By;
use crate::learn::client::Client;
use crate::learn::failure::LearnFailure;
use crate::learn::{self, lender};
use crate::reload::{Change, Held};
use crate::spread::EVERY_CORE;
use crate::{disk, secure};
use portcullis_core::config::settings::{Learn, Server};
use portcullis_core::config::snapshot::{Snapshot, Text};
use portcullis_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use portcullis_core::policy::catalogue::Catalogue;
use portcullis_core::token::credential::Lender;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Between two tries: the first soon, because servers often start beside us; then seldom.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a start waits for a server whose tools the rules name.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Tries each such server once.
pub fn learn_all(runtime: &Runtime, held: &mut Held) {
    let waiting: Vec<(usize, Server)> = unlearned(held);
    if waiting.is_empty() {
        return;
    }
    // What is wrong with the secrets is said by the build that follows.
    let Ok(lender) = lender(held.whole()) else { return };
    for (position, server) in waiting {
        match runtime.block_on(learn_one(&server, position, &lender)) {
            Ok(catalogue) => held.learned(position, catalogue),
            Err(why) => {
                tracing::warn!(server = %server.name, %why, "its tools could not be learned; every call to it is refused until they are")
            }
        }
    }
}

fn unlearned(held: &Held) -> Vec<(usize, Server)> {
    let texts = held.texts();
    let servers = texts.settings.servers.iter().zip(&texts.catalogues).enumerate();
    let waiting = servers.filter(|(_, (server, catalogue))| server.learn == Learn::FirstUse && catalogue.is_none());
    waiting.map(|(position, (server, _))| (position, server.clone())).collect()
}

/// Builds what the files say as they are, before anything is opened or written: the first snapshot where no server is to be learned, else
/// nothing yet. What no learning can mend is refused.
pub fn build_unlearned(held: &Held) -> Result<Option<Snapshot>, Diagnostics> {
    match Snapshot::build_after(held.whole(), 0, None, EVERY_CORE) {
        Ok(snapshot) => Ok(unlearned(held).is_empty().then_some(snapshot)),
        Err(findings) if hopeless(held, &findings) => Err(findings),
        Err(_) => Ok(None),
    }
}

/// Whether learning tools can mend none of this: only rules wait for tools.
fn hopeless(held: &Held, findings: &Diagnostics) -> bool {
    let about_rules = |finding: &Diagnostic| {
        finding.severity == Severity::Warning || held.texts().policies.iter().any(|text| text.file == finding.file)
    };
    unlearned(held).is_empty() || !findings.iter().all(about_rules)
}

/// Builds the first snapshot. Where that is refused while a server's tools are not known, the rules may well name those tools, so the
/// start waits for the server for a while: rules that cannot be checked are never served.
pub fn build_or_wait(runtime: &Runtime, held: &mut Held) -> Result<Snapshot, Diagnostics> {
    let until = std::time::Instant::now() + WAIT_MAX;
    loop {
        let findings = match Snapshot::build_after(held.whole(), 0, None, EVERY_CORE) {
            Ok(snapshot) => return Ok(snapshot),
            Err(findings) => findings,
        };
        let waiting = unlearned(held);
        if hopeless(held, &findings) {
            return Err(findings);
        }
        if std::time::Instant::now() >= until {
            return Err(findings.into_iter().chain(waiting.iter().map(|(_, server)| never_answered(server))).collect());
        }
        tracing::warn!(
            servers = waiting.len(),
            "the rules name tools that are not learned yet; waiting for their servers to start"
        );
        runtime.block_on(tokio::time::sleep(RETRY.0 * 4));
        learn_all(runtime, held);
    }
}

fn never_answered(server: &Server) -> Diagnostic {
    let message =
        format!("the tools of server `{}` are not learned yet, so rules that name them cannot be checked", server.name);
    Diagnostic::error(server.catalogue.display().to_string(), None, message)
        .help("start the server first, or copy its catalogue here")
}

/// Tries again until every such server is learned, for as long as the gateway lives.
pub async fn learn_forever(plane: Arc<Plane>) {
    let mut pause = RETRY.0;
    let mut told = Instant::now();
    loop {
        tokio::time::sleep(pause).await;
        let snapshot = plane.shared.snapshot.load_full();
        let mut left = 0;
        for (index, route) in
            snapshot.routes().filter(|(_, route)| route.settings.learn == Learn::FirstUse && !route.learned)
        {
            match learn_one(&route.settings, usize::from(index.0), &snapshot.lender).await {
                Ok(catalogue) => put_in_force(&plane, &route.settings, catalogue).await,
                Err(why) => {
                    left += 1;
                    if told.elapsed() > RETRY.1 {
                        told = Instant::now();
                        tracing::warn!(server = %route.settings.name, %why, "its tools could still not be learned");
                    }
                }
            }
        }
        pause = if left == 0 { RETRY.1 } else { (pause * 2).min(RETRY.1) };
    }
}

async fn put_in_force(plane: &Plane, server: &Server, catalogue: Text) {
    let change = Change::Learned { server: server.name.clone(), catalogue };
    match plane.keeper.change(change, None, By::us()).await {
        Ok(changed) => {
            tracing::info!(server = %server.name, version = changed.version, "its tools are learned and served")
        }
        Err(failure) => {
            tracing::error!(server = %server.name, ?failure, "its tools are learned, but the rules do not load with them")
        }
    }
}

/// Lists the tools and writes the catalogue.
async fn learn_one(server: &Server, position: usize, lender: &Lender) -> Result<Text, String> {
    let said = |failure: LearnFailure| format!("{}; {}", failure.cause(), failure.cure());
    let tls = secure::upstream(server).map_err(|finding| finding.to_string())?;
    let index = u16::try_from(position).unwrap_or(u16::MAX);
    let live = learn::tools(&Client { server, lender, index, tls }, &|_| {}).await.map_err(said)?;
    let learned = Catalogue::learn(&server.name, &live);
    let learned = learned.map_err(|findings| findings.first().map(ToString::to_string).unwrap_or_default())?;
    let file = server.catalogue.display().to_string();
    let text = learned.to_text();
    write(server, &text, disk::create).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("`{file}` exists by now, and is left as it is; `portcullis policy apply` puts it in force")
        }
        _ => format!("`{file}` cannot be written: {error}"),
    })?;
    tracing::info!(server = %server.name, tools = learned.tools().len(), %file, "learned at first use; the definitions are pinned from now on");
    Ok(Text { file, text })
}

/// How a file is written: one that exists is replaced, or stays.
pub type Manner = fn(&Path, &[u8], u32) -> std::io::Result<()>;

/// Writes a catalogue file, and its folder where it is missing.
pub fn write(server: &Server, text: &str, manner: Manner) -> std::io::Result<()> {
    if let Some(folder) = server.catalogue.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    manner(&server.catalogue, text.as_bytes(), 0o640)
}
