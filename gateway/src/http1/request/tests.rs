//! What a request's head may be, row by row: refusals first.

use super::*;
use crate::http1::error::FramingError as E;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, fields_max: 64, body_bytes_max: 1000 };

fn parse(text: &[u8]) -> Result<Option<RequestHead>, E> {
    RequestHead::parse(text, &LIMITS)
}

/// Refused with this error and status, both whole and however it is split.
fn refused(text: &[u8], expected: E, status: u16) {
    let got = parse(text).map(|head| head.is_some());
    assert_eq!(got, Err(expected), "given {:?}", String::from_utf8_lossy(text));
    assert_eq!(expected.status(), status, "{expected}");
    let first = (0..=text.len()).find_map(|end| parse(&text[..end]).map(|head| head.map(drop)).transpose());
    assert_eq!(first, Some(Err(expected)), "byte by byte: {:?}", String::from_utf8_lossy(text));
}

/// Accepted, and not before its last byte.
fn accepted(text: &[u8]) -> RequestHead {
    for end in 0..text.len() {
        match parse(&text[..end]) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("complete too early: {:?}", String::from_utf8_lossy(&text[..end])),
            Err(error) => panic!("{error} at {end}: {:?}", String::from_utf8_lossy(text)),
        }
    }
    let mut longer = text.to_vec();
    longer.extend_from_slice(b"\n\0 GET");
    let whole = parse(text).unwrap().unwrap();
    let followed = parse(&longer).unwrap().unwrap();
    assert_eq!((whole.length, followed.length), (text.len(), text.len()));
    whole
}

fn with(fields: &str) -> Vec<u8> {
    format!("POST /mcp/crm HTTP/1.1\r\nHost: edge:8443\r\n{fields}\r\n").into_bytes()
}

fn with_target(method: &str, target: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: edge\r\n\r\n").into_bytes()
}

#[test]
fn lines_that_two_readers_could_split_in_two_ways_are_refused() {
    for (text, error) in [
        (&b"GET / HTTP/1.1\nHost: edge\r\n\r\n"[..], E::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: edge\nX: y\r\n\r\n", E::BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: edge\r\n\n", E::BareLineFeed),
        (b"\nGET / HTTP/1.1\r\nHost: edge\r\n\r\n", E::BareLineFeed),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: edge\r\n\r\n", E::BareLineFeed),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: edge\r\n\r\n", E::RequestLineInvalid),
        (b"GET / HTTP/1.1\rX: y\r\nHost: edge\r\n\r\n", E::BareCarriageReturn),
        (b"GET / HTTP/1.1\r\nHost: edge\rX: y\r\n\r\n", E::BareCarriageReturn),
        (b"GET / HTTP/1.1\r\nHost: edge\r\r\n\r\n", E::BareCarriageReturn),
        (b"GET / HTTP/1.1\r\nHost: edge\r\n\rX\r\n", E::BareCarriageReturn),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX: a\0b\r\n\r\n", E::Nul),
        (b"GET /\0 HTTP/1.1\r\nHost: edge\r\n\r\n", E::Nul),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX\0: b\r\n\r\n", E::Nul),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX: a\x01b\r\n\r\n", E::ControlInValue),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX: a\x7fb\r\n\r\n", E::ControlInValue),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX: a\r\n b\r\n\r\n", E::FoldedField),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX: a\r\n\tb\r\n\r\n", E::FoldedField),
        (b"GET / HTTP/1.1\r\n Host: edge\r\n\r\n", E::FoldedField),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", E::FoldedField),
        (b"GET / HTTP/1.1\r\nHost : edge\r\n\r\n", E::SpaceInName),
        (b"GET / HTTP/1.1\r\nHost\t: edge\r\n\r\n", E::SpaceInName),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nContent Length: 5\r\n\r\n", E::SpaceInName),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nnonsense\r\n\r\n", E::ColonMissing),
        (b"GET / HTTP/1.1\r\nHost: edge\r\n: x\r\n\r\n", E::NameEmpty),
        (b"GET / HTTP/1.1\r\nHost: edge\r\nX(y): z\r\n\r\n", E::NameInvalid),
        (b"GET / HTTP/1.1\r\nHost: edge\r\n\xc3\xa4: z\r\n\r\n", E::NameInvalid),
    ] {
        refused(text, error, 400);
    }
}

#[test]
fn every_byte_that_is_no_token_is_refused_in_a_name() {
    for byte in 0..=255_u8 {
        let text = [b"GET / HTTP/1.1\r\nHost: edge\r\nX", &[byte][..], b"Y: z\r\n\r\n"].concat();
        // A colon ends the name; the rest is its value.
        let expected = byte == b':' || byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(parse(&text).is_ok(), expected, "byte {byte:#x}");
    }
}

#[test]
fn a_start_line_that_is_not_one_is_refused() {
    for (line, error, status) in [
        ("GET  / HTTP/1.1", E::RequestLineInvalid, 400),
        ("GET /  HTTP/1.1", E::RequestLineInvalid, 400),
        ("GET / HTTP/1.1 ", E::RequestLineInvalid, 400),
        (" GET / HTTP/1.1", E::RequestLineInvalid, 400),
        ("GET\t/ HTTP/1.1", E::RequestLineInvalid, 400),
        ("G(T / HTTP/1.1", E::RequestLineInvalid, 400),
        ("GET / http/1.1", E::RequestLineInvalid, 400),
        ("GET / HTTPS/1.1", E::RequestLineInvalid, 400),
        ("GET / HTTP/2.0", E::VersionUnsupported, 505),
        ("PRI * HTTP/2.0", E::VersionUnsupported, 505),
        ("GET / HTTP/1.2", E::VersionUnsupported, 505),
        ("GET / HTTP/1.x", E::VersionUnsupported, 505),
        ("GET / HTTP/0.9", E::VersionUnsupported, 505),
        ("CONNECT edge:443 HTTP/1.1", E::ConnectRefused, 501),
        ("CONNECT / HTTP/1.1", E::ConnectRefused, 501),
    ] {
        refused(format!("{line}\r\nHost: edge\r\n\r\n").as_bytes(), error, status);
    }
    let old = parse(b"GET /\r\n\r\n").map(|head| head.is_some());
    assert!(old.is_err(), "HTTP/0.9");
}

#[test]
fn a_target_that_routers_could_read_in_two_ways_is_refused() {
    for (method, target) in [
        ("GET", "*"),
        ("POST", "*"),
        ("OPTIONS", "**"),
        ("GET", "edge"),
        ("GET", "edge:443"),
        ("GET", "a/b"),
        ("GET", "?a"),
        ("GET", "/a#b"),
        ("GET", "/a\\b"),
        ("GET", "/a\"b"),
        ("GET", "/<a>"),
        ("GET", "/{a}"),
        ("GET", "/%"),
        ("GET", "/%2"),
        ("GET", "/%2g"),
        ("GET", "ftp://edge/"),
        ("GET", "http:///a"),
        ("GET", "http://user@edge/"),
        ("GET", "http://edge?a"),
        ("GET", "http://edge/a#b"),
        ("GET", "http://edge:123456/"),
        ("GET", "http://[::1/"),
    ] {
        refused(&with_target(method, target), E::TargetInvalid, 400);
    }
    refused("GET /\u{e4} HTTP/1.1\r\nHost: edge\r\n\r\n".as_bytes(), E::TargetInvalid, 400);
    refused(b"GET /\x01 HTTP/1.1\r\nHost: edge\r\n\r\n", E::TargetInvalid, 400);
    refused(b"GET /\x7f HTTP/1.1\r\nHost: edge\r\n\r\n", E::TargetInvalid, 400);
}

#[test]
fn a_host_that_is_missing_doubled_or_more_than_a_host_is_refused() {
    refused(b"GET / HTTP/1.1\r\n\r\n", E::HostMissing, 400);
    refused(b"GET http://edge/ HTTP/1.1\r\nX: y\r\n\r\n", E::HostMissing, 400);
    refused(b"GET / HTTP/1.1\r\nHost: edge\r\nhost: edge\r\n\r\n", E::HostRepeated, 400);
    refused(b"GET / HTTP/1.0\r\nHost: edge\r\nHost: other\r\n\r\n", E::HostRepeated, 400);
    refused(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", E::HostEmpty, 400);
    refused(b"GET / HTTP/1.1\r\nHost: \t \r\n\r\n", E::HostEmpty, 400);
    refused(b"GET / HTTP/1.0\r\nHost:\r\n\r\n", E::HostEmpty, 400);
    for host in [
        "a, b",
        "a,b",
        "user@edge",
        "edge/path",
        "edge:80:81",
        "edge:",
        "edge:x",
        "edge:99999",
        "edge:+80",
        "edge:000080",
        ":80",
        "a b",
        "edge?",
        "edge#",
        "a%2eb",
        "[::1",
        "[]",
        "[::1]x",
        "[g::1]",
        "\u{e4}.example",
        "http://edge",
    ] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), E::HostInvalid, 400);
    }
    for (target, host) in [("http://edge/", "other"), ("http://edge:80/", "edge"), ("https://edge.a/", "edge")] {
        refused(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), E::HostMismatch, 400);
    }
}

#[test]
fn a_body_whose_length_could_be_read_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "TRANSFER-ENCODING:   CHUNKED  \r\ncontent-length:5\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        refused(&with(fields), E::LengthAndEncoding, 400);
    }
    for value in ["5", "6"] {
        refused(&with(&format!("Content-Length: 5\r\ncontent-length: {value}\r\n")), E::LengthRepeated, 400);
    }
    for value in ["", "+5", "-5", "0x5", "5, 5", "5,5", "5 5", "5;", "5.0", "1e1", "_5", "five", "99999999999999999999"]
    {
        refused(&with(&format!("Content-Length: {value}\r\n")), E::LengthInvalid, 400);
    }
    refused(&with("Content-Length: 18446744073709551616\r\n"), E::LengthInvalid, 400);
    refused(&with("Content-Length: \u{664}\r\n"), E::LengthInvalid, 400);
    refused(&with("Content-Length: 1001\r\n"), E::BodyTooLarge, 413);
    for value in [
        "",
        "identity",
        "chunked, chunked",
        "chunked, gzip",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "chun ked",
        "gzip;x, chunked",
        "\u{b}chunked",
    ] {
        let text = with(&format!("Transfer-Encoding: {value}\r\n"));
        let error = if value.starts_with('\u{b}') { E::ControlInValue } else { E::EncodingInvalid };
        refused(&text, error, 400);
    }
    refused(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), E::EncodingInvalid, 400);
    refused(&with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), E::EncodingInvalid, 400);
    refused(&with("Transfer-Encoding: gzip, chunked\r\n"), E::EncodingUnsupported, 501);
    refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E::EncodingInOldVersion, 400);
    refused(b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: x\r\n\r\n", E::EncodingInOldVersion, 400);
}

#[test]
fn what_we_do_not_understand_of_other_fields_is_refused() {
    refused(&with("Expect: 200-ok\r\n"), E::ExpectationUnknown, 417);
    refused(&with("Expect: 100-continue, 100-continue\r\n"), E::ExpectationUnknown, 417);
    refused(&with("Expect: 100-continue\r\nExpect: 100-continue\r\n"), E::ExpectationUnknown, 417);
    refused(&with("Content-Encoding: gzip\r\n"), E::ContentEncoded, 415);
    refused(&with("Content-Encoding: identity\r\nContent-Encoding: br\r\n"), E::ContentEncoded, 415);
    refused(&with("Connection: close;x\r\n"), E::ConnectionInvalid, 400);
    for name in ["Host", "authorization", "Content-Length", "Mcp-Session-Id", "x-forwarded-for", "mcp-name"] {
        refused(&with(&format!("Connection: close, {name}\r\n")), E::ConnectionNamesField, 400);
    }
}

#[test]
fn a_head_beyond_its_bounds_is_refused() {
    let many = |count: usize| with(&"X: y\r\n".repeat(count));
    refused(&many(64), E::TooManyFields, 431);
    assert!(parse(&many(63)).unwrap().is_some());
    let long = |length: usize| with(&format!("X: {}\r\n", "y".repeat(length)));
    let rest = long(0).len();
    refused(&long(16 * 1024 - rest + 1), E::HeadTooLarge, 431);
    assert_eq!(accepted_length(&long(16 * 1024 - rest)), 16 * 1024);
    let target = |length: usize| with_target("GET", &format!("/{}", "a".repeat(length)));
    refused(&target(8 * 1024), E::TargetTooLong, 414);
    refused(&target(17 * 1024), E::TargetTooLong, 414);
    assert!(parse(&target(8 * 1024 - 1)).unwrap().is_some());
    // A limit above the ceiling is the ceiling.
    let wide = HeadLimits { bytes_max: usize::MAX, fields_max: usize::MAX, body_bytes_max: u64::MAX };
    assert!(matches!(RequestHead::parse(&many(64), &wide), Err(E::TooManyFields)));
    assert!(matches!(RequestHead::parse(&long(70_000), &wide), Err(E::HeadTooLarge)));
    let narrow = HeadLimits { bytes_max: 40, fields_max: 1, body_bytes_max: 0 };
    assert!(matches!(RequestHead::parse(b"GET / HTTP/1.1\r\nHost: e\r\nX: y\r\n\r\n", &narrow), Err(E::TooManyFields)));
}

fn accepted_length(text: &[u8]) -> usize {
    parse(text).unwrap().unwrap().length
}

#[test]
fn requests_are_read_as_they_are_meant() {
    let text = with("Content-Length: 0012\r\nX-A:  b c \t\r\nX-A: d\r\nEmpty:\r\n");
    let head = accepted(&text);
    assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
    assert_eq!(
        (head.framing, head.persistence, head.expectation),
        (Framing::Length(12), Persistence::KeepAlive, Expectation::None)
    );
    assert_eq!((head.target_text(&text), head.host_text(&text)), (&b"/mcp/crm"[..], Some(&b"edge:8443"[..])));
    assert_eq!(&text[head.method_text.clone()], b"POST");
    let lines: Vec<_> = head.fields.iter().map(|line| (&text[line.name], &text[line.value])).collect();
    let expected: [(&[u8], &[u8]); 5] =
        [(b"Host", b"edge:8443"), (b"Content-Length", b"0012"), (b"X-A", b"b c"), (b"X-A", b"d"), (b"Empty", b"")];
    assert_eq!(lines, expected);
    assert_eq!(head.fields.once(&text, Field::ContentLength), Some(&b"0012"[..]));
    assert_eq!(head.fields.field(Field::Authorization), FieldValue::Absent);
}

#[test]
fn framing_persistence_and_expectation_follow_version_and_fields() {
    use {Expectation as X, Framing as F, Persistence as P};
    for (version, fields, framing, persistence, expectation) in [
        ("1.1", "", F::None, P::KeepAlive, X::None),
        ("1.1", "Connection: close\r\n", F::None, P::Close, X::None),
        ("1.1", "Connection: Keep-Alive, CLOSE\r\n", F::None, P::Close, X::None),
        ("1.1", "Connection: x\r\nConnection: , close ,\r\n", F::None, P::Close, X::None),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", F::None, P::KeepAlive, X::None),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
            F::None,
            P::KeepAlive,
            X::None,
        ),
        ("1.1", "Transfer-Encoding: chunked\r\n", F::Chunked, P::KeepAlive, X::None),
        ("1.1", "Transfer-Encoding: Chunked \r\nTE: trailers\r\n", F::Chunked, P::KeepAlive, X::None),
        ("1.1", "Content-Length: 5\r\nExpect: 100-Continue\r\n", F::Length(5), P::KeepAlive, X::Continue),
        ("1.1", "Content-Encoding: identity\r\n", F::None, P::KeepAlive, X::None),
        ("1.0", "", F::None, P::Close, X::None),
        ("1.0", "Connection: keep-alive\r\n", F::None, P::KeepAlive, X::None),
        ("1.0", "Connection: keep-alive, close\r\n", F::None, P::Close, X::None),
        ("1.0", "Content-Length: 5\r\nExpect: 100-continue\r\n", F::Length(5), P::Close, X::None),
        ("1.0", "Expect: nonsense\r\n", F::None, P::Close, X::None),
    ] {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let text = format!("{method} / HTTP/{version}\r\nHost: edge\r\n{fields}\r\n");
            let head = accepted(text.as_bytes());
            assert_eq!(
                (head.framing, head.persistence, head.expectation),
                (framing, persistence, expectation),
                "{text:?}"
            );
        }
    }
}

#[test]
fn targets_and_hosts_are_split_as_the_rfc_says() {
    for (line, host, target, expected_host) in [
        ("GET /a/%2f..;b=c?d=/?&e HTTP/1.1", "Host: edge\r\n", "/a/%2f..;b=c?d=/?&e", Some("edge")),
        ("GET //a HTTP/1.1", "Host: [::1]:80\r\n", "//a", Some("[::1]:80")),
        ("OPTIONS * HTTP/1.1", "Host: 127.0.0.1\r\n", "*", Some("127.0.0.1")),
        ("OPTIONS /a HTTP/1.1", "Host: a_b-c.d:65535\r\n", "/a", Some("a_b-c.d:65535")),
        ("GET http://Edge:80/a?b HTTP/1.1", "Host: eDGE:80\r\n", "/a?b", Some("eDGE:80")),
        ("GET HTTPS://edge HTTP/1.1", "Host: edge\r\n", "/", Some("edge")),
        ("GET http://edge/a HTTP/1.0", "", "/a", Some("edge")),
        ("GET / HTTP/1.0", "", "/", None),
    ] {
        let text = format!("{line}\r\n{host}\r\n");
        let head = accepted(text.as_bytes());
        assert_eq!(head.target_text(text.as_bytes()), target.as_bytes(), "{text:?}");
        assert_eq!(head.host_text(text.as_bytes()), expected_host.map(str::as_bytes), "{text:?}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped_and_known_methods_are_known() {
    let head = accepted(b"\r\nDELETE /x HTTP/1.1\r\nHost: edge\r\n\r\n");
    assert_eq!(head.target, 9..11);
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("get", Method::Other),
        ("QUERY", Method::Other),
    ] {
        assert_eq!(accepted(&with_target(name, "/")).method, method, "{name}");
    }
}

#[test]
fn only_fields_of_both_ends_are_passed_on_and_repeated_ones_are_told() {
    let text = with(
        "Connection: X-Hop, close\r\nX-Hop: 1\r\nx-hop: 2\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\n\
         Upgrade: h2c\r\nTrailer: x\r\nX-End: 3\r\nAuthorization: a\r\nAuthorization: b\r\nTransfer-Encoding: chunked\r\n",
    );
    let head = accepted(&text);
    let names: Vec<_> = head.fields.end_to_end(&text).map(|line| &text[line.name]).collect();
    assert_eq!(names, [&b"Host"[..], b"X-End", b"Authorization", b"Authorization"]);
    assert_eq!(head.fields.field(Field::Authorization), FieldValue::Repeated);
    assert_eq!(head.fields.once(&text, Field::Authorization), None);
}

#[test]
fn random_changes_of_a_head_never_panic_and_splitting_changes_no_verdict() {
    let seed = with("Content-Length: 5\r\nConnection: close, x\r\nExpect: 100-continue\r\nX-Y: \tz \r\n");
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..4_000 {
        let mut text = seed.clone();
        for _ in 0..1 + random(3) {
            let at = random(text.len().max(1)).min(text.len() - 1);
            match random(4) {
                0 => text[at] = random(256) as u8,
                1 => text.insert(at, b"\r\n :,\t\0/%@"[random(10)]),
                2 => drop(text.remove(at)),
                _ => text.truncate(at.max(2)),
            }
        }
        let whole = parse(&text).map(|head| head.map(|head| head.length));
        let first =
            (0..=text.len()).find_map(|end| parse(&text[..end]).map(|head| head.map(|head| head.length)).transpose());
        match (whole, first) {
            (Err(_), Some(Err(_))) | (Ok(None), None) => {}
            (Ok(Some(length)), Some(Ok(first))) => assert_eq!(length, first),
            (whole, first) => panic!("{whole:?} {first:?} {:?}", String::from_utf8_lossy(&text)),
        }
    }
}
