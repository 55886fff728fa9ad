//! Sums up. In: rounds. Out: medians, ratios to nginx, goals; a table and a JSON file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::Plan;
use super::prepare::Scene;
use super::round::Round;
use super::subject::Subject;
use crate::process;

/// Medians of one subject. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    cpu_us: Option<f64>,
    cpu_path_us: Option<f64>,
    rps: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    rss_kib: Option<f64>,
    cpu_us_min: Option<f64>,
    cpu_us_max: Option<f64>,
    rounds: usize,
}

/// A goal and how far it was reached.
#[derive(Clone, Debug, Serialize)]
struct Goal {
    what: &'static str,
    at_most: f64,
    ratio: f64,
    reached: bool,
}

/// The whole run.
pub struct Report {
    rounds: Vec<Round>,
    summaries: BTreeMap<&'static str, Summary>,
    goals: Vec<Goal>,
    context: Value,
}

impl Report {
    /// Sums the rounds up.
    pub fn new(rounds: Vec<Round>, scene: &Scene, plan: &Plan) -> Self {
        let mut summaries = BTreeMap::new();
        for proxy in &scene.proxies {
            let name = proxy.subject.name();
            let own: Vec<&Round> = rounds.iter().filter(|round| round.subject == name).collect();
            summaries.insert(name, summarize(&own));
        }
        let goals = goals(&summaries);
        let subjects: Vec<Subject> = scene.proxies.iter().map(|proxy| proxy.subject).collect();
        let context = json!({
            "machine": machine(),
            "versions": versions(&subjects),
            "plan": {
                "rounds": plan.rounds,
                "seconds": plan.length.as_secs_f64(),
                "warm_seconds": plan.warm.as_secs_f64(),
                "connections": plan.connections,
            },
        });
        Self { rounds, summaries, goals, context }
    }

    /// Writes everything, every round with it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut whole = json!({
            "summary": { "plain_small": self.summaries },
            "goals": self.goals,
            "rounds": self.rounds,
        });
        if let (Some(whole), Some(context)) = (whole.as_object_mut(), self.context.as_object()) {
            whole.extend(context.clone());
        }
        fs::write(path, serde_json::to_string_pretty(&whole)?)
            .with_context(|| format!("`{}` cannot be written", path.display()))
    }

    /// Prints the table and the goals.
    pub fn print(&self) {
        println!(
            "\n{:<16} {:>11} {:>17} {:>12} {:>8} {:>9} {:>9} {:>9} {:>9}",
            "subject", "cpu us/req", "min - max", "path us/req", "x nginx", "rps", "p50 us", "p99 us", "RSS KiB"
        );
        let nginx = self.summaries.get(Subject::Nginx.name()).and_then(|nginx| nginx.cpu_us);
        for (name, summary) in &self.summaries {
            let ratio = summary.cpu_us.zip(nginx).map(|(own, nginx)| own / nginx);
            let range = summary.cpu_us_min.zip(summary.cpu_us_max).map(|(min, max)| format!("{min:.2} - {max:.2}"));
            println!(
                "{name:<16} {:>11} {:>17} {:>12} {:>8} {:>9} {:>9} {:>9} {:>9}",
                shown(summary.cpu_us, 2),
                range.unwrap_or_else(|| "-".to_owned()),
                shown(summary.cpu_path_us, 2),
                shown(ratio, 2),
                summary.rps.map_or_else(|| "void".to_owned(), |rps| format!("{rps:.0}")),
                shown(summary.p50_us, 0),
                shown(summary.p99_us, 0),
                shown(summary.rss_kib, 0),
            );
        }
        for goal in &self.goals {
            let verdict = if goal.reached { "reached" } else { "MISSED" };
            println!("{verdict}: {} {:.2} x nginx, at most {:.2}", goal.what, goal.ratio, goal.at_most);
        }
    }

    /// Whether a goal that could be judged was missed.
    pub fn missed(&self) -> bool {
        self.goals.iter().any(|goal| !goal.reached)
    }
}

fn shown(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
}

fn summarize(rounds: &[&Round]) -> Summary {
    let all =
        |of: &dyn Fn(&Round) -> Option<f64>| -> Vec<f64> { rounds.iter().filter_map(|round| of(round)).collect() };
    let cpu = all(&|round| round.cpu_us);
    Summary {
        cpu_us: median(&cpu),
        cpu_path_us: median(&all(&|round| round.cpu_path_us)),
        rps: median(&all(&|round| round.rps)),
        p50_us: median(&all(&|round| Some(round.p50_us))),
        p99_us: median(&all(&|round| Some(round.p99_us))),
        rss_kib: median(&all(&|round| round.rss_kib.map(|kib| kib as f64))),
        cpu_us_min: cpu.iter().copied().reduce(f64::min),
        cpu_us_max: cpu.iter().copied().reduce(f64::max),
        rounds: rounds.len(),
    }
}

/// The middle value; between the two middle ones where there is none. Nothing has no median.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    match values.len() % 2 {
        1 => Some(upper),
        _ => values.get(values.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper)),
    }
}

/// With every check on, against nginx with none.
fn goals(summaries: &BTreeMap<&'static str, Summary>) -> Vec<Goal> {
    let of = |subject: Subject| summaries.get(subject.name());
    let (Some(own), Some(nginx)) = (of(Subject::Portcullis), of(Subject::Nginx).and_then(|nginx| nginx.cpu_us)) else {
        return Vec::new();
    };
    let goal = |what, at_most, cpu: Option<f64>| {
        let ratio = cpu? / nginx;
        Some(Goal { what, at_most, ratio, reached: ratio <= at_most })
    };
    [goal("cpu on the path", 0.8, own.cpu_path_us), goal("cpu in total", 1.0, own.cpu_us)]
        .into_iter()
        .flatten()
        .collect()
}

fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cpus": std::thread::available_parallelism().ok().map(std::num::NonZero::get),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").trim(),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    })
}

fn versions(subjects: &[Subject]) -> Value {
    let mut versions = serde_json::Map::new();
    for subject in subjects {
        if let Some(version) = subject.version() {
            versions.insert(subject.name().to_owned(), json!(version));
        }
    }
    versions.insert("rustc".to_owned(), json!(process::first_line("rustc", &["-V"]).ok()));
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    versions.insert("commit".to_owned(), json!(commit));
    Value::Object(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_nothing_has_none() {
        let rows: [(&[f64], Option<f64>); 4] =
            [(&[], None), (&[3.0], Some(3.0)), (&[9.0, 1.0], Some(5.0)), (&[9.0, 1.0, 2.0], Some(2.0))];
        for (values, expected) in rows {
            assert_eq!(median(values), expected, "median of {values:?}");
        }
    }

    #[test]
    fn goals_are_judged_only_where_both_sides_were_measured() {
        let summary = |cpu, path| Summary {
            cpu_us: Some(cpu),
            cpu_path_us: Some(path),
            rps: None,
            p50_us: None,
            p99_us: None,
            rss_kib: None,
            cpu_us_min: None,
            cpu_us_max: None,
            rounds: 1,
        };
        assert!(goals(&BTreeMap::from([("portcullis", summary(1.0, 1.0))])).is_empty());
        let judged = goals(&BTreeMap::from([("portcullis", summary(10.5, 7.9)), ("nginx", summary(10.0, 10.0))]));
        let reached: Vec<bool> = judged.iter().map(|goal| goal.reached).collect();
        assert_eq!(reached, [true, false], "0.79 on the path reaches 0.8, 1.05 in total misses 1.0");
    }
}
