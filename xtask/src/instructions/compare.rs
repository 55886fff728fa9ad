//! Holds what was counted against what is written down. In: both. Out: how each stage differs, or why nothing can be said. Never here: IO.

use std::fmt::Write;

use super::count::{Counted, Stage};
use super::ledger::Ledger;

/// More than this much more fails, in percent: less is what a moved branch in a library call makes.
pub const TOLERANCE_PERCENT: u64 = 2;

/// How a stage differs from what is written down, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// By no more than the tolerance.
    Same(f64),
    /// It costs more.
    Dearer(f64),
    /// It costs less.
    Cheaper(f64),
    /// It is not written down.
    New,
    /// It is written down and was not counted.
    Gone,
}

/// One stage, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What is written down; 0 for nothing.
    pub before: u64,
    /// What was counted; 0 for nothing.
    pub instructions: u64,
    /// What it allocates.
    pub allocations: f64,
    /// Whether it promised to allocate nothing.
    pub promises_none: bool,
    /// How it differs.
    pub change: Change,
}

/// Whether the numbers can be held against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// They were made by the same compiler, for the same CPU.
    Possible,
    /// They were not, as these words say.
    Impossible(String),
}

/// All stages, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Whether the changes mean anything.
    pub judgement: Judgement,
    /// The stages, in the order of a call; those that are gone last.
    pub rows: Vec<Row>,
}

/// Compares.
pub fn compare(ledger: &Ledger, counted: &Counted) -> Comparison {
    let mut rows: Vec<Row> = counted.stages.iter().map(|stage| row(ledger, stage)).collect();
    let is_counted = |name: &str| counted.stages.iter().any(|stage| stage.name == name);
    rows.extend(ledger.entries.iter().filter(|entry| !is_counted(&entry.name)).map(|entry| Row {
        name: entry.name.clone(),
        before: entry.instructions,
        instructions: 0,
        allocations: 0.0,
        promises_none: false,
        change: Change::Gone,
    }));
    Comparison { judgement: judgement(ledger, counted), rows }
}

fn judgement(ledger: &Ledger, counted: &Counted) -> Judgement {
    let pairs = [
        ("compiler", &ledger.rustc, &counted.rustc),
        ("CPU that callgrind emulates", &ledger.features, &counted.features),
    ];
    let other = pairs.into_iter().find(|(_, written, here)| written != here && !ledger.entries.is_empty());
    other.map_or(Judgement::Possible, |(what, written, here)| {
        Judgement::Impossible(format!(
            "another {what}: the numbers written down are of `{written}`, these are of `{here}`, so they cannot be compared"
        ))
    })
}

fn row(ledger: &Ledger, stage: &Stage) -> Row {
    let before = ledger.entry(&stage.name).map_or(0, |entry| entry.instructions);
    Row {
        name: stage.name.clone(),
        before,
        instructions: stage.instructions,
        allocations: stage.allocations,
        promises_none: stage.promises_none,
        change: change(before, stage.instructions),
    }
}

fn change(before: u64, now: u64) -> Change {
    if before == 0 {
        return Change::New;
    }
    let percent = (now as f64 / before as f64 - 1.0) * 100.0;
    // In whole numbers: exactly the tolerance passes.
    if now * 100 > before * (100 + TOLERANCE_PERCENT) {
        Change::Dearer(percent)
    } else if now * 100 < before * (100 - TOLERANCE_PERCENT) {
        Change::Cheaper(percent)
    } else {
        Change::Same(percent)
    }
}

/// Why a stage fails, where it does.
pub fn offence(row: &Row) -> Option<String> {
    let Row { name, before, instructions, .. } = row;
    match row.change {
        Change::Dearer(percent) => Some(format!(
            "stage `{name}` costs {instructions} instructions, {percent:.1} % more than the {before} written down"
        )),
        Change::New => Some(format!("stage `{name}` costs {instructions} instructions and is not written down")),
        Change::Gone => Some(format!("stage `{name}` is written down with {before} instructions and is no more")),
        Change::Same(_) | Change::Cheaper(_) => None,
    }
}

/// That a stage breaks its promise.
pub fn allocates(row: &Row) -> String {
    format!("stage `{}` promises to allocate nothing and makes {} allocations a turn", row.name, row.allocations)
}

impl Comparison {
    /// Whether the changes mean anything.
    pub fn is_judged(&self) -> bool {
        self.judgement == Judgement::Possible
    }

    /// The stages that break their promise.
    pub fn allocating(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.promises_none && row.allocations > 0.0)
    }

    /// A line for each stage.
    pub fn table(&self) -> String {
        let mut table =
            format!("{:<22} {:>12} {:>12} {:>12}  change\n", "stage", "instructions", "written down", "allocations");
        for row in &self.rows {
            let change = match row.change {
                Change::Same(percent) | Change::Dearer(percent) | Change::Cheaper(percent) => {
                    format!("{percent:+.2} %")
                }
                Change::New => "new".to_owned(),
                Change::Gone => "gone".to_owned(),
            };
            let _ = writeln!(
                table,
                "{:<22} {:>12} {:>12} {:>12}  {change}",
                row.name, row.instructions, row.before, row.allocations
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::ledger::Entry;

    fn ledger(entries: &[(&str, u64)]) -> Ledger {
        let entry = |(name, instructions): &(&str, u64)| Entry {
            name: (*name).into(),
            instructions: *instructions,
            why: "first".into(),
        };
        Ledger { rustc: "rustc 1".into(), features: "avx2".into(), entries: entries.iter().map(entry).collect() }
    }

    fn counted(stages: &[(&str, u64)]) -> Counted {
        let stage = |(name, instructions): &(&str, u64)| Stage {
            name: (*name).into(),
            instructions: *instructions,
            ..Stage::default()
        };
        Counted { rustc: "rustc 1".into(), features: "avx2".into(), stages: stages.iter().map(stage).collect() }
    }

    fn check(written: &[(&str, u64)], found: &[(&str, u64)], offences: &[&str]) {
        let comparison = compare(&ledger(written), &counted(found));
        let told: Vec<String> = comparison.rows.iter().filter_map(offence).collect();
        assert_eq!(told, offences, "written: {written:?}, found: {found:?}");
    }

    #[test]
    fn more_than_the_tolerance_more_fails_and_names_stage_before_after_and_percent() {
        check(
            &[("head", 1000), ("body", 1000)],
            &[("head", 1021), ("body", 1020)],
            &["stage `head` costs 1021 instructions, 2.1 % more than the 1000 written down"],
        );
    }

    #[test]
    fn a_stage_that_only_one_side_knows_fails() {
        check(&[], &[("head", 7)], &["stage `head` costs 7 instructions and is not written down"]);
        check(&[("head", 7)], &[], &["stage `head` is written down with 7 instructions and is no more"]);
    }

    #[test]
    fn less_and_no_more_than_the_tolerance_more_pass() {
        check(&[("a", 1000), ("b", 1000), ("c", 1000)], &[("a", 1020), ("b", 980), ("c", 10)], &[]);
    }

    #[test]
    fn numbers_of_another_compiler_or_cpu_are_not_judged_and_say_so() {
        let written = ledger(&[("head", 1000)]);
        for other in [
            Counted { rustc: "rustc 2".into(), ..counted(&[("head", 9)]) },
            Counted { features: "sse4.2".into(), ..counted(&[("head", 9)]) },
        ] {
            let Judgement::Impossible(why) = compare(&written, &other).judgement else { panic!("{other:?}") };
            assert!(why.contains("cannot be compared"), "{why}");
        }
        assert_eq!(compare(&written, &counted(&[("head", 9)])).judgement, Judgement::Possible);
        // There is nothing to compare with yet.
        assert_eq!(compare(&Ledger::default(), &counted(&[("head", 9)])).judgement, Judgement::Possible);
    }

    #[test]
    fn a_promise_that_is_broken_by_one_allocation_in_many_turns_is_named() {
        let mut found = counted(&[("head", 1000), ("token", 1000)]);
        for (stage, promises_none) in found.stages.iter_mut().zip([true, false]) {
            (stage.allocations, stage.promises_none) = (0.02, promises_none);
        }
        let comparison = compare(&ledger(&[("head", 1000)]), &found);
        let told: Vec<String> = comparison.allocating().map(allocates).collect();
        assert_eq!(told, ["stage `head` promises to allocate nothing and makes 0.02 allocations a turn"]);
    }

    #[test]
    fn accepting_moves_only_what_left_the_tolerance_so_that_small_steps_add_up_in_sight() {
        let (written, found) =
            (ledger(&[("a", 1000), ("b", 1000), ("gone", 5)]), counted(&[("a", 1019), ("b", 1500), ("c", 3)]));
        let comparison = compare(&written, &found);
        assert!(written.accept(&comparison, &found, " ").is_err());
        let next = written.accept(&comparison, &found, "b checks more").unwrap();
        let told: Vec<_> = next.entries.iter().map(|entry| (&*entry.name, entry.instructions, &*entry.why)).collect();
        assert_eq!(told, [("a", 1000, "first"), ("b", 1500, "b checks more"), ("c", 3, "b checks more")]);
        // Under another compiler every number is stated anew.
        let other = Counted { rustc: "rustc 2".into(), ..counted(&[("a", 1001)]) };
        let next = written.accept(&compare(&written, &other), &other, "rustc 2").unwrap();
        assert_eq!((&*next.rustc, next.entries[0].instructions, &*next.entries[0].why), ("rustc 2", 1001, "rustc 2"));
    }
}
