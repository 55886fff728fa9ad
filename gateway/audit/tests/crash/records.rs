//! Makes up what cores record, and remembers it. In: chance. Out: batches of records, each with a number of its own, and what the log has to hold of
//! each. Never here: files, the log.

use std::collections::BTreeMap;

use oorandom::Rand64;
use portcullis_audit::reader::Name;
use portcullis_core::audit::capture::{CaptureRule, Content, Part};
use portcullis_core::audit::encode;
use portcullis_core::audit::record::{
    Answer, Begun, Caller, Decision, Judged, Outcome, Record, Refusal, Stop, Subject, Unknown, Verdict,
};
use portcullis_core::time::UnixMillis;

/// How much has to happen for a record to be lost with right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certain {
    /// Nothing: nobody was told that it is there.
    Not,
    /// The power is cut: it was handed to the kernel.
    AgainstKill,
    /// Nothing may lose it: the disk holds it.
    Always,
}

/// A record that was to be written.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its own; none has another's.
    pub number: u64,
    /// The values that go with it.
    pub value: Kept,
    pub certain: Certain,
}

/// What is kept of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    Json(String),
    Digest,
}

/// Everything that was ever tried, by name. A name is tried again where the first try failed or was lost.
pub type Ledger = BTreeMap<Name, Vec<Tried>>;

/// Makes records.
#[derive(Clone, Debug, Default)]
pub struct Author {
    /// The number of the last record.
    pub number: u64,
}

/// Where the records of a batch come from.
pub struct Desk<'d> {
    pub boot: u64,
    pub shard: u16,
    /// Decisions that were let pass and have no result yet, and whether it has begun.
    pub open: &'d mut Vec<(u64, bool)>,
    /// Calls of earlier boots that have to be said to be unknown.
    pub unknown: &'d mut Vec<Name>,
}

/// What a batch consists of.
pub struct Batch {
    pub bytes: Vec<u8>,
    pub tried: Vec<(Name, Tried)>,
    /// What is open once it is written.
    pub open: Vec<(u64, bool)>,
}

impl Author {
    /// A batch of one to four records, the first of number `seq`; `room` bytes are left free before it.
    pub fn batch(&mut self, desk: &mut Desk<'_>, seq: u64, room: usize, chance: &mut Rand64) -> Batch {
        let mut batch = Batch { bytes: vec![0; room], tried: Vec::new(), open: desk.open.clone() };
        let count = chance.rand_range(1..5);
        for seq in seq..seq + count {
            self.number += 1;
            let value = self.record(desk, &mut batch, seq, chance);
            let name = (desk.boot, desk.shard, seq);
            batch.tried.push((name, Tried { number: self.number, value, certain: Certain::Not }));
        }
        batch
    }

    fn record(&self, desk: &mut Desk<'_>, batch: &mut Batch, seq: u64, chance: &mut Rand64) -> Kept {
        let who = format!("a{}", self.number);
        let mut write =
            |record: &Record<'_>| encode::write(&mut batch.bytes, seq, UnixMillis(1_795_428_000_000), record);
        if let Some((boot, shard, seq)) = desk.unknown.pop() {
            write(&Record::OutcomeUnknown(Unknown { boot: &boot.to_string(), shard, seq }));
            return Kept::Nothing;
        }
        let rule = if chance.rand_range(0..8) == 0 { CaptureRule::Digest } else { CaptureRule::Full };
        let kept = |text: String| if rule == CaptureRule::Full { Kept::Json(text) } else { Kept::Digest };
        match (chance.rand_range(0..12), batch.open.len()) {
            (0, _) => {
                write(&Record::Refusal(Refusal {
                    cause: "no_token",
                    status: 401,
                    source: None,
                    agent: Some(&who),
                    server: None,
                    method: None,
                }));
                Kept::Nothing
            }
            (1, _) => {
                write(&Record::GatewayStopped(Stop { reason: &who }));
                Kept::Nothing
            }
            (2..=6, calls @ 1..) => {
                let at = chance.rand_range(0..calls as u64) as usize;
                let (decision_seq, begun) = batch.open[at];
                if !begun && chance.rand_range(0..4) == 0 {
                    batch.open[at].1 = true;
                    write(&Record::ResultBegun(Begun { decision_seq, agent: &who, server: "crm", status: 200 }));
                    return Kept::Nothing;
                }
                batch.open.remove(at);
                let text = value("result", self.number, chance);
                let answer = answer(decision_seq, &who, part(&text, rule));
                write(&if begun { Record::ResultEnded(answer) } else { Record::Result(answer) });
                kept(text)
            }
            (_, _) => {
                let denied = chance.rand_range(0..5) == 0;
                if !denied {
                    batch.open.push((seq, false));
                }
                let text = value("arguments", self.number, chance);
                write(&decision(&who, if denied { Verdict::Deny } else { Verdict::Allow }, part(&text, rule)));
                kept(text)
            }
        }
    }
}

/// What is looked for after it was erased.
pub fn canary(number: u64) -> String {
    format!("canary-{number:08}")
}

/// A value with its canary.
fn value(what: &str, number: u64, chance: &mut Rand64) -> String {
    let long = if chance.rand_range(0..6) == 0 { 2000 } else { 40 };
    let padding = "x".repeat(chance.rand_range(0..long) as usize);
    format!(r#"{{"canary":"{}","what":"{what}","padding":"{padding}"}}"#, canary(number))
}

fn part(text: &str, rule: CaptureRule) -> Part<'_> {
    Part { content: Content::Whole(text.as_bytes()), rule, redact: &[] }
}

fn decision<'r>(agent: &'r str, verdict: Verdict, arguments: Part<'r>) -> Record<'r> {
    Record::Decision(Decision {
        caller: Caller { agent, user: None, account: None, issuer: None, token_id: None, certificate: None },
        source: None,
        server: "crm",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("read_table"),
        arguments,
        judged: Judged { verdict, cause: None, rules: &["r"], snapshot: 1, snapshot_hash: "aa" },
        obligations: &[],
        request_id: Some(b"7"),
    })
}

fn answer<'r>(decision_seq: u64, agent: &'r str, result: Part<'r>) -> Answer<'r> {
    Answer {
        decision_seq,
        agent,
        server: "crm",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result,
        obliged: Default::default(),
        objected: None,
        duration_us: 5,
    }
}
