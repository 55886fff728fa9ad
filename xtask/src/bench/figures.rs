//! Chooses what is drawn. In: a report. Out: figures with their words. Never here: numbers that the report does not hold.

use std::collections::BTreeMap;

use super::data::Round;
use super::plot::{self, Axis, Bar, Line, Point};
use super::report::Report;
use super::subject::{Family, Subject};
use super::sums::{Measure, Spread};

/// A drawing with its words, and who is seen in it.
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub words: String,
    /// Who is in it, for the legend; none where names stand beside the bars.
    pub subjects: Vec<Subject>,
    /// The drawing.
    pub svg: String,
}

/// CPU time of each plan, by subject.
pub fn cpu(report: &Report) -> Vec<Figure> {
    let drawn = report.legs.iter().filter_map(|leg| {
        let sums = report.sums.get(&leg.name)?;
        // With two cores to choose from only what the workers used is comparable.
        let path_alone = leg.name == super::course::WORKERS;
        let bars: Vec<Bar> = sums
            .iter()
            .filter_map(|(subject, summary)| {
                let path = summary.median(Measure::CpuPath);
                let spread = summary.spread(if path_alone { Measure::CpuPath } else { Measure::Cpu })?;
                let inner = path.filter(|_| subject.family() == Family::Portcullis);
                Some(bar(*subject, spread, inner))
            })
            .collect();
        let unit = if leg.name == "handshakes" { "µs of CPU a handshake with its call" } else { "µs of CPU a call" };
        (!bars.is_empty()).then(|| Figure {
            title: leg.name.clone(),
            words: leg.plan.about.clone(),
            subjects: Vec::new(),
            svg: plot::bars(&leg.name, unit, &bars),
        })
    });
    drawn.collect()
}

fn bar(subject: Subject, spread: Spread, inner: Option<f64>) -> Bar {
    let label = subject.name().to_owned();
    Bar { class: subject.name(), label, value: spread.median, inner, min: spread.min, max: spread.max }
}

/// Latency percentiles against the rate.
pub fn latency(report: &Report) -> Vec<Figure> {
    let all: Vec<&Round> =
        report.rounds.iter().chain(&report.beside).filter(|round| round.of_saturation.is_some()).collect();
    let figures = [("Median latency against rate", Measure::P50), ("99th percentile against rate", Measure::P99)];
    let drawn = figures.into_iter().filter_map(|(title, measure)| {
        let number = |round: &Round| if measure == Measure::P50 { round.p50_us } else { round.p99_us };
        let mut lines = Vec::new();
        let mut subjects = Vec::new();
        for subject in seen(&all) {
            let own: Vec<&Round> = all.iter().filter(|round| round.subject == subject.name()).copied().collect();
            let points = points(&own, |round| Some((round.rate?, number(round)?)));
            if points.len() > 1 {
                let point = |(rate, us): (f64, f64)| Point {
                    x: rate,
                    y: us,
                    title: format!(
                        "{}: {} µs at {} calls a second",
                        subject.name(),
                        plot::short(us),
                        plot::short(rate)
                    ),
                };
                lines.push(Line { class: subject.name(), points: points.into_iter().map(point).collect() });
                subjects.push(subject);
            }
        }
        let (least, most) = ends(&lines, |point| point.y)?;
        let (_, right) = ends(&lines, |point| point.x)?;
        let x = Axis::linear("calls a second, sent whatever the answers do", right);
        let y = Axis::logarithmic("µs, logarithmic", least, most);
        let words =
            "Time counts from when a call was due, not from when it could be sent, so that no stall is left out. \
                     Void rounds are not drawn."
                .to_owned();
        Some(Figure { title: title.to_owned(), words, subjects, svg: plot::lines(title, &x, &y, &lines) })
    });
    drawn.collect()
}

/// All percentiles of the open loops.
pub fn percentiles(report: &Report) -> Vec<Figure> {
    let drawn = report.legs.iter().filter_map(|leg| {
        let own: Vec<&Round> = report
            .rounds
            .iter()
            .filter(|round| round.plan == leg.name && round.of_saturation.is_some() && round.p50_us.is_some())
            .collect();
        let mut lines = Vec::new();
        let mut subjects = Vec::new();
        for subject in seen(&own) {
            let points = percentile_points(own.iter().filter(|round| round.subject == subject.name()));
            if points.len() > 1 {
                let point = |(nines, us): (f64, f64)| Point {
                    x: nines,
                    y: us,
                    title: format!(
                        "{}: 1 in {} slower than {} µs",
                        subject.name(),
                        plot::short(nines),
                        plot::short(us)
                    ),
                };
                lines.push(Line { class: subject.name(), points: points.into_iter().map(point).collect() });
                subjects.push(subject);
            }
        }
        let (least, most) = ends(&lines, |point| point.y)?;
        let (_, rarest) = ends(&lines, |point| point.x)?;
        let title = format!("Percentiles of {}", leg.name);
        let x = Axis::logarithmic("one call in so many is slower", 2.0, rarest);
        let y = Axis::logarithmic("µs, logarithmic", least, most);
        let svg = plot::lines(&title, &x, &y, &lines);
        Some(Figure { title, words: leg.plan.about.clone(), subjects, svg })
    });
    drawn.collect()
}

/// Medians over rounds of the time at each percentile, as one call in so many; the very last of a round is chance.
fn percentile_points<'r>(rounds: impl Iterator<Item = &'r &'r Round>) -> Vec<(f64, f64)> {
    let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for round in rounds {
        for (percentile, us) in &round.percentiles {
            if (50.0..99.99).contains(percentile) {
                at.entry((percentile * 1e6).round() as u64).or_default().push(*us);
            }
        }
    }
    let points = at.into_iter().filter_map(|(millionths, values)| {
        let rest = 100.0 - millionths as f64 / 1e6;
        Some((100.0 / rest, Spread::of(&values)?.median))
    });
    points.collect()
}

/// Memory against connections.
pub fn memory(report: &Report) -> Vec<Figure> {
    let drawn = report.legs.iter().filter(|leg| leg.holds()).filter_map(|leg| {
        let all: Vec<&Round> =
            report.rounds.iter().chain(&report.beside).filter(|round| round.plan == leg.name).collect();
        let mut lines = Vec::new();
        let mut subjects = Vec::new();
        for subject in seen(&all) {
            let own: Vec<&Round> = all.iter().filter(|round| round.subject == subject.name()).copied().collect();
            let mut points = points(&own, |round| {
                let held = round.held.as_ref()?;
                Some((held.connections as f64, held.with_kib? as f64 / 1024.0))
            });
            let before: Vec<f64> =
                own.iter().filter_map(|round| Some(round.held.as_ref()?.before_kib? as f64 / 1024.0)).collect();
            let Some(before) = Spread::of(&before) else { continue };
            points.insert(0, (0.0, before.median));
            let point = |(held, mib): (f64, f64)| Point {
                x: held,
                y: mib,
                title: format!("{}: {} MiB with {held} connections", subject.name(), plot::short(mib)),
            };
            lines.push(Line { class: subject.name(), points: points.into_iter().map(point).collect() });
            subjects.push(subject);
        }
        let (_, most) = ends(&lines, |point| point.y)?;
        let (_, right) = ends(&lines, |point| point.x)?;
        let title = format!("Memory of {}", leg.name);
        let (x, y) = (Axis::linear("connections held", right), Axis::linear("MiB of the process in user space", most));
        let svg = plot::lines(&title, &x, &y, &lines);
        Some(Figure { title, words: leg.plan.about.clone(), subjects, svg })
    });
    drawn.collect()
}

fn seen(rounds: &[&Round]) -> Vec<Subject> {
    Subject::ALL.into_iter().filter(|subject| rounds.iter().any(|round| round.subject == subject.name())).collect()
}

/// Medians of the second number at each first one, from left to right. Rates of one run are equal to the last digit.
fn points(rounds: &[&Round], of: impl Fn(&Round) -> Option<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut at: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for (x, y) in rounds.iter().filter_map(|round| of(round)) {
        at.entry((x * 1000.0).round() as u64).or_insert_with(|| (x, Vec::new())).1.push(y);
    }
    at.into_values().filter_map(|(x, values)| Some((x, Spread::of(&values)?.median))).collect()
}

/// The least and the most of all points; of nothing there are none.
fn ends(lines: &[Line], of: impl Fn(&Point) -> f64) -> Option<(f64, f64)> {
    let all: Vec<f64> = lines.iter().flat_map(|line| &line.points).map(of).collect();
    Spread::of(&all).map(|spread| (spread.min, spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_medians_from_left_to_right() {
        let round = |rate, p50| Round { rate: Some(rate), p50_us: p50, ..Round::default() };
        let rounds = [
            round(2000.0, Some(9.0)),
            round(1000.0, Some(3.0)),
            round(1000.0, Some(5.0)),
            round(1000.0, Some(100.0)),
            round(500.0, None),
        ];
        let got = points(&rounds.iter().collect::<Vec<_>>(), |round| Some((round.rate?, round.p50_us?)));
        assert_eq!(got, [(1000.0, 5.0), (2000.0, 9.0)], "void rounds are no points");
    }

    #[test]
    fn percentiles_become_one_call_in_so_many() {
        let percentiles = vec![(0.0, 1.0), (50.0, 10.0), (99.0, 40.0), (100.0, 900.0)];
        let round = Round { percentiles, ..Round::default() };
        assert_eq!(percentile_points([&round].iter()), [(2.0, 10.0), (100.0, 40.0)]);
    }
}
