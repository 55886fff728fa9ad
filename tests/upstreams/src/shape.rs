//! Makes protocol values from JSON. In: JSON as it stands on the wire. Out: the SDK's types.
//! Written as JSON, a fixture reads like the document that describes it.

use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What a tool answers.
pub type Answer = Result<CallToolResponse, ErrorData>;

/// Reads a protocol value from its JSON form; a fixture with a wrong shape answers `-32603`.
pub fn shape<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(format!("wrong fixture: {error}"), None))
}

/// A successful result of one text block.
pub fn text(words: impl Into<String>) -> Answer {
    Ok(CallToolResult::success(vec![ContentBlock::text(words)]).into())
}

/// A result that says the tool failed (`isError`), in one text block.
pub fn failure(words: impl Into<String>) -> Answer {
    Ok(CallToolResult::error(vec![ContentBlock::text(words)]).into())
}

/// A result with the content blocks given as JSON.
pub fn blocks(content: Value) -> Answer {
    let content: Vec<ContentBlock> = shape(content)?;
    Ok(CallToolResult::success(content).into())
}

/// A result with structured content, repeated as text for clients that know text only.
pub fn structured(value: Value) -> Answer {
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    Ok(result.into())
}

/// The string argument `name`, or `-32602`.
pub fn text_argument<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<&'a str, ErrorData> {
    let missing = || ErrorData::invalid_params(format!("argument `{name}` must be a string"), None);
    arguments.get(name).and_then(Value::as_str).ok_or_else(missing)
}

/// An `inputSchema` with the given properties, of which the named ones are required.
pub fn object_schema(properties: Value, required: &[&str]) -> Value {
    if required.is_empty() {
        return json!({"type": "object", "properties": properties});
    }
    json!({"type": "object", "properties": properties, "required": required})
}
