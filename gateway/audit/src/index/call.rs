//! Tells what the index knows of a call. In: a position. Out: the members of its record and of its end, as people and programs read them. Never here: which.

use portcullis_core::audit::view;
use portcullis_core::time::UnixMillis;
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use serde_json::{Map, Value};

use super::query::Seen;
use super::words::{Code, Texts};
use super::{IndexError, Place, sql};

/// A call, or a record that is no part of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// `BOOT-SHARD-SEQ` of the decision, or of the record that stands alone; none for an entry that is no record.
    pub id: Option<String>,
    /// The number of the log in which it stands.
    pub log: u32,
    /// Its index in that log's tree.
    pub index: u64,
    /// RFC 3339.
    pub time: String,
    /// The members of the record, under the names they have in it.
    #[serde(flatten)]
    pub record: Map<String, Value>,
    /// How it ended, with the place of the record that says so; none while it has not, or where there is nothing to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Map<String, Value>>,
    /// How far it is.
    pub state: State,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is to come.
    Settled,
    /// It was let pass, and the log holds no end of it.
    Open,
    /// Its release began, and the log holds no end of it.
    PartlyReleased,
}

impl Call {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { log: Some(self.log), index: self.index }
    }

    /// A text member of the record.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.record.get(name).and_then(Value::as_str)
    }

    /// As `view::one_line` takes it; none for an entry that is no record.
    pub fn paired(&self) -> Option<view::Call> {
        let answer = match (&self.result, self.state) {
            (Some(result), _) => {
                let of_decision = |name: &str| Some((name.to_owned(), self.record.get(name)?.clone()));
                let mut members: Map<String, Value> =
                    ["boot", "shard", "seq", "ts"].into_iter().filter_map(of_decision).collect();
                members.insert("event".to_owned(), Value::from("result"));
                members.extend(result.clone());
                view::Answer::Given(Box::new(entry(&members)?))
            }
            (None, State::Settled) => view::Answer::NotExpected,
            (None, State::Open) => view::Answer::Unknown,
            (None, State::PartlyReleased) => view::Answer::PartlyReleased,
        };
        Some(view::Call { entry: entry(&self.record)?, answer })
    }
}

fn entry(members: &Map<String, Value>) -> Option<view::Entry> {
    serde_json::to_string(members).ok().and_then(|text| view::parse(&text).ok())
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Word,
    Number,
    /// A word that is a list of words, as JSON.
    List,
    /// Members that have no column, as JSON.
    More,
}

/// The columns of `call` that say what the record does, and how the record calls it.
const RECORD: [(usize, &str, Holds); 20] = [
    (2, "boot", Holds::Word),
    (3, "shard", Holds::Number),
    (4, "seq", Holds::Number),
    (1, "ts", Holds::Number),
    (5, "event", Holds::Word),
    (6, "agent", Holds::Word),
    (7, "user", Holds::Word),
    (8, "account", Holds::Word),
    (9, "source", Holds::Word),
    (10, "server", Holds::Word),
    (11, "method", Holds::Word),
    (12, "tool", Holds::Word),
    (13, "uri", Holds::Word),
    (14, "name", Holds::Word),
    (15, "decision", Holds::Word),
    (16, "cause", Holds::Word),
    (17, "rules", Holds::List),
    (18, "snapshot", Holds::Number),
    (19, "arguments_bytes", Holds::Number),
    (20, "actor", Holds::Word),
];

/// What else a record says.
const MORE: [(usize, &str, Holds); 1] = [(21, "", Holds::More)];

/// The status of a record that is no call.
const STATUS: [(usize, &str, Holds); 1] = [(24, "status", Holds::Number)];

/// The columns that say how a call ended.
const RESULT: [(usize, &str, Holds); 6] = [
    (24, "status", Holds::Number),
    (25, "outcome", Holds::Word),
    (26, "cause", Holds::Word),
    (27, "duration_us", Holds::Number),
    (28, "result_bytes", Holds::Number),
    (29, "", Holds::More),
];

/// Reads rows; a word is asked for once.
pub(super) struct Reader<'s, 'i> {
    seen: &'s Seen<'i>,
    texts: Texts,
}

impl<'s, 'i> Reader<'s, 'i> {
    pub fn new(seen: &'s Seen<'i>) -> Self {
        Self { seen, texts: Texts::default() }
    }

    /// The text of a word; empty for none.
    pub fn word(&mut self, code: Option<Code>) -> Result<String, IndexError> {
        Ok(self.texts.text(self.seen.db, code)?.unwrap_or_default())
    }

    /// The call at a position, where there is one and its time is wanted.
    pub fn call(&mut self, id: u64, wanted: &dyn Fn(i64) -> bool) -> Result<Option<Call>, IndexError> {
        let mut one = self.seen.db.prepare_cached(sql::CALL_ONE)?;
        let told = one.query_row([id], |row| if wanted(row.get(1)?) { self.told(id, row).map(Some) } else { Ok(None) });
        Ok(told.optional()?.flatten())
    }

    fn told(&mut self, id: u64, row: &Row<'_>) -> rusqlite::Result<Call> {
        let mut record = self.members(row, &RECORD)?;
        let (ts, begun, result): (i64, Option<u64>, Option<u64>) = (row.get(1)?, row.get(22)?, row.get(23)?);
        let mut end = None;
        if let Some(at) = result {
            let (log, index) = self.seen.place(at);
            let mut members = Map::new();
            members.insert("log".to_owned(), Value::from(log));
            members.insert("index".to_owned(), Value::from(index));
            members.extend(self.members(row, &RESULT)?);
            end = Some(members);
        } else if begun.is_none() {
            record.extend(self.members(row, &STATUS)?);
        }
        record.extend(self.members(row, &MORE)?);
        let text = |name| record.get(name).and_then(Value::as_str);
        let passed = text("event") == Some("decision") && text("decision") != Some("deny");
        let state = match (passed && result.is_none(), begun) {
            (true, Some(_)) => State::PartlyReleased,
            (true, None) => State::Open,
            (false, _) => State::Settled,
        };
        let number = |name| record.get(name).and_then(Value::as_u64);
        let name = text("boot").zip(number("shard")).zip(number("seq"));
        let id_text = name.map(|((boot, shard), seq)| format!("{boot}-{shard}-{seq}"));
        let (log, index) = self.seen.place(id);
        Ok(Call { id: id_text, log, index, time: UnixMillis(ts).rfc3339(), record, result: end, state })
    }

    fn members(&mut self, row: &Row<'_>, columns: &[(usize, &str, Holds)]) -> rusqlite::Result<Map<String, Value>> {
        let mut members = Map::new();
        for (at, name, holds) in columns {
            if row.get_ref(*at)? == ValueRef::Null {
                continue;
            }
            let value = match holds {
                Holds::Number => Value::from(row.get::<_, i64>(*at)?),
                Holds::Word => Value::from(self.texts.text(self.seen.db, row.get(*at)?)?.unwrap_or_default()),
                Holds::List => {
                    let list = self.texts.text(self.seen.db, row.get(*at)?)?.unwrap_or_default();
                    serde_json::from_str(&list).unwrap_or_default()
                }
                Holds::More => {
                    let more: String = row.get(*at)?;
                    members.extend(serde_json::from_str::<Map<String, Value>>(&more).unwrap_or_default());
                    continue;
                }
            };
            members.insert((*name).to_owned(), value);
        }
        Ok(members)
    }
}
