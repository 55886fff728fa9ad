//! Reads where records are sent. In: `SCHEME://HOST[:PORT][/PATH]`. Out: its parts. Never here: connections.

use std::fmt;

/// How records travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// OTLP over HTTP.
    Http,
    /// OTLP over HTTP with TLS.
    Https,
    /// syslog over TCP, octet counting (RFC 6587 §3.4.1).
    Tcp,
    /// syslog over TLS (RFC 5425).
    Tls,
    /// syslog over UDP (RFC 5426).
    Udp,
}

impl Scheme {
    const ALL: [(&'static str, Self, u16); 5] = [
        ("http", Self::Http, 4318),
        ("https", Self::Https, 443),
        ("tcp", Self::Tcp, 601),
        ("tls", Self::Tls, 6514),
        ("udp", Self::Udp, 514),
    ];
}

/// Where records are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, the registered one where none was named.
    pub port: u16,
    /// The path with its slash, and a query; none where none was named.
    pub path: Option<String>,
}

impl Endpoint {
    /// Reads one. Credentials in it are refused: addresses end up in histories and lists of processes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::NoScheme)?;
        let known = Scheme::ALL.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let (_, scheme, port) = *known.ok_or(EndpointError::UnknownScheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(EndpointError::NoHost)?;
        if authority.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let (host, after) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(EndpointError::NoHost)?,
            None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len())).unwrap_or_default(),
        };
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(EndpointError::Port)?,
            None if after.is_empty() => port,
            None => return Err(EndpointError::NoHost),
        };
        if host.is_empty() || !clean(host) || !clean(path) || path.contains('#') {
            return Err(EndpointError::NoHost);
        }
        let path = match path {
            "" => None,
            query if query.starts_with('?') => Some(format!("/{query}")),
            path => Some(path.to_owned()),
        };
        Ok(Self { scheme, host: host.to_owned(), port, path })
    }

    /// `HOST:PORT`, an IPv6 address in brackets (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// It has no scheme.
    NoScheme,
    /// Its scheme is none of ours.
    UnknownScheme,
    /// It has no host, or one with characters that none has.
    NoHost,
    /// Its port is none.
    Port,
    /// It has a user or password in it.
    Credentials,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoScheme => "it does not begin with a scheme such as `https://` or `tcp://`",
            Self::UnknownScheme => "its scheme is none of `http`, `https`, `tcp`, `tls`, `udp`",
            Self::NoHost => "it names no host",
            Self::Port => "its port is no number from 1 to 65535",
            Self::Credentials => "it has credentials in it, and addresses are seen by others",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(Scheme, &str, u16, Option<&str>), EndpointError>) {
        let expected = expected.map(|(scheme, host, port, path)| Endpoint {
            scheme,
            host: host.to_owned(),
            port,
            path: path.map(str::to_owned),
        });
        assert_eq!(Endpoint::parse(text), expected, "given {text:?}");
    }

    #[test]
    fn what_names_no_receiver_is_refused() {
        check("collector:4318", Err(EndpointError::NoScheme));
        check("ftp://x", Err(EndpointError::UnknownScheme));
        check("http://", Err(EndpointError::NoHost));
        check("http:///v1", Err(EndpointError::NoHost));
        check("http://[::1", Err(EndpointError::NoHost));
        check("http://[::1]x", Err(EndpointError::NoHost));
        check("http://a b/", Err(EndpointError::NoHost));
        check("http://a/x\r\ny", Err(EndpointError::NoHost));
        check("http://a:0", Err(EndpointError::Port));
        check("http://a:65536", Err(EndpointError::Port));
        check("http://me:secret@a/", Err(EndpointError::Credentials));
    }

    #[test]
    fn a_receiver_is_read_with_its_registered_port() {
        check("http://127.0.0.1:4318", Ok((Scheme::Http, "127.0.0.1", 4318, None)));
        check(
            "HTTPS://otlp.example.com/v1/logs?x=1",
            Ok((Scheme::Https, "otlp.example.com", 443, Some("/v1/logs?x=1"))),
        );
        check("tcp://[::1]", Ok((Scheme::Tcp, "::1", 601, None)));
        check("tls://siem.example.com", Ok((Scheme::Tls, "siem.example.com", 6514, None)));
        check("udp://siem:5514/", Ok((Scheme::Udp, "siem", 5514, Some("/"))));
        assert_eq!(Endpoint::parse("tcp://[::1]:7").unwrap().authority(), "[::1]:7");
    }
}
