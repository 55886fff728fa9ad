//! `portcullis init`: writes a starter configuration. In: a folder. Out: files to edit, that load as they are. Never here: overwriting.

use crate::cli::{End, Failure, Outcome, Ways, say};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Args;
use portcullis_core::config::example::STARTER;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where to write it.
#[derive(Args, Debug)]
pub struct Init {
    /// The folder, made where it is missing
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// The configuration's file name, which is also where every verb looks for it.
const CONFIG: &str = "portcullis.toml";

const CONTROL: &str = "\n# `portcullis status` and its like speak to the gateway here; the default is /run/portcullis/control.sock.\n[control]\nsocket = \"control.sock\"\n";

const AGENTS: &str = r#"# Who may call. Whoever is not in this file is refused, whatever it shows.

[agent.example-bot]
owner = "team@example.com"             # who answers for it
groups = ["support"]                   # what rules know it by
tokens = [{ issuer = "example", client_id = "example-bot" }]
"#;

const RULES: &str = r#"// What agents may do. Whatever no rule permits is refused; a forbid beats every permit.
//
// First list the server's tools with `portcullis tools learn crm`. Then, for example:
//
// permit (principal in Group::"support", action == Action::"crm.read_customer", resource == Server::"crm")
// when { context.input has region && context.input.region == "eu" };
//
// `portcullis check` tells what is wrong with the rules, `portcullis policy test policies/tests.toml` holds them against what you expect of
// them, `portcullis policy apply` puts them in force.
"#;

const CASES: &str = r#"# What the rules are to come to: `portcullis policy test policies/tests.toml` holds them against it, offline.
# Each case is one call. `rule` and `reason` may be left out; `at`, `source`, `user`, `account` and `claims` may be added.

[[case]]
name = "what no rule permits is refused"
agent = "example-bot"
server = "crm"
uri = "file:///etc/passwd"
expect = "deny"
reason = "no_rule"

# [[case]]
# name = "support reads European customers"
# agent = "example-bot"
# tool = "crm.read_customer"
# arguments = { region = "eu" }
# at = 2026-11-23T10:00:00Z              # where a rule reads the time
# expect = "allow"
# rule = "example.cedar:5"
"#;

/// A file of the starter: where, what, and who may read it.
struct Starter {
    path: PathBuf,
    text: String,
    mode: u32,
}

/// Writes all files, or none where one of them exists.
pub fn init(init: &Init, ways: &Ways) -> Outcome {
    let config = init.folder.join(CONFIG);
    if ways.config != Path::new(CONFIG) && ways.config != config {
        return Err(Failure::new(
            format!("`init` writes to a folder, not to `{}`", ways.config.display()),
            "name the folder instead of `--config`, as in `portcullis init FOLDER`",
        ));
    }
    let (private, public) = key_pair()
        .ok_or_else(|| Failure::new("no key could be made", "the system's source of randomness is broken"))?;
    let file = |name: &str, text: String, mode: u32| Starter { path: init.folder.join(name), text, mode };
    let files = [
        file(CONFIG, format!("{STARTER}{CONTROL}"), 0o644),
        file("agents.toml", AGENTS.to_owned(), 0o644),
        file("policies/example.cedar", RULES.to_owned(), 0o644),
        file("policies/tests.toml", CASES.to_owned(), 0o644),
        file("example.jwks.json", public, 0o644),
        file("keys/example.pem", private, 0o600),
    ];
    if let Some(there) = files.iter().find(|file| file.path.exists()) {
        return Err(Failure::new(
            format!("`{}` exists", there.path.display()),
            "choose an empty folder: nothing is ever overwritten",
        ));
    }
    for file in &files {
        write(file).map_err(|error| {
            Failure::new(
                format!("`{}` cannot be written: {error}", file.path.display()),
                "choose a folder that this user can write to",
            )
        })?;
    }
    if ways.json {
        let written: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
        say::json(&json!({"written": written}));
        return Ok(End::Done);
    }
    files.iter().for_each(|file| say::line(&format!("wrote {}", file.path.display())));
    say::line(&format!(
        "\n`keys/example.pem` signs tokens of the issuer `example`, to try things out; put your provider's key set in its place.\nNext: portcullis check -c {0}, then portcullis run -c {0}",
        config.display()
    ));
    Ok(End::Done)
}

fn write(file: &Starter) -> io::Result<()> {
    fs::create_dir_all(file.path.parent().unwrap_or(Path::new(".")))?;
    let mut out = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&file.path)?;
    out.write_all(file.text.as_bytes())
}

/// What stands before the seed of an Ed25519 key in the first version of PKCS #8 (RFC 8410 §7). The second version, which holds the public
/// half too, is one that many tools do not read.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A fresh Ed25519 key: PKCS #8 in PEM (RFC 8410), and its public half as a JWK set (RFC 8037).
fn key_pair() -> Option<(String, String)> {
    let mut seed = [0; 32];
    rand::fill(&mut seed).ok()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    let encoded = STANDARD.encode([PKCS8_HEAD.as_slice(), seed.as_slice()].concat());
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let set =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "example-1", "x": x}]});
    Some((pem, format!("{set:#}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn ways(folder: &Path) -> Ways {
        Ways { config: folder.join("portcullis.toml"), socket: None, json: false }
    }

    #[test]
    fn a_folder_that_holds_one_of_the_files_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("agents.toml"), "mine").unwrap();
        let refused = init(&Init { folder: folder.path().to_owned() }, &ways(folder.path())).unwrap_err();
        assert!(refused.message.contains("agents.toml` exists"), "{}", refused.message);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(folder.path().join("agents.toml")).unwrap(), "mine");
    }

    #[test]
    fn what_was_written_loads_and_its_key_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new");
        assert_eq!(init(&Init { folder: target.clone() }, &ways(&target)), Ok(End::Done));
        assert_eq!(crate::cli::check::check(&ways(&target)), Ok(End::Done));
        assert_eq!(fs::metadata(target.join("keys/example.pem")).unwrap().mode() & 0o777, 0o600);
        let pem = fs::read(target.join("keys/example.pem")).unwrap();
        let key: rustls_pki_types::PrivatePkcs8KeyDer<'_> =
            rustls_pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
        let der = key.secret_pkcs8_der();
        assert!(der.len() == 48 && der.starts_with(&PKCS8_HEAD), "the first version of PKCS #8");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap();
        let set = fs::read_to_string(target.join("example.jwks.json")).unwrap();
        assert!(set.contains(&URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())));
    }

    #[test]
    fn a_configuration_named_elsewhere_is_refused_and_not_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new");
        let refused = init(&Init { folder: target.clone() }, &ways(folder.path())).unwrap_err();
        assert!(refused.message.starts_with("`init` writes to a folder, not to `"), "{}", refused.message);
        assert!(!target.exists());
    }
}
