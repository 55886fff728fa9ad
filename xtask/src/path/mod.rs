//! Proves what the way of a request costs the kernel and the heap. In: the real gateway under keep-alive load. Out: a table for each proof, or
//! what was not as claimed.

mod allocations;
mod io;
mod load;
pub mod scene;

use anyhow::Result;

/// What `path` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Which proofs; all without it
    #[arg(value_enum)]
    proofs: Vec<Proof>,
}

/// One claim about the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Proof {
    /// The workers do their IO with io_uring; the journal's pwrite(2) is the only other call that moves bytes
    Io,
    /// A request allocates nothing on the heap, outside the evaluation of rules
    Allocations,
}

impl Proof {
    /// All of them, cheap ones first.
    pub const ALL: [Self; 2] = [Self::Allocations, Self::Io];

    /// What it proves.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io_uring is the way of IO",
            Self::Allocations => "a request allocates nothing",
        }
    }

    /// Proves it.
    ///
    /// # Errors
    /// What was not as claimed, or why it could not be looked at.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Io => io::prove(),
            Self::Allocations => allocations::prove(),
        }
    }
}

/// Runs the proofs that are asked for.
///
/// # Errors
/// The first that fails.
pub fn run(args: &Args) -> Result<()> {
    let all = Proof::ALL.to_vec();
    let proofs = if args.proofs.is_empty() { &all } else { &args.proofs };
    for proof in proofs {
        println!("\n-- {}", proof.name());
        proof.run()?;
    }
    Ok(())
}
