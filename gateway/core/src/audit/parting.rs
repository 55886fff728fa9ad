//! Parts a JSON text where it branches. In: a text. Out: pointers and ranges, in buffers that are used again. Never here: what parts are for.

use std::collections::VecDeque;
use std::ops::Range;

use crate::protocol::span;

/// Parts of one value: enough for the arguments of tools, few enough that what is kept beside them stays in proportion.
pub const PARTS_MAX: usize = 64;

/// Where a text is parted: containers are opened from the root down, as long as what they hold fits [`PARTS_MAX`].
#[derive(Debug, Default)]
pub struct Parting {
    /// All pointers (RFC 6901), one behind the other.
    names: String,
    done: Vec<Piece>,
    open: VecDeque<Piece>,
}

/// A part: where in `names` its pointer is, and where in the text it stands itself.
#[derive(Clone, Debug)]
struct Piece {
    pointer: Range<usize>,
    range: Range<usize>,
}

impl Parting {
    /// Parts a text anew.
    pub fn part(&mut self, raw: &[u8]) {
        self.names.clear();
        self.done.clear();
        self.open.clear();
        match span::member(raw, &[]) {
            None => self.done.push(Piece { pointer: 0..0, range: 0..raw.len() }),
            Some(root) => self.open.push_back(Piece { pointer: 0..0, range: root }),
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
        self.done.sort_by_key(|piece| piece.range.start);
    }

    /// The parts of the text that was parted last, in its order: pointer and place.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&str, Range<usize>)> {
        self.done.iter().map(|piece| (self.names.get(piece.pointer.clone()).unwrap_or_default(), piece.range.clone()))
    }

    fn members(&mut self, raw: &[u8], object: &Piece, left: usize) -> Inside {
        let before = self.open.len();
        for entry in span::entries(raw, object.range.clone()) {
            if self.open.len() - before == left {
                return Inside::Nothing;
            }
            let key = raw.get(entry.key).unwrap_or_default();
            let name = match key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")) {
                Some(plain) if !plain.contains(&b'\\') => String::from_utf8_lossy(plain),
                Some(_) | None => serde_json::from_slice::<String>(key).unwrap_or_default().into(),
            };
            let start = self.below(object);
            for character in name.chars() {
                match character {
                    '~' => self.names.push_str("~0"),
                    '/' => self.names.push_str("~1"),
                    plain => self.names.push(plain),
                }
            }
            self.open.push_back(Piece { pointer: start..self.names.len(), range: entry.value });
        }
        Inside::of(self.open.len() - before)
    }

    fn items(&mut self, raw: &[u8], array: &Piece, left: usize) -> Inside {
        let before = self.open.len();
        for (at, range) in span::elements(raw, array.range.clone()).enumerate() {
            if at == left {
                return Inside::Nothing;
            }
            let start = self.below(array);
            self.names.push_str(&at.to_string());
            self.open.push_back(Piece { pointer: start..self.names.len(), range });
        }
        Inside::of(self.open.len() - before)
    }

    /// Begins the pointer of something in `piece`; where.
    fn below(&mut self, piece: &Piece) -> usize {
        let start = self.names.len();
        self.names.extend_from_within(piece.pointer.clone());
        self.names.push('/');
        start
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
