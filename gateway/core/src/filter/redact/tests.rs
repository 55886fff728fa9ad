use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::json::samples;

/// What passes of a result under these annotations, and what was counted; `withheld` where nothing does.
fn narrowed(annotations: &[(&str, &str)], body: &str) -> Result<(String, Counts), Unreadable> {
    let mut out = b"before ".to_vec();
    let counts = answer(body.as_bytes(), &Obligations::of(annotations), &mut out);
    let text = String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned();
    if counts.is_err() {
        assert_eq!(text, "", "an error leaves nothing behind");
    } else {
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    }
    Ok((text, counts?))
}

fn whole(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1.50,"result":{result}}}"#)
}

#[track_caller]
fn check(annotations: &[(&str, &str)], result: &str, expected: &str, counts: (u64, u64)) {
    let got = narrowed(annotations, &whole(result));
    let expected = (whole(expected), Counts { redactions: counts.0, rows_dropped: counts.1 });
    assert_eq!(got, Ok(expected), "given {annotations:?} and {result}");
}

#[track_caller]
fn check_withheld(annotations: &[(&str, &str)], result: &str) {
    assert_eq!(narrowed(annotations, &whole(result)), Err(Unreadable), "given {annotations:?} and {result}");
}

const SSN: &[(&str, &str)] = &[("redact", "/rows/*/ssn")];

#[test]
fn what_cannot_be_read_is_withheld() {
    for result in [
        "7",
        "null",
        r#"{"content":7}"#,
        r#"{"content":null}"#,
        r#"{"content":[7]}"#,
        r#"{"content":[{"type":"text"}],"content2":1,"requestState":"s"}"#,
        r#"{"content":[{"type":"text","text":"ssn 123"}]}"#,
        r#"{"content":[{"type":"text","text":7}]}"#,
        r#"{"content":[{"type":"text","text":"ssn 123"}],"structuredContent":null}"#,
        r#"{"content":[{"type":"text","text":"{\"a\":1,\"a\":2}"}]}"#,
        r#"{"content":[{"type":"text","text":"{\"rows\":[]} {\"rows\":[]}"}]}"#,
        r#"{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"}]}"#,
        r#"{"content":[{"type":"image","data":"aGk="}],"structuredContent":{"rows":[]}}"#,
        r#"{"content":[{"text":"{}"}]}"#,
        r#"{"content":[{"type":"resource","resource":{"uri":"a://b","blob":"aGk="}}]}"#,
        r#"{"content":[{"type":"resource","resource":{"uri":"a://b","text":"prose"}}]}"#,
        r#"{"content":[{"type":"resource_link","uri":"a://b","name":"ssn 123"}]}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"ssn 123?"}}}}"#,
        r#"{"resultType":"complete","requestState":"ssn 123"}"#,
        r#"{"taskId":"t","status":"completed","result":{"content":[{"type":"text","text":"ssn 123"}]}}"#,
    ] {
        check_withheld(SSN, result);
    }
    check_withheld(&[("max_rows", "1")], r#"{"content":[{"type":"text","text":"a,b\nc,d"}]}"#);
    assert_eq!(narrowed(SSN, "[]"), Err(Unreadable));
}

#[test]
fn what_a_pointer_names_is_replaced_and_all_else_keeps_its_bytes() {
    let structured = |value: &str| format!(r#"{{"structuredContent" : {value} , "isError":false}}"#);
    let check = |pointers: &str, value: &str, expected: &str, count: u64| {
        check(&[("redact", pointers)], &structured(value), &structured(expected), (count, 0));
    };
    let mark = r#""[redacted]""#;
    check(
        "/rows/*/ssn",
        r#"{"rows":[{"n":1.50,"ssn":"1"}, {"ssn":{"a":[2]},"n":1e3 }], "ssn":"kept"}"#,
        &format!(r#"{{"rows":[{{"n":1.50,"ssn":{mark}}}, {{"ssn":{mark},"n":1e3 }}], "ssn":"kept"}}"#),
        2,
    );
    check("/a~1b,/c~0", r#"{"a/b":1,"c~":2,"a":3}"#, &format!(r#"{{"a/b":{mark},"c~":{mark},"a":3}}"#), 2);
    check("/rows/1", r#"{"rows":[1,2,3]}"#, &format!(r#"{{"rows":[1,{mark},3]}}"#), 1);
    check(
        "/*/s",
        r#"{"a":{"s":1},"b":{"s":2,"t":3}}"#,
        &format!(r#"{{"a":{{"s":{mark}}},"b":{{"s":{mark},"t":3}}}}"#),
        2,
    );
    check("/s", r#"{"\u0073":1}"#, &format!(r#"{{"\u0073":{mark}}}"#), 1);
    check("/s", r#"{"s":null}"#, &format!(r#"{{"s":{mark}}}"#), 1);
    // One inside another is one.
    check("/a,/a/b", r#"{"a":{"b":1}}"#, &format!(r#"{{"a":{mark}}}"#), 1);
    // Nothing there, nothing to hide.
    check("/rows/*/ssn", r#"{"rows":[]}"#, r#"{"rows":[]}"#, 0);
    check("/rows/*/ssn", r#"{"rows":null,"error":"none"}"#, r#"{"rows":null,"error":"none"}"#, 0);
    // A reader that ignores case would find it.
    check("/ssn", r#"{"SSN":1,"sſn":2}"#, &format!(r#"{{"SSN":{mark},"sſn":{mark}}}"#), 2);
    // Another shape than the rule was written for.
    check("/rows/*/ssn", r#"{"data":{"rows":[{"ssn":"123"}]}}"#, mark, 1);
    check("/rows/*/ssn", r#"{"rows":[{"who":{"ssn":"123"}}]}"#, mark, 1);
    check("/rows/*/ssn", r#"{"rows":[{"ssn":null},{"who":{"ssn":"123"}}]}"#, mark, 1);
    check("/rows/*/ssn", r#"{"rows":[null],"data":[{"ssn":"123"}]}"#, mark, 1);
    check(
        "/rows/*/ssn",
        r#"{"rows":[{"n":1}],"data":[{"ssn":null}]}"#,
        r#"{"rows":[{"n":1}],"data":[{"ssn":null}]}"#,
        0,
    );
    check("/who/ssn", r#"{"ask":{"name":"none"}}"#, r#"{"ask":{"name":"none"}}"#, 0);
    check("/rows/*/ssn", r#"{"rows":"a,123"}"#, &format!(r#"{{"rows":{mark}}}"#), 1);
    check("/rows/*/ssn", r#"{"rows":[["a","123"]]}"#, &format!(r#"{{"rows":[{mark}]}}"#), 1);
    check("/rows/*/ssn", r#"[{"ssn":"123"}]"#, mark, 1);
}

#[test]
fn arrays_are_cut_after_so_many_rows() {
    let structured = |value: &str| format!(r#"{{"structuredContent":{value}}}"#);
    let check = |cap: &str, value: &str, expected: &str, dropped: u64| {
        check(&[("max_rows", cap)], &structured(value), &structured(expected), (0, dropped));
    };
    check("2", r#"{"rows":[1.0, 2 , 3, 4],"n":4}"#, r#"{"rows":[1.0, 2],"n":4}"#, 2);
    check("2", r#"{"rows":[1,2],"n":[]}"#, r#"{"rows":[1,2],"n":[]}"#, 0);
    check("2", r#"{"deep":{"rows":[[1,2,3],2,3]},"n":"a"}"#, r#"{"deep":{"rows":[[1,2,3],2]},"n":"a"}"#, 1);
    check(
        "/deep/rows 2",
        r#"{"deep":{"rows":[1,2,3]},"rows":[1,2,3]}"#,
        r#"{"deep":{"rows":[1,2]},"rows":[1,2,3]}"#,
        1,
    );
    check("/t/*/rows 1", r#"{"t":[{"rows":[1]},{"n":1}]}"#, r#"{"t":[{"rows":[1]},{"n":1}]}"#, 0);
    check("1", r#"[[1],[2]]"#, r#"[[1]]"#, 1);
    check("/rows 1", r#"{"rows":{"a":1,"b":2, "c":3}}"#, r#"{"rows":{"a":1}}"#, 2);
    // Of two caps the smaller wins.
    check("3, /rows 1", r#"{"rows":[1,2,3,4]}"#, r#"{"rows":[1]}"#, 3);
    let both: &[(&str, &str)] = &[("max_rows", "1"), ("redact", "/rows/*/s")];
    super::tests::check(
        both,
        r#"{"structuredContent":{"rows":[{"s":1},{"s":2},{"s":3}]}}"#,
        r#"{"structuredContent":{"rows":[{"s":"[redacted]"}]}}"#,
        (1, 2),
    );
}

#[test]
fn texts_that_are_json_are_narrowed_and_prose_is_hidden() {
    let text = |inner: &str| format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, Value::from(inner));
    check(
        SSN,
        &text(r#"{"rows":[{"ssn":"1\n","é":"\u2028"}]}"#),
        &text(r#"{"rows":[{"ssn":"[redacted]","é":"\u2028"}]}"#),
        (1, 0),
    );
    // Not one byte changes where nothing is found.
    let escaped = r#"{"content":[{"type":"text","text":"\u007b\"rows\": []}"}]}"#;
    check(SSN, escaped, escaped, (0, 0));
    check(SSN, &text(""), &text(""), (0, 0));
    check(SSN, &text("123"), &text("\"[redacted]\""), (1, 0));
    check(SSN, &text(r#"["123"]"#), &text("\"[redacted]\""), (1, 0));
    check(&[("max_rows", "1")], &text("[1, 2]"), &text("[1]"), (0, 1));
    // Each row a text of its own.
    let rows = r#"{"content":[{"type":"text","text":"{}"},{"type":"text","text":"{}"},{"type":"text","text":"{}"}]}"#;
    check(&[("max_rows", "1")], rows, &text("{}"), (0, 2));
    let resource = |inner: &str| {
        json!({"content": [{"type": "resource", "resource": {"uri": "a://b", "mimeType": "application/json", "text": inner}}]}).to_string()
    };
    check(SSN, &resource(r#"{"rows":[{"ssn":1}]}"#), &resource(r#"{"rows":[{"ssn":"[redacted]"}]}"#), (1, 0));
    // Beside structured content prose is hidden, and so is JSON of another shape.
    let beside = |structured: &str, text: &str| {
        format!(r#"{{"structuredContent":{structured},"content":[{{"type":"text","text":{}}}]}}"#, Value::from(text))
    };
    let (raw, clean) = (r#"{"rows":[{"ssn":"1"}]}"#, r#"{"rows":[{"ssn":"[redacted]"}]}"#);
    check(SSN, &beside(raw, "ann has ssn 1"), &beside(clean, "[redacted]"), (2, 0));
    check(SSN, &beside(raw, raw), &beside(clean, clean), (2, 0));
    let hidden = "\"[redacted]\"";
    check(SSN, &beside(raw, r#"{"ssn":"1"}"#), &beside(clean, hidden), (2, 0));
    check(SSN, &beside(raw, r#"{"rows":[]}"#), &beside(clean, "[redacted]"), (2, 0));
    let none = r#"{"rows":[]}"#;
    check(SSN, &beside(none, none), &beside(none, none), (0, 0));
    check(SSN, &beside(none, "{}"), &beside(none, "{}"), (0, 0));
    // A text in which the way of a pointer ends early is of another shape too, whatever stands beside it.
    for shape in [r#"{"ssn":"1"}"#, r#"{"result":{"rows":[{"ssn":"1"}]}}"#, r#"{"count":0}"#] {
        check(SSN, &beside(none, shape), &beside(none, hidden), (1, 0));
        check(SSN, &beside("{}", shape), &beside("{}", hidden), (1, 0));
        check(SSN, &text(shape), &text(hidden), (1, 0));
        check(&[("max_rows", "/rows 1")], &text(shape), &text(hidden), (1, 0));
    }
    check(
        &[("redact", "/rows/*/customer/ssn")],
        &text(r#"{"rows":[{"customer":{"ssn":1}},{"customer":{"n":2}},{"client":{"ssn":3}},{}]}"#),
        &text(r#"{"rows":[{"customer":{"ssn":"[redacted]"}},{"customer":{"n":2}},"[redacted]",{}]}"#),
        (2, 0),
    );
    check(&[("redact", "/ssn")], &text(r#"{"n":1}"#), &text(r#"{"n":1}"#), (0, 0));
    check(&[("redact", "/ssn")], &text(r#"{"of":[{"SSN":1}]}"#), &text(hidden), (1, 0));
    // That it failed is told, and no more.
    let failed =
        |text: &str| format!(r#"{{"isError":true,"content":[{{"type":"text","text":{}}}]}}"#, Value::from(text));
    check(SSN, &failed("no row 123"), &failed("[redacted]"), (1, 0));
}

#[test]
fn members_that_could_say_what_is_hidden_do_not_pass() {
    check(
        SSN,
        r#"{"resultType":"complete","structuredContent":{},"StructuredContent":{"rows":[1]},"toolResult":{"a":1},"_meta":{"x":"1","io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#,
        r#"{"resultType":"complete","structuredContent":{},"StructuredContent":"[redacted]","toolResult":"[redacted]","_meta":{"x":"[redacted]","io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#,
        (3, 0),
    );
    check(
        SSN,
        r#"{"content":[{"type":"text","text":"{}","annotations":{"x":"1"},"_meta":{"x":1},"note":"1"}]}"#,
        r#"{"content":[{"type":"text","text":"{}","annotations":{},"_meta":{},"note":"[redacted]"}]}"#,
        (1, 0),
    );
    check(
        SSN,
        r#"{"resultType":"task","taskId":"t","status":"working","statusMessage":"row 123","ttlMs":null,"pollIntervalMs":5}"#,
        r#"{"resultType":"task","taskId":"t","status":"working","statusMessage":"[redacted]","ttlMs":null,"pollIntervalMs":5}"#,
        (1, 0),
    );
    check(
        SSN,
        r#"{"task":{"taskId":"t","statusMessage":"123"}}"#,
        r#"{"task":{"taskId":"t","statusMessage":"[redacted]"}}"#,
        (1, 0),
    );
    check(
        SSN,
        r#"{"taskId":"t","result":{"structuredContent":{"rows":[{"ssn":1}]}}}"#,
        r#"{"taskId":"t","result":{"structuredContent":{"rows":[{"ssn":"[redacted]"}]}}}"#,
        (1, 0),
    );
    let error = narrowed(SSN, r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"row 123","data":{"x":1}}}"#);
    let expected = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"[redacted]","data":"[redacted]"}}"#;
    assert_eq!(error, Ok((expected.to_owned(), Counts { redactions: 2, rows_dropped: 0 })));
}

#[test]
fn a_notification_tells_how_far_it_is_and_nothing_in_words() {
    let check = |given: &str, expected: &str| {
        let mut out = Vec::new();
        notification(given.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected, "given {given}");
    };
    check(
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.0,"total":2,"message":"row 123","_meta":{"x":1}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.0,"total":2,"message":"[redacted]","_meta":{}}}"#,
    );
    check(
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"db","data":{"ssn":"123"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"db","data":"[redacted]"}}"#,
    );
    check(
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
    );
    check(
        r#"{"method":"notifications/message","params":{"level":{"ssn":1}},"more":1}"#,
        r#"{"method":"notifications/message","params":{"level":"[redacted]"},"more":"[redacted]"}"#,
    );
    let mut out = Vec::new();
    task_list(
        br#"{"result":{"tasks":[{"taskId":"t","statusMessage":"123"},{"taskId":"u"}],"nextCursor":"c"}}"#,
        &mut out,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"result":{"tasks":[{"taskId":"t","statusMessage":"[redacted]"},{"taskId":"u"}],"nextCursor":"c"}}"#
    );
}

proptest! {
    /// Whatever stands at a pointer is gone, in structured content and in the text beside it, and what is left reads as JSON.
    #[test]
    fn what_any_pointer_names_is_gone((text, paths) in samples::text_and_paths()) {
        let before: Value = serde_json::from_str(&text).unwrap();
        for path in paths.iter().filter(|path| !path.is_empty()) {
            let steps: Vec<String> = path.iter().map(|step| step.replace('~', "~0").replace('/', "~1")).collect();
            let pointer: String = steps.iter().map(|step| format!("/{step}")).collect();
            let mut stated = crate::policy::obligation::Stated::default();
            // A name with a blank or a comma, or none, cannot be written in an annotation.
            if steps.iter().any(|step| step.contains([' ', ',', '\t', '\n', '\r'])) || stated.add("redact", &pointer).is_err() {
                continue;
            }
            let quoted = Value::from(text.as_str());
            let body = format!(r#"{{"result":{{"structuredContent":{text},"content":[{{"type":"text","text":{quoted}}}]}}}}"#);
            let (narrowed, counts) = narrowed(&[("redact", &pointer)], &body).unwrap();
            let after: Value = serde_json::from_str(&narrowed).unwrap();
            let structured = &after["result"]["structuredContent"];
            let beside: Value = serde_json::from_str(after["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
            prop_assert!(counts.redactions >= 2);
            if !path.iter().any(|step| step == "*") {
                for value in [structured, &beside] {
                    let hidden = value.pointer(&pointer);
                    prop_assert!(hidden.is_none() || hidden == Some(&json!("[redacted]")), "{:?} at {} of {}", hidden, pointer, before);
                }
            }
        }
    }
}
