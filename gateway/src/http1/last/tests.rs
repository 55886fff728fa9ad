//! What is read after another head is what it would be alone.

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::http1::field::FieldLine;
use crate::http1::request::RequestHead;
use crate::http1::response::ResponseHead;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, fields_max: 64, body_bytes_max: 1000 };

/// All that a head says.
trait Told: Head {
    fn told(&self) -> (usize, String, Vec<Range<usize>>, Vec<FieldLine>);
}

impl Told for RequestHead {
    fn told(&self) -> (usize, String, Vec<Range<usize>>, Vec<FieldLine>) {
        let words = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            self.method, self.version, self.framing, self.persistence, self.expectation
        );
        let places = [Some(self.method_text.clone()), Some(self.target.clone()), self.host.clone()];
        (self.length, words, places.into_iter().flatten().collect(), self.fields.iter().collect())
    }
}

impl Told for ResponseHead {
    fn told(&self) -> (usize, String, Vec<Range<usize>>, Vec<FieldLine>) {
        let words =
            format!("{} {:?} {:?} {:?} {:?}", self.status, self.version, self.framing, self.persistence, self.content);
        (self.length, words, Vec::new(), self.fields.iter().collect())
    }
}

/// Whether the last of `heads`, read one after the other, was read from what the one before left.
fn check<H: Told>(heads: &[&[u8]]) -> bool {
    let (mut last, mut follows) = (Last::<H>::default(), false);
    for head in heads {
        let alone = H::parse(head, &LIMITS).map(|head| head.map(|head| head.told()));
        follows = !last.text.is_empty()
            && (head.starts_with(&last.text)
                || last.head.as_mut().is_some_and(|known| {
                    let text = last.text.clone();
                    known.parts().1.clone().follow(&text, head).is_some()
                }));
        let read = last.read(head, &LIMITS).map(|head| head.map(Told::told));
        assert_eq!(
            read,
            alone,
            "given {:?}",
            heads.iter().map(|head| String::from_utf8_lossy(head)).collect::<Vec<_>>()
        );
    }
    follows
}

const REQUEST: &str = "POST /mcp HTTP/1.1\r\nHost: edge:8443\r\nContent-Length: 12\r\nMcp-Name: read\r\nX-Id: 7\r\nConnection: keep-alive\r\n\r\n";

fn after_another(other: &str) -> bool {
    check::<RequestHead>(&[REQUEST.as_bytes(), REQUEST.as_bytes(), other.as_bytes()])
}

#[test]
fn what_decides_is_read_anew() {
    for (what, with) in [
        ("edge:8443", "edge:844"),
        ("POST", "GET"),
        ("/mcp ", "/mcp2 "),
        ("HTTP/1.1", "HTTP/1.0"),
        ("keep-alive", "close"),
        ("keep-alive", "x-id"),
        ("Content-Length: 12\r\n", ""),
        ("Content-Length: 12\r\n", "Content-Length: 12\r\nContent-Length: 12\r\n"),
        ("Content-Length: 12", "Content-Length: "),
        ("Content-Length: 12", "Content-Length:  12"),
        ("Content-Length: 12", "Content-Length: 12 "),
        ("Content-Length: 12", "Content-Length: 12\0"),
        ("Content-Length: 12\r\n", "Content-Length: 12\n"),
        ("Content-Length: 12\r\n", "Content-Length: 12\rX"),
        ("Content-Length", "Transfer-Encoding"),
        ("Mcp-Name: read\r\n", "Mcp-Name: read\r\n more\r\n"),
        ("X-Id: 7", "X-Id : 7"),
        ("X-Id", "X-Ie"),
        ("\r\n\r\n", "\r\nA: b\r\n\r\n"),
        ("\r\n\r\n", "\r\n"),
    ] {
        let other = REQUEST.replace(what, with);
        assert_ne!(other, REQUEST);
        assert!(!after_another(&other), "{other:?}");
    }
}

#[test]
fn values_that_change_from_message_to_message_are_taken_from_the_message() {
    for (what, with) in [
        ("", ""),
        ("Content-Length: 12", "Content-Length: 100"),
        ("Content-Length: 12", "Content-Length: 1"),
        // Read from what the last head left, and refused as it is alone.
        ("Content-Length: 12", "Content-Length: 1001"),
        ("Content-Length: 12", "Content-Length: +1"),
        ("Content-Length: 12", "Content-Length: 12, 12"),
        ("Content-Length: 12", "Content-Length: 99999999999999999999"),
        ("Mcp-Name: read", "Mcp-Name: a longer \u{e9} name"),
        ("X-Id: 7", "X-Id: \tno"),
    ] {
        let other = REQUEST.replacen(what, with, 1);
        assert_eq!(after_another(&other), !with.contains('\t'), "{other:?}");
    }
    let reply = |length: &str, date: &str| {
        format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
    };
    let (one, other) = (reply("9", "Sun, 06 Nov 1994 08:49:37 GMT"), reply("10", "Sun, 06 Nov 1994 08:49:38 GMT"));
    assert!(check::<ResponseHead>(&[one.as_bytes(), one.as_bytes(), other.as_bytes(), one.as_bytes()]));
    assert!(!check::<ResponseHead>(&[one.as_bytes(), other.as_bytes()]), "a first head is not kept");
}

#[test]
fn other_limits_are_asked_anew() {
    let mut last = Last::<RequestHead>::default();
    for _ in 0..2 {
        assert!(last.read(REQUEST.as_bytes(), &LIMITS).unwrap().is_some());
    }
    let narrow = HeadLimits { body_bytes_max: 11, ..LIMITS };
    assert_eq!(last.read(REQUEST.as_bytes(), &narrow).err(), Some(FramingError::BodyTooLarge));
    for narrow in [HeadLimits { fields_max: 2, ..LIMITS }, HeadLimits { bytes_max: 30, ..LIMITS }] {
        let mut last = Last::<RequestHead>::default();
        for _ in 0..2 {
            assert!(last.read(REQUEST.as_bytes(), &LIMITS).unwrap().is_some());
        }
        assert!(last.read(REQUEST.as_bytes(), &narrow).is_err());
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}",
        "[ -~\t]{0,12}",
        Just("12".to_owned()),
        Just("a\r\nContent-Length: 3".to_owned()),
        Just("a\n".to_owned()),
        Just("a\u{e9}".to_owned()),
        Just("close".to_owned()),
        Just("chunked".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "Content-Length",
        "Mcp-Name",
        "Date",
        "X-Id",
        "Connection",
        "Host",
        "Transfer-Encoding",
        "Expect",
        "traceparent",
        "Content-Encoding",
        "Content-Type",
    ])
}

proptest! {
    /// Whatever comes after whatever.
    #[test]
    fn a_head_is_read_after_others_as_it_is_alone(
        names in proptest::collection::vec(name(), 0..5),
        values in proptest::collection::vec(proptest::collection::vec(value(), 5), 2..6),
    ) {
        let heads: Vec<String> = values.iter().map(|values| {
            let lines: String = names.iter().zip(values).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            format!("POST /mcp HTTP/1.1\r\nHost: edge\r\n{lines}\r\n")
        }).collect();
        let bytes: Vec<&[u8]> = heads.iter().map(|head| head.as_bytes()).collect();
        check::<RequestHead>(&bytes);
        let twice: Vec<&[u8]> = bytes.iter().flat_map(|head| [*head, *head]).collect();
        check::<RequestHead>(&twice);
        let replies: Vec<String> = heads.iter().map(|head| head.replace("POST /mcp HTTP/1.1", "HTTP/1.1 200 OK")).collect();
        let replies: Vec<&[u8]> = replies.iter().flat_map(|head| [head.as_bytes(), head.as_bytes()]).collect();
        check::<ResponseHead>(&replies);
    }

    /// A byte that is another, one that is left out or put in.
    #[test]
    fn no_change_of_a_byte_is_overlooked(at in 0..REQUEST.len(), byte in any::<u8>(), how in 0..3) {
        let mut other = REQUEST.as_bytes().to_vec();
        match how {
            0 => other[at] = byte,
            1 => drop(other.remove(at)),
            _ => other.insert(at, byte),
        }
        check::<RequestHead>(&[REQUEST.as_bytes(), REQUEST.as_bytes(), &other]);
    }
}
