//! Measures side by side. In: plans of load, proxies. Out: CPU time, latency and memory of each, in one interleaved run, as `bench/report.json`, `.md` and
//! `.html` below the target folder.
//!
//! What is judged is the CPU time a proxy spends on a call, because on a shared machine nothing else is steady. The proxy has
//! CPU 1 for itself, the stub upstream and the load share CPU 0; subjects take turns, so that a slow minute hits all alike.

mod data;
mod cpu;
mod memory;
mod papers;
pub mod subject;
mod third;
mod launch;
mod course;
pub mod prepare;
mod generator;
mod round;
mod held;
mod sums;
mod tour;
mod goals;
mod machine;
mod plot;
mod figures;
mod report;
mod words;
mod markdown;
mod html;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::Pace;

use crate::needs::{self, Need};
use crate::place;
use course::{Effort, Leg, Scope};
use prepare::{Build, Stage};
use subject::{Family, Subject};
use third::{Against, ThirdParty};
use tour::{Found, Tour};

/// Where stub and load run.
const LOAD_CPU: usize = 0;
/// Where the proxies run, one at a time.
const PROXY_CPU: usize = 1;

/// What `bench` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Small calls only, 5 rounds of 2 seconds (this is the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every plan, 5 rounds of 1.5 seconds each, and what plots want beside them; about 20 minutes
    #[arg(long)]
    full: bool,
    /// Exactly these plans of `loadtest/plans`, and `workers`
    #[arg(long, value_delimiter = ',')]
    plans: Vec<String>,
    /// Rounds, instead of the above
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds a round, instead of the above
    #[arg(long)]
    seconds: Option<f64>,
    /// Other proxies to measure against: `nginx`, `haproxy`, or the URL of a gateway that runs already
    #[arg(long, value_delimiter = ',', default_values = ["nginx", "haproxy"])]
    against: Vec<Against>,
    /// The process whose CPU time and memory are those of that gateway, its children with it; without it only latencies are measured
    #[arg(long)]
    pid: Option<u32>,
    /// Bearer tokens that that gateway believes, one a line
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Port of the stub upstream, for a gateway that must be configured before
    #[arg(long, default_value_t = 0)]
    stub_port: u16,
    /// Exactly these subjects, of those that a plan names; whatever `--against` says
    #[arg(long, value_enum, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Connections, instead of what the plans say
    #[arg(long)]
    connections: Option<u32>,
    /// Fail when a goal is missed
    #[arg(long)]
    judge: bool,
    /// Fail when a small call with everything on costs more than so many times what nginx spends on it
    #[arg(long)]
    within: Option<f64>,
    /// How what is measured is built
    #[arg(long, value_enum, default_value_t = Build::Release)]
    build: Build,
}

impl Args {
    /// What guards every change: few short rounds, whose bound is wide enough for a noisy machine and too narrow for a slip.
    pub fn guard() -> Self {
        Self {
            quick: true,
            full: false,
            plans: Vec::new(),
            rounds: Some(3),
            seconds: Some(1.0),
            against: vec![Against::Ours(Subject::Nginx)],
            pid: None,
            token_file: None,
            stub_port: 0,
            subjects: vec![Subject::Portcullis, Subject::PortcullisPass, Subject::Nginx],
            connections: None,
            judge: false,
            within: Some(1.6),
            build: Build::Differential,
        }
    }

    fn effort(&self) -> Result<Effort> {
        let (rounds, seconds, warm_seconds) = if self.full { (5, 1.5, 0.4) } else { (5, 2.0, 0.5) };
        let scope = if self.full { Scope::Plots } else { Scope::Plans };
        let (rounds, seconds) = (self.rounds.unwrap_or(rounds), self.seconds.unwrap_or(seconds));
        if rounds == 0 || seconds <= 0.0 || self.connections == Some(0) {
            bail!("rounds, seconds and connections are above zero");
        }
        Ok(Effort { rounds, seconds, warm_seconds, scope })
    }

    fn third(&self) -> Result<Option<ThirdParty>> {
        let urls = self.against.iter().filter_map(|against| match against {
            Against::Running(url) => Some(url),
            Against::Ours(_) => None,
        });
        let urls: Vec<_> = urls.collect();
        match *urls {
            [] if self.pid.is_some() || self.token_file.is_some() => {
                bail!("`--pid` and `--token-file` are about a gateway that `--against URL` names")
            }
            [] => Ok(None),
            [url] => ThirdParty::find(url, self.pid, self.token_file.as_deref()).map(Some),
            _ => bail!("one gateway can be named by its URL in a run, not {}", urls.len()),
        }
    }

    /// The legs that were asked for, each with those who are to run it.
    fn legs(&self, third: Option<&ThirdParty>) -> Result<Vec<Leg>> {
        let folder = place::root()?.join("loadtest/plans");
        let plans = match (self.plans.is_empty(), self.full) {
            (false, _) => self.plans.clone(),
            (true, true) => course::names(&folder)?,
            (true, false) => vec![course::QUICK.to_owned()],
        };
        let mut legs = course::legs(&folder, &plans, &self.effort()?)?;
        for leg in &mut legs {
            if let Some(connections) = self.connections {
                leg.plan.connections = connections;
            }
            let speaks =
                third.is_some_and(|third| third.transport == leg.plan.transport) && leg.name != course::WORKERS;
            leg.subjects.extend(speaks.then_some(Subject::ThirdParty));
            leg.subjects.retain(|subject| self.wants(*subject));
            leg.subjects.sort_unstable();
        }
        legs.retain(|leg| !leg.subjects.is_empty());
        Ok(legs)
    }

    fn wants(&self, subject: Subject) -> bool {
        if !self.subjects.is_empty() {
            return self.subjects.contains(&subject);
        }
        match subject.family() {
            Family::Portcullis | Family::Direct | Family::ThirdParty => true,
            Family::Nginx | Family::Haproxy => self.against.contains(&Against::Ours(subject)),
        }
    }
}

/// Builds, starts, measures and reports.
///
/// # Errors
/// When something that was asked for cannot run, answers with errors, or, with `--judge`, misses a goal.
pub fn run(args: &Args) -> Result<()> {
    let (start, third) = (Instant::now(), args.third()?);
    let mut legs = args.legs(third.as_ref())?;
    if std::thread::available_parallelism()?.get() <= PROXY_CPU {
        bail!("the bench needs two CPUs: one for the proxy, one for load and upstream");
    }
    let mut wanted: Vec<Subject> = legs.iter().flat_map(|leg| leg.subjects.clone()).collect();
    if legs.iter().any(|leg| matches!(leg.plan.pace, Pace::OfSaturation(_))) {
        // Its saturation is the measure of the rates, even where it is not measured itself.
        wanted.push(Subject::Haproxy);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let needs: Vec<Need> = wanted.iter().filter_map(|subject| subject.need()).collect();
    needs::ensure(&needs)?;
    needs::ensure(&[Need { program: "taskset", probe: &[], package: "util-linux" }])?;
    let folder = match args.build {
        Build::Release => place::target()?.join("bench"),
        // Its numbers are no product's, so they never stand where a report does.
        Build::Differential => place::target()?.join("bench").join(args.build.name()),
    };
    let stage = Stage::set(&folder, &wanted, args.stub_port, args.build, third)?;
    for leg in &mut legs {
        leg.subjects.retain(|subject| stage.has(*subject));
    }
    let report = |legs: &[Leg], found: Found| report::Report::new(found, legs, stage.third.as_ref(), start.elapsed());
    // After each plan, so that a run that is broken off leaves what it has measured.
    let write = |legs: &[Leg], found: &Found| {
        report(legs, found.clone()).write(&folder).context("the report cannot be written")
    };
    let found = Tour::go(&stage, &legs, write)?;
    let mut report = report(&legs, found);
    if args.build == Build::Differential {
        // Goals are about what is shipped.
        report.goals.clear();
    }
    report.print();
    println!("\nwritten to {}, .md and .html", folder.join("report.json").display());
    if !report.failures.is_empty() {
        let failed: Vec<&str> = report.failures.iter().map(|(plan, _)| plan.as_str()).collect();
        bail!("failed: {}; the report says why", failed.join(", "));
    }
    if args.judge && report.missed() {
        bail!("a goal is missed");
    }
    args.within.map_or(Ok(()), |within| hold(report.against_nginx(), within))
}

/// Holds a call's cost against nginx's to a bound; a cost that nobody could measure is beyond it.
fn hold(ratio: Option<f64>, within: f64) -> Result<()> {
    match ratio {
        None => bail!("no round of a small call was left to judge by"),
        Some(ratio) if ratio > within => {
            bail!("a small call with everything on costs {ratio:.2} times what nginx spends, more than {within:.2}")
        }
        Some(ratio) => {
            println!("a small call with everything on costs {ratio:.2} times what nginx spends, at most {within:.2}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_fails_beyond_its_bound_and_without_a_number() {
        assert!(hold(Some(1.61), 1.6).unwrap_err().to_string().contains("1.61 times"));
        assert!(hold(None, 1.6).is_err());
        assert!(hold(Some(1.6), 1.6).is_ok());
    }

    fn everyone() -> Args {
        let against = vec![Against::Ours(Subject::Nginx), Against::Ours(Subject::Haproxy)];
        Args { against, subjects: Vec::new(), ..Args::guard() }
    }

    fn check(args: &Args, expected: &[(&str, &[Subject])]) {
        let legs = args.legs(args.third().unwrap().as_ref()).unwrap();
        let got: Vec<(&str, &[Subject])> = legs.iter().map(|leg| (leg.name.as_str(), &*leg.subjects)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_pid_without_a_url_is_refused() {
        let args = Args { pid: Some(1), ..everyone() };
        assert!(args.third().unwrap_err().to_string().contains("--against URL"));
    }

    #[test]
    fn a_short_run_is_about_small_calls_by_all_but_those_not_asked_for() {
        use Subject::{Direct, Haproxy, Nginx, Portcullis, PortcullisPass, PortcullisStrict, ThirdParty};
        let all: &[Subject] = &[Portcullis, PortcullisStrict, PortcullisPass, Nginx, Haproxy, Direct];
        check(&everyone(), &[("plain_small", all)]);
        let against = vec!["nginx".parse().unwrap(), "http://127.0.0.1:1/mcp".parse().unwrap()];
        let fewer: &[Subject] = &[Portcullis, PortcullisStrict, PortcullisPass, Nginx, ThirdParty, Direct];
        check(&Args { against, ..everyone() }, &[("plain_small", fewer)]);
        let subjects = vec![Direct, Portcullis];
        check(&Args { subjects, ..everyone() }, &[("plain_small", &[Portcullis, Direct])]);
    }

    #[test]
    fn a_gateway_that_runs_already_runs_only_the_plans_that_it_speaks() {
        let against = vec!["http://127.0.0.1:1/mcp".parse().unwrap()];
        let args = Args { against, full: true, ..everyone() };
        let legs = args.legs(args.third().unwrap().as_ref()).unwrap();
        let runs = |name: &str| legs.iter().any(|leg| leg.name == name && leg.subjects.contains(&Subject::ThirdParty));
        assert!(runs("plain_small") && runs("idle") && !runs("mtls_small") && !runs("workers"));
    }
}
