//! Builds the stages and counts them. In: which. Out: instructions and allocations of one turn of each. Never here: what they should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{place, process};

/// Like a release, but linked fast: linking as a release does takes longer than counting. The comparison with Cedar is built in it too, so that
/// what both depend on is built once.
const PROFILE: &str = "differential";

/// The function within which callgrind collects, and after each call of which it writes a part.
const COUNTED: &str = "instructions::turns_counted";

/// What the binary is told.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Only this stage.
    pub only: Option<&'a str>,
    /// A stage that is made dearer.
    pub dearer: Option<&'a str>,
}

/// What was counted, and by what.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The compiler.
    pub rustc: String,
    /// The features of the CPU as callgrind emulates it.
    pub features: String,
    /// The stages, in the order of a call.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Instructions of one turn.
    pub instructions: u64,
    /// Allocations of one turn.
    pub allocations: f64,
    /// Whether it promises to make none.
    pub promises_none: bool,
    /// Callgrind's own part of it, and the turns it is about.
    pub part: PathBuf,
    /// Turns that were counted.
    pub turns: u64,
}

impl Counted {
    /// Each stage as the run has it in which it cost less.
    #[must_use]
    pub fn least(mut self, other: Self) -> Self {
        for (stage, other) in self.stages.iter_mut().zip(other.stages) {
            if other.name == stage.name && other.instructions < stage.instructions {
                *stage = other;
            }
        }
        self
    }
}

/// Builds and counts.
///
/// # Errors
/// When it does not build or run, or callgrind wrote something else than a part for each stage.
pub fn count(options: &Options<'_>) -> Result<Counted> {
    let target = place::target()?;
    eprintln!("building the stages");
    process::run("cargo build", &mut build(&target)?)?;
    let folder = target.join(PROFILE).join("counted");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear `{}`", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    eprintln!("counting under callgrind");
    let output = valgrind(&target.join(PROFILE).join("instructions"), &folder, options)
        .output()
        .context("`valgrind` cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the stages failed under callgrind: {}\n{said}", output.status);
    let rustc = process::first_line("rustc", &["--version"])?;
    let told = String::from_utf8_lossy(&output.stdout);
    let counted = read(&told, |part| {
        let file = folder.join(format!("stages.{part}"));
        let text = fs::read(&file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        Ok((total(&String::from_utf8_lossy(&text))?, file))
    })?;
    Ok(Counted { rustc, ..counted })
}

fn build(target: &Path) -> Result<Command> {
    let mut build = Command::new(place::cargo());
    build.current_dir(place::root()?).args(["build", "--locked", "--profile", PROFILE, "--target-dir"]).arg(target);
    // As a part of the workspace, like the comparison with Cedar: alone, what it depends on would be built once more, with fewer features.
    build.args(["--workspace", "--features", "portcullis-benches/memory", "--bin", "instructions"]);
    Ok(build)
}

fn valgrind(program: &Path, folder: &Path, options: &Options<'_>) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--collect-atstart=no"]);
    valgrind.args([format!("--toggle-collect={COUNTED}"), format!("--dump-after={COUNTED}")]);
    valgrind.arg(format!("--callgrind-out-file={}", folder.join("stages").display())).arg(program);
    for (option, value) in [("--only", options.only), ("--dearer", options.dearer)] {
        valgrind.args(value.iter().flat_map(|value| [option, *value]));
    }
    valgrind
}

/// Puts what the binary told and what callgrind wrote together: one part for each stage, numbered from 1.
fn read(told: &str, mut part: impl FnMut(usize) -> Result<(u64, PathBuf)>) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut turns = 0;
    for line in told.lines() {
        match line.split_once(' ') {
            Some(("turns", number)) => turns = number.parse().context("the number of turns is none")?,
            Some(("features", features)) => counted.features = features.to_owned(),
            Some(("stage", stage)) => {
                ensure!(turns > 0, "the stages did not say how many turns they take");
                let (instructions, part) = part(counted.stages.len() + 1)?;
                let stage = told_stage(stage).with_context(|| format!("`{line}` is no stage"))?;
                counted.stages.push(Stage { instructions: instructions.div_ceil(turns), part, turns, ..stage });
            }
            Some(_) | None => bail!("the stages said `{line}`"),
        }
    }
    ensure!(!counted.stages.is_empty(), "no stage was counted; `--functions` takes a name as the table shows it");
    Ok(counted)
}

/// `ALLOCATIONS none|some NAME`.
fn told_stage(told: &str) -> Option<Stage> {
    let mut parts = told.splitn(3, ' ');
    let allocations = parts.next()?.parse().ok()?;
    let promises_none = match parts.next()? {
        "none" => true,
        "some" => false,
        _ => return None,
    };
    Some(Stage { name: parts.next()?.to_owned(), allocations, promises_none, ..Stage::default() })
}

/// The instructions of a part.
fn total(part: &str) -> Result<u64> {
    let total = part.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.and_then(|total| total.trim().parse().ok()).context("callgrind wrote no total")?;
    ensure!(total > 0, "callgrind collected nothing: it does not know a function `{COUNTED}`");
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(told: &str, expected: Result<&[(&str, u64, f64, bool)], &str>) {
        let read = read(told, |part| Ok((1_000 * part as u64 + 1, PathBuf::new())));
        match (read, expected) {
            (Ok(counted), Ok(stages)) => {
                let read: Vec<_> = (counted.stages.iter())
                    .map(|stage| (&*stage.name, stage.instructions, stage.allocations, stage.promises_none))
                    .collect();
                assert_eq!(read, stages);
            }
            (read, expected) => {
                let error = read.map(|_| ()).unwrap_err().to_string();
                assert!(expected.is_err_and(|words| error.contains(words)), "told: {told}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_stage_is_never_taken_for_one() {
        check("", Err("no stage was counted"));
        check("turns 10\nfeatures avx2", Err("no stage was counted"));
        check("stage 0 none head", Err("how many turns"));
        check("turns ten", Err("number of turns"));
        check("turns 10\nstage 0 maybe head", Err("is no stage"));
        check("turns 10\nstage none head", Err("is no stage"));
        check("thread 'main' panicked", Err("the stages said"));
    }

    #[test]
    fn each_stage_has_the_part_of_its_place_and_its_share_of_a_turn() {
        check(
            "turns 10\nfeatures aes avx2\nstage 0 none head\nstage 1.5 some sse/100 events\n",
            Ok(&[("head", 101, 0.0, true), ("sse/100 events", 201, 1.5, false)]),
        );
    }

    #[test]
    fn of_two_runs_each_stage_keeps_what_it_cost_less() {
        let run = |costs: [u64; 2]| {
            let stage =
                |(name, instructions): (&str, u64)| Stage { name: name.into(), instructions, ..Stage::default() };
            Counted { stages: ["a", "b"].into_iter().zip(costs).map(stage).collect(), ..Counted::default() }
        };
        assert_eq!(run([10, 20]).least(run([11, 19])).stages, run([10, 19]).stages);
    }

    #[test]
    fn a_part_without_instructions_says_that_the_function_was_not_found() {
        for (part, words) in [("events: Ir\n", "wrote no total"), ("totals: 0\n", "does not know a function")] {
            assert!(total(part).unwrap_err().to_string().contains(words), "part: {part}");
        }
        assert_eq!(total("summary: 5\n\ntotals: 4711\n").unwrap(), 4711);
    }
}
