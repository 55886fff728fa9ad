//! Counts what an agent has used of a rate or a budget. In: a limit, what was used, an amount, the time. Out: what is used then, or when to ask
//! again. Never here: a clock, tables, whose count it is.
//!
//! Whole numbers alone, so that two readers of one count never differ. A rate is a bucket that holds as many calls as it names and fills evenly;
//! a budget is a sum over one hour, day or month of the calendar in UTC.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::time::UnixMillis;

/// Calls a rate may name: with it, the clock in parts of a call stays below 64 bits until the year 2262.
pub const RATE_COUNT_MAX: u32 = 1_000_000;

/// So many calls in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, from 1 to [`RATE_COUNT_MAX`]; as many may come at once.
    pub count: u32,
    /// Milliseconds in which an empty bucket is full again.
    pub period_ms: i64,
}

/// So much in a window of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How much, in ten-thousandths.
    pub sum_max: u64,
    /// In which window.
    pub window: Window,
}

/// A window of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

/// What bounds the use of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Calls.
    Rate(Rate),
    /// Sums of an argument.
    Budget(Budget),
}

/// What was used of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Of a rate.
    Calls {
        /// When the bucket is full again, in parts of a millisecond.
        full_at: i64,
        /// How many parts a millisecond has: the rate's count.
        parts: u32,
    },
    /// Of a budget.
    Sum {
        /// The kind of window.
        window: Window,
        /// Which one.
        number: i64,
        /// What was used in it, in ten-thousandths.
        used: u64,
    },
}

/// It is used up; whole seconds, at least one, after which asking again can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// The seconds; none where no waiting helps, as for a sum above the whole budget.
    pub retry_after_seconds: Option<u32>,
}

impl Limit {
    /// A meter of which nothing is used.
    pub fn unused(&self) -> Meter {
        match self {
            Self::Rate(rate) => Meter::Calls { full_at: i64::MIN, parts: rate.count },
            Self::Budget(budget) => Meter::Sum { window: budget.window, number: i64::MIN, used: 0 },
        }
    }

    /// Takes one call, or `amount` of a budget. On a refusal nothing is taken. A meter of another limit counts as used up.
    pub fn take(&self, meter: &mut Meter, amount: u64, now: UnixMillis) -> Result<(), UsedUp> {
        match (self, meter) {
            (Self::Rate(rate), Meter::Calls { full_at, parts }) if *parts == rate.count => rate.take(full_at, now),
            (Self::Budget(budget), Meter::Sum { window, number, used }) if *window == budget.window => {
                budget.take(number, used, amount, now)
            }
            (Self::Rate(_) | Self::Budget(_), _) => Err(UsedUp { retry_after_seconds: None }),
        }
    }

    /// Gives back what [`Limit::take`] just took, where another limit refused the same call.
    pub fn give_back(&self, meter: &mut Meter, amount: u64) {
        match (self, meter) {
            (Self::Rate(rate), Meter::Calls { full_at, .. }) => *full_at = full_at.saturating_sub(rate.period_ms),
            (Self::Budget(_), Meter::Sum { used, .. }) => *used = used.saturating_sub(amount),
            (Self::Rate(_), Meter::Sum { .. }) | (Self::Budget(_), Meter::Calls { .. }) => {}
        }
    }
}

impl Meter {
    /// Whether it says no more than an unused one, so that it need not be kept.
    pub fn is_idle(&self, now: UnixMillis) -> bool {
        match self {
            Self::Calls { full_at, parts } => *full_at <= parts_of(now, *parts),
            Self::Sum { window, number, used } => *used == 0 || *number < window.number(now),
        }
    }
}

/// The clock in parts of a millisecond.
fn parts_of(now: UnixMillis, parts: u32) -> i64 {
    now.0.saturating_mul(i64::from(parts))
}

impl Rate {
    /// With `count` parts to a millisecond, a call takes `period_ms` parts to come back, and a full bucket holds `count` of them.
    fn take(&self, full_at: &mut i64, now: UnixMillis) -> Result<(), UsedUp> {
        let now = parts_of(now, self.count);
        let latest = now.saturating_add(self.period_ms.saturating_mul(i64::from(self.count)));
        // A clock that was set back leaves a bucket that is emptier than empty; it fills from here, neither at once nor never.
        let from = (*full_at).clamp(now, latest);
        let after = from.saturating_add(self.period_ms);
        if after > latest {
            *full_at = from;
            let wait_ms = after.saturating_sub(latest).div_euclid(i64::from(self.count.max(1))).saturating_add(1);
            return Err(UsedUp { retry_after_seconds: Some(seconds(wait_ms)) });
        }
        *full_at = after;
        Ok(())
    }
}

impl Budget {
    fn take(&self, number: &mut i64, used: &mut u64, amount: u64, now: UnixMillis) -> Result<(), UsedUp> {
        // A clock that steps back over the end of a window and comes again must not open the window twice: till then it counts as entered.
        let current = self.window.number(now);
        let current = if current.checked_add(1) == Some(*number) { *number } else { current };
        if *number < current {
            *used = 0;
        }
        // A window that lies further ahead was counted before the clock was set back: what was used stays used.
        *number = current;
        let after = used.checked_add(amount).filter(|after| *after <= self.sum_max);
        let Some(after) = after else {
            let ever = amount <= self.sum_max;
            let wait_ms = self.window.end(now).saturating_sub(now.0);
            return Err(UsedUp { retry_after_seconds: ever.then(|| seconds(wait_ms)) });
        };
        *used = after;
        Ok(())
    }
}

impl Window {
    /// The word in rules and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The window of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Hour, Self::Day, Self::Month].into_iter().find(|window| window.as_str() == word)
    }

    /// Which window `now` lies in; later ones have higher numbers.
    fn number(self, now: UnixMillis) -> i64 {
        match self {
            Self::Hour => now.0.div_euclid(HOUR_MS),
            Self::Day => now.0.div_euclid(DAY_MS),
            Self::Month => {
                let date = date(now);
                i64::from(date.year()) * 12 + i64::from(date.month()) - 1
            }
        }
    }

    /// When the window that `now` lies in ends.
    fn end(self, now: UnixMillis) -> i64 {
        match self {
            Self::Hour => (now.0.div_euclid(HOUR_MS) + 1).saturating_mul(HOUR_MS),
            Self::Day => (now.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS),
            Self::Month => {
                let next = date(now).last_of_month().tomorrow();
                let end = next.ok().and_then(|first| first.to_zoned(TimeZone::UTC).ok());
                end.map_or(now.0.saturating_add(DAY_MS), |end| end.timestamp().as_millisecond())
            }
        }
    }
}

/// The day in UTC.
fn date(now: UnixMillis) -> Date {
    let at = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::MAX);
    TimeZone::UTC.to_datetime(at).date()
}

/// Milliseconds as whole seconds, rounded up.
fn seconds(ms: i64) -> u32 {
    u32::try_from(ms.max(1).saturating_add(999).div_euclid(1000)).unwrap_or(u32::MAX)
}

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// An amount of at most four digits after the point, in ten-thousandths: `12`, `12.5`. No sign, no exponent, no other character.
pub fn ten_thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.unwrap_or("0");
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<4}").parse().ok()?;
    whole.checked_mul(10_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// Asks at these times, given with an amount each; `ok`, or the seconds to wait, or `never`.
    fn check(limit: Limit, asked: &[(&str, u64, &str)]) {
        let mut meter = limit.unused();
        for (time, amount, expected) in asked {
            let before = meter;
            let got = match limit.take(&mut meter, *amount, at(time)) {
                Ok(()) => "ok".to_owned(),
                Err(UsedUp { retry_after_seconds: Some(seconds) }) => seconds.to_string(),
                Err(UsedUp { retry_after_seconds: None }) => "never".to_owned(),
            };
            assert_eq!(got, *expected, "{limit:?} at {time} with {before:?}");
        }
    }

    fn rate(count: u32, period_ms: i64) -> Limit {
        Limit::Rate(Rate { count, period_ms })
    }

    fn budget(sum_max: u64, window: Window) -> Limit {
        Limit::Budget(Budget { sum_max, window })
    }

    #[test]
    fn a_rate_lets_through_what_it_names_and_tells_when_to_ask_again() {
        check(
            rate(2, 60_000),
            &[
                ("2026-11-24T12:00:00Z", 1, "ok"),
                ("2026-11-24T12:00:00Z", 1, "ok"),
                ("2026-11-24T12:00:00Z", 1, "31"),
                ("2026-11-24T12:00:29.999Z", 1, "1"),
                ("2026-11-24T12:00:30Z", 1, "ok"),
                ("2026-11-24T12:00:30Z", 1, "31"),
                ("2026-11-24T12:10:00Z", 1, "ok"),
                ("2026-11-24T12:10:00Z", 1, "ok"),
                ("2026-11-24T12:10:00Z", 1, "31"),
            ],
        );
        // A third of a second is no whole number of milliseconds, and nothing is lost by it.
        let mut meter = rate(3, 1_000).unused();
        let mut passed = 0;
        for ms in 0..10_000 {
            passed += u32::from(rate(3, 1_000).take(&mut meter, 1, UnixMillis(1_800_000_000_000 + ms)).is_ok());
        }
        assert_eq!(passed, 3 + 29, "the bucket, and three a second after it, the last of them after the tenth second");
        check(rate(RATE_COUNT_MAX, DAY_MS), &[("2200-01-01T00:00:00Z", 1, "ok"), ("2200-01-01T00:00:00Z", 1, "ok")]);
    }

    #[test]
    fn a_clock_that_is_set_back_opens_nothing_and_closes_nothing_for_long() {
        check(
            rate(1, 60_000),
            &[("2026-11-24T12:00:00Z", 1, "ok"), ("2026-11-20T12:00:00Z", 1, "61"), ("2026-11-20T12:01:01Z", 1, "ok")],
        );
        check(
            budget(10, Window::Day),
            &[
                ("2026-11-24T12:00:00Z", 10, "ok"),
                ("2026-11-20T12:00:00Z", 1, "43200"),
                ("2026-11-21T00:00:00Z", 1, "ok"),
            ],
        );
        check(
            budget(10, Window::Day),
            &[
                ("2026-11-24T23:59:59Z", 10, "ok"),
                ("2026-11-25T00:00:01Z", 10, "ok"),
                ("2026-11-24T23:59:59Z", 1, "1"),
                ("2026-11-25T00:00:01Z", 1, "86399"),
                ("2026-11-26T00:00:00Z", 10, "ok"),
            ],
        );
    }

    #[test]
    fn a_budget_is_a_sum_over_a_window_of_the_calendar() {
        check(
            budget(50_000, Window::Day),
            &[
                ("2026-11-24T00:00:00Z", 30_000, "ok"),
                ("2026-11-24T23:59:59Z", 20_001, "1"),
                ("2026-11-24T23:59:59Z", 20_000, "ok"),
                ("2026-11-24T23:59:59.999Z", 0, "ok"),
                ("2026-11-24T23:59:59.999Z", 50_001, "never"),
                ("2026-11-24T23:59:59.999Z", u64::MAX, "never"),
                ("2026-11-25T00:00:00Z", 50_000, "ok"),
            ],
        );
        check(
            budget(1, Window::Hour),
            &[
                ("2026-11-24T00:30:00Z", 1, "ok"),
                ("2026-11-24T00:30:00Z", 1, "1800"),
                ("2026-11-24T01:00:00Z", 1, "ok"),
            ],
        );
        check(
            budget(1, Window::Month),
            &[
                ("2026-12-31T23:00:00Z", 1, "ok"),
                ("2026-12-31T23:00:00Z", 1, "3600"),
                ("2027-01-01T00:00:00Z", 1, "ok"),
                ("2027-02-28T00:00:00Z", 1, "ok"),
                ("2027-02-28T00:00:00Z", 1, "86400"),
            ],
        );
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_an_idle_meter_is_known() {
        for (limit, later) in
            [(rate(1, 60_000), "2026-11-24T12:01:00Z"), (budget(5, Window::Day), "2026-11-25T00:00:00Z")]
        {
            let now = at("2026-11-24T12:00:00Z");
            let mut meter = limit.unused();
            assert!(meter.is_idle(now));
            limit.take(&mut meter, 5, now).unwrap();
            assert!(!meter.is_idle(now) && limit.take(&mut meter, 5, now).is_err());
            limit.give_back(&mut meter, 5);
            limit.take(&mut meter, 5, now).unwrap();
            assert!(!meter.is_idle(now) && meter.is_idle(at(later)));
        }
        let mut other = rate(1, 60_000).unused();
        assert!(rate(2, 60_000).take(&mut other, 1, at("2026-11-24T12:00:00Z")).is_err());
        assert!(budget(1, Window::Day).take(&mut other, 1, at("2026-11-24T12:00:00Z")).is_err());
    }

    #[test]
    fn an_amount_is_read_exactly_or_not_at_all() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1_000", "1,5", "1.23456", " 1", "٣", "1844674407370956"]
        {
            assert_eq!(ten_thousandths(text), None, "{text:?}");
        }
        for (text, expected) in [("0", 0), ("1", 10_000), ("12.5", 125_000), ("0.0001", 1), ("007.10", 71_000)] {
            assert_eq!(ten_thousandths(text), Some(expected), "{text:?}");
        }
    }
}
