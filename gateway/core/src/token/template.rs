//! Builds a credential's header field. In: its name, a template such as `Bearer {secret:crm}`, the secrets. Out: the field. Never here: sending it.

use crate::diagnostic::did_you_mean;
use crate::secret::Secret;
use crate::token::secrets::{Secrets, is_field_value};

/// Cause and cure of a template that is refused; the caller knows the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The cause.
    pub message: String,
    /// The cure.
    pub help: Option<String>,
}

/// Fields that the gateway writes itself or that belong to one connection (RFC 9110 §7.6.1). A credential in one of them would
/// change how the message is framed, routed or read.
const REFUSED_FIELDS: [&str; 22] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The field's name in lower case, if a credential may stand in it.
pub(super) fn field_name(name: &str) -> Result<Box<str>, TemplateError> {
    let lower = name.to_ascii_lowercase();
    if lower.is_empty() || !lower.bytes().all(is_token_byte) {
        let shown = name.escape_debug();
        return Err(refused(format!("`{shown}` is no header name"), "write a name such as `authorization`"));
    }
    if REFUSED_FIELDS.contains(&&*lower) || lower.starts_with("mcp-") {
        let message = format!("header `{lower}` cannot carry a credential");
        return Err(refused(
            message,
            "the gateway writes it itself; use `authorization` or a header of the upstream's own",
        ));
    }
    Ok(lower.into())
}

/// The field's value, with every placeholder filled.
pub(super) fn field_value(template: &str, secrets: &Secrets) -> Result<Secret<Vec<u8>>, TemplateError> {
    let mut value = Secret::new(String::new());
    let mut rest = template;
    let mut filled = false;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or_else(|| brace(template))?;
        let secret = placeholder(inside, secrets)?;
        check_literal(before, template)?;
        // Joined anew each time, so that no half-built value is left behind in a buffer that grew.
        value = Secret::new([value.expose().as_str(), before, secret.expose().as_str()].concat());
        filled = true;
        rest = after;
    }
    check_literal(rest, template)?;
    let value = Secret::new([value.expose().as_str(), rest].concat());
    if !filled {
        // What stands here stands in the configuration, which people print, mail and commit. The template is not quoted for that reason.
        let cure = "move the value to the secrets file and write `{secret:NAME}`";
        return Err(refused("a credential's value names no secret".into(), cure));
    }
    if !is_field_value(value.expose()) {
        let cure = "a header takes visible ASCII and inner spaces";
        return Err(refused("a credential's value cannot stand in a header".into(), cure));
    }
    Ok(Secret::new(value.expose().as_bytes().to_vec()))
}

fn placeholder<'s>(inside: &str, secrets: &'s Secrets) -> Result<&'s Secret<String>, TemplateError> {
    let (kind, name) = inside.split_once(':').unwrap_or((inside, ""));
    if kind != "secret" {
        let message = format!("unknown placeholder `{{{}}}`", inside.escape_debug());
        let near = did_you_mean(kind, ["secret"]).map(|_| "did you mean `{secret:NAME}`?".to_owned());
        return Err(TemplateError {
            message,
            help: near.or_else(|| Some("the one placeholder is `{secret:NAME}`".into())),
        });
    }
    secrets.find(name).ok_or_else(|| TemplateError {
        message: format!("unknown secret `{}`", name.escape_debug()),
        help: did_you_mean(name, secrets.names()).or_else(|| Some("add it to the secrets file".into())),
    })
}

fn check_literal(text: &str, template: &str) -> Result<(), TemplateError> {
    if text.contains(['{', '}']) { Err(brace(template)) } else { Ok(()) }
}

fn brace(template: &str) -> TemplateError {
    let message = format!("a brace without its pair in `{}`", template.escape_debug());
    refused(message, "braces stand only in `{secret:NAME}`")
}

fn refused(message: String, cure: &str) -> TemplateError {
    TemplateError { message, help: Some(cure.into()) }
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::parse("[secrets]\ncrm = \"s3cret-value\"\nuser = \"amy\"", "secrets.toml").unwrap()
    }

    fn check(template: &str, expected: Result<&str, &str>) {
        let got = field_value(template, &secrets());
        let got = got.as_ref().map(|value| std::str::from_utf8(value.expose()).unwrap());
        let got = got.map_err(|error| format!("{}; {}", error.message, error.help.clone().unwrap_or_default()));
        assert_eq!(got, expected.map_err(str::to_owned), "{template}");
    }

    #[test]
    fn a_template_that_is_not_fully_understood_is_refused() {
        check("Bearer {secrt:crm}", Err("unknown placeholder `{secrt:crm}`; did you mean `{secret:NAME}`?"));
        check("Bearer {env:CRM}", Err("unknown placeholder `{env:CRM}`; the one placeholder is `{secret:NAME}`"));
        check("Bearer {}", Err("unknown placeholder `{}`; the one placeholder is `{secret:NAME}`"));
        check("Bearer {secret:cmr}", Err("unknown secret `cmr`; did you mean `crm`?"));
        check("Bearer {secret:}", Err("unknown secret ``; add it to the secrets file"));
        check("Bearer {secret: crm}", Err("unknown secret ` crm`; did you mean `crm`?"));
        check(
            "Bearer {secret:crm",
            Err("a brace without its pair in `Bearer {secret:crm`; braces stand only in `{secret:NAME}`"),
        );
        check(
            "Bearer }{secret:crm}",
            Err("a brace without its pair in `Bearer }{secret:crm}`; braces stand only in `{secret:NAME}`"),
        );
        check(
            "{secret:crm}}",
            Err("a brace without its pair in `{secret:crm}}`; braces stand only in `{secret:NAME}`"),
        );
        let none = "a credential's value names no secret; move the value to the secrets file and write `{secret:NAME}`";
        check("Bearer abc", Err(none));
        check("", Err(none));
        let bad = "a credential's value cannot stand in a header; a header takes visible ASCII and inner spaces";
        for template in
            ["Bearer\r\nX: {secret:crm}", "Bearer\0{secret:crm}", " {secret:crm}", "{secret:crm} ", "é{secret:crm}"]
        {
            check(template, Err(bad));
        }
    }

    #[test]
    fn a_field_that_frames_or_routes_the_message_is_refused() {
        for name in REFUSED_FIELDS.into_iter().chain(["Host", "Mcp-Session-Id", "mcp-protocol-version", "MCP-Name"]) {
            assert!(field_name(name).unwrap_err().message.contains("cannot carry a credential"), "{name}");
        }
        for name in ["", "a b", "a:b", ":authority", "x\r\ny", "é"] {
            assert!(field_name(name).unwrap_err().message.contains("is no header name"), "{name}");
        }
        assert_eq!(field_name("X-Api-Key").as_deref(), Ok("x-api-key"));
    }

    #[test]
    fn placeholders_are_filled() {
        check("Bearer {secret:crm}", Ok("Bearer s3cret-value"));
        check("{secret:user}:{secret:crm}", Ok("amy:s3cret-value"));
    }
}
