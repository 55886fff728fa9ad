use super::*;
use crate::protocol::json::{JsonLimits, Scratch, read};
use crate::protocol::message::message;
use Revision::{V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28};

const DUAL: &[Revision] = &Revision::ALL;
const LEGACY: &[Revision] = &[V2025_06_18, V2025_11_25];
const MODERN: &[Revision] = &[V2026_07_28];

/// Every required member of a modern `_meta`.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn judged(fields: &[(&str, &str)], body: &str, offered: &[Revision]) -> Result<Era, EraError> {
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
    let headers = McpHeaders::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
    classify(&headers, &message(document.root()).unwrap(), offered)
}

fn request_body(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

fn call(name: &str) -> String {
    request_body("tools/call", &format!(r#""name":"{name}",{META}"#))
}

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const CALL: (&str, &str) = ("Mcp-Method", "tools/call");

#[test]
fn a_header_that_disagrees_with_a_modern_body_is_refused() {
    let check = |fields: &[(&str, &str)], body: &str, name: &str, fault: HeaderFault| {
        let expected = EraError::Header { header: Cow::Owned(name.to_owned()), fault };
        let got = judged(fields, body, DUAL);
        assert_eq!(got, Err(expected.clone()), "given {fields:?} {body}");
        assert_eq!((expected.http_status(), expected.code()), (400, Some(-32020)));
    };
    let body = call("read");
    let read = ("Mcp-Name", "read");
    check(&[CALL, read], &body, PROTOCOL_VERSION, HeaderFault::Missing);
    check(&[("mcp-protocol-version", "2025-11-25"), CALL, read], &body, PROTOCOL_VERSION, HeaderFault::Mismatch);
    check(&[("mcp-protocol-version", "2099-01-01"), CALL, read], &body, PROTOCOL_VERSION, HeaderFault::Mismatch);
    check(&[("mcp-protocol-version", "é"), CALL, read], &body, PROTOCOL_VERSION, HeaderFault::Malformed);
    check(&[VERSION, VERSION, CALL, read], &body, PROTOCOL_VERSION, HeaderFault::Repeated);
    check(&[VERSION, read], &body, METHOD, HeaderFault::Missing);
    check(&[VERSION, ("mcp-method", "TOOLS/CALL"), read], &body, METHOD, HeaderFault::Mismatch);
    check(&[VERSION, CALL, CALL, read], &body, METHOD, HeaderFault::Repeated);
    check(&[VERSION, CALL], &body, NAME, HeaderFault::Missing);
    check(&[VERSION, CALL, ("mcp-name", "Read")], &body, NAME, HeaderFault::Mismatch);
    check(&[VERSION, CALL, ("mcp-name", "=?base64?cmVhZA?=")], &body, NAME, HeaderFault::Malformed);
    check(&[VERSION, CALL, read, read], &body, NAME, HeaderFault::Repeated);
    check(
        &[VERSION, CALL, read, ("mcp-session-id", "a"), ("mcp-session-id", "a")],
        &body,
        SESSION_ID,
        HeaderFault::Repeated,
    );
    let resource = request_body("resources/read", &format!(r#""uri":"x://a",{META}"#));
    check(&[VERSION, ("mcp-method", "resources/read"), ("mcp-name", "x://b")], &resource, NAME, HeaderFault::Mismatch);
    let task = request_body("tasks/get", &format!(r#""taskId":"t1",{META}"#));
    check(&[VERSION, ("mcp-method", "tasks/get")], &task, NAME, HeaderFault::Missing);
    let initialize = request_body("initialize", r#""protocolVersion":"2025-11-25""#);
    check(&[VERSION], &initialize, PROTOCOL_VERSION, HeaderFault::Mismatch);
    check(&[("last-event-id", "1"), ("last-event-id", "2")], &initialize, LAST_EVENT_ID, HeaderFault::Repeated);
    let told = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{{META}}}}}"#);
    check(&[], &told, PROTOCOL_VERSION, HeaderFault::Missing);
    check(&[("mcp-protocol-version", "2025-11-25")], &told, PROTOCOL_VERSION, HeaderFault::Mismatch);
    check(&[VERSION, ("mcp-method", "notifications/y")], &told, METHOD, HeaderFault::Mismatch);
}

#[test]
fn a_message_of_no_offered_era_is_refused_as_mcp_words_it() {
    let check = |fields: &[(&str, &str)], body: &str, offered: &[Revision], expected: EraError, answer: (u16, i64)| {
        assert_eq!(judged(fields, body, offered), Err(expected.clone()), "given {fields:?} {body}");
        assert_eq!((expected.http_status(), expected.code()), (answer.0, Some(answer.1)), "for {expected}");
    };
    let list = request_body("tools/list", "");
    check(&[VERSION], &list, DUAL, EraError::ClaimMissing, (400, -32602));
    check(&[VERSION], &request_body("tools/list", r#""_meta":{}"#), DUAL, EraError::ClaimMissing, (400, -32602));
    let number = request_body("tools/list", r#""_meta":{"io.modelcontextprotocol/protocolVersion":20260728}"#);
    check(&[VERSION], &number, DUAL, EraError::MetaMalformed(META_PROTOCOL_VERSION), (400, -32602));
    let bare = request_body("tools/list", r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#);
    check(&[VERSION], &bare, DUAL, EraError::MetaMalformed(META_CLIENT_CAPABILITIES), (400, -32602));
    for claim in ["2099-01-01", "2025-11-25", ""] {
        let body = request_body("tools/list", &META.replace("2026-07-28", claim));
        let fields = [("mcp-protocol-version", claim), ("mcp-method", "tools/list")];
        check(&fields, &body, DUAL, EraError::UnsupportedVersion { requested: claim.into() }, (400, -32022));
    }
    check(&[VERSION, CALL], &call("read"), LEGACY, EraError::ModernNotOffered, (400, -32600));
    let asked = request_body("initialize", r#""protocolVersion":"2025-11-25""#);
    let unoffered = EraError::LegacyNotOffered { requested: Some("2025-11-25".into()) };
    check(&[], &asked, MODERN, unoffered, (400, -32022));
    check(&[], &list, MODERN, EraError::LegacyNotOffered { requested: None }, (400, -32022));
    check(&[("mcp-protocol-version", "1999-01-01")], &list, DUAL, EraError::LegacyVersion, (400, -32600));
    check(&[("mcp-protocol-version", "2025-03-26")], &list, LEGACY, EraError::LegacyVersion, (400, -32600));
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    check(&[VERSION], response, DUAL, EraError::ResponseOnModern, (400, -32600));
    check(&[], response, MODERN, EraError::ResponseOnModern, (400, -32600));
    let failed = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#;
    check(&[VERSION], failed, DUAL, EraError::ResponseOnModern, (400, -32600));
    let told = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{{META}}}}}"#);
    check(&[VERSION], &told, LEGACY, EraError::ModernNotOffered, (400, -32600));
}

#[test]
fn a_bodyless_request_belongs_to_the_legacy_era_or_is_not_allowed() {
    let check = |fields: &[(&str, &str)], offered: &[Revision], expected: Result<Era, EraError>| {
        let headers = McpHeaders::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())));
        assert_eq!(classify_bodyless(&headers, offered), expected, "given {fields:?}");
    };
    check(&[VERSION], DUAL, Err(EraError::MethodNotAllowed));
    check(&[], MODERN, Err(EraError::MethodNotAllowed));
    check(&[("mcp-protocol-version", "2019")], DUAL, Err(EraError::LegacyVersion));
    check(&[], DUAL, Ok(Era::Legacy { header_revision: None }));
    let named = Era::Legacy { header_revision: Some(V2025_11_25) };
    check(&[("mcp-protocol-version", "2025-11-25")], DUAL, Ok(named));
    assert_eq!((EraError::MethodNotAllowed.http_status(), EraError::MethodNotAllowed.code()), (405, None));
}

#[test]
fn agreeing_headers_and_body_decide_the_era() {
    let check = |fields: &[(&str, &str)], body: &str, offered: &[Revision], expected: Era| {
        assert_eq!(judged(fields, body, offered), Ok(expected), "given {fields:?} {body}");
    };
    let modern = Era::Modern { revision: V2026_07_28 };
    let legacy = |header_revision| Era::Legacy { header_revision };
    check(&[VERSION, CALL, ("mcp-name", "read")], &call("read"), DUAL, modern);
    check(&[VERSION, CALL, ("mcp-name", " \tread ")], &call("read"), MODERN, modern);
    check(&[VERSION, CALL, ("mcp-name", "=?base64?w6k=?=")], &call("é"), DUAL, modern);
    let list = request_body("tools/list", META);
    check(&[VERSION, ("mcp-method", "tools/list")], &list, DUAL, modern);
    check(&[VERSION, ("mcp-method", "tools/list"), ("mcp-session-id", "ignored")], &list, DUAL, modern);
    // `initialize` in modern form is a modern request for a method that does not exist there.
    check(&[VERSION, ("mcp-method", "initialize")], &request_body("initialize", META), DUAL, modern);
    check(&[], &request_body("initialize", r#""protocolVersion":"2026-07-28""#), DUAL, legacy(None));
    check(&[], &request_body("tools/list", r#""_meta":{"progressToken":1}"#), DUAL, legacy(None));
    check(&[("mcp-protocol-version", "2025-03-26")], &request_body("ping", ""), DUAL, legacy(Some(V2025_03_26)));
    check(&[], r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, DUAL, legacy(None));
    check(&[], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, DUAL, legacy(None));
    check(&[VERSION], r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, DUAL, modern);
    let told = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{{META}}}}}"#);
    check(&[VERSION, ("mcp-method", "notifications/x")], &told, DUAL, modern);
}

#[test]
fn a_method_is_offered_by_its_revision_or_by_the_configuration() {
    let check = |method: &str, params: &str, revision: Revision, expected: Result<Offered<'_>, EraError>| {
        let body = request_body(method, params);
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
        let got = offered_method(&message(document.root()).unwrap(), revision, &["skills/list".into()]);
        assert_eq!(got, expected, "{method} in {revision}");
    };
    let missing = |era| Err(EraError::MethodNotFound(era));
    for method in
        ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/list", "unknown/method", "Tools/Call"]
    {
        check(method, META, V2026_07_28, missing(MethodEra::Modern));
    }
    check("server/discover", "", V2025_11_25, missing(MethodEra::Legacy));
    check("tasks/get", "", V2025_06_18, missing(MethodEra::Legacy));
    check("tasks/get", META, V2026_07_28, Err(EraError::ExtensionNotDeclared(TASKS_EXTENSION)));
    let declared = META.replace("{}", r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#);
    check("tasks/get", &declared, V2026_07_28, Ok(Offered::Known(Method::TasksGet)));
    check("tasks/get", "", V2025_11_25, Ok(Offered::Known(Method::TasksGet)));
    check("tools/call", META, V2026_07_28, Ok(Offered::Known(Method::ToolsCall)));
    check("skills/list", META, V2026_07_28, Ok(Offered::Extension("skills/list")));
    let statuses = [MethodEra::Modern, MethodEra::Legacy].map(|era| EraError::MethodNotFound(era).http_status());
    assert_eq!(statuses, [404, 200]);
}

#[test]
fn errors_carry_the_data_that_mcp_defines() {
    let check = |error: EraError, offered: &[Revision], expected: Option<&str>| {
        let data = error.data(offered).map(|data| String::from_utf8(data).unwrap());
        assert_eq!(data.as_deref(), expected, "for {error}");
    };
    let odd = EraError::UnsupportedVersion { requested: "\"\n".into() };
    check(odd, DUAL, Some(r#"{"supported":["2026-07-28"],"requested":"\"\n"}"#));
    check(EraError::LegacyNotOffered { requested: None }, MODERN, Some(r#"{"supported":["2026-07-28"]}"#));
    let required = r#"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    check(EraError::ExtensionNotDeclared(TASKS_EXTENSION), DUAL, Some(required));
    check(EraError::ModernNotOffered, LEGACY, None);
    check(header(NAME, HeaderFault::Mismatch), DUAL, None);
}
