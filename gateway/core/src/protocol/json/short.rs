//! Writes a short text without allocating. In: what is written. Out: its characters, or none where they are too many. Never here: meaning.

use std::fmt::{self, Write};

/// At most [`SHORT_BYTES_MAX`] bytes of text.
#[derive(Clone, Copy)]
pub struct Short {
    bytes: [u8; SHORT_BYTES_MAX],
    length: usize,
}

/// A sign, 17 digits, a point and an exponent of an `f64`; or a sign and 19 digits of an `i64`.
pub const SHORT_BYTES_MAX: usize = 32;

impl Short {
    /// What is written; none where it is longer than [`SHORT_BYTES_MAX`].
    pub fn of(text: fmt::Arguments<'_>) -> Option<Self> {
        let mut short = Self { bytes: [0; SHORT_BYTES_MAX], length: 0 };
        short.write_fmt(text).ok().map(|()| short)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only whole texts are ever appended.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_none() {
        assert!(Short::of(format_args!("{:033}", 1)).is_none());
        assert!(Short::of(format_args!("{}", 1e300)).is_none());
    }

    #[test]
    fn what_fits_reads_as_written() {
        assert_eq!(Short::of(format_args!("{}.{}", i64::MIN, 5)).unwrap().as_str(), "-9223372036854775808.5");
        assert_eq!(Short::of(format_args!("")).unwrap().as_str(), "");
        assert_eq!(Short::of(format_args!("{:e}", f64::MIN_POSITIVE)).unwrap().as_str(), "2.2250738585072014e-308");
    }
}
