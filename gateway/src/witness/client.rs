//! Asks one witness. In: a request. Out: its cosignature, the size it knows, or why there is neither. Never here: what is asked, retries.

use crate::resolve;
use crate::tls;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::config::settings::witness::Witness;
use portcullis_core::config::settings::{UpstreamTls, UpstreamUrl};
use portcullis_tlog::note::{Kind, Note, VerifierKey};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One exchange: a witness checks a proof and syncs a file.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// Bytes of an answer at most: some cosignatures, those of large keys among them.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A witness that can be asked.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is called here.
    pub name: Box<str>,
    /// The key of its cosignatures.
    pub key: VerifierKey,
    url: UpstreamUrl,
    tls: Option<Arc<ClientConfig>>,
}

/// The key of a witness that the configuration names.
///
/// # Errors
/// Cause, where it is none of a witness.
pub fn key(witness: &Witness) -> Result<VerifierKey, String> {
    let key = VerifierKey::parse(&witness.key).map_err(|cause| about(witness, &cause))?;
    match key.kind() {
        Kind::Cosignature => Ok(key),
        Kind::Signature => Err(about(witness, &"the key is that of a log, not of a witness")),
    }
}

fn about(witness: &Witness, cause: &dyn fmt::Display) -> String {
    format!("witness `{}`: {cause}", witness.name)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Target {
    /// From what the configuration says.
    ///
    /// # Errors
    /// Cause, where the key is none of a witness or TLS cannot be set up.
    pub fn new(witness: &Witness) -> Result<Self, String> {
        let key = key(witness)?;
        let tls = match witness.url.tls {
            UpstreamTls::Plain => None,
            UpstreamTls::Tls => Some(tls::client_config(None).map_err(|finding| about(witness, &finding))?),
        };
        Ok(Self { name: witness.name.clone(), key, url: witness.url.clone(), tls })
    }

    /// Asks it to cosign `note`; `body` is the request with it. The line of its signature, and when it signed.
    ///
    /// # Errors
    /// Why it did not.
    pub async fn ask(&self, body: String, note: &str) -> Result<(String, u64), AskFailure> {
        let exchange = tokio::time::timeout(EXCHANGE_MAX, self.exchange(body));
        let (status, answer) = exchange.await.map_err(|_| AskFailure::TimedOut)??;
        match status {
            200 => self.cosignature(&answer, note),
            409 => answer.trim_end().parse().map_or(Err(AskFailure::NotAnAnswer), |size| Err(AskFailure::Knows(size))),
            422 => Err(AskFailure::Unproven),
            status => {
                Err(AskFailure::Status(status, answer.lines().next().unwrap_or_default().chars().take(200).collect()))
            }
        }
    }

    fn cosignature(&self, answer: &str, note: &str) -> Result<(String, u64), AskFailure> {
        // Those of keys that are not known are dropped, and what is kept holds.
        let cosigned = format!("{note}{answer}");
        let cosigned = Note::parse(&cosigned).map_err(|_| AskFailure::NotAnAnswer)?;
        let at = self.key.verify(&cosigned).map_err(|_| AskFailure::Forged)?;
        Ok((self.key.lines(&cosigned), at))
    }

    async fn exchange(&self, body: String) -> Result<(u16, String), AskFailure> {
        let broken = |error: hyper::Error| AskFailure::Broken(error.to_string());
        let stream = self.connect().await.map_err(AskFailure::Unreachable)?;
        let request = Request::post(&*self.url.path)
            .header("host", &*self.url.authority)
            .header("content-type", "text/plain; charset=utf-8")
            .header("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .body(Full::<Bytes>::from(body))
            .map_err(|error| AskFailure::Broken(error.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends by itself once the reply has been read or dropped.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let reply = sender.send_request(request).await.map_err(broken)?;
        let status = reply.status().as_u16();
        let body = Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| AskFailure::Broken(error.to_string()))?.to_bytes();
        String::from_utf8(bytes.to_vec()).map(|text| (status, text)).map_err(|_| AskFailure::NotAnAnswer)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let addresses = resolve::lookup(&(self.url.host.clone(), self.url.port)).await?;
        let stream = TcpStream::connect(&*addresses).await?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.url.host.to_string()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?))
    }
}

/// Why a witness did not cosign.
#[derive(Debug)]
pub enum AskFailure {
    /// It cannot be reached.
    Unreachable(io::Error),
    /// It did not answer in time.
    TimedOut,
    /// The connection broke.
    Broken(String),
    /// It cosigned another size last: 409.
    Knows(u64),
    /// It does not see that what it cosigned last is the beginning of this: 422.
    Unproven,
    /// It refuses.
    Status(u16, String),
    /// What it says is none of the answers that there are.
    NotAnAnswer,
    /// It cosigned, and its key did not.
    Forged,
}

impl fmt::Display for AskFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(out, "it cannot be reached: {error}"),
            Self::TimedOut => write!(out, "it did not answer in time"),
            Self::Broken(cause) => write!(out, "the connection broke: {cause}"),
            Self::Knows(size) => write!(out, "it cosigned size {size} last"),
            Self::Unproven => write!(out, "what it cosigned last is not the beginning of this log"),
            Self::Status(status, why) => write!(out, "it answers {status}: {why}"),
            Self::NotAnAnswer => write!(out, "what it answers is no cosignature"),
            Self::Forged => write!(out, "its cosignature is not of the key that is configured"),
        }
    }
}

impl std::error::Error for AskFailure {}
