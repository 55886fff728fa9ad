//! `portcullis audit why`: tells why a recorded call was decided as it was. In: a record's name. Out: the rules of the version that decided it, what they read, and what nearly counted. Never here: today's rules, unless it says so.

use super::indexed;
use crate::cli::book::{self, Book, Shut, Which};
use crate::cli::policy::explain::{body, page};
use crate::cli::segments::{self, Line, Reader};
use crate::cli::{End, Failure, Outcome, Ways, list, number, recorded, say, text};
use crate::explained::{self, sources};
use crate::logged::Reading;
use portcullis_core::audit::view::{Answer, Call};
use portcullis_core::policy::explain;
use serde_json::{Value, json};

/// Runs the verb.
pub fn why(reader: Reader, id: &str, ways: &Ways) -> Outcome {
    let (line, result) = decision(reader, id)?;
    let count = 1 + u64::from(result.is_some());
    indexed::record(ways, &Reading { what: format!("why {id}"), count })?;
    let objecting = result.as_ref().map(|result| result.entry.rules.clone()).unwrap_or_default();
    let version = line.entry.snapshot.unwrap_or_default();
    let told = match book::try_open(Which::Version(version), ways) {
        Ok(book) => of_book(&line, &objecting, &book),
        Err(shut) => of_texts((&line, &objecting), version, shut, ways),
    };
    let call = Call { entry: line.entry.clone(), answer: Answer::NotExpected };
    if ways.json {
        let mut shown = told;
        if let Some(members) = shown.as_object_mut() {
            members.insert("id".into(), json!(segments::id(&line.entry)));
            members.insert("version".into(), json!(version));
            members.insert("hash".into(), json!(line.entry.snapshot_hash));
            members.insert("decision".into(), json!(line.entry.decision));
            members.insert("cause".into(), json!(line.entry.cause));
            members.insert("record".into(), serde_json::from_str(&line.raw).unwrap_or_default());
            if let Some(result) = &result {
                members.insert("result".into(), serde_json::from_str(&result.raw).unwrap_or_default());
            }
        }
        say::json(&shown);
        return Ok(End::Done);
    }
    super::print(&call);
    say::line(&format!(
        "  decided by version {version}, {}",
        line.entry.snapshot_hash.as_deref().unwrap_or("of unknown content")
    ));
    list(&told, "/rules").iter().for_each(|rule| print_rule("rule  ", rule));
    if let Some(result) = &result {
        let withheld = result.entry.decision.as_deref() == Some("deny");
        let word = if withheld { "withheld" } else { "would be withheld, and the route only observes" };
        say::line(&format!("  result    {word}: {}", result.entry.cause.as_deref().unwrap_or_default()));
        list(&told, "/result_rules").iter().for_each(|rule| print_rule("by    ", rule));
    }
    if let Some(again) = told.get("explanation").filter(|again| again.is_object()) {
        say::line("\njudged again by the rules and agents of that version, with the tools as they are reviewed now:");
        page(&segments::id(&line.entry), again);
    }
    list(&told, "/notes").iter().filter_map(Value::as_str).for_each(|note| say::line(&format!("  note      {note}")));
    Ok(End::Done)
}

/// A rule with its place and its text.
fn print_rule(word: &str, rule: &Value) {
    let (effect, id, file) = (text(rule, "/effect"), text(rule, "/id"), text(rule, "/file"));
    say::line(&format!("  {word}    {effect} {id}  {file}:{}", number(rule, "/line")));
    body(rule);
}

/// The record of the decision that `id` names or belongs to, and that of its result where rules over results objected.
fn decision(reader: Reader, id: &str) -> Result<(Line, Option<Line>), Failure> {
    let records = super::find(reader, id)?;
    let decided = |line: &&Line| matches!(line.entry.event.as_str(), "decision" | "server.request");
    let objected = |line: &&Line| line.entry.event.starts_with("result") && line.entry.decision.is_some();
    let result = records.iter().find(objected).cloned();
    records.iter().find(decided).cloned().map(|line| (line, result)).ok_or_else(|| {
        let event = records.first().map(|line| line.entry.event.clone()).unwrap_or_default();
        Failure::new(
            format!("`{id}` is a record of `{event}`, which no rule decided"),
            "`portcullis audit show` tells all that is recorded of it",
        )
    })
}

/// The rules that the record names, and the whole explanation.
fn of_book(line: &Line, objecting: &[String], book: &Book) -> Value {
    let rules = explain::rules(&sources(&book.policies), &line.entry.rules);
    let objecting = explain::rules(&sources(&book.policies), objecting);
    let mut notes = Vec::new();
    if line.entry.snapshot_hash.as_deref() != Some(&book.hash) {
        notes.push(
            "the version of this number has another content than the record says; its rules may be others".into(),
        );
    }
    let asked = recorded::trial(line).map_err(|why| format!("it cannot be judged again: {}", why.words()));
    let told = asked.and_then(|trial| explained::explain(book.set(), &trial).map_err(|(message, _)| message));
    let explanation = match told {
        Ok(mut told) => {
            let was = recorded::Judged::recorded(&line.entry).word;
            if text(&told, "/decision") != was {
                notes.push(format!(
                    "it was decided `{was}` then; the token's claims, which are not recorded, or the reviewed tools make the difference"
                ));
            }
            if let Some(members) = told.as_object_mut() {
                members.insert("snapshot".into(), book.about());
                members.remove("cost_ns");
            }
            told
        }
        Err(why) => {
            notes.push(why);
            Value::Null
        }
    };
    json!({"rules": rules, "result_rules": objecting, "explanation": explanation, "notes": notes})
}

/// The rules alone, where that version cannot be built any more.
fn of_texts((line, objecting): (&Line, &[String]), version: u64, shut: Shut, ways: &Ways) -> Value {
    let why = match shut {
        Shut::Failure(failure) => failure.message,
        Shut::Findings(name, findings) => {
            let first = findings.first().map(ToString::to_string).unwrap_or_default();
            format!("{name} cannot be built any more, so nothing but its rules can be told: {first}")
        }
    };
    let policies = book::kept(version, ways).map(|kept| kept.sources).unwrap_or_default();
    let policies: Vec<_> = policies.into_iter().map(portcullis_core::config::snapshot::Text::from).collect();
    let rules = explain::rules(&sources(&policies), &line.entry.rules);
    let objecting = explain::rules(&sources(&policies), objecting);
    json!({"rules": rules, "result_rules": objecting, "explanation": Value::Null, "notes": [why]})
}
