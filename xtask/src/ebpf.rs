//! Builds and checks the kernel programs, which are a workspace of their own in `ebpf/`.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::{place, process};

/// What to do with the kernel programs.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// Build the kernel object
    Build,
    /// Prove what can be proven without loading anything: the layouts both sides agree on
    Check,
}

/// Builds or checks.
///
/// # Errors
/// When there is nothing to build yet, or a check fails.
pub fn run(args: &Args) -> Result<()> {
    match args.deed {
        Deed::Build => bail!(
            "`ebpf/programs` is not there yet, so there is no kernel object to build; `check` proves the shared types"
        ),
        Deed::Check => process::run("cargo test of ebpf/common", &mut check_command()?),
    }
}

/// The host tests of the types that kernel and user space share.
///
/// # Errors
/// When the repository cannot be found.
pub fn check_command() -> Result<Command> {
    let (root, target) = (place::root()?, place::target()?);
    let mut cargo = Command::new(place::cargo());
    cargo
        .args(["test", "--locked", "--manifest-path"])
        .arg(root.join("ebpf/Cargo.toml"))
        .arg("--target-dir")
        .arg(target.join("ebpf"))
        .current_dir(root);
    Ok(cargo)
}
