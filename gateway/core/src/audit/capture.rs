//! Keeps of a message what the rule allows. In: raw JSON, a rule, pointers to what is secret. Out: fields of a record. Never here: a value that a pointer names.
//!
//! What is kept whole stands in the field itself (`arguments`); what is not stands beside it (`arguments_bytes`, `arguments_digest`,
//! `arguments_cut`), so that no message can pass for a digest of another. Whenever in doubt (a pointer that does not apply, a text that is no
//! JSON, a value that does not fit) size and digest are kept and the reason is named. Neither the value nor its digest becomes part of the log
//! itself: the log commits to them (`values`).

use std::cmp::Reverse;
use std::ops::Range;

use smallvec::SmallVec;

use super::field::{Field, Writer, digits, hex};
use crate::limits::JSON_DEPTH_MAX;
use crate::protocol::span::{self, Accepted};

/// What is kept of one tool's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Of the arguments.
    pub arguments: CaptureRule,
    /// Of the result.
    pub result: CaptureRule,
    /// JSON pointers (RFC 6901; `*` for every element of an array and every member of an object) into arguments and structured content,
    /// whose values are never written.
    pub redact: Vec<Box<str>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureRule {
    /// The JSON itself while it is small enough, size and digest beyond.
    #[default]
    Full,
    /// Size and BLAKE3 digest.
    Digest,
    /// Only how long it was.
    Size,
    /// Nothing.
    None,
}

/// Arguments longer than this are kept as size and digest.
pub const ARGUMENTS_BYTES_MAX: usize = 32 * 1024;

/// Results longer than this are kept as size and digest.
pub const RESULT_BYTES_MAX: usize = 16 * 1024;

/// What there is to keep of a message.
#[derive(Clone, Copy, Debug)]
pub enum Content<'m> {
    /// The message had none.
    Absent,
    /// All of it, a value of a text that was read.
    Read(Accepted<'m>),
    /// All of it, bytes of which nothing is known.
    Whole(&'m [u8]),
    /// It went by in parts, and was counted and digested on the way.
    Passed {
        /// How long it was.
        bytes: u64,
        /// BLAKE3 of all of it.
        digest: &'m [u8; 32],
    },
}

/// Content, and how it is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Part<'m> {
    /// What there is.
    pub content: Content<'m>,
    /// How much of it is kept.
    pub rule: CaptureRule,
    /// What is never written, see [`Capture::redact`].
    pub redact: &'m [Box<str>],
}

/// Which part of a call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `params.arguments`: pointers start at its root.
    Arguments,
    /// A result, or the error in its stead: pointers start at `structuredContent`. Its other content is prose, which no pointer can point
    /// into, so where anything is redacted all of that is.
    Result,
}

/// Appends what the rule keeps of `part`.
pub fn write(record: &mut Writer<'_>, place: Place, part: &Part<'_>) {
    let names = Names::of(place);
    let (bytes, digest, whole) = match part.content {
        Content::Absent => return,
        Content::Read(value) => (value.bytes().len() as u64, None, value.bytes()),
        Content::Whole(raw) => (raw.len() as u64, None, raw),
        Content::Passed { bytes, digest } => (bytes, Some(digest), &[][..]),
    };
    match part.rule {
        CaptureRule::None => {}
        CaptureRule::Size => record.number(names.bytes, bytes),
        CaptureRule::Digest => sized(record, &names, bytes, digest, whole),
        CaptureRule::Full => {
            let kept = match part.content {
                Content::Passed { .. } => Err(Cut::TooLarge),
                Content::Read(value) if part.redact.is_empty() => as_it_stands(record, &names, value),
                Content::Absent | Content::Read(_) | Content::Whole(_) => full(record, &names, whole, part.redact),
            };
            if let Err(cut) = kept {
                record.text(names.cut, cut.as_str());
                sized(record, &names, bytes, digest, whole);
            }
        }
    }
}

fn sized(record: &mut Writer<'_>, names: &Names, bytes: u64, digest: Option<&[u8; 32]>, whole: &[u8]) {
    record.number(names.bytes, bytes);
    match digest {
        Some(digest) => record.bytes(names.digest, digest),
        None => record.bytes(names.digest, blake3::hash(whole).as_bytes()),
    }
}

/// The fields a place is written to.
struct Names {
    place: Place,
    whole: Field,
    bytes: Field,
    digest: Field,
    redacted: Field,
    cut: Field,
    bytes_max: usize,
}

impl Names {
    fn of(place: Place) -> Self {
        match place {
            Place::Arguments => Self {
                place,
                whole: Field::Arguments,
                bytes: Field::ArgumentsBytes,
                digest: Field::ArgumentsDigest,
                redacted: Field::ArgumentsRedacted,
                cut: Field::ArgumentsCut,
                bytes_max: ARGUMENTS_BYTES_MAX,
            },
            Place::Result => Self {
                place,
                whole: Field::Result,
                bytes: Field::ResultBytes,
                digest: Field::ResultDigest,
                redacted: Field::ResultRedacted,
                cut: Field::ResultCut,
                bytes_max: RESULT_BYTES_MAX,
            },
        }
    }
}

/// Why a value is not kept whole although the rule says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    TooLarge,
    NotJson,
    PointerDoesNotApply,
}

impl Cut {
    fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too large",
            Self::NotJson => "not JSON",
            Self::PointerDoesNotApply => "a redaction does not apply",
        }
    }
}

/// A value that was read: copied, and not looked at again.
fn as_it_stands(record: &mut Writer<'_>, names: &Names, value: Accepted<'_>) -> Result<(), Cut> {
    let raw = value.bytes();
    if raw.len() > names.bytes_max {
        return Err(Cut::TooLarge);
    }
    record.bytes(names.whole, raw);
    record.number(names.bytes, raw.len() as u64);
    Ok(())
}

fn full(record: &mut Writer<'_>, names: &Names, raw: &[u8], redact: &[Box<str>]) -> Result<(), Cut> {
    if raw.len() > names.bytes_max {
        return Err(Cut::TooLarge);
    }
    let hidden = hidden(raw, names.place, redact)?;
    // Escapes can make it longer than it was.
    record.value(names.whole, |out| copy(raw, &hidden, out, names.bytes_max))?;
    record.number(names.bytes, raw.len() as u64);
    if !hidden.is_empty() {
        record.number(names.redacted, hidden.len() as u64);
    }
    Ok(())
}

/// Ranges of values that must not be written, in order, none inside another. Calls redact a few; more than these allocate.
type Ranges = SmallVec<[Range<usize>; 16]>;

fn hidden(raw: &[u8], place: Place, redact: &[Box<str>]) -> Result<Ranges, Cut> {
    let mut found = Ranges::new();
    if redact.is_empty() {
        return Ok(found);
    }
    let root = span::member(raw, &[]).ok_or(Cut::NotJson)?;
    let base = match place {
        Place::Arguments => root,
        Place::Result => {
            if raw.get(root.start) != Some(&b'{') {
                return Err(Cut::PointerDoesNotApply);
            }
            let mut structured = 0..0;
            for entry in span::entries(raw, root) {
                let named = |name| raw.get(entry.key.clone()).is_some_and(|key| span::spells(key, name));
                if named("structuredContent") {
                    structured = entry.value;
                } else if !["isError", "resultType", "code"].into_iter().any(named) {
                    found.push(entry.value);
                }
            }
            structured
        }
    };
    for pointer in redact.iter().filter(|_| !base.is_empty()) {
        let pointer = pointer.strip_prefix('/').ok_or(Cut::PointerDoesNotApply)?;
        follow(raw, base.clone(), Some(pointer), &mut found)?;
    }
    found.sort_by_key(|range| (range.start, Reverse(range.end)));
    let mut end = 0;
    found.retain(|range| {
        let outside = range.start >= end;
        if outside {
            end = range.end;
        }
        outside
    });
    Ok(found)
}

/// Gathers what `pointer` names from `here` on. Where nothing is there, nothing can leak; where something else is, the pointer does not apply.
fn follow(raw: &[u8], here: Range<usize>, pointer: Option<&str>, found: &mut Ranges) -> Result<(), Cut> {
    let Some(pointer) = pointer else {
        found.push(here);
        return Ok(());
    };
    let (segment, rest) = match pointer.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (pointer, None),
    };
    match raw.get(here.start) {
        Some(b'[') if segment == "*" => span::elements(raw, here).try_for_each(|item| follow(raw, item, rest, found)),
        Some(b'[') if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) => {
            let index = segment.parse::<usize>().map_err(|_| Cut::PointerDoesNotApply)?;
            match span::elements(raw, here).nth(index) {
                Some(item) => follow(raw, item, rest, found),
                None => Ok(()),
            }
        }
        Some(b'{') => span::entries(raw, here)
            .filter(|entry| {
                segment == "*" || raw.get(entry.key.clone()).is_some_and(|key| spells_segment(key, segment))
            })
            .try_for_each(|entry| follow(raw, entry.value, rest, found)),
        Some(b'n') => Ok(()),
        Some(_) | None => Err(Cut::PointerDoesNotApply),
    }
}

/// Whether a key spells a pointer's segment, `~1` for a slash and `~0` for a tilde (RFC 6901 §4).
fn spells_segment(key: &[u8], segment: &str) -> bool {
    if !segment.contains('~') {
        return span::spells(key, segment);
    }
    span::spells(key, &segment.replace("~1", "/").replace("~0", "~"))
}

/// Appends `raw` without whitespace and without the values at `hidden`.
fn copy(raw: &[u8], hidden: &[Range<usize>], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Cut> {
    std::str::from_utf8(raw).map_err(|_| Cut::NotJson)?;
    let start = out.len();
    let mut copier = Copier::default();
    let mut at = 0;
    for range in hidden {
        copier.push(raw.get(at..range.start).unwrap_or_default(), out)?;
        copier.redacted(range.len(), out)?;
        at = range.end;
    }
    copier.push(raw.get(at..).unwrap_or_default(), out)?;
    copier.finish()?;
    if out.len().saturating_sub(start) > bytes_max { Err(Cut::TooLarge) } else { Ok(()) }
}

/// Appends JSON as one line that no terminal obeys.
///
/// # Errors
/// When it is no JSON value.
pub(super) fn copy_line(raw: &[u8], out: &mut Vec<u8>) -> Result<(), NotJson> {
    copy(raw, &[], out, usize::MAX).map_err(|_| NotJson)
}

/// It is no JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// Copies JSON while it checks that it is one value: whatever was handed in, nothing copied can end the record or begin a field of it.
#[derive(Default)]
struct Copier {
    /// One bit a level, the innermost lowest: set for an object.
    objects: u128,
    depth: usize,
    inside: Inside,
    /// Whether the one value at the top has begun, and whether it may go on.
    top: Top,
}

#[derive(Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    Text,
    Escape,
}

#[derive(Default, PartialEq, Eq)]
enum Top {
    #[default]
    Awaited,
    /// A number or a literal, which ends with the text.
    Open,
    Closed,
}

impl Copier {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Cut> {
        let mut rest = bytes;
        loop {
            // Whatever means nothing where it stands is copied in one piece.
            let plain = match self.inside {
                Inside::Text => rest.iter().position(|byte| is_special(*byte)),
                Inside::Nothing if self.depth > 0 => rest.iter().position(|byte| !is_scalar(*byte)),
                Inside::Nothing | Inside::Escape => Some(0),
            };
            let (copied, after) = rest.split_at_checked(plain.unwrap_or(rest.len())).unwrap_or_default();
            out.extend_from_slice(copied);
            let Some((&byte, after)) = after.split_first() else { return Ok(()) };
            rest = after;
            match self.inside {
                Inside::Text => rest = self.text(byte, after, out)?,
                Inside::Escape => {
                    if !byte.is_ascii_graphic() {
                        return Err(Cut::NotJson);
                    }
                    self.inside = Inside::Text;
                    out.push(byte);
                }
                Inside::Nothing => self.token(byte, out)?,
            }
        }
    }

    /// A byte of a string; characters that some reader takes for a line's end or a command are escaped, which leaves the value the same.
    fn text<'r>(&mut self, byte: u8, after: &'r [u8], out: &mut Vec<u8>) -> Result<&'r [u8], Cut> {
        match (byte, after) {
            (b'"', _) => self.inside = Inside::Nothing,
            (b'\\', _) => self.inside = Inside::Escape,
            (0..=0x1f, _) => return Err(Cut::NotJson),
            (0x7f, _) => {
                unicode_escape(out, '\x7f');
                return Ok(after);
            }
            (0xc2, [low @ 0x80..=0x9f, rest @ ..]) => {
                unicode_escape(out, char::from(*low));
                return Ok(rest);
            }
            (0xe2, [0x80, low @ (0xa8 | 0xa9), rest @ ..]) => {
                unicode_escape(out, if *low == 0xa8 { '\u{2028}' } else { '\u{2029}' });
                return Ok(rest);
            }
            _ => {}
        }
        out.push(byte);
        Ok(after)
    }

    fn token(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Cut> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                if self.top == Top::Open {
                    self.top = Top::Closed;
                }
                return Ok(());
            }
            b'"' => {
                self.begin(Top::Closed)?;
                self.inside = Inside::Text;
            }
            b'{' | b'[' => {
                self.begin(Top::Closed)?;
                if self.depth >= JSON_DEPTH_MAX {
                    return Err(Cut::NotJson);
                }
                self.depth += 1;
                self.objects = (self.objects << 1) | u128::from(byte == b'{');
            }
            b'}' | b']' => {
                let object = self.objects & 1 == 1;
                if self.depth == 0 || object != (byte == b'}') {
                    return Err(Cut::NotJson);
                }
                self.depth -= 1;
                self.objects >>= 1;
            }
            b',' | b':' if self.depth > 0 => {}
            byte if is_scalar(byte) => {
                if self.depth > 0 || self.top != Top::Open {
                    self.begin(Top::Open)?;
                }
            }
            _ => return Err(Cut::NotJson),
        }
        out.push(byte);
        Ok(())
    }

    /// A value begins: at the top there is only one.
    fn begin(&mut self, then: Top) -> Result<(), Cut> {
        if self.depth > 0 {
            return Ok(());
        }
        if self.top != Top::Awaited {
            return Err(Cut::NotJson);
        }
        self.top = then;
        Ok(())
    }

    fn redacted(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), Cut> {
        if self.inside != Inside::Nothing || self.depth == 0 {
            return Err(Cut::PointerDoesNotApply);
        }
        out.extend_from_slice(b"{\"redacted\":true,\"bytes\":");
        digits(out, bytes as u64);
        out.push(b'}');
        Ok(())
    }

    fn finish(&self) -> Result<(), Cut> {
        let whole = self.depth == 0 && self.inside == Inside::Nothing && self.top != Top::Awaited;
        if whole { Ok(()) } else { Err(Cut::NotJson) }
    }
}

/// A byte of a number or of a literal.
fn is_scalar(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.')
}

/// Whether a byte of UTF-8 is, or may begin, a character that is looked at: most texts hold none, and are copied whole.
const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xc2 | 0xe2)
}

/// `\u0085`, for a character of the Basic Multilingual Plane.
fn unicode_escape(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(b"\\u");
    for byte in u16::try_from(u32::from(character)).unwrap_or(0xfffd).to_be_bytes() {
        hex(out, &[byte]);
    }
}

/// Keeps a JSON-RPC id as it stood in the message; of one that is too long its beginning and digest.
pub fn write_id(record: &mut Writer<'_>, raw: &[u8]) {
    if raw.len() > crate::limits::ID_BYTES_MAX {
        record.lossy(Field::RequestId, raw);
    } else {
        record.bytes(Field::RequestId, raw);
    }
}

#[cfg(test)]
mod tests;
