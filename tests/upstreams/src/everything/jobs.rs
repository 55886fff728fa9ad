//! Answers later, as tasks (SEP-2663). In: a call, the server's task store. Out: a task, or the result at once for
//! clients that did not declare the extension. The server alone decides; no parameter of a call asks for a task.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult, InputRequiredResult, ProgressNotificationParam,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskFuture, TaskOptions};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::everything::calling::Call;
use crate::everything::interactive::elicit;
use crate::everything::missing;
use crate::shape::{Answer, failure, text};

/// Works for `seconds`; a task where the client knows tasks and the work takes any time at all.
pub async fn slow_compute(call: &Call<'_>) -> Answer {
    let seconds = call.arguments.get("seconds").and_then(Value::as_f64).unwrap_or(0.0).clamp(0.0, SECONDS_MAX);
    let work = Duration::from_secs_f64(seconds);
    let label = call.arguments.get("label").and_then(Value::as_str).unwrap_or("compute").to_owned();
    let words = format!("{label} computed for {seconds} s");
    if knows_tasks(call) && seconds > 0.0 {
        return spawn(call, move |task| {
            Box::pin(async move {
                tokio::select! {
                    () = sleep(work) => Ok(CallToolResult::success(vec![ContentBlock::text(words)])),
                    () = task.cancelled() => Err(TaskExit::Cancelled),
                }
            })
        });
    }
    if let Some(token) = call.context.meta.get_progress_token() {
        // Tells the client that the call is under way, so that a test can cancel it then and not by a guess.
        let step = ProgressNotificationParam::new(token, 0.0).with_total(seconds.max(1.0));
        let lost = |error| ErrorData::internal_error(format!("the client is gone: {error}"), None);
        call.context.peer.notify_progress(step).await.map_err(lost)?;
    }
    tokio::select! {
        () = sleep(work) => text(words),
        () = call.context.ct.cancelled() => {
            call.everything.shared.cancelled.send_modify(|labels| { labels.insert(label); });
            failure("cancelled")
        }
    }
}

/// A task that completes with a tool error.
pub fn failing(call: &Call<'_>) -> Answer {
    required(call)?;
    spawn(call, |_| {
        Box::pin(async {
            sleep(Duration::from_secs(1)).await;
            Ok(CallToolResult::error(vec![ContentBlock::text("This job always fails")]))
        })
    })
}

/// A task that fails with a protocol error.
pub fn protocol_error(call: &Call<'_>) -> Answer {
    let broken = || ErrorData::internal_error("This job breaks the protocol", None);
    if !knows_tasks(call) {
        return Err(broken());
    }
    spawn(call, move |_| Box::pin(async move { Err(TaskExit::Error(broken())) }))
}

/// A task that waits for one confirmation.
pub fn confirm_delete(call: &Call<'_>) -> Answer {
    required(call)?;
    let file = call.arguments.get("filename").and_then(Value::as_str).unwrap_or("file").to_owned();
    spawn(call, move |task| {
        Box::pin(async move {
            let question = elicit(&format!("Delete {file}?"), json!({"confirm": {"type": "boolean"}}), &["confirm"])?;
            let answer = task.request_input("confirm", question).await?;
            let deleted = answer.pointer("/content/confirm") == Some(&json!(true));
            let words = format!("{file} was {}", if deleted { "deleted" } else { "kept" });
            Ok(CallToolResult::success(vec![ContentBlock::text(words)]))
        })
    })
}

/// A task that waits for two answers at the same time.
pub fn multi_input(call: &Call<'_>) -> Answer {
    required(call)?;
    spawn(call, |task| {
        Box::pin(async move {
            let properties = || json!({"name": {"type": "string"}});
            let first = task.request_input("first", elicit("First name?", properties(), &["name"])?);
            let second = task.request_input("second", elicit("Second name?", properties(), &["name"])?);
            let (first, second) = tokio::join!(first, second);
            let words = format!("Both answered: {} and {}", named(&first?), named(&second?));
            Ok(CallToolResult::success(vec![ContentBlock::text(words)]))
        })
    })
}

/// Asks first (an incomplete result), then works as a task.
pub fn after_input(call: &Call<'_>) -> Answer {
    required(call)?;
    let Some(answer) = call.answers.get("user_name").filter(|answer| answer.is_object()) else {
        let question = elicit("What is your name?", json!({"name": {"type": "string"}}), &["name"])?;
        return Ok(InputRequiredResult::from_input_requests([("user_name".to_owned(), question)].into()).into());
    };
    let words = format!("Hello, {}! Your task is done.", named(answer));
    spawn(call, move |_| Box::pin(async move { Ok(CallToolResult::success(vec![ContentBlock::text(words)])) }))
}

fn spawn(call: &Call<'_>, work: impl FnOnce(TaskContext) -> TaskFuture) -> Answer {
    let options = TaskOptions::new().with_poll_interval_ms(POLL_MS);
    Ok(CreateTaskResult::new(call.everything.shared.tasks.spawn(options, work)).into())
}

fn knows_tasks(call: &Call<'_>) -> bool {
    call.capabilities().supports_tasks()
}

fn required(call: &Call<'_>) -> Result<(), ErrorData> {
    if knows_tasks(call) {
        return Ok(());
    }
    Err(missing(ClientCapabilities::builder().enable_tasks().build()))
}

fn named(answer: &Value) -> &str {
    answer.pointer("/content/name").and_then(Value::as_str).unwrap_or("(no name)")
}

/// No call may hold a worker longer.
const SECONDS_MAX: f64 = 120.0;

/// How often a client should ask.
const POLL_MS: u64 = 200;
