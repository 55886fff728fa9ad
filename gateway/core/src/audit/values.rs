//! Commits to values without showing them. In: JSON texts, random salts. Out: a commitment for the log; the values with what opens it, to be kept
//! apart. Never here: encryption, files, chance.
//!
//! A value is parted where it branches, so that a field of it can be erased and the rest still be shown to be what was logged. For each part
//! c = SHA-256(0x10 ‖ salt ‖ length of pointer ‖ pointer ‖ value); the log holds SHA-256(0x11 ‖ kind ‖ c₀ ‖ c₁ …). Whoever is shown a part is given its
//! salt and the other c's; without the salt (16 random bytes) no guess at a short value can be tested.

use std::collections::VecDeque;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::leaf::Value;
use crate::protocol::span;

/// Parts of one value: enough for the arguments of tools, few enough that what is kept beside them stays in proportion.
pub const PARTS_MAX: usize = 64;

/// What makes a commitment to a short value impossible to test.
pub type Salt = [u8; 16];

/// A commitment.
pub type Commit = [u8; 32];

/// Which value of a record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `params.arguments`.
    Arguments,
    /// The result, or the error in its stead.
    Result,
}

impl Which {
    fn byte(self) -> u8 {
        match self {
            Self::Arguments => 1,
            Self::Result => 2,
        }
    }
}

/// A part as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What stands before it in the text: keys, commas, brackets.
    before: Vec<u8>,
    /// Where it is (RFC 6901).
    pub pointer: String,
    /// What of it is left.
    pub state: State,
}

/// What of a part is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The value, and what opens its commitment.
    Kept {
        /// The salt.
        salt: Salt,
        /// The JSON text.
        value: Vec<u8>,
    },
    /// The digest of a value that was not kept.
    Digest {
        /// The salt.
        salt: Salt,
        /// BLAKE3.
        digest: [u8; 32],
    },
    /// Nothing but what was committed to.
    Erased(Commit),
}

/// A value with what opens the log's commitment to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which.
    pub which: Which,
    /// Its parts, in the order of the text.
    pub parts: Vec<Part>,
    /// What stands behind the last.
    after: Vec<u8>,
}

impl Opening {
    /// Of a value that is kept; `salt` is asked once a part.
    pub fn of_json(which: Which, raw: &[u8], mut salt: impl FnMut() -> Salt) -> Self {
        let mut at = 0;
        let mut parts = Vec::new();
        for (pointer, range) in parted(raw) {
            let before = raw.get(at..range.start).unwrap_or_default().to_vec();
            let value = raw.get(range.clone()).unwrap_or_default().to_vec();
            parts.push(Part { before, pointer, state: State::Kept { salt: salt(), value } });
            at = range.end;
        }
        Self { which, parts, after: raw.get(at..).unwrap_or_default().to_vec() }
    }

    /// Of a value of which only a digest is kept.
    pub fn of_digest(which: Which, digest: &[u8; 32], salt: Salt) -> Self {
        let state = State::Digest { salt, digest: *digest };
        Self { which, parts: vec![Part { before: Vec::new(), pointer: String::new(), state }], after: Vec::new() }
    }

    /// What the log holds of it.
    pub fn commit(&self) -> Commit {
        let mut hash = Sha256::new();
        hash.update([0x11, self.which.byte()]);
        self.parts.iter().for_each(|part| hash.update(part.commit()));
        hash.finalize().into()
    }

    /// The value again; erased parts are said to be.
    pub fn value(&self) -> Value {
        if let [Part { state: State::Digest { digest, .. }, .. }] = self.parts.as_slice() {
            return Value::Digest(*digest);
        }
        let mut out = Vec::new();
        for part in &self.parts {
            out.extend_from_slice(&part.before);
            match &part.state {
                State::Kept { value, .. } => out.extend_from_slice(value),
                State::Digest { .. } => out.extend_from_slice(b"null"),
                State::Erased(_) => out.extend_from_slice(b"{\"erased\":true}"),
            }
        }
        out.extend_from_slice(&self.after);
        Value::Json(out)
    }

    /// Erases what `pointer` names and all below it; how many parts that were.
    pub fn erase(&mut self, pointer: &str) -> usize {
        let mut erased = 0;
        for part in &mut self.parts {
            let below = part.pointer.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            // A value that was too branched to be parted there goes as a whole: what is asked for must not stay.
            let above = pointer.strip_prefix(&*part.pointer).is_some_and(|rest| rest.starts_with('/'));
            if (below || above) && !matches!(part.state, State::Erased(_)) {
                part.state = State::Erased(part.commit());
                erased += 1;
            }
        }
        erased
    }

    /// Appends it as it is kept.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[FORMAT, self.which.byte()]);
        number(out, self.parts.len());
        for part in &self.parts {
            block(out, &part.before);
            block(out, part.pointer.as_bytes());
            match &part.state {
                State::Kept { salt, value } => {
                    out.push(0);
                    out.extend_from_slice(salt);
                    block(out, value);
                }
                State::Digest { salt, digest } => {
                    out.push(1);
                    out.extend_from_slice(salt);
                    out.extend_from_slice(digest);
                }
                State::Erased(commit) => {
                    out.push(2);
                    out.extend_from_slice(commit);
                }
            }
        }
        block(out, &self.after);
    }

    /// Reads what [`Opening::write`] wrote; none where it is something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [FORMAT, which] = *take::<2>(&mut rest)? else { return None };
        let which = match which {
            1 => Which::Arguments,
            2 => Which::Result,
            _ => return None,
        };
        let count = u32::from_le_bytes(*take(&mut rest)?);
        let mut parts = Vec::new();
        for _ in 0..count {
            let before = taken(&mut rest)?.to_vec();
            let pointer = String::from_utf8(taken(&mut rest)?.to_vec()).ok()?;
            let state = match *take::<1>(&mut rest)? {
                [0] => State::Kept { salt: *take(&mut rest)?, value: taken(&mut rest)?.to_vec() },
                [1] => State::Digest { salt: *take(&mut rest)?, digest: *take(&mut rest)? },
                [2] => State::Erased(*take(&mut rest)?),
                _ => return None,
            };
            parts.push(Part { before, pointer, state });
        }
        let after = taken(&mut rest)?.to_vec();
        rest.is_empty().then_some(Self { which, parts, after })
    }
}

/// The version of [`Opening::write`].
const FORMAT: u8 = 1;

impl Part {
    /// What the log's commitment is made of.
    pub fn commit(&self) -> Commit {
        let (salt, value): (&Salt, &[u8]) = match &self.state {
            State::Kept { salt, value } => (salt, value),
            State::Digest { salt, digest } => (salt, digest),
            State::Erased(commit) => return *commit,
        };
        let mut hash = Sha256::new();
        hash.update([0x10]);
        hash.update(salt);
        hash.update(u32::try_from(self.pointer.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(self.pointer.as_bytes());
        hash.update(value);
        hash.finalize().into()
    }
}

fn number(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

fn block(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn taken<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(u32::from_le_bytes(*take(rest)?)).ok()?;
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// Where a text is parted: containers are opened from the root down, as long as what they hold fits [`PARTS_MAX`].
fn parted(raw: &[u8]) -> Vec<(String, Range<usize>)> {
    let Some(root) = span::member(raw, &[]) else { return vec![(String::new(), 0..raw.len())] };
    let (mut done, mut open) = (Vec::new(), VecDeque::from([(String::new(), root)]));
    while let Some((pointer, range)) = open.pop_front() {
        let left = PARTS_MAX.saturating_sub(done.len() + open.len());
        let inside = match raw.get(range.start) {
            Some(b'{') => members(raw, &range, &pointer, left),
            Some(b'[') => items(raw, &range, &pointer, left),
            Some(_) | None => None,
        };
        match inside {
            Some(inside) => open.extend(inside),
            None => done.push((pointer, range)),
        }
    }
    done.sort_by_key(|(_, range)| range.start);
    done
}

/// What a container holds; none where it is empty or holds more than `left`.
fn members(raw: &[u8], object: &Range<usize>, pointer: &str, left: usize) -> Option<Vec<(String, Range<usize>)>> {
    let mut found = Vec::new();
    for entry in span::entries(raw, object.clone()) {
        if found.len() == left {
            return None;
        }
        let key = raw.get(entry.key).unwrap_or_default();
        let name = match key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) {
            Some(plain) if !plain.contains(&b'\\') => String::from_utf8_lossy(plain).into_owned(),
            Some(_) | None => serde_json::from_slice(key).unwrap_or_default(),
        };
        let name = if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1") } else { name };
        found.push((format!("{pointer}/{name}"), entry.value));
    }
    if found.is_empty() { None } else { Some(found) }
}

fn items(raw: &[u8], array: &Range<usize>, pointer: &str, left: usize) -> Option<Vec<(String, Range<usize>)>> {
    let mut found = Vec::new();
    for (at, range) in span::elements(raw, array.clone()).enumerate() {
        if found.len() == left {
            return None;
        }
        found.push((format!("{pointer}/{at}"), range));
    }
    if found.is_empty() { None } else { Some(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opening(raw: &str) -> Opening {
        let mut next = 0;
        Opening::of_json(Which::Arguments, raw.as_bytes(), || {
            next += 1;
            [next; 16]
        })
    }

    fn pointers(raw: &str) -> Vec<String> {
        opening(raw).parts.into_iter().map(|part| part.pointer).collect()
    }

    #[test]
    fn an_erased_field_leaves_the_commitment_as_it_was() {
        let raw = r#"{"a": {"b": "secret", "c":[1, "x"]}, "d":{}}"#;
        let whole = opening(raw);
        assert_eq!(whole.value(), Value::Json(raw.into()));
        let rows = [
            ("/a/b", 1, r#"{"a": {"b": {"erased":true}, "c":[1, "x"]}, "d":{}}"#),
            ("/a/c", 2, r#"{"a": {"b": "secret", "c":[{"erased":true}, {"erased":true}]}, "d":{}}"#),
            ("/d/deeper", 1, r#"{"a": {"b": "secret", "c":[1, "x"]}, "d":{"erased":true}}"#),
            ("/a/bb", 0, raw),
            ("", 4, r#"{"a": {"b": {"erased":true}, "c":[{"erased":true}, {"erased":true}]}, "d":{"erased":true}}"#),
        ];
        for (pointer, parts, expected) in rows {
            let mut left = whole.clone();
            assert_eq!(left.erase(pointer), parts, "{pointer}");
            assert_eq!(left.erase(pointer), 0, "{pointer}");
            assert_eq!(left.value(), Value::Json(expected.into()));
            assert_eq!(left.commit(), whole.commit());
            let mut kept = Vec::new();
            left.write(&mut kept);
            assert_eq!(String::from_utf8_lossy(&kept).contains("secret"), pointer != "/a/b" && !pointer.is_empty());
            assert_eq!(Opening::read(&kept).unwrap(), left);
        }
    }

    #[test]
    fn another_value_pointer_salt_or_kind_is_another_commitment() {
        let first = opening(r#"{"a":1}"#).commit();
        assert_ne!(opening(r#"{"a":2}"#).commit(), first);
        assert_ne!(opening(r#"{"b":1}"#).commit(), first);
        assert_ne!(Opening::of_json(Which::Arguments, br#"{"a":1}"#, || [9; 16]).commit(), first);
        assert_ne!(Opening { which: Which::Result, ..opening(r#"{"a":1}"#) }.commit(), first);
    }

    #[test]
    fn a_value_is_parted_where_it_branches_as_long_as_it_is_small() {
        assert_eq!(pointers("7"), [""]);
        assert_eq!(pointers("{}"), [""]);
        assert_eq!(pointers(r#"{"a/b":1,"c~d":[2,{"\u0065":3}]}"#), ["/a~1b", "/c~0d/0", "/c~0d/1/e"]);
        let wide = format!("{{\"few\":[1,2],\"many\":[{}]}}", vec!["0"; 99].join(","));
        assert_eq!(pointers(&wide), ["/few/0", "/few/1", "/many"]);
        assert_eq!(pointers(&format!("[{}]", vec!["0"; PARTS_MAX].join(","))).len(), PARTS_MAX);
        assert_eq!(pointers(&format!("[{}]", vec!["0"; PARTS_MAX + 1].join(","))), [""]);
    }

    #[test]
    fn a_digest_is_committed_to_with_a_salt() {
        let kept = Opening::of_digest(Which::Result, &[5; 32], [1; 16]);
        assert_eq!(kept.value(), Value::Digest([5; 32]));
        assert_ne!(kept.commit(), Opening::of_digest(Which::Result, &[5; 32], [2; 16]).commit());
        let mut bytes = Vec::new();
        kept.write(&mut bytes);
        assert_eq!(Opening::read(&bytes), Some(kept));
        assert!((0..bytes.len()).all(|cut| Opening::read(&bytes[..cut]).is_none()));
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_comes_back_as_it_was(raw: Vec<u8>, json in "[\\[\\]{}\",:0-9a-z ]{0,40}") {
            for raw in [raw, json.into_bytes()] {
                let opening = Opening::of_json(Which::Result, &raw, || [3; 16]);
                prop_assert_eq!(opening.value(), Value::Json(raw.clone()));
                let mut bytes = Vec::new();
                opening.write(&mut bytes);
                prop_assert_eq!(Opening::read(&bytes), Some(opening));
                let _ = Opening::read(&raw);
            }
        }
    }
}
