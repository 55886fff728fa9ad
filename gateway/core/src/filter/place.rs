//! Finds what obligations are about in one value. In: JSON bytes, pointers, row caps. Out: ranges, and which pointer met something. Never here:
//! results as MCP shapes them.

use std::ops::Range;

use crate::policy::obligation::{Pointer, Segment};
use crate::policy::oblige::Obligations;
use crate::protocol::fold::is_variant;
use crate::protocol::span;

/// What was done to what was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values that were replaced.
    pub redactions: u64,
    /// Rows that were cut off.
    pub rows_dropped: u64,
}

impl Counts {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            redactions: self.redactions.saturating_add(other.redactions),
            rows_dropped: self.rows_dropped.saturating_add(other.rows_dropped),
        }
    }
}

/// A range, and what is to stand there.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub range: Range<usize>,
    /// What.
    pub with: With,
}

/// What stands in the place of a range.
#[derive(Debug)]
pub enum With {
    /// The word for a redacted value.
    Redacted,
    /// An empty object.
    Nothing,
    /// Nothing at all: so many rows were there.
    Cut(u64),
    /// A text that was narrowed by itself.
    Text(Vec<u8>, Counts),
}

/// Which of the obligations met something, in their order.
#[derive(Debug)]
pub struct Marks(Vec<bool>);

impl Marks {
    /// Whether something was met here that was not met there.
    pub fn exceeds(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, other)| *own && !other)
    }
}

/// What is done at the end of a pointer.
#[derive(Clone, Copy)]
enum Deed {
    Redact,
    Cap(usize),
}

/// Adds to `found` all that the obligations are about in the value at `root`.
pub fn values(bytes: &[u8], root: Range<usize>, obligations: &Obligations, found: &mut Vec<Found>) -> Marks {
    let mut marks = Vec::new();
    let mut marked = |before: usize, found: &Vec<Found>| marks.push(found.len() > before);
    for pointer in obligations.redactions() {
        let before = found.len();
        follow(bytes, root.clone(), pointer.segments(), Deed::Redact, found);
        marked(before, found);
    }
    for cap in obligations.row_caps() {
        let before = found.len();
        match cap.at.as_ref().map(Pointer::segments) {
            Some(segments) => follow(bytes, root.clone(), segments, Deed::Cap(cap.rows_max), found),
            None => top(bytes, root.clone(), cap.rows_max, found),
        }
        marked(before, found);
    }
    Marks(marks)
}

/// Where the elements that are too many stand among `items`, with the comma before them.
pub fn cut(items: &[Range<usize>], rows_max: usize) -> Option<Found> {
    let (kept, last) = (items.get(rows_max.checked_sub(1)?)?, items.last()?);
    let dropped = items.len().saturating_sub(rows_max) as u64;
    (dropped > 0).then_some(Found { range: kept.end..last.end, with: With::Cut(dropped) })
}

/// The arrays at the top: the value itself, or the members of it. A text that is all there is could hold any number of rows.
fn top(bytes: &[u8], root: Range<usize>, rows_max: usize, found: &mut Vec<Found>) {
    if bytes.get(root.start) != Some(&b'{') {
        return deed(bytes, root, Deed::Cap(rows_max), found);
    }
    for entry in span::entries(bytes, root).filter(|entry| bytes.get(entry.value.start) == Some(&b'[')) {
        deed(bytes, entry.value, Deed::Cap(rows_max), found);
    }
}

/// Where something else stands than the pointer needs, the secret could stand in it in another shape: all of it goes. A `null` holds nothing.
fn follow(bytes: &[u8], here: Range<usize>, segments: &[Segment], to_do: Deed, found: &mut Vec<Found>) {
    let Some((segment, rest)) = segments.split_first() else { return deed(bytes, here, to_do, found) };
    match (bytes.get(here.start), segment) {
        (Some(b'['), Segment::Any) => {
            span::elements(bytes, here).for_each(|item| follow(bytes, item, rest, to_do, found));
        }
        (Some(b'['), Segment::One { name: _, index: Some(index) }) => {
            if let Some(item) = span::elements(bytes, here).nth(*index) {
                follow(bytes, item, rest, to_do, found);
            }
        }
        (Some(b'['), Segment::One { name: _, index: None }) => {
            if span::elements(bytes, here.clone()).next().is_some() {
                found.push(Found { range: here, with: With::Redacted });
            }
        }
        (Some(b'{'), Segment::Any) => {
            span::entries(bytes, here).for_each(|entry| follow(bytes, entry.value, rest, to_do, found));
        }
        (Some(b'{'), Segment::One { name, index: _ }) => span::entries(bytes, here)
            .filter(|entry| is_named(bytes.get(entry.key.clone()).unwrap_or_default(), name))
            .for_each(|entry| follow(bytes, entry.value, rest, to_do, found)),
        (Some(b'n'), _) => {}
        (Some(_) | None, _) => found.push(Found { range: here, with: With::Redacted }),
    }
}

fn deed(bytes: &[u8], here: Range<usize>, to_do: Deed, found: &mut Vec<Found>) {
    let Deed::Cap(rows_max) = to_do else {
        found.push(Found { range: here, with: With::Redacted });
        return;
    };
    match bytes.get(here.start) {
        Some(b'[') => {
            let items: Vec<Range<usize>> = span::elements(bytes, here).collect();
            found.extend(cut(&items, rows_max));
        }
        // Rows under their keys.
        Some(b'{') => {
            let rows = span::entries(bytes, here).map(|entry| entry.key.start..entry.value.end);
            let rows: Vec<Range<usize>> = rows.collect();
            found.extend(cut(&rows, rows_max));
        }
        Some(b'"') => found.push(Found { range: here, with: With::Redacted }),
        Some(_) | None => {}
    }
}

/// Whether a key names this member, or would to a reader that ignores case.
fn is_named(key: &[u8], name: &str) -> bool {
    if span::spells(key, name) {
        return true;
    }
    serde_json::from_slice::<std::borrow::Cow<'_, str>>(key).is_ok_and(|key| is_variant(&key, name))
}
