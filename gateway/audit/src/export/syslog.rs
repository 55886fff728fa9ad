//! Sends items as syslog messages (RFC 5424). In: items. Out: messages over TCP or TLS with their length before them (RFC 6587 §3.4.1, RFC 5425),
//! or one a datagram (RFC 5426). Never here: pairing, choosing.
//!
//! Facility 13 (log audit). APP-NAME `portcullis`, PROCID the boot, MSGID the event, one structured element with a parameter a fact, and one line
//! for people as the text. Receivers of syslog confirm nothing: what was sent and not read when a receiver died is lost to it, and the export
//! can be told to go back (`--after`).

use std::io::{self, Write};
use std::net::{ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use portcullis_core::time::UnixMillis;

use super::calls::{Answer, Item};
use super::endpoint::{Endpoint, Scheme};
use super::item::{self, Weight};
use super::source::{Position, Source};
use super::wire::{Peer, Wire};
use super::{Fault, Put, Sink, Values};

/// Bytes of a parameter's value at most, before it is escaped: 28 of them, each twice as long, still fit a datagram.
const VALUE_BYTES_MAX: usize = 1024;

/// Bytes of the text at most.
const TEXT_BYTES_MAX: usize = 2048;

/// Messages gathered before they are given to the kernel.
const BUFFER_BYTES: usize = 64 * 1024;

/// Facility 13, "log audit", in the upper bits of PRI.
const FACILITY: u8 = 13 << 3;

/// The structured element. 32473 is the number that RFC 5612 sets apart for what has none of its own.
pub const ELEMENT: &str = "portcullis@32473";

/// Messages under way.
pub struct Syslog<'s> {
    source: &'s Source,
    host: String,
    way: Way,
    buffer: Vec<u8>,
    reached: Option<Position>,
    delivered: Option<Position>,
}

enum Way {
    Stream(Option<Wire>),
    Datagrams(UdpSocket),
}

impl<'s> Syslog<'s> {
    /// To be sent to `endpoint`, as messages of the machine `host`.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn new(
        source: &'s Source,
        endpoint: &Endpoint,
        tls: Option<Arc<rustls::ClientConfig>>,
        host: &str,
    ) -> Result<Self, Fault> {
        let way = match endpoint.scheme {
            Scheme::Udp => Way::Datagrams(datagrams(endpoint).map_err(Fault::Peer)?),
            Scheme::Tcp | Scheme::Tls | Scheme::Http | Scheme::Https => {
                let peer = Peer { host: endpoint.host.clone(), port: endpoint.port, tls };
                Way::Stream(Some(Wire::open(&peer).map_err(Fault::Peer)?))
            }
        };
        let host = printable(host, 255);
        Ok(Self { source, host, way, buffer: Vec::new(), reached: None, delivered: None })
    }

    fn send(&mut self) -> Result<(), Fault> {
        if let Way::Stream(Some(wire)) = &mut self.way
            && !self.buffer.is_empty()
        {
            wire.write_all(&self.buffer).and_then(|()| wire.flush()).map_err(Fault::Peer)?;
            self.buffer.clear();
        }
        self.delivered = self.reached;
        Ok(())
    }
}

impl Sink for Syslog<'_> {
    fn put(&mut self, item: &Item, _values: &mut dyn Values) -> Result<Put, Fault> {
        let origin = self.source.part(item.first.leaf.at.log).map(|part| part.origin()).unwrap_or_default();
        let message = message(item, origin, &self.host);
        match &mut self.way {
            Way::Stream(_) => {
                self.buffer.extend_from_slice(format!("{} ", message.len()).as_bytes());
                self.buffer.extend_from_slice(message.as_bytes());
            }
            Way::Datagrams(socket) => {
                socket.send(message.as_bytes()).map_err(Fault::Peer)?;
            }
        }
        Ok(Put::Taken)
    }

    fn reached(&mut self, at: Position) -> Result<(), Fault> {
        self.reached = Some(at);
        let goes = match &self.way {
            Way::Stream(_) => self.buffer.len() >= BUFFER_BYTES,
            Way::Datagrams(_) => true,
        };
        if goes { self.send() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let before = self.delivered;
        self.send()?;
        if let Way::Stream(wire) = &mut self.way
            && let Some(wire) = wire.take()
            && let Err(cause) = wire.close()
        {
            self.delivered = before;
            return Err(Fault::Peer(cause));
        }
        Ok(())
    }

    fn delivered(&self) -> Option<Position> {
        self.delivered
    }
}

fn datagrams(endpoint: &Endpoint) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", endpoint.host));
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        let here = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        match UdpSocket::bind(here).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

/// One message, RFC 5424 §6.
pub fn message(item: &Item, origin: &str, host: &str) -> String {
    let entry = &item.first.entry;
    let severity = match item::weight(item) {
        Weight::Ordinary => 6,
        Weight::Notable => 5,
        Weight::Refused => 4,
    };
    let mut out = format!(
        "<{}>1 {} {host} portcullis {} {} [{ELEMENT}",
        FACILITY | severity,
        UnixMillis(entry.ts).rfc3339(),
        printable(&entry.boot, 128),
        printable(&entry.event, 32),
    );
    facts(item, origin, &mut |name, value| {
        if !value.is_empty() {
            out.push_str(&format!(" {name}=\"{}\"", escaped(item::cut(value, VALUE_BYTES_MAX))));
        }
    });
    // The byte order mark says that the text is UTF-8 (§6.4).
    out.push_str("] \u{feff}");
    out.push_str(item::cut(&item.line(), TEXT_BYTES_MAX));
    out
}

fn facts(item: &Item, origin: &str, fact: &mut dyn FnMut(&str, &str)) {
    let (entry, end) = (&item.first.entry, item.result().map(|end| &end.entry));
    fact("id", &item.first.id());
    fact("origin", origin);
    fact("position", &item.first.leaf.at.to_string());
    let texts = [
        ("agent", &entry.agent),
        ("user", &entry.user),
        ("account", &entry.account),
        ("source", &entry.source),
        ("server", &entry.server),
        ("session", &entry.session),
        ("method", &entry.method),
        ("tool", &entry.tool),
        ("uri", &entry.uri),
        ("prompt", &entry.name),
        ("decision", &entry.decision),
        ("actor", &entry.actor),
        ("reason", &entry.reason),
    ];
    for (name, value) in texts {
        fact(name, value.as_deref().unwrap_or_default());
    }
    fact("requestId", &item::request_id(entry).unwrap_or_default());
    fact("cause", item::trouble(item).unwrap_or_default());
    fact("rules", &entry.rules.join(","));
    fact("resultRules", &end.map(|end| end.rules.join(",")).unwrap_or_default());
    fact(
        "outcome",
        match &item.answer {
            Answer::Given(end) => end.entry.outcome.as_deref().unwrap_or_default(),
            Answer::Unknown(_) => "unknown",
            Answer::Open { .. } => "open",
            Answer::NotExpected => entry.outcome.as_deref().unwrap_or_default(),
        },
    );
    let numbers = [
        ("status", end.and_then(|end| end.status).or(entry.status).map(u64::from)),
        ("durationUs", end.and_then(|end| end.duration_us)),
        ("snapshot", entry.snapshot),
        ("argumentsBytes", entry.arguments_bytes),
        ("resultBytes", end.and_then(|end| end.result_bytes)),
    ];
    for (name, value) in numbers {
        fact(name, &value.map(|value| value.to_string()).unwrap_or_default());
    }
}

/// §6.3.3: `"`, `\` and `]` get a backslash; a control character, which no receiver takes alike, is shown by its code.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => out.extend(['\\', character]),
            control if control.is_control() => {
                out.push('\\');
                out.extend(control.escape_unicode());
            }
            other => out.push(other),
        }
    }
    out
}

/// A field of the header: visible ASCII, or `-` where nothing is left of it (§6).
fn printable(text: &str, characters_max: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(characters_max).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}
