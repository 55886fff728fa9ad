//! Rows of what is written down and read back.

use super::*;
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = vec![9];
    let mut writer = Writer::open(&mut out, Event::Refusal, 7, UnixMillis(-1));
    write(&mut writer);
    writer.close();
    out.split_off(1)
}

#[test]
fn fields_stand_in_the_order_of_their_names() {
    assert!(Field::ALL.is_sorted_by(|a, b| a.name() < b.name()));
    for (number, field) in (0..).zip(Field::ALL) {
        assert_eq!(Field::of(number), Some(*field));
    }
    for event in Event::ALL {
        assert_eq!(Event::of(event as u8), Some(event));
    }
    assert_eq!((Event::of(0), Event::of(22)), (None, None));
}

#[test]
fn what_was_written_is_read_back() {
    let long = "é".repeat(200);
    let bytes = written(|writer| {
        writer.text(Field::Agent, "recon-17");
        writer.text(Field::Server, &long);
        writer.lossy(Field::Cause, b"a\xff(");
        writer.number(Field::Status, u64::MAX);
        writer.address(Field::Source, "::ffff:10.0.0.1".parse().unwrap());
        writer.list(Field::Rules, &["a", "", &long]);
        assert_eq!(
            writer.value(Field::Result, |out| {
                out.push(b'[');
                Err("cut")
            }),
            Err("cut")
        );
        writer.text_if(Field::User, None);
    });
    let twice = [bytes.clone(), bytes.clone()].concat();
    let (fields, after) = Fields::split(&twice).unwrap();
    assert_eq!((fields.event, fields.seq, fields.at, after), (Event::Refusal, 7, UnixMillis(-1), &*bytes));
    let digest = blake3::hash(long.as_bytes()).to_hex();
    let kept = format!("{}\u{2026} (400 bytes, blake3 {digest})", "é".repeat(128));
    assert_eq!(fields.text(Field::Agent), Some("recon-17"));
    assert_eq!(fields.text(Field::Server), Some(&*kept));
    assert_eq!(fields.text(Field::Cause), Some("a\u{fffd}("));
    assert_eq!(fields.number(Field::Status), Some(u64::MAX));
    assert_eq!(fields.bytes(Field::Source), Some(&[10, 0, 0, 1][..]));
    let list = [&b"\x01\0a\0\0"[..], &u16::try_from(kept.len()).unwrap().to_le_bytes(), kept.as_bytes()].concat();
    assert_eq!(fields.bytes(Field::Rules), Some(&*list));
    assert_eq!((fields.bytes(Field::Result), fields.bytes(Field::User)), (None, None));
}

proptest! {
    #[test]
    fn whatever_the_bytes_nothing_panics(bytes: Vec<u8>, at: usize, byte: u8) {
        let _ = Fields::split(&bytes);
        let mut record = written(|writer| { writer.text(Field::Agent, "a"); writer.list(Field::Rules, &["b"]); });
        let at = at % record.len();
        record[at] = byte;
        let _ = Fields::split(&record);
        let _ = Fields::split(&record[..at]);
    }
}
