//! Offers resources and prompts. In: URIs, names, arguments. Out: what the conformance suite expects to read.

use rmcp::ErrorData;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    InputRequiredResult, Prompt, PromptMessage, ReadResourceResponse, ReadResourceResult, Resource, ResourceTemplate,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use crate::everything::content::{PNG, image_block};
use crate::everything::interactive::elicit;
use crate::everything::{Extras, is_modern, unknown};
use crate::shape::{shape, text_argument};

/// The resources with a fixed URI.
pub fn resources() -> Result<Vec<Resource>, ErrorData> {
    shape(json!([
        {"uri": "test://static-text", "name": "static-text", "mimeType": "text/plain",
            "description": "A text that never changes"},
        {"uri": "test://static-binary", "name": "static-binary", "mimeType": "image/png",
            "description": "A picture that never changes"},
        {"uri": "test://watched-resource", "name": "watched-resource", "mimeType": "text/plain",
            "description": "A text that test_trigger_resource_update declares changed"},
    ]))
}

/// The resources with a variable URI.
pub fn templates() -> Result<Vec<ResourceTemplate>, ErrorData> {
    shape(json!([
        {"uriTemplate": "test://template/{id}/data", "name": "template-data", "mimeType": "application/json",
            "description": "A record made from the id in its URI"},
    ]))
}

/// The content at `uri`; `-32602` (legacy `-32002`) with the URI in `data` where there is none.
pub fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let content = match uri {
        "test://static-text" => text_at(uri, "This is the content of the static text resource."),
        "test://watched-resource" => text_at(uri, "This is the content of the watched resource."),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
        _ => match template_id(uri) {
            Some(id) => {
                let record = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                json!({"uri": uri, "mimeType": "application/json", "text": record.to_string()})
            }
            None => return Err(ErrorData::resource_not_found("resource not found", Some(json!({"uri": uri})))),
        },
    };
    Ok(ReadResourceResult::new(vec![shape(content)?]).into())
}

/// The prompts.
pub fn prompts(extras: Extras) -> Result<Vec<Prompt>, ErrorData> {
    let mut listed = json!([
        {"name": "test_simple_prompt", "description": "A prompt without arguments"},
        {"name": "test_prompt_with_arguments", "description": "A prompt with two arguments", "arguments": [
            {"name": "arg1", "description": "First argument", "required": true},
            {"name": "arg2", "description": "Second argument", "required": true}]},
        {"name": "test_prompt_with_embedded_resource", "description": "A prompt that embeds a resource", "arguments": [
            {"name": "resourceUri", "description": "URI of the resource to embed", "required": true}]},
        {"name": "test_prompt_with_image", "description": "A prompt that holds a picture"},
        {"name": "test_input_required_result_prompt", "description": "A prompt that asks before it answers"},
    ]);
    if let (true, Some(listed)) = (extras.prompt, listed.as_array_mut()) {
        listed.push(json!({"name": "test_dynamic_prompt", "description": "A prompt that comes and goes"}));
    }
    shape(listed)
}

/// The messages of a prompt, or a question first.
pub fn prompt(
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let messages = match request.name.as_str() {
        "test_simple_prompt" | "test_dynamic_prompt" => json!([user_says("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            let (first, second) = (text_argument(&arguments, "arg1")?, text_argument(&arguments, "arg2")?);
            json!([user_says(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))])
        }
        "test_prompt_with_embedded_resource" => {
            let resource = text_at(text_argument(&arguments, "resourceUri")?, "Embedded resource content for testing.");
            json!([
                {"role": "user", "content": {"type": "resource", "resource": resource}},
                user_says("Please process the embedded resource above.")])
        }
        "test_prompt_with_image" => {
            json!([{"role": "user", "content": image_block()}, user_says("Please analyze the image above.")])
        }
        "test_input_required_result_prompt" if is_modern(context) => {
            let answers = request.input_responses.unwrap_or_default();
            let told = answers.get("user_context").and_then(|answer| answer.pointer("/content/context"));
            match told.and_then(Value::as_str) {
                Some(told) => json!([user_says(&format!("Use this context: {told}"))]),
                None => return Ok(ask_context()?.into()),
            }
        }
        name => return Err(unknown("prompt", name)),
    };
    let messages: Vec<PromptMessage> = shape(messages)?;
    Ok(GetPromptResult::new(messages).into())
}

/// Values for the argument being typed.
pub fn complete(request: CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let offered: &[&str] = match request.argument.name.as_str() {
        "arg1" => &["paris", "park", "party"],
        "arg2" => &["world", "worm"],
        "id" => &["123", "124"],
        _ => &[],
    };
    let values: Vec<&&str> = offered.iter().filter(|value| value.starts_with(&request.argument.value)).collect();
    let completion = json!({"values": values, "total": values.len(), "hasMore": false});
    shape(json!({"resultType": "complete", "completion": completion}))
}

fn ask_context() -> Result<InputRequiredResult, ErrorData> {
    let question = elicit("What context should the prompt use?", json!({"context": {"type": "string"}}), &["context"])?;
    Ok(InputRequiredResult::from_input_requests([("user_context".to_owned(), question)].into()))
}

fn user_says(words: &str) -> Value {
    json!({"role": "user", "content": {"type": "text", "text": words}})
}

fn text_at(uri: &str, words: &str) -> Value {
    json!({"uri": uri, "mimeType": "text/plain", "text": words})
}

fn template_id(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}
