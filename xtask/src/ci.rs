//! What a change must pass: everything `test` proves, then the bench as a smoke test, which judges no number.

use anyhow::Result;

use crate::{bench, test};

/// Runs `test`, then a short `bench`.
///
/// # Errors
/// When either fails.
pub fn run() -> Result<()> {
    test::run()?;
    bench::run(&bench::Args::smoke())
}
