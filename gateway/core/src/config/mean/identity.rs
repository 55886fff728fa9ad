//! Identity providers. In: `[identity.*]`. Out: issuers whose tokens count. Never here: keys, network.

use std::collections::BTreeMap;

use super::Scene;
use super::bounds::Bound;
use crate::config::at::At;
use crate::config::settings::{Algorithm, Issuer, Scheme};
use crate::config::typed::{AlgorithmText, Identity};
use crate::config::url;
use crate::identity::issuer::ACCESS_TOKEN;

/// The issuers, sorted by name; no two with the same `iss`.
pub(super) fn issuers(typed: &BTreeMap<At<String>, Identity>, scene: &mut Scene<'_, '_>) -> Vec<Issuer> {
    let mut in_file_order: Vec<_> = typed.iter().collect();
    in_file_order.sort_by_key(|(name, _)| name.at());
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, identity) in in_file_order {
        let Some(issuer) = &identity.issuer else { continue };
        if let Some(first) = seen.insert(issuer.value(), name.value()) {
            scene.findings.refuse(
                issuer.at(),
                format!("`{}` is already the issuer of `[identity.{first}]`", issuer.value()),
                "keep one of the two: a token must lead to one set of keys",
            );
        }
    }
    typed.iter().map(|(name, identity)| issuer(name, identity, scene)).collect()
}

fn issuer(name: &At<String>, typed: &Identity, scene: &mut Scene<'_, '_>) -> Issuer {
    let mut claim = |claim: &Option<At<String>>| claim.as_ref().map(|claim| scene.name(claim, "claim"));
    let agent_claim = claim(&typed.agent_claim);
    let (user_claim, account_claim) = (claim(&typed.user_claim), claim(&typed.account_claim));
    let token_types = token_types(typed.token_types.as_ref(), scene);
    // ID tokens name their user in `sub`, so where a token's type does not say what it is, `sub` names no agent unless the operator says so.
    let strict = token_types.iter().all(|kind| &**kind == ACCESS_TOKEN);
    if let (false, Some(named)) = (strict, typed.agent_claim.as_ref().filter(|named| named.value() == "sub")) {
        scene.findings.warn(
            named.at(),
            "`sub` names the agent, and these `token_types` do not tell access tokens from ID tokens, which name their user there",
            "name the claim of the client, such as `client_id`, `azp`, `appid` or `cid`",
        );
    }
    let fallbacks: &[&str] = if strict { &["azp", "sub"] } else { &["azp"] };
    let audience = typed.audience.as_ref().map(|audience| scene.name(audience, "audience"));
    Issuer {
        name: scene.name(name, "name"),
        issuer: issuer_url(typed.issuer.as_ref(), scene),
        keys: scene.path(typed.keys.as_ref(), ""),
        algorithms: algorithms(typed.algorithms.as_ref(), scene),
        audience,
        agent_claim_fallbacks: match agent_claim {
            Some(_) => Vec::new(),
            None => fallbacks.iter().map(|name| (*name).into()).collect(),
        },
        agent_claim: agent_claim.unwrap_or_else(|| "client_id".into()),
        user_claim,
        account_claim,
        token_types,
        clock_skew: scene.span(
            typed.clock_skew.as_ref(),
            &Bound { name: "identity.clock_skew", least: 0, default: 30_000, most: 60_000 },
        ),
    }
}

/// Compared byte for byte with `iss`, so it is kept as typed; over plain HTTP its keys could be anybody's.
fn issuer_url(typed: Option<&At<String>>, scene: &mut Scene<'_, '_>) -> Box<str> {
    let Some(typed) = typed else { return "".into() };
    let cure = "write it as the tokens' `iss` claim has it, such as `https://example.okta.com/oauth2/aus1`";
    match url::parse(typed.value()) {
        Err(fault) => scene.findings.refuse(typed.at(), format!("issuer `{}` {fault}", typed.value()), cure),
        Ok(url) if url.scheme == Scheme::Http && !url.authority.is_loopback() => {
            scene.findings.refuse(typed.at(), format!("issuer `{}` is not reached over `https`", typed.value()), cure);
        }
        Ok(_) => {}
    }
    typed.value().as_str().into()
}

fn algorithms(typed: Option<&At<Vec<At<AlgorithmText>>>>, scene: &mut Scene<'_, '_>) -> Vec<Algorithm> {
    let all = vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];
    let Some(typed) = typed else { return all };
    let mut meant: Vec<Algorithm> = Vec::new();
    for word in typed.value() {
        let algorithm = match word.value() {
            AlgorithmText::EdDsa => Algorithm::EdDsa,
            AlgorithmText::Es256 => Algorithm::Es256,
            AlgorithmText::Rs256 => Algorithm::Rs256,
        };
        if !meant.contains(&algorithm) {
            meant.push(algorithm);
        }
    }
    // Words that were cut out have been named; only a list that was typed empty is left to name.
    if meant.is_empty() && !scene.findings.refused() {
        scene.findings.refuse(
            typed.at(),
            "`algorithms` is empty, so no token could ever count",
            "write `EdDSA`, `ES256` or `RS256`",
        );
    }
    meant
}

fn token_types(typed: Option<&At<Vec<At<String>>>>, scene: &mut Scene<'_, '_>) -> Vec<Box<str>> {
    let Some(typed) = typed else { return vec![ACCESS_TOKEN.into()] };
    let mut meant: Vec<Box<str>> = Vec::new();
    for word in typed.value() {
        let lower = scene.name(word, "token type").to_ascii_lowercase();
        let short = lower.strip_prefix("application/").unwrap_or(&lower);
        meant.push(short.into());
    }
    if meant.is_empty() && !scene.findings.refused() {
        scene.findings.refuse(typed.at(), "`token_types` is empty, so no token could ever count", "write `at+jwt`");
    }
    meant
}
