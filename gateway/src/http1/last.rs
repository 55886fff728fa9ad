//! Reads the heads of one connection, one after the other. In: bytes received so far. Out: the head they begin with, "not yet", or why not.
//! Never here: a judgement that reading each head by itself would not make.
//!
//! Heads of one connection differ in few places: a length, a name, a trace. So the bytes of the last head are kept, and a head whose bytes are
//! the same but for the values of such fields is what the last one was, moved by what these are longer or shorter. What a head means depends on
//! its bytes alone, so nothing is taken over but where the bytes are the same; whatever differs elsewhere is read in full.

use super::error::FramingError;
use super::field::{Field, Fields};
use super::head::{HeadLimits, is_control};

/// A head longer than this is not kept: a kilobyte or two of token and a dozen fields fit.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// A kind of head.
pub trait Head: Sized {
    /// Reads one from the start of `buffer`; `None` means that it is not complete.
    fn parse(buffer: &[u8], limits: &HeadLimits) -> Result<Option<Self>, FramingError>;

    /// Its length and its fields.
    fn parts(&mut self) -> (&mut usize, &mut Fields);

    /// Reads again what depends on values that differ from the last head's, or on where they stand.
    fn settle(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<(), FramingError>;
}

/// The last head of a connection.
pub struct Last<H> {
    head: Option<H>,
    /// Its bytes, where they are kept.
    text: Vec<u8>,
    limits: Option<HeadLimits>,
}

impl<H> Default for Last<H> {
    fn default() -> Self {
        Self { head: None, text: Vec::new(), limits: None }
    }
}

impl<H: Head> Last<H> {
    /// The head that was read last; its ranges are of the buffer that it was read from.
    pub fn head(&self) -> Option<&H> {
        self.head.as_ref()
    }

    /// Reads a head from the start of `buffer`; `None` means that it is not complete. Bytes after it are not looked at.
    pub fn read(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<&H>, FramingError> {
        let known = !self.text.is_empty() && self.limits.as_ref() == Some(limits);
        if known && buffer.starts_with(&self.text) {
            return Ok(self.head.as_ref());
        }
        if known {
            match self.follow(buffer, limits) {
                Ok(true) => return Ok(self.head.as_ref()),
                Ok(false) => {}
                Err(error) => {
                    self.head = None;
                    return Err(error);
                }
            }
        }
        // The first head of a connection is not kept: most that fall silent between two of them would keep it in vain.
        let is_first = self.head.take().is_none();
        self.forget();
        self.head = H::parse(buffer, limits)?;
        if let Some(head) = self.head.as_mut().filter(|_| !is_first) {
            let (length, fields) = head.parts();
            if *length <= KEPT_BYTES_MAX && fields.are_filled() {
                self.text.extend_from_slice(buffer.get(..*length).unwrap_or_default());
                self.limits = Some(*limits);
            }
        }
        Ok(self.head.as_ref())
    }

    /// Whether the last head has become the one that `buffer` begins with; where it has not, it is of no use any more.
    fn follow(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<bool, FramingError> {
        let Some(head) = self.head.as_mut() else { return Ok(false) };
        let (length, fields) = head.parts();
        match fields.follow(&self.text, buffer) {
            Some(now) if now <= limits.bytes_max().min(KEPT_BYTES_MAX) => *length = now,
            Some(_) | None => return Ok(false),
        }
        let text = buffer.get(..*length).unwrap_or_default();
        // One that is refused is not kept.
        self.text.clear();
        head.settle(buffer, limits)?;
        self.text.extend_from_slice(text);
        Ok(true)
    }

    /// Keeps no bytes: nothing is to come for a while.
    pub fn forget(&mut self) {
        self.text = Vec::new();
    }
}

/// Whether the values of this field change from message to message and decide nothing while a head is read, but for the length of the body, which
/// is read again. Fields that nobody here knows do not.
pub(super) fn may_differ(field: Option<Field>) -> bool {
    matches!(
        field,
        None | Some(
            Field::ContentLength
                | Field::Date
                | Field::McpMethod
                | Field::McpName
                | Field::Traceparent
                | Field::Tracestate
        )
    )
}

/// How long the value at the start of `bytes` is, which ends where its line does; nothing where white space around it would have to be told from
/// it, where there is none, or where it holds what no value may.
pub(super) fn value_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.iter().position(|byte| is_control(*byte))?;
    match bytes.get(..length)? {
        [] | [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => None,
        _ => Some(length),
    }
}

#[cfg(test)]
mod tests;
