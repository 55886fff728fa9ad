//! Answers in several messages. In: a call and its client. Out: logs, progress, questions to the client, then a result.
//! The pauses are part of the fixtures: they prove that a client, or a gateway, sees events before the result.
#![expect(deprecated, reason = "sampling and logging are deprecated and still part of every revision")]

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{InputRequest, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::everything::calling::Call;
use crate::shape::{Answer, shape, text, text_argument};

/// Three log messages at level info, if the client wants them.
pub async fn logging(call: &Call<'_>) -> Answer {
    for (index, words) in
        ["Tool execution started", "Tool processing data", "Tool execution completed"].iter().enumerate()
    {
        if index > 0 {
            sleep(PAUSE).await;
        }
        if call.everything.logs(&call.context, LoggingLevel::Info) {
            let message =
                LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(words)).with_logger("everything");
            call.context.peer.notify_logging_message(message).await.map_err(lost)?;
        }
    }
    text("Tool with logging executed successfully")
}

/// Progress 0, 50 and 100 of 100, if the client gave a token.
pub async fn progress(call: &Call<'_>) -> Answer {
    let token = call.context.meta.get_progress_token();
    for done in [0.0, 50.0, 100.0] {
        if done > 0.0 {
            sleep(PAUSE).await;
        }
        if let Some(token) = token.clone() {
            let step = ProgressNotificationParam::new(token, done).with_total(100.0);
            call.context
                .peer
                .notify_progress(step.with_message(format!("Completed {done} of 100")))
                .await
                .map_err(lost)?;
        }
    }
    text("Tool with progress executed successfully")
}

/// Asks the client's language model.
pub async fn sampling(call: &Call<'_>) -> Answer {
    let request = sample(text_argument(&call.arguments, "prompt")?, 100)?;
    match call.ask("sampling", request).await {
        Ok(answer) => text(format!("LLM response: {}", said(&answer))),
        Err(answer) => answer,
    }
}

/// Asks the client's user for a name and an address.
pub async fn elicitation(call: &Call<'_>) -> Answer {
    let properties = json!({
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"}});
    let request = elicit(text_argument(&call.arguments, "message")?, properties, &["username", "email"])?;
    match call.ask("elicitation", request).await {
        Ok(answer) => text(format!("User response: {}", decision(&answer))),
        Err(answer) => answer,
    }
}

/// Asks for one value of every primitive type, each with a default (SEP-1034).
pub async fn elicitation_defaults(call: &Call<'_>) -> Answer {
    let properties = json!({
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "description": "User status",
            "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": true}});
    completed(call, elicit("Please review and update the form fields with defaults", properties, &[])?).await
}

/// Asks with every way to offer a choice (SEP-1330).
pub async fn elicitation_enums(call: &Call<'_>) -> Answer {
    let titled = |nth: [&str; 3]| {
        json!([
            {"const": "value1", "title": nth[0]},
            {"const": "value2", "title": nth[1]},
            {"const": "value3", "title": nth[2]}])
    };
    let properties = json!({
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"])},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled(["First Choice", "Second Choice", "Third Choice"])}}});
    completed(call, elicit("Please select options from the enum fields", properties, &[])?).await
}

/// Loses its stream in the middle (see `sessions`); the result is there for a client that comes back.
pub async fn reconnection() -> Answer {
    sleep(PAUSE * 2).await;
    text("Reconnection test completed successfully")
}

/// A form for the client's user.
pub fn elicit(message: &str, properties: Value, required: &[&str]) -> Result<InputRequest, ErrorData> {
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    shape(json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}))
}

/// A question for the client's language model.
pub fn sample(prompt: &str, tokens_max: u32) -> Result<InputRequest, ErrorData> {
    let messages = json!([{"role": "user", "content": {"type": "text", "text": prompt}}]);
    shape(json!({"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": tokens_max}}))
}

/// The text of a `CreateMessageResult`, whose content is one block or a list of them.
pub fn said(answer: &Value) -> &str {
    let one = answer.pointer("/content/text").or_else(|| answer.pointer("/content/0/text"));
    one.and_then(Value::as_str).unwrap_or("(no text)")
}

async fn completed(call: &Call<'_>, request: InputRequest) -> Answer {
    match call.ask("elicitation", request).await {
        Ok(answer) => text(format!("Elicitation completed: {}", decision(&answer))),
        Err(answer) => answer,
    }
}

fn decision(answer: &Value) -> String {
    let action = answer.get("action").and_then(Value::as_str).unwrap_or("(none)");
    let content = answer.get("content").cloned().unwrap_or_else(|| json!({}));
    format!("action={action}, content={content}")
}

fn lost(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(format!("the client is gone: {error}"), None)
}

/// Between two messages of one call (SEP scenarios ask for about 50 ms).
const PAUSE: Duration = Duration::from_millis(50);
