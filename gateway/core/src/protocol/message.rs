//! Reads one JSON-RPC message. In: the root of a body. Out: its kind and members, or the one named reason why not.
//!
//! Beside what JSON-RPC 2.0 demands, whatever another reader could take for something else is refused here: a key that
//! only differs in case from one the gateway looks at, an id that a double cannot hold, a control character in a method.

use std::fmt;

use super::code;
use super::fold::{Names, is_variant_of_any};
use super::json::{Kind, Value};
use crate::limits::{ID_BYTES_MAX, NAME_BYTES_MAX};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// A response that succeeded.
    Result,
    /// A response that failed.
    Error,
}

/// A JSON-RPC id. `1` and `"1"` are different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'d> {
    /// At most [`ID_BYTES_MAX`] bytes.
    Text(&'d str),
    /// Within ±(2^53 − 1), so that every reader reads the same.
    Number(i64),
}

/// One message. What it points to lives as long as its document.
#[derive(Clone, Copy, Debug)]
pub struct Message<'d> {
    /// Which of the four it is.
    pub kind: MessageKind,
    /// Present but in a notification.
    pub id: Option<Id<'d>>,
    /// Present in a request and a notification; 1 to [`NAME_BYTES_MAX`] bytes without control characters.
    pub method: Option<&'d str>,
    /// An object, if present.
    pub params: Option<Value<'d>>,
    /// An object, present in a result.
    pub result: Option<Value<'d>>,
    /// An object with an integer `code` and a string `message`, present in an error.
    pub error: Option<Value<'d>>,
}

/// Why a message, or what it asks for, is refused. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageError {
    /// Not an object.
    NotAnObject,
    /// An array: batches ended with 2025-06-18 and are not offered.
    Batch,
    /// `jsonrpc` is not `"2.0"`.
    NotJsonRpc,
    /// A key that differs only in case from one that matters.
    CaseVariant,
    /// `id` is null, a float, a bool or a container.
    IdType,
    /// `id` is longer than [`ID_BYTES_MAX`].
    IdTooLong,
    /// `id` is an integer beyond ±(2^53 − 1).
    IdOutOfRange,
    /// `method` is not a string, or is empty.
    MethodType,
    /// A method, tool or prompt name longer than [`NAME_BYTES_MAX`].
    NameTooLong,
    /// A control character, U+0000 among them, in a method, name, URI or task id.
    ControlCharacter,
    /// `params` is not an object.
    ParamsType,
    /// `_meta` is not an object.
    MetaType,
    /// `progressToken` is neither a string nor an integer, or is beyond what an id may be.
    ProgressTokenType,
    /// `requestState` is not a string.
    RequestStateType,
    /// `inputResponses` is not an object.
    InputResponsesType,
    /// A method together with a result or an error.
    MethodInResponse,
    /// A result together with an error.
    ResultAndError,
    /// Neither method nor result nor error.
    NoContent,
    /// A response without id.
    ResponseWithoutId,
    /// `result` is not an object.
    ResultType,
    /// `error` is not an object with an integer `code` and a string `message`.
    ErrorType,
    /// The name of a tool or prompt is missing, empty or not a string.
    NameMissing,
    /// `arguments` is neither an object nor null.
    ArgumentsType,
    /// The URI is missing, empty or not a string.
    UriMissing,
    /// `taskId` is missing, empty or not a string.
    TaskIdMissing,
    /// `ref` is not of type `ref/prompt` or `ref/resource`.
    ReferenceType,
    /// The filter of `subscriptions/listen` holds what cannot be judged.
    ListenFilter,
}

impl<'d> Message<'d> {
    /// A member of `params`.
    pub fn param(&self, key: &str) -> Option<Value<'d>> {
        self.params?.get(key)
    }

    /// `params._meta`, an object.
    pub fn meta(&self) -> Option<Value<'d>> {
        self.param(META)
    }

    /// `params._meta["io.modelcontextprotocol/protocolVersion"]`, as it stands: the claim to speak a modern revision.
    pub fn meta_protocol_version(&self) -> Option<Value<'d>> {
        self.meta()?.get(META_PROTOCOL_VERSION)
    }

    /// `params._meta["io.modelcontextprotocol/clientCapabilities"]`, as it stands.
    pub fn meta_client_capabilities(&self) -> Option<Value<'d>> {
        self.meta()?.get(META_CLIENT_CAPABILITIES)
    }

    /// `params._meta["io.modelcontextprotocol/clientInfo"]`: what the client says of itself, never a ground for anything.
    pub fn meta_client_info(&self) -> Option<Value<'d>> {
        self.meta()?.get(META_CLIENT_INFO)
    }

    /// `params._meta["io.modelcontextprotocol/logLevel"]`.
    pub fn meta_log_level(&self) -> Option<&'d str> {
        self.meta()?.get(META_LOG_LEVEL)?.as_str()
    }

    /// `params._meta["io.modelcontextprotocol/subscriptionId"]` of a notification on a listening stream.
    pub fn meta_subscription_id(&self) -> Option<Id<'d>> {
        id(self.meta()?.get(META_SUBSCRIPTION_ID)?).ok()
    }

    /// The token that progress of this request is to carry, or that this progress notification carries.
    pub fn progress_token(&self) -> Option<Id<'d>> {
        let of_request = self.meta().and_then(|meta| meta.get(PROGRESS_TOKEN));
        id(of_request.or_else(|| self.param(PROGRESS_TOKEN))?).ok()
    }

    /// `params.requestState`: what an upstream gave to carry, byte for byte.
    pub fn request_state(&self) -> Option<&'d str> {
        self.param(REQUEST_STATE)?.as_str()
    }

    /// `params.inputResponses`: the answers to what an upstream asked in its last result.
    pub fn input_responses(&self) -> Option<Value<'d>> {
        self.param(INPUT_RESPONSES)
    }

    /// `params.task` of 2025-11-25: the call is to run as a task.
    pub fn task(&self) -> Option<Value<'d>> {
        self.param("task")
    }

    /// `params.requestId` of `notifications/cancelled`: the request that is given up.
    pub fn cancelled_request(&self) -> Option<Id<'d>> {
        id(self.param("requestId")?).ok()
    }

    /// Whether the client declared the extension `identifier` in its `_meta`.
    pub fn declares_extension(&self, identifier: &str) -> bool {
        let extensions = self.meta_client_capabilities().and_then(|capabilities| capabilities.get("extensions"));
        extensions.and_then(|extensions| extensions.get(identifier)).is_some_and(|value| value.kind() == Kind::Object)
    }
}

/// Reads the message that `root` is.
pub fn message<'d>(root: Value<'d>) -> Result<Message<'d>, MessageError> {
    match root.kind() {
        Kind::Object => {}
        Kind::Array => return Err(MessageError::Batch),
        Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::String => return Err(MessageError::NotAnObject),
    }
    let mut version = None;
    let mut message =
        Message { kind: MessageKind::Notification, id: None, method: None, params: None, result: None, error: None };
    for (key, value) in root.entries() {
        match key {
            "jsonrpc" => version = value.as_str(),
            "id" => message.id = Some(id(value)?),
            "method" => message.method = Some(method(value)?),
            "params" => message.params = Some(params(value)?),
            "result" => message.result = Some(value),
            "error" => message.error = Some(value),
            other if MEMBERS.have_variant(other) => return Err(MessageError::CaseVariant),
            _ => {}
        }
    }
    if version != Some("2.0") {
        return Err(MessageError::NotJsonRpc);
    }
    message.kind = kind(&message)?;
    Ok(message)
}

fn kind(message: &Message<'_>) -> Result<MessageKind, MessageError> {
    let kind = match (message.method, message.result, message.error) {
        (Some(_), None, None) if message.id.is_some() => return Ok(MessageKind::Request),
        (Some(_), None, None) => return Ok(MessageKind::Notification),
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => return Err(MessageError::MethodInResponse),
        (None, Some(_), Some(_)) => return Err(MessageError::ResultAndError),
        (None, None, None) => return Err(MessageError::NoContent),
        (None, Some(result), None) if result.kind() == Kind::Object => MessageKind::Result,
        (None, Some(_), None) => return Err(MessageError::ResultType),
        (None, None, Some(error)) => {
            let code = error.get("code").and_then(Value::as_i64);
            let text = error.get("message").and_then(Value::as_str);
            code.zip(text).ok_or(MessageError::ErrorType)?;
            MessageKind::Error
        }
    };
    message.id.map(|_| kind).ok_or(MessageError::ResponseWithoutId)
}

fn id(value: Value<'_>) -> Result<Id<'_>, MessageError> {
    match value.kind() {
        Kind::String => match value.as_str() {
            Some(text) if text.len() <= ID_BYTES_MAX => Ok(Id::Text(text)),
            Some(_) | None => Err(MessageError::IdTooLong),
        },
        Kind::Integer => match value.as_i64() {
            Some(number) if number.abs_diff(0) < 1 << 53 => Ok(Id::Number(number)),
            Some(_) | None => Err(MessageError::IdOutOfRange),
        },
        Kind::Null | Kind::Bool | Kind::Float | Kind::Array | Kind::Object => Err(MessageError::IdType),
    }
}

fn method(value: Value<'_>) -> Result<&str, MessageError> {
    name(value, MessageError::MethodType)
}

/// A non-empty string of at most [`NAME_BYTES_MAX`] bytes without control characters; `missing` where it is no such string.
pub(super) fn name(value: Value<'_>, missing: MessageError) -> Result<&str, MessageError> {
    match text(value, missing)? {
        text if text.len() > NAME_BYTES_MAX => Err(MessageError::NameTooLong),
        text => Ok(text),
    }
}

/// A non-empty string without control characters; `missing` where it is no such string.
pub(super) fn text(value: Value<'_>, missing: MessageError) -> Result<&str, MessageError> {
    match value.as_str() {
        None | Some("") => Err(missing),
        Some(text) if text.bytes().any(|byte| byte.is_ascii_control()) => Err(MessageError::ControlCharacter),
        Some(text) => Ok(text),
    }
}

fn params(params: Value<'_>) -> Result<Value<'_>, MessageError> {
    if params.kind() != Kind::Object {
        return Err(MessageError::ParamsType);
    }
    for (key, value) in params.entries() {
        match key {
            META => meta(value)?,
            PROGRESS_TOKEN => progress_token(value)?,
            REQUEST_STATE if value.kind() != Kind::String => return Err(MessageError::RequestStateType),
            INPUT_RESPONSES if value.kind() != Kind::Object => return Err(MessageError::InputResponsesType),
            other if PARAMS.have_variant(other) => return Err(MessageError::CaseVariant),
            _ => {}
        }
    }
    Ok(params)
}

fn meta(meta: Value<'_>) -> Result<(), MessageError> {
    if meta.kind() != Kind::Object {
        return Err(MessageError::MetaType);
    }
    for (key, value) in meta.entries() {
        match key {
            PROGRESS_TOKEN => progress_token(value)?,
            other if METAS.have_variant(other) => return Err(MessageError::CaseVariant),
            _ => {}
        }
    }
    Ok(())
}

fn progress_token(value: Value<'_>) -> Result<(), MessageError> {
    id(value).map(drop).map_err(|_| MessageError::ProgressTokenType)
}

/// Refuses an object in which a key differs only in case from one of `known`.
pub(super) fn refuse_variants(object: Value<'_>, known: &[&str]) -> Result<(), MessageError> {
    if object.entries().any(|(key, _)| is_variant_of_any(key, known)) { Err(MessageError::CaseVariant) } else { Ok(()) }
}

impl MessageError {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::Batch => "batch",
            Self::NotJsonRpc => "not_json_rpc",
            Self::CaseVariant => "case_variant",
            Self::IdType => "id_type",
            Self::IdTooLong => "id_too_long",
            Self::IdOutOfRange => "id_out_of_range",
            Self::MethodType => "method_type",
            Self::NameTooLong => "name_too_long",
            Self::ControlCharacter => "control_character",
            Self::ParamsType => "params_type",
            Self::MetaType => "meta_type",
            Self::ProgressTokenType => "progress_token_type",
            Self::RequestStateType => "request_state_type",
            Self::InputResponsesType => "input_responses_type",
            Self::MethodInResponse => "method_in_response",
            Self::ResultAndError => "result_and_error",
            Self::NoContent => "no_content",
            Self::ResponseWithoutId => "response_without_id",
            Self::ResultType => "result_type",
            Self::ErrorType => "error_type",
            Self::NameMissing => "name_missing",
            Self::ArgumentsType => "arguments_type",
            Self::UriMissing => "uri_missing",
            Self::TaskIdMissing => "task_id_missing",
            Self::ReferenceType => "reference_type",
            Self::ListenFilter => "listen_filter",
        }
    }

    /// The JSON-RPC code; the HTTP status is 400 for each.
    pub fn code(self) -> i64 {
        match self {
            Self::NotAnObject | Self::Batch | Self::NotJsonRpc | Self::CaseVariant | Self::IdType => {
                code::INVALID_REQUEST
            }
            Self::IdTooLong | Self::IdOutOfRange | Self::MethodType | Self::ParamsType => code::INVALID_REQUEST,
            Self::MethodInResponse | Self::ResultAndError | Self::NoContent => code::INVALID_REQUEST,
            Self::ResponseWithoutId | Self::ResultType | Self::ErrorType => code::INVALID_REQUEST,
            Self::NameTooLong | Self::ControlCharacter | Self::MetaType | Self::ProgressTokenType => {
                code::INVALID_PARAMS
            }
            Self::RequestStateType | Self::InputResponsesType | Self::NameMissing => code::INVALID_PARAMS,
            Self::ArgumentsType | Self::UriMissing | Self::TaskIdMissing => code::INVALID_PARAMS,
            Self::ReferenceType | Self::ListenFilter => code::INVALID_PARAMS,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotAnObject => "the body is not a JSON-RPC message",
            Self::Batch => "batches are not offered",
            Self::NotJsonRpc => "`jsonrpc` is not `2.0`",
            Self::CaseVariant => "a key differs only in case from one the protocol defines",
            Self::IdType => "`id` is neither a string nor an integer",
            Self::IdTooLong => "`id` is too long",
            Self::IdOutOfRange => "`id` is beyond 2^53 - 1",
            Self::MethodType => "`method` is not a string",
            Self::NameTooLong => "a method or name is too long",
            Self::ControlCharacter => "a method, name, URI or task id holds a control character",
            Self::ParamsType => "`params` is not an object",
            Self::MetaType => "`_meta` is not an object",
            Self::ProgressTokenType => "`progressToken` is neither a string nor an integer",
            Self::RequestStateType => "`requestState` is not a string",
            Self::InputResponsesType => "`inputResponses` is not an object",
            Self::MethodInResponse => "a method stands beside a result or an error",
            Self::ResultAndError => "a result stands beside an error",
            Self::NoContent => "there is neither method nor result nor error",
            Self::ResponseWithoutId => "a response has no id",
            Self::ResultType => "`result` is not an object",
            Self::ErrorType => "`error` lacks an integer `code` or a string `message`",
            Self::NameMissing => "`name` is missing",
            Self::ArgumentsType => "`arguments` is not an object",
            Self::UriMissing => "`uri` is missing",
            Self::TaskIdMissing => "`taskId` is missing",
            Self::ReferenceType => "`ref` is neither a prompt nor a resource",
            Self::ListenFilter => "`notifications` holds what cannot be judged",
        })
    }
}

impl std::error::Error for MessageError {}

/// The claim to a modern revision, inside `_meta` (2026-07-28).
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do, inside `_meta` (2026-07-28).
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// What the client says of itself, inside `_meta` (2026-07-28).
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const META_SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
const META: &str = "_meta";
const PROGRESS_TOKEN: &str = "progressToken";
const REQUEST_STATE: &str = "requestState";
const INPUT_RESPONSES: &str = "inputResponses";

const MEMBERS: Names<6> = Names::new(["jsonrpc", "id", "method", "params", "result", "error"]);

/// Every member of `params` that the gateway or an upstream acts on, in any method.
const PARAMS: Names<18> = Names::new([
    "name",
    "arguments",
    "uri",
    "taskId",
    META,
    REQUEST_STATE,
    INPUT_RESPONSES,
    "task",
    "ref",
    "argument",
    "context",
    "notifications",
    "requestId",
    "cursor",
    PROGRESS_TOKEN,
    "protocolVersion",
    "capabilities",
    "level",
]);

const METAS: Names<6> = Names::new([
    META_PROTOCOL_VERSION,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_SUBSCRIPTION_ID,
    PROGRESS_TOKEN,
]);

#[cfg(test)]
mod tests;
