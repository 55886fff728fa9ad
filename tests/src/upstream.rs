//! Stands in for an MCP server, well-behaved or not. In: a script that answers. Out: every byte that reached it. Never here: MCP by itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::CEILING;
use crate::mcp;
use crate::wire::{self, Head, Length};

/// A server on loopback; it ends with the test.
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// A request that reached it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Request line and fields.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The method of its message, or that of HTTP where there is none.
    pub fn method(&self) -> String {
        self.json()
            .get("method")
            .and_then(Value::as_str)
            .map_or_else(|| self.head.request().0.to_owned(), str::to_owned)
    }

    /// The id of its message.
    pub fn id(&self) -> Value {
        self.json().get("id").cloned().unwrap_or_default()
    }
}

/// What happened at the server.
#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    connections: usize,
    closed: Vec<usize>,
    requests: Vec<Received>,
    bytes: Vec<u8>,
}

/// The server's end of a connection, for a script to answer on.
pub struct Wire {
    socket: TcpStream,
    seen: Arc<Seen>,
    number: usize,
    open: Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Yes,
    No,
    /// Ended by a reset, which an orderly shutdown would spoil.
    Reset,
}

impl Upstream {
    /// A server that answers by `script`, a thread a connection.
    pub fn start(script: impl Fn(&Received, &mut Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let (script, shared) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                let number = seen.change(|state| {
                    state.connections += 1;
                    state.connections - 1
                });
                std::thread::spawn(move || serve(Wire { socket, seen, number, open: Open::Yes }, &*script));
            }
        });
        Self { address, seen }
    }

    /// A server that answers everything well.
    pub fn kind() -> Self {
        Self::start(kind)
    }

    /// A kind server but for calls of tools.
    pub fn calls(script: impl Fn(&Received, &mut Wire) + Send + Sync + 'static) -> Self {
        Self::start(
            move |request, wire| {
                if request.method() == "tools/call" { script(request, wire) } else { kind(request, wire) }
            },
        )
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Received> {
        self.seen.look(|state| Some(state.requests.clone()))
    }

    /// Every request with this method so far.
    pub fn of_method(&self, method: &str) -> Vec<Received> {
        self.requests().into_iter().filter(|request| request.method() == method).collect()
    }

    /// The messages of the tools called so far.
    pub fn called(&self) -> Vec<Value> {
        self.of_method("tools/call").iter().map(Received::json).collect()
    }

    /// Every byte that came, from all connections.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.look(|state| Some(state.bytes.clone()))
    }

    /// Waits until a request is there for which `wanted` holds, and gives it.
    #[track_caller]
    pub fn wait(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        self.seen.look(|state| state.requests.iter().find(|request| wanted(request)).cloned())
    }

    /// Waits for the `count`th request.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Received {
        self.seen.look(|state| state.requests.get(count - 1).cloned())
    }

    /// Waits until the gateway has closed a connection.
    #[track_caller]
    pub fn wait_closed(&self, connection: usize) {
        self.seen.look(|state| state.closed.contains(&connection).then_some(()));
    }

    /// Whether the gateway has closed a connection.
    pub fn is_closed(&self, connection: usize) -> bool {
        self.seen.look(|state| Some(state.closed.contains(&connection)))
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.seen.look(|state| Some(state.connections))
    }
}

impl Seen {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().expect("no test failed in between"));
        self.changed.notify_all();
        changed
    }

    /// Waits until `wanted` finds what it looks for.
    #[track_caller]
    fn look<T>(&self, wanted: impl Fn(&State) -> Option<T>) -> T {
        let state = self.state.lock().expect("no test failed in between");
        let missing = |state: &mut State| wanted(state).is_none();
        let (state, waited) =
            self.changed.wait_timeout_while(state, CEILING, missing).expect("no test failed in between");
        assert!(
            !waited.timed_out(),
            "it did not happen at the upstream; {} requests came: {:?}",
            state.requests.len(),
            state.requests
        );
        wanted(&state).expect("just looked")
    }
}

fn serve(mut wire: Wire, script: &(impl Fn(&Received, &mut Wire) + ?Sized)) {
    let mut input = Vec::new();
    while wire.open == Open::Yes {
        let Some(request) = wire.request(&mut input) else { break };
        wire.seen.change(|state| state.requests.push(request.clone()));
        script(&request, &mut wire);
    }
    let (number, seen) = (wire.number, Arc::clone(&wire.seen));
    if wire.open != Open::Reset {
        let _ended = wire.socket.shutdown(Shutdown::Both);
    }
    drop(wire);
    seen.change(|state| state.closed.push(number));
}

impl Wire {
    fn request(&mut self, input: &mut Vec<u8>) -> Option<Received> {
        let end = loop {
            match wire::head_end(input) {
                Some(end) => break end,
                None => self.fill(input)?,
            }
        };
        let head = Head::parse(input.get(..end)?);
        let length = match head.length() {
            Length::Bytes(length) => length,
            Length::None => 0,
            Length::Chunked => panic!("the gateway reads bodies whole and sends them with their length"),
        };
        while input.len() < end + length {
            self.fill(input)?;
        }
        let body = input.get(end..end + length)?.to_vec();
        input.drain(..end + length);
        Some(Received { connection: self.number, head, body })
    }

    fn fill(&mut self, input: &mut Vec<u8>) -> Option<()> {
        let mut room = [0; 16 * 1024];
        let read = self.socket.read(&mut room).ok().filter(|read| *read > 0)?;
        let bytes = room.get(..read)?;
        self.seen.change(|state| state.bytes.extend_from_slice(bytes));
        input.extend_from_slice(bytes);
        Some(())
    }

    /// Sends bytes as they are; a gateway that has closed is no failure.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _closed = self.try_send(bytes);
        self
    }

    /// Sends one byte marked as urgent (RFC 9293 §3.8.5).
    pub fn urgent(&mut self, byte: u8) -> &mut Self {
        let _closed = socket2::SockRef::from(&self.socket).send_out_of_band(&[byte]);
        self
    }

    /// The same, telling whether they were taken.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        self.socket.write_all(bytes.as_ref())
    }

    /// A whole response with a JSON body and further field lines.
    pub fn json(&mut self, status: u16, fields: &str, body: &Value) -> &mut Self {
        let body = body.to_string();
        self.send(format!(
            "HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            body.len()
        ))
    }

    /// The result of `request`.
    pub fn result(&mut self, request: &Received, result: Value) -> &mut Self {
        self.json(200, "", &json!({"jsonrpc": "2.0", "id": request.id(), "result": result}))
    }

    /// A response without a body.
    pub fn status(&mut self, status: u16) -> &mut Self {
        self.send(format!("HTTP/1.1 {status} Any\r\nContent-Length: 0\r\n\r\n"))
    }

    /// The head of an event stream.
    pub fn stream(&mut self, fields: &str) -> &mut Self {
        self.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
        ))
    }

    /// Bytes of a stream as one chunk.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk)
    }

    /// A message as an event of its own.
    pub fn event(&mut self, message: &Value) -> &mut Self {
        self.chunk(format!("event: message\ndata: {message}\n\n"))
    }

    /// The result of `request` as an event of its own, and the stream's end.
    pub fn last_event(&mut self, request: &Received, result: Value) -> &mut Self {
        self.event(&json!({"jsonrpc": "2.0", "id": request.id(), "result": result})).end()
    }

    /// The end of a chunked body.
    pub fn end(&mut self) -> &mut Self {
        self.send("0\r\n\r\n")
    }

    /// Closes in good order.
    pub fn close(&mut self) {
        self.open = Open::No;
    }

    /// Closes by a reset.
    pub fn reset(&mut self) {
        let _reset = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        self.open = Open::Reset;
    }

    /// Says nothing until the gateway closes.
    pub fn hang(&mut self) {
        let mut rest = Vec::new();
        while self.fill(&mut rest).is_some() {}
        self.open = Open::No;
    }
}

/// A door that a script waits at until the test opens it.
#[derive(Clone, Default)]
pub struct Gate {
    opened: Arc<(Mutex<usize>, Condvar)>,
}

impl Gate {
    /// Lets one more through.
    pub fn open(&self) {
        *self.opened.0.lock().expect("a gate") += 1;
        self.opened.1.notify_all();
    }

    /// Lets so many more through.
    pub fn open_for(&self, count: usize) {
        *self.opened.0.lock().expect("a gate") += count;
        self.opened.1.notify_all();
    }

    /// Waits to be let through.
    pub fn pass(&self) {
        let opened = self.opened.0.lock().expect("a gate");
        let (mut opened, _) = self.opened.1.wait_timeout_while(opened, CEILING, |opened| *opened == 0).expect("a gate");
        *opened = opened.saturating_sub(1);
    }
}

/// Answers everything as a good server would.
pub fn kind(request: &Received, wire: &mut Wire) {
    let (verb, _) = request.head.request();
    if verb == "DELETE" {
        wire.status(200);
        return;
    }
    if verb != "POST" {
        wire.status(405);
        return;
    }
    let message = request.json();
    let listed =
        |key: &str, list: Value| json!({"resultType": "complete", key: list, "ttlMs": 60_000, "cacheScope": "public"});
    match request.method().as_str() {
        "initialize" => {
            let capabilities = json!({"tools": {"listChanged": true}, "resources": {}, "prompts": {}});
            let result = json!({"protocolVersion": mcp::LEGACY, "capabilities": capabilities, "serverInfo": {"name": "kind", "version": "1"}});
            let session = format!("Mcp-Session-Id: upstream-session-{}\r\n", next());
            wire.json(200, &session, &json!({"jsonrpc": "2.0", "id": request.id(), "result": result}));
        }
        "server/discover" => {
            let result = json!({"resultType": "complete", "supportedVersions": [mcp::MODERN], "capabilities": {"tools": {}}, "serverInfo": {"name": "kind", "version": "1"}, "ttlMs": 0, "cacheScope": "private"});
            wire.result(request, result);
        }
        "tools/list" => drop(wire.result(request, listed("tools", Value::Array(mcp::tools())))),
        "resources/list" => drop(wire.result(
            request,
            listed(
                "resources",
                json!([{"uri": "doc://open/1", "name": "one"}, {"uri": "doc://secret/1", "name": "two"}]),
            ),
        )),
        "resources/templates/list" => drop(
            wire.result(request, listed("resourceTemplates", json!([{"uriTemplate": "doc://open/{id}", "name": "t"}]))),
        ),
        "prompts/list" => drop(wire.result(request, listed("prompts", json!([{"name": "greet"}, {"name": "secret"}])))),
        "ping" => drop(wire.result(request, json!({}))),
        "tools/call" => drop(wire.result(request, mcp::text_result(&format!("called {}", mcp::tool_of(&message))))),
        _ if message.get("id").is_none() || message.get("method").is_none() => drop(wire.status(202)),
        _ => drop(wire.result(request, json!({"resultType": "complete"}))),
    }
}

fn next() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
