//! Counts calls. In: spans of time, an account. Out: how many, by whom, of what, first and last. Never here: single calls, how it is shown.

use std::collections::BTreeMap;

use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use rusqlite::{OptionalExtension, params};

use super::call::{Call, Reader};
use super::fill::{self, DAY_MS};
use super::posting::Facet;
use super::query::{Go, Query, Seen};
use super::words::Code;
use super::{Index, IndexError, sql};

/// Whole days in UTC: counts are kept a day each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first, counted from 1970-01-01.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl Days {
    /// Those that hold a span of time.
    pub fn of(from: Option<UnixMillis>, to: Option<UnixMillis>) -> Self {
        Self {
            first: from.map_or(i64::MIN, |from| from.0.div_euclid(DAY_MS)),
            last: to.map_or(i64::MAX, |to| to.0.saturating_sub(1).div_euclid(DAY_MS)),
        }
    }
}

/// How many of one kind, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub n: u64,
    /// The first, in Unix milliseconds.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl Count {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { n: self.n + other.n, first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// Calls of some days that have all of this in common. Texts are empty for what there is none of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// `decision`, `refusal`, or `result` and `result.ended` for results that rules withheld.
    pub event: String,
    /// Who.
    pub agent: String,
    /// Where.
    pub server: String,
    /// The tool; the method for what is none.
    pub tool: String,
    /// What was decided.
    pub decision: String,
    /// Why, where it was refused.
    pub cause: String,
    /// How many.
    pub count: Count,
}

/// Calls on one account that have all of this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Who.
    pub agent: String,
    /// For whom.
    pub user: String,
    /// Where.
    pub server: String,
    /// The tool; the method for what is none.
    pub tool: String,
    /// What was decided.
    pub decision: String,
    /// How many.
    pub count: Count,
}

/// What the index holds, all in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// The first record's time, in Unix milliseconds.
    pub first: Option<i64>,
    /// The last's.
    pub last: Option<i64>,
    /// Records by event; a call counts as its decision.
    pub events: Vec<(String, u64)>,
    /// Calls by how they ended.
    pub outcomes: Vec<(String, u64)>,
    /// Calls that have not ended.
    pub open: u64,
    /// Durations, each the least of its bucket in microseconds, and how many calls took as long.
    pub durations: Vec<(u64, u64)>,
}

impl Index {
    /// The checkpoint that answers are computed at.
    ///
    /// # Errors
    /// When the index is not finished or cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint, IndexError> {
        Ok(Seen::new(&self.db)?.checkpoint())
    }

    /// Calls by who, what, and whether.
    ///
    /// # Errors
    /// As [`Index::checkpoint`].
    pub fn tallies(&self, days: Days) -> Result<Vec<Tally>, IndexError> {
        let seen = Seen::new(&self.db)?;
        let mut reader = Reader::new(&seen);
        let mut used = self.db.prepare_cached(sql::USED_DAYS)?;
        let mut found = used.query(params![days.first, days.last])?;
        let mut tallies = Vec::new();
        while let Some(row) = found.next()? {
            let mut word = |at| -> Result<String, IndexError> { reader.word(row.get(at)?) };
            let count = Count { n: row.get(6)?, first: row.get(7)?, last: row.get(8)? };
            let (event, agent, server) = (word(0)?, word(1)?, word(2)?);
            tallies.push(Tally { event, agent, server, tool: word(3)?, decision: word(4)?, cause: word(5)?, count });
        }
        Ok(tallies)
    }

    /// Calls on an account, by who, what, and whether.
    ///
    /// # Errors
    /// As [`Index::checkpoint`].
    pub fn touches(&self, query: &Query) -> Result<Vec<Touch>, IndexError> {
        type Key = [Option<Code>; 5];
        let seen = Seen::new(&self.db)?;
        let mut one = self.db.prepare_cached(sql::CALL_TOUCH)?;
        let mut counts: BTreeMap<Key, Count> = BTreeMap::new();
        seen.each(query, &mut |id| {
            let read = one.query_row([id], |row| {
                let (tool, method): (Option<Code>, Option<Code>) = (row.get(4)?, row.get(5)?);
                let key = [row.get(1)?, row.get(2)?, row.get(3)?, tool.or(method), row.get(6)?];
                Ok((row.get::<_, i64>(0)?, key))
            });
            if let Some((ts, key)) = read.optional()?.filter(|(ts, _)| query.holds(*ts)) {
                let count = Count { n: 1, first: ts, last: ts };
                counts.entry(key).and_modify(|known| *known = known.and(count)).or_insert(count);
            }
            Ok(Go::On)
        })?;
        let mut reader = Reader::new(&seen);
        let mut touches = Vec::new();
        for ([agent, user, server, tool, decision], count) in counts {
            let (agent, user, server) = (reader.word(agent)?, reader.word(user)?, reader.word(server)?);
            touches.push(Touch {
                agent,
                user,
                server,
                tool: reader.word(tool)?,
                decision: reader.word(decision)?,
                count,
            });
        }
        Ok(touches)
    }

    /// Calls that were let pass and have no end in the log, newest first, and the latest start of the gateway: those of any other can only have
    /// been lost.
    ///
    /// # Errors
    /// As [`Index::checkpoint`].
    pub fn open_calls(&self, limit: usize) -> Result<(Vec<Call>, Option<String>), IndexError> {
        let seen = Seen::new(&self.db)?;
        let mut reader = Reader::new(&seen);
        let mut all = self.db.prepare_cached(sql::OPEN_ALL)?;
        let ids: Result<Vec<u64>, _> = all.query_map([], |row| row.get(0))?.collect();
        let mut ids = ids?;
        ids.sort_unstable();
        let mut calls = Vec::new();
        for id in ids.into_iter().rev().take(limit) {
            calls.extend(reader.call(id, &|_| true)?);
        }
        let boot = latest(&seen, &mut reader)?;
        Ok((calls, boot))
    }

    /// The latest start of the gateway of which there is a record.
    ///
    /// # Errors
    /// As [`Index::checkpoint`].
    pub fn latest_boot(&self) -> Result<Option<String>, IndexError> {
        let seen = Seen::new(&self.db)?;
        latest(&seen, &mut Reader::new(&seen))
    }

    /// What there is, all in all.
    ///
    /// # Errors
    /// As [`Index::checkpoint`].
    pub fn holdings(&self) -> Result<Holdings, IndexError> {
        let seen = Seen::new(&self.db)?;
        let mut reader = Reader::new(&seen);
        let time = |sql| self.db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional();
        let mut durations = Vec::new();
        let mut latency = self.db.prepare_cached(sql::LATENCY_ALL)?;
        let mut found = latency.query([])?;
        while let Some(row) = found.next()? {
            durations.push((fill::micros(row.get(0)?), row.get(1)?));
        }
        let mut open = self.db.prepare_cached(sql::OPEN_ALL)?;
        let open = open.query_map([], |_| Ok(()))?.count() as u64;
        Ok(Holdings {
            first: time(sql::CALL_FIRST)?,
            last: time(sql::CALL_LAST)?,
            events: words(&seen, &mut reader, Facet::Event)?,
            outcomes: words(&seen, &mut reader, Facet::Outcome)?,
            open,
            durations,
        })
    }
}

fn latest(seen: &Seen<'_>, reader: &mut Reader<'_, '_>) -> Result<Option<String>, IndexError> {
    let mut last = seen.db.prepare_cached(sql::CALL_LAST)?;
    let boot: Option<Option<Code>> = last.query_row([], |row| row.get(1)).optional()?;
    let boot = reader.word(boot.flatten())?;
    Ok(Some(boot).filter(|boot| !boot.is_empty()))
}

fn words(seen: &Seen<'_>, reader: &mut Reader<'_, '_>, facet: Facet) -> Result<Vec<(String, u64)>, IndexError> {
    let mut words = seen.db.prepare_cached(sql::TOTAL_ALL)?;
    let mut found = words.query([facet as u8])?;
    let mut counts = Vec::new();
    while let Some(row) = found.next()? {
        counts.push((reader.word(row.get(0)?)?, row.get(1)?));
    }
    counts.sort_by(|(one, few), (other, many): &(String, u64)| many.cmp(few).then_with(|| one.cmp(other)));
    Ok(counts)
}
