//! Tells which calendars are open. In: `calendars.toml`, read once; an instant. Out: the set of open calendars. Never here: IO, clocks, the host's zones.
//!
//! A calendar is a zone, weekly windows of its wall time, holidays and further openings. It is laid out once as the sorted instants at which it
//! opens and closes, so that a decision is one binary search and depends on nothing but the instant asked about: a clock that steps back
//! finds what it found before.
//!
//! Where clocks change, a window is what a person at the wall clock lives through without a break: it begins at the first instant whose wall time
//! has reached `from`, and ends after the last whose wall time is before `to`. So a `from` or `to` that the clocks skip means the instant
//! after the gap, and a window holds both passes of an hour that the clocks repeat.

mod file;
mod layout;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::diagnostic::Diagnostics;
use crate::time::UnixMillis;

/// Calendars of one file: a set of open ones fits one word. A business has a handful a site.
pub const CALENDARS_MAX: usize = 64;

/// Windows of one calendar: a window a weekday, twice over for a lunch break.
pub const WINDOWS_MAX: usize = 16;

/// Holidays or further openings of one calendar: ten years of fifty each, twice over.
pub const DATES_MAX: usize = 1000;

/// Calendars are laid out up to the end of this many years after the year of the load.
pub const YEARS_AHEAD: i16 = 10;

/// And from the beginning of this year, so that records can be judged again.
pub const FIRST_YEAR: i16 = 2024;

/// All calendars of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Calendars {
    all: Box<[Calendar]>,
    /// Seconds since 1970 from which, and before which, they are laid out.
    span: (i64, i64),
    warnings: Diagnostics,
}

/// One calendar, laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Calendar {
    name: Box<str>,
    /// Seconds since 1970 at which it opens, closes, opens and so on.
    changes: Box<[i64]>,
}

/// The calendars that are open at one instant, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open(u64);

impl Open {
    /// Whether the calendar at this position is open.
    pub fn contains(self, position: usize) -> bool {
        u32::try_from(position).ok().and_then(|position| self.0.checked_shr(position)).is_some_and(|word| word & 1 == 1)
    }
}

impl Calendars {
    /// Reads `calendars.toml`, which the operator knows as `file`, and lays it out from [`FIRST_YEAR`] to [`YEARS_AHEAD`] years after `now`.
    ///
    /// # Errors
    /// Every finding of the file, if one of them is an error.
    pub fn parse(text: &str, file: &str, now: UnixMillis) -> Result<Self, Diagnostics> {
        let (drafts, warnings) = file::read(text, file, now)?;
        let days = layout::days(now);
        let all =
            drafts.iter().map(|draft| Calendar { name: draft.name.clone(), changes: layout::changes(draft, days) });
        Ok(Self { all: all.collect(), span: layout::span(days), warnings })
    }

    /// Which are open at `now`. Outside of what is laid out the answer is nothing, which whoever asks must take for a refusal: "closed" would let
    /// pass what a rule forbids while a calendar is open.
    pub fn open(&self, now: UnixMillis) -> Option<Open> {
        let second = now.seconds();
        let within = self.all.is_empty() || (self.span.0 <= second && second < self.span.1);
        let open = |calendar: &Calendar| calendar.changes.partition_point(|change| *change <= second) % 2 == 1;
        let bits =
            self.all.iter().enumerate().filter(|(_, calendar)| open(calendar)).fold(0, |bits, (at, _)| bits | 1 << at);
        within.then_some(Open(bits))
    }

    /// Their names, by position.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.all.iter().map(|calendar| &*calendar.name)
    }

    /// The position of a calendar.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|calendar| &*calendar.name == name)
    }

    /// What the operator should look at.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// All that decisions depend on, for the hash over the inputs.
    pub(crate) fn canonical(&self) -> String {
        format!("{:?}", self.all)
    }
}

/// A calendar as the operator wrote it.
#[derive(Debug)]
struct Draft {
    name: Box<str>,
    zone: TimeZone,
    windows: Vec<(Vec<Weekday>, Window)>,
    holidays: Vec<Date>,
    open: Vec<(Date, Window)>,
}

/// Wall times of one opening.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Time,
    to: To,
}

/// When an opening ends.
#[derive(Clone, Copy, Debug)]
enum To {
    /// On the day it began.
    SameDay(Time),
    /// On the day after.
    NextDay(Time),
}

impl Window {
    /// The wall times of the opening that begins on `day`.
    fn on(self, day: Date) -> Option<(DateTime, DateTime)> {
        let end = match self.to {
            To::SameDay(time) => day.to_datetime(time),
            To::NextDay(time) => day.tomorrow().ok()?.to_datetime(time),
        };
        Some((day.to_datetime(self.from), end))
    }
}

/// The zone of this name out of the data compiled in; the host's files are never looked at.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

#[cfg(test)]
mod tests;
