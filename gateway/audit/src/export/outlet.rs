//! Writes a file whole or not at all. In: bytes. Out: the file under its name once all of it is on the disk. Never here: what is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that does not have its name yet. Dropped before it is committed, nothing of it stays.
pub struct Outlet {
    file: BufWriter<File>,
    path: PathBuf,
    fresh: PathBuf,
    committed: Committed,
}

#[derive(PartialEq, Eq)]
enum Committed {
    No,
    Yes,
}

impl Outlet {
    /// Begins what will be the file `path`, beside it. Its owner alone may read it: it holds what the log holds.
    ///
    /// # Errors
    /// When it cannot be begun there.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        if path.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let fresh = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, file),
            path: path.to_owned(),
            fresh,
            committed: Committed::No,
        })
    }

    /// Gives the file its name, in place of what had it.
    ///
    /// # Errors
    /// When it cannot be brought to the disk.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.fresh, &self.path)?;
        self.committed = Committed::Yes;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if self.committed == Committed::No {
            let _nothing_more_to_do = fs::remove_file(&self.fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        assert!(Outlet::begin(folder.path()).is_err());
        fs::write(&path, "before").unwrap();
        let mut outlet = Outlet::begin(&path).unwrap();
        outlet.write_all(b"half").unwrap();
        outlet.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(outlet);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut outlet = Outlet::begin(&path).unwrap();
        outlet.write_all(b"whole").unwrap();
        outlet.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
