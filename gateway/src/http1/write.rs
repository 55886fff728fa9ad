//! Writes heads. In: a start line and fields. Out: their bytes at the end of a buffer, or nothing. Never here: what to
//! say, clocks.

use portcullis_core::time::UnixMillis;

use super::head::is_token;

/// Writes one head. What cannot stand in a head (a line break in a value is another field, or another message) spoils
/// the whole of it: nothing is written then, and [`HeadWriter::finish`] says so.
#[must_use = "a head ends with `finish`"]
pub struct HeadWriter<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    sound: bool,
}

/// A name, value or target that cannot stand in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafeField;

impl std::fmt::Display for UnsafeField {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a field of the head holds a byte that cannot stand there")
    }
}

impl std::error::Error for UnsafeField {}

impl<'b> HeadWriter<'b> {
    /// Begins a response of HTTP/1.1.
    pub fn response(out: &'b mut Vec<u8>, status: u16) -> Self {
        let start = out.len();
        out.extend_from_slice(b"HTTP/1.1 ");
        write_number(out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out, start, sound: (100..600).contains(&status) }
    }

    /// Begins a request of HTTP/1.1; `target` is in origin-form.
    pub fn request(out: &'b mut Vec<u8>, method: &[u8], target: &[u8]) -> Self {
        let start = out.len();
        let sound = is_token(method) && target.starts_with(b"/") && target.iter().all(u8::is_ascii_graphic);
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        Self { out, start, sound }
    }

    /// A field.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        self.parts(name, &[value])
    }

    /// A field whose value is put together from parts.
    pub fn parts(&mut self, name: &[u8], values: &[&[u8]]) -> &mut Self {
        let bad = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        self.sound &= is_token(name) && !values.iter().any(|value| value.iter().any(bad));
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        for value in values {
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// A field whose value is a number.
    pub fn number(&mut self, name: &[u8], value: u64) -> &mut Self {
        self.sound &= is_token(name);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        write_number(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Whole lines, each with its line end, or pieces of them, that were made of checked parts.
    pub fn lines(&mut self, lines: &[u8]) -> &mut Self {
        self.out.extend_from_slice(lines);
        self
    }

    /// Ends the head, or takes it back.
    pub fn finish(self) -> Result<(), UnsafeField> {
        if !self.sound {
            self.out.truncate(self.start);
            return Err(UnsafeField);
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// What a client that waits with its body is told to go on with.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The time as RFC 9110 §5.6.7 writes it, `Sun, 06 Nov 1994 08:49:37 GMT`; a caller keeps it for the second.
pub fn date(now: UnixMillis) -> [u8; 29] {
    let seconds = now.0.div_euclid(1000).clamp(0, SECONDS_MAX);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    put(&mut out, 0, name(DAYS, days % 7));
    put(&mut out, 5, &two(day));
    put(&mut out, 8, name(MONTHS, month - 1));
    put(&mut out, 12, &two(year / 100));
    put(&mut out, 14, &two(year % 100));
    put(&mut out, 17, &two(second / 3600));
    put(&mut out, 20, &two(second / 60 % 60));
    put(&mut out, 23, &two(second % 60));
    out
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    // 20 digits hold 2⁶⁴.
    let mut digits = [0; 20];
    let mut rest = number;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
}

/// The phrase of RFC 9110 §15; it has no meaning, but people read it.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Year, month and day of a day counted from 1970, by the proleptic Gregorian calendar. Years begin in March here, so
/// that the day a leap year adds is its last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + DAYS_0000_03_01_TO_1970;
    let era = shifted / DAYS_IN_400_YEARS;
    let of_era = shifted % DAYS_IN_400_YEARS;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * era + year_of_era + i64::from(month <= 2), month, day)
}

fn two(number: i64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

fn name(names: &'static [u8], index: i64) -> &'static [u8] {
    let start = usize::try_from(index).unwrap_or(0) * 3;
    names.get(start..start + 3).unwrap_or_default()
}

fn put(out: &mut [u8], at: usize, text: &[u8]) {
    for (place, byte) in out.iter_mut().skip(at).zip(text) {
        *place = *byte;
    }
}

/// The epoch was a Thursday.
const DAYS: &[u8] = b"ThuFriSatSunMonTueWed";
const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const DAYS_0000_03_01_TO_1970: i64 = 719_468;
const DAYS_IN_400_YEARS: i64 = 146_097;
/// The last second that four digits of a year can tell.
const SECONDS_MAX: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_would_be_two_is_taken_back() {
        let rows: [(&[u8], &[u8]); 6] = [
            (b"x", b"a\r\nset-cookie: b"),
            (b"x", b"a\nb"),
            (b"x", b"a\0b"),
            (b"x y", b"a"),
            (b"", b"a"),
            (b"x:", b"a"),
        ];
        for (name, value) in rows {
            let mut out = b"before".to_vec();
            let mut head = HeadWriter::response(&mut out, 200);
            head.field(b"date", b"now").field(name, value);
            assert_eq!(head.finish(), Err(UnsafeField), "{name:?} {value:?}");
            assert_eq!(out, b"before");
        }
        for (method, target) in
            [(&b"GET"[..], &b"/a b"[..]), (b"GET", b""), (b"GET", b"a"), (b"G T", b"/"), (b"GET", b"/\r\nx")]
        {
            let mut out = Vec::new();
            assert_eq!(HeadWriter::request(&mut out, method, target).finish(), Err(UnsafeField));
            assert!(out.is_empty());
        }
        assert_eq!(HeadWriter::response(&mut Vec::new(), 99).finish(), Err(UnsafeField));
    }

    #[test]
    fn heads_are_written_after_what_is_there() {
        let mut out = b"body".to_vec();
        let mut head = HeadWriter::response(&mut out, 503);
        head.number(b"retry-after", 0).parts(b"via", &[b"1.1 ", b"portcullis"]).number(b"x", u64::MAX);
        head.finish().unwrap();
        let expected = "bodyHTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\nvia: 1.1 portcullis\r\nx: 18446744073709551615\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        let mut head = HeadWriter::request(&mut out, b"POST", b"/mcp?a=b");
        head.field(b"host", b"crm:9000").number(b"content-length", 10);
        head.finish().unwrap();
        assert_eq!(out, b"POST /mcp?a=b HTTP/1.1\r\nhost: crm:9000\r\ncontent-length: 10\r\n\r\n");
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8(date(UnixMillis(seconds * 1000)).to_vec()).unwrap(), text);
        }
        for seconds in (0..4_000_000_000_i64).step_by(12_345_677) {
            let expected = jiff::Timestamp::from_second(seconds).unwrap();
            let expected = expected.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            assert_eq!(String::from_utf8(date(UnixMillis(seconds * 1000)).to_vec()).unwrap(), expected);
        }
    }
}
