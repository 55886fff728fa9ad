//! Builds what the demo runs. In: the target folder. Out: the gateway, the server behind it, and the agents' client, in release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::needs::Need;
use crate::{needs, place, process};

/// Where the programs lie.
pub struct Programs {
    /// The gateway and its command line.
    pub portcullis: PathBuf,
    /// The MCP server behind it.
    pub crm: PathBuf,
    /// The MCP client of the agents.
    pub tour: PathBuf,
}

/// The crypto library is built with it.
const COMPILER: Need = Need { program: "cc", probe: &[], package: "build-essential" };

/// Builds all three; the first time takes minutes, later ones a second.
pub fn build(target: &Path) -> Result<Programs> {
    needs::ensure(&[COMPILER])?;
    println!("building in release; the first time takes some minutes");
    cargo(&["--package", "portcullis", "--bin", "portcullis"])?;
    cargo(&["--package", "portcullis-upstreams", "--bin", "crm", "--bin", "tour"])?;
    let release = target.join("release");
    Ok(Programs { portcullis: release.join("portcullis"), crm: release.join("crm"), tour: release.join("tour") })
}

fn cargo(args: &[&str]) -> Result<()> {
    let mut cargo = Command::new(place::cargo());
    process::run("cargo build", cargo.args(["build", "--release", "--locked"]).args(args).current_dir(place::root()?))
}
