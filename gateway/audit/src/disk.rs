//! Stands between the log and the disk. In: paths, bytes. Out: files that the disk holds for certain once they are synced. Never here: what files mean.
//!
//! A trait, because crashes are tried on a simulated disk that loses, tears and reorders whatever was not synced.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Where files are. Nothing is certain to outlast a power cut before it was synced: neither bytes nor names.
pub trait Disk: Debug + Send + Sync {
    /// A file that must not exist yet, for its owner and group alone.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` among them.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// A file that exists, to read and write.
    ///
    /// # Errors
    /// As the system says; `NotFound` among them.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names in a folder; none where there is no such folder.
    ///
    /// # Errors
    /// As the system says.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// A folder that must not exist yet, for its owner and group alone.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` among them, and `NotFound` where there is none above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// A folder, its name synced, also where it was there: whoever made it may have ended before that. Those above it are made where there are none;
    /// where there are, their names are not looked after.
    ///
    /// # Errors
    /// As the system says.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        match self.create_folder(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                self.make_folder(folder.parent().ok_or(cause)?)?;
                return self.make_folder(folder);
            }
            made => made?,
        }
        folder.parent().map_or(Ok(()), |above| self.sync_folder(above))
    }

    /// Gives a file another name, in the place of one that had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Takes a folder away with all that is in it.
    ///
    /// # Errors
    /// As the system says; `NotFound` among them.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns once the names in a folder are on the disk.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// What syncs all of the file system that `folder` is on, where the disk has such a thing. It is asked for before anything is written: of a write
    /// that failed before then it may know nothing.
    ///
    /// # Errors
    /// As the system says.
    fn whole(&self, _folder: &Path) -> io::Result<Option<Whole>> {
        Ok(None)
    }

    /// Returns once these files and folders are on the disk, and perhaps others with them.
    ///
    /// # Errors
    /// As the system says.
    fn sync_many(&self, _: Option<Whole>, files: &[Arc<dyn DiskFile>], folders: &[&Path]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync())?;
        folders.iter().try_for_each(|folder| self.sync_folder(folder))
    }
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system says; some of them may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads at `offset`; how many bytes.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// How long it is.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it to a length.
    ///
    /// # Errors
    /// As the system says.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Returns once all that was written is on the disk. After an error nothing is known of it, and a second try on the same file proves
    /// nothing: the kernel may have dropped the very pages that failed.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;
}

/// All of a file.
///
/// # Errors
/// As the system says.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    read_from(&*disk.open(path)?, 0)
}

/// All of a file from `offset` on.
///
/// # Errors
/// As the system says.
pub fn read_from(file: &dyn DiskFile, offset: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?.saturating_sub(offset)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + done as u64, rest)? {
            0 => break,
            read => done += read,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// Replaces a file so that a reader, or a power cut, meets the old one or the new one whole.
///
/// # Errors
/// As the system says; the old one is then as it was.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = Path::new(&staged);
    match disk.remove(staged) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(staged)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(staged, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// Syncs a whole file system, and tells of every write to it that failed since it was made (syncfs(2)).
#[derive(Debug)]
pub struct Whole(File);

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// Beyond so many files, syncing the file system once takes less time than syncing each.
const SYNCED_ONE_BY_ONE_MAX: usize = 16;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            // Whoever may only read gets that.
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Ok(Arc::new(File::open(path)?)),
            opened => Ok(Arc::new(opened?)),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o750).create(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    }

    fn whole(&self, folder: &Path) -> io::Result<Option<Whole>> {
        File::open(folder).map(|folder| Some(Whole(folder)))
    }

    fn sync_many(&self, whole: Option<Whole>, files: &[Arc<dyn DiskFile>], folders: &[&Path]) -> io::Result<()> {
        match whole {
            Some(Whole(folder)) if files.len() > SYNCED_ONE_BY_ONE_MAX => Ok(rustix::fs::syncfs(folder)?),
            Some(_) | None => {
                files.iter().try_for_each(|file| file.sync())?;
                folders.iter().try_for_each(|folder| self.sync_folder(folder))
            }
        }
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
