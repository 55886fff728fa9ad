//! Spells MCP messages and the tools of the tests' servers. In: methods and parameters. Out: JSON. Never here: HTTP.

use serde_json::{Value, json};

/// The modern revision.
pub const MODERN: &str = "2026-07-28";

/// The newest legacy revision.
pub const LEGACY: &str = "2025-11-25";

/// A modern request with id 1: the metadata that each one carries is added.
pub fn modern(method: &str, mut params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
    });
    let members = params.as_object_mut().expect("params are an object");
    let own = members.entry("_meta").or_insert_with(|| json!({}));
    for (key, value) in meta.as_object().into_iter().flatten() {
        own.as_object_mut().expect("`_meta` is an object").entry(key).or_insert_with(|| value.clone());
    }
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A legacy request with id 1.
pub fn legacy(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A notification.
pub fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// The parameters of a call.
pub fn call(name: &str, arguments: Value) -> Value {
    json!({"name": name, "arguments": arguments})
}

/// The parameters of `initialize`.
pub fn hello() -> Value {
    json!({"protocolVersion": LEGACY, "capabilities": {"sampling": {}, "elicitation": {}, "roots": {}}, "clientInfo": {"name": "test", "version": "1"}})
}

/// A result with one line of text.
pub fn text_result(text: &str) -> Value {
    json!({"resultType": "complete", "content": [{"type": "text", "text": text}]})
}

/// The name of the tool that a request calls.
pub fn tool_of(request: &Value) -> &str {
    request.pointer("/params/name").and_then(Value::as_str).unwrap_or_default()
}

/// One tool with its schema.
pub fn tool(name: &str, schema: Value) -> Value {
    json!({"name": name, "description": format!("The tool {name}."), "inputSchema": schema})
}

/// The tools of the tests' servers, with schemas as FastMCP, Zod and careless people write them.
pub fn tools() -> Vec<Value> {
    let text = json!({"type": "string"});
    vec![
        tool(
            "read_table",
            json!({"type": "object", "title": "read_tableArguments", "required": ["table"], "properties": {
                "table": {"title": "Table", "type": "string"},
                "limit": {"default": 10, "title": "Limit", "type": "integer"},
                "where": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null, "title": "Where"},
            }}),
        ),
        tool(
            "transfer",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
                "required": ["amount", "currency", "to", "note"], "properties": {
                "amount": {"type": "number", "exclusiveMinimum": 0},
                "currency": {"type": "string", "enum": ["EUR", "USD"]},
                "note": {"type": ["string", "null"]},
                "to": {"type": "object", "additionalProperties": false, "required": ["id"], "properties": {"id": text}},
            }}),
        ),
        tool(
            "search",
            json!({"type": "object", "properties": {"query": {"type": ["string", "integer"]}, "page": {"type": "integer"}}}),
        ),
        tool("loose", json!({"type": "object"})),
        tool("guarded", json!({"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]})),
        tool(
            "mirrored",
            json!({"type": "object", "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "shard": {"type": "integer", "x-mcp-header": "Shard"},
                "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            }}),
        ),
        json!({"name": "bare", "description": "Without a schema."}),
        tool("hidden", json!({"type": "object"})),
    ]
}
