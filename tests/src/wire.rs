//! Spells and reads HTTP/1.1 as bytes. In: requests as data, bytes of messages. Out: bytes, heads, bodies. Never here: leniency, sockets.

use serde_json::Value;

/// A request as a test wants it, right or wrong.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as it stands in the request line.
    pub target: String,
    /// The fields in order.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How the body is framed.
    pub framing: Framing,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a Content-Length of its real length.
    Length,
    /// In chunks of at most this many bytes.
    Chunks(usize),
    /// By nothing that is added to the fields.
    AsItIs,
}

impl Request {
    /// A request without fields.
    pub fn new(method: &str, target: &str) -> Self {
        let framing = Framing::AsItIs;
        Self { method: method.to_owned(), target: target.to_owned(), fields: Vec::new(), body: Vec::new(), framing }
    }

    /// With one more field line.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this field in the place of all of its name.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).field(name, value)
    }

    /// Without the fields of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// With another body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// With another framing.
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        match self.framing {
            Framing::Length | Framing::AsItIs => out.extend_from_slice(&self.body),
            Framing::Chunks(size) => {
                for part in self.body.chunks(size) {
                    out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    out.extend_from_slice(part);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        out
    }

    /// The head alone, with its empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            out += &format!("{name}: {value}\r\n");
        }
        match self.framing {
            Framing::Length => out += &format!("Content-Length: {}\r\n", self.body.len()),
            Framing::Chunks(_) => out += "Transfer-Encoding: chunked\r\n",
            Framing::AsItIs => {}
        }
        out += "\r\n";
        out.into_bytes()
    }
}

/// The start line and the fields of a message that was received.
#[derive(Clone, Debug)]
pub struct Head {
    /// The whole start line.
    pub start: String,
    /// The fields in order, names as they came.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head that ends with its empty line.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("a head is ASCII");
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a head ends with an empty line").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field line: {line:?}"));
            (name.to_owned(), value.to_owned())
        });
        Self { start, fields: fields.collect() }
    }

    /// The value of a field that stands there at most once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "`{name}` stands there twice: {self:?}");
        value
    }

    /// Whether the field is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// The status of a status line.
    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status line: {:?}", self.start))
    }

    /// Method and target of a request line.
    pub fn request(&self) -> (&str, &str) {
        let mut words = self.start.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// How the body is framed; both at once is what smuggling is made of.
    pub fn length(&self) -> Length {
        let length = self.field("content-length").map(|length| length.parse().expect("a length is a number"));
        match (length, self.field("transfer-encoding")) {
            (Some(length), None) => Length::Bytes(length),
            (None, Some("chunked")) => Length::Chunked,
            (None, None) => Length::None,
            (length, encoding) => panic!("framed as {length:?} and {encoding:?}"),
        }
    }
}

/// What a head says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(usize),
    /// Chunks.
    Chunked,
    /// Nothing.
    None,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status line and fields.
    pub head: Head,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let read = serde_json::from_slice(&self.body);
        read.unwrap_or_else(|error| panic!("{error} in the body of {} {:?}", self.head.start, self.text()))
    }

    /// The code of a JSON-RPC error; 0 where the body is none.
    pub fn code(&self) -> i64 {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.pointer("/error/code").and_then(Value::as_i64).unwrap_or_default()
    }

    /// Whether it carries a JSON-RPC result.
    pub fn is_result(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status() == 200 && body.get("result").is_some()
    }
}

/// Where the head in `bytes` ends, if it is all there.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Whether `part` stands somewhere in `bytes`.
pub fn holds(bytes: &[u8], part: impl AsRef<[u8]>) -> bool {
    let part = part.as_ref();
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}
