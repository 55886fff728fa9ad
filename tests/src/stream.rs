//! Reads an event stream event by event. In: a client whose answer has begun. Out: events as they come, or how the stream ended.
//! Never here: what an event means.

use serde_json::Value;

use crate::client::{Client, Ended};
use crate::wire::{Head, Length, Request};

/// An open event stream.
pub struct Events {
    /// The connection under it.
    pub client: Client,
    /// The response's head.
    pub head: Head,
    text: String,
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An event, without its empty line.
    Event(String),
    /// The body's end, as its framing says.
    End,
    /// The connection's end instead.
    Broken,
}

impl Events {
    /// Sends `request` and reads the head of the stream it is answered with.
    #[track_caller]
    pub fn open(mut client: Client, request: &Request) -> Self {
        client.send(request.bytes());
        let head = client.head();
        if head.status() != 200 || head.field("content-type") != Some("text/event-stream") {
            let body = match head.length() {
                Length::Bytes(length) => client.take(length),
                Length::Chunked | Length::None => Vec::new(),
            };
            panic!("no event stream: {head:?} {:?}", String::from_utf8_lossy(&body));
        }
        assert_eq!(head.length(), Length::Chunked, "a stream is chunked");
        Self { client, head, text: String::new() }
    }

    /// What comes next, comments among it.
    #[track_caller]
    pub fn any(&mut self) -> Next {
        loop {
            if let Some((event, length)) = first_event(&self.text) {
                self.text.drain(..length);
                return Next::Event(event);
            }
            match self.client.chunk() {
                Ok(Some(chunk)) => self.text += std::str::from_utf8(&chunk).expect("whole characters go out"),
                Ok(None) if self.text.is_empty() => return Next::End,
                Ok(None) => panic!("half an event went out: {:?}", self.text),
                Err(Ended::Closed | Ended::Broken) => return Next::Broken,
            }
        }
    }

    /// What comes next beside comments.
    #[track_caller]
    pub fn next_event(&mut self) -> Next {
        loop {
            match self.any() {
                Next::Event(event) if event.lines().all(|line| line.starts_with(':')) => {}
                other => return other,
            }
        }
    }

    /// The message of the next event that has one.
    #[track_caller]
    pub fn message(&mut self) -> Value {
        loop {
            match self.next_event() {
                Next::Event(event) => {
                    if let Some(message) = message_of(&event) {
                        return message;
                    }
                }
                ended => panic!("{ended:?} instead of a message"),
            }
        }
    }
}

/// The JSON of an event's data, if it has any.
pub fn message_of(event: &str) -> Option<Value> {
    let lines = event.split(['\r', '\n']).filter_map(|line| line.strip_prefix("data:"));
    let data: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    serde_json::from_str(&data.join("\n")).ok()
}

/// The first whole event and its length with the empty line behind it; lines end as the standard allows: CR LF, LF or CR.
fn first_event(text: &str) -> Option<(String, usize)> {
    let ends = ["\r\n\r\n", "\n\n", "\r\r", "\n\r\n", "\r\n\n", "\r\n\r"];
    let found = ends.iter().filter_map(|end| text.find(end).map(|at| (at, end.len())));
    let (at, length) = found.min_by_key(|(at, length)| (*at, usize::MAX - length))?;
    Some((text.get(..at)?.to_owned(), at + length))
}
