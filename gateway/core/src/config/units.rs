//! Reads numbers with units. In: `"1h 30m"`, `"64 KiB"`. Out: a duration, a count of bytes. Never here: bounds.

use std::time::Duration;

/// Why a text is no number with a unit: cause, then cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    /// Lower case, the operator's text in backticks.
    pub message: String,
    /// What to write instead.
    pub cure: String,
}

/// A span of time: whole numbers, each with one of `ms`, `s`, `m`, `h`, `d`, added up.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let fault = |message: String| Err(UnitError { message, cure: SPAN_CURE.to_owned() });
    let mut rest = text.trim();
    if rest.is_empty() {
        return fault(format!("`{text}` is no span of time"));
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let Some((count, unit, after)) = number_and_unit(rest) else {
            return fault(format!("`{text}` is no span of time"));
        };
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return fault(format!("`{text}` has no unit")),
            other => return fault(format!("`{other}` in `{text}` is no unit of time")),
        };
        let Some(sum) = count.checked_mul(factor).and_then(|part| millis.checked_add(part)) else {
            return fault(format!("`{text}` is longer than time"));
        };
        millis = sum;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// A size in bytes: one whole number with one of `B`, `KiB`, `MiB`, `GiB`.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let fault = |message: String| Err(UnitError { message, cure: SIZE_CURE.to_owned() });
    let Some((count, unit, "")) = number_and_unit(text.trim()) else {
        return fault(format!("`{text}` is no size"));
    };
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" => return fault(format!("`{text}` has no unit")),
        other => return fault(format!("`{other}` in `{text}` is no unit of size")),
    };
    match count.checked_mul(factor) {
        Some(bytes) => Ok(bytes),
        None => fault(format!("`{text}` is larger than any memory")),
    }
}

/// `4 s`, `64 KiB`: how a bound is shown, in the largest unit that leaves a whole number.
pub fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(factor, _)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// The same for a span of time.
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(factor, _)| millis >= *factor && millis.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{}{unit}", millis / factor),
        None => format!("{millis}ms"),
    }
}

/// Takes one number and the letters after it off the front: `(30, "s", "rest")`.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at_checked(letters)?;
    Some((number.parse().ok()?, unit, after.trim_start()))
}

const SPAN_CURE: &str = "write a number with `ms`, `s`, `m`, `h` or `d`, such as `\"30s\"` or `\"1h 30m\"`";
const SIZE_CURE: &str = "write a number with `B`, `KiB`, `MiB` or `GiB`, such as `\"64 KiB\"`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_unit_we_know_is_refused() {
        let rows = [
            ("", "`` is no span of time"),
            ("30", "`30` has no unit"),
            ("1h 30", "`1h 30` has no unit"),
            ("1.5s", "`.` in `1.5s` is no unit of time"),
            ("-1s", "`-1s` is no span of time"),
            ("5 minutes", "`minutes` in `5 minutes` is no unit of time"),
            ("99999999999999999999s", "`99999999999999999999s` is no span of time"),
            ("18446744073709551615d", "`18446744073709551615d` is longer than time"),
        ];
        for (text, message) in rows {
            assert_eq!(duration(text).unwrap_err().message, message, "given {text:?}");
        }
        let rows = [
            ("", "`` is no size"),
            ("64", "`64` has no unit"),
            ("64 KB", "`KB` in `64 KB` is no unit of size"),
            ("64 k", "`k` in `64 k` is no unit of size"),
            ("1 MiB 3 KiB", "`1 MiB 3 KiB` is no size"),
            ("99999999999 GiB", "`99999999999 GiB` is larger than any memory"),
        ];
        for (text, message) in rows {
            assert_eq!(size(text).unwrap_err().message, message, "given {text:?}");
        }
    }

    #[test]
    fn a_number_with_a_unit_is_read_and_shown() {
        let rows = [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            (" 250 ms ", 250),
            ("2d", 172_800_000),
        ];
        for (text, millis) in rows {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "given {text:?}");
        }
        let rows = [("64 KiB", 65_536), ("1MiB", 1 << 20), ("2 GiB", 2 << 30), ("7 B", 7)];
        for (text, bytes) in rows {
            assert_eq!(size(text), Ok(bytes), "given {text:?}");
        }
        assert_eq!(show_size(65_536), "64 KiB");
        assert_eq!(show_size(65_537), "65537 B");
        assert_eq!(show_duration(Duration::from_secs(5_400)), "90m");
        assert_eq!(show_duration(Duration::from_millis(1)), "1ms");
    }
}
