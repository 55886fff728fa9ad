//! Reads and replaces whole files. In: a path. Out: all of the file or none. Never here: what a file means.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A configuration, registry, rule or catalogue file: 100,000 agents with all their bindings stay below 32 MiB.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Who may read a file that holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Anybody.
    Open,
    /// Its owner alone, and that is us.
    Private,
}

/// Why a file was not read.
#[derive(Debug)]
pub enum ReadFailure {
    /// It does not exist.
    Missing,
    /// The system refuses it.
    System(io::Error),
    /// It is longer than [`FILE_BYTES_MAX`].
    TooLarge,
    /// It is not UTF-8.
    NotText,
    /// Others may read or write it: its mode.
    Exposed(u32),
    /// It belongs to this user, who is not us.
    Foreign(u32),
}

impl ReadFailure {
    /// Cause and cure, in words for the operator.
    pub fn words(&self, path: &Path) -> (String, String) {
        let shown = path.display();
        match self {
            Self::Missing => ("the file does not exist".into(), "create it, or correct the path that names it".into()),
            Self::System(error) => (format!("cannot be read: {error}"), "let this user read it".into()),
            Self::TooLarge => (
                format!("larger than {} MiB", FILE_BYTES_MAX >> 20),
                "split it, or correct the path that names it".into(),
            ),
            Self::NotText => ("not UTF-8 text".into(), "save it as UTF-8".into()),
            Self::Exposed(mode) => (
                format!("holds secrets, and its mode {:04o} lets others at them", mode & 0o7777),
                format!("chmod 0600 {shown}"),
            ),
            Self::Foreign(owner) => {
                let us = rustix::process::geteuid().as_raw();
                (format!("holds secrets, and belongs to user {owner}, not to us ({us})"), format!("chown {us} {shown}"))
            }
        }
    }
}

/// The whole text of a file.
pub fn read(path: &Path, guard: Guard) -> Result<String, ReadFailure> {
    // Opening a pipe would wait for a writer, for ever perhaps, and with it whoever wants to suspend an agent.
    let waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(waiting).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadFailure::Missing),
        Err(error) => return Err(ReadFailure::System(error)),
    };
    // Of the opened file, not of the path: what is checked is what is read.
    let about = file.metadata().map_err(ReadFailure::System)?;
    if about.is_dir() {
        return Err(ReadFailure::System(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !about.is_file() {
        return Err(ReadFailure::System(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    if guard == Guard::Private {
        check_private(about.uid(), about.mode(), rustix::process::geteuid().as_raw())?;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(FILE_BYTES_MAX)).unwrap_or(0) + 1);
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ReadFailure::System)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadFailure::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| ReadFailure::NotText)
}

fn check_private(owner: u32, mode: u32, us: u32) -> Result<(), ReadFailure> {
    if mode & 0o077 != 0 {
        return Err(ReadFailure::Exposed(mode));
    }
    if owner != us {
        return Err(ReadFailure::Foreign(owner));
    }
    Ok(())
}

/// Replaces a file by `bytes` so that a reader, or a power cut, meets the old file or the new one and nothing between. An existing
/// file keeps its mode; a new one gets `mode`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let kept = fs::metadata(path).ok();
    // A link is followed, so that the file behind it is replaced and the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let staged = staged_name(&target)?;
    let written = stage(&staged, bytes, kept.as_ref().map_or(mode, |about| about.mode() & 0o7777), kept.as_ref());
    match written.and_then(|()| fs::rename(&staged, &target)) {
        Ok(()) => sync_folder(&target),
        Err(error) => {
            let _ = fs::remove_file(&staged);
            Err(error)
        }
    }
}

/// Writes a file that does not exist yet, whole or not at all; one that exists is left as it is (`AlreadyExists`).
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let staged = staged_name(path)?;
    // A link, unlike a rename, never takes the place of what is there.
    let written = stage(&staged, bytes, mode, None).and_then(|()| fs::hard_link(&staged, path));
    let _ = fs::remove_file(&staged);
    written.and_then(|()| sync_folder(path))
}

fn stage(staged: &Path, bytes: &[u8], mode: u32, kept: Option<&fs::Metadata>) -> io::Result<()> {
    let _ = fs::remove_file(staged);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(staged)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    if let Some(about) = kept.filter(|about| about.uid() != rustix::process::geteuid().as_raw()) {
        // Run as root over another's file: it stays theirs.
        std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn staged_name(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    staged.push(".new");
    Ok(target.with_file_name(staged))
}

/// The name must survive a power cut as the bytes do.
pub fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_read_holds_no_secret() {
        for (owner, mode, refused) in [
            (7, 0o100644, true),
            (7, 0o100640, true),
            (7, 0o100604, true),
            (8, 0o100600, true),
            (7, 0o100600, false),
            (7, 0o100400, false),
        ] {
            assert_eq!(check_private(owner, mode, 7).is_err(), refused, "{owner} {mode:o}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        fs::write(&path, "a = 1").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = read(&path, Guard::Private).unwrap_err();
        assert_eq!(refused.words(&path).0, "holds secrets, and its mode 0644 lets others at them");
        assert_eq!(refused.words(&path).1, format!("chmod 0600 {}", path.display()));
        assert_eq!(read(&path, Guard::Open).unwrap(), "a = 1");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path, Guard::Private).unwrap(), "a = 1");
    }

    #[test]
    fn a_pipe_is_refused_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("z.cedar");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        assert!(read(&path, Guard::Open).unwrap_err().words(&path).0.contains("it is no regular file"));
        assert!(
            read(Path::new("/dev/zero"), Guard::Open).unwrap_err().words(&path).0.contains("it is no regular file")
        );
    }

    #[test]
    fn what_is_missing_or_no_text_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&folder.path().join("none"), Guard::Open), Err(ReadFailure::Missing)));
        assert!(matches!(read(folder.path(), Guard::Open), Err(ReadFailure::System(_))));
        fs::write(folder.path().join("bytes"), [0xff]).unwrap();
        assert!(matches!(read(&folder.path().join("bytes"), Guard::Open), Err(ReadFailure::NotText)));
    }

    #[test]
    fn a_file_that_exists_is_never_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crm.json");
        create(&path, b"one", 0o640).unwrap();
        assert_eq!(create(&path, b"two", 0o640).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents.toml");
        replace(&path, b"one", 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        replace(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
