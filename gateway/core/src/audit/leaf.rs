//! Spells a record for a third party. In: its fields. Out: canonical JSON (RFC 8785), one entry of the log; the same with its values, for people.
//! Never here: values in an entry of the log.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use super::capture;
use super::field::{Field, Fields, Kind, digits, hex};

/// An entry of the log: C2SP tlog-tiles gives it a length of 16 bits.
pub const LEAF_BYTES_MAX: usize = 65_535;

/// Numbers beyond are not exact in every reader (RFC 8785 appendix D); nothing that is counted here comes near.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// The version of what an entry says.
const VERSION: &[u8] = &2_u64.to_le_bytes();

/// What names a record beside what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Place<'r> {
    /// The start of the gateway that made it.
    pub boot: &'r str,
    /// The shard it was made in.
    pub shard: u16,
    /// The RFC 6962 leaf hash of the shard's record before; none for its first.
    pub prev: Option<&'r [u8; 32]>,
}

/// Commitments to the values of a record, where it has any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    /// To the arguments.
    pub arguments: Option<[u8; 32]>,
    /// To the result.
    pub result: Option<[u8; 32]>,
}

/// Appends the entry of a record.
pub fn write(out: &mut Vec<u8>, fields: &Fields<'_>, place: &Place<'_>, commits: &Commits) {
    let (shard, seq, at) = (u64::from(place.shard).to_le_bytes(), fields.seq.to_le_bytes(), fields.at.0.to_le_bytes());
    let mut all = *fields;
    all.set(Field::V, VERSION);
    all.set(Field::Event, fields.event.as_str().as_bytes());
    all.set(Field::Boot, place.boot.as_bytes());
    all.set(Field::Shard, &shard);
    all.set(Field::Seq, &seq);
    all.set(Field::Ts, &at);
    let commits = [
        (Field::Prev, place.prev),
        (Field::ArgumentsCommit, commits.arguments.as_ref()),
        (Field::ResultCommit, commits.result.as_ref()),
    ];
    for (field, hash) in commits {
        if let Some(hash) = hash {
            all.set(field, hash);
        }
    }
    let mut before = b'{';
    for field in Field::ALL {
        let Some(bytes) = all.bytes(*field).filter(|_| field.kind() != Kind::Value) else { continue };
        out.push(before);
        out.extend_from_slice(field.key().as_bytes());
        member(out, field.kind(), bytes);
        before = b',';
    }
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, kind: Kind, bytes: &[u8]) {
    match kind {
        Kind::Text => string(out, &String::from_utf8_lossy(bytes)),
        Kind::Number => digits(out, eight(bytes).min(EXACT_MAX)),
        Kind::Signed => {
            let number = eight(bytes).cast_signed();
            if number < 0 {
                out.push(b'-');
            }
            digits(out, number.unsigned_abs().min(EXACT_MAX));
        }
        Kind::Bytes => {
            out.push(b'"');
            hex(out, bytes);
            out.push(b'"');
        }
        Kind::Address => address(out, bytes),
        Kind::List => list(out, bytes),
        Kind::Id => id(out, bytes),
        Kind::Value => {}
    }
}

fn eight(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn address(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok([first, rest @ ..]), _) => {
            digits(out, first.into());
            for octet in rest {
                out.push(b'.');
                digits(out, octet.into());
            }
        }
        (_, Ok(octets)) => display(out, Ipv6Addr::from(octets)),
        (Err(_), Err(_)) => {}
    }
    out.push(b'"');
}

fn list(out: &mut Vec<u8>, bytes: &[u8]) {
    let (mut rest, mut before) = (bytes, b'[');
    if rest.is_empty() {
        out.push(before);
    }
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length))).unwrap_or((after, &[]));
        out.push(before);
        string(out, &String::from_utf8_lossy(text));
        (rest, before) = (after, b',');
    }
    out.push(b']');
}

/// A JSON-RPC id: a text, or a whole number that every reader takes for the same; anything else stands as the text that it was.
fn id(out: &mut Vec<u8>, raw: &[u8]) {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    let number = text.parse::<i64>().ok().filter(|number| number.unsigned_abs() <= EXACT_MAX);
    if number.is_some_and(|number| number.to_string() == text) {
        out.extend_from_slice(raw);
    } else if let Ok(unescaped) = serde_json::from_str::<String>(text) {
        string(out, &unescaped);
    } else {
        string(out, &String::from_utf8_lossy(raw));
    }
}

/// A string as RFC 8785 §3.2.2.2 has it.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // All bytes are looked at whatever the first ones are, which is many at a time; most texts have nothing to escape.
    let escapes = |byte: &u8| (*byte <= 0x1f) | (*byte == b'"') | (*byte == b'\\');
    if !rest.iter().fold(false, |any, byte| any | escapes(byte)) {
        out.extend_from_slice(rest);
        out.push(b'"');
        return;
    }
    while let Some(plain) = rest.iter().position(escapes) {
        let (before, after) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        let Some((byte, after)) = after.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => {
                out.extend_from_slice(b"\\u00");
                hex(out, &[*byte]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Values of a record, where they are still there: JSON texts, or the digest that is kept in their stead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// `params.arguments`.
    pub arguments: Option<Value>,
    /// The result, or the error in its stead.
    pub result: Option<Value>,
}

/// What is kept of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The JSON itself.
    Json(Vec<u8>),
    /// The BLAKE3 digest of it.
    Digest([u8; 32]),
}

/// What a record says together with its values, as one line of JSON that nothing in it can end or make a terminal obey: `leaf` with the members
/// `arguments` or `arguments_digest`, `result` or `result_digest`.
pub fn shown(leaf: &[u8], values: &Values) -> String {
    let mut out = Vec::with_capacity(leaf.len() + 256);
    if capture::copy_line(leaf, &mut out).is_err() {
        return String::from_utf8_lossy(leaf).into_owned();
    }
    let named = [(&values.arguments, ["arguments", "arguments_digest"]), (&values.result, ["result", "result_digest"])];
    for (value, [whole, digest]) in named {
        let Some(value) = value else { continue };
        if out.last() == Some(&b'}') {
            out.pop();
        }
        let name = match value {
            Value::Json(_) => whole,
            Value::Digest(_) => digest,
        };
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Json(raw) => {
                let start = out.len();
                if capture::copy_line(raw, &mut out).is_err() {
                    out.truncate(start);
                    out.extend_from_slice(b"null");
                }
            }
            Value::Digest(digest) => {
                out.push(b'"');
                hex(&mut out, digest);
                out.push(b'"');
            }
        }
        out.push(b'}');
    }
    String::from_utf8(out).unwrap_or_default()
}

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
    use crate::audit::field::{Event, Writer};
    use crate::time::UnixMillis;

    const PLACE: Place<'static> = Place { boot: "b", shard: 3, prev: None };

    fn leaf(write_fields: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer::open(&mut bytes, Event::Refusal, 7, UnixMillis(-5));
        write_fields(&mut writer);
        writer.close();
        let (fields, _) = Fields::split(&bytes).unwrap();
        let mut out = Vec::new();
        write(&mut out, &fields, &PLACE, &Commits::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_entry_is_canonical_json() {
        let texts = ["a\nb\u{8}\u{c}\r\t", r#"x","decision":"allow"#, r"x\", "\0\x1b[2J\x7f", "\u{85}\u{2028}", "é😀"];
        for text in texts {
            let got = leaf(|writer| {
                writer.text(Field::Agent, text);
                writer.list(Field::Rules, &[text, "b"]);
                writer.list(Field::Obligations, &[]);
                writer.bytes(Field::Session, &[0, 0xab, 0xff]);
                writer.address(Field::Source, "2001:db8::1".parse().unwrap());
                writer.bytes(Field::RequestId, br#""\u0061""#);
                writer.bytes(Field::Result, b"never here");
            });
            let read: serde_json::Value = serde_json::from_str(&got).unwrap();
            assert_eq!(got, serde_json_canonicalizer::to_string(&read).unwrap());
            let expected = serde_json::json!({"agent": text, "boot": "b", "event": "refusal", "obligations": [], "request_id": "a",
                "rules": [text, "b"], "seq": 7, "session": "00abff", "shard": 3, "source": "2001:db8::1", "ts": -5, "v": 2});
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn an_id_is_the_same_for_every_reader() {
        let rows: [(&[u8], &str); 9] = [
            (b"7", "7"),
            (b"-9007199254740991", "-9007199254740991"),
            (b"9007199254740992", "\"9007199254740992\""),
            (b"-0", "\"-0\""),
            (b"1.0", "\"1.0\""),
            (br#""\u0061""#, "\"a\""),
            (br#"1,"decision":"allow""#, r#""1,\"decision\":\"allow\"""#),
            (b"null", "\"null\""),
            (b"\"\xff\"", "\"\\\"\u{fffd}\\\"\""),
        ];
        for (raw, expected) in rows {
            let mut out = Vec::new();
            id(&mut out, raw);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn what_people_see_is_one_line_that_nothing_steers() {
        let leaf = leaf(|writer| writer.text(Field::Agent, "\u{85}\u{2028}"));
        let values = Values {
            arguments: Some(Value::Json("{\"a\":\n\"\u{9b}\"}".into())),
            result: Some(Value::Digest([7; 32])),
        };
        let digest = "07".repeat(32);
        assert_eq!(
            shown(leaf.as_bytes(), &values),
            format!(
                r#"{{"agent":"\u0085\u2028","boot":"b","event":"refusal","seq":7,"shard":3,"ts":-5,"v":2,"arguments":{{"a":"\u009b"}},"result_digest":"{digest}"}}"#
            )
        );
        let broken = Values { arguments: Some(Value::Json(b"{".to_vec())), result: None };
        assert!(shown(leaf.as_bytes(), &broken).ends_with(r#""v":2,"arguments":null}"#));
    }
}
