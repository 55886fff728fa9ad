//! Parts a JSON text where it branches. In: a text. Out: pointers and ranges, in buffers that are used again. Never here: what parts are for.

use std::collections::VecDeque;
use std::ops::Range;

use super::skeleton::Skeleton;
use crate::protocol::span;

/// Parts of one value: enough for the arguments of tools, few enough that what is kept beside them stays in proportion.
pub const PARTS_MAX: usize = 64;

/// A text of at most so many bytes is read once, and where all of it stands is remembered; of a longer one only what is opened is looked at.
const READ_ONCE_BYTES_MAX: usize = 4096;

/// Where a text is parted: containers are opened from the root down, as long as what they hold fits [`PARTS_MAX`].
#[derive(Debug, Default)]
pub struct Parting {
    /// All pointers (RFC 6901), one behind the other.
    names: String,
    done: Vec<Piece>,
    open: VecDeque<Piece>,
    skeleton: Skeleton,
}

/// A part: where in `names` its pointer is, and where in the text it stands itself.
#[derive(Clone, Debug)]
struct Piece {
    pointer: Range<usize>,
    range: Range<usize>,
    /// Its place in the skeleton, where the text has one.
    bone: Option<usize>,
}

impl Parting {
    /// Parts a text anew.
    pub fn part(&mut self, raw: &[u8]) {
        let read = raw.len() <= READ_ONCE_BYTES_MAX && self.skeleton.read(raw);
        self.names.clear();
        self.done.clear();
        self.open.clear();
        let root = if read { self.skeleton.root() } else { span::member(raw, &[]) };
        match root {
            None => self.done.push(Piece { pointer: 0..0, range: 0..raw.len(), bone: None }),
            Some(root) => self.open.push_back(Piece { pointer: 0..0, range: root, bone: read.then_some(0) }),
        }
        while let Some(piece) = self.open.pop_front() {
            let left = PARTS_MAX.saturating_sub(self.done.len() + self.open.len());
            let (opened, names) = (self.open.len(), self.names.len());
            let inside = match raw.get(piece.range.start) {
                Some(b'{') => self.members(raw, &piece, left),
                Some(b'[') => self.items(raw, &piece, left),
                Some(_) | None => Inside::Nothing,
            };
            match inside {
                Inside::Opened => {}
                Inside::Nothing => {
                    self.open.truncate(opened);
                    self.names.truncate(names);
                    self.done.push(piece);
                }
            }
        }
        self.done.sort_unstable_by_key(|piece| piece.range.start);
    }

    /// The parts of the text that was parted last, in its order: pointer and place.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&str, Range<usize>)> {
        self.done.iter().map(|piece| (self.names.get(piece.pointer.clone()).unwrap_or_default(), piece.range.clone()))
    }

    fn members(&mut self, raw: &[u8], object: &Piece, left: usize) -> Inside {
        let Self { names, open, skeleton, .. } = self;
        let before = open.len();
        let mut add = |key: Range<usize>, range: Range<usize>, bone: Option<usize>| {
            if open.len() - before == left {
                return Inside::Nothing;
            }
            let start = below(names, object);
            name(names, raw.get(key).unwrap_or_default());
            open.push_back(Piece { pointer: start..names.len(), range, bone });
            Inside::Opened
        };
        let fits = match object.bone {
            Some(bone) => skeleton
                .below(bone)
                .all(|(at, child)| matches!(add(child.key.clone(), child.value.clone(), Some(at)), Inside::Opened)),
            None => span::entries(raw, object.range.clone())
                .all(|entry| matches!(add(entry.key, entry.value, None), Inside::Opened)),
        };
        Inside::of(if fits { open.len() - before } else { 0 })
    }

    fn items(&mut self, raw: &[u8], array: &Piece, left: usize) -> Inside {
        let Self { names, open, skeleton, .. } = self;
        let before = open.len();
        let mut add = |range: Range<usize>, bone: Option<usize>| {
            let at = open.len() - before;
            if at == left {
                return Inside::Nothing;
            }
            let start = below(names, array);
            match u32::try_from(at).ok().and_then(|at| char::from_digit(at, 10)) {
                Some(digit) => names.push(digit),
                None => names.push_str(&at.to_string()),
            }
            open.push_back(Piece { pointer: start..names.len(), range, bone });
            Inside::Opened
        };
        let fits = match array.bone {
            Some(bone) => {
                skeleton.below(bone).all(|(at, child)| matches!(add(child.value.clone(), Some(at)), Inside::Opened))
            }
            None => span::elements(raw, array.range.clone()).all(|range| matches!(add(range, None), Inside::Opened)),
        };
        Inside::of(if fits { open.len() - before } else { 0 })
    }
}

/// Begins the pointer of something in `piece`; where.
fn below(names: &mut String, piece: &Piece) -> usize {
    let start = names.len();
    names.extend_from_within(piece.pointer.clone());
    names.push('/');
    start
}

/// Appends a key, quotes and all, as RFC 6901 spells it.
fn name(names: &mut String, key: &[u8]) {
    let name = match key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) {
        Some(plain) if !plain.contains(&b'\\') => String::from_utf8_lossy(plain),
        Some(_) | None => serde_json::from_slice::<String>(key).unwrap_or_default().into(),
    };
    if !name.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
        return names.push_str(&name);
    }
    for character in name.chars() {
        match character {
            '~' => names.push_str("~0"),
            '/' => names.push_str("~1"),
            plain => names.push(plain),
        }
    }
}

/// What opening a container gave.
enum Inside {
    /// What it holds is to be parted further.
    Opened,
    /// It is a part itself: it is empty, or holds too much.
    Nothing,
}

impl Inside {
    fn of(opened: usize) -> Self {
        if opened == 0 { Self::Nothing } else { Self::Opened }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::samples;
    use proptest::prelude::*;

    fn parts(parting: &Parting) -> Vec<(String, Range<usize>)> {
        parting.parts().map(|(pointer, range)| (pointer.to_owned(), range)).collect()
    }

    proptest! {
        /// However a text is looked at, its parts are the same: what commits to them was made in one way and may be checked in the other.
        #[test]
        fn a_text_that_is_read_once_has_the_parts_of_one_that_is_looked_at(
            (text, _) in samples::text_and_paths(), many in 0..80_usize,
        ) {
            let many = vec![text.as_str(); many].join(" , ");
            for text in [text, format!(" {{\"a~/b\" : [ {many} ] , \"\\u0063\":{{}},\"d\":[[[7]]]}} ")] {
                let (mut once, mut looked) = (Parting::default(), Parting::default());
                once.part(text.as_bytes());
                let long = text.len() > READ_ONCE_BYTES_MAX;
                let spaces = " ".repeat(READ_ONCE_BYTES_MAX);
                looked.part(format!("{text}{spaces}").as_bytes());
                prop_assert_eq!(parts(&once), parts(&looked), "given {}", text);
                prop_assert!(long || once.done.iter().all(|piece| piece.bone.is_some()));
                prop_assert!(looked.done.iter().all(|piece| piece.bone.is_none()));
            }
        }
    }
}
