//! `portcullis audit query`: finds calls. In: what they have in common. Out: one line a call, newest first, and the checkpoint it was computed at.
//! Never here: how they are found.

use super::indexed;
use crate::cli::{End, Outcome, Ways, say};
use crate::logged::events::{self, Events};
use portcullis_audit::index::call::Call;
use portcullis_audit::index::query::Page;
use portcullis_core::audit::view;
use serde_json::Value;

/// Runs the verb.
pub fn query(asked: &Events, ways: &Ways) -> Outcome {
    asked.meant()?;
    let opened = indexed::open(ways)?;
    let (page, reading) = asked.page(&opened)?;
    indexed::record(ways, &reading)?;
    if ways.json {
        say::json(&events::shown(&page));
        return Ok(End::Done);
    }
    for call in &page.calls {
        print(call);
        if asked.values {
            values(call);
        }
    }
    after(&page);
    Ok(End::Done)
}

fn after(page: &Page) {
    if page.calls.is_empty() {
        say::note("no call is like that");
    }
    if let Some(next) = page.next {
        say::note(&format!("older ones: --cursor {next}"));
    }
    indexed::note(&page.checkpoint);
}

/// One line, as `tail` shows it, and the place in the log behind its name.
fn print(call: &Call) {
    let line = call.paired().map(|call| super::hued(&view::one_line(&call)));
    // What is no record has no line of its own.
    let line = line.unwrap_or_else(|| format!("{} {}", call.time, call.text("event").unwrap_or_default()));
    let name = call.id.as_deref().map(|id| format!("{id} ")).unwrap_or_default();
    let mut plain = String::new();
    view::plain(&mut plain, &format!("{name}{}", call.place()));
    say::line(&format!("{line}  {}", say::painted(&plain, say::Hue::Dim)));
}

/// What is kept of its arguments and its result, a line each.
fn values(call: &Call) {
    let result = call.result.as_ref();
    for (name, members) in [("arguments", Some(&call.record)), ("result", result)] {
        for (suffix, words) in [("", ""), ("_digest", " only as a digest: "), ("_left_out", " ")] {
            let Some(value) = members.and_then(|members| members.get(&format!("{name}{suffix}"))) else { continue };
            let text = if suffix.is_empty() { None } else { value.as_str().map(str::to_owned) };
            let mut plain = String::new();
            view::plain(&mut plain, &text.unwrap_or_else(|| Value::to_string(value)));
            say::line(&format!("  {name}{words} {plain}"));
        }
    }
}
