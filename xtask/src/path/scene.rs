//! Sets the scene. In: which build of the gateway. Out: it and a stub upstream, running, configured as the bench does. Never here: pinning.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::prepare;
use crate::bench::subject::{Proxy, Subject};
use crate::place;
use crate::process::{self, Running};

/// How the programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly: which calls are made does not depend on how fast they are.
    Dev,
    /// As users get them.
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// A running gateway and what it is asked with.
pub struct Scene {
    /// The gateway.
    pub gateway: Proxy,
    /// Where its files lie.
    pub folder: PathBuf,
    /// The load generator.
    pub load: PathBuf,
    /// The gateway's program.
    pub program: PathBuf,
    _stub: Running,
}

impl Scene {
    /// Builds everything, the gateway as `binary` with `features`, and starts it.
    ///
    /// # Errors
    /// When something cannot be built or does not start.
    pub fn start(profile: Profile, binary: &str, features: &[&str]) -> Result<Self> {
        let target = place::target()?;
        let folder = target.join("path");
        fs::create_dir_all(&folder)?;
        build(profile, &["-p", "portcullis-loadtest", "--bins"], &target)?;
        let features: Vec<&str> = features.iter().flat_map(|feature| ["--features", *feature]).collect();
        build(profile, &[&["-p", "portcullis", "--bin", binary], &*features].concat(), &target)?;
        let built = target.join(profile.folder());
        let (stub, upstream) = prepare::start_stub(&mut Command::new(built.join("stub")))?;
        let gateway = Subject::Portcullis.start_with(&folder, Command::new(built.join(binary)), upstream)?;
        let folder = folder.join(Subject::Portcullis.name());
        Ok(Self { gateway, folder, load: built.join("load"), program: built.join(binary), _stub: stub })
    }

    /// The pid of the gateway.
    ///
    /// # Errors
    /// When it has none, which would be a defect here.
    pub fn pid(&self) -> Result<u32> {
        self.gateway.pid().context("the gateway has no pid")
    }

    /// The thread of its one worker.
    ///
    /// # Errors
    /// When `/proc` does not show it.
    pub fn worker(&self) -> Result<u32> {
        let tasks = format!("/proc/{}/task", self.pid()?);
        for task in fs::read_dir(&tasks).with_context(|| format!("`{tasks}` cannot be read"))?.flatten() {
            if fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "worker-0") {
                let thread = task.file_name().to_str().and_then(|name| name.parse().ok());
                return thread.context("a thread's number is none");
            }
        }
        anyhow::bail!("the gateway has no thread `worker-0`")
    }
}

fn build(profile: Profile, args: &[&str], target: &Path) -> Result<()> {
    let mut cargo = Command::new(place::cargo());
    cargo.args(["build", "--locked", "--target-dir"]).arg(target).args(args).current_dir(place::root()?);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&format!("cargo build {}", args.join(" ")), &mut cargo)
}
