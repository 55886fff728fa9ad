//! Finds numbers that lost digits. In: a tape and the text it was made from. Out: the tape, with every float that is not what was written marked as
//! none. Never here: what a number means.
//!
//! The tape holds a float as an `f64`, rounded. `9007199254740993.0` would be judged as `…992` and forwarded as `…993`: an upstream that reads
//! decimals exactly would then do what was never judged. So a float counts only where its shortest decimal is, digit for digit, what was written.

use simd_json::{Node, StaticNode};

use super::short::Short;

/// Marks on `nodes` the floats of `bytes` that `f64` does not hold as written: they become not-a-number, which JSON cannot write.
pub(super) fn mark(nodes: &mut [Node<'_>], bytes: &[u8]) {
    if !nodes.iter().any(|node| matches!(node, Node::Static(StaticNode::F64(_)))) {
        return;
    }
    let mut texts = Floats { rest: bytes };
    for node in nodes {
        let Node::Static(StaticNode::F64(float)) = node else { continue };
        // A float without a text of its own would be a defect here; it then counts as not exact.
        if !texts.next().is_some_and(|text| is_exact(text, *float)) {
            *float = f64::NAN;
        }
    }
}

/// The numbers of a JSON text that have a point or an exponent, in their order.
struct Floats<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Floats<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = match first {
                b'"' => after_string(rest),
                b'-' | b'0'..=b'9' => {
                    let end = self.rest.iter().position(|byte| !is_of_number(*byte)).unwrap_or(self.rest.len());
                    let (number, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    if number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
                        return Some(number);
                    }
                    rest
                }
                _ => rest,
            };
        }
    }
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// What follows the closing quote.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some((first, rest)) = text.split_first() {
        text = match first {
            b'"' => return rest,
            b'\\' => rest.get(1..).unwrap_or_default(),
            _ => rest,
        };
    }
    text
}

/// A decimal without its sign: its digits from the first to the last that is not 0, and the power of ten of the first.
#[derive(PartialEq, Eq)]
struct Decimal {
    digits: [u8; DIGITS_MAX],
    count: usize,
    exponent: i64,
}

/// The shortest decimal of any `f64` has 17 digits; a text with more is never one.
const DIGITS_MAX: usize = 17;

/// Any decimal of up to so many digits survives `f64`, away from the ends of its range (IEEE 754: ⌊53 log₁₀ 2⌋).
const DIGITS_SAFE: usize = 15;

/// Powers of ten well within the normal range of `f64`.
const EXPONENT_SAFE: i64 = 290;

fn is_exact(text: &[u8], float: f64) -> bool {
    match decimal(text) {
        None => false,
        Some(written) if written.count == 0 => float == 0.0,
        Some(written) if written.count <= DIGITS_SAFE && written.exponent.abs() <= EXPONENT_SAFE => true,
        Some(written) => {
            Short::of(format_args!("{float:e}")).and_then(|read| decimal(read.as_bytes())) == Some(written)
        }
    }
}

/// None where it has more significant digits than any `f64` needs.
fn decimal(text: &[u8]) -> Option<Decimal> {
    let mantissa_end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, power) = text.split_at_checked(mantissa_end)?;
    let mut out = Decimal { digits: [0; DIGITS_MAX], count: 0, exponent: 0 };
    let (mut before_point, mut seen_point, mut zeros, mut leading) = (0_i64, false, 0_usize, 0_i64);
    for byte in mantissa {
        match byte {
            b'.' => seen_point = true,
            b'0'..=b'9' => {
                before_point += i64::from(!seen_point);
                if *byte == b'0' {
                    zeros += 1;
                    leading += i64::from(out.count == 0);
                    continue;
                }
                if out.count > 0 {
                    out.count += zeros;
                }
                zeros = 0;
                *out.digits.get_mut(out.count)? = *byte;
                out.count += 1;
            }
            _ => {}
        }
    }
    let (negative, digits) = match power.get(1..).unwrap_or_default() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let power =
        digits.iter().try_fold(0_i64, |sum, byte| sum.checked_mul(10)?.checked_add(i64::from(byte.wrapping_sub(b'0'))));
    let power = power.unwrap_or(i64::MAX / 2);
    // The digits are in place, the zeros between them are those that the array began with, as characters.
    for digit in out.digits.iter_mut().take(out.count).filter(|digit| **digit == 0) {
        *digit = b'0';
    }
    out.exponent = before_point - leading + if negative { -power } else { power };
    Some(out)
}

#[cfg(test)]
mod tests {
    use crate::protocol::json::{JsonLimits, Scratch, read};

    fn check(text: &str, exact: bool) {
        let mut scratch = Scratch::new();
        let text = format!("[\"1.5\\\"\", 3, {text}, \"e\"]");
        let document = read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
        let float = document.root().items().nth(2).unwrap();
        assert_eq!(float.as_f64().is_some(), exact, "{text}");
    }

    #[test]
    fn a_float_that_lost_digits_has_no_value() {
        for text in [
            "9007199254740993.0",
            "9007199254740991.4",
            "4503599627370497.3",
            "0.10000000000000000001",
            "1.00000000000000000001",
            "-0.3000000000000000166",
            "922337203685477.5807",
            "1e-400",
            "0.0000000000000000000000000000001e-400",
            "100000000000000000000000.5",
            "0.1e-99999999999999999999999999",
            "4.9e-324",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn a_float_that_is_what_was_written_keeps_its_value() {
        for text in [
            "0.1",
            "0.0",
            "-0.0",
            "0e999",
            "5.0",
            "5.00000000000000000000000000",
            "1e3",
            "1E+3",
            "100.5e-1",
            "0.30000000000000004",
            "9007199254740991.0",
            "123456789012345.6",
            "1.7976931348623157e308",
            "5e-324",
            "0.0001",
            "1e22",
            "100000000000000000000.0",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn every_float_is_held_against_its_own_text() {
        let text =
            br#"{"a": 1.00000000000000000001, "b.5": [0.5, {"c\\": 2e0, "d": 9007199254740993.0}], "e": 7, "f": 0.25}"#;
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, text, &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
        let at = |pointer| document.root().pointer(pointer).unwrap().as_f64();
        assert_eq!([at("/a"), at("/b.5/0"), at("/b.5/1/d"), at("/f")], [None, Some(0.5), None, Some(0.25)]);
        assert_eq!(document.root().pointer("/b.5/1/c\\").unwrap().as_f64(), Some(2.0));
    }
}
