//! Checks `Mcp-Param-*`. In: a tool's input schema at load, then headers and arguments. Out: agreement or the header at fault.
//!
//! MCP 2026-07-28: a property annotated with `x-mcp-header: "X"` is repeated in the header `Mcp-Param-X`. Headers that no
//! property names are none of the gateway's business and stay.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value as Schema;

use super::era::EraError;
use super::header::{Header, HeaderFault, repeats, short_text};
use super::json::{Kind, Value};

/// The headers that repeat arguments of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders {
    params: Box<[Param]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Param {
    /// The keys that lead to the argument.
    path: Box<[Box<str>]>,
    /// `Mcp-Param-…`
    header: Box<str>,
    kind: ParamKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParamKind {
    Text,
    Integer,
    Truth,
}

/// An annotation that makes clients drop the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationError {
    /// RFC 6901 pointer into the schema, at the annotated subschema.
    pub pointer: String,
    /// What is wrong there.
    pub cause: AnnotationCause,
}

/// What can be wrong with an `x-mcp-header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnotationCause {
    /// Not a string, empty, or not an RFC 9110 token.
    NotAToken,
    /// Another property names the same header, in any case, or one that a server may take for it.
    NotUnique,
    /// On something else than a string, integer or boolean.
    Type,
    /// Not reachable from the root through `properties` alone.
    Unreachable,
}

impl fmt::Display for AnnotationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            AnnotationCause::NotAToken => "is not a header token",
            AnnotationCause::NotUnique => "names a header that another property names",
            AnnotationCause::Type => "stands on something else than a string, integer or boolean",
            AnnotationCause::Unreachable => "stands on what is not reached through `properties` alone",
        };
        write!(out, "`x-mcp-header` at `{}` {cause}", self.pointer)
    }
}

impl std::error::Error for AnnotationError {}

impl ParamHeaders {
    /// Reads the annotations of an input schema; all that is wrong with them, if anything is.
    pub fn compile(schema: &Schema) -> Result<Self, Vec<AnnotationError>> {
        let mut compile = Compile { params: Vec::new(), errors: Vec::new() };
        compile.schema(schema, "", Some(&[]));
        if compile.errors.is_empty() { Ok(Self { params: compile.params.into() }) } else { Err(compile.errors) }
    }

    /// Whether the tool has no such header.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Compares the headers of a modern `tools/call` with its arguments. Does not allocate but for a refusal.
    pub fn check<'h>(
        &self,
        arguments: Option<Value<'_>>,
        fields: impl Iterator<Item = (&'h str, &'h [u8])> + Clone,
    ) -> Result<(), EraError> {
        for param in &self.params {
            let shadows = |name: &str| !name.eq_ignore_ascii_case(&param.header) && reads_alike(name, &param.header);
            if let Some((name, _)) = fields.clone().find(|(name, _)| shadows(name)) {
                let header = Cow::Owned(name.to_owned());
                return Err(EraError::Header { header, fault: HeaderFault::Unexpected });
            }
            let argument = param.path.iter().try_fold(arguments, |here, key| Some(here?.get(key))).flatten();
            let argument = argument.filter(|value| !value.is_null());
            let verdict = match (argument, Header::among(fields.clone(), &param.header)) {
                (_, Header::Repeated) => Err(HeaderFault::Repeated),
                (None, Header::Absent) => Ok(()),
                (None, Header::Once(_)) => Err(HeaderFault::Unexpected),
                (Some(_), Header::Absent) => Err(HeaderFault::Missing),
                (Some(argument), Header::Once(value)) => agrees(param.kind, argument, value),
            };
            verdict.map_err(|fault| EraError::Header { header: Cow::Owned(param.header.to_string()), fault })?;
        }
        Ok(())
    }
}

/// Whether servers that hand fields on as variables (RFC 3875 §4.1.18) give both names to one: they do not tell `-` from `_`.
fn reads_alike(name: &str, other: &str) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == other.len() && name.bytes().map(|byte| plain(&byte)).eq(other.bytes().map(|byte| plain(&byte)))
}

fn agrees(kind: ParamKind, argument: Value<'_>, value: &[u8]) -> Result<(), HeaderFault> {
    let mut buffer = [0; 48];
    match kind {
        ParamKind::Text => repeats(value, argument.as_str().ok_or(HeaderFault::Mismatch)?),
        ParamKind::Integer => {
            let said = integer_of(short_text(value, &mut buffer)?).ok_or(HeaderFault::Mismatch)?;
            if whole(argument) == Some(said) { Ok(()) } else { Err(HeaderFault::Mismatch) }
        }
        ParamKind::Truth => {
            let wanted = match argument.as_bool().ok_or(HeaderFault::Mismatch)? {
                true => "true",
                false => "false",
            };
            if short_text(value, &mut buffer)? == wanted { Ok(()) } else { Err(HeaderFault::Mismatch) }
        }
    }
}

/// A whole number within ±(2^53 − 1), also one written `42.0`.
fn whole(argument: Value<'_>) -> Option<i64> {
    match argument.kind() {
        Kind::Integer => argument.as_i64().filter(|number| number.unsigned_abs() <= SAFE_INTEGER_MAX),
        Kind::Float => {
            let number = argument.as_f64()?;
            let safe = number.fract() == 0.0 && number.abs() <= SAFE_INTEGER_MAX as f64;
            safe.then_some(number as i64)
        }
        Kind::Null | Kind::Bool | Kind::String | Kind::Array | Kind::Object => None,
    }
}

/// A decimal of a header: `-?digits`, and zeros behind a point if it has one.
fn integer_of(text: &str) -> Option<i64> {
    let (whole, zeros) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let nothing = !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0');
    if decimal && nothing { whole.parse().ok() } else { None }
}

struct Compile {
    params: Vec<Param>,
    errors: Vec<AnnotationError>,
}

impl Compile {
    /// `path` leads here through `properties` alone, or is absent where something else does.
    fn schema(&mut self, schema: &Schema, pointer: &str, path: Option<&[Box<str>]>) {
        let Some(members) = schema.as_object() else { return };
        if let Some(annotation) = members.get("x-mcp-header") {
            match param(annotation, members.get("type"), path) {
                Ok(param) if self.names(&param.header) => self.error(pointer, AnnotationCause::NotUnique),
                Ok(param) => self.params.push(param),
                Err(cause) => self.error(pointer, cause),
            }
        }
        for (keyword, child) in members {
            let pointer = format!("{pointer}/{}", keyword.replace('~', "~0").replace('/', "~1"));
            match keyword.as_str() {
                "properties" => self.children(child, &pointer, path),
                "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => {
                    self.children(child, &pointer, None)
                }
                "items"
                | "additionalProperties"
                | "contains"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else"
                | "additionalItems"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema"
                | "prefixItems"
                | "oneOf"
                | "anyOf"
                | "allOf" => match child {
                    Schema::Array(all) => {
                        all.iter()
                            .enumerate()
                            .for_each(|(at, child)| self.schema(child, &format!("{pointer}/{at}"), None));
                    }
                    child => self.schema(child, &pointer, None),
                },
                _ => {}
            }
        }
    }

    fn children(&mut self, children: &Schema, pointer: &str, path: Option<&[Box<str>]>) {
        for (key, child) in children.as_object().into_iter().flatten() {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let path = path.map(|path| [path, &[key.as_str().into()]].concat());
            self.schema(child, &pointer, path.as_deref());
        }
    }

    fn names(&self, header: &str) -> bool {
        self.params.iter().any(|param| reads_alike(&param.header, header))
    }

    fn error(&mut self, pointer: &str, cause: AnnotationCause) {
        self.errors.push(AnnotationError { pointer: pointer.to_owned(), cause });
    }
}

fn param(annotation: &Schema, kind: Option<&Schema>, path: Option<&[Box<str>]>) -> Result<Param, AnnotationCause> {
    let name = annotation.as_str().filter(|name| is_token(name)).ok_or(AnnotationCause::NotAToken)?;
    let path = path.ok_or(AnnotationCause::Unreachable)?;
    let kind = match kind.and_then(Schema::as_str) {
        Some("string") => ParamKind::Text,
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Truth,
        Some(_) | None => return Err(AnnotationCause::Type),
    };
    if path.is_empty() {
        return Err(AnnotationCause::Type);
    }
    Ok(Param { path: path.into(), header: format!("Mcp-Param-{name}").into(), kind })
}

/// RFC 9110 §5.6.2: `1*tchar`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// 2^53 − 1: the integers that a double holds exactly.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    #[test]
    fn a_bad_annotation_is_reported_at_load() {
        let check = |schema: Schema, pointer: &str, cause: AnnotationCause| {
            let expected = vec![AnnotationError { pointer: pointer.to_owned(), cause }];
            assert_eq!(ParamHeaders::compile(&schema), Err(expected), "given {schema}");
        };
        let text = json!({"type": "string", "x-mcp-header": "Region"});
        for bad in [json!(""), json!("a b"), json!("ä"), json!(7), json!(null), json!("a:")] {
            let schema = json!({"properties": {"a": {"type": "string", "x-mcp-header": bad}}});
            check(schema, "/properties/a", AnnotationCause::NotAToken);
        }
        for bad in [json!("number"), json!("object"), json!(["string", "null"]), json!(null)] {
            let schema = json!({"properties": {"a": {"type": bad, "x-mcp-header": "A"}}});
            check(schema, "/properties/a", AnnotationCause::Type);
        }
        let twice = json!({"properties": {"a": text, "b": {"type": "string", "x-mcp-header": "REGION"}}});
        check(twice, "/properties/b", AnnotationCause::NotUnique);
        let (dashed, scored) = ("Data-Region", "data_region");
        let alike = json!({"properties": {"a": {"type": "string", "x-mcp-header": dashed}, "b": {"type": "string", "x-mcp-header": scored}}});
        check(alike, "/properties/b", AnnotationCause::NotUnique);
        for keyword in ["items", "additionalProperties", "not", "if", "then", "else"] {
            let schema = json!({"properties": {"a": {keyword: {"properties": {"b": text}}}}});
            check(schema, &format!("/properties/a/{keyword}/properties/b"), AnnotationCause::Unreachable);
        }
        for keyword in ["oneOf", "anyOf", "allOf", "prefixItems"] {
            check(json!({keyword: [text]}), &format!("/{keyword}/0"), AnnotationCause::Unreachable);
        }
        check(json!({"$defs": {"a/b": text}}), "/$defs/a~1b", AnnotationCause::Unreachable);
        check(json!({"type": "string", "x-mcp-header": "A"}), "", AnnotationCause::Type);
    }

    fn verdict(arguments: &str, fields: &[(&str, &str)]) -> Result<(), EraError> {
        let schema = json!({"type": "object", "default": {"x-mcp-header": "not an annotation"}, "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "limit": {"type": "integer", "x-mcp-header": "Limit"},
            "zone": {"type": "string", "x-mcp-header": "Time-Zone"},
            "options": {"type": "object", "properties": {"dry/run": {"type": "boolean", "x-mcp-header": "Dry"}}},
            "x-mcp-header": {"type": "string"},
        }});
        let compiled = ParamHeaders::compile(&schema).unwrap();
        let mut scratch = Scratch::new();
        let document =
            read(&mut scratch, arguments.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 9 }).unwrap();
        compiled.check(Some(document.root()), fields.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn a_header_that_does_not_repeat_its_argument_is_refused() {
        let check = |arguments: &str, fields: &[(&str, &str)], header: &str, fault: HeaderFault| {
            let error = EraError::Header { header: Cow::Owned(format!("Mcp-Param-{header}")), fault };
            assert_eq!(verdict(arguments, fields), Err(error.clone()), "given {arguments} {fields:?}");
            assert_eq!((error.http_status(), error.code()), (400, Some(-32020)));
        };
        check(r#"{"region":"eu"}"#, &[], "Region", HeaderFault::Missing);
        check(r#"{"region":"eu"}"#, &[("mcp-param-region", "us")], "Region", HeaderFault::Mismatch);
        check(r#"{"region":"eu"}"#, &[("mcp-param-region", "EU")], "Region", HeaderFault::Mismatch);
        check(r#"{"region":7}"#, &[("mcp-param-region", "7")], "Region", HeaderFault::Mismatch);
        check(
            r#"{"region":"eu"}"#,
            &[("mcp-param-region", "eu"), ("MCP-PARAM-REGION", "eu")],
            "Region",
            HeaderFault::Repeated,
        );
        check(r#"{"region":"eu"}"#, &[("mcp-param-region", "=?base64?ZXV?=")], "Region", HeaderFault::Malformed);
        check("{}", &[("mcp-param-region", "eu")], "Region", HeaderFault::Unexpected);
        // Servers that hand fields on as variables take this one for `Time-Zone`.
        check("{}", &[("Mcp-Param-Time_Zone", "utc")], "Time_Zone", HeaderFault::Unexpected);
        let both = [("Mcp-Param-Time-Zone", "utc"), ("Mcp-Param-Time_Zone", "cet")];
        check(r#"{"zone":"utc"}"#, &both, "Time_Zone", HeaderFault::Unexpected);
        check(r#"{"region":null}"#, &[("mcp-param-region", "")], "Region", HeaderFault::Unexpected);
        for said in ["43", "42.5", "+42", "0x2a", "4.2e1", "", "42.", "=?base64?NDM=?="] {
            check(r#"{"limit":42}"#, &[("mcp-param-limit", said)], "Limit", HeaderFault::Mismatch);
        }
        check(r#"{"limit":42}"#, &[("mcp-param-limit", "=?base64?!?=")], "Limit", HeaderFault::Malformed);
        check(r#"{"limit":42.5}"#, &[("mcp-param-limit", "42.5")], "Limit", HeaderFault::Mismatch);
        check(
            r#"{"limit":9007199254740992}"#,
            &[("mcp-param-limit", "9007199254740992")],
            "Limit",
            HeaderFault::Mismatch,
        );
        check(r#"{"options":{"dry/run":true}}"#, &[("mcp-param-dry", "True")], "Dry", HeaderFault::Mismatch);
        check(r#"{"options":{"dry/run":"true"}}"#, &[("mcp-param-dry", "true")], "Dry", HeaderFault::Mismatch);
        check(r#"{"options":{"dry/run":false}}"#, &[], "Dry", HeaderFault::Missing);
    }

    #[test]
    fn agreeing_and_unknown_headers_pass() {
        let check = |arguments: &str, fields: &[(&str, &str)]| {
            assert_eq!(verdict(arguments, fields), Ok(()), "given {arguments} {fields:?}");
        };
        check("{}", &[("mcp-param-other", "x"), ("mcp-param-other", "y"), ("mcp-param-", "\u{7f}")]);
        check(r#"{"region":"eu","limit":null}"#, &[("Mcp-Param-Region", " eu ")]);
        check(r#"{"region":"zürich"}"#, &[("mcp-param-region", "=?base64?esO8cmljaA==?=")]);
        check(r#"{"region":""}"#, &[("mcp-param-region", "")]);
        for (number, said) in
            [("42", "42"), ("42", "42.0"), ("42.0", "42"), ("-7", "-7"), ("42", "=?base64?NDI=?="), ("0", "-0")]
        {
            check(&format!(r#"{{"limit":{number}}}"#), &[("mcp-param-limit", said)]);
        }
        check(r#"{"options":{"dry/run":false}}"#, &[("mcp-param-dry", "false")]);
        assert!(ParamHeaders::compile(&json!({"type": "object"})).unwrap().is_empty());
    }
}
