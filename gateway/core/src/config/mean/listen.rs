//! Where agents come in. In: `[listen]`. Out: an address, a public URL, allowed hosts and origins. Never here: name resolution.

use std::net::SocketAddr;

use super::Scene;
use crate::config::at::At;
use crate::config::settings::{ClientCertificate, Listen, ListenTls, Plaintext, PublicUrl, Scheme, Server};
use crate::config::typed::{self, ClientCertificateText, PlaintextText};
use crate::config::url;

/// `[listen]`, checked; loopback without TLS where nothing was typed.
pub(super) fn listen(typed: Option<&typed::Listen>, scene: &mut Scene<'_, '_>) -> Listen {
    let none = typed::Listen::default();
    let typed = typed.unwrap_or(&none);
    let fallback = SocketAddr::from(([127, 0, 0, 1], 8080));
    let address = match &typed.address {
        None => Some(fallback),
        Some(text) => socket_address(text, scene),
    };
    let tls = typed.tls.as_ref().map(|tls| listen_tls(tls.value(), scene));
    let plaintext = match typed.plaintext.as_ref().map(|word| *word.value()) {
        None => Plaintext::LoopbackOnly,
        Some(PlaintextText::TrustedNetwork) => Plaintext::TrustedNetwork,
    };
    check_plaintext(typed, address, scene);
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let public_url = public_url(typed, address, scheme, scene);
    let mut listen = Listen {
        address: address.unwrap_or(fallback),
        public_url,
        tls,
        plaintext,
        hosts: Vec::new(),
        origins: Vec::new(),
    };
    own_names(&mut listen);
    for host in &typed.hosts {
        add_host(&mut listen, host, scene);
    }
    for origin in &typed.origins {
        add_origin(&mut listen, origin, scene);
    }
    listen
}

/// A route's own `Host` value is allowed like the public one.
pub(super) fn admit_route_hosts(listen: &mut Listen, servers: &[Server]) {
    for host in servers.iter().filter_map(|server| server.host.as_deref()) {
        admit(&mut listen.hosts, host.to_owned());
    }
}

/// An IP address and a port other than 0.
pub(super) fn socket_address(typed: &At<String>, scene: &mut Scene<'_, '_>) -> Option<SocketAddr> {
    let cure = "write both, such as `127.0.0.1:8080` or `[::1]:8080`";
    match typed.value().parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        Ok(_) => {
            scene.findings.refuse(
                typed.at(),
                format!("`{}` has no port of its own, and agents must know it", typed.value()),
                cure,
            );
            None
        }
        Err(_) => {
            scene.findings.refuse(typed.at(), format!("`{}` is no IP address with a port", typed.value()), cure);
            None
        }
    }
}

fn listen_tls(typed: &typed::ListenTls, scene: &mut Scene<'_, '_>) -> ListenTls {
    let client_ca = typed.client_ca.as_ref().map(|path| scene.path(Some(path), ""));
    let client_certificate = match &typed.client_certificate {
        None if client_ca.is_some() => ClientCertificate::Required,
        None => ClientCertificate::Optional,
        Some(word) => {
            if client_ca.is_none() && !scene.findings.refused() {
                scene.findings.refuse(
                    word.at(),
                    "`client_certificate` says nothing without `client_ca`",
                    "name the authorities of agents' certificates in `client_ca`",
                );
            }
            match word.value() {
                ClientCertificateText::Required => ClientCertificate::Required,
                ClientCertificateText::Optional => ClientCertificate::Optional,
            }
        }
    };
    ListenTls {
        certificate: scene.path(typed.certificate.as_ref(), ""),
        key: scene.path(typed.key.as_ref(), ""),
        client_ca,
        client_certificate,
    }
}

/// Tokens in plain text on a network are anybody's tokens: only the operator can say that nobody else is there.
fn check_plaintext(typed: &typed::Listen, address: Option<SocketAddr>, scene: &mut Scene<'_, '_>) {
    match (&typed.plaintext, &typed.tls) {
        (Some(word), Some(_)) => {
            scene.findings.refuse(word.at(), "`plaintext` says nothing where `tls` is set", "remove one of the two")
        }
        (None, None) => {
            if let (Some(text), Some(address)) = (&typed.address, address)
                && !address.ip().to_canonical().is_loopback()
            {
                scene.findings.refuse(
                    text.at(),
                    format!("`{address}` would be served to the network without TLS"),
                    "set `tls = { certificate = \"…\", key = \"…\" }`, or `plaintext = \"trusted-network\"` where you vouch for the network",
                );
            }
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
}

fn public_url(
    typed: &typed::Listen,
    address: Option<SocketAddr>,
    scheme: Scheme,
    scene: &mut Scene<'_, '_>,
) -> PublicUrl {
    let fallback = PublicUrl::new(scheme, "localhost");
    if let Some(text) = &typed.public_url {
        let cure = "write scheme, host and port only, such as `https://edge.example.com:8443`";
        return match url::parse(text.value()) {
            Err(fault) => {
                scene.findings.refuse(text.at(), format!("`public_url` `{}` {fault}", text.value()), cure);
                fallback
            }
            Ok(url) if !matches!(&*url.path, "" | "/") => {
                scene.findings.refuse(text.at(), format!("`public_url` `{}` holds a path", text.value()), cure);
                fallback
            }
            Ok(url) if scheme == Scheme::Https && url.scheme == Scheme::Http => {
                scene.findings.refuse(text.at(), "`public_url` says `http`, but `tls` is set", "write `https`");
                fallback
            }
            Ok(url) => PublicUrl::new(url.scheme, &url.authority.text(url.scheme)),
        };
    }
    let Some(address) = address else { return fallback };
    if address.ip().is_unspecified() {
        let at = typed.address.as_ref().map_or(0, At::at);
        scene.findings.refuse(
            at,
            format!("`{address}` is every address of this machine, so agents need a name to know it by"),
            "set `public_url`, such as `https://edge.example.com:8443`",
        );
        return fallback;
    }
    PublicUrl::new(scheme, &authority_of(address).text(scheme))
}

fn authority_of(address: SocketAddr) -> url::Authority {
    url::Authority { host: address.ip().to_string().into_boxed_str(), port: Some(address.port()) }
}

/// The public authority, and on loopback the names this machine has for itself.
fn own_names(listen: &mut Listen) {
    let scheme = listen.public_url.scheme();
    let own = listen.public_url.authority().to_owned();
    admit(&mut listen.origins, listen.public_url.as_str().to_owned());
    if let Ok(authority) = url::parse_authority(&own)
        && authority.port.is_none()
    {
        admit(&mut listen.hosts, format!("{own}:{}", scheme.default_port()));
    }
    admit(&mut listen.hosts, own);
    if !listen.address.ip().to_canonical().is_loopback() {
        return;
    }
    let (scheme, port) = (if listen.tls.is_some() { Scheme::Https } else { Scheme::Http }, listen.address.port());
    let itself = url::bracketed(&listen.address.ip().to_string());
    for host in [itself.as_str(), "localhost", "127.0.0.1", "[::1]"] {
        admit(&mut listen.hosts, format!("{host}:{port}"));
        let origin = if port == scheme.default_port() { host.to_owned() } else { format!("{host}:{port}") };
        if port == scheme.default_port() {
            admit(&mut listen.hosts, host.to_owned());
        }
        admit(&mut listen.origins, format!("{}://{origin}", scheme.as_str()));
    }
}

fn add_host(listen: &mut Listen, typed: &At<String>, scene: &mut Scene<'_, '_>) {
    if typed.value().contains('*') {
        return scene.findings.refuse(
            typed.at(),
            format!("`{}` in `hosts` would let any web page in by DNS rebinding", typed.value()),
            "name each host",
        );
    }
    match url::parse_authority(typed.value()) {
        Ok(authority) => {
            let host = url::bracketed(&authority.host);
            match authority.port {
                Some(port) => admit(&mut listen.hosts, format!("{host}:{port}")),
                None => admit(&mut listen.hosts, host),
            }
        }
        Err(fault) => scene.findings.refuse(
            typed.at(),
            format!("`{}` in `hosts` {fault}", typed.value()),
            "write a host with its port, such as `edge.example.com:8443`",
        ),
    }
}

fn add_origin(listen: &mut Listen, typed: &At<String>, scene: &mut Scene<'_, '_>) {
    let cure = "write scheme and host only, such as `https://app.example.com`";
    if matches!(typed.value().as_str(), "*" | "null") || typed.value().contains('*') {
        return scene.findings.refuse(
            typed.at(),
            format!("`{}` in `origins` would let any web page in", typed.value()),
            cure,
        );
    }
    match url::parse(typed.value()) {
        Ok(url) if url.path.is_empty() => {
            admit(&mut listen.origins, format!("{}://{}", url.scheme.as_str(), url.authority.text(url.scheme)));
        }
        Ok(_) => scene.findings.refuse(typed.at(), format!("`{}` in `origins` holds a path", typed.value()), cure),
        Err(fault) => scene.findings.refuse(typed.at(), format!("`{}` in `origins` {fault}", typed.value()), cure),
    }
}

fn admit(list: &mut Vec<Box<str>>, value: String) {
    let value = value.to_ascii_lowercase().into_boxed_str();
    if !list.contains(&value) {
        list.push(value);
    }
}
