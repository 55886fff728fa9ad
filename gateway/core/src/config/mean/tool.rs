//! Settings of single tools. In: `[tool."server.tool"]`. Out: groups, capture, types, SQL by server. Never here: the tools themselves.

use std::collections::BTreeMap;

use super::{Scene, capture};
use crate::config::at::At;
use crate::config::settings::{Capture, CaptureRule, Inspect, ToolSettings};
use crate::config::typed::sql::{DialectText, Sql};
use crate::config::typed::{InspectText, Server, Tool};
use crate::diagnostic::did_you_mean;
use crate::policy::sql::{Dialect, SqlRules};

/// Tools by server, then by name.
pub(super) type ToolsByServer = BTreeMap<Box<str>, BTreeMap<Box<str>, ToolSettings>>;

/// Sorts the tools to their servers; `default` is what `[audit]` keeps.
pub(super) fn tools(
    typed: &BTreeMap<At<String>, Tool>,
    servers: &BTreeMap<At<String>, Server>,
    default: &Capture,
    scene: &mut Scene<'_, '_>,
) -> ToolsByServer {
    let mut meant = ToolsByServer::new();
    for (key, tool) in typed {
        // A server's name holds no dot, a tool's may: the first one parts them.
        let Some((server, name)) = key.value().split_once('.').filter(|(_, name)| !name.is_empty()) else {
            scene.findings.refuse(
                key.at(),
                format!("tool `{}` does not say on which server", key.value()),
                format!("write `[tool.\"SERVER.{}\"]`", key.value()),
            );
            continue;
        };
        if !servers.keys().any(|known| known.value() == server) {
            let known = servers.keys().map(|known| known.value().as_str());
            let cure = did_you_mean(server, known).unwrap_or_else(|| format!("name it: `[server.{server}]`"));
            scene.findings.refuse(key.at(), format!("unknown server `{server}` of tool `{}`", key.value()), cure);
        }
        let settings = tool_settings(tool, default, scene);
        let lent = servers.iter().any(|(known, its)| known.value() == server && its.credential.is_some());
        if let (Inspect::Envelope, Some(typed), true) = (settings.inspect, &tool.inspect, lent) {
            scene.findings.refuse(
                typed.at(),
                format!("results of `{}` are to pass unread, but its server is lent a credential, for which they are searched", key.value()),
                "remove `inspect`, or the server's `credential`",
            );
        }
        meant.entry(server.into()).or_default().insert(name.into(), settings);
    }
    meant
}

fn tool_settings(typed: &Tool, default: &Capture, scene: &mut Scene<'_, '_>) -> ToolSettings {
    let mut types = |typed: &BTreeMap<At<String>, At<String>>| {
        let mut types = BTreeMap::new();
        for (member, cedar_type) in typed {
            types.insert(pointer(member, Wildcard::Refused, scene), scene.name(cedar_type, "type"));
        }
        types
    };
    let (types, output_types) = (types(&typed.types), types(&typed.output_types));
    let capture = capture(typed.capture.as_ref(), default, scene);
    ToolSettings {
        groups: typed.groups.iter().map(|group| scene.name(group, "group")).collect(),
        inspect: inspect(typed.inspect.as_ref(), &capture, scene),
        capture,
        types,
        output_types,
        account: typed.account.as_ref().map(|argument| pointer(argument, Wildcard::Refused, scene)),
        sql: typed.sql.as_ref().map(|typed| sql(typed.value(), scene)),
    }
}

/// What is not read cannot be kept: neither the text of a result nor its digest.
fn inspect(typed: Option<&At<InspectText>>, capture: &Capture, scene: &mut Scene<'_, '_>) -> Inspect {
    let Some(typed) = typed else { return Inspect::Whole };
    match (typed.value(), capture.result) {
        (InspectText::Whole, _) => Inspect::Whole,
        (InspectText::Envelope, CaptureRule::Size | CaptureRule::None) => Inspect::Envelope,
        (InspectText::Envelope, CaptureRule::Full | CaptureRule::Digest) => {
            scene.findings.refuse(
                typed.at(),
                "results are to pass unread, but the log is to keep them or their digest",
                "write `capture = { result = \"size\" }` beside it, or remove `inspect`",
            );
            Inspect::Whole
        }
    }
}

/// What must be given is named as missing elsewhere, so that defaults may stand for it here.
fn sql(typed: &Sql, scene: &mut Scene<'_, '_>) -> SqlRules {
    let dialect = match typed.dialect.as_ref().map(|dialect| *dialect.value()) {
        Some(DialectText::Postgres) => Dialect::Postgres,
        Some(DialectText::Mysql) => Dialect::MySql,
        Some(DialectText::Sqlite) => Dialect::Sqlite,
        Some(DialectText::Generic) | None => Dialect::Generic,
    };
    let schema = typed.schema.as_ref().map(|schema| plain_name(schema, "schema", scene));
    let functions = typed
        .functions
        .iter()
        .map(|name| plain_name(name, "function", scene).to_lowercase().into_boxed_str())
        .collect();
    SqlRules {
        argument: typed
            .argument
            .as_ref()
            .map_or_else(|| "/sql".into(), |argument| pointer(argument, Wildcard::Refused, scene)),
        dialect,
        functions,
        schema,
    }
}

/// A name as SQL writes it without quotes; a function's may be qualified.
fn plain_name(typed: &At<String>, what: &str, scene: &mut Scene<'_, '_>) -> Box<str> {
    let text = typed.value().as_str();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let parts = text.split('.').count();
    if !text.split('.').all(plain) || parts > 2 || (what == "schema" && parts > 1) {
        let message = format!("`{}` is no name of a {what}", text.escape_debug());
        scene.findings.refuse(typed.at(), message, "write letters, digits and `_`");
    }
    text.into()
}

/// Whether `*` may stand for every element of an array.
#[derive(Clone, Copy)]
pub(super) enum Wildcard {
    Allowed,
    Refused,
}

/// A JSON pointer (RFC 6901) to something inside a document.
pub(super) fn pointer(typed: &At<String>, wildcard: Wildcard, scene: &mut Scene<'_, '_>) -> Box<str> {
    let text = typed.value().as_str();
    let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    let starred = text.split('/').any(|segment| segment == "*");
    if text.is_empty() || text == "/" {
        scene.findings.refuse(
            typed.at(),
            format!("pointer `{text}` names the whole document"),
            "write a pointer into it, such as `/ssn`",
        );
    } else if !text.starts_with('/') {
        scene.findings.refuse(
            typed.at(),
            format!("pointer `{text}` does not start with a slash"),
            format!("write `/{}`", text.replace('.', "/")),
        );
    } else if !escapes {
        scene.findings.refuse(
            typed.at(),
            format!("pointer `{text}` holds a lone `~`"),
            "write `~0` for a tilde and `~1` for a slash",
        );
    } else if let (Wildcard::Refused, true) = (wildcard, starred) {
        scene.findings.refuse(
            typed.at(),
            format!("pointer `{text}` names more than one value"),
            "name one value, without `*`",
        );
    }
    text.into()
}
