//! Replaces ranges of a body. In: bytes and edits in their order. Out: the bytes with the edits applied, all else untouched.

use std::fmt;
use std::ops::Range;

use crate::protocol::fold::is_variant_of_any;
use crate::protocol::json::Value;
use crate::protocol::span;

/// One range and what is to stand there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'e> {
    /// Bytes of the original.
    pub range: Range<usize>,
    /// A JSON text.
    pub with: &'e [u8],
}

/// Why a body cannot be narrowed. It is then not released either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterError {
    /// The member to narrow is missing or of the wrong kind.
    Shape,
    /// A key differs only in case from one that is narrowed, so that some client would read past the filter.
    CaseVariant,
    /// Tape and bytes do not describe the same text, or edits overlap: a fault of ours.
    Misaligned,
}

impl FilterError {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shape => "filter_shape",
            Self::CaseVariant => "filter_case_variant",
            Self::Misaligned => "filter_misaligned",
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Shape => "the answer lacks what is to be filtered",
            Self::CaseVariant => "the answer has a key that differs only in case from one that is filtered",
            Self::Misaligned => "the answer could not be filtered",
        })
    }
}

impl std::error::Error for FilterError {}

/// How many entries stayed and how many went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filtered {
    /// Entries that are still there.
    pub kept: usize,
    /// Entries that are gone.
    pub dropped: usize,
}

/// What becomes of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays, byte for byte.
    Keep,
    /// It goes.
    Drop,
}

/// Appends `body` with `edits` applied; they stand in the order of their ranges and do not overlap. On an error `out` is
/// as it was.
pub fn apply(body: &[u8], edits: &[Edit<'_>], out: &mut Vec<u8>) -> Result<(), FilterError> {
    let before = out.len();
    let mut from = 0;
    for edit in edits {
        let (Some(untouched), true) = (body.get(from..edit.range.start), edit.range.end <= body.len()) else {
            out.truncate(before);
            return Err(FilterError::Misaligned);
        };
        out.extend_from_slice(untouched);
        out.extend_from_slice(edit.with);
        from = edit.range.end;
    }
    match body.get(from..) {
        Some(rest) => out.extend_from_slice(rest),
        None => {
            out.truncate(before);
            return Err(FilterError::Misaligned);
        }
    }
    Ok(())
}

/// The object whose members are narrowed, and the keys that lead to it: `result` of a response, or the root itself.
pub(super) fn holder(root: Value<'_>) -> Result<(Value<'_>, &'static [&'static str]), FilterError> {
    refuse_variants(root, &["result"])?;
    Ok(match root.get("result") {
        Some(result) => (result, &["result"]),
        None => (root, &[]),
    })
}

/// Where the member `key` of the object stands to which `path` (of [`holder`]) leads.
pub(super) fn locate(body: &[u8], path: &[&str], key: &str) -> Result<Range<usize>, FilterError> {
    let place = match path {
        [] => span::member(body, &[key]),
        _ => span::member(body, &["result", key]),
    };
    place.ok_or(FilterError::Misaligned)
}

pub(super) fn refuse_variants(object: Value<'_>, known: &[&str]) -> Result<(), FilterError> {
    if object.entries().any(|(key, _)| is_variant_of_any(key, known)) { Err(FilterError::CaseVariant) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_that_overlap_or_lie_outside_are_refused_and_leave_nothing() {
        let check = |ranges: &[(usize, usize)]| {
            let edits: Vec<Edit<'_>> =
                ranges.iter().map(|&(start, end)| Edit { range: start..end, with: b"x" }).collect();
            let mut out = b"kept".to_vec();
            assert_eq!(apply(b"0123456789", &edits, &mut out), Err(FilterError::Misaligned), "given {edits:?}");
            assert_eq!(out, b"kept");
        };
        check(&[(2, 5), (4, 6)]);
        check(&[(5, 6), (1, 2)]);
        check(&[(8, 11)]);
        check(&[(11, 12)]);
        check(&[(9, 11)]);
    }

    #[test]
    fn edits_replace_their_ranges_and_nothing_else() {
        let mut out = Vec::new();
        let edits =
            [Edit { range: 0..1, with: b"" }, Edit { range: 4..4, with: b"abc" }, Edit { range: 9..10, with: b"z" }];
        apply(b"0123456789", &edits, &mut out).unwrap();
        assert_eq!(out, b"123abc45678z");
    }
}
