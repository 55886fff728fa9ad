//! Narrows what the two sides declare to each other. In: an answer or request that carries capabilities. Out: only the permitted.

use std::ops::Range;

use super::splice::{FilterError, Filtered, Keep, refuse_variants};
use crate::protocol::json::{Kind, Value};
use crate::protocol::message::META_CLIENT_CAPABILITIES;
use crate::protocol::span;

/// Where the capabilities stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The server's, in the result of `initialize` or `server/discover`.
    ServerResult,
    /// The client's, in the parameters of `initialize`.
    InitializeParams,
    /// The client's, in the `_meta` of a modern request.
    RequestMeta,
}

impl Carrier {
    fn path(self) -> &'static [&'static str] {
        match self {
            Self::ServerResult => &["result", "capabilities"],
            Self::InitializeParams => &["params", "capabilities"],
            Self::RequestMeta => &["params", "_meta", META_CLIENT_CAPABILITIES],
        }
    }
}

/// One thing that is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability<'c> {
    /// One that MCP defines, such as `tools` or `sampling`.
    Core(&'c str),
    /// An extension by its identifier, such as `io.modelcontextprotocol/tasks`.
    Extension(&'c str),
    /// An entry of `experimental`.
    Experimental(&'c str),
}

/// Appends `body` to `out` without the capabilities that `keep` drops. A body that declares none stays as it is. On an
/// error `out` is as it was.
pub fn reduce(
    body: &[u8],
    root: Value<'_>,
    carrier: Carrier,
    keep: &mut dyn FnMut(Capability<'_>) -> Keep,
    out: &mut Vec<u8>,
) -> Result<Filtered, FilterError> {
    let before = out.len();
    let filtered = splice_capabilities(body, root, carrier, keep, out);
    match filtered {
        Ok(Filtered { dropped: 0, .. }) => {
            out.truncate(before);
            out.extend_from_slice(body);
        }
        Ok(_) => {}
        Err(_) => out.truncate(before),
    }
    filtered
}

/// `result.protocolVersion` of `initialize`.
pub fn protocol_version(root: Value<'_>) -> Option<&str> {
    root.get("result")?.get("protocolVersion")?.as_str()
}

/// `result.supportedVersions` of `server/discover`; what is not a string is passed over.
pub fn supported_versions(root: Value<'_>) -> impl Iterator<Item = &str> {
    let versions = root.get("result").and_then(|result| result.get("supportedVersions"));
    versions.into_iter().flat_map(Value::items).filter_map(Value::as_str)
}

fn splice_capabilities(
    body: &[u8],
    root: Value<'_>,
    carrier: Carrier,
    keep: &mut dyn FnMut(Capability<'_>) -> Keep,
    out: &mut Vec<u8>,
) -> Result<Filtered, FilterError> {
    let mut declared = root;
    for key in carrier.path() {
        refuse_variants(declared, &[key])?;
        match declared.get(key) {
            Some(value) => declared = value,
            None => return Ok(Filtered::default()),
        }
    }
    refuse_variants(declared, &["extensions", "experimental"])?;
    let place = span::member(body, carrier.path()).ok_or(FilterError::Misaligned)?;
    out.extend_from_slice(body.get(..place.start).ok_or(FilterError::Misaligned)?);
    let mut writer = Writer { body, out, keep, filtered: Filtered::default() };
    writer.object(place.clone(), declared, Level::Core)?;
    let filtered = writer.filtered;
    out.extend_from_slice(body.get(place.end..).ok_or(FilterError::Misaligned)?);
    Ok(filtered)
}

/// Which object is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Core,
    Extensions,
    Experiments,
}

/// Writes an object member by member.
struct Writer<'w> {
    body: &'w [u8],
    out: &'w mut Vec<u8>,
    keep: &'w mut dyn FnMut(Capability<'_>) -> Keep,
    filtered: Filtered,
}

impl Writer<'_> {
    /// Writes the object that stands at `place` and was read as `object`. Calls itself once, for what `Core` holds.
    fn object(&mut self, place: Range<usize>, object: Value<'_>, level: Level) -> Result<(), FilterError> {
        if object.kind() != Kind::Object {
            return Err(FilterError::Shape);
        }
        let body = self.body;
        let mut entries = span::entries(body, place);
        let mut before: &[u8] = b"{";
        for (key, value) in object.entries() {
            let entry = entries.next().ok_or(FilterError::Misaligned)?;
            let inner = match (level, key) {
                (Level::Core, "extensions") => Some(Level::Extensions),
                (Level::Core, "experimental") => Some(Level::Experiments),
                (Level::Core | Level::Extensions | Level::Experiments, _) => None,
            };
            if inner.is_none() && self.judged(key, level) == Keep::Drop {
                continue;
            }
            self.out.extend_from_slice(before);
            before = b",";
            self.out.extend_from_slice(body.get(entry.key).ok_or(FilterError::Misaligned)?);
            self.out.push(b':');
            match inner {
                Some(inner) => self.object(entry.value, value, inner)?,
                None => self.out.extend_from_slice(body.get(entry.value).ok_or(FilterError::Misaligned)?),
            }
        }
        if before == b"{" {
            self.out.push(b'{');
        }
        self.out.push(b'}');
        Ok(())
    }

    fn judged(&mut self, key: &str, level: Level) -> Keep {
        let keep = (self.keep)(match level {
            Level::Core => Capability::Core(key),
            Level::Extensions => Capability::Extension(key),
            Level::Experiments => Capability::Experimental(key),
        });
        match keep {
            Keep::Keep => self.filtered.kept += 1,
            Keep::Drop => self.filtered.dropped += 1,
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    /// Keeps tools, resources and the extension `a/known`.
    fn reduced(body: &str, carrier: Carrier) -> Result<(String, Filtered), FilterError> {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
        let mut keep = |capability: Capability<'_>| match capability {
            Capability::Core("tools" | "resources") | Capability::Extension("a/known") => Keep::Keep,
            Capability::Core(_) | Capability::Extension(_) | Capability::Experimental(_) => Keep::Drop,
        };
        let mut out = Vec::new();
        let filtered = reduce(body.as_bytes(), document.root(), carrier, &mut keep, &mut out);
        assert!(filtered.is_ok() || out.is_empty(), "an error leaves nothing behind");
        Ok((String::from_utf8(out).unwrap(), filtered?))
    }

    #[test]
    fn capabilities_that_cannot_be_narrowed_are_refused() {
        let check = |body: &str, expected: FilterError| {
            assert_eq!(reduced(body, Carrier::ServerResult), Err(expected), "given {body}");
        };
        check(r#"{"result":{"capabilities":[]}}"#, FilterError::Shape);
        check(r#"{"result":{"capabilities":null}}"#, FilterError::Shape);
        check(r#"{"result":{"capabilities":{"extensions":["a/known"]}}}"#, FilterError::Shape);
        check(r#"{"result":{"capabilities":{},"Capabilities":{"logging":{}}}}"#, FilterError::CaseVariant);
        check(r#"{"result":{"capabilities":{"Extensions":{"a/b":{}}}}}"#, FilterError::CaseVariant);
        check(r#"{"result":{},"RESULT":{"capabilities":{"logging":{}}}}"#, FilterError::CaseVariant);
    }

    #[test]
    fn only_what_is_permitted_stays_declared() {
        let check = |carrier: Carrier, body: &str, expected: &str, kept: usize, dropped: usize| {
            let got = reduced(body, carrier);
            assert_eq!(got, Ok((expected.to_owned(), Filtered { kept, dropped })), "given {body}");
        };
        check(
            Carrier::ServerResult,
            r#"{"id":1,"result":{"capabilities": {"logging":{}, "tools" : {"listChanged": true},"resources":{}} ,"x":1.0}}"#,
            r#"{"id":1,"result":{"capabilities": {"tools":{"listChanged": true},"resources":{}} ,"x":1.0}}"#,
            2,
            1,
        );
        check(
            Carrier::ServerResult,
            r#"{"result":{"capabilities":{"extensions":{"a/other":{},"a/kn\u006fwn":{"v": 1}},"experimental":{"e":{}},"tools":{}}}}"#,
            r#"{"result":{"capabilities":{"extensions":{"a/kn\u006fwn":{"v": 1}},"experimental":{},"tools":{}}}}"#,
            2,
            2,
        );
        let whole = r#"{"result":{"capabilities": { "tools" : {} }}}"#;
        check(Carrier::ServerResult, whole, whole, 1, 0);
        for none in ["{}", r#"{"result":{}}"#, r#"{"error":{"code":1,"message":"capabilities"}}"#] {
            check(Carrier::ServerResult, none, none, 0, 0);
        }
        check(
            Carrier::InitializeParams,
            r#"{"params":{"capabilities":{"sampling":{},"roots":{}}}}"#,
            r#"{"params":{"capabilities":{}}}"#,
            0,
            2,
        );
        check(
            Carrier::RequestMeta,
            r#"{"params":{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"sampling":{},"tools":1}}}}"#,
            r#"{"params":{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"tools":1}}}}"#,
            1,
            1,
        );
    }

    #[test]
    fn versions_are_read() {
        let body = br#"{"result":{"protocolVersion":"2025-11-25","supportedVersions":["2026-07-28",7,"x"]}}"#;
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body, &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
        assert_eq!(protocol_version(document.root()), Some("2025-11-25"));
        assert_eq!(supported_versions(document.root()).collect::<Vec<_>>(), ["2026-07-28", "x"]);
    }
}
