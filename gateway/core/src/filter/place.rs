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

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// `structuredContent`: its shape is the one that the tool declares, and what may be missing there may be missing.
    Structured,
    /// A text that is JSON: nothing says what shape it has.
    Text,
}

/// Adds to `found` all that the obligations are about in the value at `root`.
pub fn values(
    (bytes, root): (&[u8], Range<usize>),
    written: Written,
    obligations: &Obligations,
    found: &mut Vec<Found>,
) -> Marks {
    let mut walk = Walk { bytes, written, to_do: Deed::Redact, absent: Absent::Nothing, met: Vec::new(), found };
    let mut marks = Vec::new();
    let pointers = obligations.redactions().map(|pointer| (Some(pointer), Deed::Redact));
    let caps = obligations.row_caps().map(|cap| (cap.at.as_ref(), Deed::Cap(cap.rows_max)));
    for (pointer, to_do) in pointers.chain(caps) {
        let before = walk.found.len();
        (walk.to_do, walk.absent) = (to_do, Absent::Nothing);
        walk.met.clear();
        match pointer.map(Pointer::segments) {
            Some(segments) => walk.follow(root.clone(), segments),
            None => walk.arrays(root.clone()),
        }
        let last = pointer.and_then(|pointer| pointer.segments().last());
        let astray = walk.met.is_empty() || walk.absent == Absent::Something;
        if let (true, Some(Segment::One { name, index: _ })) = (astray, last)
            && walk.has_named(root.clone(), name)
        {
            // The tool answers in another shape than the rule was written for, and what it means stands somewhere else.
            walk.hide(root.clone());
        }
        marks.push(walk.found.len() > before);
    }
    Marks(marks)
}

/// Where the elements that are too many stand among `items`, with the comma before them.
pub fn cut(items: &[Range<usize>], rows_max: usize) -> Option<Found> {
    let (kept, last) = (items.get(rows_max.checked_sub(1)?)?, items.last()?);
    let dropped = items.len().saturating_sub(rows_max) as u64;
    (dropped > 0).then_some(Found { range: kept.end..last.end, with: With::Cut(dropped) })
}

/// Whether a pointer named a member that was not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Something,
    Nothing,
}

/// One pointer's way through one value.
struct Walk<'w> {
    bytes: &'w [u8],
    written: Written,
    to_do: Deed,
    absent: Absent,
    /// The values at its end, and those that were hidden because it could not be followed.
    met: Vec<Range<usize>>,
    found: &'w mut Vec<Found>,
}

impl Walk<'_> {
    fn hide(&mut self, range: Range<usize>) {
        self.met.push(range.clone());
        self.found.push(Found { range, with: With::Redacted });
    }

    fn first(&self, here: &Range<usize>) -> Option<u8> {
        self.bytes.get(here.start).copied()
    }

    /// The outermost arrays: the value itself, or what objects lead to. A text that is all there is could hold any number of rows.
    fn arrays(&mut self, here: Range<usize>) {
        if self.first(&here) != Some(b'{') {
            return self.deed(here);
        }
        for entry in span::entries(self.bytes, here) {
            if matches!(self.first(&entry.value), Some(b'[' | b'{')) {
                self.arrays(entry.value);
            }
        }
    }

    /// Where something else stands than the pointer needs, the secret could stand in it in another shape: all of it goes. A `null` holds nothing.
    fn follow(&mut self, here: Range<usize>, segments: &[Segment]) {
        let bytes = self.bytes;
        let Some((segment, rest)) = segments.split_first() else { return self.deed(here) };
        match (self.first(&here), segment) {
            (Some(b'['), Segment::Any) => span::elements(bytes, here).for_each(|item| self.follow(item, rest)),
            (Some(b'['), Segment::One { name: _, index: Some(index) }) => {
                if let Some(item) = span::elements(bytes, here).nth(*index) {
                    self.follow(item, rest);
                }
            }
            (Some(b'['), Segment::One { name: _, index: None }) => {
                if span::elements(bytes, here.clone()).next().is_some() {
                    self.hide(here);
                }
            }
            (Some(b'{'), Segment::Any) => {
                span::entries(bytes, here).for_each(|entry| self.follow(entry.value, rest));
            }
            (Some(b'{'), Segment::One { name, index: _ }) => self.member(here, name, rest),
            (Some(b'n'), _) => {}
            (Some(_) | None, _) => self.hide(here),
        }
    }

    fn member(&mut self, object: Range<usize>, name: &str, rest: &[Segment]) {
        let (mut anything, mut there) = (false, false);
        for entry in span::entries(self.bytes, object.clone()) {
            anything = true;
            if is_named(self.bytes.get(entry.key.clone()).unwrap_or_default(), name) {
                there = true;
                self.follow(entry.value, rest);
            }
        }
        if there || !anything {
            return;
        }
        self.absent = Absent::Something;
        let inner = !rest.is_empty() || matches!(self.to_do, Deed::Cap(_));
        if inner && self.written == Written::Text {
            self.hide(object);
        }
    }

    /// Whether a member of this name, and with something in it, stands in the value outside of what was met.
    fn has_named(&self, here: Range<usize>, name: &str) -> bool {
        let bytes = self.bytes;
        if self.met.contains(&here) {
            return false;
        }
        match bytes.get(here.start) {
            Some(b'[') => span::elements(bytes, here).any(|item| self.has_named(item, name)),
            Some(b'{') => span::entries(bytes, here).any(|entry| {
                let holds = bytes.get(entry.value.start) != Some(&b'n') && !self.met.contains(&entry.value);
                let named = holds && is_named(bytes.get(entry.key).unwrap_or_default(), name);
                named || self.has_named(entry.value, name)
            }),
            Some(_) | None => false,
        }
    }

    fn deed(&mut self, here: Range<usize>) {
        let Deed::Cap(rows_max) = self.to_do else { return self.hide(here) };
        self.met.push(here.clone());
        match self.first(&here) {
            Some(b'[') => {
                let items: Vec<Range<usize>> = span::elements(self.bytes, here).collect();
                self.found.extend(cut(&items, rows_max));
            }
            // Rows under their keys.
            Some(b'{') => {
                let rows = span::entries(self.bytes, here).map(|entry| entry.key.start..entry.value.end);
                let rows: Vec<Range<usize>> = rows.collect();
                self.found.extend(cut(&rows, rows_max));
            }
            Some(b'"') => self.hide(here),
            Some(_) | None => {}
        }
    }
}

/// Whether a key names this member, or would to a reader that ignores case.
fn is_named(key: &[u8], name: &str) -> bool {
    if span::spells(key, name) {
        return true;
    }
    serde_json::from_slice::<std::borrow::Cow<'_, str>>(key).is_ok_and(|key| is_variant(&key, name))
}
