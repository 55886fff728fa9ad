//! Writes items as OCSF 1.9.0 events, API Activity (class 6003). In: items. Out: one JSON line each. Never here: pairing, choosing.
//!
//! Profiles: `ai_operation` (who acted: `ai_agent`; in what conversation: `message_context`), `record_integrity` (`attestation_list`) and
//! `security_control` (`action_id`, `disposition_id`, `policy`, `authorizations`). How fields map:
//!
//! | OCSF | of the record |
//! | --- | --- |
//! | `activity_id` | Read for `resources/read`, `prompts/get` and lists; Update, Read, Delete for what is done to the gateway; Other for tool calls, for what a tool does to its server (its annotations) is not in the record |
//! | `time`, `start_time`, `end_time`, `duration` | `ts` of the decision, of the result; `duration_us` |
//! | `status_id` | Success for an outcome `complete` or `accepted`; Failure for a refusal or another outcome; Unknown where the end is |
//! | `actor` | `app_uid` the agent, `user` the user and its account, `session` the session's digest, `iss` and `jti` |
//! | `api` | `operation` the method, `service` the server, `request.uid` the JSON-RPC id, `request.data` and `response.data` the values where they are asked for |
//! | `src_endpoint`, `dst_endpoint` | the source address, the server; reversed for what a server asks of an agent |
//! | `metadata` | `uid` BOOT-SHARD-SEQ, `sequence` the tree index, `event_code` the event, `log_name` the origin |
//! | `raw_data` | the leaves, one a line |
//!
//! An attestation stands for a leaf in `raw_data`, not for the OCSF event: the log vouches for what it holds, and this event is a rendering of
//! that. `uid` is LOG/INDEX; `fingerprint` the leaf hash of RFC 6962 §2.1 (SHA-256 over a zero byte and the leaf, which is canonical by RFC 8785),
//! declared as another algorithm than plain SHA-256; `prev_event` the record before it in its shard; `signatures` the checkpoint that covers it,
//! with the tree's head as digest. OCSF has no place for a signature's bytes: the signed checkpoint is in `unmapped`.
//!
//! Events that are no activity at an API (`gateway.started`, `tool.drifted` and the like) have no place here.

use std::collections::HashMap;
use std::io::Write;

use portcullis_core::audit::view::Entry;
use portcullis_tlog::tree::leaf_hash;
use serde_json::{Map, Value, json};

use super::calls::{Answer, Item, Kept};
use super::item::{self, Weight};
use super::source::{Position, Source};
use super::{Both, Fault, Put, Sink, Values};

/// The version of the schema that events follow.
pub const VERSION: &str = "1.9.0";

/// Events under way.
pub struct Ocsf<'o> {
    source: &'o Source,
    out: &'o mut dyn Write,
    /// By shard: the last record seen, its name, and the activity of the event that holds it.
    last: HashMap<u16, (u64, String, u64)>,
    delivered: Option<Position>,
}

impl<'o> Ocsf<'o> {
    /// To be written to `out`.
    pub fn new(source: &'o Source, out: &'o mut dyn Write) -> Self {
        Self { source, out, last: HashMap::new(), delivered: None }
    }

    /// The event of an item; none where the class has no place for it.
    fn event(&mut self, item: &Item) -> Option<Value> {
        let entry = &item.first.entry;
        let (activity_id, activity_name) = activity(entry)?;
        let type_uid = CLASS_UID * 100 + activity_id;
        let end = item.result().map(|end| &end.entry);
        let attestations: Vec<Value> =
            std::iter::once(&item.first).chain(item.end()).map(|kept| self.attestation(item, kept, type_uid)).collect();
        let leaves: Vec<_> = std::iter::once(&item.first)
            .chain(item.end())
            .map(|kept| String::from_utf8_lossy(&kept.leaf.bytes).into_owned())
            .collect();
        let (severity_id, severity) = match item::weight(item) {
            Weight::Ordinary => (1, "Informational"),
            Weight::Notable => (2, "Low"),
            Weight::Refused => (3, "Medium"),
        };
        let (status_id, status) = status(item);
        let mut event = json!({
            "activity_id": activity_id,
            "activity_name": activity_name,
            "category_name": "Application Activity",
            "category_uid": 6,
            "class_name": "API Activity",
            "class_uid": CLASS_UID,
            "type_uid": type_uid,
            "type_name": format!("API Activity: {}", if activity_id == 99 { "Other" } else { activity_name }),
            "time": entry.ts,
            "start_time": entry.ts,
            "end_time": end.map(|end| end.ts),
            "duration": end.and_then(|end| end.duration_us).map(|micros| micros / 1_000),
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "status_code": end.and_then(|end| end.outcome.as_deref()),
            "status_detail": item::trouble(item),
            "message": item.line(),
            "metadata": self.metadata(item),
            "actor": actor(entry),
            "ai_agent": entry.agent.as_ref().map(|agent| json!({"uid": agent, "name": agent, "instance_uid": entry.session, "type_id": 0})),
            "message_context": message_context(entry),
            "api": api(item),
            "src_endpoint": endpoint(entry, Side::Asking),
            "dst_endpoint": endpoint(entry, Side::Asked),
            "http_response": end.and_then(|end| end.status).or(entry.status).map(|code| json!({"code": code})),
            "resources": resources(entry),
            "raw_data": leaves.join("\n"),
            "attestation_list": attestations,
            "unmapped": self.unmapped(item),
        });
        controlled(item, &mut event);
        pruned(event)
    }

    fn metadata(&self, item: &Item) -> Value {
        json!({
            "version": VERSION,
            "profiles": ["ai_operation", "record_integrity", "security_control"],
            "product": {"name": "Portcullis", "vendor_name": "Portcullis", "version": env!("CARGO_PKG_VERSION")},
            "uid": item.first.id(),
            "sequence": item.first.leaf.at.index,
            "event_code": item.first.entry.event,
            "log_name": self.source.part(item.first.leaf.at.log).map(|part| part.origin()),
            "correlation_uid": item.first.entry.session,
            "logged_time": item.first.entry.ts,
        })
    }

    /// What vouches for a leaf.
    fn attestation(&mut self, item: &Item, kept: &Kept, type_uid: u64) -> Value {
        let (entry, at) = (&kept.entry, kept.leaf.at);
        let fingerprint = |value: &str| json!({"algorithm_id": 99, "algorithm": LEAF_HASH, "serialization_id": 2, "serialization": "JCS", "value": value});
        let before = self.last.insert(entry.shard, (entry.seq, item.first.id(), type_uid));
        let before = before.filter(|(seq, ..)| seq.checked_add(1) == Some(entry.seq));
        let previous = entry.prev.as_ref().map(|hash| {
            // What this export has not seen is named as a record of the same start; that it may not be only where the gateway was just started.
            let guess = || (format!("{}-{}-{}", entry.boot, entry.shard, entry.seq.saturating_sub(1)), None);
            let (uid, type_uid) = before.map_or_else(guess, |(_, uid, type_uid)| (uid, Some(type_uid)));
            json!({"uid": uid, "type_uid": type_uid, "fingerprint": fingerprint(hash)})
        });
        let part = self.source.part(at.log);
        let head = part.map(|part| item::hex(&part.log.checkpoint().head.hash));
        json!({
            "uid": at.to_string(),
            "authority_uid": part.map(|part| part.key.as_str()),
            "chain_uid": part.map(|part| part.origin()),
            "fingerprint": fingerprint(&item::hex(&leaf_hash(&kept.leaf.bytes))),
            "prev_event": previous,
            "signatures": [{
                "algorithm_id": 99,
                "algorithm": "Ed25519",
                "serialization_id": 99,
                "serialization": "C2SP tlog-checkpoint",
                "digest": head.map(|head| json!({"algorithm_id": 3, "algorithm": "SHA-256", "value": head})),
            }],
        })
    }

    /// What the schema has no place for.
    fn unmapped(&self, item: &Item) -> Value {
        let (entry, end) = (&item.first.entry, item.result().map(|end| &end.entry));
        let mut checkpoints = Map::new();
        for kept in std::iter::once(&item.first).chain(item.end()) {
            if let Some(part) = self.source.part(kept.leaf.at.log) {
                checkpoints.insert(part.origin().to_owned(), part.log.note().into());
            }
        }
        json!({
            "checkpoints": checkpoints,
            "cause": entry.cause,
            "certificate_sha256": entry.certificate,
            "snapshot": entry.snapshot,
            "snapshot_hash": entry.snapshot_hash,
            "arguments_bytes": entry.arguments_bytes,
            "arguments_commit": entry.arguments_commit,
            "result_bytes": end.and_then(|end| end.result_bytes),
            "result_commit": end.and_then(|end| end.result_commit.clone()),
            "redactions": end.and_then(|end| end.redactions),
            "rows_dropped": end.and_then(|end| end.rows_dropped),
            "what": entry.what,
            "count": entry.count,
            "reason": entry.reason,
        })
    }
}

impl Sink for Ocsf<'_> {
    fn put(&mut self, item: &Item, values: &mut dyn Values) -> Result<Put, Fault> {
        let Some(mut event) = self.event(item) else { return Ok(Put::NoPlace) };
        let both = Both::of(item, values)?;
        value_of(&mut event, "/api/request", both.arguments);
        value_of(&mut event, "/api/response", both.result);
        serde_json::to_writer(&mut *self.out, &event).map_err(|fault| Fault::Write(fault.into()))?;
        self.out.write_all(b"\n").map_err(Fault::Write)?;
        Ok(Put::Taken)
    }

    fn reached(&mut self, at: Position) -> Result<(), Fault> {
        self.delivered = Some(at);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.out.flush().map_err(Fault::Write)
    }

    fn delivered(&self) -> Option<Position> {
        self.delivered
    }
}

/// What was done, as the class knows it; none for what is no activity at an API.
fn activity(entry: &Entry) -> Option<(u64, &'static str)> {
    let activity = match (entry.event.as_str(), entry.method.as_deref()) {
        ("decision", Some("tools/call")) => (99, "Call"),
        ("decision", Some("resources/read" | "prompts/get")) => (2, "Read"),
        ("decision", Some(method)) if method.ends_with("/list") => (2, "Read"),
        ("decision" | "server.request", _) => (99, "Message"),
        ("refusal", _) => (0, "Unknown"),
        ("result" | "result.begun" | "result.ended", _) => (99, "Result"),
        (
            "policy.swapped" | "agent.suspended" | "agent.resumed" | "tool.approved" | "audit.held" | "audit.released",
            _,
        ) => (3, "Update"),
        ("audit.read" | "admin.read", _) => (2, "Read"),
        ("audit.erased" | "audit.pruned", _) => (4, "Delete"),
        (_, _) => return None,
    };
    Some(activity)
}

fn status(item: &Item) -> (u64, &'static str) {
    let entry = &item.first.entry;
    let denied = matches!(entry.decision.as_deref(), Some("deny")) || entry.event == "refusal";
    let outcome = match &item.answer {
        Answer::Given(end) => end.entry.outcome.as_deref(),
        Answer::Unknown(_) | Answer::Open { .. } => return (0, "Unknown"),
        Answer::NotExpected => entry.outcome.as_deref(),
    };
    match (denied, outcome) {
        (true, _) => (2, "Failure"),
        (false, Some("complete" | "accepted")) => (1, "Success"),
        (false, Some("passed")) => (0, "Unknown"),
        (false, Some(_)) => (2, "Failure"),
        // Done to the gateway itself: it is recorded when it is done. A lone beginning of a result tells nothing of its end.
        (false, None) if entry.event == "result.begun" => (0, "Unknown"),
        (false, None) => (1, "Success"),
    }
}

/// What the gateway did about it, and by which rules: the profile `security_control`.
fn controlled(item: &Item, event: &mut Value) {
    let (entry, end) = (&item.first.entry, item.result().map(|end| &end.entry));
    let Some(event) = event.as_object_mut() else { return };
    let withheld = end.is_some_and(|end| end.decision.as_deref() == Some("deny"));
    let altered = end.is_some_and(|end| end.redactions.unwrap_or(0) + end.rows_dropped.unwrap_or(0) > 0);
    let (action_id, action, disposition_id, disposition) = match (entry.event.as_str(), entry.decision.as_deref()) {
        ("refusal", _) => (2, "Denied", 25, "Rejected"),
        (_, Some("deny")) => (2, "Denied", 2, "Blocked"),
        (_, Some(_)) if withheld => (2, "Denied", 2, "Blocked"),
        (_, Some("observed_deny")) => (3, "Observed", 17, "Logged"),
        (_, Some(_)) if altered => (4, "Modified", 1, "Allowed"),
        (_, Some(_)) => (1, "Allowed", 1, "Allowed"),
        (_, None) => return,
    };
    event.extend([
        ("action_id".to_owned(), action_id.into()),
        ("action".to_owned(), action.into()),
        ("disposition_id".to_owned(), disposition_id.into()),
        ("disposition".to_owned(), disposition.into()),
    ]);
    let Some(hash) = &entry.snapshot_hash else { return };
    let version = entry.snapshot.map(|version| version.to_string());
    let policy = json!({"name": "rules", "uid": hash, "version": version, "is_applied": entry.decision.as_deref() != Some("observed_deny")});
    let rules = |judged: &Entry| {
        let decision = judged.decision.clone();
        let rules: Vec<Value> = judged
            .rules
            .iter()
            .map(|rule| json!({"decision": decision, "policy": {"uid": rule, "type": "rule"}}))
            .collect();
        rules
    };
    let authorizations: Vec<Value> = std::iter::once(entry).chain(end).flat_map(rules).collect();
    event.extend([("policy".to_owned(), policy), ("authorizations".to_owned(), authorizations.into())]);
}

fn actor(entry: &Entry) -> Value {
    if let Some(actor) = &entry.actor {
        return json!({"user": {"name": actor}});
    }
    let account = entry.account.as_ref().map(|account| json!({"uid": account}));
    let session = json!({"uid": entry.session, "issuer": entry.issuer, "credential_uid": entry.jti});
    match &entry.agent {
        Some(agent) => json!({
            "app_uid": agent,
            "app_name": agent,
            "user": {"uid": entry.user, "account": account},
            "session": session,
        }),
        // The class wants an actor; of a request that was nobody's there is none.
        None => json!({"app_name": "unknown"}),
    }
}

fn message_context(entry: &Entry) -> Value {
    let Some(server) = entry.server.as_ref().filter(|_| entry.agent.is_some()) else { return Value::Null };
    let (role_id, role) = match entry.method.as_deref() {
        Some("tools/call") => (3, "Tool"),
        Some("resources/read") => (6, "Retriever"),
        Some(_) | None => (4, "Agent"),
    };
    json!({
        "uid": entry.session,
        "name": "Model Context Protocol",
        "ai_role_id": role_id,
        "ai_role": role,
        "service": {"name": server, "version": entry.revision},
        "application": {"uid": entry.agent, "name": entry.agent},
    })
}

fn api(item: &Item) -> Value {
    let (entry, end) = (&item.first.entry, item.result().map(|end| &end.entry));
    let code = end.and_then(|end| end.status).or(entry.status);
    let outcome = end.and_then(|end| end.outcome.as_deref()).or(entry.outcome.as_deref());
    let failed = outcome.filter(|outcome| !matches!(*outcome, "complete" | "accepted" | "passed"));
    json!({
        // What is done to the gateway, and what never had a method, is called as its event is.
        "operation": entry.method.as_ref().unwrap_or(&entry.event),
        "version": entry.revision,
        "service": {"name": entry.server.as_deref().unwrap_or("portcullis")},
        // The object needs an id; a notification has none, but its record has.
        "request": {"uid": item::request_id(entry).unwrap_or_else(|| item.first.id())},
        "response": {"code": code, "message": outcome, "error": failed, "error_message": item::trouble(item)},
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Asking,
    Asked,
}

fn endpoint(entry: &Entry, side: Side) -> Value {
    let server = entry.server.as_ref().map(|server| json!({"svc_name": server}));
    let agent = match (&entry.source, &entry.agent) {
        (None, None) => None,
        (ip, name) => Some(json!({"ip": ip, "name": name})),
    };
    let agent_asks = entry.event != "server.request";
    let (found, fallback) = match (side, agent_asks) {
        (Side::Asking, true) => (agent, if entry.actor.is_some() { "control socket" } else { "unknown" }),
        (Side::Asking, false) | (Side::Asked, true) => (server, "portcullis"),
        (Side::Asked, false) => (agent, "unknown"),
    };
    found.unwrap_or_else(|| json!({"name": fallback}))
}

fn resources(entry: &Entry) -> Value {
    let named = [("tool", &entry.tool), ("resource", &entry.uri), ("prompt", &entry.name)];
    let resources: Vec<Value> = named
        .into_iter()
        .filter_map(|(kind, name)| {
            let name = name.as_ref()?;
            let uid = entry.server.as_ref().map(|server| format!("{server}.{name}"));
            Some(json!({"type": kind, "name": name, "uid": uid}))
        })
        .collect();
    resources.into()
}

/// Without members that say nothing; none where nothing is left.
fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(members) => {
            let members: Map<String, Value> =
                members.into_iter().filter_map(|(name, value)| Some((name, pruned(value)?))).collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Array(values) => {
            let values: Vec<Value> = values.into_iter().filter_map(pruned).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value),
    }
}

/// Puts a value in as JSON where that keeps it to the letter, and as a text where it does not (large numbers, a cut value).
fn value_of(event: &mut Value, place: &str, value: Option<String>) {
    let (Some(text), Some(object)) = (value, event.pointer_mut(place).and_then(Value::as_object_mut)) else { return };
    let again = |value: &Value| serde_json::to_string(value).is_ok_and(|again| again == text);
    let exact = serde_json::from_str::<Value>(&text).ok().filter(again);
    object.insert("data".to_owned(), exact.unwrap_or_else(|| text.into()));
}

const CLASS_UID: u64 = 6003;

/// What the fingerprint is, in words; the schema's own SHA-256 would mean a hash without the zero byte.
const LEAF_HASH: &str = "SHA-256 leaf hash (RFC 6962)";
