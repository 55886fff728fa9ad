//! Follows a body to its end without keeping it. In: pieces as they come. Out: whether the end has come, and what of the pieces was
//! content. Never here: what the content means.

use crate::http::Framing;

/// A piece that does not fit the framing, or goes on behind the body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misframed;

/// What is left of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// So many bytes.
    Length(usize),
    /// As many chunks as will come.
    Chunks(Chunks),
}

/// The place inside a chunked body (RFC 9112 §7.1), without trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// In the digits of a chunk's size; so far it is this.
    Size(usize),
    /// In an extension behind the size, or before the line's end.
    Line(usize),
    /// In a chunk of which this much is left.
    Data(usize),
    /// Before the line's end that follows a chunk.
    DataEnd,
    /// Before the empty line that ends the body.
    End,
    /// Behind the body.
    Done,
}

impl Left {
    /// The whole body.
    pub fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunks(Chunks::Size(0)),
        }
    }

    /// Whether the end has come.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => *chunks == Chunks::Done,
        }
    }

    /// Takes a piece and hands on what of it is content.
    ///
    /// # Errors
    /// When the piece does not fit.
    pub fn take(&mut self, piece: &[u8], mut content: impl FnMut(&[u8])) -> Result<(), Misframed> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(piece.len()).ok_or(Misframed)?;
                content(piece);
                Ok(())
            }
            Self::Chunks(chunks) => chunks.take(piece, content),
        }
    }
}

impl Chunks {
    fn take(&mut self, piece: &[u8], mut content: impl FnMut(&[u8])) -> Result<(), Misframed> {
        let mut rest = piece;
        while let Some((first, behind)) = rest.split_first() {
            if let Self::Data(left) = self {
                let (data, behind) = rest.split_at_checked((*left).min(rest.len())).unwrap_or((rest, &[]));
                content(data);
                *left -= data.len();
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                rest = behind;
                continue;
            }
            *self = self.step(*first)?;
            rest = behind;
        }
        Ok(())
    }

    /// The place behind one byte that is no content.
    fn step(self, byte: u8) -> Result<Self, Misframed> {
        match (self, byte) {
            (Self::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit =
                    char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok()).ok_or(Misframed)?;
                size.checked_mul(16).and_then(|size| size.checked_add(digit)).map(Self::Size).ok_or(Misframed)
            }
            (Self::Size(size), b'\r' | b';' | b' ') => Ok(Self::Line(size)),
            (Self::Line(0), b'\n') => Ok(Self::End),
            (Self::Line(size), b'\n') => Ok(Self::Data(size)),
            (Self::Line(size), _) => Ok(Self::Line(size)),
            (Self::DataEnd, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::Size(0)),
            (Self::End, b'\r') => Ok(Self::End),
            (Self::End, b'\n') => Ok(Self::Done),
            (Self::Size(_) | Self::DataEnd | Self::End | Self::Data(_) | Self::Done, _) => Err(Misframed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in two pieces, cut at every place.
    fn check(framing: Framing, text: &str, expected: Result<(&str, bool), Misframed>) {
        for cut in 0..=text.len() {
            let mut left = Left::of(framing);
            let mut content = Vec::new();
            let (first, second) = text.as_bytes().split_at(cut);
            let got = left
                .take(first, |bytes| content.extend_from_slice(bytes))
                .and_then(|()| left.take(second, |bytes| content.extend_from_slice(bytes)))
                .map(|()| (std::str::from_utf8(&content).unwrap(), left.is_over()));
            assert_eq!(got, expected, "given {text:?} cut at {cut}");
        }
    }

    #[test]
    fn a_body_ends_where_its_framing_says_and_nothing_may_follow() {
        check(Framing::Length(2), "abc", Err(Misframed));
        check(Framing::Length(4), "abc", Ok(("abc", false)));
        check(Framing::Length(3), "abc", Ok(("abc", true)));
        check(Framing::Chunked, "zz\r\n", Err(Misframed));
        check(Framing::Chunked, "2\r\nabc\r\n", Err(Misframed));
        check(Framing::Chunked, "0\r\n\r\nHTTP/1.1", Err(Misframed));
        check(Framing::Chunked, "ffffffffffffffffff\r\n", Err(Misframed));
        check(Framing::Chunked, "2\r\nab\r\n1\r\nc\r\n0\r\n", Ok(("abc", false)));
        check(Framing::Chunked, "2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\n\r\n", Ok(("ab0123456789", true)));
    }
}
