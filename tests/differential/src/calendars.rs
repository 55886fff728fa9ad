//! Writes calendars. In: chance. Out: the file that an operator would write, and which of them are open at an instant. Never here: the engine's layout.
//!
//! An instant is turned into wall time and looked for in the windows, one by one. The zones are those whose rules are short enough to be written
//! down: fixed offsets, the European Union's and the United States'. No window begins or ends in an hour that clocks skip or repeat, so that wall
//! time alone decides; what happens in such an hour the engine's own tests say.

use crate::chance::Chance;
use crate::values::iso;

/// One calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Its name.
    pub name: String,
    zone: Zone,
    /// Weekdays from 0, a Monday, and what is open on each of them.
    weekly: Vec<(Vec<i64>, Window)>,
    /// Days since 1970.
    holidays: Vec<i64>,
    further: Vec<(i64, Window)>,
}

/// Minutes of a day; it ends on the next one where `to` is not behind `from`.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: i64,
    to: i64,
}

/// A zone and its minutes ahead of UTC.
#[derive(Clone, Copy, Debug)]
struct Zone {
    name: &'static str,
    minutes: i64,
    summer: Summer,
}

/// When clocks are an hour ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Summer {
    Never,
    /// From the last Sunday of March to the last of October, at 01:00 UTC.
    Europe,
    /// From the second Sunday of March to the first of November, at 02:00 by the clock.
    America,
}

const ZONES: [Zone; 8] = [
    Zone { name: "UTC", minutes: 0, summer: Summer::Never },
    Zone { name: "Asia/Tokyo", minutes: 540, summer: Summer::Never },
    Zone { name: "Asia/Kolkata", minutes: 330, summer: Summer::Never },
    Zone { name: "Pacific/Kiritimati", minutes: 840, summer: Summer::Never },
    Zone { name: "Etc/GMT+12", minutes: -720, summer: Summer::Never },
    Zone { name: "Europe/Berlin", minutes: 60, summer: Summer::Europe },
    Zone { name: "Europe/London", minutes: 0, summer: Summer::Europe },
    Zone { name: "America/New_York", minutes: -300, summer: Summer::America },
];

/// Times of day at which something opens or closes; clocks change at none of them.
const TIMES: [i64; 12] = [0, 1, 300, 360, 480, 540, 720, 1020, 1080, 1320, 1439, 1440];

/// Names; some are texts that arguments, accounts and claims hold too.
const NAMES: [&str; 8] = ["office", "customers", "orders", "c1", "42", "Büro \"Süd\"", "a", "back\\slash"];

/// When the file is read: 2026-11-24.
pub const READ_AT: i64 = 1_795_478_400_000;

/// Days since 1970 of 2024-01-01, from which calendars are laid out, and of 2037-01-01, before which they are when read in 2026.
const SPAN: (i64, i64) = (19_723, 24_472);

/// As many as one file holds.
const MANY: usize = 64;

const DAY: i64 = 1440;

/// Calendars of one world; none in some.
pub fn some(chance: &mut Chance) -> Vec<Calendar> {
    if chance.percent(6) {
        return Vec::new();
    }
    let mut all: Vec<Calendar> = chance.some(&NAMES, 1, 4).into_iter().map(|name| one(name, chance)).collect();
    if chance.percent(2) {
        for number in 0..MANY - all.len() {
            let further = vec![(day(chance), window(chance))];
            let zone = *chance.pick(&ZONES);
            let weekly = Vec::new();
            all.push(Calendar { name: format!("n{number:02}"), zone, weekly, holidays: Vec::new(), further });
        }
    }
    // Whatever reads a table of names sorts it.
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn one(name: &str, chance: &mut Chance) -> Calendar {
    const WEEKS: [&[i64]; 6] = [&[0, 1, 2, 3, 4], &[5, 6], &[2], &[4, 5, 6, 0], &[0, 1, 2, 3, 4, 5, 6], &[1, 3]];
    let weekly = (0..chance.within(0, 2)).map(|_| (chance.pick(&WEEKS).to_vec(), window(chance))).collect();
    let holidays = (0..*chance.pick(&[0, 0, 3, 60])).map(|_| day(chance)).collect();
    let further = (0..*chance.pick(&[0, 0, 3, 60])).map(|_| (day(chance), window(chance))).collect();
    Calendar { name: name.to_owned(), zone: *chance.pick(&ZONES), weekly, holidays, further }
}

fn day(chance: &mut Chance) -> i64 {
    chance.within(SPAN.0 as usize - 2, SPAN.1 as usize + 1) as i64
}

fn window(chance: &mut Chance) -> Window {
    let from = *chance.pick(&TIMES[..TIMES.len() - 1]);
    let later: Vec<i64> = TIMES.into_iter().filter(|to| *to != from).collect();
    Window { from, to: *chance.pick(&later) }
}

/// An instant at which one of them may open or close, or one beside it.
pub fn instant(all: &[Calendar], chance: &mut Chance) -> i64 {
    let zone = all.first().map_or(ZONES[0], |_| chance.pick(all).zone);
    let wall = (day(chance) * DAY + chance.pick(&TIMES)) * 60_000;
    let at = wall - zone.ahead(wall / 1000) * 60_000;
    at + match chance.below(6) {
        0 => 0,
        1 => -1,
        2 => 999,
        3 => -1000,
        _ => chance.below(86_400_000) as i64,
    }
}

/// Whether calendars are laid out for an instant.
pub fn laid_out(now: i64) -> bool {
    (SPAN.0..SPAN.1).contains(&now.div_euclid(86_400_000))
}

/// `calendars.toml`.
pub fn file(all: &[Calendar]) -> String {
    all.iter().map(Calendar::toml).collect()
}

impl Calendar {
    /// Is it open?
    pub fn is_open(&self, now: i64) -> bool {
        let second = now.div_euclid(1000);
        let wall = second.div_euclid(60) + self.zone.ahead(second);
        let today = wall.div_euclid(DAY);
        let regular = || {
            [today, today - 1].into_iter().any(|day| {
                let own = |(days, window): &(Vec<i64>, Window)| {
                    days.contains(&(day + 3).rem_euclid(7)) && window.contains(day, wall)
                };
                !self.holidays.contains(&day) && self.weekly.iter().any(own)
            })
        };
        let further = self.further.iter().any(|(day, window)| window.contains(*day, wall));
        further || (!self.holidays.contains(&today) && regular())
    }

    /// Its part of a file in which it never opens.
    pub fn shut(&self) -> String {
        Self { weekly: Vec::new(), further: Vec::new(), ..self.clone() }.toml()
    }

    fn toml(&self) -> String {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let name = self.name.replace('\\', "\\\\").replace('"', "\\\"");
        let date = |day: &i64| iso(day * 86_400_000)[..10].to_owned();
        let weekly = self.weekly.iter().map(|(days, window)| {
            let days: Vec<&str> = days.iter().map(|day| DAYS[*day as usize]).collect();
            format!("{{ days = {days:?}, {} }}", window.toml())
        });
        let further =
            self.further.iter().map(|(day, window)| format!("{{ date = {:?}, {} }}", date(day), window.toml()));
        let holidays: Vec<String> = self.holidays.iter().map(date).collect();
        format!(
            "[calendar.\"{name}\"]\nzone = {:?}\nwindows = [{}]\nholidays = {holidays:?}\nopen = [{}]\n",
            self.zone.name,
            weekly.collect::<Vec<_>>().join(", "),
            further.collect::<Vec<_>>().join(", ")
        )
    }
}

impl Window {
    fn contains(self, day: i64, wall: i64) -> bool {
        let end = if self.to <= self.from { day + 1 } else { day } * DAY + self.to;
        (day * DAY + self.from..end).contains(&wall)
    }

    fn toml(self) -> String {
        let time = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("from = {:?}, to = {:?}", time(self.from), time(self.to))
    }
}

impl Zone {
    /// Minutes ahead of UTC.
    fn ahead(self, second: i64) -> i64 {
        let year = || year(second.div_euclid(86_400));
        let between = |(first, end): (i64, i64)| (first..end).contains(&second);
        let summer = match self.summer {
            Summer::Never => false,
            Summer::Europe => between((sunday(year(), 3, 25) * 86_400 + 3600, sunday(year(), 10, 25) * 86_400 + 3600)),
            Summer::America => {
                let two = |day: i64, ahead: i64| day * 86_400 + 7200 - ahead * 60;
                between((two(sunday(year(), 3, 8), self.minutes), two(sunday(year(), 11, 1), self.minutes + 60)))
            }
        };
        self.minutes + if summer { 60 } else { 0 }
    }
}

/// The first of January, in days since 1970.
fn new_year(year: i64) -> i64 {
    let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

/// The year of a day since 1970.
fn year(day: i64) -> i64 {
    // Years of 366 days take it too low, never too high.
    let near = 1970 + day.div_euclid(366) - 1;
    (near..).find(|year| day < new_year(year + 1)).unwrap_or(near)
}

/// The first Sunday on or after this day of the years from 1970 on, in days since 1970.
fn sunday(year: i64, month: i64, day: i64) -> i64 {
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    let leap = i64::from(month > 2) * (new_year(year + 1) - new_year(year) - 365);
    let days = new_year(year) + before + leap + day - 1;
    days + (10 - days % 7) % 7
}

#[cfg(test)]
mod tests {
    use portcullis_core::policy::calendar::Calendars;
    use portcullis_core::time::UnixMillis;

    use super::*;

    #[test]
    fn years_and_sundays_are_found_by_the_calendar() {
        for (day, expected) in [
            (-1, 1969),
            (0, 1970),
            (19_722, 2023),
            (19_723, 2024),
            (20_088, 2024),
            (20_089, 2025),
            (24_471, 2036),
            (24_472, 2037),
            (2_932_896, 9999),
        ] {
            assert_eq!(year(day), expected, "{}", iso(day * 86_400_000));
        }
        for (year, month, day, expected) in [
            (2024, 3, 25, "2024-03-31"),
            (2025, 3, 25, "2025-03-30"),
            (2026, 10, 25, "2026-10-25"),
            (2027, 11, 1, "2027-11-07"),
            (2032, 3, 8, "2032-03-14"),
        ] {
            assert_eq!(&iso(sunday(year, month, day) * 86_400_000)[..10], expected);
        }
    }

    #[test]
    fn the_engine_opens_and_closes_them_at_the_same_instants() {
        let (mut open, mut shut) = (0, 0);
        for seed in 0..40 {
            let mut chance = Chance::new(seed);
            let all = some(&mut chance);
            let theirs = Calendars::parse(&file(&all), "c", UnixMillis(READ_AT)).unwrap();
            for _ in 0..300 {
                let now = instant(&all, &mut chance);
                let Some(bits) = theirs.open(UnixMillis(now)) else {
                    assert!(!laid_out(now), "{}", iso(now));
                    continue;
                };
                for calendar in &all {
                    let expected = bits.contains(theirs.position(&calendar.name).unwrap());
                    assert_eq!(calendar.is_open(now), expected, "seed {seed} at {}\n{}", iso(now), calendar.toml());
                    (open, shut) = (open + u32::from(expected), shut + u32::from(!expected));
                }
            }
        }
        assert!(open > 5000 && shut > 5000, "{open} open, {shut} shut: next to nothing was compared");
    }
}
