//! Asks the gateway. In: a method, a path, a body. Out: status and JSON from the control socket. Never here: what is asked.

use crate::cli::{Failure, Ways, say};
use crate::disk::{self, Guard, ReadFailure};
use crate::sources;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use portcullis_core::config::control;
use portcullis_core::diagnostic::Diagnostic;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// An answer: a change may build 100,000 rules first.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// All rules of a snapshot, or a kept history, fit.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where the control socket is by default.
const SOCKET: &str = "/run/portcullis/control.sock";

/// What the gateway answered.
#[derive(Debug)]
pub enum Answer {
    /// It did it.
    Done(Value),
    /// It refused: error, message, help, findings.
    Refused(Value),
}

impl Answer {
    /// The answer if it was done; otherwise the refusal is shown, and nothing is left to do.
    pub fn done(self, ways: &Ways) -> Option<Value> {
        match self {
            Self::Done(value) => Some(value),
            Self::Refused(value) => {
                refused(&value, ways);
                None
            }
        }
    }
}

/// Reads something.
pub fn get(ways: &Ways, path: &str) -> Result<Answer, Failure> {
    ask(ways, Method::GET, path, None)
}

/// Changes something.
pub fn post(ways: &Ways, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    ask(ways, Method::POST, path, body)
}

/// Reads something, where a gateway is there to be asked; else why nobody is.
pub fn get_if_there(ways: &Ways, path: &str) -> Result<Result<Answer, Failure>, Failure> {
    if_there(ways, Method::GET, path, None)
}

/// Changes something, where a gateway is there to be asked; else why nobody is.
pub fn post_if_there(ways: &Ways, path: &str, body: &Value) -> Result<Result<Answer, Failure>, Failure> {
    if_there(ways, Method::POST, path, Some(body))
}

fn if_there(ways: &Ways, method: Method, path: &str, body: Option<&Value>) -> Result<Result<Answer, Failure>, Failure> {
    let socket = socket(ways)?;
    match reached(&socket, method, path, body) {
        Ok(answer) => Ok(Ok(answer)),
        Err(Unasked::Nobody(failure)) => Ok(Err(failure)),
        Err(Unasked::Broken(failure)) => Err(failure),
    }
}

fn ask(ways: &Ways, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    let socket = socket(ways)?;
    reached(&socket, method, path, body).map_err(|unasked| match unasked {
        Unasked::Nobody(failure) | Unasked::Broken(failure) => failure,
    })
}

/// Why there is no answer.
enum Unasked {
    /// Nobody listens.
    Nobody(Failure),
    /// Somebody does, and something is in the way.
    Broken(Failure),
}

fn reached(socket: &Place, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Unasked> {
    let runtime = runtime().map_err(Unasked::Broken)?;
    let asked = runtime.block_on(async {
        let exchange = exchange(socket, method, path, body);
        let late = || Failure::new("the gateway did not answer in time", "look into its log");
        tokio::time::timeout(ANSWER_MAX, exchange).await.unwrap_or_else(|_| Err(Unasked::Broken(late())))
    });
    let (status, value) = asked?;
    Ok(if (200..300).contains(&status) { Answer::Done(value) } else { Answer::Refused(value) })
}

/// A small runtime for one command.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("no runtime: {error}"), "raise the limits of this process"))
}

async fn exchange(socket: &Place, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), Unasked> {
    let stream = UnixStream::connect(&socket.path).await.map_err(|error| unreachable(socket, &error))?;
    let broken = |error: &dyn std::fmt::Display| {
        Unasked::Broken(Failure::new(
            format!("the gateway broke the exchange off: {error}"),
            "only root, the gateway's user and the socket's group may steer it; otherwise look into its log",
        ))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json");
    let request = request.body(Full::<Bytes>::from(body)).map_err(|error| broken(&error))?;
    let reply = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = reply.status().as_u16();
    let bytes =
        Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| broken(&error))?.to_bytes();
    let value = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
    Ok((status, value))
}

fn unreachable(socket: &Place, error: &std::io::Error) -> Unasked {
    let failure = |help: &str| Failure::new(format!("nobody answers on `{}`: {error}", socket.path.display()), help);
    match (error.kind(), &socket.unread) {
        (std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused, None) => {
            Unasked::Nobody(failure("start the gateway with `portcullis run`, or name its socket with `--socket`"))
        }
        (std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused, Some(unread)) => {
            Unasked::Nobody(failure(&format!(
                "this is the default socket, since {unread}; name the configuration with `--config`, or the socket with `--socket`"
            )))
        }
        (std::io::ErrorKind::PermissionDenied, _) => {
            Unasked::Broken(failure("only root, the gateway's user and the socket's group may steer it"))
        }
        (_, _) => Unasked::Broken(failure("name its socket with `--socket`")),
    }
}

/// Where the gateway is asked.
struct Place {
    path: PathBuf,
    /// Why the configuration did not say so, where it could not be read at all.
    unread: Option<String>,
}

/// The one named, else the configuration's, else the default one. A file that is wrong elsewhere still says where the gateway is: whoever must
/// suspend an agent now is not sent to mend it first.
fn socket(ways: &Ways) -> Result<Place, Failure> {
    if let Some(path) = ways.socket.clone() {
        return Ok(Place { path, unread: None });
    }
    let file = ways.config.display();
    let text = match disk::read(&ways.config, Guard::Open) {
        Ok(text) => text,
        Err(
            failure @ (ReadFailure::Missing
            | ReadFailure::System(_)
            | ReadFailure::Exposed(_)
            | ReadFailure::Foreign(_)),
        ) => {
            let unread = format!("`{file}` was not read: {}", failure.words(&ways.config).0);
            return Ok(Place { path: SOCKET.into(), unread: Some(unread) });
        }
        Err(failure @ (ReadFailure::TooLarge | ReadFailure::NotText)) => {
            return Err(sources::refused(&ways.config, &failure).into());
        }
    };
    let folder = ways.config.parent().unwrap_or(Path::new(""));
    match control::control(&text, &file.to_string(), folder) {
        Ok((control, wrong)) => {
            if let Some(wrong) = wrong {
                say::note(&format!("warning: the configuration does not load as it is now: {wrong}"));
            }
            Ok(Place { path: control.socket, unread: None })
        }
        Err(findings) => Err(match findings.into_iter().next() {
            Some(first) => first.into(),
            None => Failure::new(format!("`{file}` names no control socket"), "name the socket with `--socket`"),
        }),
    }
}

/// Shows a refusal.
pub fn refused(value: &Value, ways: &Ways) {
    if ways.json {
        say::json(value);
        return;
    }
    let member = |name: &str| value.get(name).and_then(Value::as_str);
    say::error(member("message").unwrap_or("refused"), member("help"));
    for finding in value.get("findings").and_then(Value::as_array).into_iter().flatten() {
        say::finding(&shown(finding));
    }
}

/// A finding as it reads on the gateway's side.
pub fn shown(finding: &Value) -> String {
    let member = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or_default();
    let line = finding.get("line").and_then(Value::as_u64).and_then(|line| u32::try_from(line).ok());
    let read = match member("severity") {
        "warning" => Diagnostic::warning(member("file"), line, member("message")),
        _ => Diagnostic::error(member("file"), line, member("message")),
    };
    match finding.get("help").and_then(Value::as_str) {
        Some(help) => read.help(help).to_string(),
        None => read.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finding_reads_the_same_on_both_sides_of_the_socket() {
        let finding = Diagnostic::warning("a.cedar", Some(3), "odd").help("mend it");
        assert_eq!(shown(&serde_json::to_value(&finding).unwrap()), finding.to_string());
        assert_eq!(
            shown(&json!({"severity": "error", "file": "x", "message": "m", "line": null, "help": null})),
            "x: m"
        );
    }

    #[test]
    fn without_a_configuration_the_default_socket_is_named_as_such() {
        let ways = Ways { config: "/nonexistent/p.toml".into(), socket: None, json: false };
        let place = socket(&ways).ok().unwrap();
        assert_eq!(place.path, Path::new(SOCKET));
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        let Unasked::Nobody(failure) = unreachable(&place, &gone) else { panic!("somebody answers") };
        let help = failure.help.unwrap();
        assert!(help.contains("`/nonexistent/p.toml` was not read: the file does not exist; name"), "{help}");
    }

    #[test]
    fn a_gateway_that_is_not_there_is_told_with_its_cure() {
        let ways = Ways { config: "none.toml".into(), socket: Some("/nonexistent/control.sock".into()), json: false };
        let failure = get(&ways, "/v1/status").unwrap_err();
        assert!(
            failure.message.contains("/nonexistent/control.sock") && failure.help.unwrap().contains("portcullis run")
        );
    }
}
