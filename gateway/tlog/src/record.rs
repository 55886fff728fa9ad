//! Reads what ties a record to those before it. In: an entry. Out: its shard, its number there, what it names as its predecessor. Never here: what
//! else it says, hashes.
//!
//! A record is canonical JSON (RFC 8785): an object without whitespace, its names sorted. Names of records are plain ASCII. Of the values, only those
//! asked for are read; the others are passed over by their brackets and quotes.

use std::fmt;

/// What ties a record to the others of its shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link<'e> {
    /// Its shard.
    pub shard: u16,
    /// Its number there.
    pub seq: u64,
    /// The leaf hash of the shard's record before, in hexadecimal; none for the first.
    pub prev: Option<&'e [u8]>,
    /// When it was made, in Unix milliseconds.
    pub at: i64,
    /// The index below which entries are no longer kept, where it says so.
    pub pruned: Option<u64>,
    /// How many records of its shard are missing before it, where it says so.
    pub lost: Option<u64>,
}

/// Whether an entry is a record; the first entry of a log that continues another is that one's checkpoint.
pub fn is_record(entry: &[u8]) -> bool {
    entry.first() == Some(&b'{')
}

impl<'e> Link<'e> {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(entry: &'e [u8]) -> Result<Self, NotARecord> {
        let mut rest = entry.strip_prefix(b"{").ok_or(NotARecord::Form)?;
        let (mut link, mut version, mut seq, mut shard, mut at) = (Link::default(), None, None, None, None);
        let (mut event, mut first_index, mut count) = (None, None, None);
        let (mut before, mut word_before): (&[u8], u64) = (&[], 0);
        loop {
            let (name, after) = name(rest)?;
            let word = word(name);
            if word < word_before || (word == word_before && name <= before) {
                return Err(NotARecord::Unsorted);
            }
            let (value, after) = after.strip_prefix(b":").and_then(value).ok_or(NotARecord::Form)?;
            match word {
                COUNT => count = number(value),
                EVENT => event = Some(value),
                FIRST_IN if name == b"first_index" => first_index = number(value),
                PREV => link.prev = Some(hash(value)?),
                SEQ => seq = number(value),
                SHARD => shard = number(value).and_then(|shard| u16::try_from(shard).ok()),
                TS => at = signed(value),
                V => version = number(value),
                _ => {}
            }
            (before, word_before) = (name, word);
            match after {
                [b',', after @ ..] => rest = after,
                [b'}'] => break,
                _ => return Err(NotARecord::Form),
            }
        }
        match version {
            Some(2) => {}
            Some(_) | None => return Err(NotARecord::Version),
        }
        link.shard = shard.ok_or(NotARecord::Nameless)?;
        link.seq = seq.ok_or(NotARecord::Nameless)?;
        link.at = at.ok_or(NotARecord::Nameless)?;
        link.lost = count.filter(|_| event == Some(b"\"audit.lost\""));
        link.pruned = first_index.filter(|_| event == Some(b"\"audit.pruned\""));
        Ok(link)
    }
}

const COUNT: u64 = word(b"count");
const EVENT: u64 = word(b"event");
const FIRST_IN: u64 = word(b"first_in");
const PREV: u64 = word(b"prev");
const SEQ: u64 = word(b"seq");
const SHARD: u64 = word(b"shard");
const TS: u64 = word(b"ts");
const V: u64 = word(b"v");

/// The first eight bytes of a name as a number that sorts as they do. Names hold no zero, so one with fewer is like no other.
const fn word(name: &[u8]) -> u64 {
    if let Some(eight) = name.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let (mut word, mut rest, mut left) = (0, name, u64::BITS);
    while let Some((byte, after)) = rest.split_first() {
        left -= 8;
        word |= (*byte as u64) << left;
        rest = after;
    }
    word
}

/// The name of a member, and what follows it. One with an escape could be another's second spelling.
fn name(bytes: &[u8]) -> Result<(&[u8], &[u8]), NotARecord> {
    let inside = bytes.strip_prefix(b"\"").ok_or(NotARecord::Form)?;
    let length = inside.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(NotARecord::Form)?;
    match inside.split_at_checked(length) {
        Some((name, [b'"', after @ ..])) => Ok((name, after)),
        Some((_, [b'\\', ..])) => Err(NotARecord::Unsorted),
        Some(_) | None => Err(NotARecord::Form),
    }
}

/// The text between quotes, as it is spelt, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = bytes.strip_prefix(b"\"")?;
    let length = plain(inside)?;
    let (text, after) = inside.split_at_checked(length)?;
    Some((text, after.strip_prefix(b"\"")?))
}

/// The length of a text up to the quote that ends it. A control character, which canonical JSON escapes, ends it as well.
fn plain(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if let Some(eight) = rest.first_chunk::<8>() {
            let special = special(u64::from_le_bytes(*eight));
            if special == 0 {
                // What is longer than a word is often much longer.
                at += 8 + 32 * rest.get(8..)?.as_chunks::<32>().0.iter().take_while(|chunk| is_plain(chunk)).count();
                continue;
            }
            at += (special.trailing_zeros() / 8) as usize;
        }
        match *text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// Whether a text goes on beyond these bytes. All of them are looked at, so that it can be done at once.
fn is_plain(bytes: &[u8; 32]) -> bool {
    !bytes.iter().fold(false, |special, byte| special | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// The lowest byte with its highest bit set stands at the first quote, backslash or control character of eight.
fn special(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A byte that is below another borrows; bytes above the first such one may be wrong, and are not looked at.
    let below = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word & HIGHS;
    let equal = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    below(eight, 0x20) | equal(b'"') | equal(b'\\')
}

/// A value as it is spelt, and what follows it.
fn value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match bytes.first()? {
        b'"' => 2 + string(bytes)?.0.len(),
        b'[' | b'{' => nested(bytes)?,
        _ => bytes.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'E' | b'a'..=b'z'))?,
    };
    if length == 0 { None } else { bytes.split_at_checked(length) }
}

/// The length of a value that begins with a bracket.
fn nested(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match *bytes.get(at)? {
            b'"' => at += 1 + string(bytes.get(at..)?)?.0.len(),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            0..=b' ' => return None,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for byte in value {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    // Another spelling would be another record that says the same.
    let canonical = !value.is_empty() && (value.first() != Some(&b'0') || value.len() == 1);
    canonical.then_some(number)
}

fn signed(value: &[u8]) -> Option<i64> {
    match value.strip_prefix(b"-") {
        Some(positive) => {
            number(positive).filter(|number| *number > 0).and_then(|number| 0_i64.checked_sub_unsigned(number))
        }
        None => number(value).and_then(|number| i64::try_from(number).ok()),
    }
}

/// The 64 digits of a hash.
fn hash(value: &[u8]) -> Result<&[u8], NotARecord> {
    let digits =
        value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).filter(|digits| digits.len() == 64);
    digits.ok_or(NotARecord::Form)
}

/// Why an entry is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARecord {
    /// It is no canonical JSON object.
    Form,
    /// Its names are not sorted, or one is there twice.
    Unsorted,
    /// It is of another version.
    Version,
    /// It does not say which of its shard it is, and when it was made.
    Nameless,
}

impl fmt::Display for NotARecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Form => "it is no JSON object as RFC 8785 spells one",
            Self::Unsorted => "its names are not sorted, or one is there twice",
            Self::Version => "its `v` is not 2, the version that is known here",
            Self::Nameless => "it lacks `seq`, `shard` or `ts`",
        })
    }
}

impl std::error::Error for NotARecord {}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
