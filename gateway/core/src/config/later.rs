//! Words for what is refused on purpose. In: a key or a word. Out: cause and cure. Never here: a key that is taken and not obeyed.
//!
//! A key that a later version will know is refused, never skipped: an operator who wrote it believes that it is enforced.

use serde_json::Value;

/// Cause and cure.
pub type Words = (String, String);

/// For a key that this version does not support yet. `path` are the tables it stands in.
pub fn later_key(path: &[String], key: &str) -> Option<Words> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let cure = match (path.as_slice(), key) {
        (["server", _, "credential"], "mint" | "exchange" | "vault" | "client_credentials") => {
            "write a `header` and a `value` with `{secret:NAME}`"
        }
        (["server", _], "command" | "args" | "env") => "give the server a `url`; it must speak Streamable HTTP",
        (["server", _], "rate" | "budget") | (["tool", _], "rate" | "budget") => "remove it; no rate is enforced yet",
        (["policy"], "shadow") => "remove it; only the serving rules are evaluated",
        (["audit"], "keep") => "remove it; the log is kept whole",
        (["audit"], "export") => {
            "remove it and run `portcullis audit export`, which goes on where it stopped with `--cursor`"
        }
        (["audit"], "checkpoint" | "commitments") => {
            "remove it; a checkpoint is signed each second, and arguments and results are always committed to"
        }
        (["identity", _], "discovery" | "introspection" | "dpop") => "save the key set to a file and name it in `keys`",
        (["listen"], "http2" | "http3" | "quic") => "remove it; agents are served over HTTP/1.1",
        (["listen", "tls"], "crl" | "ocsp" | "acme") => "remove it and suspend an agent in the registry",
        (["kernel"], "admit" | "steer" | "spread") => "remove it; the kernel layer is not part of this build",
        ([], "calendar" | "calendars") => {
            "write calendars into a file and name it: `calendars = \"calendars.toml\"` in `[policy]`"
        }
        ([], "secret" | "rate" | "budget" | "export") => "remove it",
        _ => return None,
    };
    let place = if path.is_empty() { String::new() } else { format!(" in `[{}]`", path.join(".")) };
    Some((format!("`{key}`{place} is not supported by this version"), cure.to_owned()))
}

/// For a word that is known and refused, as opposed to mistyped.
pub fn refused_word(path: &[String], word: &str) -> Option<Words> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let words = match (path.as_slice(), word) {
        (["io"], "epoll" | "poll" | "kqueue" | "auto" | "tokio") => (
            format!("`io = \"{word}\"` is not supported by this version"),
            "write `io = \"uring\"`, or leave it out".to_owned(),
        ),
        (["identity", _, "algorithms"], "HS256" | "HS384" | "HS512") => (
            format!("`{word}` signs with a shared secret, so whoever can check a token could also forge one"),
            ALGORITHM_CURE.to_owned(),
        ),
        (["identity", _, "algorithms"], _) if word.eq_ignore_ascii_case("none") => {
            (format!("`{word}` is no signature at all"), ALGORITHM_CURE.to_owned())
        }
        (
            ["identity", _, "algorithms"],
            "ES384" | "ES512" | "ES256K" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512",
        ) => (format!("`{word}` is not supported by this version"), ALGORITHM_CURE.to_owned()),
        _ => return None,
    };
    Some(words)
}

/// For a key that must be given.
pub fn missing_key(path: &[String], key: &str, schema: &Value) -> Words {
    let place = path.join(".");
    if let ([table, _], "keys") = (path, key)
        && table == "identity"
    {
        return (
            format!("`[{place}]` has no `keys`, and fetching them from the issuer is not supported by this version"),
            "save its key set to a file and write `keys = \"NAME.jwks.json\"`".to_owned(),
        );
    }
    let example = schema.get("properties").and_then(|all| all.get(key)).and_then(|known| known.pointer("/examples/0"));
    let cure = match example {
        Some(example) => format!("write it like `{key} = {example}`"),
        None => format!("write `{key} = \"…\"`"),
    };
    (format!("`[{place}]` has no `{key}`"), cure)
}

const ALGORITHM_CURE: &str = "write `EdDSA`, `ES256` or `RS256`";
