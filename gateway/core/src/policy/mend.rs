//! Fits a call to the facts that are claimed of it. In: open calendars, kinds and tables of SQL. Out: an instant at which they are open, a statement that has them. Never here: whether it is believed.
//!
//! A solver takes `context.calendars` and `context.sql` for facts like any others; in a call they follow from the time and from an argument. What is
//! made here is a suggestion: it counts only if the call as a whole is confirmed.

use std::collections::BTreeSet;

use super::calendar::Calendars;
use crate::time::UnixMillis;

/// Where the search for an instant begins: midnight of 2026-01-05, a Monday.
const FROM: UnixMillis = UnixMillis(1_767_571_200_000);

/// A quarter of an hour: windows open and close on such marks more often than not.
const STEP_MILLIS: i64 = 15 * 60 * 1000;

/// A year of steps.
const STEPS_MAX: i64 = 366 * 24 * 4;

/// The first instant at which exactly these calendars are open.
pub fn instant(calendars: &Calendars, wanted: &[String]) -> Option<UnixMillis> {
    let wanted: BTreeSet<&str> =
        wanted.iter().map(String::as_str).filter(|name| calendars.position(name).is_some()).collect();
    let instants = (0..STEPS_MAX).map(|step| UnixMillis(FROM.0.saturating_add(step.saturating_mul(STEP_MILLIS))));
    instants.into_iter().find(|now| open(calendars, *now).is_some_and(|open| open == wanted))
}

/// The calendars that are open; nothing where that is not laid out.
pub fn open(calendars: &Calendars, now: UnixMillis) -> Option<BTreeSet<&str>> {
    let open = calendars.open(now)?;
    Some(calendars.names().enumerate().filter(|(at, _)| open.contains(*at)).map(|(_, name)| name).collect())
}

/// A statement of this kind over these tables that calls these functions, if one of ours has them.
pub fn statement(kinds: &[String], tables: &[String], functions: &[String]) -> Option<String> {
    let tables: Vec<String> = tables.iter().map(|name| quoted(name)).collect();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    match (kinds.as_slice(), tables.as_slice()) {
        (["select"], tables) => {
            let calls: Vec<String> = functions.iter().map(|name| format!("{}()", quoted(name))).collect();
            let what = if calls.is_empty() { "1".to_owned() } else { calls.join(", ") };
            let from = if tables.is_empty() { String::new() } else { format!(" FROM {}", tables.join(", ")) };
            Some(format!("SELECT {what}{from}"))
        }
        (["insert"], [table]) => Some(format!("INSERT INTO {table} (a) VALUES (1)")),
        (["update"], [table]) => Some(format!("UPDATE {table} SET a = 1")),
        (["delete"], [table]) => Some(format!("DELETE FROM {table}")),
        (_, _) => None,
    }
}

fn quoted(name: &str) -> String {
    let plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '_' | '.');
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kinds: &[&str], tables: &[&str], functions: &[&str], expected: Option<&str>) {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(statement(&owned(kinds), &owned(tables), &owned(functions)).as_deref(), expected);
    }

    #[test]
    fn a_statement_has_the_kind_and_the_tables() {
        check(&[], &["a"], &[], None);
        check(&["create"], &["a"], &[], None);
        check(&["insert"], &["a", "b"], &[], None);
        check(&["select"], &["a", "S x\""], &["count"], Some("SELECT count() FROM a, \"S x\"\"\""));
        check(&["select"], &[], &[], Some("SELECT 1"));
        check(&["delete"], &["public.a"], &[], Some("DELETE FROM public.a"));
    }

    #[test]
    fn an_instant_is_found_at_which_exactly_these_are_open() {
        let text = "[calendar.office]\nzone = \"UTC\"\nwindows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]\n";
        let calendars = Calendars::parse(text, "c.toml", FROM).unwrap();
        assert_eq!(instant(&calendars, &["office".to_owned()]), Some(UnixMillis(FROM.0 + 9 * 3_600_000)));
        assert_eq!(instant(&calendars, &["unknown".to_owned()]), Some(FROM));
    }
}
