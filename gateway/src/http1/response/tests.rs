//! What an upstream's head may be, row by row: refusals first.

use super::*;
use crate::http1::error::FramingError as E;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, fields_max: 64, body_bytes_max: 1000 };

fn parse(text: &[u8], asked: Asked) -> Result<Option<ResponseHead>, E> {
    ResponseHead::parse(text, asked, &LIMITS)
}

fn refused(text: &str, expected: E) {
    let got = parse(text.as_bytes(), Asked::Other).map(|head| head.is_some());
    assert_eq!(got, Err(expected), "given {text:?}");
    let first = (0..=text.len())
        .find_map(|end| parse(&text.as_bytes()[..end], Asked::Other).map(|head| head.map(drop)).transpose());
    assert_eq!(first, Some(Err(expected)), "byte by byte: {text:?}");
}

fn accepted(text: &str, asked: Asked) -> ResponseHead {
    for end in 0..text.len() {
        assert!(matches!(parse(&text.as_bytes()[..end], asked), Ok(None)), "at {end} of {text:?}");
    }
    let head = parse(format!("{text}\0\nHTTP/1.1").as_bytes(), asked).unwrap().unwrap();
    assert_eq!(head.length, text.len());
    head
}

#[test]
fn a_response_that_two_readers_could_read_in_two_ways_is_refused() {
    for (text, error) in [
        ("HTTP/1.1 200 OK\nX: y\r\n\r\n", E::BareLineFeed),
        ("HTTP/1.1 200 OK\n\r\n", E::BareLineFeed),
        ("HTTP/1.1 200 OK\r\n\n", E::BareLineFeed),
        ("HTTP/1.1 200 OK\r\nX: y\n\r\n", E::BareLineFeed),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", E::StatusLineInvalid),
        ("\nHTTP/1.1 200 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 200 OK\r\nX: y\rZ\r\n\r\n", E::BareCarriageReturn),
        ("HTTP/1.1 200 O\rK\r\n\r\n", E::BareCarriageReturn),
        ("HTTP/1.1 200 OK\r\nX: y\0\r\n\r\n", E::Nul),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", E::FoldedField),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", E::SpaceInName),
        ("HTTP/1.1 200 OK\r\nX\r\n\r\n", E::ColonMissing),
        ("HTTP/1.1 200 OK\r\n: y\r\n\r\n", E::NameEmpty),
        ("HTTP/1.1 200 OK\r\n(: y\r\n\r\n", E::NameInvalid),
        ("HTTP/2.0 200 OK\r\n\r\n", E::VersionUnsupported),
        ("ICY 200 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1  200 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 20x OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 2000 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 099 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 600 OK\r\n\r\n", E::StatusLineInvalid),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", E::UpgradeUnasked),
        ("HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", E::UpgradeUnasked),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E::LengthAndEncoding),
        ("HTTP/1.1 304 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", E::LengthAndEncoding),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", E::LengthRepeated),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", E::LengthInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", E::LengthInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", E::BodyTooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", E::EncodingInvalid),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", E::EncodingUnsupported),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", E::EncodingInOldVersion),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", E::BodyForbidden),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", E::BodyForbidden),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\n", E::BodyForbidden),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", E::ContentEncoded),
        ("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n", E::ContentTypeRepeated),
        ("HTTP/1.1 200 OK\r\nConnection: content-length\r\n\r\n", E::ConnectionNamesField),
    ] {
        refused(text, error);
    }
    refused(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65)), E::TooManyFields);
    refused(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(17_000)), E::HeadTooLarge);
    refused(&format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(17_000)), E::HeadTooLarge);
}

#[test]
fn the_end_of_a_body_follows_status_request_and_fields() {
    use {Framing as F, Persistence as P};
    for (head, asked, status, framing, persistence) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Asked::Other, 200, F::Length(5), P::KeepAlive),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", Asked::Other, 200, F::Length(5), P::Close),
        ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n", Asked::Other, 200, F::Chunked, P::KeepAlive),
        ("HTTP/1.1 200 \r\n", Asked::Other, 200, F::UntilClose, P::Close),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", Asked::Other, 200, F::UntilClose, P::Close),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", Asked::Other, 200, F::Length(5), P::Close),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
            Asked::Other,
            200,
            F::Length(5),
            P::KeepAlive,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n", Asked::Head, 200, F::None, P::KeepAlive),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Asked::Head, 200, F::None, P::KeepAlive),
        ("HTTP/1.1 200 OK\r\n", Asked::Head, 200, F::None, P::KeepAlive),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 999999\r\n", Asked::Other, 304, F::None, P::KeepAlive),
        ("HTTP/1.1 204 No Content\r\n", Asked::Other, 204, F::None, P::KeepAlive),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", Asked::Other, 204, F::None, P::KeepAlive),
        ("HTTP/1.1 100 Continue\r\n", Asked::Other, 100, F::None, P::KeepAlive),
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n", Asked::Other, 202, F::Length(0), P::KeepAlive),
        ("HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n", Asked::Other, 599, F::Length(0), P::KeepAlive),
    ] {
        let got = accepted(&format!("{head}\r\n"), asked);
        assert_eq!((got.status, got.framing, got.persistence), (status, framing, persistence), "{head:?} {asked:?}");
    }
}

#[test]
fn content_is_told_apart_by_its_media_type() {
    for (field, content) in [
        ("", Content::Untyped),
        ("Content-Type: application/json\r\n", Content::Json),
        ("content-type: Application/JSON ; Charset=\"UTF-8\"\r\n", Content::Json),
        ("Content-Type: text/event-stream;charset=utf-8\r\n", Content::EventStream),
        ("Content-Type: application/json; charset=utf-16\r\n", Content::Other),
        ("Content-Type: text/event-stream; charset=latin1\r\n", Content::Other),
        ("Content-Type: application/json-seq\r\n", Content::Other),
        ("Content-Type: application/jsonx, application/json\r\n", Content::Other),
        ("Content-Type: text/html\r\n", Content::Other),
        ("Content-Type:\r\n", Content::Other),
    ] {
        assert_eq!(accepted(&format!("HTTP/1.1 200 OK\r\n{field}\r\n"), Asked::Other).content, content, "{field:?}");
    }
}
