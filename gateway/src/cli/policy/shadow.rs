//! `portcullis policy shadow`: lets a candidate judge live calls beside the rules that serve. In: a folder. Out: which calls it would decide otherwise. Never here: anything that a caller could notice.

use crate::cli::say::line;
use crate::cli::{self, End, Outcome, Ways, client, list, number, say, text};
use crate::sources;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What to do with the candidate.
#[derive(Debug, Subcommand)]
pub enum ShadowVerb {
    /// Let these rules judge live calls beside those that serve; nobody is refused or let pass by them
    Start {
        /// A folder of `.cedar` files
        folder: PathBuf,
    },
    /// End it, and report
    Stop,
    /// Tell which calls the candidate would have decided otherwise so far
    Report,
}

/// Runs the verb.
pub fn shadow(verb: &ShadowVerb, ways: &Ways) -> Outcome {
    let answer = match verb {
        ShadowVerb::Start { folder } => {
            let rules = sources::rules(folder).map_err(cli::first)?;
            let rules: Vec<Value> = rules.iter().map(|text| json!({"file": text.file, "text": text.text})).collect();
            client::post(ways, "/v1/policy/shadow/start", Some(&json!({"sources": rules})))?
        }
        ShadowVerb::Stop => client::post(ways, "/v1/policy/shadow/stop", None)?,
        ShadowVerb::Report => client::get(ways, "/v1/policy/shadow")?,
    };
    let Some(value) = answer.done(ways) else { return Ok(End::Refused) };
    if ways.json {
        say::json(&value);
        return Ok(End::Done);
    }
    if let ShadowVerb::Start { folder } = verb {
        list(&value, "/warnings").iter().for_each(|warning| say::finding(&client::shown(warning)));
        line(&format!(
            "the rules in {} judge beside version {} from now on; `portcullis policy shadow report` tells what they would change",
            folder.display(),
            number(&value, "/beside")
        ));
        return Ok(End::Done);
    }
    page(&value);
    Ok(End::Done)
}

fn page(report: &Value) {
    let row = |change: &Value| {
        vec![
            format!("{}x", number(change, "/count")),
            text(change, "/agent").to_owned(),
            text(change, "/asked").to_owned(),
            format!("was {}", text(change, "/was")),
            format!("would be {}", text(change, "/would_be")),
            text(change, "/last").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = list(report, "/changes").iter().map(row).collect();
    say::table(&rows);
    line(&format!(
        "since {}: {} calls judged beside, {} would be decided otherwise",
        text(report, "/since"),
        number(report, "/judged"),
        number(report, "/otherwise")
    ));
    for (pointer, words) in [
        ("/dropped", "were dropped, since they came faster than they could be judged"),
        ("/not_judged", "name what the candidate does not know"),
    ] {
        if number(report, pointer) > 0 {
            line(&format!("  {} more {words}", number(report, pointer)));
        }
    }
}
