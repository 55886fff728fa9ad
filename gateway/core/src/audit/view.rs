//! Reads records back for people. In: lines. Out: one readable line a call, decision and result together. Never here: files, verification.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::time::UnixMillis;

/// One record, read back. Fields that its event does not have are absent; see `record` for what each means.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields of `record`, one to one")]
pub struct Entry {
    pub event: String,
    pub boot: String,
    pub shard: u16,
    pub seq: u64,
    pub ts: i64,
    pub agent: Option<String>,
    pub user: Option<String>,
    pub account: Option<String>,
    pub issuer: Option<String>,
    pub jti: Option<String>,
    pub certificate: Option<String>,
    pub source: Option<String>,
    pub server: Option<String>,
    pub session: Option<String>,
    pub revision: Option<String>,
    pub method: Option<String>,
    pub tool: Option<String>,
    pub uri: Option<String>,
    pub name: Option<String>,
    pub arguments: Option<Box<RawValue>>,
    pub arguments_bytes: Option<u64>,
    pub arguments_digest: Option<String>,
    pub arguments_commit: Option<String>,
    pub arguments_cut: Option<String>,
    pub arguments_redacted: Option<u64>,
    pub decision: Option<String>,
    pub cause: Option<String>,
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default)]
    pub obligations: Vec<String>,
    pub redactions: Option<u64>,
    pub rows_dropped: Option<u64>,
    pub snapshot: Option<u64>,
    pub snapshot_hash: Option<String>,
    pub request_id: Option<Box<RawValue>>,
    pub decision_boot: Option<String>,
    pub decision_shard: Option<u16>,
    pub decision_seq: Option<u64>,
    pub status: Option<u16>,
    pub outcome: Option<String>,
    pub result: Option<Box<RawValue>>,
    pub result_bytes: Option<u64>,
    pub result_digest: Option<String>,
    pub result_commit: Option<String>,
    pub result_cut: Option<String>,
    pub result_redacted: Option<u64>,
    pub bytes: Option<u64>,
    pub digest: Option<String>,
    pub duration_us: Option<u64>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub what: Option<String>,
    pub count: Option<u64>,
    pub prev: Option<String>,
    #[serde(default)]
    pub mode: Vec<String>,
    pub version: Option<String>,
}

/// Reads one line, with or without its newline.
///
/// # Errors
/// What is wrong with it, in the reader's words.
pub fn parse(line: &str) -> Result<Entry, String> {
    serde_json::from_str(line.trim_end()).map_err(|fault| fault.to_string())
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The record stands alone: a refusal, an event of the gateway, a decision that let nothing pass.
    NotExpected,
    /// It was answered, and this is the record.
    Given(Box<Entry>),
    /// Its release began and was never seen to end.
    PartlyReleased,
    /// It was let pass, and nothing more is known: the upstream may have done it or not.
    Unknown,
}

/// A record and its answer.
#[derive(Clone, Debug)]
pub struct Call {
    /// The decision, or the record that stands alone.
    pub entry: Entry,
    /// What became of it.
    pub answer: Answer,
}

/// Brings decisions and their results together, in the order of the results.
#[derive(Debug, Default)]
pub struct Pairing {
    open: BTreeMap<(String, u16, u64), Call>,
}

impl Pairing {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record in; gives a call as soon as it is settled. A result without its decision stands alone.
    pub fn push(&mut self, entry: Entry) -> Option<Call> {
        let alone = |entry| Some(Call { entry, answer: Answer::NotExpected });
        let key = |seq| (entry.boot.clone(), entry.shard, seq);
        match (entry.event.as_str(), entry.decision_seq) {
            ("decision", _) if entry.decision.as_deref() != Some("deny") => {
                self.open.insert(key(entry.seq), Call { entry, answer: Answer::Unknown });
                None
            }
            ("result.begun", Some(seq)) => match self.open.get_mut(&key(seq)) {
                Some(call) => {
                    call.answer = Answer::PartlyReleased;
                    None
                }
                None => alone(entry),
            },
            ("result" | "result.ended", Some(seq)) => match self.open.remove(&key(seq)) {
                Some(call) => Some(Call { answer: Answer::Given(Box::new(entry)), ..call }),
                None => alone(entry),
            },
            (_, _) => alone(entry),
        }
    }

    /// The calls that were let pass and not seen to end, oldest first. While the gateway runs they may still be under way; once it stopped,
    /// or another boot of it wrote, their outcome is unknown.
    pub fn unsettled(self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.open.into_values().collect();
        calls.sort_by_key(|call| (call.entry.ts, call.entry.shard, call.entry.seq));
        calls
    }
}

/// One line for a terminal: `2026-11-23T10:00:00.000Z ALLOW recon-17 crm.read_table {"table":"customers"} rule=support.cedar:3 v12 1.2ms`.
pub fn one_line(call: &Call) -> String {
    let entry = &call.entry;
    let mut out = UnixMillis(entry.ts).rfc3339();
    let word = match (entry.event.as_str(), entry.decision.as_deref()) {
        ("decision" | "server.request", Some("allow")) => "ALLOW",
        ("decision" | "server.request", Some("observed_deny")) => "WOULD-DENY",
        ("decision" | "server.request", _) => "DENY",
        ("refusal", _) => "REFUSE",
        (event, _) => event,
    };
    part(&mut out, word);
    if let Some(agent) = &entry.agent {
        part(&mut out, agent);
    }
    if let Some(target) = target(entry) {
        part(&mut out, &target);
    }
    match (&entry.arguments, entry.arguments_bytes) {
        (Some(arguments), _) => part(&mut out, &shortened(arguments.get())),
        (None, Some(bytes)) => part(&mut out, &format!("({bytes} B)")),
        (None, None) => {}
    }
    named(&mut out, "cause", entry.cause.as_deref());
    named(&mut out, "reason", entry.reason.as_deref());
    if !entry.rules.is_empty() {
        named(&mut out, "rule", Some(&entry.rules.join(",")));
    }
    named(&mut out, "by", entry.actor.as_deref());
    named(&mut out, "from", entry.source.as_deref().filter(|_| entry.event == "refusal"));
    if let Some(version) = entry.snapshot {
        part(&mut out, &format!("v{version}"));
    }
    match &call.answer {
        Answer::NotExpected => {}
        Answer::Given(answer) => answered(&mut out, answer),
        Answer::PartlyReleased => part(&mut out, "partly released, end unknown"),
        Answer::Unknown => part(&mut out, "unknown outcome"),
    }
    out
}

/// `crm.read_table`, `crm resources/read file:///x`, `crm`.
fn target(entry: &Entry) -> Option<String> {
    let server = entry.server.as_deref();
    if let (Some(server), Some(tool)) = (server, &entry.tool) {
        return Some(format!("{server}.{tool}"));
    }
    let words: Vec<&str> = [server, entry.method.as_deref(), entry.uri.as_deref().or(entry.name.as_deref())]
        .into_iter()
        .flatten()
        .collect();
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

fn answered(out: &mut String, answer: &Entry) {
    let objected = answer.decision.as_deref();
    if let Some(outcome) = answer.outcome.as_deref().filter(|outcome| *outcome != "complete") {
        part(out, outcome);
    } else if objected == Some("observed_deny") {
        part(out, "would-withhold");
    }
    named(out, "cause", answer.cause.as_deref());
    if !answer.rules.is_empty() {
        named(out, "rule", Some(&answer.rules.join(",")));
    }
    let counts = [(answer.redactions, "redacted"), (answer.rows_dropped, "rows_cut")];
    for (count, name) in counts {
        named(out, name, count.filter(|count| *count > 0).map(|count| count.to_string()).as_deref());
    }
    // Most servers send a result twice, structured and as text, and both are narrowed.
    if counts.iter().any(|(count, _)| count.is_some_and(|count| count > 0)) {
        part(out, "(structured and text counted each)");
    }
    if let Some(micros) = answer.duration_us {
        // A fraction of a millisecond is all that a person reads.
        let _infallible = write!(out, " {}.{}ms", micros / 1_000, micros % 1_000 / 100);
    }
}

fn named(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        part(out, &format!("{name}={value}"));
    }
}

/// A word after a blank.
fn part(out: &mut String, text: &str) {
    out.push(' ');
    plain(out, text);
}

/// Appends a text. What a terminal could take for a command, or show in another order than it stands, is escaped.
pub fn plain(out: &mut String, text: &str) {
    for character in text.chars() {
        let steers = character.is_control()
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if steers {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
}

fn shortened(json: &str) -> String {
    match json.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", json.get(..end).unwrap_or_default()),
        None => json.to_owned(),
    }
}

/// A call is to fit on one or two lines of a terminal.
const SHOWN_CHARACTERS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::encode;
    use crate::audit::field::{Field, Fields};
    use crate::audit::leaf::{self, Commits, Value, Values};
    use crate::audit::record::samples::{NOTHING, answer, decision, judged, part};
    use crate::audit::record::{self, Caller, Decision, Outcome, Record, Refusal, Stop, Subject, Verdict};

    const AT: UnixMillis = UnixMillis(1_795_428_000_000);

    /// The lines a person sees of these records, the unsettled last.
    fn shown(records: &[Record<'_>]) -> Vec<String> {
        let mut lines = Vec::new();
        for (seq, record) in (0..).zip(records) {
            let (mut bytes, mut entry) = (Vec::new(), Vec::new());
            encode::write(&mut bytes, seq, AT, record);
            let (fields, _) = Fields::split(&bytes).unwrap();
            leaf::write(&mut entry, &fields, &leaf::Place { boot: "b0", shard: 0, prev: None }, &Commits::default());
            let value = |field| fields.bytes(field).map(|raw: &[u8]| Value::Json(raw.to_vec()));
            lines.push(leaf::shown(
                &entry,
                &Values { arguments: value(Field::Arguments), result: value(Field::Result) },
            ));
        }
        let mut pairing = Pairing::new();
        let mut calls: Vec<Call> = lines.iter().filter_map(|line| pairing.push(parse(line).unwrap())).collect();
        calls.extend(pairing.unsettled());
        calls
            .iter()
            .map(one_line)
            .map(|line| line.strip_prefix("2026-11-23T10:00:00.000Z ").unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_line_that_is_no_record_is_refused() {
        assert!(parse("{}").unwrap_err().contains("event"));
        assert!(parse("ALLOW").is_err());
    }

    #[test]
    fn a_call_let_pass_without_a_result_has_an_unknown_outcome() {
        let allow = Record::Decision(decision(Verdict::Allow));
        let begun = Record::ResultBegun(record::Begun { decision_seq: 1, agent: "a", server: "crm", status: 200 });
        let rule = r#"ALLOW recon-17 crm.read_table {"table":"customers"} rule=support.cedar:3 v12"#;
        assert_eq!(
            shown(&[allow, allow, begun]),
            [format!("{rule} unknown outcome"), format!("{rule} partly released, end unknown")]
        );
        assert_eq!(shown(&[Record::Result(answer(9))]), ["result recon-17 crm"]);
    }

    #[test]
    fn what_was_written_is_what_is_shown() {
        let rows = [
            (
                vec![Record::Decision(decision(Verdict::Allow)), Record::Result(answer(0))],
                r#"ALLOW recon-17 crm.read_table {"table":"customers"} rule=support.cedar:3 v12 1.2ms"#,
            ),
            (
                vec![
                    Record::Decision(decision(Verdict::ObservedDeny)),
                    Record::ResultEnded(record::Answer {
                        outcome: Outcome::UpstreamFailed,
                        cause: Some("reset"),
                        ..answer(0)
                    }),
                ],
                r#"WOULD-DENY recon-17 crm.read_table {"table":"customers"} cause=no_rule v12 upstream_failed cause=reset 1.2ms"#,
            ),
            (
                vec![Record::Decision(decision(Verdict::Deny))],
                r#"DENY recon-17 crm.read_table {"table":"customers"} cause=no_rule v12"#,
            ),
            (
                vec![Record::Decision(Decision {
                    method: "resources/read",
                    subject: Subject::Uri("file:///x"),
                    arguments: NOTHING,
                    ..decision(Verdict::Deny)
                })],
                "DENY recon-17 crm resources/read file:///x cause=no_rule v12",
            ),
            (
                vec![Record::Refusal(Refusal {
                    cause: "no_token",
                    status: 401,
                    source: Some("10.0.0.1".parse().unwrap()),
                    agent: None,
                    server: Some("crm"),
                    method: None,
                })],
                "REFUSE crm cause=no_token from=10.0.0.1",
            ),
            (
                vec![
                    Record::Decision(decision(Verdict::Allow)),
                    Record::Result(record::Answer {
                        outcome: Outcome::Refused,
                        objected: Some(record::Judged {
                            cause: Some("result_forbidden"),
                            rules: &["small"],
                            ..judged(Verdict::Deny)
                        }),
                        ..answer(0)
                    }),
                ],
                r#"ALLOW recon-17 crm.read_table {"table":"customers"} rule=support.cedar:3 v12 refused cause=result_forbidden rule=small 1.2ms"#,
            ),
            (vec![Record::GatewayStopped(Stop { reason: "signal" })], "gateway.stopped reason=signal"),
        ];
        for (records, expected) in rows {
            assert_eq!(shown(&records), [expected]);
        }
    }

    #[test]
    fn nothing_written_by_an_agent_steers_the_terminal() {
        let hostile = "x\n2026 ALLOW \u{1b}[2J\u{202e}";
        let caller = Caller { agent: hostile, ..decision(Verdict::Deny).caller };
        let record =
            Decision { caller, arguments: part("{\"a\":\"\u{202e}\u{85}\"}".as_bytes()), ..decision(Verdict::Deny) };
        let lines = shown(&[Record::Decision(record)]);
        assert_eq!(
            lines,
            [r#"DENY x\u{a}2026 ALLOW \u{1b}[2J\u{202e} crm.read_table {"a":"\u{202e}\u0085"} cause=no_rule v12"#]
        );
        let long = format!("\"{}\"", "é".repeat(400));
        let lines =
            shown(&[Record::Decision(Decision { arguments: part(long.as_bytes()), ..decision(Verdict::Deny) })]);
        assert!(lines[0].contains(&format!("\"{}\u{2026} cause", "é".repeat(159))), "got {lines:?}");
    }
}
