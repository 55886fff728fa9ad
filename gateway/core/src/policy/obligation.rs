//! Reads what a permit obliges the gateway to. In: annotations of rules. Out: pointers, row caps, rates and budgets, or what is wrong with one.
//! Never here: which rule determines what, counting, results.
//!
//! Cedar forbids an annotation to occur twice on a rule and gives each one text, so every text is a list:
//!
//! | annotation | meaning |
//! |---|---|
//! | `@redact("/rows/*/ssn, /total")` | these values of the result are replaced by `"[redacted]"` |
//! | `@max_rows("500")`, `@max_rows("/rows 500, /notes 3")` | the outermost arrays of the result, or those named, are cut after so many elements |
//! | `@rate("10/m, 100/h")` | an agent calls a tool so often; `s`, `m`, `h`, `d` |
//! | `@budget("/amount 5000/day, /amount 50000/month")` | an agent's calls of a tool sum to no more; `hour`, `day`, `month` in UTC |
//!
//! Pointers are RFC 6901 with `*` for every element and every member; a name with a blank or a comma in it can be reached by `*` alone.

use super::meter::{Budget, Limit, RATE_COUNT_MAX, Rate, Window, ten_thousandths};
use crate::diagnostic::did_you_mean;
use crate::limits::JSON_DEPTH_MAX;
use crate::protocol::fold::is_variant;
use crate::protocol::json::{Kind, Value};

/// The annotations that oblige.
pub const KEYS: [&str; 4] = ["redact", "max_rows", "rate", "budget"];

/// Entries of one annotation; a tool with more secrets than this is one to redact by `*`.
pub const ENTRIES_MAX: usize = 64;

/// A pointer into JSON (RFC 6901), `*` for whatever stands there. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    segments: Box<[Segment]>,
}

/// One step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Every element of an array and every member of an object.
    Any,
    /// One of them.
    One {
        /// The member's name, `~0` and `~1` undone.
        name: Box<str>,
        /// The element's position, where the name is one.
        index: Option<usize>,
    },
}

impl Pointer {
    /// The steps, at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names on the way, where it names each one.
    pub fn names(&self) -> Option<Vec<Box<str>>> {
        let name = |segment: &Segment| match segment {
            Segment::Any => None,
            Segment::One { name, index: _ } => Some(name.clone()),
        };
        self.segments.iter().map(name).collect()
    }

    /// Reads a pointer.
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |message: String, cure: &str| Fault { message, cure: cure.to_owned() };
        let steps = text.strip_prefix('/').ok_or_else(|| {
            fault(format!("`{text}` is no pointer"), "a pointer begins with a slash, as in `/rows/*/ssn`")
        })?;
        let mut segments = Vec::new();
        for step in steps.split('/') {
            if step.is_empty() {
                return Err(fault(format!("`{text}` has a step without a name"), "take out the slash"));
            }
            if step.replace("~0", "").replace("~1", "").contains('~') {
                return Err(fault(format!("`{text}` has a lone `~`"), "write `~0` for a tilde and `~1` for a slash"));
            }
            segments.push(if step == "*" {
                Segment::Any
            } else {
                let name: Box<str> = step.replace("~1", "/").replace("~0", "~").into();
                Segment::One { index: position(&name), name }
            });
        }
        if segments.len() > JSON_DEPTH_MAX {
            return Err(fault(format!("`{text}` is deeper than any result"), "results are at most 64 deep"));
        }
        Ok(Self { segments: segments.into() })
    }
}

/// A position in an array (RFC 6901 §4: no leading zero).
fn position(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if digits { name.parse().ok() } else { None }
}

/// A bound on rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCap {
    /// Where the rows are; none for every array at the top of the result, and the result itself where it is one.
    pub at: Option<Pointer>,
    /// How many stay, at least one.
    pub rows_max: usize,
}

/// A rate or a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// As it is written, such as `10/m`.
    pub text: Box<str>,
    /// What it bounds.
    pub limit: Limit,
    /// The argument that a budget adds up.
    pub amount: Option<Pointer>,
}

impl Bound {
    /// What a call with these arguments takes of it. None where the amount is missing or no decimal of at most four digits after the point;
    /// a negative one would give back what others used, and is none either.
    pub fn amount_of(&self, arguments: Option<Value<'_>>) -> Option<u64> {
        let Some(pointer) = &self.amount else { return Some(1) };
        let mut here = arguments?;
        for segment in pointer.segments() {
            let Segment::One { name, index } = segment else { return None };
            here = match here.kind() {
                // A reader that ignores case would add up another amount.
                Kind::Object if here.entries().any(|(key, _)| is_variant(key, name)) => return None,
                Kind::Object => here.get(name)?,
                Kind::Array => here.items().nth((*index)?)?,
                Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::String => return None,
            };
        }
        match here.kind() {
            Kind::Integer => here.as_u64()?.checked_mul(10_000),
            // The shortest decimal that reads back as this float: what was written, or the same number.
            Kind::Float => ten_thousandths(&format!("{}", here.as_f64()?)),
            Kind::String => ten_thousandths(here.as_str()?),
            Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
        }
    }
}

/// All that one rule obliges to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// What is redacted.
    pub redact: Vec<Pointer>,
    /// What is cut.
    pub rows: Vec<RowCap>,
    /// What is counted.
    pub bounds: Vec<Bound>,
}

/// What is wrong with an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The cause.
    pub message: String,
    /// The cure.
    pub cure: String,
}

impl Stated {
    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.redact.is_empty() && self.rows.is_empty() && self.bounds.is_empty()
    }

    /// Adds what the annotation `key` says; other keys than [`KEYS`] say nothing here.
    pub fn add(&mut self, key: &str, text: &str) -> Result<(), Fault> {
        let entries: Vec<&str> = match key {
            "redact" => text.split([',', ' ', '\t', '\n', '\r']).filter(|entry| !entry.is_empty()).collect(),
            "max_rows" | "rate" | "budget" => text.split(',').map(str::trim).collect(),
            _ => return Ok(()),
        };
        if entries.is_empty() || entries.contains(&"") {
            return Err(shaped(key, format!("`@{key}(\"{text}\")` has an empty entry")));
        }
        if entries.len() > ENTRIES_MAX {
            let message = format!("`@{key}` has {} entries, the limit is {ENTRIES_MAX}", entries.len());
            return Err(Fault { message, cure: "use `*`, or several rules".to_owned() });
        }
        for entry in entries {
            match key {
                "redact" => self.redact.push(Pointer::parse(entry)?),
                "max_rows" => self.rows.push(row_cap(entry)?),
                "rate" => self.bounds.push(rate(entry)?),
                _ => self.bounds.push(budget(entry)?),
            }
        }
        Ok(())
    }
}

/// A fault that the right shape cures.
fn shaped(key: &str, message: String) -> Fault {
    let cure = match key {
        "redact" => "write pointers, as in `@redact(\"/rows/*/ssn, /total\")`",
        "max_rows" => "write `@max_rows(\"500\")` or `@max_rows(\"/rows 500\")`",
        "rate" => "write calls and unit, as in `@rate(\"10/m\")`; the units are `s`, `m`, `h` and `d`",
        _ => {
            "write argument, sum and window, as in `@budget(\"/amount 5000/day\")`; the windows are `hour`, `day` and `month`"
        }
    };
    Fault { message, cure: cure.to_owned() }
}

fn row_cap(entry: &str) -> Result<RowCap, Fault> {
    let wrong = || shaped("max_rows", format!("`{entry}` is no bound on rows"));
    let words: Vec<&str> = entry.split_whitespace().collect();
    let (at, count) = match words.as_slice() {
        [count] => (None, count),
        [pointer, count] => (Some(Pointer::parse(pointer)?), count),
        _ => return Err(wrong()),
    };
    let rows_max: usize = whole(count).and_then(|count| usize::try_from(count).ok()).ok_or_else(wrong)?;
    if rows_max == 0 {
        let cure = "write at least 1; `@redact` takes a value out altogether".to_owned();
        return Err(Fault { message: format!("`{entry}` lets no row stay"), cure });
    }
    Ok(RowCap { at, rows_max })
}

fn rate(entry: &str) -> Result<Bound, Fault> {
    let wrong = || shaped("rate", format!("`{entry}` is no rate"));
    let (count, unit) = entry.split_once('/').ok_or_else(wrong)?;
    let period_ms = match unit {
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return Err(wrong()),
    };
    let count = whole(count).ok_or_else(wrong)?;
    let count =
        u32::try_from(count).ok().filter(|count| (1..=RATE_COUNT_MAX).contains(count)).ok_or_else(|| Fault {
            message: format!("`{entry}` is no rate that can be counted"),
            cure: format!("write from 1 to {RATE_COUNT_MAX} calls"),
        })?;
    Ok(Bound { text: entry.into(), limit: Limit::Rate(Rate { count, period_ms }), amount: None })
}

fn budget(entry: &str) -> Result<Bound, Fault> {
    let wrong = || shaped("budget", format!("`{entry}` is no budget"));
    let words: Vec<&str> = entry.split_whitespace().collect();
    let [pointer, sum] = words.as_slice() else { return Err(wrong()) };
    let amount = Pointer::parse(pointer)?;
    if amount.names().is_none() {
        let cure = "name the one argument that holds the amount".to_owned();
        return Err(Fault { message: format!("`{pointer}` is no single argument"), cure });
    }
    let (sum, word) = sum.split_once('/').ok_or_else(wrong)?;
    let Some(window) = Window::parse(word) else {
        let fault = wrong();
        let cure = did_you_mean(word, ["hour", "day", "month"]).unwrap_or(fault.cure);
        return Err(Fault { message: fault.message, cure });
    };
    let sum_max = ten_thousandths(sum).ok_or_else(wrong)?;
    if sum_max == 0 {
        let cure = "write more than 0; a `forbid` says that nothing may be spent".to_owned();
        return Err(Fault { message: format!("`{entry}` lets nothing be spent"), cure });
    }
    let text = words.join(" ").into();
    Ok(Bound { text, limit: Limit::Budget(Budget { sum_max, window }), amount: Some(amount) })
}

/// Digits alone.
fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    fn stated(key: &str, text: &str) -> Result<Stated, String> {
        let mut stated = Stated::default();
        stated.add(key, text).map_err(|fault| format!("{}; {}", fault.message, fault.cure))?;
        Ok(stated)
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_cause_and_cure() {
        let redact = "write pointers, as in `@redact(\"/rows/*/ssn, /total\")`";
        let rows = "write `@max_rows(\"500\")` or `@max_rows(\"/rows 500\")`";
        let rate = "write calls and unit, as in `@rate(\"10/m\")`; the units are `s`, `m`, `h` and `d`";
        let budget = "write argument, sum and window, as in `@budget(\"/amount 5000/day\")`; the windows are `hour`, `day` and `month`";
        for (key, text, message, cure) in [
            ("redact", "", "`@redact(\"\")` has an empty entry", redact),
            ("redact", " , ", "`@redact(\" , \")` has an empty entry", redact),
            ("redact", "ssn", "`ssn` is no pointer", "a pointer begins with a slash, as in `/rows/*/ssn`"),
            ("redact", "/rows/", "`/rows/` has a step without a name", "take out the slash"),
            ("redact", "/a~2", "`/a~2` has a lone `~`", "write `~0` for a tilde and `~1` for a slash"),
            ("max_rows", "", "`@max_rows(\"\")` has an empty entry", rows),
            ("max_rows", "5,", "`@max_rows(\"5,\")` has an empty entry", rows),
            ("max_rows", "many", "`many` is no bound on rows", rows),
            ("max_rows", "-5", "`-5` is no bound on rows", rows),
            ("max_rows", "5 /rows", "`5` is no pointer", "a pointer begins with a slash, as in `/rows/*/ssn`"),
            ("max_rows", "0", "`0` lets no row stay", "write at least 1; `@redact` takes a value out altogether"),
            ("rate", "10", "`10` is no rate", rate),
            ("rate", "10/min", "`10/min` is no rate", rate),
            ("rate", "ten/m", "`ten/m` is no rate", rate),
            ("rate", "0/s", "`0/s` is no rate that can be counted", "write from 1 to 1000000 calls"),
            ("rate", "1000001/s", "`1000001/s` is no rate that can be counted", "write from 1 to 1000000 calls"),
            ("budget", "5000/day", "`5000/day` is no budget", budget),
            ("budget", "/amount 5000", "`/amount 5000` is no budget", budget),
            ("budget", "/amount 5000/days", "`/amount 5000/days` is no budget", "did you mean `day`?"),
            ("budget", "/amount 5000/m", "`/amount 5000/m` is no budget", budget),
            ("budget", "/amount 1.23456/day", "`/amount 1.23456/day` is no budget", budget),
            (
                "budget",
                "/rows/* 5/day",
                "`/rows/*` is no single argument",
                "name the one argument that holds the amount",
            ),
            (
                "budget",
                "/amount 0/day",
                "`/amount 0/day` lets nothing be spent",
                "write more than 0; a `forbid` says that nothing may be spent",
            ),
        ] {
            assert_eq!(stated(key, text), Err(format!("{message}; {cure}")), "@{key}({text:?})");
        }
        let many = vec!["/a"; ENTRIES_MAX + 1].join(",");
        assert!(stated("redact", &many).unwrap_err().contains("65 entries"));
        assert!(stated("redact", &"/a".repeat(JSON_DEPTH_MAX + 1)).unwrap_err().contains("deeper"));
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let got = stated("redact", "/rows/*/ssn, /a~1b/0\n/01").unwrap();
        let one = |name: &str, index| Segment::One { name: name.into(), index };
        let segments: Vec<&[Segment]> = got.redact.iter().map(Pointer::segments).collect();
        assert_eq!(
            segments,
            [
                &[one("rows", None), Segment::Any, one("ssn", None)][..],
                &[one("a/b", None), one("0", Some(0))],
                &[one("01", None)]
            ]
        );
        let got = stated("max_rows", "500, /rows  20").unwrap();
        assert_eq!(
            got.rows.iter().map(|cap| (cap.at.is_some(), cap.rows_max)).collect::<Vec<_>>(),
            [(false, 500), (true, 20)]
        );
        let got = stated("rate", "10/m, 3/d").unwrap();
        let limits: Vec<Limit> = got.bounds.iter().map(|bound| bound.limit).collect();
        let rate = |count, period_ms| Limit::Rate(Rate { count, period_ms });
        assert_eq!(limits, [rate(10, 60_000), rate(3, 86_400_000)]);
        let got = stated("budget", "/to/amount  5000.5/day").unwrap();
        assert_eq!(got.bounds.first().map(|bound| &*bound.text), Some("/to/amount 5000.5/day"));
        let limit = Limit::Budget(Budget { sum_max: 50_005_000, window: Window::Day });
        assert_eq!(got.bounds.first().map(|bound| bound.limit), Some(limit));
        assert!(stated("owner", "ann").unwrap().is_empty());
    }

    #[test]
    fn an_amount_that_is_missing_or_no_plain_decimal_is_none() {
        let bound = stated("budget", "/to/amount 5/day").unwrap().bounds.remove(0);
        let check = |text: &str, expected: Option<u64>| {
            let mut scratch = Scratch::new();
            let document =
                read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
            assert_eq!(bound.amount_of(Some(document.root())), expected, "{text}");
        };
        for text in [
            "{}",
            "[]",
            r#"{"to":5}"#,
            r#"{"to":{"Amount":5}}"#,
            r#"{"to":{"amount":5,"AMOUNT":500}}"#,
            r#"{"to":{"amount":null}}"#,
            r#"{"to":{"amount":true}}"#,
            r#"{"to":{"amount":-5}}"#,
            r#"{"to":{"amount":-0.5}}"#,
            r#"{"to":{"amount":0.00001}}"#,
            r#"{"to":{"amount":1e300}}"#,
            r#"{"to":{"amount":"5 EUR"}}"#,
            r#"{"to":{"amount":"1e3"}}"#,
            r#"{"to":{"amount":18446744073709551615}}"#,
        ] {
            check(text, None);
        }
        assert_eq!(bound.amount_of(None), None);
        check(r#"{"to":{"amount":5}}"#, Some(50_000));
        check(r#"{"to":{"amount":0}}"#, Some(0));
        check(r#"{"to":{"amount":0.1}}"#, Some(1_000));
        check(r#"{"to":{"amount":1e3}}"#, Some(10_000_000));
        check(r#"{"to":{"amount":"12.34"}}"#, Some(123_400));
    }
}
