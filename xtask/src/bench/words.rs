//! Puts a report into words and tables. In: sums, goals. Out: what all of its forms say alike. Never here: markup.

use portcullis_loadtest::plan::{Kind, Pace};
use serde_json::Value;

use super::course::Leg;
use super::goals::Goal;
use super::report::Report;
use super::subject::Subject;
use super::sums::{Measure, PlanSums, Summary};

/// Rows under a head; the first column names, the others are numbers or short words.
pub struct Table {
    /// What the columns are.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// For a terminal: columns as wide as they have to be.
    pub fn plain(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let mut text = String::new();
        for row in &all {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let wide = width(column).unwrap_or(0);
                if column == 0 { format!("{cell:<wide$}") } else { format!("{cell:>wide$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// How it was measured.
pub const HOW: [&str; 6] = [
    "One proxy at a time is asked. It has a core for itself; load generator and upstream share the other. Subjects take turns, each round begins with another one, and numbers are medians over the rounds; what stands in brackets is the least and the most of them.",
    "CPU time is the kernel's own count (`schedstat`, nanoseconds) of every thread and child of the proxy: threads that ended and the kernel's workers for it included, and the work that follows an answer too, since it is read once the proxy has gone quiet. On the path means the threads that serve calls.",
    "nginx and haproxy pass calls through unread: one worker or thread, kept connections on both sides, no access log. Portcullis verifies the token, decides a rule that reads an argument, and records decision and result on disk.",
    "In open loops calls are sent at a constant rate, and time counts from when each was due. The rates are parts of what haproxy bears in a closed loop, found in the same run. Added latency is a round's percentile less that of the same round without a proxy.",
    "A round in which load and upstream used more than 95 % of their core is void where pace or latency would be judged. What a call costs in CPU time stands nevertheless, for it does not depend on the pace.",
    "Held connections: the proxy is started anew for each round. Its memory in user space before and with the connections is compared once it has settled, then every connection is asked once more. Memory of the kernel is the whole machine's, both ends of each connection.",
];

/// What the numbers do not say.
pub const NOT_SHOWN: [&str; 14] = [
    "A network. Everything is loopback: no card, driver, interrupt, offload, loss or distance, and the sender's CPU time does the receiver's share of TCP as well, for every subject alike.",
    "More than one machine of this kind with two cores. How a gateway grows over many cores, sockets or memory nodes is not shown.",
    "A generator of its own. Load and upstream run on the same host, on the other core, and share its caches and its memory with the proxy.",
    "Two workers at full pace. One of the two has to share its core with load and upstream, so only the CPU time of the workers for each call is compared there; their pace, and what a free second core would bring, is not shown.",
    "The best that nginx and haproxy can do. They are the distribution's versions, configured by us as printed below; newer ones, other builds and better hands may be faster. They check nothing here; with modules that check tokens they would do more.",
    "TLS libraries apart from proxies. nginx and haproxy use the distribution's OpenSSL, Portcullis uses AWS-LC; part of any difference is theirs. Nobody uses kernel TLS (kTLS) or hardware for it, and nobody resumes sessions.",
    "Handshakes alone: what is counted is a connection with its full handshake, one small call and its end.",
    "Energy or price. CPU time is not power, and the clock of a core and a virtual machine's neighbours change how much time the same work takes; that is why subjects take turns.",
    "Cold caches. There is one tool, one rule that reads an argument, a handful of agents, and each token's signature is checked once and remembered. Large rule sets and many fresh tokens are measured in `benches/`, not here.",
    "Slow upstreams, upstreams over TLS, HTTP/2 and HTTP/3.",
    "Disks in general. What `portcullis_strict` waits for is this machine's disk.",
    "Tails beyond these rounds. They are seconds long, on a machine whose scheduler is shared; the 99.9th percentile and beyond is chance as much as proxy.",
    "Whose memory the kernel's is. Sockets and slabs are counted for the whole machine, with the load's own. nginx lays a table for all connections out when it starts, which does not count for each of them.",
    "A product in `portcullis_pass`: it is a build of the bench that shows what the data plane costs without its purpose.",
];

/// The numbers of one plan.
pub fn plan(leg: &Leg, sums: &PlanSums) -> Table {
    let nginx = sums.get(&Subject::Nginx).and_then(|nginx| nginx.median(Measure::Cpu));
    let open = leg.plan.pace != Pace::Closed;
    let head = match leg.plan.kind {
        Kind::Idle | Kind::Streams => {
            vec!["subject", "bytes each", "sockets each", "slab each", "unanswered", "memory KiB"]
        }
        Kind::Calls if open => {
            vec![
                "subject",
                "p50 µs",
                "p99 µs",
                "p99.9 µs",
                "p50 added",
                "p99 added",
                "CPU µs",
                "on path",
                "unsent",
                "void",
            ]
        }
        Kind::Calls | Kind::Handshakes => {
            vec!["subject", "CPU µs", "on path µs", "× nginx", "a second", "p50 µs", "p99 µs", "RSS KiB"]
        }
    };
    let row = |subject: &Subject, summary: &Summary| {
        let range = |measure, digits| ranged(summary, measure, digits);
        let one = |measure, digits| number(summary.median(measure), digits);
        let mut cells = vec![subject.name().to_owned()];
        cells.extend(match leg.plan.kind {
            Kind::Idle | Kind::Streams => vec![
                range(Measure::BytesEach, 0),
                one(Measure::SocketBytesEach, 0),
                one(Measure::SlabBytesEach, 0),
                percent(summary.median(Measure::UnansweredShare)),
                one(Measure::Rss, 0),
            ],
            Kind::Calls if open => vec![
                range(Measure::P50, 0),
                range(Measure::P99, 0),
                one(Measure::P999, 0),
                one(Measure::P50Added, 0),
                one(Measure::P99Added, 0),
                one(Measure::Cpu, 2),
                one(Measure::CpuPath, 2),
                percent(summary.median(Measure::UnsentShare)),
                format!("{} of {}", summary.void, summary.rounds),
            ],
            Kind::Calls | Kind::Handshakes => vec![
                range(Measure::Cpu, 2),
                one(Measure::CpuPath, 2),
                number(summary.median(Measure::Cpu).zip(nginx).map(|(own, nginx)| own / nginx), 2),
                summary.median(Measure::Rps).map_or_else(|| "void".to_owned(), |rps| format!("{rps:.0}")),
                one(Measure::P50, 0),
                one(Measure::P99, 0),
                one(Measure::Rss, 0),
            ],
        });
        cells
    };
    Table { head, rows: sums.iter().map(|(subject, summary)| row(subject, summary)).collect() }
}

/// Every goal, by heading.
pub fn goals(goals: &[Goal]) -> Table {
    let row = |goal: &Goal| {
        vec![
            goal.point.to_string(),
            goal.what.to_owned(),
            goal.plan.to_owned(),
            format!("{} {}", goal.subject, counted(goal.own, goal.unit)),
            against(goal),
            goal.ratio.map_or_else(|| goal.why.unwrap_or("-").to_owned(), |ratio| format!("{ratio:.3}")),
            format!("{:.3}", goal.at_most),
            verdict(goal).to_owned(),
        ]
    };
    let head = vec!["", "what", "plan", "own", "against", "ratio", "at most", ""];
    Table { head, rows: goals.iter().map(row).collect() }
}

/// The other's name and number; what is held against a fixed number says it already.
fn against(goal: &Goal) -> String {
    match goal.other {
        Some(_) if Subject::named(goal.against).is_none() => goal.against.to_owned(),
        other => format!("{} {}", goal.against, counted(other, goal.unit)),
    }
}

/// A number with its unit, as precise as it is worth.
fn counted(value: Option<f64>, unit: &str) -> String {
    let digits = if value.is_some_and(|value| value.abs() >= 1000.0) { 0 } else { 2 };
    format!("{} {unit}", number(value, digits)).trim_end().to_owned()
}

/// One word for it.
pub fn verdict(goal: &Goal) -> &'static str {
    if goal.reached { "reached" } else { "MISSED" }
}

/// One line for it.
pub fn goal(goal: &Goal) -> String {
    let ratio = goal.ratio.map_or_else(
        || format!("cannot be judged, {}", goal.why.unwrap_or("no number")),
        |ratio| format!("{ratio:.3} x {}", goal.against),
    );
    format!(
        "{}: {}. {}, {}: {}: {ratio}, at most {:.3}",
        verdict(goal),
        goal.point,
        goal.plan,
        goal.subject,
        goal.what,
        goal.at_most
    )
}

/// Machine and versions as pairs, in the order in which they are kept.
pub fn facts(report: &Report) -> Vec<(String, String)> {
    let said = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all = [&report.machine, &report.versions].into_iter().filter_map(Value::as_object).flatten();
    let mut facts: Vec<(String, String)> =
        all.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.replace('_', " "), said(value))).collect();
    if let Some(saturation) = &report.saturation {
        let limited = saturation.rounds.iter().filter(|round| round.void.is_some()).count();
        let words = if limited > 0 {
            format!(
                " ({limited} of {} rounds limited by load and upstream, so it might bear more)",
                saturation.rounds.len()
            )
        } else {
            String::new()
        };
        facts.push(("haproxy bears".to_owned(), format!("{:.0} calls a second{words}", saturation.rps)));
    }
    facts.push(("took".to_owned(), format!("{} min {} s", report.when.1 / 60, report.when.1 % 60)));
    facts
}

/// How many goals were reached, and of how many.
pub fn reached(goals: &[Goal]) -> (usize, usize) {
    (goals.iter().filter(|goal| goal.reached).count(), goals.len())
}

fn dash() -> String {
    "-".to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.2} %", share * 100.0))
}

fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(dash, |number| format!("{number:.digits$}"))
}

fn ranged(summary: &Summary, measure: Measure, digits: usize) -> String {
    match summary.spread(measure) {
        None if summary.void > 0 => "void".to_owned(),
        None => dash(),
        Some(spread) if summary.rounds < 2 => format!("{:.digits$}", spread.median),
        Some(spread) => format!("{:.digits$} ({:.digits$} to {:.digits$})", spread.median, spread.min, spread.max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn a_goal_that_was_missed_says_so_first() {
        let report = example();
        let lines: Vec<String> = report.goals.iter().map(goal).collect();
        let missed =
            "MISSED: 1. plain_small, portcullis: CPU per call in total, everything on: 1.100 x nginx, at most 1.000";
        assert!(lines.iter().any(|line| line == missed), "{lines:#?}");
        let (reached, all) = reached(&report.goals);
        assert!(0 < reached && reached < all, "{reached} of {all}");
    }

    #[test]
    fn every_plan_has_a_table_with_a_cell_for_each_head() {
        let report = example();
        for leg in &report.legs {
            let table = plan(leg, &report.sums[&leg.name]);
            assert!(!table.rows.is_empty(), "{}", leg.name);
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{}: {:?}", leg.name, table.rows);
        }
    }

    #[test]
    fn columns_on_a_terminal_stand_below_each_other() {
        let rows = vec![vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "9".to_owned()]];
        let table = Table { head: vec!["x", "µs"], rows };
        assert_eq!(table.plain(), "x     µs\na     10\nlong   9\n");
    }
}
