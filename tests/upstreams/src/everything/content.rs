//! Answers at once with fixed content. In: a call. Out: text, pictures, sound, resources, structured values.

use serde_json::{Value, json};

use crate::everything::calling::Call;
use crate::shape::{Answer, blocks, failure, structured, text, text_argument};

/// One text block.
pub fn simple_text() -> Answer {
    text("This is a simple text response for testing.")
}

/// One picture.
pub fn image() -> Answer {
    blocks(json!([image_block()]))
}

/// One sound.
pub fn audio() -> Answer {
    blocks(json!([{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]))
}

/// One embedded resource.
pub fn embedded_resource() -> Answer {
    let words = "This is an embedded resource content.";
    blocks(json!([{"type": "resource", "resource": {
        "uri": "test://embedded-resource", "mimeType": "text/plain", "text": words}}]))
}

/// Text, a picture and a resource in one result.
pub fn multiple() -> Answer {
    blocks(json!([
        {"type": "text", "text": "Multiple content types test:"},
        image_block(),
        {"type": "resource", "resource": {
            "uri": "test://mixed-content-resource",
            "mimeType": "application/json",
            "text": "{\"test\":\"data\",\"value\":123}"}},
    ]))
}

/// A tool that failed.
pub fn error() -> Answer {
    failure("This tool intentionally returns an error for testing")
}

/// A structured value with a key that a redaction rule can name, deep enough to need a pointer.
pub fn structured_content() -> Answer {
    structured(json!({"rows": [
        {"id": 1, "name": "Ada", "ssn": "000-00-0001", "balance": 10.50},
        {"id": 2, "name": "Grace", "ssn": "000-00-0002", "balance": 9007199254740993_i64},
    ]}))
}

/// The arguments, as they arrived.
pub fn echo(call: &Call<'_>) -> Answer {
    text(Value::Object(call.arguments.clone()).to_string())
}

/// A greeting by name; never a task.
pub fn greet(call: &Call<'_>) -> Answer {
    text(format!("Hello, {}!", text_argument(&call.arguments, "name").unwrap_or("World")))
}

/// A picture as a content block.
pub fn image_block() -> Value {
    json!({"type": "image", "data": PNG, "mimeType": "image/png"})
}

/// A PNG of one red pixel.
pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// A RIFF/WAVE header (PCM, mono, 8 kHz, 8 bit) with no samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";
