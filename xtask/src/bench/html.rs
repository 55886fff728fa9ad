//! Writes the report as one page. In: a report. Out: HTML with its style and its drawings in it, which asks nobody for anything. Never here: numbers of its own.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use super::plot::escaped;
use super::report::Report;
use super::subject::Subject;
use super::words::{self, Table};

const STYLE: &str = include_str!("report.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Portcullis side by side</title>\n");
    let _infallible = write!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}", head(report));
    section(&mut out, "Goals", "goals", &goals(report));
    section(&mut out, "CPU time", "cpu", &cpu(report));
    let latency: Vec<Figure> = figures::latency(report).into_iter().chain(figures::percentiles(report)).collect();
    section(&mut out, "Latency at a given rate", "latency", &drawn(&latency));
    section(&mut out, "Memory of held connections", "memory", &drawn(&figures::memory(report)));
    section(&mut out, "All numbers", "numbers", &numbers(report));
    section(&mut out, "How it was measured", "how", &list(&words::HOW));
    section(&mut out, "What this does not show", "limits", &list(&words::NOT_SHOWN));
    section(&mut out, "Who was measured, where", "where", &place(report));
    section(&mut out, "Configurations", "configurations", &configurations(report));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn head(report: &Report) -> String {
    let (reached, all) = words::reached(&report.goals);
    let fact = |name: &str| {
        let facts = words::facts(report);
        facts.into_iter().find(|(there, _)| there == name).map_or_else(|| "-".to_owned(), |(_, value)| value)
    };
    let tiles = [
        (format!("{reached} of {all}"), "goals reached".to_owned()),
        (report.rounds.len().to_string(), "rounds".to_owned()),
        (fact("cpus"), format!("cores of {}", fact("cpu"))),
        (fact("commit"), format!("measured in {}", fact("took"))),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(value, words)| format!("<div><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(words)))
        .collect();
    format!(
        "<header>\n<h1>Portcullis side by side</h1>\n<p>What a call costs that is verified, judged and recorded, beside proxies that pass it on \
         unread. {}</p>\n<div class=\"tiles\">\n{tiles}</div>\n</header>\n",
        escaped(&report.when.0)
    )
}

/// Nothing stands under a heading that has nothing.
fn section(out: &mut String, title: &str, name: &str, body: &str) {
    if !body.is_empty() {
        let _infallible = write!(out, "<section id=\"{name}\">\n<h2>{title}</h2>\n{body}</section>\n");
    }
}

fn goals(report: &Report) -> String {
    let failure = |(plan, cause): &(String, String)| {
        format!("<p class=\"failed\"><b>The plan <code>{}</code> failed.</b> {}</p>\n", escaped(plan), escaped(cause))
    };
    let failures: String = report.failures.iter().map(failure).collect();
    if report.goals.is_empty() {
        return failures + "<p>No goal was judged: those that it compares were not measured together.</p>\n";
    }
    failures + &table(&words::goals(&report.goals), "goals")
}

fn cpu(report: &Report) -> String {
    let figures = figures::cpu(report);
    if figures.is_empty() {
        return String::new();
    }
    let words = "<p>Bars are medians, whiskers the least and the most of the rounds. Of Portcullis the full colour is what the threads \
                 on the path used, the pale rest is everything else in the process: records synced, trees grown. Of <code>workers</code> only \
                 the threads on the path are shown.</p>\n";
    words.to_owned() + &drawn(&figures)
}

fn drawn(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let one = |figure: &Figure| {
        let legend: String = figure
            .subjects
            .iter()
            .map(|subject| format!("<span class=\"key {0}\">{0}</span> ", subject.name()))
            .collect();
        let legend = if legend.is_empty() { legend } else { format!("<div class=\"legend\">{legend}</div>\n") };
        let (title, words) = (escaped(&figure.title), spoken(&figure.words));
        format!("<figure>\n<figcaption><b>{title}</b> {words}</figcaption>\n{legend}{}\n</figure>\n", figure.svg)
    };
    format!("<div class=\"figures\">\n{}</div>\n", figures.iter().map(one).collect::<String>())
}

fn numbers(report: &Report) -> String {
    let mut out = String::new();
    for leg in &report.legs {
        let Some(sums) = report.sums.get(&leg.name) else { continue };
        let _infallible = write!(
            out,
            "<h3>{}</h3>\n<p>{}; {} connections, {} rounds of {} s.</p>\n{}",
            escaped(&leg.name),
            spoken(&leg.plan.about),
            leg.plan.connections,
            leg.rounds,
            leg.length.as_secs_f64(),
            table(&words::plan(leg, sums), "numbers")
        );
    }
    out + "<p>Every round stands in <code>report.json</code> beside this page.</p>\n"
}

fn place(report: &Report) -> String {
    let mut subjects: Vec<Subject> = report.sums.values().flat_map(|sums| sums.keys().copied()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let pairs = |pairs: Vec<(String, String)>| {
        let row =
            |(name, value): (String, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(&name), escaped(&value));
        format!("<dl>\n{}</dl>\n", pairs.into_iter().map(row).collect::<String>())
    };
    let who = subjects.iter().map(|subject| (subject.name().to_owned(), subject.about().to_owned())).collect();
    pairs(who) + &pairs(words::facts(report))
}

fn configurations(report: &Report) -> String {
    let one = |(name, text): &(String, String)| {
        format!(
            "<details>\n<summary>{}</summary>\n<pre>{}</pre>\n</details>\n",
            escaped(name),
            escaped(text.trim_end())
        )
    };
    report.configurations.iter().map(one).collect()
}

fn list(items: &[&str]) -> String {
    format!("<ul>\n{}</ul>\n", items.iter().map(|item| format!("<li>{}</li>\n", spoken(item))).collect::<String>())
}

/// What stands between backticks is code.
fn spoken(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

fn table(table: &Table, class: &str) -> String {
    let cells = |row: &[String]| -> String { row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect() };
    let head: String = table.head.iter().map(|cell| format!("<th>{}</th>", escaped(cell))).collect();
    let row = |row: &Vec<String>| {
        let verdict = row.last().map_or("", |last| match last.as_str() {
            "MISSED" => " class=\"missed\"",
            "reached" => " class=\"reached\"",
            _ => "",
        });
        format!("<tr{verdict}>{}</tr>\n", cells(row))
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\">\n<table class=\"{class}\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let page = page(&example());
        for outside in ["<script", "<link", "http://", "https://", "url(", "@import"] {
            assert!(!page.contains(outside), "`{outside}` in the page");
        }
    }

    #[test]
    fn the_page_holds_plots_of_cpu_latency_and_memory_and_what_was_missed() {
        let page = page(&example());
        for part in [
            "class=\"failed\"",
            "id=\"cpu\"",
            "id=\"latency\"",
            "id=\"memory\"",
            "class=\"whisker\"",
            "class=\"missed\"",
            "What this does not show",
        ] {
            assert!(page.contains(part), "no `{part}`");
        }
        assert!(page.matches("<svg").count() >= 4, "{}", page.matches("<svg").count());
    }

    #[test]
    fn text_of_plans_and_configurations_cannot_become_markup() {
        let page = page(&example());
        assert!(page.contains("a &lt;small&gt; call") && !page.contains("<small>"), "{page}");
        assert!(page.contains("# &lt;1&gt;"));
    }

    #[test]
    fn every_subject_has_a_colour() {
        for subject in Subject::ALL {
            assert!(STYLE.contains(&format!(".{} {{", subject.name())), "`{}` has none", subject.name());
        }
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(spoken("a `b<` c"), "a <code>b&lt;</code> c");
    }
}
