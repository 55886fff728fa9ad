//! Answers that only a test could want. In: a call. Out: missing capabilities, changes, what was cancelled.
#![expect(deprecated, reason = "sampling is deprecated and still part of every revision")]

use std::time::Duration;

use rmcp::model::ClientCapabilities;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::everything::calling::Call;
use crate::everything::interactive::elicit;
use crate::everything::{Change, locked, missing};
use crate::shape::{Answer, failure, text, text_argument};

/// Needs sampling, and says so with `-32021`.
pub fn missing_capability(call: &Call<'_>) -> Answer {
    if call.capabilities().sampling.is_none() {
        return Err(missing(ClientCapabilities::builder().enable_sampling().build()));
    }
    text("The client declared sampling")
}

/// Asks in the middle of a call: on the stream of a legacy client, by an incomplete result of a modern one.
pub async fn streaming_elicitation(call: &Call<'_>) -> Answer {
    let request = elicit("Please confirm", json!({"ok": {"type": "boolean"}}), &["ok"])?;
    match call.ask("confirm", request).await {
        Ok(answer) => text(format!("The user answered {answer}")),
        Err(answer) => answer,
    }
}

/// Adds `test_dynamic_tool`, or takes it away again.
pub async fn change_tools(call: &Call<'_>) -> Answer {
    let listed = {
        let mut extras = locked(&call.everything.shared.extras);
        extras.tool = !extras.tool;
        extras.tool
    };
    call.everything.shared.publish(Change::Tools).await;
    text(format!("test_dynamic_tool is {}", if listed { "listed" } else { "gone" }))
}

/// Adds `test_dynamic_prompt`, or takes it away again.
pub async fn change_prompts(call: &Call<'_>) -> Answer {
    let listed = {
        let mut extras = locked(&call.everything.shared.extras);
        extras.prompt = !extras.prompt;
        extras.prompt
    };
    call.everything.shared.publish(Change::Prompts).await;
    text(format!("test_dynamic_prompt is {}", if listed { "listed" } else { "gone" }))
}

/// Says that a resource changed, to those who asked.
pub async fn update_resource(call: &Call<'_>) -> Answer {
    let uri = call.arguments.get("uri").and_then(Value::as_str).unwrap_or("test://watched-resource").to_owned();
    call.everything.shared.publish(Change::Resource(uri.clone())).await;
    text(format!("{uri} was updated"))
}

/// Waits until the cancellation of the `slow_compute` call with this label has arrived.
pub async fn cancelled_calls(call: &Call<'_>) -> Answer {
    let label = text_argument(&call.arguments, "label")?;
    let mut cancelled = call.everything.shared.cancelled.subscribe();
    let arrived = timeout(CANCELLATION_WAIT_MAX, cancelled.wait_for(|labels| labels.contains(label))).await;
    match arrived {
        Ok(Ok(_)) => text(format!("{label} was cancelled")),
        Ok(Err(_)) | Err(_) => failure(format!("{label} was not cancelled")),
    }
}

/// A cancellation crosses two hops on loopback; after this long it was lost.
const CANCELLATION_WAIT_MAX: Duration = Duration::from_secs(5);
