//! Keeps programs and maps in the kernel while no gateway runs. In: a folder of a bpf file system. Out: paths in it. Never here: what is loaded.

use super::Missing;
use aya::maps::MapData;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What outlives a restart, with the sizes of its keys and values and how many it holds.
const MAPS: [(&str, u32, u32, u32); 5] = [
    ("BANS", 16, 8, 65_536),
    ("BUCKETS", 16, 16, 65_536),
    ("FLOWS", 40, 32, 131_072),
    ("MARKS", 40, 8, 131_072),
    ("COUNTERS", 4, 8, portcullis_ebpf_common::VERDICTS),
];

/// The folder, held by this gateway alone.
pub struct Pins {
    folder: PathBuf,
    _lock: File,
}

impl Pins {
    /// Takes the folder; nothing where it is in no bpf file system, or may not be made.
    pub fn take(folder: &Path) -> Result<Option<Self>, Missing> {
        if !is_bpf(folder) || DirBuilder::new().recursive(true).mode(0o700).create(folder).is_err() {
            return Ok(None);
        }
        let Ok(lock) = File::open(folder) else { return Ok(None) };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { folder: folder.to_owned(), _lock: lock })),
            Err(fs::TryLockError::Error(_)) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => Err(Missing::new(
                format!("{}: another gateway holds its programs there", folder.display()),
                "give this one another folder by `pins` in `[kernel]`",
            )),
        }
    }

    /// Where the map lies; one of another shape, left by another version, is let go.
    pub fn maps(&self) -> Vec<(&'static str, PathBuf)> {
        let path = |(name, key, value, entries): &(&'static str, u32, u32, u32)| {
            let path = self.folder.join(name);
            if let Ok(info) = MapData::from_pin(&path).and_then(|map| map.info())
                && (info.key_size(), info.value_size(), info.max_entries()) != (*key, *value, *entries)
            {
                tracing::warn!(map = name, "what an earlier version kept has another shape and is given up");
                // If it cannot be removed, loading fails and says so.
                let _stays = fs::remove_file(&path);
            }
            (*name, path)
        };
        MAPS.iter().map(path).collect()
    }

    /// Where the link of `interface` lies, attached that way.
    pub fn link(&self, interface: &str, way: &str) -> PathBuf {
        self.folder.join(format!("{LINK}{way}-{interface}"))
    }

    /// Detaches from every interface that is not among `interfaces`.
    pub fn keep_only(&self, interfaces: &[Box<str>]) -> io::Result<()> {
        for (path, name) in links(&self.folder)? {
            let kept = interfaces.iter().any(|kept| name.split_once('-').is_some_and(|(_, name)| name == &**kept));
            if !kept {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Takes everything out of the kernel that an earlier start left: programs, bans, marks; how many interfaces were let go.
pub fn detach(folder: &Path) -> Result<usize, Missing> {
    let Some(_held) = Pins::take(folder)? else { return Ok(0) };
    let stays = |error: io::Error| {
        Missing::new(
            format!("{} cannot be emptied: {error}", folder.display()),
            "run as the user who attached the programs",
        )
    };
    let found = links(folder).map_err(stays)?.len();
    // Links first: a program without its maps' names goes on, a map without programs is gone with its name.
    withdraw(folder)?;
    for (name, ..) in MAPS {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(stays(error)),
            Ok(()) | Err(_) => {}
        }
    }
    fs::remove_dir(folder).map_err(stays)?;
    Ok(found)
}

const LINK: &str = "link-";

/// Links in the folder, by `WAY-INTERFACE`.
pub fn links(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_prefix(LINK)) {
            found.push((entry.path(), name.to_owned()));
        }
    }
    Ok(found)
}

/// Takes away what an earlier start left attached.
pub fn withdraw(folder: &Path) -> Result<(), Missing> {
    let detached = match links(folder) {
        Ok(links) => links.into_iter().try_for_each(|(path, _)| fs::remove_file(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A folder that this user may not even look into holds nothing that was made by this user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    };
    detached.map_err(|error| {
        Missing::new(
            format!("programs of an earlier start are still attached by {}: {error}", folder.display()),
            "run as the user who attached them, or remove that folder",
        )
    })
}

/// Why nothing outlives a restart.
pub fn unpinned(folder: &Path) -> Missing {
    Missing::new(
        format!(
            "bans and programs outliving a restart: {} is in no bpf file system that this user may write to",
            folder.display()
        ),
        "mount one (`mount -t bpf bpf /sys/fs/bpf`), or name a folder of one by `pins` in `[kernel]`",
    )
}

/// Whether the folder, or what of its path exists, lies in a bpf file system.
pub fn is_bpf(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|path| path.exists());
    let magic = existing.and_then(|path| rustix::fs::statfs(path).ok()).map(|found| found.f_type);
    magic.and_then(|magic| u64::try_from(magic).ok()) == Some(BPF_FS_MAGIC)
}
