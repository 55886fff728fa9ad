//! Remembers where all values of a JSON text stand. In: a text that was accepted. Out: places, in the order of the text. Never here: values, checks.
//!
//! Whoever opens container after container from the outside would read what lies within as often as it is deep.

use crate::protocol::span::{self, skip_spaces};
use std::ops::Range;

/// Values of a text, each before those within it.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    bones: Vec<Bone>,
    /// Containers that have not ended, while a text is read.
    open: Vec<usize>,
}

/// Where a value stands.
#[derive(Clone, Debug)]
pub(super) struct Bone {
    /// Its key with its quotes, where it has one.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
    /// The bone behind it and all within it.
    next: usize,
}

impl Skeleton {
    /// Reads a text anew; whether it is one value and nothing else. Its size bounds what is remembered: a bone takes a byte of it at least.
    pub fn read(&mut self, raw: &[u8]) -> bool {
        self.bones.clear();
        self.open.clear();
        self.walk(raw).is_some()
    }

    /// Where the whole value stands.
    pub fn root(&self) -> Option<Range<usize>> {
        self.bones.first().map(|root| root.value.clone())
    }

    /// What stands directly within a container, and the place of each.
    pub fn below(&self, of: usize) -> impl Iterator<Item = (usize, &Bone)> {
        let (mut at, end) = (of + 1, self.bones.get(of).map_or(0, |bone| bone.next));
        std::iter::from_fn(move || {
            let place = at;
            let bone = self.bones.get(place).filter(|_| place < end)?;
            at = bone.next;
            Some((place, bone))
        })
    }

    /// None where the text is something else than was said.
    fn walk(&mut self, raw: &[u8]) -> Option<()> {
        let (mut at, mut key) = (skip_spaces(raw, 0), 0..0);
        loop {
            let (place, start) = (self.bones.len(), at);
            let first = *raw.get(at)?;
            at = match first {
                b'"' => quoted(raw, at)?,
                b'{' | b'[' => skip_spaces(raw, at + 1),
                _ => plain(raw, at)?,
            };
            self.bones.push(Bone { key, value: start..at, next: place + 1 });
            if matches!(first, b'{' | b'[') {
                self.open.push(place);
            }
            let opens = matches!(first, b'{' | b'[') && !matches!(raw.get(at)?, b'}' | b']');
            if !opens {
                let Some(next) = self.close(raw, at)? else { return Some(()) };
                at = next;
            }
            key = 0..0;
            let within = self.open.last().and_then(|open| self.bones.get(*open)).map(|bone| bone.value.start)?;
            if raw.get(within) == Some(&b'{') {
                let end = quoted(raw, at)?;
                let colon = skip_spaces(raw, end);
                if raw.get(colon) != Some(&b':') {
                    return None;
                }
                (key, at) = (at..end, skip_spaces(raw, colon + 1));
            }
        }
    }

    /// Ends what ends behind a value; where the next one begins, or its key. The inner none is the end of the text.
    fn close(&mut self, raw: &[u8], mut at: usize) -> Option<Option<usize>> {
        loop {
            at = skip_spaces(raw, at);
            let Some(open) = self.open.last() else { return (at == raw.len()).then_some(None) };
            match raw.get(at)? {
                b',' => return Some(Some(skip_spaces(raw, at + 1))),
                b'}' | b']' => at += 1,
                _ => return None,
            }
            let next = self.bones.len();
            if let Some(bone) = self.bones.get_mut(*open) {
                (bone.value.end, bone.next) = (at, next);
            }
            self.open.pop();
        }
    }
}

/// One past the closing quote of the string that begins at a place.
fn quoted(raw: &[u8], start: usize) -> Option<usize> {
    if raw.get(start) != Some(&b'"') {
        return None;
    }
    span::string_end(raw, start)
}

/// One past a number, or a word.
fn plain(raw: &[u8], start: usize) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
    let length = raw.get(start..)?.iter().position(ends).unwrap_or(raw.len() - start);
    if length == 0 { None } else { Some(start + length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_one_value_has_no_skeleton() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,",
            "{\"a\"",
            "{\"a\":",
            "{\"a\" 1}",
            "{1:2}",
            "1 2",
            "[1]]",
            "\"a",
            "{\"a\":1,}",
        ] {
            assert!(!Skeleton::default().read(text.as_bytes()), "given {text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_stop_it(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ a1".to_vec()), 0..24)) {
            let mut skeleton = Skeleton::default();
            if skeleton.read(&bytes) {
                prop_assert!(skeleton.below(0).count() <= bytes.len());
            }
        }
    }
}
