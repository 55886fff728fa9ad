//! Knows where things lie. In: the working folder and cargo's environment. Out: paths. Never here: writing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The top of the repository: the nearest folder above the working one that holds both `gateway` and `xtask`.
///
/// # Errors
/// When the working folder is not inside the repository.
pub fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("the working folder cannot be read")?;
    here.ancestors()
        .find(|folder| folder.join("gateway").is_dir() && folder.join("xtask").is_dir())
        .map(PathBuf::from)
        .with_context(|| format!("`{}` is not inside the repository; change into it first", here.display()))
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, or `target` at the top.
///
/// # Errors
/// As [`root`].
pub fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(root()?.join(folder)),
        None => Ok(root()?.join("target")),
    }
}

/// Every file below a folder, sorted. What goes while they are looked for is not among them: the folder of a program that runs never stands still.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
