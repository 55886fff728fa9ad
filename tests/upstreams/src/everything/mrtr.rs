//! Answers in rounds (SEP-2322). In: a call, the answers and the sealed state it carries. Out: questions or a result.
//! State that the client sends back is an attacker's until the seal over it and over the tool's name holds.

use rmcp::ErrorData;
use rmcp::model::{InputRequest, InputRequests, InputRequiredResult, SealOptions};
use serde_json::{Value, json};

use crate::everything::calling::Call;
use crate::everything::interactive::{elicit, said, sample};
use crate::everything::unknown;
use crate::shape::{Answer, shape, text};

/// Dispatches the `test_input_required_result_*` family.
pub fn call(call: &Call<'_>) -> Answer {
    match call.name.trim_start_matches("test_input_required_result_") {
        "elicitation" => elicitation(call),
        "sampling" => sampling(call),
        "list_roots" => roots(call),
        "request_state" => confirmed(call, "state-ok"),
        "tampered_state" => confirmed(call, "The state is whole"),
        "multiple_inputs" => multiple(call),
        "multi_round" => rounds(call),
        "capabilities" => capabilities(call),
        _ => Err(unknown("tool", &call.name)),
    }
}

fn elicitation(call: &Call<'_>) -> Answer {
    match accepted(call, "user_name", "name").and_then(Value::as_str) {
        Some(name) => text(format!("Hello, {name}!")),
        None => ask([("user_name", ask_name("What is your name?")?)], None),
    }
}

fn sampling(call: &Call<'_>) -> Answer {
    match object(call, "capital_question") {
        Some(answer) => text(format!("LLM response: {}", said(answer))),
        None => ask([("capital_question", sample("What is the capital of France?", 100)?)], None),
    }
}

fn roots(call: &Call<'_>) -> Answer {
    match object(call, "client_roots") {
        Some(answer) => text(format!("Client roots: {}", answer.get("roots").unwrap_or(&Value::Null))),
        None => ask([("client_roots", list_roots()?)], None),
    }
}

fn confirmed(call: &Call<'_>, words: &str) -> Answer {
    let state = opened(call)?;
    match (object(call, "confirm"), state) {
        (Some(_), Some(state)) if state == "confirm" => text(words),
        _ => {
            let question = elicit("Please confirm", json!({"ok": {"type": "boolean"}}), &["ok"])?;
            ask([("confirm", question)], Some(sealed(call, "confirm")))
        }
    }
}

fn multiple(call: &Call<'_>) -> Answer {
    opened(call)?;
    let name = accepted(call, "user_name", "name").and_then(Value::as_str);
    match (name, object(call, "greeting"), object(call, "client_roots")) {
        (Some(name), Some(greeting), Some(roots)) => {
            text(format!("{} {name}, roots: {}", said(greeting), roots.get("roots").unwrap_or(&Value::Null)))
        }
        _ => {
            let questions = [
                ("user_name", ask_name("What is your name?")?),
                ("greeting", sample("Generate a greeting", 50)?),
                ("client_roots", list_roots()?),
            ];
            ask(questions, Some(sealed(call, "inputs")))
        }
    }
}

fn rounds(call: &Call<'_>) -> Answer {
    let state = opened(call)?.unwrap_or_default();
    let name = accepted(call, "step1", "name").and_then(Value::as_str);
    let color = accepted(call, "step2", "color").and_then(Value::as_str);
    match (state.split_once(' '), name, color) {
        // The name of the first round comes back only through the sealed state.
        (Some(("second", name)), _, Some(color)) => text(format!("{name} likes {color}")),
        (Some(("first", _)), Some(name), _) => {
            let question =
                elicit("Step 2: What is your favorite color?", json!({"color": {"type": "string"}}), &["color"])?;
            ask([("step2", question)], Some(sealed(call, &format!("second {name}"))))
        }
        _ => ask([("step1", ask_name("Step 1: What is your name?")?)], Some(sealed(call, "first round"))),
    }
}

fn capabilities(call: &Call<'_>) -> Answer {
    let declared = call.capabilities();
    let mut questions: Vec<(&str, InputRequest)> = Vec::new();
    if declared.elicitation.is_some() {
        questions.push(("user_name", ask_name("What is your name?")?));
    }
    if declared.sampling.is_some() {
        questions.push(("capital_question", sample("What is the capital of France?", 100)?));
    }
    if declared.roots.is_some() {
        questions.push(("client_roots", list_roots()?));
    }
    if questions.iter().all(|(key, _)| object(call, key).is_some()) {
        return text(format!("{} questions answered", questions.len()));
    }
    ask(questions, None)
}

fn ask<'k>(questions: impl IntoIterator<Item = (&'k str, InputRequest)>, state: Option<String>) -> Answer {
    let requests: InputRequests = questions.into_iter().map(|(key, request)| (key.to_owned(), request)).collect();
    Ok(InputRequiredResult::new(Some(requests), state).into())
}

fn ask_name(message: &str) -> Result<InputRequest, ErrorData> {
    elicit(message, json!({"name": {"type": "string"}}), &["name"])
}

fn list_roots() -> Result<InputRequest, ErrorData> {
    shape(json!({"method": "roots/list", "params": {}}))
}

/// The answer under `key`, if it has the form of one.
fn object<'c>(call: &'c Call<'_>, key: &str) -> Option<&'c Value> {
    call.answers.get(key).filter(|answer| answer.is_object())
}

/// The field of a form the user accepted.
fn accepted<'c>(call: &'c Call<'_>, key: &str, field: &str) -> Option<&'c Value> {
    let answer = object(call, key)?;
    let agreed = answer.get("action").and_then(Value::as_str) == Some("accept");
    answer.get("content")?.get(field).filter(|_| agreed)
}

fn sealed(call: &Call<'_>, state: &str) -> String {
    let options = SealOptions::new().associated_data(call.name.as_bytes());
    call.everything.shared.seal.seal_with(state.as_bytes(), &options)
}

fn opened(call: &Call<'_>) -> Result<Option<String>, ErrorData> {
    let Some(state) = call.state.as_deref() else { return Ok(None) };
    let broken = |error: &dyn std::fmt::Display| ErrorData::invalid_params(format!("requestState: {error}"), None);
    let state = call.everything.shared.seal.open_with(state, call.name.as_bytes()).map_err(|error| broken(&error))?;
    String::from_utf8(state).map(Some).map_err(|error| broken(&error))
}
