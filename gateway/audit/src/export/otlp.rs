//! Sends items as OpenTelemetry logs. In: items. Out: OTLP/HTTP posts of protocol buffers, which every receiver takes; a record is told as sent
//! once the receiver has taken it. Never here: pairing, choosing, connections.
//!
//! Attributes have the names of OpenTelemetry's conventions where there are some (`gen_ai.*`, `mcp.*`, `jsonrpc.request.id`, `error.type`,
//! `client.address`, `user.id`, `http.response.status_code`) and `portcullis.*` elsewhere. The body is one line for people. A batch that arrived
//! although its answer was lost is sent again: a record comes at least once, and `log.record.uid` names it.

use std::io;
use std::time::Duration;

use portcullis_core::audit::view::Entry;

use super::calls::{Answer, Item};
use super::http::{Client, Response};
use super::item::{self, Weight};
use super::protobuf::{Field, Message, fields};
use super::source::{Position, Source};
use super::wire::Peer;
use super::{Both, Fault, Put, Sink, Values, endpoint::Endpoint};

/// Records of a post at most; collectors' own exporters send as many.
const BATCH_RECORDS_MAX: usize = 512;

/// Bytes of a post at which it is sent: collectors take 20 MiB by default, other receivers 4 MiB and less.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The first wait after a failure, doubled with each further one.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// A wait at most, also where the receiver asks for more.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a batch is tried: over four minutes go by until we leave off.
const TRIES_MAX: u32 = 9;

/// Logs under way.
pub struct Otlp<'o> {
    source: &'o Source,
    client: Client,
    pause: &'o mut dyn FnMut(Duration),
    records: Message,
    count: usize,
    reached: Option<Position>,
    delivered: Option<Position>,
    /// Records that the receiver took note of and did not take.
    pub turned_down: u64,
}

impl<'o> Otlp<'o> {
    /// To be posted to `endpoint`, with further fields of the head; `pause` waits before a try again.
    pub fn new(
        source: &'o Source,
        endpoint: &Endpoint,
        tls: Option<std::sync::Arc<rustls::ClientConfig>>,
        fields: &[String],
        pause: &'o mut dyn FnMut(Duration),
    ) -> Self {
        let peer = Peer { host: endpoint.host.clone(), port: endpoint.port, tls };
        let path = endpoint.path.as_deref().filter(|path| *path != "/").unwrap_or("/v1/logs");
        let mut fields = fields.to_vec();
        fields.push("content-type: application/x-protobuf".to_owned());
        let client = Client::new(peer, &endpoint.authority(), path, &fields);
        let (records, count) = (Message::default(), 0);
        Self { source, client, pause, records, count, reached: None, delivered: None, turned_down: 0 }
    }

    fn send(&mut self) -> Result<(), Fault> {
        if self.count > 0 {
            let mut scope = Message::default();
            scope.message(1, |scope| scope.bytes(1, b"portcullis.audit"));
            scope.0.append(&mut self.records.0);
            let mut request = Message::default();
            request.message(1, |logs| {
                logs.message(1, |resource| {
                    attribute(resource, 1, "service.name", &Any::Text("portcullis"));
                    attribute(resource, 1, "service.version", &Any::Text(env!("CARGO_PKG_VERSION")));
                });
                logs.bytes(2, &scope.0);
            });
            let response = self.post(&request.0)?;
            self.turned_down += rejected(&response.body);
            self.count = 0;
        }
        self.delivered = self.reached;
        Ok(())
    }

    /// Posts until it is taken or refused for good (OTLP specification, "OTLP/HTTP Response").
    fn post(&mut self, body: &[u8]) -> Result<Response, Fault> {
        let mut wait = WAIT_FIRST;
        let mut status = None;
        for attempt in 1..=TRIES_MAX {
            let mut asked = None;
            match self.client.post(body) {
                Ok(response) => match response.status {
                    200..=299 => return Ok(response),
                    429 | 502 | 503 | 504 => (status, asked) = (Some(response.status), response.retry_after),
                    refused => {
                        let words = String::from_utf8_lossy(&response.body).replace(char::is_control, " ");
                        return Err(Fault::Refused { status: refused, words: item::cut(words.trim(), 200).to_owned() });
                    }
                },
                // A certificate that we do not trust, or what is no HTTP, does not get better by waiting.
                Err(cause) if attempt == TRIES_MAX || cause.kind() == io::ErrorKind::InvalidData => {
                    return Err(Fault::Peer(cause));
                }
                Err(_) => status = None,
            }
            if attempt < TRIES_MAX {
                (self.pause)(asked.unwrap_or(wait).min(WAIT_MAX));
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
        Err(Fault::Busy { status, tries: TRIES_MAX })
    }

    fn record(&mut self, item: &Item, values: &Both) {
        let entry = &item.first.entry;
        let (number, word) = match item::weight(item) {
            Weight::Ordinary => (9, "INFO"),
            Weight::Notable => (10, "NOTICE"),
            Weight::Refused => (13, "WARN"),
        };
        let nanos = u64::try_from(entry.ts).unwrap_or(0).saturating_mul(1_000_000);
        let origin = self.source.part(item.first.leaf.at.log).map(|part| part.origin()).unwrap_or_default();
        self.records.message(2, |record| {
            record.fixed64(1, nanos);
            record.varint(2, number);
            record.bytes(3, word.as_bytes());
            record.message(5, |body| any(body, &Any::Text(&item.line())));
            attributes(record, item, origin, values);
            record.fixed64(11, nanos);
            record.bytes(12, format!("portcullis.audit.{}", entry.event).as_bytes());
        });
        self.count += 1;
    }
}

impl Sink for Otlp<'_> {
    fn put(&mut self, item: &Item, values: &mut dyn Values) -> Result<Put, Fault> {
        self.record(item, &Both::of(item, values)?);
        Ok(Put::Taken)
    }

    fn reached(&mut self, at: Position) -> Result<(), Fault> {
        self.reached = Some(at);
        if self.count >= BATCH_RECORDS_MAX || self.records.0.len() >= BATCH_BYTES_MAX { self.send() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.send()
    }

    fn delivered(&self) -> Option<Position> {
        self.delivered
    }
}

fn attributes(record: &mut Message, item: &Item, origin: &str, values: &Both) {
    let (entry, end) = (&item.first.entry, item.result().map(|end| &end.entry));
    let mut text = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            attribute(record, 6, name, &Any::Text(value));
        }
    };
    text("log.record.uid", Some(&item.first.id()));
    text("portcullis.log.origin", Some(origin));
    text("portcullis.log.position", Some(&item.first.leaf.at.to_string()));
    text("portcullis.event", Some(&entry.event));
    text("gen_ai.agent.id", entry.agent.as_deref());
    text("gen_ai.operation.name", (entry.method.as_deref() == Some("tools/call")).then_some("execute_tool"));
    text("gen_ai.tool.name", entry.tool.as_deref());
    text("gen_ai.prompt.name", entry.name.as_deref());
    text("mcp.method.name", entry.method.as_deref());
    text("mcp.resource.uri", entry.uri.as_deref());
    text("mcp.session.id", entry.session.as_deref());
    text("mcp.protocol.version", entry.revision.as_deref());
    text("jsonrpc.request.id", item::request_id(entry).as_deref());
    text("error.type", item::trouble(item));
    text("client.address", entry.source.as_deref());
    text("user.id", entry.user.as_deref());
    text("portcullis.account", entry.account.as_deref());
    text("portcullis.server", entry.server.as_deref());
    text("portcullis.decision", entry.decision.as_deref());
    text("portcullis.snapshot.hash", entry.snapshot_hash.as_deref());
    text("portcullis.outcome", Some(outcome(item)).filter(|outcome| !outcome.is_empty()));
    text("portcullis.actor", entry.actor.as_deref());
    text("portcullis.reason", entry.reason.as_deref());
    text("portcullis.arguments.commit", entry.arguments_commit.as_deref());
    text("portcullis.result.commit", end.and_then(|end| end.result_commit.as_deref()));
    text("gen_ai.tool.call.arguments", values.arguments.as_deref());
    text("gen_ai.tool.call.result", values.result.as_deref());
    let status = end.and_then(|end| end.status).or(entry.status).map(u64::from);
    let mut number = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            attribute(record, 6, name, &Any::Number(value));
        }
    };
    number("http.response.status_code", status);
    number("portcullis.duration_us", end.and_then(|end| end.duration_us));
    number("portcullis.snapshot", entry.snapshot);
    number("portcullis.arguments.bytes", entry.arguments_bytes);
    number("portcullis.result.bytes", end.and_then(|end| end.result_bytes));
    number("portcullis.redactions", end.and_then(|end| end.redactions));
    number("portcullis.rows_dropped", end.and_then(|end| end.rows_dropped));
    let rules: Vec<&str> = rules(entry).chain(end.into_iter().flat_map(rules)).collect();
    if !rules.is_empty() {
        attribute(record, 6, "portcullis.rules", &Any::List(&rules));
    }
}

fn rules(entry: &Entry) -> impl Iterator<Item = &str> {
    entry.rules.iter().map(String::as_str)
}

/// How a call ended, also where nobody knows.
fn outcome(item: &Item) -> &str {
    match &item.answer {
        Answer::Given(end) => end.entry.outcome.as_deref().unwrap_or_default(),
        Answer::Unknown(_) => "unknown",
        Answer::Open { .. } => "open",
        Answer::NotExpected => item.first.entry.outcome.as_deref().unwrap_or_default(),
    }
}

/// What an attribute can be.
enum Any<'a> {
    Text(&'a str),
    Number(u64),
    List(&'a [&'a str]),
}

fn attribute(message: &mut Message, field: u32, name: &str, value: &Any<'_>) {
    message.message(field, |pair| {
        pair.bytes(1, name.as_bytes());
        pair.message(2, |inner| any(inner, value));
    });
}

fn any(message: &mut Message, value: &Any<'_>) {
    match value {
        Any::Text(text) => message.bytes(1, text.as_bytes()),
        Any::Number(number) => message.varint(3, *number),
        Any::List(texts) => message.message(5, |list| {
            texts.iter().for_each(|text| list.message(1, |inner| any(inner, &Any::Text(text))));
        }),
    }
}

/// How many records of a batch the receiver did not take: `partial_success.rejected_log_records`. Sending them again would not help.
fn rejected(answer: &[u8]) -> u64 {
    let partial = fields(answer).find_map(|field| match field {
        (1, Field::Bytes(partial)) => Some(partial),
        (_, Field::Bytes(_) | Field::Number(_)) => None,
    });
    let count = partial.and_then(|partial| {
        fields(partial).find_map(|field| match field {
            (1, Field::Number(count)) => Some(count),
            (_, Field::Bytes(_) | Field::Number(_)) => None,
        })
    });
    count.unwrap_or(0)
}
