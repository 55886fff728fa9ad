//! Reads a JSON text strictly. In: bytes. Out: a tape to walk, or the one named reason why not. Never here: MCP.
//!
//! Whatever two readers could understand differently is refused: a duplicate key (compared after unescaping, at any
//! depth), invalid UTF-8, a lone surrogate, a byte order mark, trailing data, a number no `i64`, `u64` or `f64` holds.
//! The bytes themselves are never changed: the tape is made from a padded copy, so that they can be forwarded as judged.

mod exact;
mod fault;
mod repeat;
#[cfg(test)]
pub(crate) mod samples;
pub mod short;
#[cfg(test)]
mod tests;

use std::fmt;

use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape, fill_tape_padded};

use crate::limits::JSON_DEPTH_MAX;

/// What a body may cost. `depth_max` beyond [`JSON_DEPTH_MAX`] counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Bytes of the whole text.
    pub bytes_max: usize,
    /// Objects and arrays inside each other; `{}` is one deep.
    pub depth_max: usize,
}

/// Why a text is not read. The names are stable: audit records and metrics carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// Nothing but whitespace.
    Empty,
    /// More bytes than [`JsonLimits::bytes_max`].
    TooLarge,
    /// Deeper than [`JsonLimits::depth_max`].
    TooDeep,
    /// Not UTF-8 (RFC 8259 §8.1).
    InvalidUtf8,
    /// Starts with U+FEFF, which readers may take or leave (RFC 8259 §8.1).
    ByteOrderMark,
    /// Half of a surrogate pair, escaped or as bytes (RFC 8259 §8.2).
    LoneSurrogate,
    /// One object names a key twice; readers disagree on which wins (RFC 8259 §4).
    DuplicateKey,
    /// Something follows the value.
    TrailingData,
    /// An integer beyond 64 bits or a float beyond `f64` (RFC 8259 §6).
    NumberOutOfRange,
    /// Not JSON in any other way.
    Syntax,
}

impl BodyError {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::ByteOrderMark => "byte_order_mark",
            Self::LoneSurrogate => "lone_surrogate",
            Self::DuplicateKey => "duplicate_key",
            Self::TrailingData => "trailing_data",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::Syntax => "syntax",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "the body is empty",
            Self::TooLarge => "the body is larger than allowed",
            Self::TooDeep => "the body is nested deeper than allowed",
            Self::InvalidUtf8 => "the body is not UTF-8",
            Self::ByteOrderMark => "the body starts with a byte order mark",
            Self::LoneSurrogate => "a string holds half of a surrogate pair",
            Self::DuplicateKey => "an object names a key twice",
            Self::TrailingData => "something follows the JSON value",
            Self::NumberOutOfRange => "a number does not fit 64 bits",
            Self::Syntax => "the body is not JSON",
        })
    }
}

impl std::error::Error for BodyError {}

/// Memory that readings share: one per core, and no allocation once it has grown to the bodies it meets.
pub struct Scratch {
    padded: Vec<u8>,
    buffers: Buffers,
    depth_max: usize,
    nodes: Vec<Node<'static>>,
    keys: Vec<(u64, usize)>,
}

impl Scratch {
    /// Empty; it grows with the first bodies.
    pub fn new() -> Self {
        Self {
            padded: Vec::new(),
            buffers: Buffers::with_max_depth(0, JSON_DEPTH_MAX),
            depth_max: JSON_DEPTH_MAX,
            nodes: Vec::new(),
            keys: Vec::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads `bytes` whole. The scratch is lent to the document until that is dropped.
pub fn read<'s>(scratch: &'s mut Scratch, bytes: &[u8], limits: &JsonLimits) -> Result<Document<'s>, BodyError> {
    if bytes.is_empty() {
        return Err(BodyError::Empty);
    }
    if bytes.len() > limits.bytes_max {
        return Err(BodyError::TooLarge);
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(BodyError::ByteOrderMark);
    }
    let depth_max = limits.depth_max.min(JSON_DEPTH_MAX);
    if scratch.depth_max != depth_max {
        // The bound is fixed in the buffers; a process uses one, so this happens once.
        scratch.buffers = Buffers::with_max_depth(bytes.len(), depth_max);
        scratch.depth_max = depth_max;
    }
    let Scratch { padded, buffers, nodes, keys, .. } = scratch;
    padded.clear();
    padded.extend_from_slice(bytes);
    padded.resize(bytes.len() + INPUT_PADDING, 0);
    let padded_at = padded.as_ptr() as usize;
    let mut tape = Tape(std::mem::take(nodes));
    let filled = fill_tape_padded(padded, bytes.len(), buffers, &mut tape);
    if filled.is_ok() {
        exact::mark(&mut tape.0, bytes);
    }
    let document = Document { tape, home: nodes, text: Place::of(bytes), padded: padded_at };
    match filled {
        Err(_) => Err(fault::find(bytes, depth_max)),
        Ok(()) if repeat::any_key_repeats(&document.tape.0, keys) => Err(BodyError::DuplicateKey),
        Ok(()) => Ok(document),
    }
}

/// A text that was read. Dropping it gives the tape's memory back to the scratch.
pub struct Document<'s> {
    tape: Tape<'s>,
    home: &'s mut Vec<Node<'static>>,
    /// Where the text stands that was read.
    text: Place,
    /// Where its copy stands that the tape's strings point into, each at the offset it has in the text.
    padded: usize,
}

/// Where bytes stand in memory, to tell whether others are the very same; nothing is ever read through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    address: usize,
    length: usize,
}

impl Place {
    fn of(bytes: &[u8]) -> Self {
        Self { address: bytes.as_ptr() as usize, length: bytes.len() }
    }
}

impl Document<'_> {
    /// The value the text consists of.
    pub fn root(&self) -> Value<'_> {
        Value { nodes: &self.tape.0 }
    }

    /// Whether `bytes` are the very text that this document was made from.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        Place::of(bytes) == self.text
    }

    /// Where the key of a member of `object`, an object of this document, begins in the text: at its opening quote.
    pub(super) fn key_offset(&self, object: Value<'_>, key: &str) -> Option<usize> {
        let (name, _) = object.entries().find(|(name, _)| *name == key)?;
        (name.as_ptr() as usize).checked_sub(self.padded)?.checked_sub(1)
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        *self.home = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset().0;
    }
}

/// What a value is. An integer is a number written without fraction and exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A whole number that `i64` or `u64` holds.
    Integer,
    /// Any other number; `1.0` and `1e3` are floats.
    Float,
    /// A string, already unescaped.
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// A place on the tape. Copying it costs two words.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    /// This value's nodes and nothing behind them.
    nodes: &'d [Node<'d>],
}

impl<'d> Value<'d> {
    fn node(self) -> Option<&'d Node<'d>> {
        self.nodes.first()
    }

    fn fixed(self) -> Option<StaticNode> {
        match self.node()? {
            Node::Static(node) => Some(*node),
            Node::String(_) | Node::Array { .. } | Node::Object { .. } => None,
        }
    }

    /// What this is.
    pub fn kind(self) -> Kind {
        match self.node() {
            Some(Node::String(_)) => Kind::String,
            Some(Node::Array { .. }) => Kind::Array,
            Some(Node::Object { .. }) => Kind::Object,
            Some(Node::Static(StaticNode::Bool(_))) => Kind::Bool,
            Some(Node::Static(StaticNode::I64(_) | StaticNode::U64(_))) => Kind::Integer,
            Some(Node::Static(StaticNode::F64(_))) => Kind::Float,
            Some(Node::Static(StaticNode::Null)) | None => Kind::Null,
        }
    }

    /// The unescaped text of a string.
    pub fn as_str(self) -> Option<&'d str> {
        match self.node()? {
            Node::String(text) => Some(text),
            Node::Static(_) | Node::Array { .. } | Node::Object { .. } => None,
        }
    }

    /// An integer that `i64` holds; never a float, even a whole one.
    pub fn as_i64(self) -> Option<i64> {
        match self.fixed()? {
            StaticNode::I64(number) => Some(number),
            StaticNode::U64(number) => i64::try_from(number).ok(),
            StaticNode::F64(_) | StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    /// An integer that `u64` holds; never a float, even a whole one.
    pub fn as_u64(self) -> Option<u64> {
        match self.fixed()? {
            StaticNode::I64(number) => u64::try_from(number).ok(),
            StaticNode::U64(number) => Some(number),
            StaticNode::F64(_) | StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    /// Any number; an integer beyond 2^53 is rounded to the nearest `f64`. None for a float of more digits than `f64` holds.
    pub fn as_f64(self) -> Option<f64> {
        match self.fixed()? {
            StaticNode::I64(number) => Some(number as f64),
            StaticNode::U64(number) => Some(number as f64),
            StaticNode::F64(number) => (!number.is_nan()).then_some(number),
            StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    /// `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match self.fixed()? {
            StaticNode::Bool(truth) => Some(truth),
            StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_) | StaticNode::Null => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The member `key` of an object; keys are compared exactly, after unescaping.
    pub fn get(self, key: &str) -> Option<Value<'d>> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value at an RFC 6901 pointer below this one; `""` is this one.
    pub fn pointer(self, pointer: &str) -> Option<Value<'d>> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut here = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            here = match here.kind() {
                Kind::Object => here.entries().find(|(name, _)| token_names(token, name)).map(|(_, value)| value)?,
                Kind::Array => here.items().nth(array_index(token)?)?,
                Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::String => return None,
            };
        }
        Some(here)
    }

    /// The members of an object in their order; none for anything else.
    pub fn entries(self) -> Entries<'d> {
        match self.nodes.split_first() {
            Some((Node::Object { .. }, rest)) => Entries { rest },
            _ => Entries { rest: &[] },
        }
    }

    /// The items of an array in their order; none for anything else.
    pub fn items(self) -> Items<'d> {
        match self.nodes.split_first() {
            Some((Node::Array { .. }, rest)) => Items { rest },
            _ => Items { rest: &[] },
        }
    }

    /// How many members or items; 0 for anything else.
    pub fn len(self) -> usize {
        match self.node() {
            Some(Node::Object { len, .. } | Node::Array { len, .. }) => *len,
            Some(Node::String(_) | Node::Static(_)) | None => 0,
        }
    }

    /// Whether there are no members or items.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Value<'_> {
    /// The kind alone: what a body says is never printed by accident.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Value({:?})", self.kind())
    }
}

/// The members of an object, see [`Value::entries`].
#[derive(Clone)]
pub struct Entries<'d> {
    rest: &'d [Node<'d>],
}

impl<'d> Iterator for Entries<'d> {
    type Item = (&'d str, Value<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Node::String(key), rest) = self.rest.split_first()? else { return None };
        let (nodes, rest) = rest.split_at_checked(width(rest.first()?))?;
        self.rest = rest;
        Some((key, Value { nodes }))
    }
}

/// The items of an array, see [`Value::items`].
#[derive(Clone)]
pub struct Items<'d> {
    rest: &'d [Node<'d>],
}

impl<'d> Iterator for Items<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Self::Item> {
        let (nodes, rest) = self.rest.split_at_checked(width(self.rest.first()?))?;
        self.rest = rest;
        Some(Value { nodes })
    }
}

/// How many nodes a value takes, its own among them.
fn width(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

/// Whether the reference token (RFC 6901 §3: `~1` is `/`, `~0` is `~`) names `key`.
fn token_names(token: &str, key: &str) -> bool {
    let mut token = token.chars();
    let mut key = key.chars();
    while let Some(plain) = token.next() {
        let meant = match plain {
            '~' => match token.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return false,
            },
            plain => plain,
        };
        if key.next() != Some(meant) {
            return false;
        }
    }
    key.next().is_none()
}

/// An array index as RFC 6901 §4 writes it: digits without a leading zero.
pub(crate) fn array_index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    if canonical && token.bytes().all(|byte| byte.is_ascii_digit()) { token.parse().ok() } else { None }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
