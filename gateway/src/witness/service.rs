//! Answers logs. In: the body of `add-checkpoint`, the time. Out: a cosignature, or the exact refusal; a line in the log. Never here: sockets.

use crate::witness::store::Store;
use portcullis_tlog::note::{NoteSigner, VerifierKey};
use portcullis_tlog::witness::{Refusal, Request, judge};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A witness.
pub struct Service {
    signer: NoteSigner,
    logs: Vec<VerifierKey>,
    // Held from reading what was cosigned last until the next is kept: a request between the two could roll it back.
    store: Mutex<Store>,
}

/// What a log is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Service {
    /// A witness of `logs` that keeps what it cosigned in `store`.
    ///
    /// # Errors
    /// When what it cosigned of one of them cannot be read.
    pub fn new(signer: NoteSigner, logs: Vec<VerifierKey>, store: Store) -> io::Result<Self> {
        for log in &logs {
            let last = store.last(log.name())?;
            let size = last.map_or(0, |head| head.size);
            tracing::info!(log = log.name(), size, "witnessing; this much was cosigned");
        }
        Ok(Self { signer, logs, store: Mutex::new(store) })
    }

    /// The key by which its cosignatures are checked.
    pub fn verifier(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Answers `add-checkpoint`, as of `at` seconds since 1970. It waits for the disk.
    pub fn add(&self, body: &[u8], at: u64) -> Answer {
        let request = std::str::from_utf8(body).map_err(|_| "the request is no text".to_owned());
        let request = match request.and_then(|body| Request::parse(body).map_err(|cause| cause.to_string())) {
            Ok(request) => request,
            Err(cause) => {
                tracing::warn!(status = 400, "refused: {cause}");
                return Answer { status: 400, kind: TEXT, body: format!("{cause}\n") };
            }
        };
        let store = self.lock();
        let mut unread = None;
        let judged = judge(&request, &self.logs, |origin| {
            store.last(origin).unwrap_or_else(|error| {
                unread = Some(error);
                None
            })
        });
        if let Some(error) = unread {
            return failed(&error);
        }
        let grown = match judged {
            Ok(grown) => grown,
            Err(refusal) => return refused(&request, &refusal),
        };
        let checkpoint = grown.checkpoint();
        match grown.cosign(&self.signer, at, |note| store.keep(&checkpoint.origin, note)) {
            Ok(line) => {
                tracing::info!(log = checkpoint.origin, old = request.old, size = checkpoint.head.size, "cosigned");
                Answer { status: 200, kind: TEXT, body: line }
            }
            Err(error) => failed(&error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // What is kept is on the disk, whole or not at all, wherever a thread ended.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(request: &Request, refusal: &Refusal) -> Answer {
    let status = refusal.status();
    match refusal {
        Refusal::OtherHead { .. } | Refusal::Unproven { .. } => tracing::error!(
            status,
            old = request.old,
            checkpoint = request.checkpoint,
            "refused, and the log signed it: {refusal}; it may have two histories"
        ),
        // How a log asks which size was cosigned last.
        Refusal::OtherSize { .. } => tracing::info!(status, old = request.old, "refused: {refusal}"),
        Refusal::Note(_)
        | Refusal::Form(_)
        | Refusal::UnknownLog { .. }
        | Refusal::NotSigned { .. }
        | Refusal::Shrinks { .. } => tracing::warn!(status, old = request.old, "refused: {refusal}"),
    }
    match refusal.size() {
        Some(size) => Answer { status, kind: "text/x.tlog.size", body: format!("{size}\n") },
        None => Answer { status, kind: TEXT, body: format!("{refusal}\n") },
    }
}

fn failed(error: &io::Error) -> Answer {
    tracing::error!(%error, "nothing was cosigned: what was cosigned before cannot be read or kept");
    Answer { status: 500, kind: TEXT, body: "what was cosigned before cannot be read or kept\n".to_owned() }
}
