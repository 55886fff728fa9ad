//! A disk that fills up. In: how large. Out: a folder with a file system of its own. Never here: what is written there.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A small disk of its own, gone when dropped.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this process may not mount.
    pub fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("mount");
        let mounted = command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder });
        if mounted.is_none() {
            println!("skipped: a file system of its own takes root and `mount`");
        }
        mounted
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room there is; once more, what was given back since.
    pub fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.path().join("filler")).expect("a file");
        while file.write(&[b'x'; 4096]).is_ok() {}
    }

    /// Gives it back.
    pub fn clear(&self) {
        fs::remove_file(self.path().join("filler")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.folder.path()).output();
    }
}
