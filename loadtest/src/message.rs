//! Spells the requests of a load. In: who speaks, in which era, about how much. Out: whole HTTP requests, ready to be sent again and
//! again. Never here: what comes back.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::plan::{Bytes, Era};

/// The tool that is called; the bench's rule reads its argument `path`.
const TOOL: &str = "bench_echo";

/// A path on the rule's list.
const PERMITTED: &str = "/srv/reports/q3.csv";

/// A path that is not.
const FORBIDDEN: &str = "/srv/secrets/q3.csv";

/// What long arguments are made of; nothing in it is escaped in JSON.
const PROSE: &str = "rows of the third quarter, checked by two people, no gaps; ";

/// What every modern request says about itself.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"portcullis-load","version":"1"}}}"#;

const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Where requests go.
#[derive(Clone)]
pub struct Place {
    /// The authority.
    pub address: SocketAddr,
    /// The path.
    pub path: String,
}

/// Who speaks.
#[derive(Clone)]
pub struct Party {
    /// The bearer token, where one is shown.
    pub token: Option<Rc<str>>,
    /// The revision spoken.
    pub era: Era,
    /// The session it has, in the legacy era.
    pub session: Option<Box<str>>,
}

/// Whether the bench's rule permits a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// It does.
    Permitted,
    /// It does not.
    Forbidden,
    /// It does, and the stub tells all held streams something.
    Wake,
}

/// The sizes of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// The request's body is padded to this size; without padding it has about 240 bytes.
    pub request: Bytes,
    /// The size that the answer's body is to have; the stub's small answer has about 180 bytes.
    pub answer: Bytes,
}

impl Place {
    /// A call.
    pub fn call(&self, party: &Party, subject: Subject, sizes: Sizes) -> Rc<[u8]> {
        let path = if subject == Subject::Forbidden { FORBIDDEN } else { PERMITTED };
        let mut arguments = format!(r#""path":"{path}","limit":100"#);
        if sizes.answer > Bytes::default() {
            arguments += &format!(r#","answer_bytes":{}"#, sizes.answer.0);
        }
        if subject == Subject::Wake {
            arguments += r#","wake":true"#;
        }
        let body = |arguments: &str| {
            request(party.era, "tools/call", &format!(r#""name":"{TOOL}","arguments":{{{arguments}}}"#))
        };
        let missing = sizes.request.length().saturating_sub(body(&arguments).len() + r#","pad":"""#.len());
        if missing > 0 && sizes.request > Bytes::default() {
            let pad: String = PROSE.chars().cycle().take(missing).collect();
            arguments += &format!(r#","pad":"{pad}""#);
        }
        self.post(party, &[("Mcp-Method", "tools/call"), ("Mcp-Name", TOOL)], &body(&arguments))
    }

    /// What opens a legacy session.
    pub fn hello(&self, party: &Party) -> Rc<[u8]> {
        self.post(party, &[], HELLO)
    }

    /// What completes its opening.
    pub fn ready(&self, party: &Party) -> Rc<[u8]> {
        self.post(party, &[], READY)
    }

    /// What opens a stream of events: `subscriptions/listen` in the modern era, a GET of the session in the legacy one.
    pub fn stream(&self, party: &Party) -> Rc<[u8]> {
        match party.era {
            Era::Modern => {
                let method = "subscriptions/listen";
                let body = request(party.era, method, r#""notifications":{"toolsListChanged":true}"#);
                self.post(party, &[("Mcp-Method", method)], &body)
            }
            Era::Legacy => {
                let mut head = self.head("GET", party, "text/event-stream");
                head += "\r\n";
                head.into_bytes().into()
            }
        }
    }

    fn post(&self, party: &Party, modern: &[(&str, &str)], body: &str) -> Rc<[u8]> {
        let mut head = self.head("POST", party, "application/json, text/event-stream");
        if party.era == Era::Modern {
            modern.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        }
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        head.into_bytes().into()
    }

    fn head(&self, method: &str, party: &Party, accept: &str) -> String {
        let Self { address, path } = self;
        let version = match party.era {
            Era::Modern => "2026-07-28",
            Era::Legacy => "2025-11-25",
        };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: portcullis-load/1\r\nAccept: {accept}\r\n"
        );
        head += &format!("MCP-Protocol-Version: {version}\r\n");
        if let Some(token) = &party.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(session) = &party.session {
            head += &format!("Mcp-Session-Id: {session}\r\n");
        }
        head
    }
}

fn request(era: Era, method: &str, params: &str) -> String {
    let meta = if era == Era::Modern { format!(",{META}") } else { String::new() };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{meta}}}}}"#)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::{self, Ask, Framed, Framing};
    use crate::rpc;

    fn party(era: Era) -> Party {
        Party { token: Some("t".into()), era, session: None }
    }

    fn place() -> Place {
        Place { address: "127.0.0.1:80".parse().unwrap(), path: "/mcp/bench".to_owned() }
    }

    /// The head and the body of a request.
    fn apart(request: &[u8]) -> (String, Vec<u8>) {
        let Framed::Whole(head) = http::request(request) else { panic!("got {}", String::from_utf8_lossy(request)) };
        let body = request[head.begin..].to_vec();
        assert_eq!(head.framing, Framing::Length(body.len()));
        (String::from_utf8(request[..head.begin].to_vec()).unwrap(), body)
    }

    #[test]
    fn the_smallest_call_is_the_one_that_other_proofs_make() {
        let (head, body) = apart(&place().call(&party(Era::Modern), Subject::Permitted, Sizes::default()));
        let expected = std::fs::read_to_string("configs/call.json").unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), expected.trim());
        for field in ["Mcp-Name: bench_echo\r\n", "MCP-Protocol-Version: 2026-07-28\r\n", "Authorization: Bearer t\r\n"]
        {
            assert!(head.contains(field), "expect {field}\ngot {head}");
        }
    }

    #[test]
    fn calls_are_padded_to_their_size_and_speak_to_the_stub_before_the_padding() {
        for era in [Era::Modern, Era::Legacy] {
            for bytes in [1 << 10, 64 << 10, 1 << 20] {
                let sizes = Sizes { request: Bytes(bytes), answer: Bytes(4096) };
                let (_, body) = apart(&place().call(&party(era), Subject::Permitted, sizes));
                assert_eq!((body.len(), rpc::answer_bytes(&body)), (sizes.request.length(), Some(4096)));
                let parsed: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(parsed["params"]["arguments"]["path"], PERMITTED);
                assert_eq!(parsed["params"].get("_meta").is_some(), era == Era::Modern);
            }
        }
    }

    #[test]
    fn a_forbidden_call_names_a_path_that_the_rule_does_not_list() {
        let (_, body) = apart(&place().call(&party(Era::Modern), Subject::Forbidden, Sizes::default()));
        let parsed: Value = serde_json::from_slice(&body).unwrap();
        let path = parsed["params"]["arguments"]["path"].as_str().unwrap().to_owned();
        let rule = std::fs::read_to_string("configs/bench.cedar").unwrap();
        assert!(rule.contains(PERMITTED) && !rule.contains(&path), "got {path}");
    }

    #[test]
    fn the_legacy_era_shows_its_session_and_no_modern_field() {
        let party = Party { session: Some("s-1".into()), ..party(Era::Legacy) };
        let (head, _) = apart(&place().call(&party, Subject::Permitted, Sizes::default()));
        assert!(head.contains("Mcp-Session-Id: s-1\r\n") && head.contains("2025-11-25"), "got {head}");
        assert!(!head.contains("Mcp-Method") && !head.contains("Mcp-Name"), "got {head}");
        let stream = place().stream(&party);
        let Framed::Whole(head) = http::request(&stream) else { panic!("a whole request") };
        assert_eq!(head.ask, Ask::Stream);
    }
}
