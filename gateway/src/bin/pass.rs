//! The bench's plain proxy: the same startup and the same data plane, no checks. Built only under `bench-pass`, by `cargo xtask bench`.

use clap::Parser;
use portcullis::cli::{self, Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { verb, ways } = Cli::parse();
    match verb {
        Verb::Run => cli::end(cli::run::run(&ways), &ways),
        Verb::Check
        | Verb::Init(_)
        | Verb::Status
        | Verb::Policy { .. }
        | Verb::Agent { .. }
        | Verb::Tools { .. }
        | Verb::Audit { .. }
        | Verb::Reload
        | Verb::Drain
        | Verb::Schema
        | Verb::Completions { .. } => {
            eprintln!("this build only knows `run`");
            ExitCode::from(2)
        }
    }
}
