//! Takes records out of the log. In: the signed log, a span of it, where they go. Out: lines, events, rows or messages, and where to go on.
//! Never here: who may ask, the record of having asked.
//!
//! Everything is read entry by entry, so that a log of any length goes through bounded memory. JSONL gives the leaves themselves; the other
//! forms give one item a call, its decision and its result together (see `calls` for how long a decision waits). What an export does depends
//! on the log and the span alone: one that goes on after another gives what the other did not, once.

pub mod calls;
pub mod endpoint;
mod http;
mod item;
pub mod jsonl;
pub mod ocsf;
pub mod otlp;
pub mod outlet;
pub mod parquet;
mod protobuf;
pub mod source;
pub mod syslog;
mod wire;

use std::fmt;
use std::io;

use calls::{Calls, Item};
use jsonl::Jsonl;
use portcullis_core::audit::view;
use source::{Leaf, Position, Source};

/// Where the values of records are: the arguments of a decision, the result of a result.
pub trait Values {
    /// The value of the record at this place as JSON text; none where it has none, it was not kept, or it has been erased.
    ///
    /// # Errors
    /// When it is there and cannot be read: an export without it would look as if it had been erased.
    fn of(&mut self, at: Position) -> io::Result<Option<String>>;
}

/// No value at all: what is asked for where only the records are.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoValues;

impl Values for NoValues {
    fn of(&mut self, _at: Position) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// The values of an item: its arguments, its result.
#[derive(Debug)]
struct Both {
    arguments: Option<String>,
    result: Option<String>,
}

impl Both {
    fn of(item: &Item, values: &mut dyn Values) -> Result<Self, Fault> {
        let mut value = |at| values.of(at).map_err(Fault::Values);
        let called = item.first.entry.event == "decision";
        let arguments = if called { value(item.first.leaf.at)? } else { None };
        let end = item.result().or_else(|| (!called).then_some(&item.first));
        let result =
            end.filter(|end| end.entry.event.starts_with("result")).map(|end| value(end.leaf.at)).transpose()?;
        Ok(Self { arguments, result: result.flatten() })
    }
}

/// Which records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Only what stands after this entry.
    pub after: Option<Position>,
    /// Only what was recorded at this Unix millisecond or later; of a call its decision counts.
    pub from: Option<i64>,
    /// Only what was recorded before this Unix millisecond; of a call its decision counts.
    pub until: Option<i64>,
    /// What becomes of calls that have no end yet where the log ends.
    pub open: OpenCalls,
}

impl Span {
    fn holds(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }
}

/// What becomes of calls that have no end yet where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenCalls {
    /// They wait for the next export, and come once.
    #[default]
    Wait,
    /// They come as they stand, and again when they have ended.
    Give,
}

/// What takes calls.
pub trait Sink {
    /// Takes one.
    ///
    /// # Errors
    /// When it cannot be written or sent.
    fn put(&mut self, item: &Item, values: &mut dyn Values) -> Result<Put, Fault>;

    /// All items up to this entry have been put; what is held back may go now.
    ///
    /// # Errors
    /// When what was held back cannot be sent.
    fn reached(&mut self, at: Position) -> Result<(), Fault>;

    /// No more comes: what is held back goes now.
    ///
    /// # Errors
    /// When it cannot be written or sent.
    fn finish(&mut self) -> Result<(), Fault>;

    /// The last entry up to which everything has arrived where it goes.
    fn delivered(&self) -> Option<Position>;
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is taken.
    Taken,
    /// The form has no place for an event of its kind.
    NoPlace,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries read.
    pub read: u64,
    /// Entries there are to read.
    pub total: u64,
    /// Up to where everything has arrived.
    pub delivered: Option<Position>,
}

/// What an export came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Leaves or calls that were given.
    pub records: u64,
    /// Records that the form has no place for.
    pub no_place: u64,
    /// Entries that are no record of this version.
    pub unreadable: u64,
    /// Calls without an end yet where the log ends.
    pub under_way: u64,
    /// Everything up to this entry has arrived; a next export goes on after it.
    pub delivered: Option<Position>,
}

/// An export that did not come to its end.
#[derive(Debug)]
pub struct Broken {
    /// Why.
    pub fault: Fault,
    /// What had been done.
    pub done: Summary,
}

/// Gives the leaves as they were logged.
///
/// # Errors
/// When the log cannot be read or the lines cannot be written.
pub fn leaves(
    source: &Source,
    span: &Span,
    jsonl: &mut Jsonl<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, Broken> {
    let mut done = Summary::default();
    match each_leaf(source, span, jsonl, progress, &mut done) {
        Ok(()) => Ok(done),
        Err(fault) => Err(Broken { fault, done }),
    }
}

fn each_leaf(
    source: &Source,
    span: &Span,
    jsonl: &mut Jsonl<'_>,
    progress: &mut dyn FnMut(Progress),
    done: &mut Summary,
) -> Result<(), Fault> {
    let timed = span.from.is_some() || span.until.is_some();
    let mut told = Told::new(source, source.next(span.after), progress);
    for leaf in source.entries(source.next(span.after)) {
        let leaf = leaf.map_err(Fault::Log)?;
        // The note of an earlier log has no time; it belongs to the whole.
        let entry = if timed { record(&leaf) } else { None };
        if !timed || entry.is_some_and(|entry| span.holds(entry.ts)) {
            jsonl.leaf(&leaf)?;
            done.records += 1;
        }
        done.delivered = Some(leaf.at);
        told.entry(done.delivered);
    }
    jsonl.flush()
}

/// Gives calls, and the records that stand alone.
///
/// # Errors
/// When the log cannot be read, or the sink does not take them.
pub fn calls(
    source: &Source,
    span: &Span,
    sink: &mut dyn Sink,
    values: &mut dyn Values,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, Broken> {
    let mut done = Summary::default();
    let mut giving = Giving { span, sink, values, done: &mut done };
    let ended = each_call(source, &mut giving, progress);
    done.delivered = sink.delivered();
    match ended {
        Ok(()) => Ok(done),
        Err(fault) => Err(Broken { fault, done }),
    }
}

struct Giving<'g> {
    span: &'g Span,
    sink: &'g mut dyn Sink,
    values: &'g mut dyn Values,
    done: &'g mut Summary,
}

impl Giving<'_> {
    fn give(&mut self, item: &Item) -> Result<(), Fault> {
        if !self.span.holds(item.first.entry.ts) {
            return Ok(());
        }
        match self.sink.put(item, self.values)? {
            Put::Taken => self.done.records += 1,
            Put::NoPlace => self.done.no_place += 1,
        }
        Ok(())
    }
}

fn each_call(source: &Source, giving: &mut Giving<'_>, progress: &mut dyn FnMut(Progress)) -> Result<(), Fault> {
    let start = source.next(giving.span.after);
    // Whoever waits for its result since before the span began is found first, and not given for that.
    let before = start.saturating_sub(calls::WINDOW_ENTRIES);
    let mut calls = Calls::new(source);
    let mut told = Told::new(source, before, progress);
    for (ordinal, leaf) in (before..).zip(source.entries(before)) {
        let leaf = leaf.map_err(Fault::Log)?;
        let at = leaf.at;
        let late = calls.expired(ordinal).map_err(Fault::Log)?;
        let item = match (leaf.is_record(), record(&leaf)) {
            (false, _) => None,
            (true, Some(entry)) => calls.push(ordinal, leaf, entry).map_err(Fault::Log)?,
            (true, None) => {
                giving.done.unreadable += u64::from(ordinal >= start);
                None
            }
        };
        if ordinal >= start {
            for item in late.iter().chain(&item) {
                giving.give(item)?;
            }
            giving.sink.reached(at)?;
        }
        told.entry(giving.sink.delivered());
    }
    let open = calls.open().map_err(Fault::Log)?;
    giving.done.under_way = open.len() as u64;
    match giving.span.open {
        OpenCalls::Wait => {}
        OpenCalls::Give => open.iter().try_for_each(|item| giving.give(item))?,
    }
    giving.sink.finish()
}

fn record(leaf: &Leaf) -> Option<view::Entry> {
    serde_json::from_slice(&leaf.bytes).ok()
}

/// Tells how far it is, now and then.
struct Told<'p> {
    progress: &'p mut dyn FnMut(Progress),
    seen: Progress,
}

impl<'p> Told<'p> {
    fn new(source: &Source, from: u64, progress: &'p mut dyn FnMut(Progress)) -> Self {
        let total = source.size().saturating_sub(from);
        Self { progress, seen: Progress { total, ..Progress::default() } }
    }

    fn entry(&mut self, delivered: Option<Position>) {
        self.seen.read += 1;
        self.seen.delivered = delivered;
        // A bundle's worth: often enough for an eye and a cursor file, seldom enough to cost nothing.
        if self.seen.read.is_multiple_of(256) || self.seen.read == self.seen.total {
            (self.progress)(self.seen);
        }
    }
}

/// Why an export ended early.
#[derive(Debug)]
pub enum Fault {
    /// The log cannot be read.
    Log(io::Error),
    /// A value is there and cannot be read.
    Values(io::Error),
    /// The file or the terminal does not take it.
    Write(io::Error),
    /// The columns cannot be written.
    Parquet(::parquet::errors::ParquetError),
    /// The peer cannot be reached, or broke off.
    Peer(io::Error),
    /// The peer does not take it, and will not.
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its words, the beginning of them.
        words: String,
    },
    /// The peer was busy for as long as we wait.
    Busy {
        /// Its last HTTP status; none where it was not reached.
        status: Option<u16>,
        /// How often it was tried.
        tries: u32,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(cause) => write!(out, "the log cannot be read: {cause}"),
            Self::Values(cause) => write!(out, "a value cannot be read: {cause}"),
            Self::Write(cause) => write!(out, "it cannot be written: {cause}"),
            Self::Parquet(cause) => write!(out, "the columns cannot be written: {cause}"),
            Self::Peer(cause) => write!(out, "the receiver cannot be reached: {cause}"),
            Self::Refused { status, words } if words.is_empty() => write!(out, "the receiver refused it with {status}"),
            Self::Refused { status, words } => write!(out, "the receiver refused it with {status}: {words}"),
            Self::Busy { status: Some(status), tries } => {
                write!(out, "the receiver was busy ({status}) at each of {tries} tries")
            }
            Self::Busy { status: None, tries } => write!(out, "the receiver was not reached at any of {tries} tries"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
