//! Reports. In: what was found. Out: `report.json` with every round, `report.md`, `report.html`, a table on the terminal. Never here: measuring.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::course::{self, Leg};
use super::data::Round;
use super::goals::{self, Goal};
use super::subject::Subject;
use super::sums::{self, Measure, PlanSums};
use super::third::ThirdParty;
use super::tour::{Found, Saturation};
use super::{html, machine, markdown, words};
use crate::process;

/// The whole run.
pub struct Report {
    /// What was measured, in order.
    pub legs: Vec<Leg>,
    /// Rounds of the plans.
    pub rounds: Vec<Round>,
    /// Rounds beside them, for plots.
    pub beside: Vec<Round>,
    /// Medians, by plan and subject.
    pub sums: BTreeMap<String, PlanSums>,
    /// Every goal that could be judged.
    pub goals: Vec<Goal>,
    /// What haproxy bears, where it was asked.
    pub saturation: Option<Saturation>,
    /// Plans that failed, and why.
    pub failures: Vec<(String, String)>,
    /// Configurations by subject.
    pub configurations: Vec<(String, String)>,
    /// Where it was measured.
    pub machine: Value,
    /// With what.
    pub versions: Value,
    /// When it ended (UTC), and how many seconds it took.
    pub when: (String, u64),
}

impl Report {
    /// Sums up what was found.
    pub fn new(found: Found, legs: &[Leg], third: Option<&ThirdParty>, took: Duration) -> Self {
        let of = |name: &str| -> Vec<&Round> { found.rounds.iter().filter(|round| round.plan == name).collect() };
        let failed: Vec<&str> = found.failures.iter().map(|(name, _)| name.as_str()).collect();
        let sums: BTreeMap<String, PlanSums> = legs
            .iter()
            .filter(|leg| !failed.contains(&&*leg.name))
            .map(|leg| (leg.name.clone(), sums::plan(&of(&leg.name))))
            .collect();
        let mut subjects: Vec<Subject> = sums.values().flat_map(BTreeMap::keys).copied().collect();
        subjects.sort_unstable();
        subjects.dedup();
        let mut versions = machine::versions(&subjects);
        if let (Some(third), Some(versions)) = (third, versions.as_object_mut()) {
            versions.insert(Subject::ThirdParty.name().to_owned(), json!(third.url));
        }
        let when = process::first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
        Self {
            goals: goals::judge(&sums, &failed),
            legs: legs.to_vec(),
            sums,
            rounds: found.rounds,
            beside: found.beside,
            saturation: found.saturation,
            failures: found.failures,
            configurations: found.configurations,
            machine: machine::machine(),
            versions,
            when: (when, took.as_secs()),
        }
    }

    /// Writes everything, every round with it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("`{}` cannot be written", file.display()))
        };
        write("report.json", serde_json::to_string_pretty(&self.json())?)?;
        write("report.md", markdown::page(self))?;
        write("report.html", html::page(self))
    }

    fn json(&self) -> Value {
        let summary: Map<String, Value> = self
            .sums
            .iter()
            .map(|(plan, sums)| {
                let sums = sums.iter().map(|(subject, summary)| (subject.name().to_owned(), summary.json()));
                (plan.clone(), Value::Object(sums.collect()))
            })
            .collect();
        let plans: Map<String, Value> = self
            .legs
            .iter()
            .map(|leg| {
                let (seconds, warm) = (leg.length.as_secs_f64(), leg.warm.as_secs_f64());
                let plan = json!({ "plan": leg.plan, "rounds": leg.rounds, "seconds": seconds, "warm_seconds": warm });
                (leg.name.clone(), plan)
            })
            .collect();
        let saturation = self.saturation.as_ref().map(|found| json!({ "rps": found.rps, "rounds": found.rounds }));
        let configurations: Map<String, Value> =
            self.configurations.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let failures: Map<String, Value> =
            self.failures.iter().map(|(plan, cause)| (plan.clone(), json!(cause))).collect();
        json!({
            "summary": summary,
            "goals": self.goals,
            "failures": failures,
            "plans": plans,
            "machine": self.machine,
            "versions": self.versions,
            "ended": self.when.0,
            "took_seconds": self.when.1,
            "saturation": saturation,
            "does_not_show": words::NOT_SHOWN,
            "rounds": self.rounds,
            "rounds_for_plots": self.beside,
            "configurations": configurations,
        })
    }

    /// Prints the tables and the goals.
    pub fn print(&self) {
        for leg in &self.legs {
            let Some(sums) = self.sums.get(&leg.name) else { continue };
            println!("\n{}: {}", leg.name, leg.plan.about);
            print!("{}", words::plan(leg, sums).plain());
        }
        if !self.goals.is_empty() {
            println!();
        }
        for (plan, cause) in &self.failures {
            println!("FAILED: {plan}: {cause}");
        }
        for goal in &self.goals {
            println!("{}", words::goal(goal));
        }
    }

    /// Whether a goal was missed, or could not be judged.
    pub fn missed(&self) -> bool {
        self.goals.iter().any(|goal| !goal.reached)
    }

    /// What a small call with everything on costs on the path, as a part of what nginx spends on it.
    pub fn against_nginx(&self) -> Option<f64> {
        let small = self.sums.get(course::QUICK)?;
        let median = |subject: Subject, measure| small.get(&subject)?.median(measure);
        Some(median(Subject::Portcullis, Measure::CpuPath)? / median(Subject::Nginx, Measure::Cpu)?)
    }
}

#[cfg(test)]
pub mod tests {
    use portcullis_loadtest::plan::{Kind, Pace, Plan};

    use super::*;
    use crate::bench::course::Further;
    use crate::bench::data::Held;

    /// A report of three plans with made-up numbers.
    pub fn example() -> Report {
        let text = "about = \"a <small> call\"\nkind = \"calls\"\ntransport = \"cleartext\"\nconnections = 64\n";
        let plan = |kind, pace| Plan { kind, pace, ..Plan::parse(text, "p.toml").unwrap() };
        let leg = |name: &str, plan: Plan| Leg {
            name: name.to_owned(),
            plan,
            subjects: Vec::new(),
            rounds: 1,
            length: Duration::from_secs(1),
            warm: Duration::ZERO,
            further: Further::Nothing,
        };
        let legs = [
            leg("plain_small", plan(Kind::Calls, Pace::Closed)),
            leg("open_loop_half", plan(Kind::Calls, Pace::OfSaturation(0.5))),
            leg("idle", plan(Kind::Idle, Pace::Closed)),
        ];
        let call = |subject: Subject, cpu: f64| Round {
            plan: "plain_small".to_owned(),
            subject: subject.name(),
            cpu_us: Some(cpu),
            cpu_path_us: Some(cpu - 1.0),
            p50_us: Some(100.0),
            ..Round::default()
        };
        let open = |subject: Subject, rate: f64| Round {
            plan: "open_loop_half".to_owned(),
            subject: subject.name(),
            rate: Some(rate),
            of_saturation: Some(0.5),
            p50_us: Some(100.0),
            p99_us: Some(900.0),
            percentiles: vec![(50.0, 100.0), (99.0, 900.0)],
            ..Round::default()
        };
        let held = Held {
            connections: 1000,
            answered: 1000,
            with_kib: Some(9000),
            before_kib: Some(7000),
            bytes_each: Some(2048.0),
            ..Held::default()
        };
        let idle = Round { plan: "idle".to_owned(), subject: "portcullis", held: Some(held), ..Round::default() };
        let found = Found {
            rounds: vec![
                call(Subject::Portcullis, 11.0),
                call(Subject::Nginx, 10.0),
                open(Subject::Portcullis, 1000.0),
                idle,
            ],
            beside: vec![open(Subject::Portcullis, 2000.0)],
            configurations: vec![("nginx over clear text".to_owned(), "worker_processes 1; # <1>\n".to_owned())],
            failures: vec![("workers".to_owned(), "it did not <start>".to_owned())],
            saturation: None,
        };
        Report::new(found, &legs, None, Duration::from_secs(61))
    }

    #[test]
    fn the_report_has_the_keys_that_its_readers_rely_on() {
        let json = example().json();
        let own = &json["summary"]["plain_small"]["portcullis"];
        assert_eq!((&own["cpu_us"], &own["cpu_path_us"], &own["rps"]), (&json!(11.0), &json!(10.0), &Value::Null));
        assert_eq!(json["summary"]["idle"]["portcullis"]["bytes_each"], 2048.0);
        assert_eq!(json["rounds"].as_array().unwrap().len(), 4, "every round is kept");
        assert!(!json["does_not_show"].as_array().unwrap().is_empty());
    }

    #[test]
    fn a_missed_goal_stands_among_the_others() {
        let report = example();
        assert!(report.missed());
        let verdicts: Vec<(&str, bool)> = report.goals.iter().map(|goal| (goal.what, goal.reached)).collect();
        assert!(verdicts.contains(&("CPU per call in total, everything on", false)), "{verdicts:?}");
        assert!(verdicts.contains(&("user memory of an idle connection, clear text", true)), "{verdicts:?}");
    }
}
