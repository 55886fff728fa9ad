//! Takes the chunks off a body and puts them on (RFC 9112 §7.1). In: bytes as they come, split anywhere. Out: where the
//! data lies in them, and where the body ends. Never here: IO, copies.
//!
//! Lenient chunk readers are the richest source of smuggling: a size that one hop reads as 0 and the next as 10 hides a
//! request in a body. So each byte here is either of the grammar or the end of the connection.

use std::ops::Range;

use super::error::FramingError;
use super::head::{is_control, is_token_byte};

/// Reads one chunked body.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Digits of the size read so far.
    digits: u8,
    /// Bytes of data left in this chunk; while the size is read, the size so far.
    left: u64,
    /// Bytes of data that the body may still have.
    body_left: u64,
    extensions_left: usize,
    trailers_left: usize,
}

/// What one look at the input found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with; the next look begins there.
    pub consumed: usize,
    /// Where in the input the data lies; may be empty.
    pub data: Range<usize>,
    /// True once the body has ended; what follows `consumed` is the next message.
    pub finished: bool,
}

impl Decoder {
    /// A decoder for a body of at most `body_bytes_max` bytes of data.
    pub fn new(body_bytes_max: u64) -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            body_left: body_bytes_max,
            extensions_left: EXTENSIONS_BYTES_MAX,
            trailers_left: TRAILERS_BYTES_MAX,
        }
    }

    /// Reads on until some data is found, the body ends or the input does.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, FramingError> {
        let mut at = 0;
        loop {
            if self.state == State::Done {
                return Ok(Step { consumed: at, data: at..at, finished: true });
            }
            let Some(byte) = input.get(at).copied() else {
                return Ok(Step { consumed: at, data: at..at, finished: false });
            };
            if self.state == State::Data {
                let available = input.len() - at;
                let length = usize::try_from(self.left).map_or(available, |left| left.min(available));
                self.left -= length as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Step { consumed: at + length, data: at..at + length, finished: false });
            }
            self.state = self.framing_byte(byte)?;
            at += 1;
        }
    }

    /// Takes the chunks off in place. `buffer[..*decoded]` is data already, what follows is as received; afterwards the
    /// data read is moved up to it, and what is not yet read (the next message, once this is true) follows.
    pub fn decode_in_place(&mut self, buffer: &mut Vec<u8>, decoded: &mut usize) -> Result<bool, FramingError> {
        let mut read = *decoded;
        loop {
            let step = self.decode(buffer.get(read..).unwrap_or_default())?;
            let length = step.data.len();
            let data = read + step.data.start..read + step.data.end;
            buffer.copy_within(data, *decoded);
            *decoded += length;
            read += step.consumed;
            if step.finished || read >= buffer.len() {
                drop(buffer.drain(*decoded..read));
                return Ok(step.finished);
            }
        }
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, FramingError> {
        match self.state {
            State::Size => self.size_byte(byte),
            State::SizeLf => match byte {
                b'\n' => Ok(self.after_size()),
                _ => Err(FramingError::BareCarriageReturn),
            },
            State::Extension(place) => {
                self.extensions_left =
                    self.extensions_left.checked_sub(1).ok_or(FramingError::ChunkExtensionTooLong)?;
                extension_byte(place, byte)
            }
            State::DataCr => expect(byte, b'\r', State::DataLf, FramingError::ChunkEndMissing),
            State::DataLf => {
                (self.digits, self.left) = (0, 0);
                expect(byte, b'\n', State::Size, FramingError::ChunkEndMissing)
            }
            State::Trailer(place) => {
                self.trailers_left = self.trailers_left.checked_sub(1).ok_or(FramingError::TrailersTooLarge)?;
                trailer_byte(place, byte)
            }
            State::EndLf => expect(byte, b'\n', State::Done, FramingError::BareCarriageReturn),
            // Handled before a byte is taken.
            State::Data | State::Done => Ok(self.state),
        }
    }

    /// `1*16HEXDIG`, then an extension or the end of the line. No sign, no `0x`, no white space.
    fn size_byte(&mut self, byte: u8) -> Result<State, FramingError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.digits > 0 => return self.size_read(State::Extension(Extension::Name)),
            b'\r' if self.digits > 0 => return self.size_read(State::SizeLf),
            b'\n' => return Err(FramingError::BareLineFeed),
            _ => return Err(FramingError::ChunkSizeInvalid),
        };
        self.digits += 1;
        if self.digits > SIZE_DIGITS_MAX {
            return Err(FramingError::ChunkSizeInvalid);
        }
        // 16 digits fill 64 bits, so nothing is shifted out.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn size_read(&mut self, next: State) -> Result<State, FramingError> {
        self.body_left = self.body_left.checked_sub(self.left).ok_or(FramingError::BodyTooLarge)?;
        Ok(next)
    }

    fn after_size(&self) -> State {
        if self.left == 0 { State::Trailer(Trailer::Start) } else { State::Data }
    }
}

/// Writes `data` as one chunk; an empty one would end the body, so nothing is written for it.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write_chunk_size(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the line before a chunk of `length` bytes, which must not be 0; after its data comes CRLF.
pub fn write_chunk_size(out: &mut Vec<u8>, length: usize) {
    let skipped = length.leading_zeros() / 4;
    for place in (0..usize::BITS / 4 - skipped.min(usize::BITS / 4 - 1)).rev() {
        let digit = (length >> (4 * place) & 0xf) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a body, without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    SizeLf,
    Extension(Extension),
    Data,
    DataCr,
    DataLf,
    Trailer(Trailer),
    EndLf,
    Done,
}

/// Where in a chunk extension the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Name,
    InName,
    Value,
    InToken,
    InQuotes,
    Escaped,
    AfterQuotes,
}

/// Where in the trailers the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trailer {
    Start,
    InName,
    InValue,
    Lf,
}

fn expect(byte: u8, wanted: u8, next: State, otherwise: FramingError) -> Result<State, FramingError> {
    if byte == wanted { Ok(next) } else { Err(otherwise) }
}

/// `*( ";" token [ "=" ( token / quoted-string ) ] )` without the white space that RFC 9112 §7.1.1 calls bad.
fn extension_byte(place: Extension, byte: u8) -> Result<State, FramingError> {
    let next = match place {
        Extension::Name if is_token_byte(byte) => Some(Extension::InName),
        Extension::InName if is_token_byte(byte) => Some(Extension::InName),
        Extension::InName if byte == b'=' => Some(Extension::Value),
        Extension::Value if byte == b'"' => Some(Extension::InQuotes),
        Extension::Value | Extension::InToken if is_token_byte(byte) => Some(Extension::InToken),
        Extension::InQuotes if byte == b'"' => Some(Extension::AfterQuotes),
        Extension::InQuotes if byte == b'\\' => Some(Extension::Escaped),
        Extension::InQuotes | Extension::Escaped if !is_control(byte) => Some(Extension::InQuotes),
        Extension::InName | Extension::InToken | Extension::AfterQuotes => match byte {
            b';' => Some(Extension::Name),
            b'\r' => return Ok(State::SizeLf),
            _ => None,
        },
        Extension::Name | Extension::Value | Extension::InQuotes | Extension::Escaped => None,
    };
    match next {
        Some(next) => Ok(State::Extension(next)),
        None if byte == b'\n' => Err(FramingError::BareLineFeed),
        None => Err(FramingError::ChunkExtensionInvalid),
    }
}

/// Field lines as strict as in a head; they are read to find the end and thrown away.
fn trailer_byte(place: Trailer, byte: u8) -> Result<State, FramingError> {
    let fault = match (place, byte) {
        (Trailer::Lf, b'\n') => return Ok(State::Trailer(Trailer::Start)),
        (Trailer::Lf, _) => FramingError::BareCarriageReturn,
        (Trailer::Start, b'\r') => return Ok(State::EndLf),
        (Trailer::InValue, b'\r') => return Ok(State::Trailer(Trailer::Lf)),
        (Trailer::InName, b':') => return Ok(State::Trailer(Trailer::InValue)),
        (Trailer::InValue, _) if !is_control(byte) => return Ok(State::Trailer(Trailer::InValue)),
        (Trailer::Start | Trailer::InName, _) if is_token_byte(byte) => return Ok(State::Trailer(Trailer::InName)),
        (Trailer::Start | Trailer::InName | Trailer::InValue, b'\n') => FramingError::BareLineFeed,
        (Trailer::Start | Trailer::InName | Trailer::InValue, 0) => FramingError::Nul,
        (Trailer::InValue, _) => FramingError::ControlInValue,
        (Trailer::Start, b' ' | b'\t') => FramingError::FoldedField,
        (Trailer::Start, b':') => FramingError::NameEmpty,
        (Trailer::InName, b' ' | b'\t') => FramingError::SpaceInName,
        (Trailer::InName, b'\r') => FramingError::ColonMissing,
        (Trailer::Start | Trailer::InName, _) => FramingError::NameInvalid,
    };
    Err(fault)
}

/// 16 digits are all that 64 bits can hold; leading zeros count, or they would be a stream without end.
const SIZE_DIGITS_MAX: u8 = 16;

/// Extensions of a whole body: nobody uses them, so a few signatures' worth.
const EXTENSIONS_BYTES_MAX: usize = 4 * 1024;

/// Trailers of a whole body: a checksum and a few timings; they are thrown away.
const TRAILERS_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests;
