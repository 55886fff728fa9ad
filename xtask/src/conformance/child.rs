//! Runs a server beside us. In: a command. Out: a child that ends, by its own pid, with its owner.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A running child; dropping it ends it.
pub struct Child {
    name: String,
    process: std::process::Child,
}

impl Child {
    /// Starts `command` with its standard error in `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let process = command.stdin(Stdio::null()).stderr(log).spawn();
        let process = process.with_context(|| format!("`{name}` cannot be started"))?;
        Ok(Self { name: name.to_owned(), process })
    }

    /// The same for a server whose first line is `listening on URL`; gives that URL.
    pub fn start_announced(name: &str, command: &mut Command, log: &Path) -> Result<(Self, String)> {
        let mut child = Self::start(name, command.stdout(Stdio::piped()), log)?;
        let output = child.process.stdout.take().context("standard output is not piped")?;
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut first = String::new();
            // An error leaves the line empty, which the receiver refuses.
            let _ = output.read_line(&mut first);
            let _ = sender.send(first);
            // Later output must go somewhere, or a talkative server blocks.
            let _ = std::io::copy(&mut output, &mut std::io::sink());
        });
        let first = line.recv_timeout(ANNOUNCED_WITHIN).with_context(|| format!("`{name}` announced nothing"))?;
        match first.trim().strip_prefix("listening on ") {
            Some(url) => Ok((child, url.to_owned())),
            None => bail!("`{name}` did not say where it listens, but `{}`; see `{}`", first.trim(), log.display()),
        }
    }

    /// Fails if the child has ended already.
    pub fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            Some(status) => bail!("`{}` ended: {status}", self.name),
            None => Ok(()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that left by itself is no fault here: whoever needed it has said so already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A debug build on a loaded machine starts in a second or two.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(30);
