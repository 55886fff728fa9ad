//! The project's own verbs, one file each. `cargo xtask VERB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::told::Told;
use xtask::{bench, conformance, crash, demo, differential, ebpf, instructions, path, swaps, test, tidy};

/// The project's own verbs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the gateway at work: two agents, a server, a line a call; then stay up to be tried
    Demo(demo::Args),
    /// Install what the tests need and prove everything we claim
    Test,
    /// What a change must pass: the same as `test`
    Ci,
    /// Check the house rules that a machine can check
    Tidy(tidy::Args),
    /// Run the public MCP conformance suite through the gateway, both eras
    Conformance(conformance::Args),
    /// Compare our policy engine with Cedar's own evaluator, a million times
    Differential(differential::Args),
    /// Crash the audit log ten thousand times, and lose nothing
    Crash(crash::Args),
    /// Measure side by side with nginx and haproxy, in one run
    Bench(bench::Args),
    /// Prove what the way of a request costs the kernel and the heap
    Path(path::Args),
    /// Count the instructions of each stage of a call; fail where one has grown dearer
    Instructions(instructions::Args),
    /// Prove that rules change under load without a call noticing
    Swaps(swaps::Args),
    /// Build the kernel programs, or prove the committed object
    Ebpf(ebpf::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Test | Verb::Ci => test::run(),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Differential(args) => differential::run(&args),
        Verb::Crash(args) => crash::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Path(args) => path::run(&args),
        Verb::Instructions(args) => instructions::run(&args),
        Verb::Swaps(args) => swaps::run(&args),
        Verb::Ebpf(args) => ebpf::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) if cause.is::<Told>() => ExitCode::FAILURE,
        Err(cause) => {
            eprintln!("error: {cause:#}");
            ExitCode::FAILURE
        }
    }
}
