//! Makes what the parties show each other. In: how many agents. Out: certificates, a key set and a registry that fit together, tokens. Never here:
//! keys that guard anything; each run makes its own.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::json;

use crate::keys::{Ca, TokenSigner};

/// Tokens outlive any run.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// Whom the tokens are for. One name for all, so that one token is good at every subject whatever its port.
const AUDIENCE: &str = "https://edge.bench.example/mcp/bench";

/// The agent that the client certificate names.
const SPIFFE: &str = "spiffe://bench.example/agent/bench";

/// Files in one folder, and what is in them.
pub struct Papers {
    /// One bearer token a line.
    pub tokens: PathBuf,
    /// The first of them.
    pub token: String,
    /// The authority of both sides.
    pub ca: PathBuf,
    /// The server's certificate, for `localhost` and `127.0.0.1`.
    pub server_certificate: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// Both in one file, as haproxy wants them.
    pub server_both: PathBuf,
    /// The client's certificate.
    pub client_certificate: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
    /// The key set that the tokens verify against (RFC 7517).
    pub keys: String,
    /// The agents, as the registry's file names them.
    pub registry: String,
}

impl Papers {
    /// Makes everything for so many agents and writes it into `folder`. P-256 certificates; Ed25519 tokens of about 400 bytes, as identity
    /// providers make them (RFC 9068 §2.2).
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn make(folder: &Path, agents: u32) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let file = folder.join(name);
            // Keys that others could read are refused by who is to use them; the mode is given when a file is made.
            let _of_an_earlier_run = fs::remove_file(&file);
            let private = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            let written = private.and_then(|mut private| private.write_all(text.as_bytes()));
            written.with_context(|| format!("`{}` cannot be written", file.display()))?;
            Ok(file)
        };
        let ca = Ca::new("authority of the bench")?;
        let (server, client) = (ca.server(&["localhost", "127.0.0.1"])?, ca.client(SPIFFE)?);
        let signer = TokenSigner::new_eddsa()?;
        let tokens: Vec<String> = (0..agents.max(1)).map(|number| sign(&signer, number)).collect::<Result<_>>()?;
        Ok(Self {
            tokens: write("tokens", &(tokens.join("\n") + "\n"))?,
            token: tokens.first().cloned().unwrap_or_default(),
            ca: write("ca.pem", &ca.pem())?,
            server_certificate: write("server.pem", &server.certificate)?,
            server_key: write("server.key", &server.key)?,
            server_both: write("server-both.pem", &format!("{}{}", server.certificate, server.key))?,
            client_certificate: write("client.pem", &client.certificate)?,
            client_key: write("client.key", &client.key)?,
            keys: signer.jwks_json(),
            registry: registry(agents.max(1)),
        })
    }
}

/// The registry of so many agents. Where there is one, the certificate is its own as well; among several it would name one and the tokens
/// another, so there it is bound to nobody, and the tokens alone name the agents.
fn registry(agents: u32) -> String {
    let mut text = String::new();
    for number in 0..agents {
        let certificates = if agents == 1 { format!("certificates = [\"{SPIFFE}\"]\n") } else { String::new() };
        let _infallible = write!(
            text,
            "[agent.bench-{number}]\nowner = \"bench@example.com\"\ngroups = [\"bench\"]\n{certificates}tokens = [{{ issuer = \"bench\", client_id = \"{}\" }}]\n\n",
            client_id(number)
        );
    }
    text
}

fn client_id(number: u32) -> String {
    if number == 0 { "bench-agent".to_owned() } else { format!("bench-agent-{number}") }
}

fn sign(signer: &TokenSigner, number: u32) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    signer.sign(&json!({
        "iss": "https://issuer.bench.example",
        "aud": AUDIENCE,
        "sub": client_id(number),
        "client_id": client_id(number),
        "iat": now,
        "exp": now + TOKEN_LIFE.as_secs(),
        "jti": format!("b{number}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_an_agents_own_only_where_there_is_one() {
        assert!(registry(1).contains(SPIFFE));
        let several = registry(3);
        assert!(!several.contains(SPIFFE), "{several}");
        assert_eq!(several.matches("[agent.").count(), 3);
    }

    #[test]
    fn every_agent_has_a_token_of_its_own_that_the_registry_knows() {
        let signer = TokenSigner::new_eddsa().unwrap();
        let (first, second) = (sign(&signer, 0).unwrap(), sign(&signer, 1).unwrap());
        assert_ne!(first, second);
        assert!((360..=480).contains(&first.len()), "{} bytes", first.len());
        assert!(registry(2).contains(&client_id(1)));
    }
}
