//! Installs what a verb needs. In: programs and the packages that bring them. Out: all of them present, or clear words.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{place, process};

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The program's name on the path.
    pub program: &'static str,
    /// Arguments with which it succeeds only if all of the package is there; none where its presence says enough.
    pub probe: &'static [&'static str],
    /// The package to install when it is missing.
    pub package: &'static str,
}

impl Need {
    fn is_met(&self) -> bool {
        let Some(program) = find(self.program) else { return false };
        self.probe.is_empty() || Command::new(program).args(self.probe).output().is_ok_and(|out| out.status.success())
    }
}

/// Servers live here and the path of an ordinary user does not name it.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Where `program` lies, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Brings every missing program with apt, if we may.
///
/// # Errors
/// When something is missing and we are not root, there is no apt, or apt fails: the words say what to run.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let programs: Vec<String> = missing.iter().map(|need| format!("`{}`", need.program)).collect();
    let (programs, cure) = (programs.join(", "), format!("apt-get install -y {}", packages.join(" ")));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("{programs} not installed and there is no apt here; install {} yourself", packages.join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{programs} not installed; run `sudo {cure}`");
    }
    println!("installing {}", packages.join(", "));
    process::run("apt-get update", apt().args(["update", "-q"]))?;
    process::run(&cure, apt().args(["install", "-y", "-q", "--no-install-recommends"]).args(&packages))?;
    match missing.iter().find(|need| !need.is_met()) {
        Some(need) => bail!("`{}` is still missing after package `{}` was installed", need.program, need.package),
        None => Ok(()),
    }
}

/// Brings the components of the Rust toolchain that `cargo fmt` and `cargo clippy` are.
///
/// # Errors
/// When one is missing and rustup cannot bring it.
pub fn ensure_rust_components() -> Result<()> {
    for (verb, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let there =
            Command::new(place::cargo()).args([verb, "--version"]).output().is_ok_and(|out| out.status.success());
        if there {
            continue;
        }
        if find("rustup").is_none() {
            bail!("`cargo {verb}` is not installed and there is no rustup here; install `{component}`");
        }
        process::run("rustup component add", Command::new("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}
