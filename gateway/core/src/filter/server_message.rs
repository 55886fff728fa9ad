//! Tells what an upstream says. In: a message of its stream, or a result. Out: what it is, or why it is dropped.

use std::fmt;

use super::splice::{FilterError, refuse_variants};
use crate::protocol::fold::Names;
use crate::protocol::json::{Kind, Value};
use crate::protocol::message::{Message, MessageError, MessageKind, message};
use crate::protocol::method::{ServerMethod, ServerNotification};
use crate::protocol::revision::Revision;

/// A message an upstream sent.
#[derive(Clone, Copy, Debug)]
pub enum ServerMessage<'d> {
    /// The answer to the request with the message's id.
    Response(Message<'d>),
    /// It asks the agent for something. Refused unless the policy permits it.
    Request(ServerMethod, Message<'d>),
    /// It tells the agent something.
    Notification(ServerNotification, Message<'d>),
    /// It is not passed on.
    Dropped(DropCause),
}

/// Why a message of an upstream is not passed on. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// No JSON-RPC message, or one that readers could take differently.
    Malformed(MessageError),
    /// A request MCP does not know, or not in this revision.
    RequestNotOffered,
    /// A notification MCP does not know, or not in this revision.
    NotificationNotOffered,
}

impl DropCause {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::RequestNotOffered => "request_not_offered",
            Self::NotificationNotOffered => "notification_not_offered",
        }
    }
}

/// What the message is that an upstream sent under `revision`.
pub fn classify(root: Value<'_>, revision: Revision) -> ServerMessage<'_> {
    let message = match message(root) {
        Ok(message) => message,
        Err(error) => return ServerMessage::Dropped(DropCause::Malformed(error)),
    };
    let name = message.method.unwrap_or_default();
    match message.kind {
        MessageKind::Result | MessageKind::Error => ServerMessage::Response(message),
        MessageKind::Request => match ServerMethod::parse(name).filter(|method| method.offered_in(revision)) {
            Some(method) => ServerMessage::Request(method, message),
            None => ServerMessage::Dropped(DropCause::RequestNotOffered),
        },
        MessageKind::Notification => {
            match ServerNotification::parse(name).filter(|notification| notification.offered_in(revision)) {
                Some(notification) => ServerMessage::Notification(notification, message),
                None => ServerMessage::Dropped(DropCause::NotificationNotOffered),
            }
        }
    }
}

/// How a result ends its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// It is the answer. A missing `resultType` means so.
    Complete,
    /// The client is to ask again with what the result asks for.
    InputRequired,
    /// The answer comes later, as a task.
    Task,
}

/// What a result holds beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'d> {
    /// How it ends its request.
    pub kind: OutcomeKind,
    /// What the client is to carry back, byte for byte.
    pub request_state: Option<&'d str>,
    /// The task that was made or told of: `taskId`, or `task.taskId` of 2025-11-25.
    pub task_id: Option<&'d str>,
    input_requests: Option<Value<'d>>,
}

impl<'d> Outcome<'d> {
    /// What the upstream asks of the agent: key, method and parameters. Each needs a permit, in a complete result
    /// (`tasks/get`) as in any other.
    pub fn input_requests(&self) -> impl Iterator<Item = (&'d str, ServerMethod, Option<Value<'d>>)> {
        self.input_requests.into_iter().flat_map(Value::entries).filter_map(|(key, request)| {
            let method = ServerMethod::parse(request.get("method")?.as_str()?)?;
            Some((key, method, request.get("params")))
        })
    }
}

/// Why a result cannot be passed on. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeError {
    /// A key differs only in case from one that is looked at.
    CaseVariant,
    /// A `resultType` that is unknown; clients must take such a result as invalid.
    Unknown,
    /// `requestState`, `taskId` or `inputRequests` is of the wrong kind, or what the `resultType` needs is missing.
    Shape,
    /// An input request is not one of those a result may hold.
    InputRequest,
}

impl OutcomeError {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::CaseVariant => "result_case_variant",
            Self::Unknown => "result_type_unknown",
            Self::Shape => "result_shape",
            Self::InputRequest => "result_input_request",
        }
    }
}

impl fmt::Display for OutcomeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::CaseVariant => "the result has a key that differs only in case from one MCP defines",
            Self::Unknown => "the result is of an unknown type",
            Self::Shape => "the result lacks what its type needs",
            Self::InputRequest => "the result asks for what no result may ask",
        })
    }
}

impl std::error::Error for OutcomeError {}

impl From<FilterError> for OutcomeError {
    fn from(error: FilterError) -> Self {
        match error {
            FilterError::CaseVariant => Self::CaseVariant,
            FilterError::Shape | FilterError::Misaligned => Self::Shape,
        }
    }
}

/// Reads what `result`, an object, holds beside its content.
pub fn outcome(result: Value<'_>) -> Result<Outcome<'_>, OutcomeError> {
    if result.entries().any(|(key, _)| KEYS.have_variant(key)) {
        return Err(OutcomeError::CaseVariant);
    }
    let kind = match result.get("resultType").map(Value::as_str) {
        None | Some(Some("complete")) => OutcomeKind::Complete,
        Some(Some("input_required")) => OutcomeKind::InputRequired,
        Some(Some("task")) => OutcomeKind::Task,
        Some(Some(_) | None) => return Err(OutcomeError::Unknown),
    };
    let made = result.get("task").filter(|task| task.kind() == Kind::Object);
    if let Some(task) = made {
        refuse_variants(task, &["taskId"])?;
    }
    let request_state = text(result.get("requestState"))?;
    let task_id = text(result.get("taskId").or_else(|| made?.get("taskId")))?;
    let input_requests = result.get("inputRequests");
    if let Some(requests) = input_requests {
        check_input_requests(requests)?;
    }
    let (kind, complete) = match kind {
        OutcomeKind::InputRequired => (kind, input_requests.is_some() || request_state.is_some()),
        OutcomeKind::Task => (kind, task_id.is_some()),
        OutcomeKind::Complete if made.is_some() && task_id.is_some() => (OutcomeKind::Task, true),
        OutcomeKind::Complete => (kind, true),
    };
    if !complete {
        return Err(OutcomeError::Shape);
    }
    Ok(Outcome { kind, request_state, task_id, input_requests })
}

fn check_input_requests(requests: Value<'_>) -> Result<(), OutcomeError> {
    if requests.kind() != Kind::Object {
        return Err(OutcomeError::Shape);
    }
    for (_, request) in requests.entries() {
        refuse_variants(request, &["method", "params"])?;
        let method = request.get("method").and_then(Value::as_str).and_then(ServerMethod::parse);
        method.filter(|method| method.asked_in_results()).ok_or(OutcomeError::InputRequest)?;
    }
    Ok(())
}

fn text(value: Option<Value<'_>>) -> Result<Option<&str>, OutcomeError> {
    value.map(|value| value.as_str().ok_or(OutcomeError::Shape)).transpose()
}

const KEYS: Names<5> = Names::new(["resultType", "inputRequests", "requestState", "taskId", "task"]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{Document, JsonLimits, Scratch, read};

    fn parsed<'s>(scratch: &'s mut Scratch, text: &str) -> Document<'s> {
        read(scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap()
    }

    fn described(body: &str, revision: Revision) -> String {
        match classify(parsed(&mut Scratch::new(), body).root(), revision) {
            ServerMessage::Response(message) => format!("response {:?}", message.id),
            ServerMessage::Request(method, _) => format!("request {}", method.as_str()),
            ServerMessage::Notification(notification, _) => format!("notification {}", notification.as_str()),
            ServerMessage::Dropped(cause) => format!("dropped {}", cause.name()),
        }
    }

    #[test]
    fn what_a_revision_does_not_know_is_dropped() {
        use Revision::{V2025_03_26, V2025_11_25, V2026_07_28};
        let check = |members: &str, revision: Revision, expected: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
            assert_eq!(described(&body, revision), expected, "given {body} in {revision}");
        };
        check(r#""id":1,"method":"sampling/createMessage""#, V2026_07_28, "dropped request_not_offered");
        check(r#""id":1,"method":"elicitation/create""#, V2025_03_26, "dropped request_not_offered");
        check(r#""id":1,"method":"tools/call""#, V2025_11_25, "dropped request_not_offered");
        check(r#""id":1,"method":"notifications/message""#, V2025_11_25, "dropped request_not_offered");
        check(r#""method":"notifications/unknown""#, V2025_11_25, "dropped notification_not_offered");
        check(r#""method":"notifications/tasks""#, V2025_11_25, "dropped notification_not_offered");
        check(r#""method":"notifications/tasks/status""#, V2026_07_28, "dropped notification_not_offered");
        check(r#""result":{}"#, V2025_11_25, "dropped malformed");
        check(r#""id":1,"result":{},"Result":{}"#, V2025_11_25, "dropped malformed");
        assert_eq!(described("[]", V2025_11_25), "dropped malformed");
        check(r#""id":1,"method":"sampling/createMessage""#, V2025_11_25, "request sampling/createMessage");
        check(r#""id":1,"method":"elicitation/create""#, V2025_11_25, "request elicitation/create");
        check(r#""method":"notifications/progress""#, V2026_07_28, "notification notifications/progress");
        check(r#""method":"notifications/tasks""#, V2026_07_28, "notification notifications/tasks");
        check(r#""id":"a","result":{}"#, V2026_07_28, r#"response Some(Text("a"))"#);
        check(r#""id":1,"error":{"code":1,"message":""}"#, V2026_07_28, "response Some(Number(1))");
    }

    #[test]
    fn a_result_that_cannot_be_judged_is_refused() {
        let check = |result: &str, expected: OutcomeError| {
            let got = outcome(parsed(&mut Scratch::new(), result).root()).map(|outcome| outcome.kind);
            assert_eq!(got, Err(expected), "given {result}");
        };
        check(r#"{"resultType":"partial"}"#, OutcomeError::Unknown);
        check(r#"{"resultType":null}"#, OutcomeError::Unknown);
        check(r#"{"ResultType":"input_required"}"#, OutcomeError::CaseVariant);
        check(r#"{"task":{"TaskId":"t"}}"#, OutcomeError::CaseVariant);
        check(r#"{"resultType":"input_required"}"#, OutcomeError::Shape);
        check(r#"{"resultType":"input_required","requestState":7}"#, OutcomeError::Shape);
        check(r#"{"resultType":"input_required","inputRequests":[]}"#, OutcomeError::Shape);
        check(r#"{"resultType":"task"}"#, OutcomeError::Shape);
        check(r#"{"resultType":"task","taskId":7}"#, OutcomeError::Shape);
        for request in ["7", "{}", r#"{"method":"ping"}"#, r#"{"method":"tools/call"}"#, r#"{"method":"Roots/list"}"#] {
            check(
                &format!(r#"{{"resultType":"input_required","inputRequests":{{"k":{request}}}}}"#),
                OutcomeError::InputRequest,
            );
        }
        check(r#"{"inputRequests":{"k":{"method":"roots/list","Method":"x"}}}"#, OutcomeError::CaseVariant);
    }

    #[test]
    fn what_a_result_asks_for_is_found() {
        let check = |result: &str, kind: OutcomeKind, state: Option<&str>, task: Option<&str>, asked: &[&str]| {
            let mut scratch = Scratch::new();
            let document = parsed(&mut scratch, result);
            let got = outcome(document.root()).unwrap_or_else(|error| panic!("given {result} got {error}"));
            assert_eq!((got.kind, got.request_state, got.task_id), (kind, state, task), "given {result}");
            let methods: Vec<&str> = got.input_requests().map(|(_, method, _)| method.as_str()).collect();
            assert_eq!(methods, asked, "given {result}");
        };
        check(r#"{"content":[]}"#, OutcomeKind::Complete, None, None, &[]);
        check(r#"{"resultType":"complete"}"#, OutcomeKind::Complete, None, None, &[]);
        check(
            r#"{"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"elicitation/create","params":{}},"b":{"method":"roots/list"}}}"#,
            OutcomeKind::InputRequired,
            Some("s"),
            None,
            &["elicitation/create", "roots/list"],
        );
        check(r#"{"resultType":"input_required","requestState":""}"#, OutcomeKind::InputRequired, Some(""), None, &[]);
        check(r#"{"resultType":"task","taskId":"t"}"#, OutcomeKind::Task, None, Some("t"), &[]);
        check(r#"{"task":{"taskId":"t"}}"#, OutcomeKind::Task, None, Some("t"), &[]);
        check(
            r#"{"resultType":"complete","taskId":"t","inputRequests":{"a":{"method":"sampling/createMessage"}}}"#,
            OutcomeKind::Complete,
            None,
            Some("t"),
            &["sampling/createMessage"],
        );
    }
}
