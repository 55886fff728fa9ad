//! Judges a run. In: the checks the runner wrote, the list of what is scored. Out: a verdict a scenario, a table, JSON.
//! The runner calls a scenario without any check passed; here a pass needs a check of the scenario's own that succeeded.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a revision asks for.
pub enum Requirements {
    /// The list frozen when the revision was released.
    Frozen {
        /// Scenarios that count.
        scored: Vec<String>,
        /// Scenarios that run and do not count.
        unscored: Vec<String>,
    },
    /// Whatever the suite runs for the revision; all of it counts, and it is at least this many scenarios.
    Suite {
        /// Fewer would mean that the runner left some out.
        scenarios_min: usize,
    },
}

impl Requirements {
    /// Reads `requirements/REVISION.yaml`, whose shape is as frozen as its content: lists of plain scalars.
    pub fn frozen(yaml: &str) -> Self {
        let (mut scored, mut unscored) = (Vec::new(), Vec::new());
        let (mut section, mut scenario) = ("", "");
        for line in yaml.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
                section = name;
            } else if let Some(name) = line.strip_prefix("  - scenario: ") {
                scenario = name;
            } else if let (Some(name), "server") = (line.strip_prefix("  - "), section) {
                scored.push(name.to_owned());
            } else if (line, section) == ("    leg: server", "not_scored") {
                unscored.push(scenario.to_owned());
            }
        }
        Self::Frozen { scored, unscored }
    }

    /// What the suite runs for a revision without a frozen list.
    pub fn suite(revision: &str) -> Result<Self> {
        match revision {
            "2025-06-18" => Ok(Self::Suite { scenarios_min: 27 }),
            "2025-03-26" => Ok(Self::Suite { scenarios_min: 1 }),
            revision => bail!("the runner knows no server scenarios of revision `{revision}`"),
        }
    }
}

/// How one scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A check of its own succeeded and none failed.
    Passed,
    /// A check failed.
    Failed,
    /// Nothing failed because nothing was checked.
    Vacuous,
    /// The runner itself skipped it; not allowed for what is scored.
    Skipped,
    /// It did not run.
    Missing,
}

/// The checks of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// How it ended.
    pub verdict: Verdict,
    /// Checks that succeeded.
    pub passed: usize,
    /// Checks that failed.
    pub failed: usize,
    /// Checks that found a SHOULD unmet.
    pub warnings: usize,
    /// What the failed checks say.
    pub words: Vec<String>,
}

/// One run.
#[derive(Debug, Default)]
pub struct Results {
    scored: BTreeMap<String, Scenario>,
    unscored: BTreeMap<String, Scenario>,
    runner_failed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    error_message: Option<String>,
}

impl Results {
    /// Reads `FOLDER/server-SCENARIO-TIME/checks.json` of a run.
    pub fn read(folder: &Path, requirements: &Requirements) -> Result<Self> {
        let mut ran = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(scenario) = scenario_name(&name) else { continue };
            let file = entry.path().join("checks.json");
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
            let checks: Vec<Check> = serde_json::from_str(&text).with_context(|| format!("`{}`", file.display()))?;
            ran.insert(scenario.to_owned(), judged(&checks));
        }
        let mut take = |names: &[String]| -> BTreeMap<String, Scenario> {
            names.iter().map(|name| (name.clone(), ran.remove(name).unwrap_or_else(missing))).collect()
        };
        Ok(match requirements {
            Requirements::Frozen { scored, unscored } => {
                Self { scored: take(scored), unscored: take(unscored), runner_failed: false }
            }
            Requirements::Suite { scenarios_min } => {
                for absent in ran.len()..*scenarios_min {
                    ran.insert(format!("(absent scenario {absent})"), missing());
                }
                Self { scored: ran, ..Self::default() }
            }
        })
    }

    /// Takes the runner's own verdict into account.
    pub fn judged_by_runner(mut self, succeeded: bool) -> Self {
        self.runner_failed = !succeeded;
        self
    }

    /// What is wrong with the run, if anything is.
    pub fn fault(&self) -> Option<String> {
        // What is not scored counts with us all the same: it must not fail, though the runner may skip it.
        let lost: Vec<&str> = self
            .scored
            .iter()
            .filter(|(_, one)| one.verdict != Verdict::Passed)
            .chain(self.unscored.iter().filter(|(_, one)| one.verdict == Verdict::Failed))
            .map(|(name, _)| name.as_str())
            .collect();
        match (self.scored.len(), lost.as_slice()) {
            (0, _) => Some("no scenario was scored".to_owned()),
            (_, []) if self.runner_failed => Some("the runner failed although every scenario passed".to_owned()),
            (_, []) => None,
            (all, lost) => {
                Some(format!("{} of the scenarios ({all} scored) did not pass: {}", lost.len(), lost.join(", ")))
            }
        }
    }

    /// One line a scenario, and a sum.
    pub fn table(&self, revision: &str) -> String {
        let mut table =
            format!("{:<50} {:>8} {:>6} {:>6} {:>8}\n", revision, "verdict", "passed", "failed", "warnings");
        for (title, scenarios) in [("scored", &self.scored), ("not scored", &self.unscored)] {
            if scenarios.is_empty() {
                continue;
            }
            for (name, one) in scenarios {
                let verdict = format!("{:?}", one.verdict).to_lowercase();
                // Writing to a string cannot fail.
                let _ = writeln!(
                    table,
                    "  {name:<48} {verdict:>8} {:>6} {:>6} {:>8}",
                    one.passed, one.failed, one.warnings
                );
                for words in &one.words {
                    let _ = writeln!(table, "    {words}");
                }
            }
            let (passed, checks) = sums(scenarios);
            let _ = writeln!(table, "  {title}: {passed} of {} scenarios passed, {checks} checks", scenarios.len());
        }
        table
    }

    /// `{"scored", "passed", "scenarios": {name: …}, "unscored": {name: …}}`.
    pub fn json(&self) -> Value {
        let (passed, _) = sums(&self.scored);
        json!({"scored": self.scored.len(), "passed": passed, "scenarios": self.scored, "unscored": self.unscored})
    }
}

/// The scenario of a folder called `server-NAME-2026-11-23T06-59-16-488Z`.
fn scenario_name(folder: &str) -> Option<&str> {
    let name = folder.strip_prefix("server-")?;
    let (name, time) = name.split_at_checked(name.len().checked_sub(TIME_BYTES)?)?;
    time.ends_with('Z').then_some(name)?.strip_suffix('-')
}

fn judged(checks: &[Check]) -> Scenario {
    let count = |status: &str| checks.iter().filter(|check| check.status == status).count();
    let own = checks.iter().any(|check| check.status == "SUCCESS" && check.id != EVERYWHERE);
    let (passed, failed) = (count("SUCCESS"), count("FAILURE"));
    let verdict = match (failed, own) {
        (1.., _) => Verdict::Failed,
        (0, true) => Verdict::Passed,
        (0, false) if count("SKIPPED") > 0 => Verdict::Skipped,
        (0, false) => Verdict::Vacuous,
    };
    let loud = checks.iter().filter(|check| matches!(check.status.as_str(), "FAILURE" | "WARNING"));
    let words =
        loud.map(|check| format!("{}: {}", check.id, check.error_message.as_deref().unwrap_or("no words"))).collect();
    Scenario { verdict, passed, failed, warnings: count("WARNING"), words }
}

fn missing() -> Scenario {
    Scenario { verdict: Verdict::Missing, passed: 0, failed: 0, warnings: 0, words: Vec::new() }
}

fn sums(scenarios: &BTreeMap<String, Scenario>) -> (usize, usize) {
    let passed = scenarios.values().filter(|one| one.verdict == Verdict::Passed).count();
    (passed, scenarios.values().map(|one| one.passed).sum())
}

/// The check that every scenario brings along: what was sent fits the schema. It says nothing about the scenario.
const EVERYWHERE: &str = "wire-schema-valid";

/// The length of a time such as `2026-11-23T06-59-16-488Z`.
const TIME_BYTES: usize = 24;

#[cfg(test)]
mod tests;
