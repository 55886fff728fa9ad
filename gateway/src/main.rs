//! The table of contents: one verb, one file of `cli`.

#[cfg(feature = "bench-pass")]
compile_error!("`portcullis` is never built without its checks; `bench-pass` is for the bench's own binary");

#[cfg(feature = "count-allocations")]
compile_error!(
    "`portcullis` is never built with a counting allocator; `count-allocations` is for the proof's own binary"
);

const _: () = assert!(
    !portcullis_core::policy::evaluate::BROKEN_INSTRUCTION,
    "`portcullis` is never built with a broken instruction; `broken-instruction` is for the proof that it would be noticed"
);

use clap::Parser;
use portcullis::cli::{self, Cli, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Cli { verb, ways } = Cli::parse();
    let outcome = match verb {
        Verb::Run => cli::run::run(&ways),
        Verb::Check => cli::check::check(&ways),
        Verb::Init(init) => cli::init::init(&init, &ways),
        Verb::Status => cli::status::status(&ways),
        Verb::Policy { verb } => cli::policy::policy(&verb, &ways),
        Verb::Agent { verb } => cli::agent::agent(&verb, &ways),
        Verb::Token { verb } => cli::token::token(&verb, &ways),
        Verb::Tools { verb } => cli::tools::tools(&verb, &ways),
        Verb::Kernel { verb } => cli::kernel::kernel(&verb, &ways),
        Verb::Audit { verb } => cli::audit::audit(&verb, &ways),
        Verb::Witness(wish) => cli::witness::witness(&wish, &ways),
        Verb::Reload => cli::reload::reload(&ways),
        Verb::Drain => cli::drain::drain(&ways),
        Verb::Schema => cli::schema::schema(),
        Verb::Completions { shell } => cli::completions::completions(shell),
    };
    cli::end(outcome, &ways)
}
