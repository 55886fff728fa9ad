//! `portcullis policy`: changes, shows and takes back the rules that serve. In: a verb. Out: versions and rules. Never here: decisions.

use crate::cli::client::{self, Answer};
use crate::cli::{End, Outcome, Ways, list, number, prove, say, text};
use clap::Subcommand;
use serde_json::{Value, json};

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Read the files and put them in force
    Apply {
        /// Only if this version still serves
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
    },
    /// Show the rules that serve
    Show,
    /// List the versions that served
    History,
    /// Serve the rules of an earlier version again; the files stay as they are
    Rollback {
        /// Which one
        version: u64,
        /// Only if this version still serves
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
    },
    /// Prove what the rules permit and what they never permit
    #[command(long_about = prove::HELP)]
    Prove(prove::Prove),
}

/// Runs the verb.
pub fn policy(verb: &PolicyVerb, ways: &Ways) -> Outcome {
    match verb {
        PolicyVerb::Apply { expect } => {
            Ok(changed(client::post(ways, "/v1/policy/apply", Some(&wish(None, *expect)))?, ways))
        }
        PolicyVerb::Rollback { version, expect } => {
            let end = changed(client::post(ways, "/v1/policy/rollback", Some(&wish(Some(*version), *expect)))?, ways);
            if end == End::Done && !ways.json {
                say::line(
                    "the files were not touched: they come back with the next `portcullis policy apply`, reload or restart",
                );
            }
            Ok(end)
        }
        PolicyVerb::Prove(asked) => prove::prove(asked, ways),
        PolicyVerb::Show => show(ways),
        PolicyVerb::History => history(ways),
    }
}

fn wish(version: Option<u64>, expect: Option<u64>) -> Value {
    let members = version.map(|version| ("version".to_owned(), json!(version))).into_iter();
    Value::Object(members.chain(expect.map(|expect| ("expect".to_owned(), json!(expect)))).collect())
}

/// Shows what a change came to.
pub fn changed(answer: Answer, ways: &Ways) -> End {
    let Some(value) = answer.done(ways) else { return End::Refused };
    if ways.json {
        say::json(&value);
        return End::Done;
    }
    for warning in list(&value, "/warnings") {
        say::finding(&client::shown(warning));
    }
    let version = number(&value, "/version");
    match value.get("changed").and_then(Value::as_bool) {
        Some(true) => say::line(&format!("version {version} serves, {} served before", number(&value, "/previous"))),
        Some(false) | None => say::line(&format!("version {version} serves, with the same content as before")),
    }
    End::Done
}

fn show(ways: &Ways) -> Outcome {
    let Some(value) = client::get(ways, "/v1/policy")?.done(ways) else { return Ok(End::Refused) };
    if ways.json {
        say::json(&value);
        return Ok(End::Done);
    }
    say::line(&format!(
        "// version {} of {}, {}",
        number(&value, "/version"),
        text(&value, "/applied_at"),
        text(&value, "/hash")
    ));
    for source in list(&value, "/sources") {
        say::line(&format!("\n// {}\n{}", text(source, "/file"), text(source, "/text").trim_end()));
    }
    Ok(End::Done)
}

fn history(ways: &Ways) -> Outcome {
    let Some(value) = client::get(ways, "/v1/policy/history")?.done(ways) else { return Ok(End::Refused) };
    if ways.json {
        say::json(&value);
        return Ok(End::Done);
    }
    let serving = number(&value, "/serving");
    let row = |kept: &Value| {
        let version = number(kept, "/version");
        let mark = if version == serving { "serves" } else { "" };
        vec![
            version.to_string(),
            text(kept, "/applied_at").to_owned(),
            text(kept, "/how").to_owned(),
            format!("uid {}", number(kept, "/by_uid")),
            text(kept, "/hash").chars().take(19).collect(),
            mark.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = list(&value, "/versions").iter().map(row).collect();
    say::table(&rows);
    Ok(End::Done)
}
