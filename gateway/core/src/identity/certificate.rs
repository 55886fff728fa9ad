//! Reads the names of a client certificate. In: its DER, whose chain TLS has checked. Out: the names an agent can be bound to. Never here: trust.
//!
//! Names are the subject alternative names alone. The common name is never read: RFC 6125 §6.4.4 ended it, and a CA that checks
//! alternative names may sign any common name.

use crate::identity::thumbprint::Thumbprint;
use crate::time::UnixMillis;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names of one certificate.
#[derive(Debug)]
pub struct CertificateNames {
    spiffe: Option<Box<str>>,
    dns: Vec<Box<str>>,
    thumbprint: Thumbprint,
    not_after: UnixMillis,
}

/// Why a certificate names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// Not one X.509 certificate in DER, or something follows it.
    Malformed,
    /// The alternative names are malformed, or there are two lists of them.
    Names,
    /// Several URIs: an X.509-SVID has exactly one (SPIFFE X509-SVID §2).
    UrisSeveral,
    /// A URI of the scheme `spiffe` that is no SPIFFE ID.
    Spiffe,
    /// A DNS name with a wildcard, a NUL, a byte beyond ASCII, or not made of labels.
    Dns,
    /// More than [`DNS_NAMES_MAX`] DNS names.
    DnsTooMany,
    /// Neither a SPIFFE ID nor a DNS name.
    Nameless,
}

impl CertificateError {
    /// The stable name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "certificate_malformed",
            Self::Names => "certificate_names",
            Self::UrisSeveral => "certificate_uris_several",
            Self::Spiffe => "certificate_spiffe",
            Self::Dns => "certificate_dns",
            Self::DnsTooMany => "certificate_dns_too_many",
            Self::Nameless => "certificate_nameless",
        }
    }
}

/// DNS names of one certificate. Each is looked up at every authentication; an agent has one or two.
pub const DNS_NAMES_MAX: usize = 16;

impl CertificateNames {
    /// Reads the end-entity certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let names = certificate.subject_alternative_name().map_err(|_| CertificateError::Names)?;
        let mut uris = 0;
        let mut spiffe = None;
        let mut dns = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => {
                    uris += 1;
                    spiffe = spiffe_of_uri(uri)?;
                }
                GeneralName::DNSName(name) => dns.push(dns_name(name).ok_or(CertificateError::Dns)?),
                GeneralName::Invalid(..) => return Err(CertificateError::Names),
                GeneralName::OtherName(..)
                | GeneralName::RFC822Name(_)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        if uris > 1 {
            return Err(CertificateError::UrisSeveral);
        }
        if dns.len() > DNS_NAMES_MAX {
            return Err(CertificateError::DnsTooMany);
        }
        if spiffe.is_none() && dns.is_empty() {
            return Err(CertificateError::Nameless);
        }
        let not_after = UnixMillis::from_seconds(certificate.validity().not_after.timestamp());
        Ok(Self { spiffe, dns, thumbprint: Thumbprint::of(der), not_after })
    }

    /// The SPIFFE ID.
    pub fn spiffe(&self) -> Option<&str> {
        self.spiffe.as_deref()
    }

    /// The DNS names in lower case.
    pub fn dns(&self) -> &[Box<str>] {
        &self.dns
    }

    /// The digest of the certificate.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The last instant of its validity.
    pub fn not_after(&self) -> UnixMillis {
        self.not_after
    }
}

fn spiffe_of_uri(uri: &str) -> Result<Option<Box<str>>, CertificateError> {
    let scheme = uri.split_once(':').map_or(uri, |(scheme, _)| scheme);
    if !scheme.eq_ignore_ascii_case("spiffe") {
        return Ok(None);
    }
    if is_spiffe(uri) { Ok(Some(uri.into())) } else { Err(CertificateError::Spiffe) }
}

/// Whether `id` is a SPIFFE ID in its one spelling (SPIFFE-ID §2): lower-case trust domain, a path of plain segments, no query, no port.
pub(super) fn is_spiffe(id: &str) -> bool {
    let Some((domain, path)) = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else { return false };
    let in_domain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let in_path = |byte: u8| in_domain(byte) || byte.is_ascii_uppercase();
    id.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.bytes().all(in_domain)
        && path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(in_path))
}

/// The DNS name in lower case, if it is one host's: letters, digits, hyphens and underscores in labels of 1 to 63 (RFC 1035 §2.3.1).
pub(super) fn dns_name(name: &str) -> Option<Box<str>> {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |part: &str| (1..=63).contains(&part.len()) && part.bytes().all(in_label);
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::fixture;

    fn check(names: &[(u8, &[u8])], expected: Result<(Option<&str>, &[&str]), CertificateError>) {
        let der = fixture::certificate(names);
        let got = CertificateNames::from_der(&der);
        let got =
            got.as_ref().map(|names| (names.spiffe(), names.dns().iter().map(|name| &**name).collect::<Vec<_>>()));
        assert_eq!(got.map_err(|error| *error), expected.map(|(spiffe, dns)| (spiffe, dns.to_vec())), "{names:?}");
    }

    const URI: u8 = 6;
    const DNS: u8 = 2;

    #[test]
    fn a_certificate_whose_names_could_mislead_is_refused() {
        let id: &[u8] = b"spiffe://acme.example/agent/recon-17";
        check(&[(URI, id), (URI, b"spiffe://acme.example/agent/other")], Err(CertificateError::UrisSeveral));
        check(&[(URI, id), (URI, b"https://acme.example")], Err(CertificateError::UrisSeveral));
        for uri in [
            b"spiffe://ACME.example/a" as &[u8],
            b"SPIFFE://acme.example/a",
            b"spiffe://acme.example",
            b"spiffe://acme.example/",
            b"spiffe:///a",
            b"spiffe://acme.example/a/../b",
            b"spiffe://acme.example/a//b",
            b"spiffe://acme.example/a?b",
            b"spiffe://acme.example/a#b",
            b"spiffe://acme.example/%61",
            b"spiffe://user@acme.example/a",
            b"spiffe://acme.example:443/a",
            b"spiffe://acme.example/a\0b",
        ] {
            check(&[(URI, uri)], Err(CertificateError::Spiffe));
        }
        for dns in [
            b"*.acme.example" as &[u8],
            b"agent.acme.example\0.evil.example",
            "bücher.example".as_bytes(),
            b"a..b",
            b"a.",
            b"",
            b"a b",
        ] {
            check(&[(DNS, dns)], Err(CertificateError::Dns));
        }
        check(&[(DNS, b"\xFF")], Err(CertificateError::Names));
        check(&[(DNS, b"a.example" as &[u8]); 17], Err(CertificateError::DnsTooMany));
        // The common name of every one of these is `recon-17`, and it is never read.
        check(&[], Err(CertificateError::Nameless));
        check(&[(URI, b"https://acme.example")], Err(CertificateError::Nameless));
        assert_eq!(CertificateNames::from_der(b"0").err(), Some(CertificateError::Malformed));
        let mut longer = fixture::certificate(&[(DNS, b"a.example")]);
        longer.push(0);
        assert_eq!(CertificateNames::from_der(&longer).err(), Some(CertificateError::Malformed));
    }

    #[test]
    fn alternative_names_thumbprint_and_end_are_read() {
        check(
            &[(URI, b"spiffe://acme.example/agent/Recon-17"), (DNS, b"Agent1.Acme.EXAMPLE")],
            Ok((Some("spiffe://acme.example/agent/Recon-17"), &["agent1.acme.example"])),
        );
        let der = fixture::certificate(&[(DNS, b"a.example")]);
        let names = CertificateNames::from_der(&der).unwrap();
        assert_eq!(names.thumbprint(), Thumbprint::of(&der));
        assert_eq!(names.not_after(), fixture::CERTIFICATE_END);
    }
}
