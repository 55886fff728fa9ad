use super::*;
use crate::protocol::json::{JsonLimits, Scratch, read};

fn with<R>(text: &str, then: impl FnOnce(Result<Message<'_>, MessageError>) -> R) -> R {
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
    then(message(document.root()))
}

#[test]
fn each_fault_is_refused_under_its_own_name() {
    let check = |text: &str, expected: MessageError| {
        with(text, |got| assert_eq!(got.map(|message| message.kind), Err(expected), "given {text}"));
    };
    check("17", MessageError::NotAnObject);
    check("[]", MessageError::Batch);
    check(r#"[{"jsonrpc":"2.0","method":"ping","id":1}]"#, MessageError::Batch);
    check(r#"{"method":"ping","id":1}"#, MessageError::NotJsonRpc);
    check(r#"{"jsonrpc":"2.00","method":"ping","id":1}"#, MessageError::NotJsonRpc);
    check(r#"{"jsonrpc":2.0,"method":"ping","id":1}"#, MessageError::NotJsonRpc);
    check(r#"{"jsonrpc":"2.0"}"#, MessageError::NoContent);
    check(r#"{"jsonrpc":"2.0","id":1}"#, MessageError::NoContent);
    check(&format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "m".repeat(257)), MessageError::NameTooLong);
    check(&format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "i".repeat(257)), MessageError::IdTooLong);
    // Each of these stands beside `"jsonrpc":"2.0"`.
    for (members, expected) in [
        (r#""id":1,"method":"ping","Method":"x""#, MessageError::CaseVariant),
        (r#""ID":1,"method":"ping""#, MessageError::CaseVariant),
        (r#""method":"ping","param\u017f":{}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"name":"a","Name":"b"}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"ARGUMENTS":{}}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"Uri":"a"}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"tas\u212aId":"a"}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"_Meta":{}}"#, MessageError::CaseVariant),
        (r#""method":"m","params":{"requeststate":""}"#, MessageError::CaseVariant),
        (
            r#""method":"m","params":{"_meta":{"io.modelcontextprotocol/ProtocolVersion":""}}"#,
            MessageError::CaseVariant,
        ),
        (r#""id":null,"method":"m""#, MessageError::IdType),
        (r#""id":1.0,"method":"m""#, MessageError::IdType),
        (r#""id":true,"method":"m""#, MessageError::IdType),
        (r#""id":[1],"method":"m""#, MessageError::IdType),
        (r#""id":9007199254740992,"method":"m""#, MessageError::IdOutOfRange),
        (r#""id":-9223372036854775808,"method":"m""#, MessageError::IdOutOfRange),
        (r#""id":18446744073709551615,"method":"m""#, MessageError::IdOutOfRange),
        (r#""id":1,"method":7"#, MessageError::MethodType),
        (r#""id":1,"method":"""#, MessageError::MethodType),
        (r#""id":1,"method":"tools/call\u0000""#, MessageError::ControlCharacter),
        (r#""method":"m","params":[1]"#, MessageError::ParamsType),
        (r#""method":"m","params":null"#, MessageError::ParamsType),
        (r#""method":"m","params":{"_meta":7}"#, MessageError::MetaType),
        (r#""method":"m","params":{"_meta":{"progressToken":1.5}}"#, MessageError::ProgressTokenType),
        (r#""method":"m","params":{"progressToken":null}"#, MessageError::ProgressTokenType),
        (r#""method":"m","params":{"requestState":{}}"#, MessageError::RequestStateType),
        (r#""method":"m","params":{"inputResponses":[]}"#, MessageError::InputResponsesType),
        (r#""id":1,"method":"m","result":{}"#, MessageError::MethodInResponse),
        (r#""id":1,"method":"m","error":{"code":1,"message":""}"#, MessageError::MethodInResponse),
        (r#""id":1,"result":{},"error":{"code":1,"message":""}"#, MessageError::ResultAndError),
        (r#""result":{}"#, MessageError::ResponseWithoutId),
        (r#""error":{"code":1,"message":""}"#, MessageError::ResponseWithoutId),
        (r#""id":1,"result":null"#, MessageError::ResultType),
        (r#""id":1,"error":{"code":"1","message":""}"#, MessageError::ErrorType),
        (r#""id":1,"error":{"code":1}"#, MessageError::ErrorType),
    ] {
        check(&format!(r#"{{"jsonrpc":"2.0",{members}}}"#), expected);
    }
}

#[test]
fn each_kind_is_told_by_its_members() {
    let check = |text: &str, kind: MessageKind, id: Option<Id<'_>>| {
        with(text, |got| {
            let message = got.unwrap_or_else(|error| panic!("given {text} got {error}"));
            assert_eq!((message.kind, message.id), (kind, id), "given {text}");
        });
    };
    check(r#"{"jsonrpc":"2.0","id":-1,"method":"ping"}"#, MessageKind::Request, Some(Id::Number(-1)));
    check(r#"{"jsonrpc":"2.0","id":"","method":"m","params":{}}"#, MessageKind::Request, Some(Id::Text("")));
    check(
        r#"{"i\u0064":9007199254740991,"method":"m","jsonrpc":"2.0"}"#,
        MessageKind::Request,
        Some(Id::Number((1 << 53) - 1)),
    );
    check(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, MessageKind::Notification, None);
    check(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#, MessageKind::Result, Some(Id::Text("a")));
    check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#, MessageKind::Error, Some(Id::Number(1)));
}

#[test]
fn what_a_request_carries_is_found() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"requestState":"s","inputResponses":{"k":{}},"requestId":"r",
        "task":{},"_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{"extensions":{"x/y":{}, "z":1}},
        "io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/subscriptionId":3}}}"#;
    with(text, |got| {
        let message = got.unwrap();
        assert_eq!(message.request_state(), Some("s"));
        assert_eq!(message.input_responses().map(Value::len), Some(1));
        assert_eq!(message.cancelled_request(), Some(Id::Text("r")));
        assert_eq!(message.progress_token(), Some(Id::Number(7)));
        assert_eq!(message.meta_protocol_version().and_then(Value::as_str), Some("2026-07-28"));
        assert_eq!((message.meta_log_level(), message.meta_subscription_id()), (Some("info"), Some(Id::Number(3))));
        assert!(message.task().is_some() && message.meta_client_info().is_none());
        assert!(message.declares_extension("x/y"));
        assert!(!message.declares_extension("z") && !message.declares_extension("y"));
    });
}
