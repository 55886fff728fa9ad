//! `portcullis audit erase`: destroys what calls asked and were answered. In: names of calls, or what they have in common. Out: how many values are
//! gone. Never here: how they are destroyed; the entries, which stay.

use super::alone;
use crate::cli::{End, Failure, Outcome, Ways, client, number, say};
use crate::control::keeping::{TEXT_BYTES_MAX, is_said};
use crate::history::By;
use crate::journal::desk::Order;
use crate::logged::entries::Name;
use crate::logged::{self, signed};
use clap::Args;
use portcullis_audit::calls::{self, Facts, Found, NotFound, Wanted};
use portcullis_audit::keeping::{self, Erasure};
use portcullis_audit::log::Log;
use portcullis_core::limits::DETERMINING_MAX;
use serde_json::json;
use std::time::{Duration, Instant};

/// Which calls.
#[derive(Args, Clone, Debug, Default)]
pub struct Chosen {
    /// Calls, by name: BOOT-SHARD-SEQ, or SHARD-SEQ of the latest boot
    #[arg(value_name = "CALL")]
    pub calls: Vec<String>,
    /// Every call from when on: a time, a day, or how long ago, as in -90m, -24h or -7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "calls")]
    pub from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "calls")]
    pub to: Option<String>,
    /// Of this agent
    #[arg(long, value_name = "ID", conflicts_with = "calls")]
    pub agent: Option<String>,
    /// On this account
    #[arg(long, conflicts_with = "calls")]
    pub account: Option<String>,
}

/// What of them, and why.
#[derive(Args, Clone, Debug)]
pub struct Erase {
    #[command(flatten)]
    chosen: Chosen,
    /// Only this field, and what is below it: /params/arguments/…, /result/… or /error/…
    #[arg(long, value_name = "POINTER")]
    field: Vec<String>,
    /// Why; it stands in the log
    #[arg(long)]
    reason: String,
}

impl Chosen {
    /// As the log is asked. At least something must be said: nobody means every call by saying nothing.
    pub fn meant(&self, log: Option<&Log>) -> Result<Wanted, Failure> {
        let help = "name it as `portcullis audit tail` does, such as 1795428000000-0-17";
        let named = |id: &String| Name::parse(id).ok_or_else(|| Failure::new(format!("`{id}` names no call"), help));
        let named = self.calls.iter().map(named).collect::<Result<Vec<Name>, Failure>>()?;
        let latest = match log.filter(|_| named.iter().any(|name| name.boot.is_none())) {
            Some(log) => latest_boot(log)?.unwrap_or_default(),
            None => 0,
        };
        let names = named.iter().map(|name| (name.boot.unwrap_or(latest), name.shard, name.seq)).collect();
        let at = |text: Option<&String>| Ok::<_, Failure>(logged::instant(text)?.map(|at| at.0));
        let wanted = Wanted {
            names,
            agent: self.agent.clone(),
            account: self.account.clone(),
            from: at(self.from.as_ref())?,
            to: at(self.to.as_ref())?,
        };
        if wanted.is_open() {
            let help = "name calls, or `--from`, `--to`, `--agent` or `--account`";
            return Err(Failure::new("no calls are named", help));
        }
        Ok(wanted)
    }
}

/// Runs the verb.
pub fn erase(asked: &Erase, ways: &Ways) -> Outcome {
    if let Some(field) = asked.field.iter().find(|field| !keeping::is_field(field) || !is_said(field)) {
        let help = "write it as in /params/arguments/card, /result/content or /error, of at most 256 bytes";
        return Err(Failure::new(format!("`{field}` is no field that can be erased"), help));
    }
    if asked.field.len() > DETERMINING_MAX {
        return Err(Failure::new(
            format!("more than {DETERMINING_MAX} fields are named"),
            "erase in several steps, or all fields at once",
        ));
    }
    said(&asked.reason)?;
    let (calls, size) = found(&asked.chosen, ways)?;
    if calls.is_empty() {
        say::note("no call is like that; nothing was erased");
        return Ok(End::Done);
    }
    let count = calls.len();
    let body = json!({"calls": calls, "size": size, "fields": asked.field, "reason": asked.reason});
    let erased = match client::post_if_there(ways, "/v1/audit/erase", &body)? {
        Ok(answer) => {
            let Some(told) = answer.done(ways) else { return Ok(End::Refused) };
            u64::try_from(number(&told, "/erased")).unwrap_or_default()
        }
        Err(_nobody) => {
            let (fields, reason, actor) = (asked.field.clone(), asked.reason.clone(), By::us().actor());
            alone::carried_out(ways, Order::Erase(Erasure { calls, size, fields, actor, reason }))? as u64
        }
    };
    if ways.json {
        say::json(&json!({"calls": count, "erased": erased}));
    } else {
        say::line(&format!("{erased} values of {count} calls are erased; their entries stay, and the log verifies"));
        say::note("exports, copies, backups and snapshots keep what they hold");
    }
    Ok(End::Done)
}

/// Whether it is a reason that a record keeps whole.
pub fn said(reason: &str) -> Result<(), Failure> {
    if is_said(reason) {
        return Ok(());
    }
    Err(Failure::new("the reason is empty or too long", format!("say why in at most {TEXT_BYTES_MAX} bytes")))
}

/// A call that was just made is signed within a second; it is waited for this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// The calls, and the size of the log in which they were found.
fn found(chosen: &Chosen, ways: &Ways) -> Result<(Vec<Found>, u64), Failure> {
    let begun = Instant::now();
    loop {
        let logs = signed(&super::folder(ways)?)?;
        let Some(log) = logs.last().map(|log| &log.log) else { return Ok((Vec::new(), 0)) };
        match calls::find(log, &chosen.meant(Some(log))?) {
            Ok(calls) => return Ok((calls, log.size())),
            Err(NotFound::Missing(_)) if begun.elapsed() < PATIENCE => std::thread::sleep(super::LOOK),
            Err(cause) => return Err(told(&cause)),
        }
    }
}

/// The boot of the last record.
fn latest_boot(log: &Log) -> Result<Option<u64>, Failure> {
    let last = log.entry(log.size().saturating_sub(1)).map_err(|cause| told(&NotFound::System(cause)))?;
    Ok(Facts::of(&last.unwrap_or_default()).map(|facts| facts.name().0))
}

fn told(cause: &NotFound) -> Failure {
    let help = match cause {
        NotFound::System(_) => "read it as root or as the gateway's user",
        NotFound::Missing(_) => "`portcullis audit query` shows those there are",
        NotFound::TooMany => "name a shorter span of time, and go on with the next after it",
    };
    Failure::new(cause.to_string(), help)
}
