//! Promises of calendars. The expected instants of `dst.txt` come from another implementation, see `dst.py`.

use super::*;

/// 2026-11-24, a Tuesday.
const NOW: UnixMillis = UnixMillis(1_795_478_400_000);

fn parse(text: &str) -> Result<Calendars, Diagnostics> {
    Calendars::parse(text, "calendars.toml", NOW)
}

#[track_caller]
fn good(text: &str) -> Calendars {
    parse(text).unwrap_or_else(|findings| panic!("given {text}\ngot {findings:#?}"))
}

fn instant(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// The findings of a calendar `x` with these lines; the first of them is line 2.
#[track_caller]
fn check_refused(lines: &str, expected: &str) {
    let findings = parse(&format!("[calendar.x]\n{lines}")).err().unwrap_or_default();
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(said, [expected], "given {lines}");
}

const W: &str = "windows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]";
const Z: &str = "zone = \"Europe/Berlin\"";

/// Lines with these windows.
fn with(windows: &str) -> String {
    format!("{Z}\nwindows = [{windows}]")
}

#[test]
fn what_cannot_be_meant_is_refused_with_line_and_cure() {
    let rows = [
        (W.to_owned(), "calendars.toml:1: calendar `x` has no `zone`; write it like `zone = \"Europe/Berlin\"`"),
        (
            format!("zone = \"Europe/Berlim\"\n{W}"),
            "calendars.toml:2: unknown zone `Europe/Berlim`; did you mean `Europe/Berlin`?",
        ),
        (format!("zone = 1\n{W}"), "calendars.toml:2: `zone` is not a text; write `zone = \"…\"`"),
        (
            format!("{Z}\nwindow = []\n{W}"),
            "calendars.toml:3: unknown key `window` in calendar `x`; did you mean `windows`?",
        ),
        (
            Z.into(),
            "calendars.toml:1: calendar `x` never opens; write `windows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]`",
        ),
        (format!("{Z}\nwindows = 1"), "calendars.toml:3: `windows` is not a list; write `windows = […]`"),
        (with("1"), "calendars.toml:3: a window is not a table; write `{ …, from = \"09:00\", to = \"17:00\" }`"),
        (
            with("{ from = \"09:00\", to = \"17:00\" }"),
            "calendars.toml:3: a window has no `days`; write it like `days = [\"mon-fri\"]`",
        ),
        (
            with("{ days = [], from = \"09:00\", to = \"17:00\" }"),
            "calendars.toml:3: a window has no `days`; write it like `days = [\"mon-fri\"]`",
        ),
        (
            with("{ days = [\"mo\"], from = \"09:00\", to = \"17:00\" }"),
            "calendars.toml:3: unknown day `mo`; the days are `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, or two of them as in `mon-fri`",
        ),
        (
            with("{ days = [\"mon\"], to = \"17:00\" }"),
            "calendars.toml:3: a window has no `from`; write it like `from = \"09:00\"`",
        ),
        (
            with("{ days = [\"mon\"], from = \"9:00\", to = \"17:00\" }"),
            "calendars.toml:3: `9:00` is no time of day; write it like `09:00`; a day ends at `24:00`",
        ),
        (
            with("{ days = [\"mon\"], from = \"24:00\", to = \"17:00\" }"),
            "calendars.toml:3: `24:00` is no time of day; write it like `09:00`; a day ends at `24:00`",
        ),
        (
            with("{ days = [\"mon\"], from = \"09:00\", to = \"24:01\" }"),
            "calendars.toml:3: `24:01` is no time of day; write it like `09:00`; a day ends at `24:00`",
        ),
        (
            with("{ days = [\"mon\"], from = \"09:00\", to = \"09:00\" }"),
            "calendars.toml:3: an opening begins and ends at the same time; a whole day is from `00:00` to `24:00`",
        ),
        (
            with("{ day = [\"mon\"], days = [\"mon\"], from = \"09:00\", to = \"10:00\" }"),
            "calendars.toml:3: unknown key `day` in a window; did you mean `days`?",
        ),
    ];
    for (lines, expected) in rows {
        check_refused(&lines, expected);
    }
}

#[test]
fn days_that_do_not_exist_are_refused_with_line_and_cure() {
    let rows = [
        (
            format!("{Z}\n{W}\nholidays = [\"2027-02-29\"]"),
            "calendars.toml:4: `2027-02-29` is no date; write it like `2026-12-25`",
        ),
        (
            format!("{Z}\n{W}\nholidays = [\"2026-12-25T10:00\"]"),
            "calendars.toml:4: `2026-12-25T10:00` is no date; write it like `2026-12-25`",
        ),
        (
            format!("{Z}\nopen = [{{ from = \"09:00\", to = \"17:00\" }}]"),
            "calendars.toml:3: an opening has no `date`; write it like `date = \"2026-11-28\"`",
        ),
        (
            format!("{Z}\nwindows = [{}]", "{ days = [\"mon\"], from = \"09:00\", to = \"17:00\" },".repeat(17)),
            "calendars.toml:3: 17 entries of `windows`, the limit is 16; leave some out",
        ),
    ];
    for (lines, expected) in rows {
        check_refused(&lines, expected);
    }
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_line_and_cure() {
    let said = |text: &str| parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said("calender = 1"), ["calendars.toml:1: unknown key `calender`; did you mean `calendar`?"]);
    assert_eq!(
        said("[calendar.\" \"]\nzone = \"UTC\"\nopen = []"),
        ["calendars.toml:1: ` ` is no name of a calendar; write 1–256 characters without spaces around them"]
    );
    assert!(said("[calendar")[0].starts_with("calendars.toml:1: not TOML"));
    let many: String = (0..=CALENDARS_MAX).map(|n| format!("[calendar.c{n}]\nzone = \"UTC\"\nopen = []\n")).collect();
    assert_eq!(said(&many), ["calendars.toml:1: 65 calendars, the limit is 64; leave out those no rule reads"]);
}

#[test]
fn holidays_that_are_all_past_are_worth_a_look() {
    let text = |date: &str| format!("[calendar.x]\nzone = \"UTC\"\nopen = []\nholidays = [{date}]");
    let warned = good(&text("\"2025-12-25\"")).warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(warned, ["calendars.toml:1: warning: the last holiday of calendar `x` is past; enter the coming ones"]);
    assert!(good(&text("2025-12-25, 2026-12-25")).warnings().is_empty());
}

/// Each row: a calendar's lines, then instants at which it is open, then instants at which it is closed.
#[test]
fn a_calendar_is_open_in_its_windows_and_nowhere_else() {
    let rows: [(&str, &[&str], &[&str]); 7] = [
        (
            "zone = \"Europe/Berlin\"\nwindows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]\nholidays = [\"2026-12-25\"]",
            &["2026-11-24T08:00:00Z", "2026-11-24T15:59:59.999Z", "2026-07-01T07:00:00Z"],
            &[
                "2026-11-24T07:59:59.999Z",
                "2026-11-24T16:00:00Z",
                "2026-07-01T15:00:00Z",
                "2026-11-28T12:00:00Z",
                "2026-12-25T12:00:00Z",
            ],
        ),
        // Over midnight and over the end of the week; it belongs to the day it begins on.
        (
            "zone = \"UTC\"\nwindows = [{ days = [\"sat-sun\"], from = \"22:00\", to = \"06:00\" }]",
            &["2026-11-28T22:00:00Z", "2026-11-29T05:59:59Z", "2026-11-29T22:00:00Z", "2026-11-30T05:00:00Z"],
            &["2026-11-28T05:00:00Z", "2026-11-29T06:00:00Z", "2026-11-30T06:00:00Z", "2026-11-30T22:00:00Z"],
        ),
        // A holiday is closed from its first to its last instant, and no window begins on it.
        (
            "zone = \"UTC\"\nwindows = [{ days = [\"mon-sun\"], from = \"22:00\", to = \"06:00\" }]\nholidays = [2026-11-25]",
            &["2026-11-24T23:59:59Z", "2026-11-26T22:00:00Z"],
            &["2026-11-25T00:00:00Z", "2026-11-25T05:00:00Z", "2026-11-25T23:00:00Z", "2026-11-26T05:00:00Z"],
        ),
        // A further opening counts on a holiday as well.
        (
            "zone = \"UTC\"\nwindows = [{ days = [\"wed\"], from = \"09:00\", to = \"17:00\" }]\nholidays = [\"2026-11-25\"]\nopen = [{ date = \"2026-11-25\", from = \"11:00\", to = \"12:00\" }]",
            &["2026-11-25T11:00:00Z", "2026-12-02T09:00:00Z"],
            &["2026-11-25T10:59:59Z", "2026-11-25T12:00:00Z"],
        ),
        // A leap day is a day, and a whole day has no seam.
        (
            "zone = \"UTC\"\nwindows = [{ days = [\"tue-wed\"], from = \"00:00\", to = \"24:00\" }]",
            &["2028-02-29T00:00:00Z", "2028-02-29T23:59:59.999Z", "2028-03-01T00:00:00Z"],
            &["2028-02-28T23:59:59.999Z", "2028-03-02T00:00:00Z"],
        ),
        (
            "zone = \"Asia/Kathmandu\"\nopen = [{ date = \"2028-02-29\", from = \"00:00\", to = \"24:00\" }]",
            &["2028-02-28T18:15:00Z", "2028-02-29T18:14:59Z"],
            &["2028-02-28T18:14:59Z", "2028-02-29T18:15:00Z"],
        ),
        // Windows that touch or overlap are one.
        (
            "zone = \"UTC\"\nwindows = [{ days = [\"tue\"], from = \"09:00\", to = \"12:00\" }, { days = [\"tue\"], from = \"12:00\", to = \"15:00\" }, { days = [\"tue\"], from = \"11:00\", to = \"13:00\" }]",
            &["2026-11-24T09:00:00Z", "2026-11-24T12:00:00Z", "2026-11-24T14:59:59Z"],
            &["2026-11-24T08:59:59Z", "2026-11-24T15:00:00Z"],
        ),
    ];
    for (lines, open, closed) in rows {
        let calendars = good(&format!("[calendar.x]\n{lines}"));
        for (at, expected) in open.iter().map(|at| (at, true)).chain(closed.iter().map(|at| (at, false))) {
            assert_eq!(calendars.open(instant(at)).unwrap().contains(0), expected, "given {lines}\nat {at}");
        }
    }
}

#[test]
fn around_every_change_of_clocks_windows_open_and_close_as_another_implementation_finds() {
    const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let (mut rows, mut zones) = (0, std::collections::BTreeSet::new());
    for row in include_str!("dst.txt").lines().filter(|row| !row.starts_with('#')) {
        let [zone, date, from, to, opens, closes] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let weekday = date.parse::<Date>().unwrap().weekday().to_monday_zero_offset();
        let day = WEEK[usize::try_from(weekday).unwrap()];
        let texts = [
            format!("open = [{{ date = \"{date}\", from = \"{from}\", to = \"{to}\" }}]"),
            format!("windows = [{{ days = [\"{day}\"], from = \"{from}\", to = \"{to}\" }}]"),
        ];
        let (opens, closes): (i64, i64) = (opens.parse().unwrap(), closes.parse().unwrap());
        for lines in texts {
            let calendars = good(&format!("[calendar.x]\nzone = \"{zone}\"\n{lines}"));
            let at = |millis: i64| calendars.open(UnixMillis(millis)).unwrap().contains(0);
            let (first, end) = (opens * 60_000, closes * 60_000);
            let got = [at(first - 1), at(first), at(end - 1), at(end)];
            let expected = if opens < closes { [false, true, true, false] } else { [false; 4] };
            assert_eq!(got, expected, "given {row} as {lines}");
        }
        rows += 1;
        zones.insert(zone);
    }
    assert!(rows > 1300 && zones.len() == 20, "{rows} rows, {zones:?}");
}

#[test]
fn beyond_what_is_laid_out_there_is_no_answer() {
    let calendars =
        good("[calendar.x]\nzone = \"UTC\"\nwindows = [{ days = [\"mon-sun\"], from = \"00:00\", to = \"24:00\" }]");
    for (at, expected) in [
        ("2023-12-31T23:59:59.999Z", None),
        ("2024-01-01T00:00:00Z", Some(true)),
        ("2036-12-31T23:59:59.999Z", Some(true)),
        ("2037-01-01T00:00:00Z", None),
    ] {
        assert_eq!(calendars.open(instant(at)).map(|open| open.contains(0)), expected, "{at}");
    }
    assert_eq!(Calendars::default().open(UnixMillis(0)), Some(Open(0)), "without calendars nothing can be missed");
}

#[test]
fn a_clock_that_steps_back_finds_what_it_found_before() {
    let calendars = good(
        "[calendar.a]\nzone = \"Europe/Berlin\"\nwindows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]\n[calendar.b]\nzone = \"UTC\"\nwindows = [{ days = [\"tue\"], from = \"10:00\", to = \"11:00\" }]",
    );
    let hours: Vec<UnixMillis> = (0..96).map(|hour| UnixMillis(NOW.0 + hour * 3_600_000)).collect();
    let forward: Vec<_> = hours.iter().map(|at| calendars.open(*at)).collect();
    let mut back: Vec<_> = hours.iter().rev().map(|at| calendars.open(*at)).collect();
    back.reverse();
    assert_eq!(forward, back);
    assert!(
        forward.iter().any(|open| open.unwrap() == Open(0b11)) && forward.iter().any(|open| open.unwrap() == Open(0))
    );
    assert_eq!((calendars.position("b"), calendars.position("c"), calendars.names().len()), (Some(1), None, 2));
    assert!(!Open(u64::MAX).contains(64));
}
