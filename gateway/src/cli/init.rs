//! `portcullis init`: writes a starter configuration. In: a folder. Out: files to edit, that load as they are. Never here: overwriting.

use crate::cli::{End, Failure, Outcome, Ways, keys, say};
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
// First list the server's tools with `portcullis tools learn crm`. Then, to begin with, all of them for one group:
//
// permit (principal in Group::"support", action in Action::"call", resource == Server::"crm");
//
// or one of them, with what its arguments may be:
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
# rule = "example.cedar:9"
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
    let made = keys::make("example-1")?;
    let file = |name: &str, text: String, mode: u32| Starter { path: init.folder.join(name), text, mode };
    let files = [
        file(CONFIG, format!("{STARTER}{CONTROL}"), 0o644),
        file("agents.toml", AGENTS.to_owned(), 0o644),
        file("policies/example.cedar", RULES.to_owned(), 0o644),
        file("policies/tests.toml", CASES.to_owned(), 0o644),
        file("example.jwks.json", made.public, 0o644),
        file("keys/example.pem", made.private, 0o600),
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
    let here = if init.folder == Path::new(".") { String::new() } else { format!(" in {}", init.folder.display()) };
    say::line(&format!(
        "\nNext{here}:\n  set `url` in {CONFIG} to your MCP server\n  portcullis tools learn crm     lists its tools, to be reviewed\n  edit policies/example.cedar    says who may call which\n  portcullis check\n  portcullis run\n  portcullis token mint --agent example-bot     a token to try it with\n\n`keys/example.pem` signs tokens of the issuer `example`, for trying out alone: put your provider's issuer and key set in its place."
    ));
    Ok(End::Done)
}

fn write(file: &Starter) -> io::Result<()> {
    fs::create_dir_all(file.path.parent().unwrap_or(Path::new(".")))?;
    let mut out = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&file.path)?;
    out.write_all(file.text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
        assert!(der.len() == 48 && der.starts_with(&keys::PKCS8_HEAD), "the first version of PKCS #8");
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
