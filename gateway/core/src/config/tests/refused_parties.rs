//! What must not be said of servers, credentials, issuers and tools, row by row.

use super::*;

#[test]
fn a_server_that_would_be_misread_is_refused() {
    let cure = "write 1–32 of `a-z`, `0-9` and `-`";
    for name in ["CRM_1", "a.b", "", "a-name-that-is-longer-than-32-bytes"] {
        check(
            &format!("[server.\"{name}\"]\nurl = \"http://127.0.0.1:1\"\n"),
            &[&format!("p.toml:8: `{name}` is no server name; {cure}")],
        );
    }
    let path = |path: &str| format!("[server.pg]\nurl = \"http://127.0.0.1:1\"\npath = \"{path}\"\n");
    let rows = [
        ("mcp", "does not start with a slash"),
        ("/mcp/", "ends with a slash"),
        ("/a%2fb", "holds an escape, which readers undo or keep as they like"),
        ("/.well-known/x", "is where this gateway describes itself (RFC 8615)"),
        ("/a//b", "holds an empty segment"),
        ("/a/../b", "holds a `.` or `..` segment"),
        ("/a?b", "holds a character that a path must not hold"),
    ];
    for (text, fault) in rows {
        check(&path(text), &[&format!("p.toml:10: path `{text}` {fault}; write it like `/mcp/crm`")]);
    }
    check(
        &path("/mcp/crm"),
        &[
            "p.toml:10: path `/mcp/crm` of server `pg` is already the path of server `crm` (line 1); give one of them another `path` or `host`",
        ],
    );
    let url = |url: &str| format!("[server.pg]\nurl = \"{url}\"\n");
    let cure = "write it like `http://127.0.0.1:9000/mcp`; secrets go into a `credential`";
    check(
        &url("pg:9000"),
        &[&format!("p.toml:9: `url` `pg:9000` does not start with `https://` or `http://`; {cure}")],
    );
    check(&url("https://me:hunter2@pg/mcp"), &[&format!("p.toml:9: `url` holds a user name or password; {cure}")]);
    check(&url("https://pg/mcp?key=hunter2"), &[&format!("p.toml:9: `url` holds a query; {cure}")]);
    check(
        &format!("{}ca = \"pg.pem\"\n", url("http://127.0.0.1:1")),
        &[
            "p.toml:10: `ca` says nothing about an upstream reached over plain `http`; write `https` in its `url`, or remove `ca`",
        ],
    );
    check(
        &format!("{}host = \"a b\"\n", url("http://127.0.0.1:1")),
        &[
            "p.toml:10: host `a b` holds a host that is neither a name nor an address; write a host, with its port unless that is the usual one, such as `crm.example.com:8443`",
        ],
    );
}

/// A whole configuration whose server `pg` has this credential, on line 11.
fn credential(url: &str, header: &str, value: &str) -> String {
    let credential = format!("{{ header = \"{header}\", value = \"{value}\" }}");
    format!("secrets = \"s.age\"\n{LEAST}[server.pg]\nurl = \"{url}\"\ncredential = {credential}\n")
}

#[test]
fn a_credential_that_could_leak_is_refused() {
    let good = "Bearer {secret:pg}";
    let rows = [
        (
            "http://pg.example.com/mcp",
            "authorization",
            good,
            "the credential of server `pg` would cross the network in plain text to `pg.example.com`; write `https` in its `url`",
        ),
        (
            "http://localhost.example.com/mcp",
            "authorization",
            good,
            "the credential of server `pg` would cross the network in plain text to `localhost.example.com`; write `https` in its `url`",
        ),
        ("https://pg/mcp", "a b", good, "`a b` is no header name; write it like `authorization`"),
        (
            "https://pg/mcp",
            "Host",
            good,
            "header `host` is set by the gateway itself; name the header that carries the credential",
        ),
        (
            "https://pg/mcp",
            "Mcp-Session-Id",
            good,
            "header `mcp-session-id` is set by the gateway itself; name the header that carries the credential",
        ),
        (
            "https://pg/mcp",
            "authorization",
            "Bearer hunter2",
            "the value of a credential names no secret, so it would stand readable in this file; put the secret into the secrets file and write `{secret:NAME}` in its place",
        ),
        (
            "https://pg/mcp",
            "authorization",
            "Bearer {pg}",
            "the value of a credential holds braces around something other than `secret:NAME`; put the secret into the secrets file and write `{secret:NAME}` in its place",
        ),
        (
            "https://pg/mcp",
            "authorization",
            "{secret:}",
            "the value of a credential holds braces around something other than `secret:NAME`; put the secret into the secrets file and write `{secret:NAME}` in its place",
        ),
        (
            "https://pg/mcp",
            "authorization",
            "{secret:a}\\r\\nx: y",
            "the value of a credential holds a character that a header must not hold; put the secret into the secrets file and write `{secret:NAME}` in its place",
        ),
    ];
    for (url, header, value, message) in rows {
        assert_eq!(
            findings(&credential(url, header, value)),
            [format!("p.toml:11: {message}")],
            "given {url} {header} {value}"
        );
    }
}

#[test]
fn a_credential_stays_on_this_machine_or_under_tls() {
    let value = "Bearer {secret:pg}";
    for url in ["http://127.0.0.1:1/mcp", "http://[::1]:1/mcp", "http://localhost/mcp", "https://pg/mcp"] {
        assert_eq!(findings(&credential(url, "authorization", value)), Vec::<String>::new(), "given {url}");
    }
    check(
        "[server.pg]\nurl = \"https://pg/mcp\"\ncredential = { header = \"x-key\", value = \"{secret:pg}\" }\n",
        &[
            "p.toml:10: a credential names a secret, but there is no file of secrets; write `secrets = \"secrets.toml\"` at the top of the file",
        ],
    );
}

#[test]
fn a_method_scope_or_revision_that_cannot_be_is_refused() {
    let server = |line: &str| format!("[server.pg]\nurl = \"https://pg/mcp\"\n{line}\n");
    check(
        &server("extension_methods = [\"tools/call\"]"),
        &["p.toml:10: method `tools/call` is part of the specification already; remove it from `extension_methods`"],
    );
    check(
        &server("extension_methods = [\"sampling/createMessage\"]"),
        &[
            "p.toml:10: method `sampling/createMessage` is part of the specification already; remove it from `extension_methods`",
        ],
    );
    check(
        &server("extension_methods = [\"notifications/x\"]"),
        &[
            "p.toml:10: `notifications/x` is a notification; only requests can be added; remove it from `extension_methods`",
        ],
    );
    check(&server("extension_methods = [\"a b\"]"), &["p.toml:10: `a b` is no method; write it like `acme/reindex`"]);
    check(
        &server("scopes = [\"a b\"]"),
        &["p.toml:10: `a b` is no scope; write one scope a text, without spaces or quotes"],
    );
    check(
        &server("revisions = [\"2025-06-17\"]"),
        &["p.toml:10: `server.pg.revisions` knows no `2025-06-17`; did you mean `2025-06-18`?"],
    );
    check(
        &server("revisions = []"),
        &["p.toml:10: `revisions` is empty, so no agent could ever connect; write `2026-07-28`"],
    );
    check(
        &server("mode = \"observe\""),
        &[
            "p.toml:10: warning: denials on server `pg` are recorded and not enforced; write `mode = \"enforce\"` once the log looks right",
        ],
    );
    check(
        &server("learn = \"first-use\""),
        &[
            "p.toml:10: warning: tools of server `pg` are taken as first seen, without review; write `learn = \"reviewed\"` and approve its catalogue",
        ],
    );
}

#[test]
fn an_issuer_anybody_could_play_is_refused() {
    let issuer = |lines: &str| format!("[identity.entra]\nkeys = \"e.json\"\n{lines}\n");
    let url = "issuer = \"https://login.example.com\"\n";
    let cure = "write `EdDSA`, `ES256` or `RS256`";
    let rows = [
        ("HS256", "signs with a shared secret, so whoever can check a token could also forge one"),
        ("none", "is no signature at all"),
        ("PS256", "is not supported by this version"),
    ];
    for (word, fault) in rows {
        check(&issuer(&format!("{url}algorithms = [\"{word}\"]")), &[&format!("p.toml:11: `{word}` {fault}; {cure}")]);
    }
    check(
        &issuer(&format!("{url}algorithms = [\"ES265\"]")),
        &["p.toml:11: `identity.entra.algorithms` knows no `ES265`; did you mean `ES256`?"],
    );
    check(
        &issuer(&format!("{url}algorithms = []")),
        &[&format!("p.toml:11: `algorithms` is empty, so no token could ever count; {cure}")],
    );
    check(
        &issuer(&format!("{url}token_types = []")),
        &["p.toml:11: `token_types` is empty, so no token could ever count; write `at+jwt`"],
    );
    check(
        &issuer(&format!("{url}token_types = [\"at+jwt\", \"JWT\"]\nagent_claim = \"sub\"")),
        &[
            "p.toml:12: warning: `sub` names the agent, and these `token_types` do not tell access tokens from ID tokens, which name their user there; name the claim of the client, such as `client_id`, `azp`, `appid` or `cid`",
        ],
    );
    check(
        &issuer(&format!("{url}agent_claim = \"\"")),
        &["p.toml:11: `` is no claim; write 1–256 characters without spaces around them"],
    );
    check(
        &issuer(&format!("{url}clock_skew = \"1h\"")),
        &["p.toml:11: `1h` is above the most `identity.clock_skew` can be; write 0ms to 1m"],
    );
    let cure = "write it as the tokens' `iss` claim has it, such as `https://example.okta.com/oauth2/aus1`";
    check(
        &issuer("issuer = \"http://login.example.com\""),
        &[&format!("p.toml:10: issuer `http://login.example.com` is not reached over `https`; {cure}")],
    );
    check(
        &issuer("issuer = \"okta\""),
        &[&format!("p.toml:10: issuer `okta` does not start with `https://` or `http://`; {cure}")],
    );
    check(
        &issuer("issuer = \"https://idp.example.com\""),
        &[
            "p.toml:10: `https://idp.example.com` is already the issuer of `[identity.okta]`; keep one of the two: a token must lead to one set of keys",
        ],
    );
    assert_eq!(
        findings("[server.crm]\nurl = \"http://127.0.0.1:1\"\n"),
        [
            "p.toml: warning: nobody can prove who they are, so every call will be refused; name an identity provider (`[identity.NAME]`) or `client_ca` in `listen.tls`"
        ]
    );
}

#[test]
fn a_tool_setting_that_would_not_apply_is_refused() {
    check("[tool.\"cmr.read\"]\n", &["p.toml:8: unknown server `cmr` of tool `cmr.read`; did you mean `crm`?"]);
    check("[tool.read]\n", &["p.toml:8: tool `read` does not say on which server; write `[tool.\"SERVER.read\"]`"]);
    let redact = |pointer: &str| format!("[tool.\"crm.read\"]\ncapture = {{ redact = [\"{pointer}\"] }}\n");
    check(&redact("rows.ssn"), &["p.toml:9: pointer `rows.ssn` does not start with a slash; write `/rows/ssn`"]);
    check(&redact(""), &["p.toml:9: pointer `` names the whole document; write a pointer into it, such as `/ssn`"]);
    check(&redact("/a~b"), &["p.toml:9: pointer `/a~b` holds a lone `~`; write `~0` for a tilde and `~1` for a slash"]);
    check(
        "[tool.\"crm.read\"]\naccount = \"/rows/*\"\n",
        &["p.toml:9: pointer `/rows/*` names more than one value; name one value, without `*`"],
    );
}

#[test]
fn results_that_the_log_keeps_are_not_to_pass_unread() {
    let cure = "write `capture = { result = \"size\" }` beside it, or remove `inspect`";
    let expected = format!("p.toml:9: results are to pass unread, but the log is to keep them or their digest; {cure}");
    for capture in ["", "capture = { result = \"full\" }", "capture = { result = \"digest\" }"] {
        check(&format!("[tool.\"crm.read\"]\ninspect = \"envelope\"\n{capture}\n"), &[&expected]);
    }
    check(
        "[tool.\"crm.read\"]\ninspect = \"none\"\n",
        &["p.toml:9: `tool.\"crm.read\".inspect` knows no `none`; write `whole` or `envelope`"],
    );
}
