//! Settings of single tools. In: `[tool."server.tool"]`. Out: groups, capture, types by server. Never here: the tools themselves.

use std::collections::BTreeMap;

use super::{Scene, capture};
use crate::config::at::At;
use crate::config::settings::{Capture, ToolSettings};
use crate::config::typed::{Server, Tool};
use crate::diagnostic::did_you_mean;

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
        meant.entry(server.into()).or_default().insert(name.into(), settings);
    }
    meant
}

fn tool_settings(typed: &Tool, default: &Capture, scene: &mut Scene<'_, '_>) -> ToolSettings {
    let mut types = BTreeMap::new();
    for (argument, cedar_type) in &typed.types {
        types.insert(pointer(argument, Wildcard::Refused, scene), scene.name(cedar_type, "type"));
    }
    ToolSettings {
        groups: typed.groups.iter().map(|group| scene.name(group, "group")).collect(),
        capture: capture(typed.capture.as_ref(), default, scene),
        types,
        account: typed.account.as_ref().map(|argument| pointer(argument, Wildcard::Refused, scene)),
    }
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
