//! Finds the fixture a `tools/call` names. In: one call. Out: the fixture's answer, or `-32602`.
#![expect(deprecated, reason = "roots, sampling and logging are deprecated and still part of every revision")]

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, InputRequest, InputRequiredResult, InputResponses, LoggingLevel,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value};

use crate::everything::{Everything, content, diagnostics, interactive, is_modern, jobs, missing, mrtr, unknown};
use crate::shape::Answer;

/// One call of a tool.
pub struct Call<'a> {
    pub(crate) everything: &'a Everything,
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) answers: InputResponses,
    pub(crate) state: Option<String>,
    pub(crate) context: RequestContext<RoleServer>,
}

impl<'a> Call<'a> {
    /// The call that `request` asks for.
    pub fn new(
        everything: &'a Everything,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Self {
        Self {
            everything,
            name: request.name.into_owned(),
            arguments: request.arguments.unwrap_or_default(),
            answers: request.input_responses.unwrap_or_default(),
            state: request.request_state,
            context,
        }
    }

    /// What the client says it can do.
    pub(crate) fn capabilities(&self) -> ClientCapabilities {
        self.context.client_capabilities().unwrap_or_default()
    }

    /// Asks the client for `request`. A modern client answers by repeating its call, so the first time round the
    /// answer to the whole call is `Err(Ok(input required))`; a legacy client is asked on the open stream.
    pub(crate) async fn ask(&self, key: &str, request: InputRequest) -> Result<Value, Answer> {
        if let Some(required) = lacking(&self.capabilities(), &request) {
            return Err(Err(missing(required)));
        }
        if is_modern(&self.context) {
            let again = || InputRequiredResult::from_input_requests([(key.to_owned(), request)].into());
            return self
                .answers
                .get(key)
                .filter(|answer| answer.is_object())
                .cloned()
                .ok_or_else(|| Ok(again().into()));
        }
        let peer = &self.context.peer;
        let answer = match request {
            InputRequest::Elicitation(ask) => peer.create_elicitation(ask.params).await.map(serde_json::to_value),
            InputRequest::CreateMessage(ask) => peer.create_message(ask.params).await.map(serde_json::to_value),
            InputRequest::ListRoots(_) => peer.list_roots().await.map(serde_json::to_value),
            _ => return Err(Err(ErrorData::internal_error("an input request of an unknown kind", None))),
        };
        let internal = |error: String| Err(ErrorData::internal_error(error, None));
        answer.map_err(|error| internal(error.to_string()))?.map_err(|error| internal(error.to_string()))
    }
}

/// Dispatches the call to its fixture.
pub async fn call(call: Call<'_>) -> Answer {
    match call.name.as_str() {
        "test_simple_text" => content::simple_text(),
        "test_image_content" => content::image(),
        "test_audio_content" => content::audio(),
        "test_embedded_resource" => content::embedded_resource(),
        "test_multiple_content_types" => content::multiple(),
        "test_error_handling" => content::error(),
        "test_structured_content" => content::structured_content(),
        "json_schema_2020_12_tool" => content::echo(&call),
        "test_x_mcp_header" => content::echo(&call),
        "greet" => content::greet(&call),
        "test_tool_with_logging" => interactive::logging(&call).await,
        "test_tool_with_progress" => interactive::progress(&call).await,
        "test_sampling" => interactive::sampling(&call).await,
        "test_elicitation" => interactive::elicitation(&call).await,
        "test_elicitation_sep1034_defaults" => interactive::elicitation_defaults(&call).await,
        "test_elicitation_sep1330_enums" => interactive::elicitation_enums(&call).await,
        "test_reconnection" => interactive::reconnection().await,
        "test_missing_capability" => diagnostics::missing_capability(&call),
        "test_streaming_elicitation" => diagnostics::streaming_elicitation(&call).await,
        "test_logging_tool" => interactive::logging(&call).await,
        "test_trigger_tool_change" => diagnostics::change_tools(&call).await,
        "test_trigger_prompt_change" => diagnostics::change_prompts(&call).await,
        "test_trigger_resource_update" => diagnostics::update_resource(&call).await,
        "test_cancelled_calls" => diagnostics::cancelled_calls(&call).await,
        "test_dynamic_tool" => content::simple_text(),
        "slow_compute" => jobs::slow_compute(&call).await,
        "failing_job" => jobs::failing(&call),
        "protocol_error_job" => jobs::protocol_error(&call),
        "confirm_delete" => jobs::confirm_delete(&call),
        "multi_input" => jobs::multi_input(&call),
        "test_tool_with_task" => jobs::after_input(&call),
        name if name.starts_with("test_input_required_result_") => mrtr::call(&call),
        name => Err(unknown("tool", name)),
    }
}

/// The capabilities that `request` needs and the client did not declare.
fn lacking(declared: &ClientCapabilities, request: &InputRequest) -> Option<ClientCapabilities> {
    let builder = ClientCapabilities::builder();
    match request {
        InputRequest::Elicitation(_) if declared.elicitation.is_none() => Some(builder.enable_elicitation().build()),
        InputRequest::CreateMessage(_) if declared.sampling.is_none() => Some(builder.enable_sampling().build()),
        InputRequest::ListRoots(_) if declared.roots.is_none() => Some(builder.enable_roots().build()),
        _ => None,
    }
}

/// The place of a log level in the order of severity (RFC 5424 §6.2.1), least severe first.
pub(crate) fn level_rank(level: &LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}
