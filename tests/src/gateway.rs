//! Runs the gateway. In: a setup. Out: a process that serves, and what it says of itself. Never here: what is sent to it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::CEILING;
use crate::client::{Client, Identity};
use crate::mcp;
use crate::secrets;
use crate::setup::{self, METRICS_PORT, PORT, Setup, Tls};
use crate::wire::{Framing, Head, Request, Response};

/// A running gateway; it is killed, and its folder removed, when it is dropped.
pub struct Gateway {
    folder: Arc<TempDir>,
    setup: Setup,
    address: SocketAddr,
    child: Child,
    log: Arc<Log>,
}

/// What the process printed.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// How long readiness is waited for between two looks, where no line tells of it.
const LOOK: Duration = Duration::from_millis(25);

impl Setup {
    /// Starts a gateway and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().expect("a folder");
        let address = self.ip.map_or_else(setup::fresh_address, |ip| SocketAddr::from((ip, PORT)));
        self.write(folder.path(), address);
        Gateway::start(Arc::new(folder), self, address)
    }

    /// Starts a gateway that must refuse to run, and gives its exit and what it said.
    #[track_caller]
    pub fn refused(self) -> Output {
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().expect("a folder");
        self.write(folder.path(), setup::fresh_address());
        command(folder.path(), &self.under).output().expect("the gateway runs")
    }
}

fn command(folder: &Path, under: &[String]) -> Command {
    let mut command = match under {
        [] => Command::new(binary()),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(binary());
            command
        }
    };
    command.args(["run", "--config"]).arg(folder.join("portcullis.toml")).current_dir(folder);
    command.stdin(Stdio::null());
    command
}

impl Gateway {
    #[track_caller]
    fn start(folder: Arc<TempDir>, setup: Setup, address: SocketAddr) -> Self {
        let mut child = command(folder.path(), &setup.under)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway runs");
        let log = Arc::new(Log::default());
        log.follow(child.stdout.take().expect("a pipe"));
        log.follow(child.stderr.take().expect("a pipe"));
        let mut gateway = Self { folder, setup, address, child, log };
        gateway.wait_ready();
        gateway
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let start = Instant::now();
        loop {
            if self.probe() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the gateway ended with {status} before it served:\n{}", self.log());
            }
            assert!(start.elapsed() < CEILING, "the gateway is not ready:\n{}", self.log());
            let lines = self.log.lines.lock().expect("the log");
            drop(self.log.more.wait_timeout(lines, LOOK).expect("the log"));
        }
    }

    fn probe(&self) -> bool {
        match self.setup.tls {
            Tls::No | Tls::Optional => Client::try_connect(self.address, self.identity(None).as_ref())
                .is_ok_and(|mut client| client.status_of(&self.get("/readyz")) == 200),
            // Without a certificate nothing is answered; operators are, once every worker listens.
            Tls::Required => {
                UnixStream::connect(self.folder().join("control.sock")).is_ok()
                    && self.control("GET", "/v1/status").0 == 200
            }
        }
    }

    /// What a client on TLS shows and trusts.
    pub fn identity(&self, certificate: Option<&xtask::keys::Certified>) -> Option<Identity> {
        (self.setup.tls != Tls::No).then(|| Identity::new(certificate))
    }

    /// Where it takes agents.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `Host` of requests to it.
    pub fn authority(&self) -> String {
        match self.setup.tls {
            Tls::No => self.address.to_string(),
            Tls::Optional | Tls::Required => format!("{}:{PORT}", secrets::GATEWAY_NAME),
        }
    }

    /// The URL of a route: what tokens for it name as their audience.
    pub fn resource(&self, server: &str) -> String {
        let scheme = if self.setup.tls == Tls::No { "http" } else { "https" };
        format!("{scheme}://{}/mcp/{server}", self.authority())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its log lies.
    pub fn audit_folder(&self) -> PathBuf {
        self.setup.audit_folder.as_ref().map_or_else(|| self.folder().join("audit"), PathBuf::from)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection, without a client certificate.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address, self.identity(None).as_ref())
    }

    /// A GET of one of its own pages.
    pub fn get(&self, path: &str) -> Request {
        Request::new("GET", path).field("Host", &self.authority())
    }

    /// A good token of `agent` for a route.
    pub fn token(&self, agent: &str, server: &str) -> String {
        secrets::keys().eddsa.sign(&secrets::claims(agent, &self.resource(server))).expect("a token")
    }

    /// A POST of `body` to a route by an agent with a good token, without any field of MCP.
    pub fn post(&self, agent: &str, server: &str, body: impl AsRef<[u8]>) -> Request {
        Request::new("POST", &format!("/mcp/{server}"))
            .field("Host", &self.authority())
            .field("Authorization", &format!("Bearer {}", self.token(agent, server)))
            .field("Content-Type", "application/json")
            .field("Accept", "application/json, text/event-stream")
            .framed(Framing::Length)
            .body(body)
    }

    /// A modern message with the fields that repeat it.
    pub fn modern(&self, agent: &str, server: &str, message: &Value) -> Request {
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        let request = self.post(agent, server, message.to_string()).field("MCP-Protocol-Version", mcp::MODERN);
        let request = request.field("Mcp-Method", text("/method").unwrap_or_default());
        let named = match text("/method") {
            Some("tools/call" | "prompts/get") => text("/params/name"),
            Some("resources/read") => text("/params/uri"),
            Some("tasks/get" | "tasks/update" | "tasks/cancel") => text("/params/taskId"),
            _ => None,
        };
        match named {
            Some(name) => request.field("Mcp-Name", name),
            None => request,
        }
    }

    /// A modern call.
    pub fn call(&self, agent: &str, tool: &str, arguments: Value) -> Request {
        self.modern(agent, "crm", &mcp::modern("tools/call", mcp::call(tool, arguments)))
    }

    /// The answer to one request on a connection of its own.
    #[track_caller]
    pub fn answer(&self, request: &Request) -> Response {
        self.connect().exchange(request)
    }

    /// The value of a metric, summed over its labels.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let address = SocketAddr::from((self.address.ip(), METRICS_PORT));
        let page = Client::connect(address, None)
            .exchange(&Request::new("GET", "/metrics").field("Host", &address.to_string()));
        let of_name = |line: &&str| line.split([' ', '{']).next() == Some(name);
        let values =
            page.text().lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|one, other| one + other).unwrap_or_else(|| panic!("no metric `{name}` in\n{}", page.text()))
    }

    /// Waits until a metric is `wanted`. Gauges move when something ends, which nobody else is told.
    #[track_caller]
    pub fn wait_metric(&self, name: &str, wanted: f64) {
        let start = Instant::now();
        loop {
            let value = self.metric(name);
            if (value - wanted).abs() < f64::EPSILON {
                return;
            }
            assert!(start.elapsed() < CEILING, "`{name}` stays {value}, not {wanted}");
            std::thread::park_timeout(LOOK);
        }
    }

    /// Bytes of memory the process holds.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// What the control socket answers: status and JSON.
    #[track_caller]
    pub fn control(&self, method: &str, path: &str) -> (u16, Value) {
        let mut socket = UnixStream::connect(self.folder().join("control.sock")).expect("the control socket");
        socket.set_read_timeout(Some(CEILING)).expect("a timeout");
        write!(socket, "{method} {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .expect("it listens");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("it answers");
        let end = crate::wire::head_end(&answer).expect("a head");
        let status = Head::parse(answer.get(..end).unwrap_or_default()).status();
        (status, serde_json::from_slice(answer.get(end..).unwrap_or_default()).unwrap_or_default())
    }

    /// Runs the program beside the running one, as an operator does.
    pub fn operate(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(words).arg("--config").arg(self.folder().join("portcullis.toml")).current_dir(self.folder());
        command.output().expect("the program runs")
    }

    /// Ends it without a word, as the kernel does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// The same while others still talk to it; its end is waited for by [`Gateway::restart`].
    pub fn kill_now(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < CEILING, "the gateway does not end:\n{}", self.log());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Starts it again on the same folder after its end.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        let _ended = (self.child.kill(), self.child.wait());
        Self::start(Arc::clone(&self.folder), self.setup.clone(), self.address)
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = (self.child.kill(), self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the gateway said ---\n{}\n---", self.log());
        }
    }
}

impl Log {
    fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.lines.lock().expect("the log").push(line);
                log.more.notify_all();
            }
        });
    }
}

/// The program, built once a run.
pub fn binary() -> &'static Path {
    // A failure is kept as well: one test's worth of it is enough.
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY.get_or_init(|| built("portcullis", "portcullis")).as_deref().expect("the gateway builds")
}

/// A program of the workspace, built as it stands; nothing where it does not build.
pub fn built(package: &str, program: &str) -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let words =
        ["build", "--quiet", "--package", package, "--bin", program, "--message-format", "json-render-diagnostics"];
    let built =
        Command::new(env!("CARGO")).args(words).current_dir(top).stderr(Stdio::inherit()).output().expect("cargo runs");
    if !built.status.success() {
        return None;
    }
    let artifacts = String::from_utf8_lossy(&built.stdout);
    artifacts.lines().rev().find_map(|line| {
        let artifact: Value = serde_json::from_str(line).ok()?;
        artifact.get("executable")?.as_str().map(PathBuf::from)
    })
}
