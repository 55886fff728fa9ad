//! Lists the tools. In: which optional tools exist. Out: their definitions, with a description and a schema each.

use rmcp::ErrorData;
use rmcp::model::Tool;
use serde_json::{Value, json};

use crate::everything::Extras;
use crate::shape::{object_schema, shape};

/// The tools in the order of `tools/list`; the first one needs no arguments.
pub fn listed(extras: Extras) -> Result<Vec<Tool>, ErrorData> {
    let mut tools: Vec<Value> =
        PLAIN.iter().map(|(name, about)| tool(name, about, object_schema(json!({}), &[]))).collect();
    tools.extend(with_arguments());
    tools.push(tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", rich_schema()));
    if extras.tool {
        tools.push(tool("test_dynamic_tool", "A tool that comes and goes", object_schema(json!({}), &[])));
    }
    shape(Value::Array(tools))
}

fn tool(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "description": description, "inputSchema": schema})
}

fn with_arguments() -> Vec<Value> {
    let words = |about: &str| json!({"type": "string", "description": about});
    let rows = [
        ("greet", "Greets by name, always at once", json!({"name": words("Whom to greet")}), &["name"][..]),
        ("test_sampling", "Asks the client's language model", json!({"prompt": words("What to ask")}), &["prompt"]),
        ("test_elicitation", "Asks the client's user", json!({"message": words("What to ask")}), &["message"]),
        (
            "confirm_delete",
            "Task that waits for a confirmation",
            json!({"filename": words("What to delete")}),
            &["filename"],
        ),
        ("test_trigger_resource_update", "Declares a resource changed", json!({"uri": words("Which one")}), &[]),
        (
            "test_cancelled_calls",
            "Waits until the slow_compute call with this label was cancelled",
            json!({"label": words("Label of the call")}),
            &["label"],
        ),
        (
            "slow_compute",
            "Works for some seconds, as a task where the client knows tasks",
            json!({"seconds": {"type": "number", "description": "How long", "minimum": 0, "maximum": 120},
                "label": words("Name of the work")}),
            &[],
        ),
        (
            "test_x_mcp_header",
            "Echoes arguments that are mirrored into headers",
            json!({
            "region": {"type": "string", "description": "Where", "x-mcp-header": "Region"},
            "priority": {"type": "integer", "description": "How urgent", "x-mcp-header": "Priority"},
            "query": words("An argument without a header")}),
            &["region"],
        ),
    ];
    rows.into_iter()
        .map(|(name, about, properties, required)| tool(name, about, object_schema(properties, required)))
        .collect()
}

fn rich_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {
            "street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"}},
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// Tools without arguments: name, description.
const PLAIN: &[(&str, &str)] = &[
    ("test_simple_text", "Returns one text"),
    ("test_image_content", "Returns one picture"),
    ("test_audio_content", "Returns one sound"),
    ("test_embedded_resource", "Returns one embedded resource"),
    ("test_multiple_content_types", "Returns text, a picture and a resource"),
    ("test_tool_with_logging", "Logs three messages while it runs"),
    ("test_tool_with_progress", "Reports its progress while it runs"),
    ("test_error_handling", "Always fails"),
    ("test_structured_content", "Returns a structured value with personal fields"),
    ("test_elicitation_sep1034_defaults", "Asks with a default for every primitive type"),
    ("test_elicitation_sep1330_enums", "Asks with every way to offer a choice"),
    ("test_reconnection", "Loses its stream while it runs"),
    ("test_missing_capability", "Needs a client that declares sampling"),
    ("test_streaming_elicitation", "Asks in the middle of a call"),
    ("test_logging_tool", "Logs only when the request asks for it"),
    ("test_trigger_tool_change", "Adds test_dynamic_tool or takes it away"),
    ("test_trigger_prompt_change", "Adds test_dynamic_prompt or takes it away"),
    ("test_input_required_result_elicitation", "Asks for a name, then greets"),
    ("test_input_required_result_sampling", "Asks a language model, then repeats its answer"),
    ("test_input_required_result_list_roots", "Asks for the client's roots, then lists them"),
    ("test_input_required_result_request_state", "Asks with a sealed state"),
    ("test_input_required_result_multiple_inputs", "Asks three things at once"),
    ("test_input_required_result_multi_round", "Asks in two rounds"),
    ("test_input_required_result_tampered_state", "Refuses a state that was changed"),
    ("test_input_required_result_capabilities", "Asks only what the client declared"),
    ("failing_job", "Task that completes with a tool error"),
    ("protocol_error_job", "Task that fails with a protocol error"),
    ("multi_input", "Task that waits for two answers at once"),
    ("test_tool_with_task", "Asks for a name, then works as a task"),
];
