//! `portcullis audit report`: answers what is asked again and again. In: which report, of when. Out: its tables. Never here: making them.

use super::indexed;
use crate::cli::{End, Outcome, Ways, say};
use crate::logged::tables::{self, Asked};
use clap::{Args, Subcommand};

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
    #[arg(long, global = true, value_name = "COUNT", default_value_t = tables::LIMIT)]
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
pub fn report(asked: &Report, ways: &Ways) -> Outcome {
    let (name, account) = match &asked.which {
        Which::Account { account } => ("account", Some(account.clone())),
        Which::Denials => ("denials", None),
        Which::Access => ("access", None),
        Which::Changes => ("changes", None),
        Which::Unknown => ("unknown", None),
    };
    let question = Asked { account, from: asked.from.clone(), to: asked.to.clone(), limit: Some(asked.limit) };
    let ask = question.named(name)?;
    let opened = indexed::open(ways)?;
    let (told, reading) = question.report(&ask, &opened)?;
    indexed::record(ways, &reading)?;
    if ways.json {
        say::json(&tables::shown(&ask, &told));
        return Ok(End::Done);
    }
    for table in &told.tables {
        indexed::print(table);
        say::line("");
    }
    indexed::note(&told.checkpoint);
    Ok(End::Done)
}
