//! Turns what was typed into what is meant. In: the typed layer, the file's folder. Out: settings and findings. Never here: IO, TOML.
//!
//! Where something is wrong a default takes its place, so that the search goes on; settings with findings never leave `config::parse`.

mod bounds;
mod identity;
mod kernel;
mod listen;
mod server;
mod tool;
mod witness;

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use super::at::{At, Count};
use super::findings::Findings;
use super::settings::control::Control;
use super::settings::{
    Audit, Capture, CaptureRule, Durability, Indexing, IoEngine, Log, LogFormat, LogLevel, Policy, Settings,
};
use super::typed::{self, CaptureText, DurabilityText, IndexText, LogFormatText, LogLevelText, Typed};

/// Settings from the typed layer; whether they may be used, `findings` says.
pub fn mean(typed: &Typed, folder: &Path, findings: &mut Findings<'_>) -> Settings {
    let mut scene = Scene { folder, findings };
    let listen = listen::listen(typed.listen.as_ref().map(At::value), &mut scene);
    let audit = audit(typed.audit.as_ref(), &mut scene);
    let servers = server::servers(typed, &listen, &audit.capture, &mut scene);
    let issuers = identity::issuers(&typed.identity, &mut scene);
    let mut listen = listen;
    listen::admit_route_hosts(&mut listen, &servers);
    let certificates = listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if issuers.is_empty() && !certificates && !scene.findings.refused() {
        scene.findings.warn_file(
            "nobody can prove who they are, so every call will be refused",
            "name an identity provider (`[identity.NAME]`) or `client_ca` in `listen.tls`",
        );
    }
    Settings {
        listen,
        servers,
        issuers,
        policy: policy(typed.policy.as_ref(), &mut scene),
        agents_file: scene.path(typed.agents.as_ref(), "agents.toml"),
        secrets_file: typed.secrets.as_ref().map(|path| scene.path(Some(path), "")),
        audit,
        control: control(typed.control.as_ref(), &mut scene),
        metrics: metrics(typed.metrics.as_ref(), &mut scene),
        limits: bounds::limits(typed.limits.as_ref(), &mut scene),
        timeouts: bounds::timeouts(typed.timeouts.as_ref(), &mut scene),
        workers: workers(typed.workers.as_ref(), &mut scene),
        io: match typed.io.as_ref().map(|io| *io.value()) {
            Some(typed::IoText::Uring) | None => IoEngine::Uring,
        },
        log: log(typed.log.as_ref()),
        kernel: kernel::kernel(typed.kernel.as_ref(), &mut scene),
    }
}

/// What every part needs: where relative paths start, and where findings go.
struct Scene<'m, 't> {
    folder: &'m Path,
    findings: &'m mut Findings<'t>,
}

impl Scene<'_, '_> {
    /// A path, resolved against the file's folder.
    fn path(&mut self, typed: Option<&At<String>>, default: &str) -> PathBuf {
        let Some(typed) = typed else { return self.folder.join(default) };
        let text = typed.value();
        if text.trim().is_empty() || text.contains('\0') {
            self.findings.refuse(
                typed.at(),
                format!("`{}` is no path", text.escape_default()),
                "write the name of a file or folder",
            );
        } else if text.contains("://") {
            self.findings.refuse(
                typed.at(),
                format!("`{text}` is a URL, not a path"),
                "save it to a file and name the file",
            );
        } else if text.starts_with("~/") || text.contains("${") {
            self.findings.refuse(
                typed.at(),
                format!("`{text}` would need a shell to mean a path"),
                "write the path itself",
            );
        }
        self.folder.join(text)
    }

    /// A text that names something: never empty, no control characters, at most `NAME_BYTES_MAX` bytes.
    fn name(&mut self, typed: &At<String>, what: &str) -> Box<str> {
        let text = typed.value();
        let fits = !text.is_empty() && text.len() <= crate::limits::NAME_BYTES_MAX;
        if !fits || text.chars().any(char::is_control) || text.trim() != text {
            self.findings.refuse(
                typed.at(),
                format!("`{}` is no {what}", text.escape_debug()),
                format!("write 1–{} characters without spaces around them", crate::limits::NAME_BYTES_MAX),
            );
        }
        text.as_str().into()
    }
}

fn policy(typed: Option<&typed::Policy>, scene: &mut Scene<'_, '_>) -> Policy {
    let keep = typed.and_then(|policy| policy.keep.as_ref());
    let keep = scene.count(keep, &bounds::Bound { name: "policy.keep", least: 1, default: 64, most: 10_000 });
    Policy {
        folder: scene.path(typed.and_then(|policy| policy.folder.as_ref()), "policies"),
        calendars: typed.and_then(|policy| policy.calendars.as_ref()).map(|path| scene.path(Some(path), "")),
        history: scene.path(typed.and_then(|policy| policy.history.as_ref()), "history"),
        keep: u16::try_from(keep).unwrap_or(u16::MAX),
    }
}

fn audit(typed: Option<&typed::Audit>, scene: &mut Scene<'_, '_>) -> Audit {
    let durability = match typed.and_then(|audit| audit.durability.as_ref()) {
        None => Durability::Batched,
        Some(word) => match word.value() {
            DurabilityText::Batched => Durability::Batched,
            DurabilityText::Strict => Durability::Strict,
            DurabilityText::BestEffort => {
                scene.findings.warn(
                    word.at(),
                    "with `best-effort` a failing audit log does not stop calls",
                    "write `durability = \"batched\"` unless that is what you want",
                );
                Durability::BestEffort
            }
        },
    };
    let full = Capture::default();
    let segment = bounds::Bound { name: "audit.segment", least: 1 << 20, default: 64 << 20, most: 1 << 30 };
    let backlog = bounds::Bound { name: "audit.backlog", least: 1 << 20, default: 1 << 30, most: 1 << 40 };
    Audit {
        folder: scene.path(typed.and_then(|audit| audit.folder.as_ref()), "audit"),
        durability,
        capture: capture(typed.and_then(|audit| audit.capture.as_ref()), &full, scene),
        segment_bytes_max: scene.size(typed.and_then(|audit| audit.segment.as_ref()), &segment),
        backlog_bytes_max: scene.size(typed.and_then(|audit| audit.backlog.as_ref()), &backlog),
        index: match typed.and_then(|audit| audit.index.as_ref()).map(At::value) {
            None | Some(IndexText::Auto) => Indexing::Auto,
            Some(IndexText::Off) => Indexing::Off,
        },
        witnesses: witness::witnesses(typed.and_then(|audit| audit.witnesses.as_deref()), scene),
    }
}

/// What is kept, where `default` holds for what was not typed. Redactions add up: a tool cannot lift one of `[audit]`.
fn capture(typed: Option<&typed::Capture>, default: &Capture, scene: &mut Scene<'_, '_>) -> Capture {
    let mut meant = default.clone();
    let Some(typed) = typed else { return meant };
    if let Some(rule) = &typed.arguments {
        meant.arguments = capture_rule(*rule.value());
    }
    if let Some(rule) = &typed.result {
        meant.result = capture_rule(*rule.value());
    }
    for pointer in &typed.redact {
        let pointer = tool::pointer(pointer, tool::Wildcard::Allowed, scene);
        if !meant.redact.contains(&pointer) {
            meant.redact.push(pointer);
        }
    }
    meant
}

fn capture_rule(typed: CaptureText) -> CaptureRule {
    match typed {
        CaptureText::Full => CaptureRule::Full,
        CaptureText::Digest => CaptureRule::Digest,
        CaptureText::Size => CaptureRule::Size,
        CaptureText::None => CaptureRule::None,
    }
}

/// The control socket alone, for whoever speaks to a gateway whose file is being edited.
pub fn control_alone(typed: Option<&typed::control::Control>, folder: &Path, findings: &mut Findings<'_>) -> Control {
    control(typed, &mut Scene { folder, findings })
}

fn control(typed: Option<&typed::control::Control>, scene: &mut Scene<'_, '_>) -> Control {
    let socket = typed.and_then(|control| control.socket.as_ref());
    let path = scene.path(socket, "/run/portcullis/control.sock");
    if let Some(socket) = socket
        && path.as_os_str().len() > SOCKET_PATH_BYTES_MAX
    {
        scene.findings.refuse(
            socket.at(),
            format!(
                "the path of the control socket has {} bytes; Linux takes {SOCKET_PATH_BYTES_MAX}",
                path.as_os_str().len()
            ),
            "choose a shorter path",
        );
    }
    Control { socket: path }
}

fn metrics(typed: Option<&typed::Metrics>, scene: &mut Scene<'_, '_>) -> Option<std::net::SocketAddr> {
    let typed = typed?.address.as_ref()?;
    let address = listen::socket_address(typed, scene)?;
    if !address.ip().to_canonical().is_loopback() {
        scene.findings.warn(
            typed.at(),
            format!("metrics are served to the network at `{address}`, without TLS and to anybody"),
            "write a loopback address, such as `127.0.0.1:9464`",
        );
    }
    Some(address)
}

fn workers(typed: Option<&At<Count>>, scene: &mut Scene<'_, '_>) -> Option<NonZeroU16> {
    let typed = typed?;
    let count = scene.count(Some(typed), &bounds::Bound { name: "workers", least: 1, default: 1, most: 1024 });
    NonZeroU16::new(u16::try_from(count).unwrap_or(1))
}

fn log(typed: Option<&typed::Log>) -> Log {
    let format = match typed.and_then(|log| log.format.as_ref()).map(|format| *format.value()) {
        Some(LogFormatText::Auto) | None => LogFormat::Auto,
        Some(LogFormatText::Human) => LogFormat::Human,
        Some(LogFormatText::Json) => LogFormat::Json,
    };
    let level = match typed.and_then(|log| log.level.as_ref()).map(|level| *level.value()) {
        Some(LogLevelText::Error) => LogLevel::Error,
        Some(LogLevelText::Warn) => LogLevel::Warn,
        Some(LogLevelText::Info) | None => LogLevel::Info,
        Some(LogLevelText::Debug) => LogLevel::Debug,
        Some(LogLevelText::Trace) => LogLevel::Trace,
    };
    Log { format, level }
}

/// `sun_path` of unix(7) holds 108 bytes with its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
