//! Sums rounds up. In: rounds. Out: of each plan and subject the median, the least and the most of every number. Never here: goals, words.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::data::Round;
use super::subject::Subject;

/// A number that a round comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// CPU time a call, or a handshake, in total.
    Cpu,
    /// The same on the path.
    CpuPath,
    /// Answers a second.
    Rps,
    /// Median latency.
    P50,
    /// The 99th percentile.
    P99,
    /// The 99.9th.
    P999,
    /// Median latency beyond that of the same round without a proxy.
    P50Added,
    /// The 99th percentile beyond that.
    P99Added,
    /// Resident memory.
    Rss,
    /// Memory in user space of a connection that is only held.
    BytesEach,
    /// Socket memory of the kernel for it, both ends.
    SocketBytesEach,
    /// Slab of the kernel for it, both ends.
    SlabBytesEach,
    /// Part of the held connections that did not answer afterwards.
    UnansweredShare,
    /// Part of the calls that were due and could not be sent.
    UnsentShare,
    /// Share of the generator's core that was used.
    GeneratorShare,
    /// Share of the proxy's core that was used.
    ProxyShare,
}

impl Measure {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::Cpu,
        Self::CpuPath,
        Self::Rps,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::P50Added,
        Self::P99Added,
        Self::Rss,
        Self::BytesEach,
        Self::SocketBytesEach,
        Self::SlabBytesEach,
        Self::UnansweredShare,
        Self::UnsentShare,
        Self::GeneratorShare,
        Self::ProxyShare,
    ];

    /// These stand in every summary, as `null` where there is no number; what reads reports relies on them.
    const ALWAYS: [Self; 6] = [Self::Cpu, Self::CpuPath, Self::Rps, Self::P50, Self::P99, Self::Rss];

    /// Its key in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_us",
            Self::CpuPath => "cpu_path_us",
            Self::Rps => "rps",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::P999 => "p999_us",
            Self::P50Added => "p50_added_us",
            Self::P99Added => "p99_added_us",
            Self::Rss => "rss_kib",
            Self::BytesEach => "bytes_each",
            Self::SocketBytesEach => "socket_bytes_each",
            Self::SlabBytesEach => "slab_bytes_each",
            Self::UnansweredShare => "unanswered_share",
            Self::UnsentShare => "unsent_share",
            Self::GeneratorShare => "generator_share",
            Self::ProxyShare => "proxy_share",
        }
    }

    /// In what it is counted; nothing where it is a share.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::CpuPath | Self::P50 | Self::P99 | Self::P999 | Self::P50Added | Self::P99Added => "µs",
            Self::Rps => "a second",
            Self::Rss => "KiB",
            Self::BytesEach | Self::SocketBytesEach | Self::SlabBytesEach => "B",
            Self::UnansweredShare | Self::UnsentShare | Self::GeneratorShare | Self::ProxyShare => "",
        }
    }

    /// What `round` came to; `direct` is the same round without a proxy.
    fn of(self, round: &Round, direct: Option<&Round>) -> Option<f64> {
        let held = round.held.as_ref();
        match self {
            Self::Cpu => round.cpu_us,
            Self::CpuPath => round.cpu_path_us,
            Self::Rps => round.rps,
            Self::P50 => round.p50_us,
            Self::P99 => round.p99_us,
            Self::P999 => round.p999_us,
            Self::P50Added => Some(round.p50_us? - direct?.p50_us?),
            Self::P99Added => Some(round.p99_us? - direct?.p99_us?),
            Self::Rss => round.rss_kib.map(|kib| kib as f64),
            Self::BytesEach => held?.bytes_each,
            Self::SocketBytesEach => held.map(|held| held.socket_bytes_each),
            Self::SlabBytesEach => held.map(|held| held.slab_bytes_each),
            Self::UnansweredShare => {
                held.map(|held| (held.connections - held.answered) as f64 / held.connections.max(1) as f64)
            }
            Self::UnsentShare => {
                round.rate.map(|_| round.unsent as f64 / (round.requests + round.unsent).max(1) as f64)
            }
            Self::GeneratorShare => held.is_none().then_some(round.generator_share),
            Self::ProxyShare => round.proxy_share,
        }
    }
}

/// The middle of several values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of nothing there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.get(values.len() / 2).copied()?;
        let median = match values.len() % 2 {
            1 => upper,
            _ => f64::midpoint(*values.get(values.len() / 2 - 1)?, upper),
        };
        Some(Self { median, min, max })
    }
}

/// All rounds of one subject under one plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    numbers: BTreeMap<Measure, Spread>,
    /// How many rounds.
    pub rounds: usize,
    /// Of them, void in pace and latency.
    pub void: usize,
}

impl Summary {
    /// Sums up the rounds of one subject; `direct` are those without a proxy.
    pub fn of(rounds: &[&Round], direct: &[&Round]) -> Self {
        let mut numbers = BTreeMap::new();
        for measure in Measure::ALL {
            let beside = |round: &Round| direct.iter().find(|other| other.round == round.round).copied();
            let values: Vec<f64> = rounds.iter().filter_map(|round| measure.of(round, beside(round))).collect();
            numbers.extend(Spread::of(&values).map(|spread| (measure, spread)));
        }
        let void = rounds.iter().filter(|round| round.void.is_some()).count();
        Self { numbers, rounds: rounds.len(), void }
    }

    /// The median of a number and how far its rounds lie apart.
    pub fn spread(&self, measure: Measure) -> Option<Spread> {
        self.numbers.get(&measure).copied()
    }

    /// The median of a number.
    pub fn median(&self, measure: Measure) -> Option<f64> {
        self.spread(measure).map(|spread| spread.median)
    }

    /// `name` is the median, `name_min` and `name_max` what lies around it.
    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        for measure in Measure::ALWAYS {
            fields.insert(measure.name().to_owned(), Value::Null);
        }
        for (measure, spread) in &self.numbers {
            fields.insert(measure.name().to_owned(), json!(rounded(spread.median)));
            fields.insert(format!("{}_min", measure.name()), json!(rounded(spread.min)));
            fields.insert(format!("{}_max", measure.name()), json!(rounded(spread.max)));
        }
        fields.insert("rounds".to_owned(), json!(self.rounds));
        fields.insert("void_rounds".to_owned(), json!(self.void));
        Value::Object(fields)
    }
}

/// The numbers of a plan, by subject.
pub type PlanSums = BTreeMap<Subject, Summary>;

/// Sums up the rounds of one plan.
pub fn plan(rounds: &[&Round]) -> PlanSums {
    let of = |subject: Subject| -> Vec<&Round> {
        rounds.iter().filter(|round| round.subject == subject.name()).copied().collect()
    };
    let direct = of(Subject::Direct);
    let measured = Subject::ALL.into_iter().map(|subject| (subject, of(subject)));
    measured.filter(|(_, own)| !own.is_empty()).map(|(subject, own)| (subject, Summary::of(&own, &direct))).collect()
}

/// Thousandths are below what any of this can tell.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(subject: Subject, round: u32, p99: Option<f64>) -> Round {
        let void = p99.is_none().then(|| "the generator's core was full".to_owned());
        Round { subject: subject.name(), round, p99_us: p99, void, ..Round::default() }
    }

    #[test]
    fn the_median_is_the_middle_and_nothing_has_none() {
        let spread = |median, min, max| Some(Spread { median, min, max });
        let rows: [(&[f64], Option<Spread>); 4] = [
            (&[], None),
            (&[3.0], spread(3.0, 3.0, 3.0)),
            (&[9.0, 1.0], spread(5.0, 1.0, 9.0)),
            (&[9.0, 1.0, 2.0], spread(2.0, 1.0, 9.0)),
        ];
        for (values, expected) in rows {
            assert_eq!(Spread::of(values), expected, "of {values:?}");
        }
    }

    #[test]
    fn added_latency_is_counted_within_a_round_and_void_rounds_add_none() {
        let rounds = [
            round(Subject::Direct, 0, Some(100.0)),
            round(Subject::Nginx, 0, Some(130.0)),
            round(Subject::Direct, 1, Some(500.0)),
            round(Subject::Nginx, 1, Some(510.0)),
            round(Subject::Direct, 2, None),
            round(Subject::Nginx, 2, Some(9000.0)),
        ];
        let sums = plan(&rounds.iter().collect::<Vec<_>>());
        let added = sums[&Subject::Nginx].spread(Measure::P99Added);
        assert_eq!(added, Some(Spread { median: 20.0, min: 10.0, max: 30.0 }));
        assert_eq!((sums[&Subject::Direct].rounds, sums[&Subject::Direct].void), (3, 1));
        assert!(!sums.contains_key(&Subject::Haproxy), "who was not measured has no summary");
    }

    #[test]
    fn the_keys_that_readers_rely_on_are_there_without_a_number_too() {
        let json = Summary::of(&[&round(Subject::Direct, 0, Some(1.23456))], &[]).json();
        for key in ["cpu_us", "cpu_path_us", "rps", "p50_us", "rss_kib"] {
            assert_eq!(json.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(json["p99_us"], 1.235);
        assert_eq!(json["p99_us_max"], 1.235);
    }
}
