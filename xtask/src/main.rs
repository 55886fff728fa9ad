//! xtask
mod conformance;
mod tools;

/// The project's own verbs.
#[derive(clap::Parser)]
enum Verb {
    /// Prove MCP conformance with the public suite
    Conformance(conformance::Args),
}

fn main() -> anyhow::Result<()> {
    match <Verb as clap::Parser>::parse() {
        Verb::Conformance(args) => conformance::run(&args),
    }
}
