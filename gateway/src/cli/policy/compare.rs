//! `portcullis policy diff` and `history`, and what an apply would change: compares rule sets. In: two of them. Out: rules, and what agents may expect. Never here: changes.

use crate::cli::book::{self, Which};
use crate::cli::client;
use crate::cli::policy::replay::{self, Span};
use crate::cli::say::{Hue, line, painted};
use crate::cli::{self, End, Failure, Outcome, Ways, list, number, say, text};
use crate::history::History;
use crate::{compared, sources};
use clap::Args;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;

/// What to compare.
#[derive(Args, Clone, Debug)]
pub struct Diff {
    /// The earlier version, and the later one: what served last is compared with the files where none is named, and a version alone with what served last
    #[arg(value_name = "VERSION", num_args = 0..=2)]
    pub versions: Vec<u64>,
    /// Compare what served last with these rules
    #[arg(long, value_name = "FOLDER", conflicts_with = "versions")]
    pub candidate: Option<PathBuf>,
}

impl Diff {
    fn sides(&self) -> (Which<'_>, Which<'_>) {
        match (self.versions.as_slice(), &self.candidate) {
            ([before, after, ..], _) => (Which::Version(*before), Which::Version(*after)),
            ([before], _) => (Which::Version(*before), Which::Serving),
            ([], Some(folder)) => (Which::Serving, Which::Candidate(folder)),
            ([], None) => (Which::Serving, Which::Files),
        }
    }
}

/// Compares; exit code 1 where something changes, as `diff` has it.
pub fn diff(diff: &Diff, ways: &Ways) -> Outcome {
    let (before, after) = diff.sides();
    let (before, after) = (book::open(before, ways)?, book::open(after, ways)?);
    let mut shown = compared::compare(before.set(), after.set());
    let replayed = replay::run(&Span::last_day(), ways, &after.snapshot, Some(&before.snapshot))?;
    let same = is_same(&shown) && replayed.otherwise_total == 0;
    if ways.json {
        if let Some(members) = shown.as_object_mut() {
            members.insert("before".into(), before.about());
            members.insert("after".into(), after.about());
            members.insert("last_day".into(), replayed.counts());
        }
        say::json(&shown);
    } else {
        line(&format!("before: {}", before.name));
        line(&format!("after:  {}", after.name));
        page(&shown);
        line(&format!("calls of the last day: {}", replayed.words()));
    }
    Ok(if same { End::Done } else { End::Refused })
}

fn is_same(shown: &Value) -> bool {
    ["/rules/added", "/rules/removed", "/rules/changed", "/changes"]
        .iter()
        .all(|members| list(shown, members).is_empty())
}

/// Rules that came, went and changed, then what agents may expect.
fn page(shown: &Value) {
    for rule in list(shown, "/rules/changed").iter().filter_map(Value::as_str) {
        line(&painted(&format!("~ rule {rule}"), Hue::Yellow));
    }
    for rule in list(shown, "/rules/removed").iter().filter_map(Value::as_str) {
        line(&painted(&format!("- rule {rule}"), Hue::Red));
    }
    for rule in list(shown, "/rules/added").iter().filter_map(Value::as_str) {
        line(&painted(&format!("+ rule {rule}"), Hue::Green));
    }
    for change in list(shown, "/changes") {
        let hue = match (text(change, "/before"), text(change, "/after")) {
            (_, "denied") => Hue::Red,
            ("denied", _) => Hue::Green,
            (_, _) => Hue::Yellow,
        };
        line(&painted(text(change, "/words"), hue));
    }
    if is_same(shown) {
        line("no rule differs, and no agent may do more, less or something else");
    }
}

/// What an apply would come to, without it.
pub fn dry_run(ways: &Ways, expect: Option<u64>) -> Outcome {
    let mut wish = json!({"dry_run": true});
    if let (Some(expect), Some(members)) = (expect, wish.as_object_mut()) {
        members.insert("expect".into(), json!(expect));
    }
    let Some(shown) = client::post(ways, "/v1/policy/apply", Some(&wish))?.done(ways) else { return Ok(End::Refused) };
    if ways.json {
        say::json(&shown);
        return Ok(End::Done);
    }
    list(&shown, "/warnings").iter().for_each(|warning| say::finding(&client::shown(warning)));
    page(&shown);
    let serving = number(&shown, "/serving");
    line(&match shown.get("changed").and_then(Value::as_bool) {
        Some(true) => format!("the files load; nothing was changed, and version {serving} goes on serving"),
        Some(false) | None => format!("the files are what version {serving} serves"),
    });
    Ok(End::Done)
}

/// The versions that served, oldest first: as the gateway tells, or from the folder where none is there to be asked.
pub fn history(ways: &Ways) -> Outcome {
    let value = match client::get_if_there(ways, "/v1/policy/history")? {
        Ok(answer) => match answer.done(ways) {
            Some(value) => value,
            None => return Ok(End::Refused),
        },
        Err(absent) => {
            let value = offline(ways)?;
            say::note(&format!("no gateway was asked, so none of them is marked as serving: {}", absent.message));
            value
        }
    };
    if ways.json {
        say::json(&value);
        return Ok(End::Done);
    }
    let serving = value.get("serving").and_then(Value::as_i64);
    let rows: Vec<Vec<String>> = list(&value, "/versions").iter().map(|kept| row(kept, serving)).collect();
    say::table(&rows);
    Ok(End::Done)
}

fn offline(ways: &Ways) -> Result<Value, Failure> {
    let (settings, _) = sources::settings(&ways.config).map_err(cli::first)?;
    let history = History::at(&settings.policy.history, settings.policy.keep);
    let shown = compared::history(&history).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            format!("there is no history in `{}` yet", history.folder().display()),
            "it begins with the first `portcullis run`; or the configuration names another folder in `[policy]`",
        ),
        _ => Failure::new(
            format!("the history in `{}` cannot be read: {error}", history.folder().display()),
            "read it as root, as the gateway's user or in its group",
        ),
    })?;
    Ok(json!({"serving": null, "versions": shown}))
}

fn row(kept: &Value, serving: Option<i64>) -> Vec<String> {
    let version = number(kept, "/version");
    if let Some(why) = kept.get("unreadable").and_then(Value::as_str) {
        return vec![version.to_string(), format!("cannot be taken back: {why}")];
    }
    let ids = |pointer: &str, sign: &str| -> Vec<String> {
        list(kept, pointer).iter().filter_map(Value::as_str).map(|id| format!("{sign}{id}")).collect()
    };
    let mut rules = [ids("/rules/changed", "~"), ids("/rules/added", "+"), ids("/rules/removed", "-")].concat();
    let more = rules.len().saturating_sub(IDS_MAX);
    rules.truncate(IDS_MAX);
    if more > 0 {
        rules.push(format!("and {more} more"));
    }
    vec![
        version.to_string(),
        text(kept, "/applied_at").to_owned(),
        text(kept, "/how").to_owned(),
        format!("uid {}", number(kept, "/by_uid")),
        text(kept, "/hash").chars().take(19).collect(),
        if Some(version) == serving { "serves".to_owned() } else { String::new() },
        rules.join(" "),
    ]
}

/// Rules that are named in a line of the history.
const IDS_MAX: usize = 6;
