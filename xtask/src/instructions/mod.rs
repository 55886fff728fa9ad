//! Counts the instructions of each stage of a call and holds them to what is written down. In: the stages of `benches/`, the file
//! `benches/instructions.toml`. Out: a table, and an error naming each stage that has grown dearer. Never here: time; no clock is asked, so
//! neighbours on the machine change nothing.
//!
//! Callgrind emulates a CPU that has AVX2 but neither AVX-512 nor SHA-NI, whatever it runs on, so hashes and signatures cost here what they cost on
//! such a CPU. The numbers compare a stage with itself; they are no time.

mod compare;
mod count;
mod functions;
mod ledger;

use anyhow::{Result, bail};

use self::compare::{Change, Comparison, Judgement};
use self::count::{Counted, Options};
use self::ledger::Ledger;
use crate::needs::{self, Need};

/// What counting calls, beyond cargo.
const NEEDS: [Need; 1] = [Need { program: "valgrind", probe: &[], package: "valgrind" }];

/// How often a stage that is dearer is counted again.
const RECOUNTS: usize = 2;

/// Functions shown of a stage.
const FUNCTIONS_SHOWN: usize = 40;

/// The stage that is made dearer to see that the gate notices: no other is as cheap and as steady.
const CONTROL: &str = "head";

/// What to count.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Write down what was counted where it differs, with this reason
    #[arg(long, value_name = "WHY")]
    accept: Option<String>,
    /// Show in which functions a stage spends its instructions, instead of judging
    #[arg(long, value_name = "STAGE", conflicts_with = "accept")]
    functions: Option<String>,
    /// Make a stage a twentieth dearer, to see that the gate notices
    #[arg(long, value_name = "STAGE", hide = true, conflicts_with = "accept")]
    dearer: Option<String>,
}

/// Counts and compares.
///
/// # Errors
/// When a stage is dearer than is written down, allocates although it promises not to, is not written down, or cannot be counted.
pub fn run(args: &Args) -> Result<()> {
    needs::ensure(&NEEDS)?;
    if let Some(stage) = &args.functions {
        let counted = count::count(&Options { only: Some(stage), dearer: None })?;
        return functions::show(&counted, FUNCTIONS_SHOWN);
    }
    let ledger = Ledger::read()?;
    let (counted, comparison) = settled(&ledger, &Options { only: None, dearer: args.dearer.as_deref() })?;
    print!("{}", comparison.table());
    if let Some(why) = &args.accept {
        let next = ledger.accept(&comparison, &counted, why)?;
        return next.write();
    }
    judge(&comparison)
}

/// Counts, compares, and proves that a stage which is a twentieth dearer would be noticed.
///
/// # Errors
/// As [`run`], or when it was not noticed.
pub fn prove() -> Result<()> {
    run(&Args::default())?;
    let counted = count::count(&Options { only: Some(CONTROL), dearer: Some(CONTROL) })?;
    let comparison = compare::compare(&Ledger::read()?, &counted);
    let told = comparison.rows.iter().filter(|row| row.name == CONTROL).find_map(compare::offence);
    match (comparison.judgement, told) {
        (Judgement::Impossible(_), _) => println!("whether a dearer stage is noticed could not be tried either"),
        (Judgement::Possible, Some(told)) => println!("made a twentieth dearer on purpose, and noticed: {told}"),
        (Judgement::Possible, None) => bail!("stage `{CONTROL}` was made a twentieth dearer and nobody noticed"),
    }
    Ok(())
}

/// Counts, and where a stage is dearer counts again: seeds of hash tables are drawn anew in each run, and a slot that is taken costs some eight
/// instructions more, which is much of a stage of a few hundred. Chance only adds, so the least is what a stage costs.
fn settled(ledger: &Ledger, options: &Options<'_>) -> Result<(Counted, Comparison)> {
    let mut counted = count::count(options)?;
    let mut comparison = compare::compare(ledger, &counted);
    for _ in 0..RECOUNTS {
        let is_dearer = comparison.rows.iter().any(|row| matches!(row.change, Change::Dearer(_)));
        if !is_dearer || !comparison.is_judged() {
            break;
        }
        counted = counted.least(count::count(options)?);
        comparison = compare::compare(ledger, &counted);
    }
    Ok((counted, comparison))
}

/// What the comparison comes to.
fn judge(comparison: &Comparison) -> Result<()> {
    let allocating: Vec<String> = comparison.allocating().map(compare::allocates).collect();
    if !allocating.is_empty() {
        bail!("{}", allocating.join("\n"));
    }
    if let Judgement::Impossible(why) = &comparison.judgement {
        println!("\nWARNING: NOTHING WAS JUDGED. {why}");
        println!("state the numbers anew: cargo xtask instructions --accept \"why they differ\"");
        return Ok(());
    }
    let offences: Vec<String> = comparison.rows.iter().filter_map(compare::offence).collect();
    if !offences.is_empty() {
        bail!(
            "{}\nif the change is worth it, say why: cargo xtask instructions --accept \"WHY\"; if not, \
             `cargo xtask instructions --functions STAGE` shows where they go",
            offences.join("\n")
        );
    }
    if comparison.rows.iter().any(|row| matches!(row.change, Change::Cheaper(_))) {
        println!(
            "some stages are cheaper than written down; hold them there: cargo xtask instructions --accept \"WHY\""
        );
    }
    Ok(())
}
