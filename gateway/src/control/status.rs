//! Tells how the gateway stands. In: what serves, what was found at start, the files. Out: JSON. Never here: changes.

use crate::control::{Facts, Plane, answers};
use crate::counters::{Count, Gauge};
use crate::shared::Shared;
use crate::sources;
use portcullis_core::config::settings::{Durability, IoEngine, Learn, Mode, UpstreamTls};
use portcullis_core::config::snapshot::{Route, Snapshot};
use portcullis_core::identity::registry::Status;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::time::UnixMillis;
use serde_json::{Value, json};
use std::path::Path;

/// All of `GET /v1/status`. Reads the files to say whether they are what serves.
pub fn status(plane: &Plane) -> Value {
    let shared = &plane.shared;
    let snapshot = shared.snapshot.load_full();
    let kept = plane.keeper.kept();
    let settings = &snapshot.settings;
    let routes: Vec<Value> = snapshot.routes().map(|(index, found)| route(&snapshot, shared, index, found)).collect();
    json!({
        "build": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "state": state(shared),
        "started_at": UnixMillis(i64::try_from(shared.boot).unwrap_or(i64::MAX)).rfc3339(),
        "config": plane.keeper.file().display().to_string(),
        "listen": {
            "address": settings.listen.address.to_string(),
            "public_url": settings.listen.public_url.as_str(),
            "tls": settings.listen.tls.is_some(),
        },
        "snapshot": {
            "version": snapshot.version,
            "hash": snapshot.hash,
            "how": kept.how.as_str(),
            "applied_at": kept.applied_at,
            "by_uid": kept.by.uid,
            "files": files(plane.keeper.file(), &snapshot),
            "rules": snapshot.engine.policy_ids().len(),
        },
        "refused": refused(plane),
        "agents": agents(&snapshot),
        "routes": routes,
        "audit": {
            "folder": settings.audit.folder.display().to_string(),
            "durability": durability(settings.audit.durability),
            "entries": plane.log.signed(),
            "fault": plane.log.fault(),
        },
        "metrics": settings.metrics.map(|address| address.to_string()),
        "process": process(&plane.facts, settings.io),
        "now": load(shared),
        "warnings": answers::findings(&snapshot.warnings),
    })
}

/// The load that was refused last, while what served before it goes on serving.
fn refused(plane: &Plane) -> Value {
    plane.keeper.refusals().last().map_or(Value::Null, |refused| {
        let findings = answers::findings(&refused.findings);
        json!({"at": refused.at.rfc3339(), "change": refused.change, "findings": findings})
    })
}

fn state(shared: &Shared) -> &'static str {
    match (shared.life.is_draining(), shared.life.is_ready()) {
        (true, _) => "draining",
        (false, true) => "serving",
        (false, false) => "starting",
    }
}

/// `same` where the files are what serves, `differ` where they are not, `unreadable` where they are refused at first sight. Whether they load
/// is what `portcullis check` tells; a look at the status must not build a snapshot.
fn files(file: &Path, snapshot: &Snapshot) -> &'static str {
    match sources::read(file) {
        Err(_) => "unreadable",
        Ok(texts) if texts.hash() == snapshot.hash => "same",
        Ok(_) => "differ",
    }
}

fn route(snapshot: &Snapshot, shared: &Shared, index: ServerIndex, route: &Route) -> Value {
    let url = &route.settings.url;
    let addresses = shared.addresses.get(&(url.host.clone(), url.port));
    let addresses: Vec<String> = addresses.iter().flat_map(|known| known.iter().map(ToString::to_string)).collect();
    let scheme = match url.tls {
        UpstreamTls::Plain => "http",
        UpstreamTls::Tls => "https",
    };
    json!({
        "server": route.settings.name,
        "path": route.settings.path,
        "host": route.settings.host,
        "resource": route.resource,
        "upstream": format!("{scheme}://{}{}", url.authority, url.path),
        "addresses": addresses,
        "mode": match route.settings.mode { Mode::Enforce => "enforce", Mode::Observe => "observe" },
        "learn": match route.settings.learn { Learn::Reviewed => "reviewed", Learn::FirstUse => "first-use" },
        "tools": snapshot.catalogue(index).map_or(0, |catalogue| catalogue.tools().len()),
        "learned": route.learned,
    })
}

fn agents(snapshot: &Snapshot) -> Value {
    let count = |status: Status| snapshot.registry.agents().filter(|agent| agent.status == status).count();
    json!({"active": count(Status::Active), "suspended": count(Status::Suspended), "retired": count(Status::Retired)})
}

/// The word of the configuration.
pub fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Batched => "batched",
        Durability::Strict => "strict",
        Durability::BestEffort => "best-effort",
    }
}

fn process(facts: &Facts, io: IoEngine) -> Value {
    json!({
        "io": match io { IoEngine::Uring => "uring" },
        "workers": facts.workers,
        "cpus": facts.cpus,
        "descriptors": facts.descriptors,
        "missing": facts.missing,
    })
}

fn load(shared: &Shared) -> Value {
    let gauge = |gauge: Gauge| shared.counters.iter().map(|page| page.gauge(gauge)).sum::<i64>();
    let count = |count: Count| shared.counters.iter().map(|page| page.count(count)).sum::<u64>();
    json!({
        "connections": gauge(Gauge::ConnectionsOpen),
        "requests": gauge(Gauge::RequestsOpen),
        "streams": gauge(Gauge::StreamsOpen),
        "sessions": shared.sessions.count(),
        "allowed": count(Count::Allowed),
        "denied": count(Count::Denied),
        "observed_denied": count(Count::ObservedDenied),
        "journal_failures": count(Count::JournalFailures),
        "drifted": count(Count::ToolsDrifted),
    })
}
