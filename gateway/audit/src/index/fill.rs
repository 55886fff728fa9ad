//! Fills the index. In: entries in the order of the log. Out: rows, and what they are found by, in one batch. Never here: which entries, when to commit.
//!
//! What a batch holds is kept in memory and written at its end, rows in their order: most calls begin and end within one batch, so that their row is
//! written once. A call whose decision was written by an earlier batch is found by `open` and its row changed.

use ahash::AHashMap;
use portcullis_tlog::checkpoint::Checkpoint;
use rusqlite::{Connection, OptionalExtension, params};

use super::leaf::{Leaf, Raw, beyond};
use super::posting::{self, Facet};
use super::row::{End, Name, Row, WITH_ROW, number, some, word};
use super::sql;
use super::words::{Code, Words};

/// A batch under way.
#[derive(Debug)]
pub struct Batch<'i> {
    db: &'i Connection,
    words: &'i mut Words,
    rows: Vec<Row>,
    /// Calls of this batch that have not ended, by their place in `rows`.
    open: AHashMap<Name, usize>,
    postings: AHashMap<(u64, Facet, Code), Vec<u8>>,
    used: AHashMap<Used, Count>,
    spans: AHashMap<(Code, u64, u64), Span>,
    latency: AHashMap<u64, u64>,
    /// The time of the entry before: that of one that has none.
    pub ts: i64,
}

/// What is counted for each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Used {
    day: i64,
    event: Code,
    agent: Code,
    server: Code,
    tool: Code,
    decision: Code,
    cause: Code,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    n: u64,
    first: i64,
    last: i64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    seq: (u64, u64),
    ts: (i64, i64),
}

/// Milliseconds of a day in UTC.
pub const DAY_MS: i64 = 86_400_000;

/// The event of an entry that is no record of a version that this one knows.
pub const UNREADABLE: &str = "unreadable";

/// The event of the first entry of a log that follows another.
pub const LOG_BEGUN: &str = "log.begun";

impl<'i> Batch<'i> {
    /// An empty one. The connection is within a transaction.
    pub fn new(db: &'i Connection, words: &'i mut Words, ts: i64) -> Self {
        Self {
            db,
            words,
            rows: Vec::new(),
            open: AHashMap::new(),
            postings: AHashMap::new(),
            used: AHashMap::new(),
            spans: AHashMap::new(),
            latency: AHashMap::new(),
            ts,
        }
    }

    /// Takes in the entry at a position.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn take(&mut self, id: u64, entry: &[u8]) -> rusqlite::Result<()> {
        let leaf = Leaf::of(entry);
        let named = leaf.as_ref().and_then(|leaf| Some((leaf, leaf.event()?.text()?, self.name(leaf).transpose()?)));
        let Some((leaf, event, name)) = named else {
            return self.stranger(id, entry);
        };
        let name = name?;
        self.ts = leaf.ts().and_then(|ts| ts.0.parse().ok()).unwrap_or(self.ts);
        self.spanned(id, name);
        match &*event {
            "decision" => self.decision(id, name, leaf),
            "result" | "result.ended" => self.end(id, name, leaf, entry),
            "result.begun" => self.begun(id, name, leaf, entry),
            "refusal" | "server.request" => self.alone(id, name, leaf, None),
            "outcome.unknown" => {
                self.unknown(id, leaf)?;
                self.alone(id, name, leaf, beyond(entry, &WITH_ROW))
            }
            _ => self.alone(id, name, leaf, beyond(entry, &WITH_ROW)),
        }
    }

    fn name(&mut self, leaf: &Leaf<'_>) -> rusqlite::Result<Option<Name>> {
        let (Some(shard), Some(seq), Some(boot)) =
            (number(leaf.shard()), number(leaf.seq()), leaf.boot().and_then(Raw::text))
        else {
            return Ok(None);
        };
        Ok(Some(Name { boot: self.words.code(self.db, &boot)?, shard, seq }))
    }

    /// An entry that is no record.
    fn stranger(&mut self, id: u64, entry: &[u8]) -> rusqlite::Result<()> {
        let note = std::str::from_utf8(entry).ok().and_then(|note| note.split_once("\n\n"));
        let begun = note.and_then(|(text, _signatures)| Checkpoint::parse(&format!("{text}\n")).ok());
        let event = self.words.code(self.db, if begun.is_some() { LOG_BEGUN } else { UNREADABLE })?;
        let more = begun.map(|old| serde_json::json!({"origin": old.origin, "size": old.head.size}).to_string());
        self.post(Facet::Event, event, id);
        self.rows.push(Row { id, ts: self.ts, event, more, ..Row::default() });
        Ok(())
    }

    fn row(&mut self, id: u64, name: Name, leaf: &Leaf<'_>) -> rusqlite::Result<Row> {
        let row = Row { name: Some(name), ts: self.ts, ..Row::of(id, leaf, self.words, self.db)? };
        for (facet, word) in [
            (Facet::Event, row.event),
            (Facet::Agent, row.agent),
            (Facet::User, row.user),
            (Facet::Account, row.account),
            (Facet::Server, row.server),
            (Facet::Tool, row.tool),
            (Facet::Decision, row.decision),
            (Facet::Cause, row.cause),
        ] {
            self.post(facet, word, id);
        }
        self.ruled(leaf, id)?;
        Ok(row)
    }

    fn decision(&mut self, id: u64, name: Name, leaf: &Leaf<'_>) -> rusqlite::Result<()> {
        let row = self.row(id, name, leaf)?;
        self.count(&row, row.event, row.decision, row.cause);
        // Whatever is not refused may have an effect.
        if leaf.decision().is_none_or(|decision| decision.0 != "\"deny\"") {
            self.open.insert(name, self.rows.len());
        }
        self.rows.push(row);
        Ok(())
    }

    fn alone(&mut self, id: u64, name: Name, leaf: &Leaf<'_>, more: Option<String>) -> rusqlite::Result<()> {
        let row = Row { more, ..self.row(id, name, leaf)? };
        if leaf.event().is_some_and(|event| event.0 == "\"refusal\"") {
            self.count(&row, row.event, row.decision, row.cause);
        }
        self.rows.push(row);
        Ok(())
    }

    fn end(&mut self, id: u64, name: Name, leaf: &Leaf<'_>, entry: &[u8]) -> rusqlite::Result<()> {
        let end = End::of(id, leaf, entry, self.words, self.db)?;
        if let Some(micros) = end.duration_us {
            *self.latency.entry(bucket(micros)).or_default() += 1;
        }
        let Some(place) = self.settles(Some(name), leaf)? else {
            // Its decision is not in the log: it stands for the call.
            let row = self.row(id, name, &leaf.unjudged())?;
            self.ended(id, &end, leaf)?;
            self.rows.push(Row { end: Some(end), ..row });
            return Ok(());
        };
        self.ended(place.id(&self.rows), &end, leaf)?;
        if leaf.decision().is_some_and(|decision| decision.0 == "\"deny\"") {
            let (event, denied) =
                (word(self.words, self.db, leaf.event())?, word(self.words, self.db, leaf.decision())?);
            let call = self.of_call(place)?;
            self.count(&call, event, denied, end.cause);
        }
        self.close(place, end)
    }

    fn begun(&mut self, id: u64, name: Name, leaf: &Leaf<'_>, entry: &[u8]) -> rusqlite::Result<()> {
        let decided = self.decided(Some(name), leaf)?;
        match self.find(decided)? {
            Some((_, Place::Here(at))) => {
                if let Some(row) = self.rows.get_mut(at) {
                    (row.begun, row.status) = (Some(id), number(leaf.status()));
                }
                Ok(())
            }
            Some((_, Place::Before(call))) => {
                self.db.prepare_cached(sql::CALL_BEGUN)?.execute(params![call, id, number(leaf.status())])?;
                Ok(())
            }
            None => self.alone(id, name, leaf, beyond(entry, &WITH_ROW)),
        }
    }

    /// A restart says that nobody knows what became of a call.
    fn unknown(&mut self, id: u64, leaf: &Leaf<'_>) -> rusqlite::Result<()> {
        let Some(place) = self.settles(None, leaf)? else { return Ok(()) };
        let outcome = self.words.code(self.db, "unknown")?;
        self.post(Facet::Outcome, outcome, place.id(&self.rows));
        self.close(place, End { at: id, outcome, ..End::default() })
    }

    /// The name of the decision that a record belongs to.
    fn decided(&mut self, own: Option<Name>, leaf: &Leaf<'_>) -> rusqlite::Result<Option<Name>> {
        let Some(seq) = number(leaf.decision_seq()) else { return Ok(None) };
        match (own, leaf.decision_boot().and_then(Raw::text), number(leaf.decision_shard())) {
            (Some(own), _, _) => Ok(Some(Name { seq, ..own })),
            (None, Some(boot), Some(shard)) => Ok(Some(Name { boot: self.words.code(self.db, &boot)?, shard, seq })),
            (None, _, _) => Ok(None),
        }
    }

    fn find(&self, name: Option<Name>) -> rusqlite::Result<Option<(Name, Place)>> {
        let Some(name) = name else { return Ok(None) };
        if let Some(at) = self.open.get(&name) {
            return Ok(Some((name, Place::Here(*at))));
        }
        let mut before = self.db.prepare_cached(sql::OPEN_ONE)?;
        let call = before.query_row(params![name.boot, name.shard, name.seq], |row| row.get(0)).optional()?;
        Ok(call.map(|call| (name, Place::Before(call))))
    }

    /// The open call that a record ends, which is open no longer.
    fn settles(&mut self, own: Option<Name>, leaf: &Leaf<'_>) -> rusqlite::Result<Option<Place>> {
        let name = self.decided(own, leaf)?;
        let Some((name, place)) = self.find(name)? else { return Ok(None) };
        match place {
            Place::Here(_) => drop(self.open.remove(&name)),
            Place::Before(_) => {
                self.db.prepare_cached(sql::OPEN_END)?.execute(params![name.boot, name.shard, name.seq])?;
            }
        }
        Ok(Some(place))
    }

    fn close(&mut self, place: Place, end: End) -> rusqlite::Result<()> {
        match place {
            Place::Here(at) => {
                if let Some(row) = self.rows.get_mut(at) {
                    row.end = Some(end);
                }
            }
            Place::Before(call) => {
                let status = end.status;
                self.db.prepare_cached(sql::CALL_END)?.execute(params![
                    call,
                    end.at,
                    status,
                    some(end.outcome),
                    some(end.cause),
                    end.duration_us,
                    end.bytes,
                    end.more,
                ])?;
            }
        }
        Ok(())
    }

    /// What the counts need of a call.
    fn of_call(&self, place: Place) -> rusqlite::Result<Row> {
        match place {
            Place::Here(at) => Ok(self.rows.get(at).cloned().unwrap_or_default()),
            Place::Before(call) => self.db.prepare_cached(sql::CALL_KEY)?.query_row([call], |row| {
                let code = |at| row.get::<_, Option<Code>>(at).map(Option::unwrap_or_default);
                Ok(Row { agent: code(0)?, server: code(1)?, tool: code(2)?, method: code(3)?, ..Row::default() })
            }),
        }
    }

    /// Makes a row findable by how it ended.
    fn ended(&mut self, call: u64, end: &End, leaf: &Leaf<'_>) -> rusqlite::Result<()> {
        self.post(Facet::Outcome, end.outcome, call);
        self.post(Facet::Cause, end.cause, call);
        self.ruled(leaf, call)
    }

    fn ruled(&mut self, leaf: &Leaf<'_>, call: u64) -> rusqlite::Result<()> {
        let Some(rules) = leaf.rules().filter(|rules| rules.0 != "[]") else { return Ok(()) };
        for rule in self.words.list(self.db, rules.0)?.1 {
            self.post(Facet::Rule, rule, call);
        }
        Ok(())
    }

    fn post(&mut self, facet: Facet, word: Code, id: u64) {
        if word != 0 {
            self.postings.entry((posting::block(id), facet, word)).or_default().extend(posting::place(id));
        }
    }

    fn count(&mut self, call: &Row, event: Code, decision: Code, cause: Code) {
        let day = self.ts.div_euclid(DAY_MS);
        let tool = if call.tool == 0 { call.method } else { call.tool };
        let key = Used { day, event, agent: call.agent, server: call.server, tool, decision, cause };
        let count = self.used.entry(key).or_insert(Count { n: 0, first: self.ts, last: self.ts });
        *count = Count { n: count.n + 1, first: count.first.min(self.ts), last: count.last.max(self.ts) };
    }

    fn spanned(&mut self, id: u64, name: Name) {
        let (seq, ts) = (name.seq, self.ts);
        let span = self
            .spans
            .entry((name.boot, name.shard, posting::block(id)))
            .or_insert(Span { seq: (seq, seq), ts: (ts, ts) });
        *span = Span { seq: (span.seq.0.min(seq), span.seq.1.max(seq)), ts: (span.ts.0.min(ts), span.ts.1.max(ts)) };
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn write(self) -> rusqlite::Result<()> {
        let (mut plain, mut add) =
            (self.db.prepare_cached(sql::CALL_ADD_PLAIN)?, self.db.prepare_cached(sql::CALL_ADD)?);
        for row in &self.rows {
            if row.is_plain() {
                row.insert_plain(&mut plain)?
            } else {
                row.insert(&mut add)?
            };
        }
        let mut add = self.db.prepare_cached(sql::OPEN_ADD)?;
        for (name, at) in &self.open {
            add.execute(params![name.boot, name.shard, name.seq, self.rows.get(*at).map(|row| row.id)])?;
        }
        let mut add = self.db.prepare_cached(sql::POSTING_ADD)?;
        // In the order of the table, so that neighbours are written together.
        let mut postings: Vec<_> = self.postings.into_iter().collect();
        postings.sort_unstable_by_key(|(key, _)| *key);
        let mut totals: AHashMap<(Facet, Code), usize> = AHashMap::new();
        for ((block, facet, word), places) in postings {
            add.execute(params![block, facet as u8, word, places])?;
            if facet.is_counted() {
                *totals.entry((facet, word)).or_default() += places.len() / 2;
            }
        }
        let mut add = self.db.prepare_cached(sql::TOTAL_ADD)?;
        for ((facet, word), n) in totals {
            add.execute(params![facet as u8, word, n])?;
        }
        let mut add = self.db.prepare_cached(sql::SPAN_ADD)?;
        for ((boot, shard, block), span) in self.spans {
            add.execute(params![boot, shard, block, span.seq.0, span.seq.1, span.ts.0, span.ts.1])?;
        }
        let mut add = self.db.prepare_cached(sql::USED_ADD)?;
        let mut used: Vec<_> = self.used.into_iter().collect();
        used.sort_unstable_by_key(|(key, _)| *key);
        for (key, count) in used {
            let Used { day, event, agent, server, tool, decision, cause } = key;
            add.execute(params![day, event, agent, server, tool, decision, cause, count.n, count.first, count.last])?;
        }
        let mut add = self.db.prepare_cached(sql::LATENCY_ADD)?;
        for (bucket, n) in self.latency {
            add.execute(params![bucket, n])?;
        }
        Ok(())
    }
}

/// Where the row of an open call is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In this batch.
    Here(usize),
    /// In the file, at this position.
    Before(u64),
}

impl Place {
    fn id(self, rows: &[Row]) -> u64 {
        match self {
            Self::Here(at) => rows.get(at).map(|row| row.id).unwrap_or_default(),
            Self::Before(id) => id,
        }
    }
}

/// The bucket of a duration: eight to each doubling, so that a percentile is told within 9 %.
pub fn bucket(micros: u64) -> u64 {
    match micros.checked_ilog2() {
        Some(height @ 3..) => u64::from(height) * 8 + ((micros >> (height - 3)) & 7),
        Some(_) | None => micros,
    }
}

/// The least duration of a bucket.
pub fn micros(bucket: u64) -> u64 {
    match bucket / 8 {
        height @ 3.. => (8 | (bucket % 8)).checked_shl(u32::try_from(height - 3).unwrap_or(64)).unwrap_or(u64::MAX),
        _ => bucket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_within_an_eighth_of_its_own() {
        for exact in (0..2_000).chain([1_000_000, 60_000_000, u64::MAX / 2]) {
            let told = micros(bucket(exact));
            assert!(told <= exact && exact - told <= exact / 8, "given {exact}, got {told}");
            assert!(bucket(exact) <= bucket(exact + 1), "given {exact}");
        }
    }
}
