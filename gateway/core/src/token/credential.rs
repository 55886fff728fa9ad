//! Lends an upstream credential for one call. In: a server, the destination that was reached. Out: one header field. Never here: the decision that the call may be made.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::secret::Secret;
use crate::token::scanner::Scanner;
use crate::token::secrets::Secrets;
use crate::token::template::{TemplateError, field_name, field_value};
use std::net::IpAddr;

/// How bytes travel to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Under TLS, with the upstream's certificate checked for its host.
    Tls,
    /// In the clear.
    Plain,
}

/// What the configuration says of one server's credential.
#[derive(Clone, Copy)]
pub struct Wanted<'c> {
    /// The configured name of the server.
    pub server: &'c str,
    /// `host:port` of its URL, in lower case: the only destination the credential is for.
    pub authority: &'c str,
    /// The URL's scheme.
    pub channel: Channel,
    /// Header and template; absent where the server takes none.
    pub field: Option<WantedField<'c>>,
}

/// Header and template of a credential, and where they were written.
#[derive(Clone, Copy)]
pub struct WantedField<'c> {
    /// The header's name.
    pub header: &'c str,
    /// Its value, such as `Bearer {secret:crm}`.
    pub template: &'c str,
    /// The line of the configuration.
    pub line: Option<u32>,
}

/// The destination of a connection, as the shell established it.
#[derive(Clone, Copy)]
pub struct Destination<'d> {
    /// `host:port` the connection was opened for.
    pub authority: &'d str,
    /// Whether TLS protects it.
    pub channel: Channel,
    /// The address it reached.
    pub peer: IpAddr,
}

/// Why a credential is not lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LendError {
    /// The snapshot has no server of this index.
    ServerUnknown,
    /// The connection leads elsewhere, as after a redirect.
    DestinationOther,
    /// In the clear to another machine.
    Plaintext,
}

impl LendError {
    /// The stable name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerUnknown => "credential_server_unknown",
            Self::DestinationOther => "credential_destination_other",
            Self::Plaintext => "credential_plaintext",
        }
    }
}

/// The credentials of every server of one snapshot.
pub struct Lender {
    places: Vec<Place>,
    scanner: Scanner,
}

struct Place {
    authority: Box<str>,
    field: Option<Field>,
}

struct Field {
    name: Box<str>,
    value: Secret<Vec<u8>>,
}

/// One credential, for one call. It can be written to the upstream's request, and nothing else.
pub struct Credential<'l>(&'l Field);

impl Credential<'_> {
    /// The header's name in lower case; a field of this name from the agent must not reach the upstream.
    pub fn header_name(&self) -> &str {
        &self.0.name
    }

    /// Writes the field line, with its CR LF. Whoever owns `out` wipes it after sending.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(self.0.value.expose());
        out.extend_from_slice(b"\r\n");
    }
}

impl Lender {
    /// Prepares every credential; `file` is the configuration's name. Server indices are positions in `wanted`.
    pub fn build(wanted: &[Wanted<'_>], secrets: &Secrets, file: &str) -> Result<Self, Diagnostics> {
        let mut errors = Diagnostics::new();
        let mut places = Vec::with_capacity(wanted.len());
        for server in wanted {
            let field = server.field.map(|field| prepare(server, field, secrets)).transpose();
            match field {
                Ok(field) => places.push(Place { authority: server.authority.into(), field }),
                Err(TemplateError { message, help }) => {
                    let line = server.field.and_then(|field| field.line);
                    let message = format!("server `{}`: {message}", server.server);
                    errors.push(Diagnostic { help, ..Diagnostic::error(file, line, message) });
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { places, scanner: Scanner::new(secrets) })
    }

    /// The credential of the server at this index for a connection to `destination`; none where the server takes none.
    pub fn lend(&self, server: u16, destination: &Destination<'_>) -> Result<Option<Credential<'_>>, LendError> {
        let place = self.places.get(usize::from(server)).ok_or(LendError::ServerUnknown)?;
        let Some(field) = &place.field else { return Ok(None) };
        if *place.authority != *destination.authority {
            return Err(LendError::DestinationOther);
        }
        match destination.channel {
            Channel::Tls => Ok(Some(Credential(field))),
            Channel::Plain if destination.peer.to_canonical().is_loopback() => Ok(Some(Credential(field))),
            Channel::Plain => Err(LendError::Plaintext),
        }
    }

    /// Finds the secrets in what comes back.
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }
}

fn prepare(server: &Wanted<'_>, field: WantedField<'_>, secrets: &Secrets) -> Result<Field, TemplateError> {
    if server.channel == Channel::Plain && !is_loopback(server.authority) {
        return Err(TemplateError {
            message: format!("its credential would go to `{}` in the clear", server.authority.escape_debug()),
            help: Some("use an `https` URL; plain `http` is for loopback".into()),
        });
    }
    Ok(Field { name: field_name(field.header)?, value: field_value(field.template, secrets)? })
}

/// Whether `host:port` is written as this machine.
fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { authority }
    });
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: WantedField<'_> =
        WantedField { header: "Authorization", template: "Bearer {secret:crm}", line: Some(9) };

    fn wanted<'c>(authority: &'c str, channel: Channel, field: Option<WantedField<'c>>) -> Wanted<'c> {
        Wanted { server: "crm", authority, channel, field }
    }

    fn secrets() -> Secrets {
        Secrets::parse("[secrets]\ncrm = \"s3cret-value\"", "secrets.toml").unwrap()
    }

    fn check_refused(server: Wanted<'_>, expected: &str) {
        let findings = Lender::build(&[server], &secrets(), "portcullis.toml").err().unwrap();
        assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_credential_that_could_leak_is_refused_at_load() {
        for authority in [
            "crm.example:80",
            "10.0.0.1:80",
            "[2001:db8::1]:80",
            "localhost.evil.example:80",
            "127.0.0.1.evil.example:80",
        ] {
            let cause = format!("its credential would go to `{authority}` in the clear");
            let expected =
                format!("portcullis.toml:9: server `crm`: {cause}; use an `https` URL; plain `http` is for loopback");
            check_refused(wanted(authority, Channel::Plain, Some(FIELD)), &expected);
        }
        let unknown = WantedField { template: "{secret:cm}", ..FIELD };
        let expected = "portcullis.toml:9: server `crm`: unknown secret `cm`; did you mean `crm`?";
        check_refused(wanted("crm.example:443", Channel::Tls, Some(unknown)), expected);
        let host = WantedField { header: "Host", line: None, ..FIELD };
        let expected = "portcullis.toml: server `crm`: header `host` cannot carry a credential; the gateway writes it itself; \
                        use `authorization` or a header of the upstream's own";
        check_refused(wanted("crm.example:443", Channel::Tls, Some(host)), expected);
        for authority in ["localhost:9000", "127.0.0.1:9000", "127.8.8.8", "[::1]:9000"] {
            assert!(
                Lender::build(&[wanted(authority, Channel::Plain, Some(FIELD))], &secrets(), "f").is_ok(),
                "{authority}"
            );
        }
    }

    #[test]
    fn a_credential_is_lent_to_its_pinned_destination_only() {
        let servers = [
            wanted("crm.example:443", Channel::Tls, Some(FIELD)),
            wanted("open.example:80", Channel::Plain, None),
            wanted("localhost:9000", Channel::Plain, Some(FIELD)),
        ];
        let lender = Lender::build(&servers, &secrets(), "portcullis.toml").unwrap();
        let line = "authorization: Bearer s3cret-value\r\n";
        for (server, authority, channel, peer, expected) in [
            (3, "crm.example:443", Channel::Tls, "192.0.2.1", Err(LendError::ServerUnknown)),
            (0, "evil.example:443", Channel::Tls, "192.0.2.1", Err(LendError::DestinationOther)),
            (0, "crm.example:8443", Channel::Tls, "192.0.2.1", Err(LendError::DestinationOther)),
            (0, "crm.example:443", Channel::Plain, "192.0.2.1", Err(LendError::Plaintext)),
            (2, "localhost:9000", Channel::Plain, "192.0.2.1", Err(LendError::Plaintext)),
            (0, "crm.example:443", Channel::Tls, "192.0.2.1", Ok(Some(line))),
            (2, "localhost:9000", Channel::Plain, "::ffff:127.0.0.1", Ok(Some(line))),
            (1, "open.example:80", Channel::Plain, "192.0.2.1", Ok(None)),
        ] {
            let destination = Destination { authority, channel, peer: peer.parse().unwrap() };
            let got = lender.lend(server, &destination).map(|credential| {
                credential.map(|credential| {
                    let mut out = Vec::new();
                    credential.write_header(&mut out);
                    assert_eq!(credential.header_name(), "authorization");
                    String::from_utf8(out).unwrap()
                })
            });
            assert_eq!(
                got.as_ref().map(|line| line.as_deref()),
                expected.as_ref().map(|line| *line),
                "{server} {authority}"
            );
        }
        assert!(lender.scanner().find(b"token s3cret-value leaked").is_some());
    }
}
