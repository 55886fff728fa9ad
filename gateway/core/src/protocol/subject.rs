//! Names what a request acts on. In: a method and its message. Out: the tool, prompt, resource, task or filter to authorise.
//!
//! Only the body is looked at; headers repeat it and are compared in [`era`](super::era).

use super::json::{Kind, Value};
use super::message::{Message, MessageError, name, refuse_variants, text};
use super::method::Method;

/// What is to be authorised.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'d> {
    /// Nothing beyond the method itself.
    None,
    /// A call of a tool.
    Tool {
        /// Exactly as written; compared by code points.
        name: &'d str,
        /// An object; null counts as absent.
        arguments: Option<Value<'d>>,
    },
    /// A prompt to be filled in.
    Prompt {
        /// Exactly as written.
        name: &'d str,
        /// An object; null counts as absent.
        arguments: Option<Value<'d>>,
    },
    /// A resource to be read, or to be told of.
    Resource {
        /// Exactly as written; not normalised.
        uri: &'d str,
    },
    /// Values for an argument of a prompt.
    CompletePrompt {
        /// The prompt.
        name: &'d str,
    },
    /// Values for a variable of a resource template.
    CompleteResource {
        /// The template, RFC 6570.
        uri: &'d str,
    },
    /// A task.
    Task {
        /// Exactly as written.
        id: &'d str,
    },
    /// A stream of notifications.
    Listen(Listen<'d>),
}

/// The filter of `subscriptions/listen`. Whatever it could name beyond this is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listen<'d> {
    /// Changes of the list of tools are asked for.
    pub tools_list_changed: bool,
    /// Changes of the list of prompts are asked for.
    pub prompts_list_changed: bool,
    /// Changes of the list of resources are asked for.
    pub resources_list_changed: bool,
    resource_subscriptions: Option<Value<'d>>,
    task_ids: Option<Value<'d>>,
}

impl<'d> Listen<'d> {
    /// The URIs whose changes are asked for.
    pub fn resource_subscriptions(&self) -> impl Iterator<Item = &'d str> {
        texts(self.resource_subscriptions)
    }

    /// The tasks whose changes are asked for.
    pub fn task_ids(&self) -> impl Iterator<Item = &'d str> {
        texts(self.task_ids)
    }
}

/// The member of `params` that names what a request for `method` acts on.
pub fn member(method: Method) -> Option<&'static str> {
    match method {
        Method::ToolsCall | Method::PromptsGet => Some("name"),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => Some("uri"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel | Method::TasksResult => Some("taskId"),
        Method::Complete => Some("ref"),
        Method::SubscriptionsListen => Some("notifications"),
        Method::Initialize | Method::Discover | Method::Ping | Method::SetLevel | Method::ToolsList => None,
        Method::ResourcesList | Method::ResourceTemplatesList | Method::PromptsList | Method::TasksList => None,
    }
}

/// What `message` acts on when it is a request for `method`.
pub fn subject<'d>(method: Method, message: &Message<'d>) -> Result<Subject<'d>, MessageError> {
    match method {
        Method::ToolsCall => Ok(Subject::Tool { name: named(message)?, arguments: arguments(message)? }),
        Method::PromptsGet => Ok(Subject::Prompt { name: named(message)?, arguments: arguments(message)? }),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            let uri = message.param("uri").ok_or(MessageError::UriMissing)?;
            Ok(Subject::Resource { uri: text(uri, MessageError::UriMissing)? })
        }
        Method::Complete => completion(message),
        Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate => {
            let id = message.param("taskId").ok_or(MessageError::TaskIdMissing)?;
            Ok(Subject::Task { id: text(id, MessageError::TaskIdMissing)? })
        }
        Method::SubscriptionsListen => listen(message).map(Subject::Listen),
        Method::Initialize | Method::Discover | Method::Ping | Method::SetLevel => Ok(Subject::None),
        Method::ToolsList | Method::ResourcesList | Method::ResourceTemplatesList => Ok(Subject::None),
        Method::PromptsList | Method::TasksList => Ok(Subject::None),
    }
}

fn named<'d>(message: &Message<'d>) -> Result<&'d str, MessageError> {
    name(message.param("name").ok_or(MessageError::NameMissing)?, MessageError::NameMissing)
}

fn arguments<'d>(message: &Message<'d>) -> Result<Option<Value<'d>>, MessageError> {
    match message.param("arguments") {
        Some(arguments) => match arguments.kind() {
            Kind::Object => Ok(Some(arguments)),
            Kind::Null => Ok(None),
            Kind::Bool | Kind::Integer | Kind::Float | Kind::String | Kind::Array => Err(MessageError::ArgumentsType),
        },
        None => Ok(None),
    }
}

fn completion<'d>(message: &Message<'d>) -> Result<Subject<'d>, MessageError> {
    let reference = message.param("ref").ok_or(MessageError::ReferenceType)?;
    refuse_variants(reference, &["type", "name", "uri"])?;
    match reference.get("type").and_then(Value::as_str) {
        Some("ref/prompt") => {
            let prompt = reference.get("name").ok_or(MessageError::NameMissing)?;
            Ok(Subject::CompletePrompt { name: name(prompt, MessageError::NameMissing)? })
        }
        Some("ref/resource") => {
            let template = reference.get("uri").ok_or(MessageError::UriMissing)?;
            Ok(Subject::CompleteResource { uri: text(template, MessageError::UriMissing)? })
        }
        Some(_) | None => Err(MessageError::ReferenceType),
    }
}

fn listen<'d>(message: &Message<'d>) -> Result<Listen<'d>, MessageError> {
    let filter = message.param("notifications").ok_or(MessageError::ListenFilter)?;
    if filter.kind() != Kind::Object {
        return Err(MessageError::ListenFilter);
    }
    let mut listen = Listen::default();
    for (key, value) in filter.entries() {
        match key {
            "toolsListChanged" => listen.tools_list_changed = flag(value)?,
            "promptsListChanged" => listen.prompts_list_changed = flag(value)?,
            "resourcesListChanged" => listen.resources_list_changed = flag(value)?,
            "resourceSubscriptions" => listen.resource_subscriptions = Some(list_of_texts(value)?),
            "taskIds" => listen.task_ids = Some(list_of_texts(value)?),
            _ => return Err(MessageError::ListenFilter),
        }
    }
    Ok(listen)
}

fn flag(value: Value<'_>) -> Result<bool, MessageError> {
    value.as_bool().ok_or(MessageError::ListenFilter)
}

fn list_of_texts(value: Value<'_>) -> Result<Value<'_>, MessageError> {
    if value.kind() != Kind::Array {
        return Err(MessageError::ListenFilter);
    }
    value.items().try_for_each(|item| text(item, MessageError::ListenFilter).map(drop))?;
    Ok(value)
}

fn texts<'d>(list: Option<Value<'d>>) -> impl Iterator<Item = &'d str> {
    list.into_iter().flat_map(Value::items).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};
    use crate::protocol::message::message;

    fn described(method: Method, params: &str) -> Result<String, MessageError> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
        Ok(match subject(method, &message(document.root())?)? {
            Subject::None => "none".to_owned(),
            Subject::Tool { name, arguments } => format!("tool {name} {:?}", arguments.map(Value::len)),
            Subject::Prompt { name, arguments } => format!("prompt {name} {:?}", arguments.map(Value::len)),
            Subject::Resource { uri } => format!("resource {uri}"),
            Subject::CompletePrompt { name } => format!("complete prompt {name}"),
            Subject::CompleteResource { uri } => format!("complete resource {uri}"),
            Subject::Task { id } => format!("task {id}"),
            Subject::Listen(listen) => {
                let flags = (listen.tools_list_changed, listen.prompts_list_changed, listen.resources_list_changed);
                let uris: Vec<&str> = listen.resource_subscriptions().collect();
                format!("listen {flags:?} {uris:?} {:?}", listen.task_ids().collect::<Vec<_>>())
            }
        })
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        let check = |method: Method, params: &str, expected: MessageError| {
            assert_eq!(described(method, params), Err(expected), "given {} {params}", method.as_str());
        };
        check(Method::ToolsCall, "{}", MessageError::NameMissing);
        check(Method::ToolsCall, r#"{"name":7}"#, MessageError::NameMissing);
        check(Method::ToolsCall, r#"{"name":""}"#, MessageError::NameMissing);
        check(Method::ToolsCall, r#"{"name":"a\u0000"}"#, MessageError::ControlCharacter);
        check(Method::ToolsCall, &format!(r#"{{"name":"{}"}}"#, "n".repeat(257)), MessageError::NameTooLong);
        check(Method::ToolsCall, r#"{"name":"a","arguments":[]}"#, MessageError::ArgumentsType);
        check(Method::ToolsCall, r#"{"name":"a","arguments":"{}"}"#, MessageError::ArgumentsType);
        check(Method::ToolsCall, r#"{"name":"a","Arguments":{}}"#, MessageError::CaseVariant);
        check(Method::PromptsGet, r#"{"name":"a\nb"}"#, MessageError::ControlCharacter);
        check(Method::PromptsGet, r#"{"name":null}"#, MessageError::NameMissing);
        check(Method::ResourcesRead, "{}", MessageError::UriMissing);
        check(Method::ResourcesRead, r#"{"uri":["a"]}"#, MessageError::UriMissing);
        check(Method::ResourcesSubscribe, r#"{"uri":"file:///a\u0000b"}"#, MessageError::ControlCharacter);
        check(Method::TasksGet, r#"{"taskid":"t"}"#, MessageError::CaseVariant);
        check(Method::TasksCancel, r#"{"taskId":1}"#, MessageError::TaskIdMissing);
        check(Method::Complete, "{}", MessageError::ReferenceType);
        check(Method::Complete, r#"{"ref":{"type":"ref/tool","name":"a"}}"#, MessageError::ReferenceType);
        check(Method::Complete, r#"{"ref":{"type":"ref/prompt","uri":"a"}}"#, MessageError::NameMissing);
        check(Method::Complete, r#"{"ref":{"type":"ref/resource","name":"a"}}"#, MessageError::UriMissing);
        check(Method::Complete, r#"{"ref":{"type":"ref/prompt","name":"a","Type":"x"}}"#, MessageError::CaseVariant);
        check(Method::SubscriptionsListen, "{}", MessageError::ListenFilter);
        for filter in [
            "[]",
            r#"{"toolsListChanged":1}"#,
            r#"{"resourceSubscriptions":"a"}"#,
            r#"{"resourceSubscriptions":[1]}"#,
            r#"{"taskIds":[""]}"#,
            r#"{"ToolsListChanged":true}"#,
            r#"{"somethingNew":true}"#,
        ] {
            check(Method::SubscriptionsListen, &format!(r#"{{"notifications":{filter}}}"#), MessageError::ListenFilter);
        }
    }

    #[test]
    fn what_is_to_be_authorised_is_named() {
        let check = |method: Method, params: &str, expected: &str| {
            assert_eq!(described(method, params).as_deref(), Ok(expected), "given {} {params}", method.as_str());
        };
        check(Method::ToolsCall, r#"{"arguments":{"a":1},"n\u0061me":"read_table"}"#, "tool read_table Some(1)");
        check(Method::ToolsCall, r#"{"name":"A b","arguments":null}"#, "tool A b None");
        check(Method::PromptsGet, r#"{"name":"p"}"#, "prompt p None");
        check(Method::ResourcesRead, r#"{"uri":"file:///a%2Fb"}"#, "resource file:///a%2Fb");
        check(Method::ResourcesUnsubscribe, r#"{"uri":"x:"}"#, "resource x:");
        check(Method::Complete, r#"{"ref":{"type":"ref/prompt","name":"p"}}"#, "complete prompt p");
        check(Method::Complete, r#"{"ref":{"type":"ref/resource","uri":"x://{id}"}}"#, "complete resource x://{id}");
        check(Method::TasksUpdate, r#"{"taskId":"t"}"#, "task t");
        check(Method::TasksList, "{}", "none");
        check(Method::Discover, "{}", "none");
        check(
            Method::SubscriptionsListen,
            r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a","b"],"taskIds":["t"]}}"#,
            r#"listen (true, false, false) ["a", "b"] ["t"]"#,
        );
        check(Method::SubscriptionsListen, r#"{"notifications":{}}"#, "listen (false, false, false) [] []");
    }
}
