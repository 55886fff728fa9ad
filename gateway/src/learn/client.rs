//! Posts one request to an upstream. In: a body and its headers. Out: the answer to it. Never here: redirects, retries, what is asked.
//!
//! A redirect is not followed: it would carry the credential to whatever place an upstream names.

use crate::learn::answer::{self, ANSWER_BYTES_MAX, Events};
use crate::learn::failure::LearnFailure;
use crate::resolve;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_core::config::settings::{Server, UpstreamTls};
use portcullis_core::secret::Secret;
use portcullis_core::token::credential::{Channel, Destination, Lender};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One exchange; a list of tools takes a server milliseconds.
const EXCHANGE_MAX: Duration = Duration::from_secs(20);

/// How one upstream is spoken to.
pub struct Client<'a> {
    /// What the configuration says of it.
    pub server: &'a Server,
    /// Where its credential comes from, under the same rules as on the data path.
    pub lender: &'a Lender,
    /// Which credential: the server's position in the configuration.
    pub index: u16,
    /// The TLS the data path would use with it.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// What a post brought back.
pub struct Answered {
    /// The `result` object; nothing where a notification was posted.
    pub result: Option<Value>,
    /// The session the server opened.
    pub session: Option<String>,
}

/// A header of ours: its name and its value.
pub type Field<'f> = (&'static str, &'f str);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Client<'_> {
    /// Posts a request and waits for its answer.
    pub async fn ask(&self, fields: &[Field<'_>], id: i64, body: &Value) -> Result<Answered, LearnFailure> {
        let exchange = async {
            let reply = self.send(Method::POST, fields, body.to_string()).await?;
            check_status(&reply)?;
            let session = header(&reply, "mcp-session-id");
            let result = read(reply, id).await?;
            Ok(Answered { result: Some(result), session })
        };
        tokio::time::timeout(EXCHANGE_MAX, exchange).await.unwrap_or(Err(LearnFailure::TimedOut))
    }

    /// Posts a notification, or ends the session; whatever is said in return is of no use.
    pub async fn tell(&self, method: Method, fields: &[Field<'_>], body: String) -> Result<(), LearnFailure> {
        let exchange = async { self.send(method, fields, body).await.map(drop) };
        tokio::time::timeout(EXCHANGE_MAX, exchange).await.unwrap_or(Err(LearnFailure::TimedOut))
    }

    async fn send(
        &self,
        method: Method,
        fields: &[Field<'_>],
        body: String,
    ) -> Result<Response<Incoming>, LearnFailure> {
        let broken = |error: hyper::Error| LearnFailure::Broken(error.to_string());
        let (stream, peer) = self.connect().await?;
        let request = self.request(method, fields, body, peer)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends by itself once the reply has been read or dropped.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(broken)
    }

    fn request(
        &self,
        method: Method,
        fields: &[Field<'_>],
        body: String,
        peer: IpAddr,
    ) -> Result<Request<Full<Bytes>>, LearnFailure> {
        let mut request = Request::builder()
            .method(method)
            .uri(&*self.server.url.path)
            .header("host", &*self.server.url.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("accept-encoding", "identity")
            .header("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if let Some((name, value)) = self.credential(peer)? {
            request = request.header(name, value);
        }
        request.body(Full::from(body)).map_err(|error| LearnFailure::Broken(error.to_string()))
    }

    fn credential(&self, peer: IpAddr) -> Result<Option<(HeaderName, HeaderValue)>, LearnFailure> {
        let channel = match self.server.url.tls {
            UpstreamTls::Plain => Channel::Plain,
            UpstreamTls::Tls => Channel::Tls,
        };
        let destination = Destination { authority: &self.server.url.authority, channel, peer };
        let lent = self
            .lender
            .lend(self.index, &destination)
            .map_err(|error| LearnFailure::Credential(error.name().to_owned()))?;
        let Some(credential) = lent else { return Ok(None) };
        let unfit = || LearnFailure::Credential("no header can carry it".into());
        let mut line = Vec::with_capacity(8 * 1024);
        credential.write_header(&mut line);
        // Held as a secret from here on, so that it is wiped.
        let line = Secret::new(line);
        let value = line.expose().get(credential.header_name().len() + 2..).and_then(|rest| rest.strip_suffix(b"\r\n"));
        let mut value = HeaderValue::from_bytes(value.ok_or_else(unfit)?).map_err(|_| unfit())?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(credential.header_name().as_bytes()).map_err(|_| unfit())?;
        Ok(Some((name, value)))
    }

    async fn connect(&self) -> Result<(Box<dyn Stream>, IpAddr), LearnFailure> {
        let url = &self.server.url;
        let addresses = resolve::lookup(&(url.host.clone(), url.port)).await.map_err(LearnFailure::NoAddress)?;
        let stream = TcpStream::connect(&*addresses).await.map_err(LearnFailure::Unreachable)?;
        let peer = stream.peer_addr().map_err(LearnFailure::Unreachable)?.ip();
        match (url.tls, &self.tls) {
            (UpstreamTls::Plain, _) => Ok((Box::new(stream), peer)),
            (UpstreamTls::Tls, None) => Err(LearnFailure::Untrusted(io::Error::other("no TLS is set up for it"))),
            (UpstreamTls::Tls, Some(config)) => {
                let name = ServerName::try_from(url.host.to_string());
                let name = name.map_err(|error| LearnFailure::Untrusted(io::Error::other(error)))?;
                let secured = TlsConnector::from(config.clone()).connect(name, stream).await;
                Ok((Box::new(secured.map_err(LearnFailure::Untrusted)?), peer))
            }
        }
    }
}

fn check_status(reply: &Response<Incoming>) -> Result<(), LearnFailure> {
    match reply.status().as_u16() {
        200..=299 => Ok(()),
        status @ (401 | 403) => Err(LearnFailure::Unauthorised(status)),
        status => Err(LearnFailure::Status(status)),
    }
}

async fn read(mut reply: Response<Incoming>, id: i64) -> Result<Value, LearnFailure> {
    let kind = header(&reply, CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
    let mut events = kind.starts_with("text/event-stream").then(|| Events::new(id));
    let mut whole = Vec::new();
    while let Some(frame) = reply.body_mut().frame().await {
        let frame = frame.map_err(|error| LearnFailure::Broken(error.to_string()))?;
        let Some(bytes) = frame.data_ref() else { continue };
        match &mut events {
            Some(events) => {
                if let Some(found) = events.take(bytes)? {
                    return Ok(found);
                }
            }
            None => {
                whole.extend_from_slice(bytes);
                if whole.len() > ANSWER_BYTES_MAX {
                    return Err(LearnFailure::TooLarge);
                }
            }
        }
    }
    if events.is_some() {
        return Err(LearnFailure::NotAnAnswer("the stream ended before it came"));
    }
    answer::of_json(&whole, id)
}

fn header(reply: &Response<Incoming>, name: &str) -> Option<String> {
    reply.headers().get(name)?.to_str().ok().map(str::to_owned)
}
