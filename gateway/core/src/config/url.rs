//! Takes URLs apart. In: what the operator typed. Out: scheme, host, port, path. Never here: resolution, leniency.
//!
//! Stricter than RFC 3986 on purpose: what two readers could read in two ways is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::settings::Scheme;

/// A URL, taken apart and normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// As typed; empty where none was.
    pub path: Box<str>,
}

/// Host and port of a URL or of a `Host` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Lower-case, without brackets.
    pub host: Box<str>,
    /// Absent where none was typed.
    pub port: Option<u16>,
}

impl Authority {
    /// `host`, `host:port`, `[::1]:port`; the port is left out where it is absent or the scheme's default.
    pub fn text(&self, scheme: Scheme) -> String {
        let host = bracketed(&self.host);
        match self.port {
            Some(port) if port != scheme.default_port() => format!("{host}:{port}"),
            Some(_) | None => host,
        }
    }

    /// Whether bytes sent there stay on this machine: 127.0.0.0/8, `::1` and the name `localhost` (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        &*self.host == "localhost"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || self.host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Reads an `http` or `https` URL. The error says what is wrong with it, to be read after the URL itself.
pub fn parse(text: &str) -> Result<Url, &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("does not start with `https://` or `http://`");
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err("does not start with `https://` or `http://`"),
    };
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(path_at).ok_or("is cut inside a character")?;
    if authority.contains('@') {
        return Err("holds a user name or password");
    }
    if path.contains('#') {
        return Err("holds a fragment");
    }
    if path.contains('?') {
        return Err("holds a query");
    }
    check_path(path)?;
    Ok(Url { scheme, authority: parse_authority(authority)?, path: path.into() })
}

/// Reads `host` or `host:port`.
pub fn parse_authority(text: &str) -> Result<Authority, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or("opens a bracket and never closes it")?;
            let address: Ipv6Addr = inside.parse().map_err(|_| "holds no IPv6 address between its brackets")?;
            let port =
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or("goes on after its bracket")?) };
            (address.to_string(), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (check_host(host)?, Some(port)),
            None => (check_host(text)?, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse::<u16>() {
            Ok(port) if port != 0 => Some(port),
            Ok(_) | Err(_) => return Err("has a port outside 1–65535"),
        },
        Some(_) => return Err("has a port outside 1–65535"),
    };
    Ok(Authority { host: host.into_boxed_str(), port })
}

/// Refuses a path that two servers could read as two paths.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err("holds a character that a path must not hold");
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("holds a `.` or `..` segment");
    }
    if path.contains("//") {
        return Err("holds an empty segment");
    }
    Ok(())
}

/// A host as a URL writes it: brackets around IPv6.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A name or an IPv4 address, lower-case. `127.1` and `0x7f.1` are addresses to some readers and names to others: refused.
fn check_host(host: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.is_empty() {
        return Err("names no host");
    }
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("holds a host that is neither a name nor an address");
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("holds a host that is neither a name nor an address");
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_can_be_read_in_two_ways_is_refused() {
        let rows = [
            ("crm.example.com/mcp", "does not start with `https://` or `http://`"),
            ("ftp://crm/mcp", "does not start with `https://` or `http://`"),
            ("http://user:pw@crm/mcp", "holds a user name or password"),
            ("http://crm/mcp#x", "holds a fragment"),
            ("http://crm/mcp?key=1", "holds a query"),
            ("http://crm?key=1", "holds a query"),
            ("http:///mcp", "names no host"),
            ("http://127.1/mcp", "holds a host that is neither a name nor an address"),
            ("http://0x7f000001/mcp", "holds a host that is neither a name nor an address"),
            ("http://crm\\evil/mcp", "holds a host that is neither a name nor an address"),
            ("http://b\u{fc}cher/mcp", "holds a host that is neither a name nor an address"),
            ("http://crm:0/", "has a port outside 1–65535"),
            ("http://crm:65536/", "has a port outside 1–65535"),
            ("http://crm:+80/", "has a port outside 1–65535"),
            ("http://crm:/", "has a port outside 1–65535"),
            ("http://[::1/", "opens a bracket and never closes it"),
            ("http://[zz]/", "holds no IPv6 address between its brackets"),
            ("http://[::1]9/", "goes on after its bracket"),
            ("http://crm/a b", "holds a character that a path must not hold"),
            ("http://crm/a/../b", "holds a `.` or `..` segment"),
            ("http://crm/a//b", "holds an empty segment"),
        ];
        for (text, message) in rows {
            assert_eq!(parse(text).unwrap_err(), message, "given {text:?}");
        }
    }

    #[test]
    fn a_plain_url_is_taken_apart() {
        let rows = [
            ("http://127.0.0.1:9000/mcp", "127.0.0.1", "127.0.0.1:9000", "/mcp", true),
            ("HTTPS://CRM.Example.com:443/Mcp", "crm.example.com", "crm.example.com", "/Mcp", false),
            ("http://[::1]:80", "::1", "[::1]", "", true),
            ("http://localhost", "localhost", "localhost", "", true),
            ("http://localhost.example.com", "localhost.example.com", "localhost.example.com", "", false),
        ];
        for (text, host, authority, path, loopback) in rows {
            let url = parse(text).unwrap();
            assert_eq!(
                (&*url.authority.host, url.authority.text(url.scheme).as_str(), &*url.path),
                (host, authority, path)
            );
            assert_eq!(url.authority.is_loopback(), loopback, "given {text:?}");
        }
    }
}
