//! Upstream servers and their routes. In: `[server.*]`. Out: servers sorted by name, no two on one route. Never here: connections.

use std::collections::BTreeMap;

use super::{Scene, tool};
use crate::config::at::At;
use crate::config::settings::{
    Capture, CredentialSettings, Learn, Listen, Mode, Scheme, Server, UpstreamTls, UpstreamUrl,
};
use crate::config::typed::{self, LearnText, ModeText, RevisionText, Typed};
use crate::config::url::{self, Url};
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::method::{ClientNotification, Method, ServerMethod, ServerNotification};
use crate::protocol::revision::Revision;

/// Every server with its tools.
pub(super) fn servers(typed: &Typed, listen: &Listen, default: &Capture, scene: &mut Scene<'_, '_>) -> Vec<Server> {
    if typed.server.is_empty() && !scene.findings.refused() {
        scene
            .findings
            .refuse_file("no server is named, so there is nothing to guard", "write `[server.NAME]` with a `url`");
    }
    let mut tools = tool::tools(&typed.tool, &typed.server, default, scene);
    let mut meant = Vec::new();
    for (name, server) in &typed.server {
        check_name(name, scene);
        let tools = tools.remove(name.value().as_str()).unwrap_or_default();
        meant.push(Server { tools, ..one_server(name, server, listen, scene) });
    }
    for server in typed.server.values() {
        let Some(credential) = &server.credential else { continue };
        if typed.secrets.is_none()
            && credential.value().value.as_ref().is_some_and(|value| value.value().contains("{secret:"))
        {
            scene.findings.refuse(
                credential.at(),
                "a credential names a secret, but there is no file of secrets",
                "write `secrets = \"secrets.toml\"` at the top of the file",
            );
        }
    }
    check_routes(&typed.server, &meant, scene);
    meant
}

fn one_server(name: &At<String>, typed: &typed::Server, listen: &Listen, scene: &mut Scene<'_, '_>) -> Server {
    let url = typed.url.as_ref().and_then(|text| upstream(text, scene));
    if let (Some(ca), Some(Url { scheme: Scheme::Http, .. })) = (&typed.ca, &url) {
        scene.findings.refuse(
            ca.at(),
            "`ca` says nothing about an upstream reached over plain `http`",
            "write `https` in its `url`, or remove `ca`",
        );
    }
    let credential =
        typed.credential.as_ref().and_then(|credential| credential_settings(name, credential, url.as_ref(), scene));
    Server {
        name: name.value().as_str().into(),
        path: route_path(name, typed.path.as_ref(), scene),
        host: typed.host.as_ref().map(|host| route_host(host, listen, scene)),
        url: upstream_url(url.as_ref()),
        ca: typed.ca.as_ref().map(|path| scene.path(Some(path), "")),
        credential,
        mode: mode(name, typed.mode.as_ref(), scene),
        learn: learn(name, typed.learn.as_ref(), scene),
        catalogue: scene.path(typed.catalogue.as_ref(), &format!("catalogue/{}.json", name.value())),
        revisions: revisions(typed.revisions.as_ref(), scene),
        extension_methods: typed.extension_methods.iter().map(|method| extension_method(method, scene)).collect(),
        tools: BTreeMap::new(),
        scopes: typed.scopes.iter().map(|scope| scope_token(scope, scene)).collect(),
    }
}

/// The name becomes part of paths, of rules and of file names.
fn check_name(name: &At<String>, scene: &mut Scene<'_, '_>) {
    let text = name.value().as_str();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > SERVER_NAME_BYTES_MAX || !text.bytes().all(allowed) {
        scene.findings.refuse(
            name.at(),
            format!("`{}` is no server name", text.escape_debug()),
            format!("write 1–{SERVER_NAME_BYTES_MAX} of `a-z`, `0-9` and `-`"),
        );
    }
}

pub(super) fn upstream(typed: &At<String>, scene: &mut Scene<'_, '_>) -> Option<Url> {
    match url::parse(typed.value()) {
        Ok(url) => Some(url),
        Err(fault) => {
            // A URL may hold a password, so it is shown only as far as it cannot.
            let shown =
                if typed.value().contains(['@', '?']) { String::new() } else { format!(" `{}`", typed.value()) };
            let cure = "write it like `http://127.0.0.1:9000/mcp`; secrets go into a `credential`";
            scene.findings.refuse(typed.at(), format!("`url`{shown} {fault}"), cure);
            None
        }
    }
}

pub(super) fn upstream_url(url: Option<&Url>) -> UpstreamUrl {
    let Some(url) = url else {
        return UpstreamUrl {
            tls: UpstreamTls::Plain,
            host: "".into(),
            port: 0,
            path: "/".into(),
            authority: "".into(),
        };
    };
    UpstreamUrl {
        tls: match url.scheme {
            Scheme::Http => UpstreamTls::Plain,
            Scheme::Https => UpstreamTls::Tls,
        },
        host: url.authority.host.clone(),
        port: url.authority.port.unwrap_or(url.scheme.default_port()),
        path: if url.path.is_empty() { "/".into() } else { url.path.clone() },
        authority: url.authority.text(url.scheme).into_boxed_str(),
    }
}

fn route_path(name: &At<String>, typed: Option<&At<String>>, scene: &mut Scene<'_, '_>) -> Box<str> {
    let Some(typed) = typed else { return format!("/mcp/{}", name.value()).into_boxed_str() };
    let text = typed.value().as_str();
    let fault = if !text.starts_with('/') {
        Some("does not start with a slash")
    } else if text.len() > 1 && text.ends_with('/') {
        Some("ends with a slash")
    } else if text.contains('%') {
        Some("holds an escape, which readers undo or keep as they like")
    } else if text == "/.well-known" || text.starts_with("/.well-known/") {
        Some("is where this gateway describes itself (RFC 8615)")
    } else if text.len() > NAME_BYTES_MAX {
        Some("is too long")
    } else {
        url::check_path(text).err()
    };
    if let Some(fault) = fault {
        scene.findings.refuse(typed.at(), format!("path `{text}` {fault}"), "write it like `/mcp/crm`");
    }
    text.into()
}

fn route_host(typed: &At<String>, listen: &Listen, scene: &mut Scene<'_, '_>) -> Box<str> {
    match url::parse_authority(typed.value()) {
        Ok(authority) => authority.text(listen.public_url.scheme()).into_boxed_str(),
        Err(fault) => {
            let cure = "write a host, with its port unless that is the usual one, such as `crm.example.com:8443`";
            scene.findings.refuse(typed.at(), format!("host `{}` {fault}", typed.value()), cure);
            "".into()
        }
    }
}

/// Two servers on one route: which one answers would be chance.
fn check_routes(typed: &BTreeMap<At<String>, typed::Server>, meant: &[Server], scene: &mut Scene<'_, '_>) {
    let mut in_file_order: Vec<_> = typed.iter().zip(meant).collect();
    in_file_order.sort_by_key(|((name, _), _)| name.at());
    let mut seen: BTreeMap<(Option<&str>, &str), (&str, u32)> = BTreeMap::new();
    for ((name, server), meant) in in_file_order {
        let at = server.path.as_ref().map_or(name.at(), At::at);
        let line = scene.findings.line(at);
        let route = (meant.host.as_deref(), &*meant.path);
        if let Some((first, first_line)) = seen.get(&route) {
            scene.findings.refuse(
                at,
                format!(
                    "path `{}` of server `{}` is already the path of server `{first}` (line {first_line})",
                    meant.path, meant.name
                ),
                "give one of them another `path` or `host`",
            );
        } else {
            seen.insert(route, (&meant.name, line));
        }
    }
}

fn credential_settings(
    server: &At<String>,
    typed: &At<typed::Credential>,
    url: Option<&Url>,
    scene: &mut Scene<'_, '_>,
) -> Option<CredentialSettings> {
    if let Some(url) = url
        && url.scheme == Scheme::Http
        && !url.authority.is_loopback()
    {
        scene.findings.refuse(
            typed.at(),
            format!(
                "the credential of server `{}` would cross the network in plain text to `{}`",
                server.value(),
                url.authority.host
            ),
            "write `https` in its `url`",
        );
    }
    let (header, value) = (typed.value().header.as_ref()?, typed.value().value.as_ref()?);
    let name = header.value().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        scene.findings.refuse(
            header.at(),
            format!("`{}` is no header name", name.escape_debug()),
            "write it like `authorization`",
        );
    } else if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("mcp-") {
        scene.findings.refuse(
            header.at(),
            format!("header `{name}` is set by the gateway itself"),
            "name the header that carries the credential",
        );
    }
    check_template(value, scene);
    Some(CredentialSettings { header: name.into_boxed_str(), template: value.value().as_str().into() })
}

/// A value with at least one `{secret:NAME}` and nothing else in braces. The value itself is never shown: it may be the secret.
fn check_template(typed: &At<String>, scene: &mut Scene<'_, '_>) {
    let cure = "put the secret into the secrets file and write `{secret:NAME}` in its place";
    let text = typed.value().as_str();
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return scene.findings.refuse(
            typed.at(),
            "the value of a credential holds a character that a header must not hold",
            cure,
        );
    }
    let mut references = 0;
    let mut parts = text.split('{');
    let mut broken = parts.next().is_some_and(|before| before.contains('}'));
    for part in parts {
        let reference = part.strip_prefix("secret:").and_then(|rest| rest.split_once('}'));
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match reference {
            Some((secret, after)) if !secret.is_empty() && secret.bytes().all(name) && !after.contains('}') => {
                references += 1
            }
            Some(_) | None => broken = true,
        }
    }
    if broken {
        scene.findings.refuse(
            typed.at(),
            "the value of a credential holds braces around something other than `secret:NAME`",
            cure,
        );
    } else if references == 0 {
        scene.findings.refuse(
            typed.at(),
            "the value of a credential names no secret, so it would stand readable in this file",
            cure,
        );
    }
}

fn mode(server: &At<String>, typed: Option<&At<ModeText>>, scene: &mut Scene<'_, '_>) -> Mode {
    let Some(typed) = typed else { return Mode::Enforce };
    match typed.value() {
        ModeText::Enforce => Mode::Enforce,
        ModeText::Observe => {
            let message = format!("denials on server `{}` are recorded and not enforced", server.value());
            scene.findings.warn(typed.at(), message, "write `mode = \"enforce\"` once the log looks right");
            Mode::Observe
        }
    }
}

fn learn(server: &At<String>, typed: Option<&At<LearnText>>, scene: &mut Scene<'_, '_>) -> Learn {
    let Some(typed) = typed else { return Learn::Reviewed };
    match typed.value() {
        LearnText::Reviewed => Learn::Reviewed,
        LearnText::FirstUse => {
            let message = format!("tools of server `{}` are taken as first seen, without review", server.value());
            scene.findings.warn(typed.at(), message, "write `learn = \"reviewed\"` and approve its catalogue");
            Learn::FirstUse
        }
    }
}

/// Oldest first. 2024-11-05 has a transport of its own that is not served, so it is spoken only where it is asked for.
fn revisions(typed: Option<&At<Vec<At<RevisionText>>>>, scene: &mut Scene<'_, '_>) -> Vec<Revision> {
    let Some(typed) = typed else {
        return vec![Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25, Revision::V2026_07_28];
    };
    let mut meant: Vec<Revision> = typed.value().iter().map(|word| revision(*word.value())).collect();
    meant.sort_by_key(|revision| revision.as_str());
    meant.dedup();
    if meant.is_empty() && !scene.findings.refused() {
        scene.findings.refuse(typed.at(), "`revisions` is empty, so no agent could ever connect", "write `2026-07-28`");
    }
    meant
}

fn revision(typed: RevisionText) -> Revision {
    match typed {
        RevisionText::V2024_11_05 => Revision::V2024_11_05,
        RevisionText::V2025_03_26 => Revision::V2025_03_26,
        RevisionText::V2025_06_18 => Revision::V2025_06_18,
        RevisionText::V2025_11_25 => Revision::V2025_11_25,
        RevisionText::V2026_07_28 => Revision::V2026_07_28,
    }
}

/// A method of the specification has its own rules; letting an extension take its name would go around them.
fn extension_method(typed: &At<String>, scene: &mut Scene<'_, '_>) -> Box<str> {
    let text = typed.value().as_str();
    let known = Method::parse(text).is_some()
        || ClientNotification::parse(text).is_some()
        || ServerMethod::parse(text).is_some()
        || ServerNotification::parse(text).is_some();
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        scene.findings.refuse(
            typed.at(),
            format!("`{}` is no method", text.escape_debug()),
            "write it like `acme/reindex`",
        );
    } else if known {
        scene.findings.refuse(
            typed.at(),
            format!("method `{text}` is part of the specification already"),
            "remove it from `extension_methods`",
        );
    } else if text.starts_with("notifications/") {
        scene.findings.refuse(
            typed.at(),
            format!("`{text}` is a notification; only requests can be added"),
            "remove it from `extension_methods`",
        );
    }
    text.into()
}

/// `scope-token` of RFC 6749 §3.3: it is quoted into a challenge.
fn scope_token(typed: &At<String>, scene: &mut Scene<'_, '_>) -> Box<str> {
    let text = typed.value().as_str();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        scene.findings.refuse(
            typed.at(),
            format!("`{}` is no scope", text.escape_debug()),
            "write one scope a text, without spaces or quotes",
        );
    }
    text.into()
}

/// A server's name is a path segment, a Cedar id and a file name.
const SERVER_NAME_BYTES_MAX: usize = 32;

/// What the gateway sets or strips itself, so a credential there would be lost or worse.
const OWN_HEADERS: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept",
    "accept-encoding",
    "last-event-id",
    "origin",
];
