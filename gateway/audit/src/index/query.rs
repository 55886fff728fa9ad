//! Finds calls. In: what they have in common, a span of time, where the page before ended. Out: a page of calls, newest first, and the checkpoint
//! it was computed at. Never here: writing.
//!
//! A page goes on at a position, not after a count, so that it holds what it would have held had nothing been added since.

use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::proof::Head;
use rusqlite::{Connection, Transaction, params};

use super::call::{Call, Reader};
use super::leaf::{Leaf, Raw};
use super::posting::{self, Facet, block};
use super::words::{Code, find};
use super::{Covered, Index, IndexError, Place, covered, sql};
use crate::logs::Numbered;

/// Calls of a page at most.
pub const LIMIT_MAX: usize = 10_000;

/// What calls are to have in common. What is none is open.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each is the member of a record that it is named after")]
pub struct Query {
    pub agent: Option<String>,
    pub user: Option<String>,
    pub account: Option<String>,
    pub server: Option<String>,
    /// `TOOL`, or `SERVER.TOOL`.
    pub tool: Option<String>,
    pub decision: Option<String>,
    pub cause: Option<String>,
    pub rule: Option<String>,
    pub event: Option<String>,
    pub outcome: Option<String>,
    /// The first instant.
    pub from: Option<UnixMillis>,
    /// The first instant after it.
    pub to: Option<UnixMillis>,
    /// Only what stands before this place: [`Page::next`] of the page before.
    pub cursor: Option<Place>,
    /// Calls at most; no more than [`LIMIT_MAX`].
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it was computed at: of the newest log, to which those before it are chained.
    pub checkpoint: Checkpoint,
    /// The calls, newest first: in the opposite order of the log.
    pub calls: Vec<Call>,
    /// Where older ones follow.
    pub next: Option<Place>,
}

impl Index {
    /// Finds calls.
    ///
    /// # Errors
    /// When the index is not finished or cannot be read, or the cursor is of no log.
    pub fn query(&self, query: &Query) -> Result<Page, IndexError> {
        let seen = Seen::new(&self.db)?;
        let mut reader = Reader::new(&seen);
        let limit = query.limit.min(LIMIT_MAX);
        let mut calls = Vec::new();
        let mut more = false;
        seen.each(query, &mut |id| {
            let Some(call) = reader.call(id, &|ts| query.holds(ts))? else { return Ok(Go::On) };
            more = calls.len() >= limit;
            if !more {
                calls.push(call);
            }
            Ok(if more { Go::Stop } else { Go::On })
        })?;
        let next = calls.last().filter(|_| more).map(Call::place);
        Ok(Page { checkpoint: seen.checkpoint(), calls, next })
    }

    /// Where a record stands, also one that has no row of its own; the log itself is read for it, a few thousand entries.
    ///
    /// # Errors
    /// When the index is not finished, or it or the log cannot be read.
    pub fn find(&self, logs: &[Numbered], (boot, shard, seq): (&str, u64, u64)) -> Result<Option<Place>, IndexError> {
        for (from, to) in self.holding(boot, shard, seq)? {
            let Some(log) = logs.iter().find(|log| Some(log.number) == from.log) else { continue };
            for entry in log.log.entries(from.index) {
                let (index, entry) = entry.map_err(|cause| IndexError::Log(log.number, cause))?;
                if index >= to.index {
                    break;
                }
                let Some(leaf) = Leaf::of(&entry) else { continue };
                let number = |raw: Option<Raw<'_>>| raw.and_then(Raw::number);
                let named = leaf.boot().and_then(Raw::text).is_some_and(|text| text == boot);
                if named && number(leaf.shard()) == Some(shard) && number(leaf.seq()) == Some(seq) {
                    return Ok(Some(Place { log: from.log, index }));
                }
            }
        }
        Ok(None)
    }

    /// The places between which a record may stand, by its name.
    fn holding(&self, boot: &str, shard: u64, seq: u64) -> Result<Vec<(Place, Place)>, IndexError> {
        let seen = Seen::new(&self.db)?;
        let Some(boot) = find(&self.db, boot)? else { return Ok(Vec::new()) };
        let mut blocks = self.db.prepare_cached(sql::SPAN_HOLDING)?;
        let blocks = blocks.query_map(params![boot, shard, seq], |row| row.get::<_, u64>(0))?;
        let mut places = Vec::new();
        for read in blocks {
            let first = read? * posting::BLOCK;
            places.extend(seen.logs.iter().filter_map(|log| {
                let size = log.checkpoint.head.size;
                let from = first.max(log.base).checked_sub(log.base)?;
                let to = (first + posting::BLOCK).min(log.base + size).checked_sub(log.base)?;
                let place = |index| Place { log: Some(log.number), index };
                (from < to).then(|| (place(from), place(to)))
            }));
        }
        Ok(places)
    }
}

impl Query {
    /// Whether a time is within its span.
    pub(super) fn holds(&self, ts: i64) -> bool {
        self.from.is_none_or(|from| ts >= from.0) && self.to.is_none_or(|to| ts < to.0)
    }
}

/// Whether there is more to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Stop,
}

/// The file as it was at one moment, and what it covered then.
pub(super) struct Seen<'i> {
    pub db: &'i Connection,
    pub logs: Vec<Covered>,
    /// Until it is dropped, what others write is not seen.
    _moment: Transaction<'i>,
}

impl<'i> Seen<'i> {
    pub fn new(db: &'i Connection) -> Result<Self, IndexError> {
        let moment = db.unchecked_transaction()?;
        let logs = covered(db)?;
        Ok(Self { db, logs, _moment: moment })
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let newest = self.logs.last().map(|log| log.checkpoint.clone());
        // `covered` gives one at least.
        newest.unwrap_or_else(|| Checkpoint { origin: String::new(), head: Head { size: 0, hash: [0; 32] } })
    }

    /// The position of a place.
    fn position(&self, place: Place) -> Result<u64, IndexError> {
        let log = self.logs.iter().rfind(|log| place.log.is_none_or(|number| number == log.number));
        let log = log.filter(|log| place.index < log.checkpoint.head.size).ok_or(IndexError::NoPlace(place))?;
        Ok(log.base + place.index)
    }

    /// The place of a position.
    pub fn place(&self, id: u64) -> (u32, u64) {
        self.logs.iter().rfind(|log| log.base <= id).map_or((0, id), |log| (log.number, id - log.base))
    }

    /// The positions between which everything within a span of time stands; nothing of what is older or newer is promised to stand outside.
    fn bounds(&self, query: &Query) -> Result<Option<(u64, u64)>, IndexError> {
        let asked = |sql, at: UnixMillis| -> rusqlite::Result<Option<u64>> {
            self.db.prepare_cached(sql)?.query_row([at.0], |row| row.get(0))
        };
        let end = self.logs.last().map_or(0, |log| log.base + log.checkpoint.head.size);
        let mut to = query.cursor.map_or(Ok(end), |place| self.position(place))?;
        let mut from = 0;
        if let Some(at) = query.from {
            let Some(first) = asked(sql::SPAN_FROM, at)? else { return Ok(None) };
            from = first * posting::BLOCK;
        }
        if let Some(at) = query.to {
            let Some(last) = asked(sql::SPAN_TO, at)? else { return Ok(None) };
            to = to.min((last + 1) * posting::BLOCK);
        }
        Ok((from < to).then_some((from, to)))
    }

    /// What the query names, as facets and words; none where one of them is in no record.
    fn filters(&self, query: &Query) -> Result<Option<Vec<(Facet, Code)>>, IndexError> {
        let (mut server, mut tool) = (query.server.clone(), query.tool.clone());
        if let Some((before, after)) = query.tool.as_deref().and_then(|tool| tool.split_once('.'))
            && server.as_deref().is_none_or(|server| server == before)
            && self.has(Facet::Server, before)?
        {
            (server, tool) = (Some(before.to_owned()), Some(after.to_owned()));
        }
        let mut filters = Vec::new();
        for (facet, text) in [
            // What is rarest by its nature comes first: where a block has none of it, the rest need not be read.
            (Facet::Account, &query.account),
            (Facet::User, &query.user),
            (Facet::Agent, &query.agent),
            (Facet::Rule, &query.rule),
            (Facet::Tool, &tool),
            (Facet::Cause, &query.cause),
            (Facet::Outcome, &query.outcome),
            (Facet::Event, &query.event),
            (Facet::Server, &server),
            (Facet::Decision, &query.decision),
        ] {
            let Some(text) = text else { continue };
            let Some(code) = find(self.db, text)? else { return Ok(None) };
            filters.push((facet, code));
        }
        Ok(Some(filters))
    }

    fn has(&self, facet: Facet, text: &str) -> Result<bool, IndexError> {
        let Some(code) = find(self.db, text)? else { return Ok(false) };
        Ok(self.db.prepare_cached(sql::TOTAL_ONE)?.exists(params![facet as u8, code])?)
    }

    /// The positions of all rows that the query names, newest first; those at the edges of its span of time may lie outside of it.
    pub fn each(&self, query: &Query, then: &mut dyn FnMut(u64) -> Result<Go, IndexError>) -> Result<(), IndexError> {
        let (Some((from, to)), Some(filters)) = (self.bounds(query)?, self.filters(query)?) else { return Ok(()) };
        if filters.is_empty() {
            return self.all((from, to), then);
        }
        for at in (block(from)..=block(to - 1)).rev() {
            for id in self.within(at, &filters)?.into_iter().rev().filter(|id| (from..to).contains(id)) {
                if then(id)? == Go::Stop {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The positions within a block that have all of these properties.
    fn within(&self, at: u64, filters: &[(Facet, Code)]) -> Result<Vec<u64>, IndexError> {
        let mut one = self.db.prepare_cached(sql::POSTING_ONE)?;
        let mut all: Option<Vec<u64>> = None;
        for (facet, code) in filters {
            let mut found = one.query(params![at, *facet as u8, code])?;
            let Some(row) = found.next()? else { return Ok(Vec::new()) };
            let places = row.get_ref(0)?.as_blob().unwrap_or_default();
            all = Some(match all {
                None => posting::positions(at, places),
                Some(known) => posting::common(known, at, places),
            });
        }
        Ok(all.unwrap_or_default())
    }

    fn all(
        &self,
        (from, to): (u64, u64),
        then: &mut dyn FnMut(u64) -> Result<Go, IndexError>,
    ) -> Result<(), IndexError> {
        let mut walk = self.db.prepare_cached(sql::CALL_WALK)?;
        let mut found = walk.query(params![from, to])?;
        while let Some(row) = found.next()? {
            if then(row.get(0)?)? == Go::Stop {
                break;
            }
        }
        Ok(())
    }
}
