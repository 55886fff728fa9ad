//! Finds secrets in bytes. In: the active secrets at load, then bytes. Out: where one stands. Never here: what is done about it.
//!
//! An upstream that echoes its request would hand the credential to the agent. Each secret is looked for as it is and as a JSON string
//! writes it. The search is that of Wu and Manber: a window as wide as the shortest secret slides over the bytes, and the two bytes at
//! its end say how far it may jump, so most bytes are never looked at.

use crate::secret::Secret;
use crate::token::secrets::{SCANNED_BYTES_MIN, Secrets};
use std::ops::Range;

/// A prepared search for every secret of [`SCANNED_BYTES_MIN`] bytes or more.
pub struct Scanner {
    /// How far the window may jump, by the two bytes at its end. Zero: a secret may begin here. Kept secret too, for it holds pairs of theirs.
    jumps: Secret<Vec<u8>>,
    /// Sorted with the longest first, so that what is found covers all of it.
    needles: Vec<Secret<Vec<u8>>>,
    window: usize,
    longest: usize,
}

impl Scanner {
    /// Prepares the search.
    pub fn new(secrets: &Secrets) -> Self {
        let scanned = secrets.values().filter(|secret| secret.expose().len() >= SCANNED_BYTES_MIN);
        let mut needles: Vec<Secret<Vec<u8>>> = scanned.flat_map(|secret| spellings(secret.expose())).collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.expose().len()));
        let lengths = || needles.iter().map(|needle| needle.expose().len());
        // A jump is one byte wide, and a window of 255 gains nothing over a shorter one that anyone could measure.
        let window = lengths().min().unwrap_or(SCANNED_BYTES_MIN).min(usize::from(u8::MAX));
        let longest = lengths().max().unwrap_or(1);
        let mut jumps = vec![u8::try_from(window - 1).unwrap_or(u8::MAX); 1 << 16];
        for needle in &needles {
            for (start, pair) in needle.expose().windows(2).take(window - 1).enumerate() {
                let distance = u8::try_from(window - 2 - start).unwrap_or(u8::MAX);
                if let Some(jump) = jumps.get_mut(index(pair)) {
                    *jump = distance.min(*jump);
                }
            }
        }
        Self { jumps: Secret::new(jumps), needles, window, longest }
    }

    /// Where the first secret stands in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        if self.needles.is_empty() {
            return None;
        }
        let jumps = self.jumps.expose();
        let mut start = 0;
        while let Some(end) = bytes.get(start + self.window - 2..start + self.window) {
            let jump = usize::from(jumps.get(index(end)).copied().unwrap_or_default());
            if jump > 0 {
                start += jump;
                continue;
            }
            let rest = bytes.get(start..).unwrap_or_default();
            if let Some(needle) = self.needles.iter().find(|needle| rest.starts_with(needle.expose())) {
                return Some(start..start + needle.expose().len());
            }
            start += 1;
        }
        None
    }

    /// How many of the last bytes of one chunk must stand before the next, so that no secret hides across the border: one less than the
    /// longest spelling. What was carried must also be held back from the agent until it was searched again.
    pub fn carry_bytes_max(&self) -> usize {
        self.longest - 1
    }
}

fn index(pair: &[u8]) -> usize {
    match pair {
        [first, second] => usize::from(*first) << 8 | usize::from(*second),
        [] | [_] | [_, _, _, ..] => 0,
    }
}

/// The secret as it is, and as a JSON string may write it (RFC 8259 §7), where that differs.
fn spellings(secret: &str) -> Vec<Secret<Vec<u8>>> {
    let mut found = vec![Secret::new(secret.as_bytes().to_vec())];
    for slash in ["/", "\\/"] {
        // Sized once, so that no half-built spelling is left behind in a buffer that grew.
        let mut spelling = Vec::with_capacity(2 * secret.len());
        for byte in secret.bytes() {
            match byte {
                b'"' | b'\\' => spelling.extend_from_slice(&[b'\\', byte]),
                b'/' => spelling.extend_from_slice(slash.as_bytes()),
                other => spelling.push(other),
            }
        }
        let spelling = Secret::new(spelling);
        if !found.iter().any(|known| known.expose() == spelling.expose()) {
            found.push(spelling);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanner(values: &[&str]) -> Scanner {
        let lines = values.iter().enumerate().map(|(n, value)| format!("s{n} = {}\n", toml::Value::from(*value)));
        Scanner::new(&Secrets::parse(&format!("[secrets]\n{}", lines.collect::<String>()), "f").unwrap())
    }

    fn check(values: &[&str], bytes: &str, expected: Option<&str>) {
        let found = scanner(values).find(bytes.as_bytes()).map(|range| &bytes[range]);
        assert_eq!(found, expected, "{values:?} in {bytes}");
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let values = ["s3cret-value", "another/one\"here", "abcdefgh", "abcdefghij"];
        check(&values, "s3cret-value", Some("s3cret-value"));
        check(&values, "xs3cret-valuex", Some("s3cret-value"));
        check(&values, "{\"echo\":\"Bearer s3cret-value\"}", Some("s3cret-value"));
        check(&values, "s3cret-s3cret-value", Some("s3cret-value"));
        check(&values, "abcdefghij", Some("abcdefghij"));
        check(&values, "zabcdefghi", Some("abcdefgh"));
        check(&values, r#"{"a":"another/one\"here"}"#, Some(r#"another/one\"here"#));
        check(&values, r#"{"a":"another\/one\"here"}"#, Some(r#"another\/one\"here"#));
        check(&values, "another/one\"here", Some("another/one\"here"));
        check(&values, &format!("{}s3cret-value", "s3cret-valu".repeat(50)), Some("s3cret-value"));
        check(&["x".repeat(400).as_str()], &"x".repeat(401), Some("x".repeat(400).as_str()));
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        let values = ["s3cret-value", "short"];
        for bytes in ["", "s", "s3cret-valu", "3cret-value", "short", "S3CRET-VALUE"] {
            check(&values, bytes, None);
        }
        check(&[], "anything", None);
        assert_eq!(scanner(&[]).carry_bytes_max(), 0);
    }

    #[test]
    fn no_secret_hides_across_the_border_of_two_chunks() {
        let scanner = scanner(&["s3cret-value", "a-much-longer/secret"]);
        let text = b"-- a-much-longer\\/secret -- s3cret-value --";
        for secret in [&text[3..24], &text[28..40]] {
            for cut in 0..=secret.len() {
                let carried = &secret[..cut][cut.saturating_sub(scanner.carry_bytes_max())..];
                let joined = [carried, &secret[cut..]].concat();
                let found = scanner.find(&secret[..cut]).is_some() || scanner.find(&joined).is_some();
                assert!(found, "cut at {cut} of {}", String::from_utf8_lossy(secret));
            }
        }
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_the_plain_one(text in "[ab]{0,60}", needles in prop::collection::vec("[ab]{8,12}", 1..4)) {
            let values: Vec<&str> = needles.iter().map(String::as_str).collect();
            let first = (0..text.len()).find(|at| values.iter().any(|value| text[*at..].starts_with(value)));
            prop_assert_eq!(scanner(&values).find(text.as_bytes()).map(|range| range.start), first);
        }
    }
}
