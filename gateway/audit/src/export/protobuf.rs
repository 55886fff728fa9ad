//! Writes protocol buffers. In: fields. Out: their wire format, and back for the few that are read. Never here: what a message means.

/// A message under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// A number in base 128.
    pub fn varint(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.base128(value);
    }

    /// Eight bytes, little-endian.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes, or a text.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, 2);
        self.base128(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message within.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn key(&mut self, field: u32, kind: u8) {
        self.base128(u64::from(field) << 3 | u64::from(kind));
    }

    fn base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field's value as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'m> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'m [u8]),
}

/// The fields of a message in their order; it ends where the message does or can no longer be read.
pub fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u32, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = base128(&mut rest)?;
        let field = u32::try_from(key >> 3).ok()?;
        let value = match key & 7 {
            0 => Field::Number(base128(&mut rest)?),
            1 => Field::Number(u64::from_le_bytes(*taken(&mut rest, 8)?.first_chunk()?)),
            2 => {
                let length = usize::try_from(base128(&mut rest)?).ok()?;
                Field::Bytes(taken(&mut rest, length)?)
            }
            5 => Field::Number(u64::from(u32::from_le_bytes(*taken(&mut rest, 4)?.first_chunk()?))),
            _ => return None,
        };
        Some((field, value))
    })
}

fn taken<'m>(rest: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn base128(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_cut_ends() {
        let mut message = Message::default();
        for value in [0, 1, 127, 128, 300, u64::MAX] {
            message.varint(1, value);
        }
        message.fixed64(2, 0x0102_0304_0506_0708);
        message.message(16, |inner| inner.bytes(3, b"text"));
        assert_eq!(message.0.get(..5), Some(&[0x08, 0x00, 0x08, 0x01, 0x08][..]));
        let read: Vec<_> = fields(&message.0).collect();
        assert_eq!(read.len(), 8);
        assert_eq!(read[4], (1, Field::Number(300)));
        assert_eq!(read[5], (1, Field::Number(u64::MAX)));
        assert_eq!(read[6], (2, Field::Number(0x0102_0304_0506_0708)));
        assert_eq!(read[7], (16, Field::Bytes(b"\x1a\x04text")));
        for end in 0..message.0.len() {
            assert!(fields(&message.0[..end]).count() < 8);
        }
        assert_eq!(fields(&[0xff; 20]).count(), 0);
    }
}
