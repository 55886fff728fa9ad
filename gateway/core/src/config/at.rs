//! Keeps the place of a value. In: TOML. Out: a value that knows its byte offset. Never here: meaning.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// A value and where it stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct At<T>(toml::Spanned<T>);

impl<T> At<T> {
    /// Byte offset of the value's first character.
    pub fn at(&self) -> usize {
        self.0.span().start
    }

    /// The value.
    pub fn value(&self) -> &T {
        self.0.get_ref()
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A span of time with its unit: `"30s"`, `"5m"`, `"1h 30m"`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = r"^\s*(\d+\s*(ms|s|m|h|d)\s*)+$", "examples" = ["30s"]))]
pub struct SpanText(pub String);

/// A size with its unit: `"64 KiB"`, `"1 MiB"`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = r"^\s*\d+\s*(B|KiB|MiB|GiB)\s*$", "examples" = ["64 KiB"]))]
pub struct SizeText(pub String);

/// A count, at least 1.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("minimum" = 1, "examples" = [64]))]
pub struct Count(pub i64);
