//! What a chunked body may be, row by row: refusals first.

use super::*;
use crate::http1::error::FramingError as E;
use proptest::prelude::*;

const MAX: u64 = 1000;

/// The data, and how many bytes of the input the body took, if it ended.
type Verdict = Result<(Vec<u8>, Option<usize>), E>;

/// Decodes the input as it arrives in pieces that end at `cuts`.
fn decode(input: &[u8], cuts: &[usize]) -> Verdict {
    let mut decoder = Decoder::new(MAX);
    let (mut data, mut read) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([input.len()]) {
        while read < end {
            let step = decoder.decode(&input[read..end])?;
            assert!(step.data.end <= step.consumed && step.consumed <= end - read);
            data.extend_from_slice(&input[read..end][step.data]);
            read += step.consumed;
            if step.finished {
                return Ok((data, Some(read)));
            }
        }
    }
    Ok((data, None))
}

fn decode_in_place(input: &[u8], cut: usize) -> Verdict {
    let mut decoder = Decoder::new(MAX);
    let mut buffer = b"head".to_vec();
    let mut decoded = buffer.len();
    for part in [&input[..cut], &input[cut..]] {
        buffer.extend_from_slice(part);
        if decoder.decode_in_place(&mut buffer, &mut decoded)? {
            // What was not looked at in the second part is the next message.
            let unseen = if part.len() == cut && std::ptr::eq(part, &input[..cut]) { input.len() - cut } else { 0 };
            let rest = buffer.len() - decoded + unseen;
            return Ok((buffer[4..decoded].to_vec(), Some(input.len() - rest)));
        }
        assert_eq!(decoded, buffer.len());
    }
    Ok((buffer[4..].to_vec(), None))
}

/// The verdict, the same wherever the input is cut in two, cut into single bytes, and in place.
fn check(input: &[u8], expected: &Verdict) {
    let shown = String::from_utf8_lossy(&input[..input.len().min(200)]).into_owned();
    assert_eq!(&decode(input, &[]), expected, "{shown:?}");
    let every: Vec<usize> = (0..input.len()).collect();
    assert_eq!(&decode(input, &every), expected, "byte by byte: {shown:?}");
    for cut in 0..input.len().min(300) {
        assert_eq!(&decode(input, &[cut]), expected, "cut at {cut}: {shown:?}");
        assert_eq!(&decode_in_place(input, cut), expected, "in place, cut at {cut}: {shown:?}");
    }
}

fn refused(input: &[u8], error: E) {
    check(input, &Err(error));
}

fn accepted(input: &[u8], data: &[u8]) {
    check(input, &Ok((data.to_vec(), Some(input.len()))));
    let mut followed = input.to_vec();
    followed.extend_from_slice(b"GET / HTTP/1.1\r\n");
    check(&followed, &Ok((data.to_vec(), Some(input.len()))));
}

#[test]
fn a_size_that_two_readers_could_read_in_two_ways_is_refused() {
    for input in [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "1_0\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "\t5\r\n",
        "5\t\r\n",
        "5 ;a=b\r\n",
        "g\r\n",
        "5h\r\n",
        "\r\n",
        ";a\r\n",
        "5,5\r\n",
        "00000000000000005\r\n",
        "00000000000000000\r\n",
        "\u{665}\r\n",
    ] {
        refused(input.as_bytes(), E::ChunkSizeInvalid);
    }
    refused(b"5\0\r\n", E::ChunkSizeInvalid);
    refused(b"5\nhello\r\n0\r\n\r\n", E::BareLineFeed);
    refused(b"0\n\r\n", E::BareLineFeed);
    refused(b"5\rhello\r\n", E::BareCarriageReturn);
}

#[test]
fn data_that_spills_over_its_chunk_is_refused() {
    for input in ["5\r\nhello!\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\rx0\r\n\r\n"]
    {
        refused(input.as_bytes(), E::ChunkEndMissing);
    }
}

#[test]
fn an_extension_outside_the_grammar_or_the_bound_is_refused() {
    for extension in [
        "; a",
        ";a ",
        ";",
        ";;a",
        ";a=",
        ";a= b",
        ";a =b",
        ";=b",
        ";a=\"b\"c",
        ";a=b=c",
        ";a=\"\u{1}\"",
        ";a=(b)",
        ";\u{e4}",
    ] {
        refused(format!("5{extension}\r\nhello\r\n0\r\n\r\n").as_bytes(), E::ChunkExtensionInvalid);
    }
    refused(b"5;a=\"\r\n\"\r\nhello\r\n", E::ChunkExtensionInvalid);
    refused(b"5;a\nhello\r\n", E::BareLineFeed);
    refused(b"5;a=\"\n\"\r\n", E::BareLineFeed);
    refused(b"5;a\rb\r\nhello\r\n", E::BareCarriageReturn);
    refused(format!("5;{}\r\nhello\r\n", "a".repeat(64 * 1024)).as_bytes(), E::ChunkExtensionTooLong);
    refused(format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(5).as_bytes(), E::ChunkExtensionTooLong);
}

#[test]
fn a_body_beyond_its_bound_is_refused_before_its_data() {
    refused(b"3e9\r\n", E::BodyTooLarge);
    refused(b"ffffffffffffffff\r\n", E::BodyTooLarge);
    let thousand = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    refused(format!("{thousand}1\r\n").as_bytes(), E::BodyTooLarge);
    accepted(format!("{thousand}0\r\n\r\n").as_bytes(), &[b'x'; 1000]);
}

#[test]
fn trailers_outside_the_grammar_or_the_bound_are_refused() {
    for (trailer, error) in [
        ("x\r\n", E::ColonMissing),
        (" x: y\r\n", E::FoldedField),
        ("x: y\r\n z\r\n", E::FoldedField),
        ("x : y\r\n", E::SpaceInName),
        (": y\r\n", E::NameEmpty),
        ("(: y\r\n", E::NameInvalid),
        ("x: \u{1}\r\n", E::ControlInValue),
        ("x: \0\r\n", E::Nul),
        ("x: y\n", E::BareLineFeed),
        ("\n", E::BareLineFeed),
        ("x: y\rz\r\n", E::BareCarriageReturn),
        ("\rx", E::BareCarriageReturn),
    ] {
        refused(format!("0\r\n{trailer}\r\n").as_bytes(), error);
    }
    refused(format!("0\r\nx: {}\r\n\r\n", "y".repeat(5000)).as_bytes(), E::TrailersTooLarge);
    refused(format!("0\r\n{}\r\n", "x: y\r\n".repeat(1000)).as_bytes(), E::TrailersTooLarge);
}

#[test]
fn bodies_are_read_as_they_are_meant() {
    for (input, data) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij"),
        ("2\r\n\r\n\r\n0\r\nx-a: b\r\ny:\r\n\r\n", "\r\n"),
    ] {
        accepted(input.as_bytes(), data.as_bytes());
    }
    accepted(b"5;a;b=c;d=\"e;\\\" \\\\f\xff\"\r\nhello\r\n0;z=1\r\nx: \xff\t \r\n\r\n", b"hello");
    check(b"5\r\nhel", &Ok((b"hel".to_vec(), None)));
    check(b"0\r\n", &Ok((Vec::new(), None)));
}

#[test]
fn what_is_written_is_read() {
    let mut out = Vec::new();
    for length in [1, 9, 10, 15, 16, 17, 255, 256, 300] {
        write_chunk(&mut out, &vec![b'd'; length]);
        write_chunk(&mut out, b"");
    }
    write_last_chunk(&mut out);
    assert_eq!(decode(&out, &[]).unwrap(), (vec![b'd'; 879], Some(out.len())));
    let mut out = Vec::new();
    for length in [1, 0x10, 0xabc, usize::MAX] {
        write_chunk_size(&mut out, length);
    }
    assert_eq!(out, b"1\r\n10\r\nabc\r\nffffffffffffffff\r\n");
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_one_verdict(
        input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'2'), Just(b';'), Just(b'='), Just(b'"'), Just(b'a'), any::<u8>()], 0..60),
        cuts in proptest::collection::vec(0..60_usize, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decode(&input, &cuts), decode(&input, &[]));
    }

    #[test]
    fn any_data_comes_back(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20), cut in 0..900_usize) {
        let mut out = Vec::new();
        for part in &parts {
            write_chunk(&mut out, part);
        }
        write_last_chunk(&mut out);
        let end = out.len();
        prop_assert_eq!(decode_in_place(&out, cut.min(end)), Ok((parts.concat(), Some(end))));
    }
}
