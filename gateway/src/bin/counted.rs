//! The gateway with a counting allocator: the same startup, the same data plane, all checks on. Built only under `count-allocations`, by
//! `cargo xtask path`.

use clap::Parser;
use portcullis::cli::{self, Cli, Verb};
use portcullis_ring::allocations::Counting;
use std::process::ExitCode;

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> ExitCode {
    let Cli { verb, ways } = Cli::parse();
    let Verb::Run = verb else {
        eprintln!("this build only knows `run`");
        return ExitCode::from(2);
    };
    cli::end(cli::run::run(&ways), &ways)
}
