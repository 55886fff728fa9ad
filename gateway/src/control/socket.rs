//! Listens for operators. In: a path. Out: connections of those who may speak. Never here: what they ask.

use crate::control::peer::{Caller, Circle};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as Probe};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The group may steer, nobody else.
const MODE: u32 = 0o660;

/// After an accept that failed, as when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// The control socket, bound and not yet listened on by a runtime.
pub struct Bound {
    place: Place,
    listener: StdListener,
    circle: Circle,
}

/// The control socket; its file goes with it.
pub struct Socket {
    // The first to be dropped: the name goes before nobody listens behind it.
    _place: Place,
    listener: UnixListener,
    circle: Circle,
}

/// The file of the socket, which goes with its holder, even where a start ends half-way.
struct Place(PathBuf);

impl Bound {
    /// Binds the socket. A file that is left from a gateway that ended without cleaning up is replaced; one that somebody answers on is not.
    pub fn bind(path: &Path) -> io::Result<Self> {
        clear(path)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let listener = bind_private(path)?;
        let place = Place(path.to_owned());
        listener.set_nonblocking(true)?;
        Ok(Self { place, listener, circle: Circle::of(path)? })
    }

    /// Hands the socket to the runtime of the calling thread.
    pub fn open(self) -> io::Result<Socket> {
        Ok(Socket { _place: self.place, listener: UnixListener::from_std(self.listener)?, circle: self.circle })
    }
}

/// Bound under another name with no rights at all, then given its rights and its name, so that there is no moment at which anybody else
/// could connect.
fn bind_private(path: &Path) -> io::Result<StdListener> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let _ = fs::remove_file(&staged);
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
    let bound = StdListener::bind(&staged);
    rustix::process::umask(before);
    let listener = bound?;
    fs::set_permissions(&staged, Permissions::from_mode(MODE))?;
    fs::rename(&staged, path)?;
    Ok(listener)
}

fn clear(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !about.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket stands in its place"));
    }
    match Probe::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener for Socket {
    type Io = UnixStream;
    type Addr = Caller;

    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match self.circle.admit(&stream) {
                    Some(caller) => return (stream, caller),
                    None => tracing::warn!("somebody who may not steer tried the control socket"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection to the control socket could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller { uid: self.circle.uid })
    }
}

impl Connected<IncomingStream<'_, Socket>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        *stream.remote_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[tokio::test]
    async fn a_socket_that_somebody_answers_on_is_left_alone_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let first = Bound::bind(&path).unwrap().open().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(Bound::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        // A gateway that was killed leaves its file.
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert!(Bound::bind(&stale).is_ok());
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "a note").unwrap();
        assert_eq!(Bound::bind(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a note");
    }

    #[tokio::test]
    async fn our_own_user_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let mut socket = Bound::bind(&path).unwrap().open().unwrap();
        let (client, served) = tokio::join!(UnixStream::connect(&path), socket.accept());
        assert!(client.is_ok());
        assert_eq!(served.1, Caller { uid: rustix::process::geteuid().as_raw() });
    }
}
