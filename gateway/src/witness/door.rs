//! Listens for logs. In: HTTP. Out: what the service answers. Never here: what is cosigned.

use crate::witness::service::Service;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, serve};
use portcullis_tlog::witness::REQUEST_BYTES_MAX;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Connections at once: a log has one, and anybody may connect.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may last, whatever it does: a log asks every second or so and connects anew, and nobody holds a place for long.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// After an accept that failed, as when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `POST …/add-checkpoint`, below whatever prefix, until `stop` ends.
///
/// # Errors
/// When the listener breaks.
pub async fn open(
    listener: TcpListener,
    service: Arc<Service>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let routes =
        Router::new().fallback_service(post(add).with_state(service)).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX));
    serve(Door { listener, places }, routes).with_graceful_shutdown(stop).await
}

async fn add(State(service): State<Arc<Service>>, uri: Uri, body: Bytes) -> Response {
    if !uri.path().ends_with("/add-checkpoint") {
        return (StatusCode::NOT_FOUND, "only `add-checkpoint` is served here\n").into_response();
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match tokio::task::spawn_blocking(move || service.add(&body, at)).await {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, answer.kind)], answer.body).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A listener that lets so many in at once.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl serve::Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            // A semaphore that nobody closes always gives a place.
            let Ok(place) = self.places.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let until = Box::pin(tokio::time::sleep(CONNECTION_MAX));
                    return (Guest { stream, until, _place: place }, from);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends in time.
struct Guest {
    stream: TcpStream,
    until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Guest {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, into));
        Poll::Ready(read)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
