//! `portcullis completions SHELL`: prints completions. In: a shell. Out: its script. Never here: installing it.

use crate::cli::{Cli, End, Outcome, say};
use clap::CommandFactory;
use clap_complete::Shell;

/// On standard output.
pub fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut script);
    say::line(String::from_utf8_lossy(&script).trim_end());
    Ok(End::Done)
}
