//! Judges goals. In: sums. Out: a row for every goal whose subjects were measured, missed ones with all others. Never here: measuring.

use std::collections::BTreeMap;

use serde::Serialize;

use super::subject::Subject;
use super::sums::{Measure, PlanSums};

/// A goal, and how far it was reached.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Goal {
    /// Under which heading of the goals.
    pub point: u8,
    /// What is compared.
    pub what: &'static str,
    /// Under which plan.
    pub plan: &'static str,
    /// Who has to reach it.
    pub subject: &'static str,
    /// Against whom or what.
    pub against: &'static str,
    /// The ratio to reach.
    pub at_most: f64,
    /// The ratio that was measured; none where no number was left to judge by.
    pub ratio: Option<f64>,
    /// The subject's own number.
    pub own: Option<f64>,
    /// What it is divided by.
    pub other: Option<f64>,
    /// In what both are counted.
    pub unit: &'static str,
    /// Whether it was reached. What could not be judged was not.
    pub reached: bool,
    /// Why there is no ratio.
    pub why: Option<&'static str>,
}

/// What a number is held against.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// The same plan's number of another subject.
    Subject(Subject, Measure),
    /// A fixed number, with its name.
    Fixed(f64, &'static str),
}

/// Plans of one heading stand together.
fn order_of(plan: &str) -> usize {
    ["mtls_small", "handshakes", "open_loop_half", "open_loop_90", "idle", "idle_tls", "idle_sse"]
        .iter()
        .position(|ordered| *ordered == plan)
        .unwrap_or_default()
}

struct Wanted {
    point: u8,
    what: &'static str,
    plan: &'static str,
    own: (Subject, Measure),
    against: Against,
    at_most: f64,
}

/// What is judged, by heading.
fn wanted() -> Vec<Wanted> {
    let mut all = Vec::new();
    for other in [Subject::Nginx, Subject::Haproxy] {
        all.extend(calls(other));
        all.extend(open_loop(other));
    }
    all.push(Wanted {
        point: 2,
        what: "CPU per full handshake, mutual TLS 1.3 (1.5 times as many a CPU second)",
        plan: "handshakes",
        own: (Subject::Portcullis, Measure::Cpu),
        against: Against::Subject(Subject::Nginx, Measure::Cpu),
        at_most: 1.0 / 1.5,
    });
    all.extend(held());
    for plan in ["plain_64k", "plain_1m"] {
        all.push(Wanted {
            point: 5,
            what: "CPU per call, large result, nothing of it to be read",
            plan,
            own: (Subject::PortcullisSize, Measure::Cpu),
            against: Against::Subject(Subject::Nginx, Measure::Cpu),
            at_most: 1.0,
        });
    }
    all.push(Wanted {
        point: 6,
        what: "CPU per call on the path, two workers against one",
        plan: "workers",
        own: (Subject::PortcullisWorkers2, Measure::CpuPath),
        against: Against::Subject(Subject::PortcullisWorkers1, Measure::CpuPath),
        at_most: 1.1,
    });
    all.sort_by_key(|wanted| (wanted.point, order_of(wanted.plan)));
    all
}

/// CPU time of small calls. Of the others all time counts: what theirs is on the path is nearly all of it.
fn calls(other: Subject) -> [Wanted; 5] {
    let row = |point, what, plan, own, at_most| Wanted {
        point,
        what,
        plan,
        own,
        against: Against::Subject(other, Measure::Cpu),
        at_most,
    };
    let (path, total) = ((Subject::Portcullis, Measure::CpuPath), (Subject::Portcullis, Measure::Cpu));
    [
        row(1, "CPU per call on the path, everything on", "plain_small", path, 0.8),
        row(1, "CPU per call in total, everything on", "plain_small", total, 1.0),
        row(1, "CPU per call in total, no checks", "plain_small", (Subject::PortcullisPass, Measure::Cpu), 0.75),
        row(2, "CPU per call on the path, everything on, mutual TLS 1.3", "mtls_small", path, 0.75),
        row(2, "CPU per call in total, everything on, mutual TLS 1.3", "mtls_small", total, 0.75),
    ]
}

fn open_loop(other: Subject) -> Vec<Wanted> {
    let row = |what, plan, measure| Wanted {
        point: 3,
        what,
        plan,
        own: (Subject::Portcullis, measure),
        against: Against::Subject(other, measure),
        at_most: 1.0,
    };
    let mut rows = vec![
        row("p50 added over direct, half of haproxy's saturation", "open_loop_half", Measure::P50Added),
        row("p99 added over direct, half of haproxy's saturation", "open_loop_half", Measure::P99Added),
    ];
    if other == Subject::Haproxy {
        rows.push(row("p99, nine tenths of haproxy's saturation", "open_loop_90", Measure::P99));
    }
    rows
}

fn held() -> Vec<Wanted> {
    let row = |what, plan, measure, against, at_most| Wanted {
        point: 4,
        what,
        plan,
        own: (Subject::Portcullis, measure),
        against,
        at_most,
    };
    let memory = "user memory of an idle connection, clear text";
    let other = |subject| Against::Subject(subject, Measure::BytesEach);
    let mut rows = vec![
        row(memory, "idle", Measure::BytesEach, Against::Fixed(2048.0, "2 KiB"), 1.0),
        row("user memory of an idle TLS connection", "idle_tls", Measure::BytesEach, other(Subject::Nginx), 1.0),
        row("user memory of an idle TLS connection", "idle_tls", Measure::BytesEach, other(Subject::Haproxy), 1.0),
        row("user memory of an idle stream", "idle_sse", Measure::BytesEach, Against::Fixed(8192.0, "8 KiB"), 1.0),
    ];
    for plan in ["idle", "idle_tls", "idle_sse"] {
        let all = Against::Fixed(1.0, "all of them");
        rows.push(row("part that did not answer afterwards", plan, Measure::UnansweredShare, all, 0.0));
    }
    rows
}

/// Judges every goal whose plan and subjects were measured. Those of a plan that failed are missed.
pub fn judge(plans: &BTreeMap<String, PlanSums>, failed: &[&str]) -> Vec<Goal> {
    let one = |wanted: &Wanted| match failed.contains(&wanted.plan) {
        true => Some(unjudged(wanted)),
        false => judge_one(wanted, plans.get(wanted.plan)?),
    };
    wanted().iter().filter_map(one).collect()
}

fn unjudged(wanted: &Wanted) -> Goal {
    let (subject, measure) = wanted.own;
    let against = match wanted.against {
        Against::Fixed(_, name) => name,
        Against::Subject(other, _) => other.name(),
    };
    Goal {
        point: wanted.point,
        what: wanted.what,
        plan: wanted.plan,
        subject: subject.name(),
        against,
        at_most: wanted.at_most,
        ratio: None,
        own: None,
        other: None,
        unit: measure.unit(),
        reached: false,
        why: Some("the plan failed"),
    }
}

fn judge_one(wanted: &Wanted, sums: &PlanSums) -> Option<Goal> {
    let (subject, measure) = wanted.own;
    let summary = sums.get(&subject)?;
    let own = summary.median(measure);
    let other = match wanted.against {
        Against::Fixed(number, _) => Some(number),
        Against::Subject(other, of) => sums.get(&other)?.median(of),
    };
    let beyond = summary.median(Measure::UnsentShare).is_some_and(|share| share > UNSENT_SHARE_MAX);
    let (ratio, why) = match (own, other) {
        // The percentiles are of those calls that were sent at all.
        _ if beyond => (None, Some("it did not bear the pace")),
        (None, _) | (_, None) => (None, Some("no round was left to judge by")),
        (Some(own), Some(other)) if other > 0.0 => (Some(own / other), None),
        // Who adds nothing that can be measured cannot be divided by; who adds no more than that reaches any goal.
        (Some(own), Some(other)) if own <= other => (Some(1.0), None),
        (Some(_), Some(_)) => (None, Some("the other's number is not above zero")),
    };
    let reached = ratio.is_some_and(|ratio| ratio <= wanted.at_most);
    Some(Goal { ratio, own, other, reached, why, ..unjudged(wanted) })
}

/// Where more calls than these could not be sent, the 99th percentile says nothing any more.
const UNSENT_SHARE_MAX: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::data::{Held, Round};
    use crate::bench::sums;

    fn round(subject: Subject, cpu: f64, path: f64) -> Round {
        Round { subject: subject.name(), cpu_us: Some(cpu), cpu_path_us: Some(path), ..Round::default() }
    }

    fn judged(plan: &str, rounds: &[Round]) -> Vec<Goal> {
        judge(&BTreeMap::from([(plan.to_owned(), sums::plan(&rounds.iter().collect::<Vec<_>>()))]), &[])
    }

    #[test]
    fn goals_are_judged_only_where_both_sides_were_measured() {
        assert!(judged("plain_small", &[round(Subject::Portcullis, 1.0, 1.0)]).is_empty());
        let rounds = [round(Subject::Portcullis, 10.5, 7.9), round(Subject::Nginx, 10.0, 10.0)];
        let reached: Vec<bool> = judged("plain_small", &rounds).iter().map(|goal| goal.reached).collect();
        assert_eq!(reached, [true, false], "0.79 on the path reaches 0.8, 1.05 in total misses 1.0");
    }

    #[test]
    fn goals_of_a_plan_that_failed_are_missed() {
        let goals = judge(&BTreeMap::new(), &["workers"]);
        assert_eq!(goals.len(), 1);
        assert_eq!((goals[0].reached, goals[0].ratio, goals[0].why), (false, None, Some("the plan failed")));
    }

    #[test]
    fn what_cannot_be_judged_is_a_goal_missed_with_its_reason() {
        let void =
            |subject: Subject| Round { subject: subject.name(), void: Some("full".to_owned()), ..Round::default() };
        let goals = judged("open_loop_90", &[void(Subject::Portcullis), void(Subject::Haproxy)]);
        assert_eq!(goals.len(), 1);
        assert_eq!(
            (goals[0].reached, goals[0].ratio, goals[0].why),
            (false, None, Some("no round was left to judge by"))
        );
    }

    #[test]
    fn who_does_not_bear_the_pace_misses_whatever_its_percentiles_say() {
        for (unsent, expected) in [(100, false), (1, true)] {
            let round = |subject: Subject, unsent| Round {
                subject: subject.name(),
                rate: Some(1000.0),
                requests: 900,
                unsent,
                p99_us: Some(5.0),
                ..Round::default()
            };
            let rounds = [round(Subject::Portcullis, unsent), round(Subject::Haproxy, 500)];
            assert_eq!(judged("open_loop_90", &rounds)[0].reached, expected, "{unsent} unsent");
        }
    }

    #[test]
    fn who_adds_no_more_than_one_that_adds_nothing_reaches_the_goal() {
        let round = |subject: Subject, p50| Round { subject: subject.name(), p50_us: Some(p50), ..Round::default() };
        let rows = [(95.0, true), (96.0, false)];
        for (own, expected) in rows {
            let rounds = [round(Subject::Direct, 100.0), round(Subject::Nginx, 95.0), round(Subject::Portcullis, own)];
            assert_eq!(judged("open_loop_half", &rounds)[0].reached, expected, "own {own}");
        }
    }

    #[test]
    fn a_connection_that_did_not_answer_misses_its_goal() {
        for (answered, expected) in [(17_999, false), (18_000, true)] {
            let held = Held { connections: 18_000, answered, bytes_each: Some(2048.0), ..Held::default() };
            let round = Round { subject: Subject::Portcullis.name(), held: Some(held), ..Round::default() };
            let reached: Vec<bool> = judged("idle", &[round]).iter().map(|goal| goal.reached).collect();
            assert_eq!(reached, [true, expected], "{answered} answered");
        }
    }

    #[test]
    fn every_heading_from_one_to_six_is_judged_by_something() {
        let mut points: Vec<u8> = wanted().iter().map(|wanted| wanted.point).collect();
        points.dedup();
        assert_eq!(points, [1, 2, 3, 4, 5, 6]);
    }
}
