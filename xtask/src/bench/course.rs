//! Lays out what is measured. In: the plans of `loadtest/plans`, what was asked. Out: legs: a plan, who runs it, how often, how long. Never here: running.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::{self, Kind, Pace, Plan, Transport};

use super::subject::Subject;

/// One plan with everyone who runs it.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Its name in the report.
    pub name: String,
    /// What the load does.
    pub plan: Plan,
    /// Who is measured, in the order of the report.
    pub subjects: Vec<Subject>,
    /// How often.
    pub rounds: u32,
    /// How long a round is.
    pub length: Duration,
    /// And what goes before it.
    pub warm: Duration,
    /// What else is measured, for plots.
    pub further: Further,
}

/// What is measured beside a plan itself. None of it is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Further {
    /// Nothing.
    Nothing,
    /// The same at further rates, as parts of haproxy's saturation.
    Rates(Vec<f64>),
    /// The same with fewer connections.
    Connections(Vec<u32>),
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Rounds of each plan.
    pub rounds: u32,
    /// Seconds of each round.
    pub seconds: f64,
    /// Seconds that go before.
    pub warm_seconds: f64,
    /// Whether there is more than the plans themselves.
    pub scope: Scope,
}

/// How wide a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The plans alone.
    Plans,
    /// What plots want beside them as well.
    Plots,
}

/// The plan that is measured where no other is asked for.
pub const QUICK: &str = "plain_small";

/// The plan that sets one worker against two: [`QUICK`], by other subjects.
pub const WORKERS: &str = "workers";

/// Plans in the order of the report; what else there is follows by name.
const ORDER: [&str; 13] = [
    QUICK,
    "mtls_small",
    "handshakes",
    "open_loop_half",
    "open_loop_90",
    "idle",
    "idle_tls",
    "idle_sse",
    "plain_64k",
    "plain_1m",
    "request_64k",
    "request_1m",
    WORKERS,
];

/// Rates of the plot beside those of the plans, as parts of haproxy's saturation.
const RATES: [f64; 5] = [0.1, 0.25, 0.7, 0.8, 1.0];

/// Results longer than this are kept as size and digest; below, keeping less of them saves nothing that could be seen.
const SIZE_MATTERS_BYTES: usize = 16 * 1024;

/// The names of all plans.
///
/// # Errors
/// When the folder of the plans cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = vec![WORKERS.to_owned()];
    let entries = std::fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    let place = |name: &str| ORDER.iter().position(|ordered| *ordered == name).unwrap_or(ORDER.len());
    names.sort_by(|one, other| (place(one), one).cmp(&(place(other), other)));
    Ok(names)
}

/// The legs of these plans.
///
/// # Errors
/// When there is no such plan, or it is none.
pub fn legs(folder: &Path, wanted: &[String], effort: &Effort) -> Result<Vec<Leg>> {
    let known = names(folder)?;
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("there is no plan `{unknown}`; there are {}", known.join(", "));
    }
    known.iter().filter(|name| wanted.contains(name)).map(|name| leg(folder, name, effort)).collect()
}

fn leg(folder: &Path, name: &str, effort: &Effort) -> Result<Leg> {
    let file = if name == WORKERS { QUICK } else { name };
    let mut plan = Plan::read(&folder.join(format!("{file}.toml")))?;
    let mut subjects: Vec<Subject> = plan.subjects.iter().map(|subject| measured(*subject)).collect();
    if name == WORKERS {
        "the same calls as `plain_small`, by one worker and by two".clone_into(&mut plan.about);
        subjects = vec![Subject::PortcullisWorkers1, Subject::PortcullisWorkers2];
    } else if plan.answer_bytes.length() > SIZE_MATTERS_BYTES && plan.kind == Kind::Calls {
        subjects.push(Subject::PortcullisSize);
    }
    subjects.sort_unstable();
    let further = match (effort.scope, plan.kind, plan.pace) {
        (Scope::Plans, _, _) => Further::Nothing,
        (Scope::Plots, Kind::Calls, Pace::OfSaturation(part)) if part <= 0.5 => Further::Rates(RATES.to_vec()),
        (Scope::Plots, Kind::Idle | Kind::Streams, _) => {
            Further::Connections(vec![plan.connections / 3, plan.connections * 2 / 3])
        }
        (Scope::Plots, Kind::Calls | Kind::Handshakes, _) => Further::Nothing,
    };
    Ok(Leg {
        name: name.to_owned(),
        subjects,
        rounds: effort.rounds,
        length: Duration::from_secs_f64(effort.seconds),
        warm: Duration::from_secs_f64(effort.warm_seconds),
        further,
        plan,
    })
}

/// The plans name those of whom there is one of each; the bench knows a few more.
fn measured(subject: plan::Subject) -> Subject {
    match subject {
        plan::Subject::Portcullis => Subject::Portcullis,
        plan::Subject::PortcullisStrict => Subject::PortcullisStrict,
        plan::Subject::PortcullisPass => Subject::PortcullisPass,
        plan::Subject::Nginx => Subject::Nginx,
        plan::Subject::Haproxy => Subject::Haproxy,
        plan::Subject::Direct => Subject::Direct,
    }
}

impl Leg {
    /// Whether connections are held, by a proxy that is started anew for each round.
    pub fn holds(&self) -> bool {
        match self.plan.kind {
            Kind::Calls | Kind::Handshakes => false,
            Kind::Idle | Kind::Streams => true,
        }
    }

    /// About how many seconds one round with one subject takes.
    pub fn seconds_estimated(&self, connections: u32) -> f64 {
        if !self.holds() {
            return self.warm.as_secs_f64() + self.length.as_secs_f64() + ROUND_OVERHEAD_SECONDS;
        }
        let each = match self.plan.transport {
            Transport::Cleartext => HELD_SECONDS_EACH,
            Transport::Mtls => HELD_TLS_SECONDS_EACH,
        };
        HELD_OVERHEAD_SECONDS + f64::from(connections) * each
    }

    /// About how many seconds all of it takes.
    pub fn seconds_total(&self) -> f64 {
        let subjects = self.subjects.len() as f64;
        let own = f64::from(self.rounds) * self.seconds_estimated(self.plan.connections);
        let further = match &self.further {
            Further::Nothing => 0.0,
            Further::Rates(rates) => rates.len() as f64 * self.seconds_estimated(0),
            Further::Connections(numbers) => numbers.iter().map(|number| self.seconds_estimated(*number)).sum(),
        };
        subjects * (own + further)
    }
}

/// Starting the load and waiting for a proxy to go quiet.
const ROUND_OVERHEAD_SECONDS: f64 = 0.5;

/// Starting a proxy and waiting for its memory to settle.
const HELD_OVERHEAD_SECONDS: f64 = 2.0;

/// Opening a connection, one call on it, one at the end.
const HELD_SECONDS_EACH: f64 = 0.000_15;

/// The same with a handshake on both sides.
const HELD_TLS_SECONDS_EACH: f64 = 0.000_8;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtest/plans")
    }

    const EFFORT: Effort = Effort { rounds: 5, seconds: 2.0, warm_seconds: 0.5, scope: Scope::Plots };

    fn one(name: &str) -> Leg {
        legs(&folder(), &[name.to_owned()], &EFFORT).unwrap().remove(0)
    }

    #[test]
    fn a_plan_that_is_not_there_is_refused_with_those_that_are() {
        let words = legs(&folder(), &["plain_smal".to_owned()], &EFFORT).unwrap_err().to_string();
        assert!(words.contains("no plan `plain_smal`") && words.contains("plain_small, mtls_small"), "{words}");
    }

    #[test]
    fn every_plan_that_the_goals_speak_of_is_there() {
        let names = names(&folder()).unwrap();
        for name in ORDER {
            assert!(names.iter().any(|there| there == name), "`{name}` among {names:?}");
        }
        assert_eq!(names.first().map(String::as_str), Some(QUICK));
    }

    #[test]
    fn who_keeps_only_sizes_is_measured_where_results_are_long() {
        for (name, expected) in [("plain_small", false), ("plain_64k", true), ("plain_1m", true), ("request_1m", false)]
        {
            assert_eq!(one(name).subjects.contains(&Subject::PortcullisSize), expected, "{name}");
        }
    }

    #[test]
    fn plots_have_rates_and_connections_beside_those_of_the_plans() {
        assert_eq!(one("plain_small").further, Further::Nothing);
        assert_eq!(one("open_loop_half").further, Further::Rates(RATES.to_vec()));
        assert_eq!(one("open_loop_90").further, Further::Nothing);
        assert_eq!(one("idle").further, Further::Connections(vec![6000, 12_000]));
    }

    #[test]
    fn one_worker_and_two_run_the_plan_of_small_calls() {
        let leg = one(WORKERS);
        assert_eq!(leg.subjects, [Subject::PortcullisWorkers1, Subject::PortcullisWorkers2]);
        assert_eq!(leg.plan.connections, one(QUICK).plan.connections);
    }
}
