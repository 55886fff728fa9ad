//! The bench's plain proxy: the same startup and the same data plane, no checks. Built only under `bench-pass`, by `cargo xtask bench`.

use clap::Parser;
use portcullis::cli::{self, Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { verb, ways } = Cli::parse();
    let Verb::Run = verb else {
        eprintln!("this build only knows `run`");
        return ExitCode::from(2);
    };
    cli::end(cli::run::run(&ways), &ways)
}
