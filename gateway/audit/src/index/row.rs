//! Says what the index knows of a call. In: the leaves of a decision and of its end. Out: one row. Never here: pairing, other tables.

use rusqlite::{Connection, Statement, params};

use super::leaf::{Leaf, Raw, beyond};
use super::words::{Code, Words};

/// A row on its way in. Words are numbers, 0 for none.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub id: u64,
    pub ts: i64,
    /// The record's name; none where the entry is no record.
    pub name: Option<Name>,
    pub event: Code,
    pub agent: Code,
    pub user: Code,
    pub account: Code,
    pub source: Code,
    pub server: Code,
    pub method: Code,
    pub tool: Code,
    pub uri: Code,
    pub prompt: Code,
    pub decision: Code,
    pub cause: Code,
    pub rules: Code,
    pub snapshot: Option<u64>,
    pub arguments_bytes: Option<u64>,
    pub actor: Code,
    pub more: Option<String>,
    pub begun: Option<u64>,
    pub status: Option<u64>,
    pub end: Option<End>,
}

/// What names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The start of the gateway, as a word.
    pub boot: Code,
    /// The shard.
    pub shard: u64,
    /// The place in it.
    pub seq: u64,
}

/// How a call ended.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// The position of the record that says so.
    pub at: u64,
    /// HTTP status.
    pub status: Option<u64>,
    /// How.
    pub outcome: Code,
    /// Why, where it did not end well.
    pub cause: Code,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// The size of the result.
    pub bytes: Option<u64>,
    /// What rules over results objected, and what was taken out.
    pub more: Option<String>,
}

/// Columns whose text is a word.
pub fn word(words: &mut Words, db: &Connection, raw: Option<Raw<'_>>) -> rusqlite::Result<Code> {
    match raw.and_then(Raw::text) {
        Some(text) => words.code(db, &text),
        None => Ok(0),
    }
}

/// A number, where it is one.
pub fn number(raw: Option<Raw<'_>>) -> Option<u64> {
    raw.and_then(Raw::number)
}

impl Row {
    /// What a leaf says of itself; `more` and the end are not read.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn of(id: u64, leaf: &Leaf<'_>, words: &mut Words, db: &Connection) -> rusqlite::Result<Self> {
        let mut word = |raw| word(words, db, raw);
        let mut row = Self {
            id,
            event: word(leaf.event())?,
            agent: word(leaf.agent())?,
            user: word(leaf.user())?,
            account: word(leaf.account())?,
            source: word(leaf.source())?,
            server: word(leaf.server())?,
            method: word(leaf.method())?,
            tool: word(leaf.tool())?,
            uri: word(leaf.uri())?,
            prompt: word(leaf.name())?,
            decision: word(leaf.decision())?,
            cause: word(leaf.cause())?,
            actor: word(leaf.actor())?,
            ..Self::default()
        };
        if let Some(rules) = leaf.rules().filter(|rules| rules.0 != "[]") {
            row.rules = words.list(db, rules.0)?.0;
        }
        row.snapshot = number(leaf.snapshot());
        row.arguments_bytes = number(leaf.arguments_bytes());
        row.status = number(leaf.status());
        Ok(row)
    }

    /// Whether it has nothing but what most calls have.
    pub fn is_plain(&self) -> bool {
        let rare = [self.uri, self.prompt, self.cause, self.actor].iter().any(|code| *code != 0);
        let end = self.end.as_ref().is_none_or(|end| end.cause == 0 && end.more.is_none());
        !rare && end && self.more.is_none() && self.begun.is_none()
    }

    /// Writes one that is plain; `statement` is `sql::CALL_ADD_PLAIN`. Binding takes a good part of the time of a row.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn insert_plain(&self, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let (none, name) = (End::default(), self.name);
        let end = self.end.as_ref();
        let known = end.unwrap_or(&none);
        statement.execute(params![
            self.id,
            self.ts,
            name.map(|name| name.boot),
            name.map(|name| name.shard),
            name.map(|name| name.seq),
            self.event,
            some(self.agent),
            some(self.user),
            some(self.account),
            some(self.source),
            some(self.server),
            some(self.method),
            some(self.tool),
            some(self.decision),
            some(self.rules),
            self.snapshot,
            self.arguments_bytes,
            end.map(|end| end.at),
            known.status.or(self.status),
            some(known.outcome),
            known.duration_us,
            known.bytes,
        ])
    }

    /// Writes it; `statement` is `sql::CALL_ADD`.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn insert(&self, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let (none, name) = (End::default(), self.name);
        let end = self.end.as_ref();
        let known = end.unwrap_or(&none);
        statement.execute(params![
            self.id,
            self.ts,
            name.map(|name| name.boot),
            name.map(|name| name.shard),
            name.map(|name| name.seq),
            self.event,
            some(self.agent),
            some(self.user),
            some(self.account),
            some(self.source),
            some(self.server),
            some(self.method),
            some(self.tool),
            some(self.uri),
            some(self.prompt),
            some(self.decision),
            some(self.cause),
            some(self.rules),
            self.snapshot,
            self.arguments_bytes,
            some(self.actor),
            self.more,
            self.begun,
            end.map(|end| end.at),
            known.status.or(self.status),
            some(known.outcome),
            some(known.cause),
            known.duration_us,
            known.bytes,
            known.more,
        ])
    }
}

impl End {
    /// What the leaf of a result says.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn of(id: u64, leaf: &Leaf<'_>, entry: &[u8], words: &mut Words, db: &Connection) -> rusqlite::Result<Self> {
        // Most results are narrowed by nothing and objected to by none.
        let rare = [leaf.decision(), leaf.redactions(), leaf.rows_dropped()].iter().any(Option::is_some);
        Ok(Self {
            at: id,
            status: number(leaf.status()),
            outcome: word(words, db, leaf.outcome())?,
            cause: word(words, db, leaf.cause())?,
            duration_us: number(leaf.duration_us()),
            bytes: number(leaf.result_bytes()),
            more: if rare { beyond(entry, &WITH_END) } else { None },
        })
    }
}

/// A word as a column holds it.
pub fn some(code: Code) -> Option<Code> {
    if code == 0 { None } else { Some(code) }
}

/// Members of a result that have columns, or say nothing that the decision's row does not.
const WITH_END: [&str; 22] = [
    "v",
    "event",
    "boot",
    "shard",
    "seq",
    "ts",
    "prev",
    "decision_seq",
    "agent",
    "server",
    "status",
    "outcome",
    "cause",
    "duration_us",
    "obligations",
    "snapshot",
    "snapshot_hash",
    "result_bytes",
    "result_commit",
    "result_cut",
    "result_redacted",
    "result_digest",
];

/// Members of any other event that have columns, or only link records.
pub const WITH_ROW: [&str; 18] = [
    "v", "event", "boot", "shard", "seq", "ts", "prev", "agent", "user", "account", "source", "server", "method",
    "tool", "snapshot", "actor", "cause", "status",
];
