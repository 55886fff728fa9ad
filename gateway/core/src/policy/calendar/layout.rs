//! Lays a calendar out. In: wall times in a zone. Out: the instants at which it opens and closes. Never here: files, the instant of a decision.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::{Draft, FIRST_YEAR, YEARS_AHEAD};
use crate::time::UnixMillis;

/// Seconds since 1970: from, up to.
type Span = (i64, i64);

/// The days that are laid out: the first, and the first that is not.
pub(super) fn days(now: UnixMillis) -> (Date, Date) {
    let year = Timestamp::from_millisecond(now.0).map_or(FIRST_YEAR, |at| Offset::UTC.to_datetime(at).year());
    let last = year.max(FIRST_YEAR).saturating_add(YEARS_AHEAD).min(Date::MAX.year() - 1);
    (date(FIRST_YEAR, 1, 1), date(last + 1, 1, 1))
}

/// What is laid out whole in every zone: offsets reach a day at the most.
pub(super) fn span(days: (Date, Date)) -> Span {
    let midnight = |day: Date| {
        Offset::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).map_or(0, Timestamp::as_second)
    };
    (midnight(days.0), midnight(days.1))
}

/// The changes of one calendar.
pub(super) fn changes(draft: &Draft, (first, end): (Date, Date)) -> Box<[i64]> {
    let zone = &draft.zone;
    let spans_of = |openings: &mut dyn Iterator<Item = (DateTime, DateTime)>| -> Vec<Span> {
        merged(openings.filter_map(|(from, to)| Some((begin(zone, from)?, finish(zone, to)?))).collect())
    };
    let days = || {
        let mut day = first.yesterday().ok().and_then(|day| day.yesterday().ok());
        std::iter::from_fn(move || {
            let this = day.filter(|day| *day <= end)?;
            day = this.tomorrow().ok();
            Some(this)
        })
    };
    let mut holidays = draft.holidays.clone();
    holidays.sort_unstable();
    let regular = spans_of(&mut days().filter(|day| holidays.binary_search(day).is_err()).flat_map(|day| {
        let today = draft.windows.iter().filter(move |(weekdays, _)| weekdays.contains(&day.weekday()));
        today.filter_map(move |(_, window)| window.on(day))
    }));
    let midnight = jiff::civil::Time::midnight();
    let closed = spans_of(
        &mut holidays
            .iter()
            .filter_map(|day| Some((day.to_datetime(midnight), day.tomorrow().ok()?.to_datetime(midnight)))),
    );
    let further = spans_of(&mut draft.open.iter().filter_map(|(day, window)| window.on(*day)));
    let open = without(&regular, &closed).into_iter().chain(further).collect();
    merged(open).into_iter().flat_map(|(from, to)| [from, to]).collect()
}

/// Sorted, without overlaps, without what is empty.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            Some(_) | None => out.push((from, to)),
        }
    }
    out
}

/// `spans` less `holes`; both sorted and without overlaps.
fn without(spans: &[Span], holes: &[Span]) -> Vec<Span> {
    let mut out = Vec::with_capacity(spans.len());
    for (mut from, to) in spans.iter().copied() {
        let first = holes.partition_point(|hole| hole.1 <= from);
        for hole in holes.iter().skip(first).take_while(|hole| hole.0 < to) {
            if from < hole.0 {
                out.push((from, hole.0));
            }
            from = from.max(hole.1);
        }
        if from < to {
            out.push((from, to));
        }
    }
    out
}

/// The first instant whose wall time has reached `wall`.
fn begin(zone: &TimeZone, wall: DateTime) -> Option<i64> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => second(offset, wall),
        AmbiguousOffset::Gap { before, after: _ } => change_before(zone, second(before, wall)?),
        AmbiguousOffset::Fold { before, after: _ } => second(before, wall),
    }
}

/// The end of the last instant whose wall time is before `wall`.
fn finish(zone: &TimeZone, wall: DateTime) -> Option<i64> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => second(offset, wall),
        AmbiguousOffset::Gap { before, after: _ } => change_before(zone, second(before, wall)?),
        AmbiguousOffset::Fold { before, after } => {
            let again = second(after, wall)?;
            // Where the clocks go back to `wall` itself, nothing of the second pass is before it.
            if change_before(zone, again)? == again { second(before, wall) } else { Some(again) }
        }
    }
}

fn second(offset: Offset, wall: DateTime) -> Option<i64> {
    offset.to_timestamp(wall).ok().map(Timestamp::as_second)
}

/// The last change of clocks at or before `second`.
fn change_before(zone: &TimeZone, second: i64) -> Option<i64> {
    let after = Timestamp::from_second(second.checked_add(1)?).ok()?;
    zone.preceding(after).next().map(|change| change.timestamp().as_second())
}
