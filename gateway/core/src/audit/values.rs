//! Commits to values without showing them. In: JSON texts, random salts. Out: a commitment for the log; the values with what opens it, to be kept
//! apart. Never here: encryption, files, chance.
//!
//! A value is parted where it branches, so that a field of it can be erased and the rest still be shown to be what was logged. For each part
//! c = SHA-256(0x10 ‖ salt ‖ length of pointer ‖ pointer ‖ value); the log holds SHA-256(0x11 ‖ kind ‖ c₀ ‖ c₁ …). Whoever is shown a part is given its
//! salt and the other c's; without the salt (16 random bytes) no guess at a short value can be tested.
//!
//! A value of which nothing is erased is kept as its text with the salts before it, and parted again when it is read; one of which something is
//! erased is kept part by part.

use sha2::{Digest as _, Sha256};

use super::leaf::Value;
use super::parting::{PARTS_MAX, Parting};

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
        let mut parting = Parting::default();
        parting.part(raw);
        let mut at = 0;
        let mut parts = Vec::new();
        for (pointer, range) in parting.parts() {
            let before = raw.get(at..range.start).unwrap_or_default().to_vec();
            let value = raw.get(range.clone()).unwrap_or_default().to_vec();
            parts.push(Part { before, pointer: pointer.to_owned(), state: State::Kept { salt: salt(), value } });
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
        out.extend_from_slice(&[IN_PARTS, self.which.byte()]);
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
        let [format, which] = *take::<2>(&mut rest)?;
        let which = match which {
            1 => Which::Arguments,
            2 => Which::Result,
            _ => return None,
        };
        let count = u32::from_le_bytes(*take(&mut rest)?);
        match format {
            IN_PARTS => Self::read_parts(which, count, rest),
            WHOLE => {
                let (salts, text) = rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(16)?)?;
                let mut left = salts.as_chunks::<16>().0.iter();
                let mut missing = false;
                let opening = Self::of_json(which, text, || {
                    left.next().copied().unwrap_or_else(|| {
                        missing = true;
                        Salt::default()
                    })
                });
                (!missing && left.next().is_none()).then_some(opening)
            }
            _ => None,
        }
    }

    fn read_parts(which: Which, count: u32, mut rest: &[u8]) -> Option<Self> {
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

/// How [`Opening::write`] keeps values.
const IN_PARTS: u8 = 1;

/// How [`keep_whole`] does.
const WHOLE: u8 = 2;

/// Appends a value as it is kept while nothing of it is erased, and commits to it; `salt` is asked once a part. [`Opening::read`] reads it.
///
/// # Errors
/// As `salt` does; what was appended is then of no use.
pub fn keep_whole<E>(
    out: &mut Vec<u8>,
    (which, raw): (Which, &[u8]),
    parting: &mut Parting,
    mut salt: impl FnMut() -> Result<Salt, E>,
) -> Result<Commit, E> {
    parting.part(raw);
    out.extend_from_slice(&[WHOLE, which.byte()]);
    number(out, parting.parts().len());
    // Hashed in one piece, which takes less than a piece a part.
    let mut whole = [0; 2 + 32 * PARTS_MAX];
    let (kind, places) = whole.split_at_mut(2);
    kind.copy_from_slice(&[0x11, which.byte()]);
    let mut length = 2;
    for ((pointer, range), place) in parting.parts().zip(places.as_chunks_mut().0) {
        let salt = salt()?;
        out.extend_from_slice(&salt);
        *place = commit(&salt, pointer, raw.get(range).unwrap_or_default());
        length += place.len();
    }
    out.extend_from_slice(raw);
    Ok(Sha256::digest(whole.get(..length).unwrap_or_default()).into())
}

impl Part {
    /// What the log's commitment is made of.
    pub fn commit(&self) -> Commit {
        let (salt, value): (&Salt, &[u8]) = match &self.state {
            State::Kept { salt, value } => (salt, value),
            State::Digest { salt, digest } => (salt, digest),
            State::Erased(commit) => return *commit,
        };
        commit(salt, &self.pointer, value)
    }
}

fn commit(salt: &Salt, pointer: &str, value: &[u8]) -> Commit {
    let length = u32::try_from(pointer.len()).unwrap_or(u32::MAX).to_be_bytes();
    let parts = [&[0x10], salt.as_slice(), &length, pointer.as_bytes(), value];
    // Most are short, and what is hashed in one piece is hashed without a copy.
    let mut short = [0; SHORT_BYTES];
    let mut rest = short.as_mut_slice();
    for part in parts {
        let Some((place, after)) = rest.split_at_mut_checked(part.len()) else {
            return parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into();
        };
        place.copy_from_slice(part);
        rest = after;
    }
    let left = rest.len();
    Sha256::digest(short.get(..SHORT_BYTES - left).unwrap_or_default()).into()
}

/// Salt, pointer and value of a usual argument.
const SHORT_BYTES: usize = 192;

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

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
