//! Writes the report as Markdown. In: a report. Out: text that reads well as it is. Never here: numbers of its own.

use std::fmt::Write as _;

use super::report::Report;
use super::words::{self, Table};

/// The whole page.
pub fn page(report: &Report) -> String {
    let (reached, all) = words::reached(&report.goals);
    let mut out = format!("# Portcullis side by side\n\n{}. {reached} of {all} goals reached.\n", report.when.0);
    for (plan, cause) in &report.failures {
        let _infallible = write!(out, "\n**The plan {plan} failed:** {cause}\n");
    }
    section(&mut out, "Goals", &table(&words::goals(&report.goals)));
    for leg in &report.legs {
        let Some(sums) = report.sums.get(&leg.name) else { continue };
        let about = format!(
            "{}; {} connections, {} rounds of {} s.\n\n",
            leg.plan.about,
            leg.plan.connections,
            leg.rounds,
            leg.length.as_secs_f64()
        );
        section(&mut out, &leg.name, &(about + &table(&words::plan(leg, sums))));
    }
    section(&mut out, "How it was measured", &list(&words::HOW));
    section(&mut out, "What this does not show", &list(&words::NOT_SHOWN));
    let facts = words::facts(report).into_iter().map(|(name, value)| vec![name, value]).collect();
    section(&mut out, "Where", &table(&Table { head: vec!["", ""], rows: facts }));
    for (name, text) in &report.configurations {
        section(&mut out, name, &format!("```text\n{}\n```\n", text.trim_end()));
    }
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    let _infallible = write!(out, "\n## {title}\n\n{body}");
}

fn list(items: &[&str]) -> String {
    items.iter().map(|item| format!("* {item}\n")).collect()
}

fn table(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let cell = |text: &str| text.replace('|', "\\|");
    let head: Vec<String> = table.head.iter().map(|text| cell(text)).collect();
    let rule: Vec<String> = table.head.iter().map(|_| "---".to_owned()).collect();
    let rows = table.rows.iter().map(|row| line(&row.iter().map(|text| cell(text)).collect::<Vec<_>>()));
    line(&head) + &line(&rule) + &rows.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn the_page_shows_what_was_missed_and_what_is_not_shown() {
        let page = page(&example());
        assert!(page.contains("| MISSED |"), "{page}");
        assert!(page.contains("## What this does not show\n\n* A network."), "{page}");
        assert!(page.contains("## idle\n"), "{page}");
    }

    #[test]
    fn a_cell_cannot_end_itself() {
        let text = table(&Table { head: vec!["a"], rows: vec![vec!["b|c".to_owned()]] });
        assert_eq!(text, "| a |\n| --- |\n| b\\|c |\n");
    }
}
