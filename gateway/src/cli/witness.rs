//! `portcullis witness`: cosigns the logs of gateways, on a host that is not theirs. In: a key, the keys of logs, a folder. Out: cosignatures over HTTP.
//! Never here: the configuration of a gateway; a witness has none.

use crate::cli::{End, Failure, Outcome, Ways, say};
use crate::disk::{self, Guard};
use crate::logging;
use crate::witness::door;
use crate::witness::service::Service;
use crate::witness::store::Store;
use aws_lc_rs::rand;
use clap::Args;
use portcullis_core::config::settings::{Log, LogFormat, LogLevel};
use portcullis_tlog::note::{Kind, NoteSigner, VerifierKey};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Where to serve, and whom.
#[derive(Args, Debug)]
pub struct Witness {
    /// The address to listen on; TLS belongs in front of it
    #[arg(long, value_name = "ADDRESS", required_unless_present = "new_key")]
    pub listen: Option<SocketAddr>,
    /// The file of the witness's private key, mode 0600
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where it remembers what it cosigned. Never lose it, and never copy it back from an older one
    #[arg(long, value_name = "FOLDER", required_unless_present = "new_key")]
    pub state: Option<PathBuf>,
    /// The verifier key of a log, or a file that holds it; may be given several times
    #[arg(long = "log", value_name = "KEY", required_unless_present = "new_key")]
    pub logs: Vec<String>,
    /// Make the private key instead, under this name, such as `witness.example.com`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["listen", "state", "logs"])]
    pub new_key: Option<String>,
}

/// Runs the verb.
pub fn witness(wish: &Witness, ways: &Ways) -> Outcome {
    if let Some(name) = &wish.new_key {
        return make(&wish.key, name, ways);
    }
    let (Some(listen), Some(state)) = (wish.listen, &wish.state) else {
        return Err(Failure::new("a witness needs `--listen` and `--state`", "give both"));
    };
    logging::start(Log { level: LogLevel::Info, format: LogFormat::Auto });
    let signer = signer(&wish.key)?;
    let logs: Vec<VerifierKey> = wish.logs.iter().map(|key| log(key)).collect::<Result<_, _>>()?;
    let broken = |error: std::io::Error| {
        Failure::new(
            format!("the state in `{}` cannot be used: {error}", state.display()),
            "let this user write it, end the other witness, or bring back the state that was lost; one that forgot what it cosigned must take \
             a new key",
        )
    };
    let store = Store::open(state, signer.verifier()).map_err(broken)?;
    let service = Arc::new(Service::new(signer, logs, store).map_err(broken)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(error.to_string(), "raise the limit of threads"))?;
    runtime.block_on(serve(listen, service))
}

async fn serve(listen: SocketAddr, service: Arc<Service>) -> Outcome {
    let taken = |error: std::io::Error| {
        Failure::new(
            format!("`{listen}` cannot be listened on: {error}"),
            "choose another address, or end who holds it",
        )
    };
    let listener = TcpListener::bind(listen).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    // The line that a log's operator copies, and that scripts wait for.
    say::line(&format!("witness {} on http://{address}", service.verifier()));
    let stopped = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt)] = stopped else {
        return Err(Failure::new("signals cannot be waited for", "look for the reason in the system's log"));
    };
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match door::open(listener, service, stop).await {
        Ok(()) => Ok(End::Done),
        Err(error) => Err(taken(error)),
    }
}

fn make(path: &Path, name: &str, ways: &Ways) -> Outcome {
    let mut seed = [0; 32];
    rand::fill(&mut seed)
        .map_err(|_| Failure::new("no key could be made", "the system's source of randomness is broken"))?;
    let text = NoteSigner::spell(name, Kind::Cosignature, &seed);
    let text =
        text.map_err(|cause| Failure::new(format!("`{name}`: {cause}"), "name it like `witness.example.com`"))?;
    disk::create(path, text.as_bytes(), 0o600).map_err(|error| {
        Failure::new(format!("`{}` cannot be written: {error}", path.display()), "name a file that does not exist yet")
    })?;
    let public = signer(path)?.verifier().to_string();
    match ways.json {
        true => say::json(&json!({"written": path.display().to_string(), "key": public})),
        false => say::line(&format!("wrote {}; its verifier key:\n{public}", path.display())),
    }
    Ok(End::Done)
}

fn signer(path: &Path) -> Result<NoteSigner, Failure> {
    let text = disk::read(path, Guard::Private).map_err(|failure| {
        let (cause, cure) = failure.words(path);
        Failure::new(format!("the key `{}`: {cause}", path.display()), cure)
    })?;
    let cure = "`portcullis witness --new-key NAME --key FILE` makes one";
    let signer = NoteSigner::parse(&text)
        .map_err(|cause| Failure::new(format!("the key `{}`: {cause}", path.display()), cure))?;
    match signer.verifier().kind() {
        Kind::Cosignature => Ok(signer),
        Kind::Signature => Err(Failure::new(format!("the key `{}` is that of a log", path.display()), cure)),
    }
}

fn log(key: &str) -> Result<VerifierKey, Failure> {
    let cure = "write the key as it stands in the log's `log.pub`, or name that file";
    let text = match key.matches('+').count() {
        0 | 1 => disk::read(Path::new(key), Guard::Open).map_err(|failure| {
            Failure::new(format!("the log's key `{key}`: {}", failure.words(Path::new(key)).0), cure)
        })?,
        _ => key.to_owned(),
    };
    let parsed = VerifierKey::parse(&text);
    let parsed = parsed.map_err(|cause| Failure::new(format!("the log's key `{}`: {cause}", text.trim()), cure))?;
    match parsed.kind() {
        Kind::Signature => Ok(parsed),
        Kind::Cosignature => Err(Failure::new(format!("the key `{}` is a witness's", text.trim()), cure)),
    }
}
