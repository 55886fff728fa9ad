//! `portcullis policy`: changes, shows and takes back the rules that serve. In: a verb. Out: versions and rules. Never here: decisions.

pub mod cases;
pub mod compare;
pub mod explain;
pub mod replay;
pub mod shadow;
pub mod suggest;

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
        /// Load and check the files and say what would change, but change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the rules that serve
    Show,
    /// Tell why a call is allowed or denied: the rules that decide, those that nearly did, and what they read
    Explain(Box<explain::Explain>),
    /// Hold the rules against files of cases: which agent, calling what, is to be allowed or denied
    Test(cases::Test),
    /// Tell which agents may do more, less or something else under other rules, and how many calls of the last day would have been decided otherwise
    Diff(compare::Diff),
    /// Judge recorded calls again by the rules that served last, or by candidates
    Replay(replay::Replay),
    /// Let candidate rules judge live calls beside those that serve, and tell what they would change
    Shadow {
        /// What to do with the candidate.
        #[command(subcommand)]
        verb: shadow::ShadowVerb,
    },
    /// Draft the narrowest rules that permit what a route really did
    Suggest(suggest::Suggest),
    /// List the versions that served, with the rules that came and went
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
        PolicyVerb::Apply { expect, dry_run: true } => compare::dry_run(ways, *expect),
        PolicyVerb::Apply { expect, dry_run: false } => {
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
        PolicyVerb::History => compare::history(ways),
        PolicyVerb::Explain(wish) => explain::explain(wish, ways),
        PolicyVerb::Test(wish) => cases::test(wish, ways),
        PolicyVerb::Diff(wish) => compare::diff(wish, ways),
        PolicyVerb::Shadow { verb } => shadow::shadow(verb, ways),
        PolicyVerb::Suggest(wish) => suggest::suggest(wish, ways),
        PolicyVerb::Replay(wish) => replay::replay(wish, ways),
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
