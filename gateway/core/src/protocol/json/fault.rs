//! Names what is wrong with a text. In: bytes that the tape reader refused. Out: the first fault in them. Never here: the hot path.
//!
//! The tape reader is built for speed and its errors are ambiguous (a lone surrogate and a bad escape look alike), so a
//! refused text is walked once more, slowly and exactly by the grammar of RFC 8259.

use super::BodyError;

/// The first fault of `bytes`, [`BodyError::Syntax`] where this walk finds none. `depth_max` is at most 64.
pub(super) fn find(bytes: &[u8], depth_max: usize) -> BodyError {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
            let surrogate = matches!(rest, [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..]);
            return if surrogate { BodyError::LoneSurrogate } else { BodyError::InvalidUtf8 };
        }
    };
    if text.bytes().all(is_space) {
        return BodyError::Empty;
    }
    let mut walk = Walk { bytes: text.as_bytes(), at: 0, open: 0, depth: 0 };
    match walk.text(depth_max) {
        Err(fault) => fault,
        Ok(()) => BodyError::Syntax,
    }
}

struct Walk<'b> {
    bytes: &'b [u8],
    at: usize,
    /// One bit per open container, the innermost lowest: 1 for an object, 0 for an array.
    open: u64,
    depth: usize,
}

/// What the grammar allows next.
enum Next {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    CommaOrEnd,
}

impl Walk<'_> {
    fn text(&mut self, depth_max: usize) -> Result<(), BodyError> {
        let mut next = Next::Value;
        loop {
            self.spaces();
            if matches!(next, Next::CommaOrEnd) && self.depth == 0 {
                return if self.peek().is_some() { Err(BodyError::TrailingData) } else { Ok(()) };
            }
            let byte = self.take().ok_or(BodyError::Syntax)?;
            next = match (next, byte) {
                (Next::Value | Next::ValueOrEnd, b'{') => self.enter(1, depth_max)?,
                (Next::Value | Next::ValueOrEnd, b'[') => self.enter(0, depth_max)?,
                (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => self.leave(),
                (Next::CommaOrEnd, b'}') if self.in_object() => self.leave(),
                (Next::CommaOrEnd, b']') if !self.in_object() => self.leave(),
                (Next::CommaOrEnd, b',') if self.in_object() => Next::Key,
                (Next::CommaOrEnd, b',') => Next::Value,
                (Next::KeyOrEnd | Next::Key, b'"') => {
                    self.string()?;
                    self.spaces();
                    self.expect(b":")?;
                    Next::Value
                }
                (Next::Value | Next::ValueOrEnd, byte) => {
                    self.scalar(byte)?;
                    Next::CommaOrEnd
                }
                (Next::KeyOrEnd | Next::Key | Next::CommaOrEnd, _) => return Err(BodyError::Syntax),
            };
        }
    }

    fn enter(&mut self, bit: u64, depth_max: usize) -> Result<Next, BodyError> {
        if self.depth >= depth_max {
            return Err(BodyError::TooDeep);
        }
        self.depth += 1;
        self.open = (self.open << 1) | bit;
        Ok(if bit == 1 { Next::KeyOrEnd } else { Next::ValueOrEnd })
    }

    fn leave(&mut self) -> Next {
        self.depth = self.depth.saturating_sub(1);
        self.open >>= 1;
        Next::CommaOrEnd
    }

    fn in_object(&self) -> bool {
        self.open & 1 == 1
    }

    fn scalar(&mut self, first: u8) -> Result<(), BodyError> {
        match first {
            b'"' => self.string(),
            b't' => self.expect(b"rue"),
            b'f' => self.expect(b"alse"),
            b'n' => self.expect(b"ull"),
            b'-' | b'0'..=b'9' => self.number(first),
            _ => Err(BodyError::Syntax),
        }
    }

    fn string(&mut self) -> Result<(), BodyError> {
        loop {
            match self.take().ok_or(BodyError::Syntax)? {
                b'"' => return Ok(()),
                b'\\' => match self.take() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => self.unicode()?,
                    Some(_) | None => return Err(BodyError::Syntax),
                },
                0..=0x1F => return Err(BodyError::Syntax),
                _ => {}
            }
        }
    }

    fn unicode(&mut self) -> Result<(), BodyError> {
        match self.hex()? {
            0xD800..=0xDBFF => {
                if self.take() != Some(b'\\') || self.take() != Some(b'u') {
                    return Err(BodyError::LoneSurrogate);
                }
                match self.hex()? {
                    0xDC00..=0xDFFF => Ok(()),
                    _ => Err(BodyError::LoneSurrogate),
                }
            }
            0xDC00..=0xDFFF => Err(BodyError::LoneSurrogate),
            _ => Ok(()),
        }
    }

    fn hex(&mut self) -> Result<u32, BodyError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.take().and_then(|byte| char::from(byte).to_digit(16)).ok_or(BodyError::Syntax)?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    fn number(&mut self, first: u8) -> Result<(), BodyError> {
        let start = self.at - 1;
        let lead = if first == b'-' { self.take().ok_or(BodyError::Syntax)? } else { first };
        match lead {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return Err(BodyError::Syntax),
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let fits = if whole {
            text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()
        } else {
            text.parse::<f64>().is_ok_and(f64::is_finite)
        };
        if fits { Ok(()) } else { Err(BodyError::NumberOutOfRange) }
    }

    fn some_digits(&mut self) -> Result<(), BodyError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(BodyError::Syntax);
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, word: &[u8]) -> Result<(), BodyError> {
        for wanted in word {
            if self.take() != Some(*wanted) {
                return Err(BodyError::Syntax);
            }
        }
        Ok(())
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
