//! Measures side by side. In: the proxies, one load. Out: CPU per request of each, in one interleaved run, as a table and as
//! `bench/report.json` below the target folder.
//!
//! What is compared is the CPU time a proxy spends on a request, because on a shared machine nothing else is steady. The proxy has
//! CPU 1 for itself, the stub upstream and the load share CPU 0; subjects take turns, so that a slow minute hits all alike.

mod cpu;
pub mod prepare;
mod report;
mod round;
pub mod subject;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::needs::{self, Need};
use crate::place;
use crate::progress::Progress;
use subject::Subject;

/// Where stub and load run.
const LOAD_CPU: usize = 0;
/// Where the proxies run, one at a time.
const PROXY_CPU: usize = 1;

/// What `bench` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// 5 rounds of 2 seconds (this is the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// 7 rounds of 6 seconds
    #[arg(long)]
    full: bool,
    /// Only see that everything runs: one short round, no goal is judged
    #[arg(long)]
    smoke: bool,
    /// Rounds, instead of the above
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds a round, instead of the above
    #[arg(long)]
    seconds: Option<f64>,
    /// Other proxies to measure against
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Subject::Nginx, Subject::Haproxy])]
    against: Vec<Subject>,
    /// Exactly these subjects, whatever `--against` says
    #[arg(long, value_enum, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Connections kept open
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Fail when a goal is missed
    #[arg(long)]
    judge: bool,
}

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: u32,
    length: Duration,
    warm: Duration,
    connections: u32,
}

impl Args {
    /// The bench as a smoke test.
    pub fn smoke() -> Self {
        Self {
            quick: true,
            full: false,
            smoke: true,
            rounds: None,
            seconds: None,
            against: vec![Subject::Nginx, Subject::Haproxy],
            subjects: Vec::new(),
            connections: 16,
            judge: false,
        }
    }

    fn plan(&self) -> Result<Plan> {
        let (rounds, seconds, warm) = match (self.smoke, self.full) {
            (true, _) => (1, 0.3, 0.1),
            (false, true) => (7, 6.0, 1.0),
            (false, false) => (5, 2.0, 0.5),
        };
        let (rounds, seconds) = (self.rounds.unwrap_or(rounds), self.seconds.unwrap_or(seconds));
        if rounds == 0 || seconds <= 0.0 || self.connections == 0 {
            bail!("rounds, seconds and connections are above zero");
        }
        let (length, warm) = (Duration::from_secs_f64(seconds), Duration::from_secs_f64(warm));
        Ok(Plan { rounds, length, warm, connections: self.connections })
    }

    fn subjects(&self) -> Vec<Subject> {
        if !self.subjects.is_empty() {
            return self.subjects.clone();
        }
        let mut subjects = vec![Subject::Portcullis, Subject::PortcullisPass];
        subjects.extend(&self.against);
        subjects.push(Subject::Direct);
        subjects
    }
}

/// Builds, starts, measures and reports.
///
/// # Errors
/// When something that was asked for cannot run, answers with errors, or, with `--judge`, misses a goal.
pub fn run(args: &Args) -> Result<()> {
    let plan = args.plan()?;
    let wanted = args.subjects();
    if std::thread::available_parallelism()?.get() <= PROXY_CPU {
        bail!("the bench needs two CPUs: one for the proxy, one for load and upstream");
    }
    let needs: Vec<Need> = wanted.iter().filter_map(|subject| subject.need()).collect();
    needs::ensure(&needs)?;
    needs::ensure(&[Need { program: "taskset", probe: &[], package: "util-linux" }])?;
    let folder = place::target()?.join("bench");
    let scene = prepare::scene(&folder, &wanted, plan.connections)?;
    let progress = Progress::begin(u64::from(plan.rounds) * u64::try_from(scene.proxies.len())?);
    let mut rounds = Vec::new();
    for index in 0..plan.rounds {
        // Each round starts with another subject, so that none always follows the same neighbour.
        let mut order: Vec<&subject::Proxy> = scene.proxies.iter().collect();
        let first = usize::try_from(index)? % order.len();
        order.rotate_left(first);
        for proxy in order {
            progress.step(&format!("{}, round {}", proxy.subject.name(), index + 1));
            rounds.push(round::measure(&scene, proxy, &plan, index)?);
        }
    }
    drop(progress);
    let report = report::Report::new(rounds, &scene, &plan);
    report.write(&folder.join("report.json"))?;
    report.print();
    println!("\nwritten to {}", folder.join("report.json").display());
    if args.judge && report.missed() {
        bail!("a goal is missed");
    }
    Ok(())
}
