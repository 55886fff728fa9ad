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
    /// The stand-alone verifier of its log.
    pub verifier: PathBuf,
    /// The MCP server behind it.
    pub crm: PathBuf,
    /// The MCP client of the agents.
    pub tour: PathBuf,
}

/// The crypto library is built with it.
const COMPILER: Need = Need { program: "cc", probe: &[], package: "build-essential" };

/// Builds all of them; the first time takes minutes, later ones a second.
pub fn build(target: &Path) -> Result<Programs> {
    needs::ensure(&[COMPILER])?;
    println!("building in release; the first time takes some minutes");
    cargo(&["--package", "portcullis", "--bin", "portcullis"])?;
    cargo(&["--package", "portcullis-tlog", "--bin", "portcullis-verify"])?;
    cargo(&["--package", "portcullis-upstreams", "--bin", "crm", "--bin", "tour"])?;
    let release = target.join("release");
    let built = |name| release.join(name);
    Ok(Programs {
        portcullis: built("portcullis"),
        verifier: built("portcullis-verify"),
        crm: built("crm"),
        tour: built("tour"),
    })
}

fn cargo(args: &[&str]) -> Result<()> {
    let mut cargo = Command::new(place::cargo());
    process::run("cargo build", cargo.args(["build", "--release", "--locked"]).args(args).current_dir(place::root()?))
}
