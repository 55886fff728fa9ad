//! `portcullis audit hold`: keeps calls from being erased. In: which calls, why. Out: what is held. Never here: what a hold does.

use super::alone;
use super::erase::{Chosen, said};
use crate::cli::agent::escaped;
use crate::cli::{End, Failure, Outcome, Ways, client, say};
use crate::control::keeping::is_said;
use crate::history::By;
use crate::journal::desk::Order;
use crate::kept;
use crate::logged::signed;
use clap::Subcommand;
use portcullis_audit::calls;
use portcullis_audit::disk::RealDisk;
use portcullis_audit::keeping::{Hold as Held, Keeping, State};
use portcullis_core::limits::DETERMINING_MAX;
use serde_json::{Value, json};

/// What to do with holds.
#[derive(Clone, Debug, Subcommand)]
pub enum Hold {
    /// Keep calls from being erased, those that are still to come among them
    Add {
        /// What it is called from now on
        name: String,
        #[command(flatten)]
        chosen: Chosen,
        /// Why; it stands in the log
        #[arg(long)]
        reason: String,
    },
    /// Lift a hold
    Remove {
        /// Its name
        name: String,
        /// Why; it stands in the log
        #[arg(long)]
        reason: String,
    },
    /// Show what is held
    List,
}

/// Runs the verb.
pub fn hold(verb: &Hold, ways: &Ways) -> Outcome {
    match verb {
        Hold::Add { name, chosen, reason } => add(name, chosen, reason, ways),
        Hold::Remove { name, reason } => {
            said(reason)?;
            let order = Order::Lift(name.clone(), By::us().actor(), reason.clone());
            let path = format!("/v1/audit/holds/{}/remove", escaped(name));
            ask(ways, &path, &json!({"reason": reason}), order, &format!("`{name}` is lifted"))
        }
        Hold::List => list(ways),
    }
}

fn add(name: &str, chosen: &Chosen, reason: &str, ways: &Ways) -> Outcome {
    said(reason)?;
    if !is_said(name) {
        return Err(Failure::new("the name is empty or too long", "give it one of at most 256 bytes"));
    }
    if chosen.calls.len() > DETERMINING_MAX {
        let help = "hold them by `--agent`, `--account`, `--from` and `--to`, or in several holds";
        return Err(Failure::new(format!("more than {DETERMINING_MAX} calls are named"), help));
    }
    let logs = signed(&super::folder(ways)?)?;
    let calls = chosen.meant(logs.last().map(|log| &log.log))?;
    let (body, path) = (json!({"calls": calls, "reason": reason}), format!("/v1/audit/holds/{}", escaped(name)));
    let (name, reason) = (name.to_owned(), reason.to_owned());
    let done = format!("`{name}` holds them: they are not erased while it does");
    let hold = Held { name, calls, reason, actor: By::us().actor(), state: State::Placing };
    ask(ways, &path, &body, Order::Place(hold), &done)
}

fn ask(ways: &Ways, path: &str, body: &Value, order: Order, done: &str) -> Outcome {
    match client::post_if_there(ways, path, body)? {
        Ok(answer) => {
            if answer.done(ways).is_none() {
                return Ok(End::Refused);
            }
        }
        Err(_nobody) => {
            alone::carried_out(ways, order)?;
        }
    }
    match ways.json {
        true => say::json(&json!({"done": true})),
        false => say::line(done),
    }
    Ok(End::Done)
}

fn list(ways: &Ways) -> Outcome {
    let folder = super::folder(ways)?;
    let kept = Keeping::read(&RealDisk, &folder).map_err(|cause| super::unreadable(&folder, &cause))?;
    if ways.json {
        say::json(&json!({"holds": kept.holds}));
        return Ok(End::Done);
    }
    let mut rows = vec![["NAME", "CALLS", "BY", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(kept.holds.iter().map(|hold| {
        let named = hold.calls.names.iter().map(calls::id);
        let common = [("agent", &hold.calls.agent), ("account", &hold.calls.account)];
        let common = common.into_iter().filter_map(|(word, of)| Some(format!("{word} {}", of.as_ref()?)));
        let span = kept::span(&hold.calls);
        let mut words: Vec<String> = named.chain(common).collect();
        words.extend(Some(span.trim().to_owned()).filter(|span| !span.is_empty()));
        vec![hold.name.clone(), words.join(" "), hold.actor.clone(), hold.reason.clone()]
    }));
    say::table(&rows);
    Ok(End::Done)
}
