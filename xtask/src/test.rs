//! Proves everything. In: a fresh machine with cargo. Out: each proof's own output, a summary, and `N passed, N failed`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::needs::Need;
use crate::path::Proof;
use crate::told::Told;
use crate::{bench, conformance, differential, ebpf, instructions, needs, place, process, swaps, tidy};

/// What building and testing calls, beyond cargo: a C compiler for the crypto library, Python and npm for the real clients.
const NEEDS: [Need; 5] = [
    Need { program: "curl", probe: &[], package: "curl" },
    Need { program: "openssl", probe: &[], package: "openssl" },
    Need { program: "cc", probe: &[], package: "build-essential" },
    Need { program: "python3", probe: &["-c", "import ensurepip"], package: "python3-venv" },
    Need { program: "npm", probe: &[], package: "npm" },
];

/// The proofs, in the order they run: cheap ones first.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tidy,
    Format,
    Clippy,
    OtherBuilds,
    Tests,
    Differential,
    Path,
    Instructions,
    Bench,
    Swaps,
    Conformance,
    Ebpf,
}

const STEPS: [Step; 12] = [
    Step::Tidy,
    Step::Format,
    Step::Clippy,
    Step::OtherBuilds,
    Step::Tests,
    Step::Differential,
    Step::Path,
    Step::Instructions,
    Step::Bench,
    Step::Swaps,
    Step::Conformance,
    Step::Ebpf,
];

/// The bench's plain proxy and the stages that are counted, linted with the features that make them.
const BENCH_BUILDS: [&str; 14] = [
    "clippy",
    "--workspace",
    "--locked",
    "--features",
    "portcullis/bench-pass,portcullis-benches/memory",
    "--bin",
    "portcullis-pass",
    "--bin",
    "instructions",
    "--bench",
    "stages",
    "--",
    "-D",
    "warnings",
];

/// Sockets that lie in memory.
const MEMORY_TESTS: [&str; 7] = ["test", "--locked", "--package", "portcullis-ring", "--features", "memory", "--lib"];

/// What cargo's tests said, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and steps that failed without naming a test.
    pub failed: u64,
}

struct Outcome {
    step: Step,
    count: Count,
    took: Duration,
}

/// Installs what is missing, runs every step whatever the others said, and prints the summary; the last line is the count.
///
/// # Errors
/// When anything failed.
pub fn run() -> Result<()> {
    needs::ensure(&NEEDS)?;
    needs::ensure_rust_components()?;
    let mut outcomes = Vec::new();
    for step in STEPS {
        println!("\n== {}", step.name());
        let start = Instant::now();
        let count = step.run().unwrap_or_else(|cause| {
            println!("error: {cause:#}");
            Count { passed: 0, failed: 1 }
        });
        outcomes.push(Outcome { step, count, took: start.elapsed() });
    }
    let total = summary(&outcomes);
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 { Err(Told.into()) } else { Ok(()) }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Tidy => "house rules",
            Self::Format => "cargo fmt",
            Self::Clippy => "cargo clippy",
            Self::OtherBuilds => "other builds",
            Self::Tests => "cargo test",
            Self::Differential => "policy vs Cedar",
            Self::Path => "way of a request",
            Self::Instructions => "instructions",
            Self::Bench => "bench --quick",
            Self::Swaps => "swaps of rules",
            Self::Conformance => "MCP conformance",
            Self::Ebpf => "ebpf check",
        }
    }

    fn run(self) -> Result<Count> {
        match self {
            Self::Tidy => tidy::run(&tidy::Args::default()).map(|()| Count::default()),
            // The kernel programs are a workspace of their own.
            Self::Format => whole(self, &["fmt", "--all", "--check"])
                .and_then(|_| whole(self, &["fmt", "--all", "--check", "--manifest-path", "ebpf/Cargo.toml"])),
            Self::Clippy => {
                whole(self, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
            }
            // What is built for benches and counts alone would break unseen.
            Self::OtherBuilds => whole(self, &BENCH_BUILDS).and_then(|_| tests(self, cargo(&MEMORY_TESTS)?)),
            Self::Tests => tests(self, cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])?),
            // A million questions to our engine and to Cedar; one proof.
            Self::Differential => {
                differential::run(&differential::Args::proof()).map(|()| Count { passed: 1, failed: 0 })
            }
            Self::Path => Ok(proofs()),
            Self::Instructions => instructions::prove().map(|()| Count { passed: 1, failed: 0 }),
            Self::Bench => bench::run(&bench::Args::guard()).map(|()| Count { passed: 1, failed: 0 }),
            Self::Swaps => swaps::run(&swaps::Args::proof()).map(|()| Count::default()),
            // Every scored scenario of both eras and every SDK client, through the gateway with its own policy and log.
            Self::Conformance => conformance::run(&conformance::Args::proof()).map(|()| Count::default()),
            // The committed object is what the sources build, and what both sides agree on is tested on the host.
            Self::Ebpf => {
                println!("{}", ebpf::prove()?);
                tests(self, ebpf::check_command()?)
            }
        }
    }
}

/// A step that passes or fails as a whole; it adds nothing to the tests that passed.
fn whole(step: Step, args: &[&str]) -> Result<Count> {
    process::run(step.name(), &mut cargo(args)?).map(|()| Count::default())
}

/// A step of cargo tests. One that fails without naming a failed test (it did not build, say) counts as one failure.
fn tests(step: Step, mut command: Command) -> Result<Count> {
    let mut count = Count::default();
    let status = process::run_seen(step.name(), &mut command, |line| count.add(line))?;
    if !status.success() && count.failed == 0 {
        bail!("`{}` failed: {status}", step.name());
    }
    if status.success() && count.passed == 0 {
        bail!("`{}` ran no test at all", step.name());
    }
    Ok(count)
}

/// The proofs of the way of a request, each a test.
fn proofs() -> Count {
    let mut count = Count::default();
    for proof in Proof::ALL {
        println!("\n-- {}", proof.name());
        match proof.run() {
            Ok(()) => count.passed += 1,
            Err(cause) => {
                println!("error: {cause:#}");
                count.failed += 1;
            }
        }
    }
    count
}

impl Count {
    /// Adds one line of cargo's output; lines that are no result add nothing.
    pub fn add(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (number, word) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next());
            match (number, word) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

fn cargo(args: &[&str]) -> Result<Command> {
    let mut cargo = Command::new(place::cargo());
    cargo.args(args).current_dir(place::root()?);
    Ok(cargo)
}

fn summary(outcomes: &[Outcome]) -> Count {
    println!("\n== summary");
    let mut total = Count::default();
    for Outcome { step, count, took } in outcomes {
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        println!(
            "{:<14} {verdict:<7} {:>6} passed {:>4} failed {:>6} s",
            step.name(),
            count.passed,
            count.failed,
            took.as_secs()
        );
        total.passed += count.passed;
        total.failed += count.failed;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], passed: u64, failed: u64) {
        let mut count = Count::default();
        lines.iter().for_each(|line| count.add(line));
        assert_eq!(count, Count { passed, failed }, "lines: {lines:?}");
    }

    #[test]
    fn results_of_several_binaries_add_up_and_other_lines_add_nothing() {
        check(
            &["test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s"],
            3,
            2,
        );
        check(
            &[
                "running 2 tests",
                "test a ... ok",
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                "   Doc-tests x",
                "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            ],
            7,
            0,
        );
        check(&["5 passed", "error: test failed, to rerun pass `-p x`"], 0, 0);
    }
}
