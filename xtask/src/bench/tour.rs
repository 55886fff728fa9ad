//! Goes the course. In: a stage, legs. Out: rounds. Subjects take turns, and each round begins with another one, so that a slow minute hits all alike and
//! none always follows the same neighbour.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portcullis_loadtest::plan::{Kind, Pace, Plan, Transport};

use super::course::{Further, Leg};
use super::data::Round;
use super::generator::Order;
use super::papers::Papers;
use super::prepare::Stage;
use super::round::{self, Pass};
use super::subject::{Family, Proxy, Subject};
use super::{held, sums};
use crate::progress::Progress;

/// How often haproxy's saturation is measured before rates are taken from it.
const SATURATION_ROUNDS: u32 = 3;
/// All rates hang on it, so it is measured for longer than a short round.
const SATURATION_LENGTH_MIN: Duration = Duration::from_secs(1);
/// And begins when what was started with it has come to rest.
const SATURATION_WARM: Duration = Duration::from_secs(1);

/// What haproxy bears.
#[derive(Clone, Debug)]
pub struct Saturation {
    /// Calls a second, the most of the rounds: whatever else goes on can only lessen it.
    pub rps: f64,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// What a tour brings home.
#[derive(Clone, Default)]
pub struct Found {
    /// Rounds of plans.
    pub rounds: Vec<Round>,
    /// Rounds beside them, for plots.
    pub beside: Vec<Round>,
    /// What haproxy bears, where a plan wanted to know.
    pub saturation: Option<Saturation>,
    /// Plans that failed, and why.
    pub failures: Vec<(String, String)>,
    /// Configurations, by subject and what they are for.
    pub configurations: Vec<(String, String)>,
}

/// A tour in progress.
pub struct Tour<'t> {
    stage: &'t Stage,
    clock: Clock,
    found: Found,
}

impl<'t> Tour<'t> {
    /// Goes all legs. One that fails, because a subject does not start or a call does, is named, and the tour goes on.
    /// After each, `after` is shown the legs so far and what they came to.
    ///
    /// # Errors
    /// When there are more steps than can be counted, or `after` fails.
    pub fn go(stage: &'t Stage, legs: &[Leg], after: impl Fn(&[Leg], &Found) -> Result<()>) -> Result<Found> {
        let steps = legs.iter().map(steps).sum::<usize>();
        let clock = Clock::begin(u64::try_from(steps)?, legs.iter().map(Leg::seconds_total).sum());
        let mut tour = Self { stage, clock, found: Found::default() };
        for (index, leg) in legs.iter().enumerate() {
            if let Err(cause) = tour.leg(leg) {
                tour.clock.say(&format!("plan `{}` failed: {cause:#}", leg.name));
                tour.found.failures.push((leg.name.clone(), format!("{cause:#}")));
            }
            after(legs.get(..=index).unwrap_or_default(), &tour.found)?;
        }
        Ok(tour.found)
    }

    fn leg(&mut self, leg: &Leg) -> Result<()> {
        let papers = Papers::make(&self.stage.folder.join("papers").join(&leg.name), leg.plan.agents)?;
        let mut whole = Asked { plan: leg.plan.clone(), file: self.written(&leg.name, &leg.plan)?, part: None };
        if leg.holds() {
            return self.held_leg(leg, &papers, whole);
        }
        let mut proxies = Vec::new();
        for subject in &leg.subjects {
            proxies.push(self.stage.start(*subject, &leg.plan, &papers)?);
        }
        self.keep_configurations(leg, &proxies);
        if let Pace::OfSaturation(part) = leg.plan.pace {
            self.saturate(leg, &papers, &proxies)?;
            whole.part = Some(part);
        }
        for index in 0..leg.rounds {
            for proxy in in_turn(&proxies, index) {
                let round = self.calls(leg, &papers, proxy, (&whole, index))?;
                self.found.rounds.push(round);
            }
        }
        if let Further::Rates(parts) = &leg.further {
            for (index, part) in (0..).zip(parts) {
                let asked = Asked { part: Some(*part), ..whole.clone() };
                for proxy in in_turn(&proxies, index) {
                    let round = self.calls(leg, &papers, proxy, (&asked, 0))?;
                    self.found.beside.push(round);
                }
            }
        }
        Ok(())
    }

    fn calls(&self, leg: &Leg, papers: &Papers, proxy: &Proxy, (asked, index): (&Asked, u32)) -> Result<Round> {
        let at = asked.part.map_or_else(String::new, |part| format!(" at {part} of saturation"));
        self.clock.step(&leg.name, &format!("{}{at}, round {} of {}", proxy.subject.name(), index + 1, leg.rounds));
        let saturation = self.found.saturation.as_ref().map(|saturation| saturation.rps);
        let rate = asked.part.zip(saturation).map(|(part, rps)| (part * rps).max(1.0));
        let pass = Pass { name: &leg.name, plan: &asked.plan, index, of_saturation: asked.part };
        let round = round::measure(self.stage, proxy, &pass, &order(leg, papers, asked, rate))?;
        self.clock.took(leg.seconds_estimated(0));
        Ok(round)
    }

    /// What haproxy bears of the calls of this plan, found once in a run.
    fn saturate(&mut self, leg: &Leg, papers: &Papers, proxies: &[Proxy]) -> Result<()> {
        if self.found.saturation.is_some() {
            return Ok(());
        }
        let plan = Plan { pace: Pace::Closed, ..leg.plan.clone() };
        let asked = Asked { file: self.written("saturation", &plan)?, plan, part: None };
        let started;
        let haproxy = match proxies.iter().find(|proxy| proxy.subject == Subject::Haproxy) {
            Some(running) => running,
            None => {
                started = self.stage.start(Subject::Haproxy, &leg.plan, papers)?;
                &started
            }
        };
        let long =
            Leg { length: leg.length.max(SATURATION_LENGTH_MIN), warm: leg.warm.max(SATURATION_WARM), ..leg.clone() };
        let mut rounds = Vec::new();
        for index in 0..SATURATION_ROUNDS {
            self.clock.say(&format!("what haproxy bears, round {} of {SATURATION_ROUNDS}", index + 1));
            let pass = Pass { name: "saturation", plan: &asked.plan, index, of_saturation: None };
            rounds.push(round::measure(self.stage, haproxy, &pass, &order(&long, papers, &asked, None))?);
        }
        let seconds = long.length.as_secs_f64();
        let paces: Vec<f64> = rounds.iter().map(|round| round.rps.unwrap_or(round.requests as f64 / seconds)).collect();
        let rps = sums::Spread::of(&paces).context("haproxy's saturation was not measured")?.max;
        self.found.saturation = Some(Saturation { rps, rounds });
        Ok(())
    }

    fn held_leg(&mut self, leg: &Leg, papers: &Papers, whole: Asked) -> Result<()> {
        for index in 0..leg.rounds {
            for subject in in_turn(&leg.subjects, index) {
                let round = self.hold(leg, papers, *subject, (&whole, index))?;
                self.found.rounds.push(round);
            }
        }
        if let Further::Connections(numbers) = &leg.further {
            for (index, connections) in (0..).zip(numbers) {
                let plan = Plan { connections: *connections, ..leg.plan.clone() };
                let file = self.written(&format!("{}_{connections}", leg.name), &plan)?;
                let asked = Asked { plan, file, part: None };
                for subject in in_turn(&leg.subjects, index) {
                    let round = self.hold(leg, papers, *subject, (&asked, 0))?;
                    self.found.beside.push(round);
                }
            }
        }
        Ok(())
    }

    fn hold(&mut self, leg: &Leg, papers: &Papers, subject: Subject, (asked, index): (&Asked, u32)) -> Result<Round> {
        let connections = asked.plan.connections;
        self.clock.step(
            &leg.name,
            &format!("{}, {connections} connections, round {} of {}", subject.name(), index + 1, leg.rounds),
        );
        let pass = Pass { name: &leg.name, plan: &asked.plan, index, of_saturation: None };
        let proxy = self.stage.start(subject, &asked.plan, papers)?;
        let round = held::measure(self.stage, &proxy, &pass, &order(leg, papers, asked, None))?;
        self.keep_configurations(leg, std::slice::from_ref(&proxy));
        self.clock.took(leg.seconds_estimated(connections));
        Ok(round)
    }

    /// Plans are written out as they are run, so that a round can be run again by hand.
    fn written(&self, name: &str, plan: &Plan) -> Result<PathBuf> {
        let folder = self.stage.folder.join("plans");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{name}.toml"));
        fs::write(&file, toml::to_string(plan)?).with_context(|| format!("`{}` cannot be written", file.display()))?;
        Ok(file)
    }

    fn keep_configurations(&mut self, leg: &Leg, proxies: &[Proxy]) {
        let over = match leg.plan.transport {
            Transport::Cleartext => "clear text",
            Transport::Mtls => "mutual TLS",
        };
        let what = if leg.plan.kind == Kind::Streams { ", for streams" } else { "" };
        for proxy in proxies.iter().filter(|proxy| proxy.subject.family() != Family::Direct) {
            let name = format!("{} over {over}{what}", proxy.subject.name());
            let text = proxy.configuration.as_ref().and_then(|file| fs::read_to_string(file).ok());
            if let Some(text) = text.filter(|_| !self.found.configurations.iter().any(|(there, _)| *there == name)) {
                self.found.configurations.push((name, text));
            }
        }
    }
}

/// A plan as it is run, and where it is written.
#[derive(Clone)]
struct Asked {
    plan: Plan,
    file: PathBuf,
    part: Option<f64>,
}

fn order<'o>(leg: &Leg, papers: &'o Papers, asked: &Asked, rate: Option<f64>) -> Order<'o> {
    let (length, warm, transport) = (leg.length, leg.warm, asked.plan.transport);
    Order { plan: asked.file.clone(), transport, papers, rate, length, warm }
}

/// All of them, another one first in each round.
fn in_turn<T>(all: &[T], round: u32) -> Vec<&T> {
    let mut order: Vec<&T> = all.iter().collect();
    let first = usize::try_from(round).unwrap_or_default() % order.len().max(1);
    order.rotate_left(first);
    order
}

fn steps(leg: &Leg) -> usize {
    let further = match &leg.further {
        Further::Nothing => 0,
        Further::Rates(rates) => rates.len(),
        Further::Connections(numbers) => numbers.len(),
    };
    leg.subjects.len() * (usize::try_from(leg.rounds).unwrap_or_default() + further)
}

/// Says how far we are and how long it will take: what was estimated, stretched by how long the estimates have taken so far.
struct Clock {
    progress: Progress,
    start: Instant,
    whole: f64,
    done: RefCell<f64>,
}

impl Clock {
    fn begin(steps: u64, seconds: f64) -> Self {
        Self { progress: Progress::begin(steps), start: Instant::now(), whole: seconds, done: RefCell::new(0.0) }
    }

    fn step(&self, plan: &str, words: &str) {
        let left = remaining(self.whole, *self.done.borrow(), self.start.elapsed());
        self.progress.step(&format!("{plan}: {words}; about {left} left"));
    }

    fn took(&self, estimated: f64) {
        *self.done.borrow_mut() += estimated;
    }

    fn say(&self, words: &str) {
        self.progress.say(words);
    }
}

/// A time in words. Estimates count for as much as they have taken, once there is enough of that to tell.
fn remaining(whole: f64, done: f64, elapsed: Duration) -> String {
    let stretch = if done < 5.0 { 1.0 } else { elapsed.as_secs_f64() / done };
    let seconds = ((whole - done).max(0.0) * stretch).ceil();
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another() {
        let all = ["a", "b", "c"];
        let rows = [(0, ["a", "b", "c"]), (1, ["b", "c", "a"]), (4, ["b", "c", "a"])];
        for (round, expected) in rows {
            let got: Vec<&str> = in_turn(&all, round).into_iter().copied().collect();
            assert_eq!(got, expected, "round {round}");
        }
        assert!(in_turn::<u8>(&[], 3).is_empty());
    }

    #[test]
    fn what_remains_stretches_with_what_it_took_so_far() {
        let rows = [
            (100.0, 0.0, 0, "2 min"),
            (60.0, 0.0, 0, "60 s"),
            (60.0, 30.0, 60, "60 s"),
            (1200.0, 600.0, 900, "15 min"),
            (10.0, 20.0, 20, "0 s"),
        ];
        for (whole, done, elapsed, expected) in rows {
            assert_eq!(
                remaining(whole, done, Duration::from_secs(elapsed)),
                expected,
                "{done} of {whole} in {elapsed} s"
            );
        }
    }
}
