//! `portcullis audit report`: answers what is asked again and again. In: which report, of when. Out: its tables. Never here: making them.

use super::indexed::{self, Reading, Recorder};
use crate::cli::{End, Outcome, Ways, say};
use clap::{Args, Subcommand};
use portcullis_audit::report::{self, Ask, Cut, Span};
use serde_json::json;

/// Which report, and of when.
#[derive(Args, Clone, Debug)]
pub struct Report {
    /// Which.
    #[command(subcommand)]
    pub which: Which,
    /// From when on: a time, a day, or how long ago, as in -24h or -7d
    #[arg(long, global = true, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Until when
    #[arg(long, global = true, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Rows of a table of single records at most; the newest
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 200)]
    pub limit: usize,
}

/// The reports there are.
#[derive(Subcommand, Clone, Debug)]
pub enum Which {
    /// Who touched an account, with which tools
    Account {
        /// The account
        account: String,
    },
    /// What was refused, to whom and why, by whole days
    Denials,
    /// Which agent used which tools, when last, and what it was refused, by whole days
    Access,
    /// Changes of rules and agents, tools that drifted, erasures; and who read the log
    Changes,
    /// Calls of which nobody knows whether they were done
    Unknown,
}

/// Runs the verb.
pub fn report(asked: &Report, ways: &Ways, recorder: Recorder<'_>) -> Outcome {
    let ask = match &asked.which {
        Which::Account { account } => Ask::Account(account.clone()),
        Which::Denials => Ask::Denials,
        Which::Access => Ask::Access,
        Which::Changes => Ask::Changes,
        Which::Unknown => Ask::Unknown,
    };
    let span = Span {
        from: indexed::instant(asked.from.as_ref())?,
        to: indexed::instant(asked.to.as_ref())?,
        limit: asked.limit,
    };
    let opened = indexed::open(ways)?;
    let told = report::report(&opened.index, &ask, &span).map_err(|cause| indexed::failure(&opened.folder, &cause))?;
    let of = if let Ask::Account(account) = &ask { format!(" {account}") } else { String::new() };
    recorder(&Reading { what: format!("report {}{of}", ask.name()), count: told.rows() as u64 })?;
    if ways.json {
        let cut: Vec<&str> =
            told.tables.iter().filter(|table| table.cut == Cut::Newest).map(|table| table.name).collect();
        let mut shown = json!({"report": ask.name(), "checkpoint": indexed::told(&told.checkpoint), "cut": cut});
        if let Some(members) = shown.as_object_mut() {
            members.extend(told.tables.iter().map(|table| (table.name.to_owned(), table.objects())));
        }
        say::json(&shown);
        return Ok(End::Done);
    }
    for table in &told.tables {
        indexed::print(table);
        say::line("");
    }
    indexed::note(&told.checkpoint);
    Ok(End::Done)
}
