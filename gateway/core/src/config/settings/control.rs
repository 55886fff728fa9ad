//! Says where operators come in. In: nothing. Out: a path. Never here: what they ask.

use std::path::PathBuf;

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// A Unix socket, mode 0660.
    pub socket: PathBuf,
}
