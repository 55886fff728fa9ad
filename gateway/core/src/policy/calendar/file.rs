//! Reads `calendars.toml`. In: its text. Out: drafts, or every finding with its line. Never here: instants.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{CALENDARS_MAX, DATES_MAX, Draft, To, WINDOWS_MAX, Window, zone};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, did_you_mean, line_of};
use crate::limits::NAME_BYTES_MAX;
use crate::time::UnixMillis;

type Value<'t> = Spanned<DeValue<'t>>;
type Table<'t> = DeTable<'t>;

const KEYS: [&str; 4] = ["zone", "windows", "holidays", "open"];

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The calendars of a file, and what the operator should look at.
pub(super) fn read(text: &str, file: &str, now: UnixMillis) -> Result<(Vec<Draft>, Diagnostics), Diagnostics> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        vec![Diagnostic::error(file, line, format!("not TOML: {}", error.message().replace('\n', ", ")))]
    })?;
    let today = jiff::Timestamp::from_millisecond(now.0).ok().map(|at| Offset::UTC.to_datetime(at).date());
    let mut reader = Reader { file, text, findings: Diagnostics::new(), today };
    let mut drafts = Vec::new();
    for (key, value) in table.get_ref() {
        match (&**key.get_ref(), value.get_ref()) {
            ("calendar", DeValue::Table(calendars)) => {
                for (name, record) in calendars {
                    reader.name(name.get_ref(), name.span().start);
                    drafts.push(reader.calendar(name.get_ref(), name.span().start, record));
                }
            }
            (other, _) => {
                let cure = did_you_mean(other, ["calendar"]).filter(|_| other != "calendar");
                let cure = cure.unwrap_or_else(|| "calendars are written as `[calendar.NAME]`".to_owned());
                reader.error(key.span().start, format!("unknown key `{other}`"), cure);
            }
        }
    }
    if drafts.len() > CALENDARS_MAX {
        reader.error(
            0,
            format!("{} calendars, the limit is {CALENDARS_MAX}", drafts.len()),
            "leave out those no rule reads",
        );
    }
    reader.findings.sort_by_key(|finding| finding.line);
    let refused = reader.findings.iter().any(|finding| finding.severity == Severity::Error);
    if refused { Err(reader.findings) } else { Ok((drafts.into_iter().flatten().collect(), reader.findings)) }
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    findings: Diagnostics,
    today: Option<Date>,
}

impl Reader<'_> {
    fn error(&mut self, at: usize, message: impl Into<String>, cure: impl Into<String>) {
        let line = Some(line_of(self.text, at));
        self.findings.push(Diagnostic::error(self.file, line, message).help(cure));
    }

    fn name(&mut self, name: &str, at: usize) {
        let fits = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.trim() == name
            && !name.chars().any(char::is_control);
        if !fits {
            let cure = format!("write 1–{NAME_BYTES_MAX} characters without spaces around them");
            self.error(at, format!("`{}` is no name of a calendar", name.escape_debug()), cure);
        }
    }

    fn calendar(&mut self, name: &str, at: usize, record: &Value<'_>) -> Option<Draft> {
        let DeValue::Table(table) = record.get_ref() else {
            self.error(
                record.span().start,
                format!("calendar `{name}` is not a table"),
                format!("write `[calendar.{name}]`"),
            );
            return None;
        };
        self.keys(table, &KEYS, &format!("calendar `{name}`"));
        let zone = match table.get("zone") {
            Some(value) => self.zone(value),
            None => {
                self.error(at, format!("calendar `{name}` has no `zone`"), "write it like `zone = \"Europe/Berlin\"`");
                None
            }
        };
        let windows = self.list(table, "windows", WINDOWS_MAX, |reader, value| reader.weekly(value));
        let holidays = self.list(table, "holidays", DATES_MAX, Reader::date);
        let open = self.list(table, "open", DATES_MAX, |reader, value| reader.further(value));
        if table.get("windows").is_none() && table.get("open").is_none() {
            let cure = "write `windows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]`";
            self.error(at, format!("calendar `{name}` never opens"), cure);
        }
        if let (Some(last), Some(today)) = (holidays.iter().max(), self.today)
            && *last < today
        {
            let line = Some(line_of(self.text, at));
            let finding =
                Diagnostic::warning(self.file, line, format!("the last holiday of calendar `{name}` is past"));
            self.findings.push(finding.help("enter the coming ones"));
        }
        Some(Draft { name: name.into(), zone: zone?, windows, holidays, open })
    }

    fn keys(&mut self, table: &Table<'_>, known: &[&str], place: &str) {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&&**key.get_ref())) {
            let listed =
                || format!("it knows {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "));
            let cure = did_you_mean(key.get_ref(), known.iter().copied()).unwrap_or_else(listed);
            self.error(key.span().start, format!("unknown key `{}` in {place}", key.get_ref()), cure);
        }
    }

    fn zone(&mut self, value: &Value<'_>) -> Option<TimeZone> {
        let name = self.words(value, "zone")?;
        let found = zone(&name);
        if found.is_none() {
            let names: Vec<String> =
                TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
            let cure = did_you_mean(&name, names.iter().map(String::as_str));
            let cure = cure.unwrap_or_else(|| "write an IANA name, such as `Europe/Berlin`".to_owned());
            self.error(value.span().start, format!("unknown zone `{}`", name.escape_debug()), cure);
        }
        found
    }

    fn words(&mut self, value: &Value<'_>, key: &str) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.error(value.span().start, format!("`{key}` is not a text"), format!("write `{key} = \"…\"`"));
        }
        text
    }

    fn list<T>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        most: usize,
        mut read: impl FnMut(&mut Self, &Value<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.error(value.span().start, format!("`{key}` is not a list"), format!("write `{key} = […]`"));
            return Vec::new();
        };
        if items.iter().count() > most {
            self.error(
                value.span().start,
                format!("{} entries of `{key}`, the limit is {most}", items.iter().count()),
                "leave some out",
            );
            return Vec::new();
        }
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    /// `{ days = ["mon-fri"], from = "09:00", to = "17:00" }`
    fn weekly(&mut self, value: &Value<'_>) -> Option<(Vec<Weekday>, Window)> {
        let (table, window) = self.window(value, "days", "a window")?;
        let Some(_) = table.get("days") else {
            self.error(value.span().start, "a window has no `days`", "write it like `days = [\"mon-fri\"]`");
            return None;
        };
        let days = self.list(table, "days", DAYS.len(), Reader::days_of).into_iter().flatten().collect::<Vec<_>>();
        (!days.is_empty()).then_some((days, window?)).or_else(|| {
            if table.get("days").and_then(|days| days.get_ref().as_array()).is_some_and(|days| days.is_empty()) {
                self.error(value.span().start, "a window has no `days`", "write it like `days = [\"mon-fri\"]`");
            }
            None
        })
    }

    /// `mon`, or `mon-fri`; `sat-mon` runs over the end of the week.
    fn days_of(&mut self, value: &Value<'_>) -> Option<Vec<Weekday>> {
        let text = self.words(value, "days")?;
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let position = |word: &str| DAYS.iter().position(|(day, _)| *day == word);
        let (Some(first), Some(last)) = (position(first), position(last)) else {
            let cure = "the days are `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, or two of them as in `mon-fri`";
            self.error(value.span().start, format!("unknown day `{}`", text.escape_debug()), cure);
            return None;
        };
        let length = (last + DAYS.len() - first) % DAYS.len() + 1;
        Some(DAYS.iter().cycle().skip(first).take(length).map(|(_, day)| *day).collect())
    }

    /// `{ date = "2026-11-28", from = "10:00", to = "14:00" }`
    fn further(&mut self, value: &Value<'_>) -> Option<(Date, Window)> {
        let (table, window) = self.window(value, "date", "an opening")?;
        let Some(date) = table.get("date") else {
            self.error(value.span().start, "an opening has no `date`", "write it like `date = \"2026-11-28\"`");
            return None;
        };
        Some((self.date(date)?, window?))
    }

    fn date(&mut self, value: &Value<'_>) -> Option<Date> {
        // TOML has dates of its own; they are taken as well as texts.
        let text = match value.get_ref() {
            DeValue::Datetime(date) => date.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let plain = text.len() == 10;
        let date = plain.then(|| text.parse::<Date>().ok()).flatten();
        if date.is_none() {
            self.error(
                value.span().start,
                format!("`{}` is no date", text.escape_debug()),
                "write it like `2026-12-25`",
            );
        }
        date
    }

    /// The table with its keys checked, and its times where they are right.
    fn window<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        own: &str,
        what: &str,
    ) -> Option<(&'v Table<'t>, Option<Window>)> {
        let DeValue::Table(table) = value.get_ref() else {
            self.error(
                value.span().start,
                format!("{what} is not a table"),
                "write `{ …, from = \"09:00\", to = \"17:00\" }`",
            );
            return None;
        };
        self.keys(table, &[own, "from", "to"], what);
        let (from, to) = (self.time(table, "from", value, what), self.time(table, "to", value, what));
        let window = from.zip(to).and_then(|(from, to)| self.meant(from, to, value));
        Some((table, window))
    }

    /// Minutes after midnight of a `HH:MM`; only `to` may be `24:00`.
    fn time(&mut self, table: &Table<'_>, key: &str, whole: &Value<'_>, what: &str) -> Option<u16> {
        let Some(value) = table.get(key) else {
            self.error(
                whole.span().start,
                format!("{what} has no `{key}`"),
                format!("write it like `{key} = \"09:00\"`"),
            );
            return None;
        };
        let text = self.words(value, key)?;
        let digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())
                .flatten()
        };
        let parts = text.split_once(':').and_then(|(hours, minutes)| Some((digits(hours)?, digits(minutes)?)));
        let minutes = parts.filter(|(hours, minutes)| {
            (*hours < 24 && *minutes < 60) || (key == "to" && (*hours, *minutes) == (24, 0))
        });
        if minutes.is_none() {
            self.error(
                value.span().start,
                format!("`{}` is no time of day", text.escape_debug()),
                "write it like `09:00`; a day ends at `24:00`",
            );
        }
        minutes.map(|(hours, minutes)| hours * 60 + minutes)
    }

    fn meant(&mut self, from: u16, to: u16, value: &Value<'_>) -> Option<Window> {
        if from == to {
            self.error(
                value.span().start,
                "an opening begins and ends at the same time",
                "a whole day is from `00:00` to `24:00`",
            );
            return None;
        }
        let wall = |minutes: u16| {
            let (hours, minutes) = (i8::try_from(minutes / 60 % 24).ok()?, i8::try_from(minutes % 60).ok()?);
            Time::new(hours, minutes, 0, 0).ok()
        };
        let end = wall(to)?;
        let to = if to == 24 * 60 || to < from { To::NextDay(end) } else { To::SameDay(end) };
        Some(Window { from: wall(from)?, to })
    }
}
