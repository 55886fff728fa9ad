//! Writes one record. In: fields of a closed set and their values. Out: JSON appended to a buffer, without allocation. Never here: JSON that was not checked.

use std::fmt::Write as _;
use std::net::IpAddr;

/// One line: C2SP tlog-tiles gives an entry a length of 16 bits, and a record is to become one.
pub const LINE_BYTES_MAX: usize = 65_535;

/// Room at the end of a line for `,"prev":"<64 hex>"}`.
pub const SEAL_BYTES: usize = 75;

macro_rules! fields {
    ($($variant:ident = $name:literal,)+) => {
        /// Every name a field of a record can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "`key` says what each is called, `record` what it holds")]
        pub enum Field { $($variant,)+ }

        impl Field {
            /// Its name, with all that stands between the value before it and its own.
            fn key(self) -> &'static str {
                match self { $(Self::$variant => concat!(",\"", $name, "\":"),)+ }
            }
        }
    };
}

fields! {
    Boot = "boot",
    Shard = "shard",
    Seq = "seq",
    Ts = "ts",
    Agent = "agent",
    User = "user",
    Account = "account",
    Issuer = "issuer",
    TokenId = "jti",
    Certificate = "certificate",
    Source = "source",
    Server = "server",
    Session = "session",
    Revision = "revision",
    Method = "method",
    Tool = "tool",
    Uri = "uri",
    Prompt = "name",
    Arguments = "arguments",
    ArgumentsBytes = "arguments_bytes",
    ArgumentsDigest = "arguments_digest",
    ArgumentsRedacted = "arguments_redacted",
    ArgumentsCut = "arguments_cut",
    Decision = "decision",
    Cause = "cause",
    Rules = "rules",
    Snapshot = "snapshot",
    SnapshotHash = "snapshot_hash",
    RequestId = "request_id",
    DecisionSeq = "decision_seq",
    Status = "status",
    Outcome = "outcome",
    Result = "result",
    ResultBytes = "bytes",
    ResultDigest = "digest",
    ResultRedacted = "result_redacted",
    ResultCut = "result_cut",
    DurationUs = "duration_us",
    Actor = "actor",
    Previous = "previous",
    Pinned = "pinned",
    Seen = "seen",
    Version = "version",
    Durability = "durability",
    Mode = "mode",
    Reason = "reason",
    TornBytes = "torn_bytes",
    Obligations = "obligations",
    Redactions = "redactions",
    RowsDropped = "rows_dropped",
}

impl Field {
    /// Bytes of a text that are kept. Six times the sum of what one record can hold, for the worst escapes, leaves room for arguments.
    fn bytes_max(self) -> usize {
        // The ids of rules that oblige stand among the rules already, in full.
        if self == Self::Uri {
            1024
        } else if self == Self::Obligations {
            96
        } else {
            256
        }
    }
}

/// One record under way: an open object, which `chain` closes.
pub struct Line<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> Line<'b> {
    /// Begins a record at the end of `out`. `event` is one of our own words.
    pub fn open(out: &'b mut Vec<u8>, event: &'static str) -> Self {
        let start = out.len();
        out.extend_from_slice(b"{\"v\":1,\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.push(b'"');
        Self { out, start }
    }

    /// What is written, from the record's first byte.
    pub fn len(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    /// Never true: a record that was begun holds its event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much more fits before the seal.
    pub fn room(&self) -> usize {
        LINE_BYTES_MAX.saturating_sub(SEAL_BYTES).saturating_sub(self.len())
    }

    /// A text from anywhere. Longer than the field keeps: its beginning, its length and a digest of the whole.
    pub fn text(&mut self, field: Field, value: &str) {
        self.key(field);
        string(self.out, value, field.bytes_max());
    }

    /// The text, where there is one.
    pub fn text_if(&mut self, field: Field, value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    /// Bytes that should be a text; what is no UTF-8 becomes U+FFFD.
    pub fn lossy(&mut self, field: Field, value: &[u8]) {
        self.key(field);
        self.out.push(b'"');
        let mut left = field.bytes_max();
        for chunk in value.utf8_chunks() {
            let kept = prefix(chunk.valid(), left);
            escape(self.out, kept);
            left = left.saturating_sub(chunk.valid().len());
            if !chunk.invalid().is_empty() && left > 0 {
                self.out.extend_from_slice("\u{fffd}".as_bytes());
                left = left.saturating_sub(chunk.invalid().len());
            }
        }
        cut_mark(self.out, value, field.bytes_max());
        self.out.push(b'"');
    }

    /// One of our own words.
    pub fn word(&mut self, field: Field, value: &'static str) {
        self.text(field, value);
    }

    /// A whole number.
    pub fn number(&mut self, field: Field, value: u64) {
        self.key(field);
        digits(self.out, value);
    }

    /// A whole number that can be negative.
    pub fn signed(&mut self, field: Field, value: i64) {
        self.key(field);
        if value < 0 {
            self.out.push(b'-');
        }
        digits(self.out, value.unsigned_abs());
    }

    /// Bytes in lower-case hexadecimal.
    pub fn hex(&mut self, field: Field, value: &[u8]) {
        self.key(field);
        self.out.push(b'"');
        hex(self.out, value);
        self.out.push(b'"');
    }

    /// An IP address; IPv4 in IPv6 clothes is shown as IPv4.
    pub fn address(&mut self, field: Field, value: IpAddr) {
        self.key(field);
        self.out.push(b'"');
        match value.to_canonical() {
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.out.push(b'.');
                    }
                    digits(self.out, u64::from(octet));
                }
            }
            address @ IpAddr::V6(_) => display(self.out, address),
        }
        self.out.push(b'"');
    }

    /// A list of texts.
    pub fn list(&mut self, field: Field, values: &[&str]) {
        self.key(field);
        self.out.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            string(self.out, value, field.bytes_max());
        }
        self.out.push(b']');
    }

    /// A value that `write` appends as JSON. Where it fails, nothing of the field stays.
    pub(super) fn value<E>(
        &mut self,
        field: Field,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.out.len();
        self.key(field);
        let written = write(self.out);
        if written.is_err() {
            self.out.truncate(before);
        }
        written
    }

    fn key(&mut self, field: Field) {
        self.out.extend_from_slice(field.key().as_bytes());
    }
}

/// Lower-case hexadecimal.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    for chunk in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        out.extend_from_slice(digits.get(..2 * chunk.len()).unwrap_or_default());
    }
}

/// A JSON string of at most `bytes_max` bytes of `value`.
fn string(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    out.push(b'"');
    if value.len() <= bytes_max && is_plain(value.as_bytes()) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escape(out, prefix(value, bytes_max));
        cut_mark(out, value.as_bytes(), bytes_max);
    }
    out.push(b'"');
}

/// Says that a text was cut, and which text it was.
fn cut_mark(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    if value.len() <= bytes_max {
        return;
    }
    out.extend_from_slice("\u{2026} (".as_bytes());
    decimal(out, value.len());
    out.extend_from_slice(b" bytes, blake3 ");
    hex(out, blake3::hash(value).as_bytes());
    out.push(b')');
}

/// The longest beginning of `value` of at most `bytes_max` bytes that ends between characters.
fn prefix(value: &str, bytes_max: usize) -> &str {
    value.get(..value.floor_char_boundary(bytes_max)).unwrap_or(value)
}

/// Appends the inside of a JSON string (RFC 8259 §7). Beside what must be escaped: DEL, C1 controls, U+2028 and U+2029, which some readers
/// take for the end of a line or for a command to the terminal.
fn escape(out: &mut Vec<u8>, value: &str) {
    let mut rest = value;
    while let Some(plain) = rest.bytes().position(is_special) {
        let (before, after) = rest.split_at_checked(plain).unwrap_or((rest, ""));
        out.extend_from_slice(before.as_bytes());
        let mut characters = after.chars();
        if let Some(character) = characters.next() {
            escape_character(out, character);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Whether a byte of UTF-8 is, or may begin, a character that is escaped: most texts hold none, and are copied whole.
pub(super) const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xc2 | 0xe2)
}

/// Whether JSON holds nothing that a line of the log must not: no control character, and none that some reader takes for the end of a line.
pub(super) fn is_one_line(json: &[u8]) -> bool {
    !json.iter().fold(false, |special, byte| special | matches!(byte, 0..=0x1f | 0x7f | 0xc2 | 0xe2))
}

/// Whether nothing in a text is escaped. Looks at every byte, which eight at once take less time for than one after the other up to the first.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        let known = |byte: &u8| SPECIAL.get(usize::from(*byte)).copied().unwrap_or(true);
        return !text.iter().fold(false, |special, byte| special | known(byte));
    };
    // The last ones may be looked at twice.
    let (words, _) = text.as_chunks::<8>();
    words.iter().fold(special_among(last), |found, word| found | special_among(word)) == 0
}

/// Not 0 where any of eight bytes is special, as [`is_special`] says it.
fn special_among(bytes: &[u8; 8]) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const CASE: u64 = u64::from_le_bytes([0x20; 8]);
    // Not 0 where any byte of `word` is 0: only below a zero can a borrow reach a byte that is not.
    let zero = |word: u64| word.wrapping_sub(EACH) & !word & (EACH << 7);
    let word = u64::from_le_bytes(*bytes);
    let is = |byte: u8| zero(word ^ (EACH * u64::from(byte)));
    // 0xc2 and 0xe2 differ in one bit alone, and what is below 0x20 has none above it.
    let either = zero((word | CASE) ^ (EACH * 0xe2));
    zero(word & (EACH * 0xe0)) | is(b'"') | is(b'\\') | is(0x7f) | either
}

/// [`is_special`] of each byte: a text is mostly too short for many at once.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_special(byte as u8);
        byte += 1;
    }
    table
};

fn escape_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => unicode_escape(out, character),
        _ => {
            let mut utf8 = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
    }
}

/// `\u0085`, for a character of the Basic Multilingual Plane.
pub(super) fn unicode_escape(out: &mut Vec<u8>, character: char) {
    let code = u32::from(character);
    out.extend_from_slice(b"\\u");
    for byte in u16::try_from(code).unwrap_or(0xfffd).to_be_bytes() {
        hex(out, &[byte]);
    }
}

/// A whole number in decimal.
pub(super) fn decimal(out: &mut Vec<u8>, value: usize) {
    digits(out, value as u64);
}

/// Every record has some ten numbers; the formatter of the standard library takes several times as long for one.
fn digits(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut left, mut at) = (value, digits.len());
    for pair in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
        // Two at a time: a division takes longer than all else here.
        let two = (left % 100) as u8;
        *pair = PAIRS.get(usize::from(two)).copied().unwrap_or_default();
        left /= 100;
        at -= 2;
        if left == 0 {
            at += usize::from(two < 10);
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// `00` to `99`.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut two = 0;
    while two < pairs.len() {
        pairs[two] = [b'0' + (two / 10) as u8, b'0' + (two % 10) as u8];
        two += 1;
    }
    pairs
};

/// Addresses print without allocation; a `Vec` takes whatever is written.
fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    struct Bytes<'b>(&'b mut Vec<u8>);
    impl std::fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Writing to memory cannot fail.
    let _infallible = write!(Bytes(out), "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Line::open(&mut out, "test"));
        out.push(b'}');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_byte_that_is_escaped_is_seen_wherever_it_stands() {
        for length in 1..20 {
            for at in 0..length {
                for (byte, around) in (0..=u8::MAX).flat_map(|byte| [(byte, b'a'), (byte, 0x80), (byte, 0xff)]) {
                    let mut text = vec![around; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), !is_special(byte), "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_text_can_forge_neither_a_line_nor_a_field() {
        let rows = [
            ("a\nb", r"a\nb"),
            ("a\r\nb\t", r"a\r\nb\t"),
            (r#"x","decision":"allow"#, r#"x\",\"decision\":\"allow"#),
            (r"x\", r"x\\"),
            ("\0\x1b[2J\x7f", r"\u0000\u001b[2J\u007f"),
            ("\u{85}\u{9b}31m", r"\u0085\u009b31m"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            ("é😀", "é😀"),
        ];
        for (text, inside) in rows {
            let got = line(|line| line.text(Field::Agent, text));
            assert_eq!(got, format!(r#"{{"v":1,"event":"test","agent":"{inside}"}}"#));
            let read: serde_json::Value = serde_json::from_str(&got).unwrap();
            assert_eq!(read["agent"], text);
            assert_eq!(read.as_object().unwrap().len(), 3);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let got = line(|line| line.lossy(Field::Cause, b"a\xff\"\xc3(\n"));
        assert_eq!(got, "{\"v\":1,\"event\":\"test\",\"cause\":\"a\u{fffd}\\\"\u{fffd}(\\n\"}");
    }

    #[test]
    fn a_text_that_is_too_long_keeps_its_beginning_and_its_digest() {
        let long = "é".repeat(200);
        let digest = blake3::hash(long.as_bytes()).to_hex();
        let got = line(|line| line.text(Field::Agent, &long));
        assert_eq!(
            got,
            format!(
                "{{\"v\":1,\"event\":\"test\",\"agent\":\"{}\u{2026} (400 bytes, blake3 {digest})\"}}",
                "é".repeat(128)
            )
        );
        let bytes = line(|line| line.lossy(Field::Agent, long.as_bytes()));
        assert_eq!(got, bytes);
    }

    #[test]
    fn every_kind_of_value_is_json() {
        let got = line(|line| {
            line.number(Field::Seq, u64::MAX);
            line.signed(Field::Ts, i64::MIN);
            line.number(Field::Status, 0);
            line.hex(Field::Session, &[0, 0xab, 0xff]);
            line.address(Field::Source, "::ffff:10.0.0.1".parse().unwrap());
            line.list(Field::Rules, &["a\"", "b"]);
            line.text_if(Field::User, None);
        });
        assert_eq!(
            got,
            r#"{"v":1,"event":"test","seq":18446744073709551615,"ts":-9223372036854775808,"status":0,"session":"00abff","source":"10.0.0.1","rules":["a\"","b"]}"#
        );
    }
}
