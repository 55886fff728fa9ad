//! Names gateways to measure against. In: what was typed after `--against`. Out: a subject that we start, or one that runs already.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::Transport;

use super::subject::{Proxy, Subject};

/// What stands after `--against`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// One that we start.
    Ours(Subject),
    /// One that runs already.
    Running(Url),
}

/// Where a gateway listens that somebody else started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As it was typed.
    pub text: String,
    transport: Transport,
    authority: String,
    path: String,
}

/// A gateway that somebody else started, and what is known of it.
#[derive(Clone, Debug)]
pub struct ThirdParty {
    /// As it was typed.
    pub url: String,
    /// What it speaks.
    pub transport: Transport,
    /// The pid whose family is counted.
    pub pid: Option<u32>,
    /// Bearer tokens that it believes, one a line.
    pub tokens: Option<PathBuf>,
    address: SocketAddr,
    path: String,
}

impl FromStr for Against {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nginx" => Ok(Self::Ours(Subject::Nginx)),
            "haproxy" => Ok(Self::Ours(Subject::Haproxy)),
            other => Url::from_str(other).map(Self::Running),
        }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not `nginx`, `haproxy` or a URL such as `http://127.0.0.1:8080/mcp`");
        let (scheme, rest) = text.split_once("://").ok_or_else(fault)?;
        let (transport, port) = match scheme {
            "http" => (Transport::Cleartext, 80),
            "https" => (Transport::Mtls, 443),
            _ => return Err(fault()),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        if authority.is_empty() || authority.contains('@') {
            return Err(fault());
        }
        let bare = authority.rsplit(']').next().is_some_and(|tail| !tail.contains(':'));
        let authority = if bare { format!("{authority}:{port}") } else { authority.to_owned() };
        Ok(Self { text: text.to_owned(), transport, authority, path: path.to_owned() })
    }
}

impl ThirdParty {
    /// Finds it, and the process that was named with it.
    ///
    /// # Errors
    /// When the name has no address, or there is no such process.
    pub fn find(url: &Url, pid: Option<u32>, tokens: Option<&Path>) -> Result<Self> {
        let address = url.authority.to_socket_addrs().with_context(|| format!("`{}` has no address", url.authority))?;
        let address = address.into_iter().next().with_context(|| format!("`{}` has no address", url.authority))?;
        if let Some(pid) = pid
            && fs::read_to_string(format!("/proc/{pid}/stat")).is_err()
        {
            bail!("there is no process {pid}");
        }
        let tokens = tokens.map(Path::to_owned);
        Ok(Self { url: url.text.clone(), transport: url.transport, pid, tokens, address, path: url.path.clone() })
    }

    /// As one among the measured; `token` is shown where none was named for it.
    pub fn proxy(&self, token: &str) -> Proxy {
        let (address, path, token) = (self.address, self.path.clone(), token.to_owned());
        let subject = Subject::ThirdParty;
        Proxy { subject, address, path, token, configuration: None, running: None, foreign: self.pid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let got = match Against::from_str(text) {
            Ok(Against::Running(url)) => Some((url.authority, url.path)),
            Ok(Against::Ours(subject)) => Some((subject.name().to_owned(), String::new())),
            Err(_) => None,
        };
        let expected = expected.map(|(authority, path)| (authority.to_owned(), path.to_owned()));
        assert_eq!(got, expected, "given {text}");
    }

    #[test]
    fn a_gateway_is_named_by_a_word_or_by_its_url() {
        check("apache", None);
        check("ftp://host/", None);
        check("http:///mcp", None);
        check("http://user@host/mcp", None);
        check("nginx", Some(("nginx", "")));
        check("http://127.0.0.1:8080/mcp/crm", Some(("127.0.0.1:8080", "/mcp/crm")));
        check("http://[::1]/mcp", Some(("[::1]:80", "/mcp")));
        check("https://gateway.example", Some(("gateway.example:443", "/")));
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        let url = Url::from_str("http://127.0.0.1:1/mcp").unwrap();
        assert!(ThirdParty::find(&url, Some(u32::MAX), None).is_err());
        let found = ThirdParty::find(&url, Some(std::process::id()), None).unwrap();
        assert_eq!(found.proxy("t").pid(), Some(std::process::id()));
    }
}
