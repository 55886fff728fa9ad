//! Makes reports and figures. In: which, of when. Out: tables, as JSON too. Never here: counting.

use super::{Fault, Opened, Reading, Unanswered, instant, told, unindexed};
use portcullis_audit::index;
use portcullis_audit::report::{self, Ask, Cut, Span, Stats};
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows of a table of single records, unless it is told.
pub const LIMIT: usize = 200;

/// Of when, and how much.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// Of a report about one.
    pub account: Option<String>,
    /// From when on.
    pub from: Option<String>,
    /// Until when.
    pub to: Option<String>,
    /// Rows of a table of single records at most; the newest.
    pub limit: Option<usize>,
}

impl Asked {
    fn span(&self) -> Result<Span, Unanswered> {
        let limit = self.limit.unwrap_or(LIMIT);
        Ok(Span { from: instant(self.from.as_ref())?, to: instant(self.to.as_ref())?, limit })
    }

    /// The report of this name.
    ///
    /// # Errors
    /// When there is none, or it needs an account.
    pub fn named(&self, name: &str) -> Result<Ask, Unanswered> {
        let refused = |message: String, help: &str| Err(Unanswered::new(Fault::Question, message, help));
        match (name, &self.account) {
            ("account", Some(account)) => Ok(Ask::Account(account.clone())),
            ("account", None) => refused("the report `account` is about one".into(), "name it: `account=a-17`"),
            (_, Some(_)) => refused(format!("the report `{name}` is not about an account"), "leave `account` out"),
            ("denials", None) => Ok(Ask::Denials),
            ("access", None) => Ok(Ask::Access),
            ("changes", None) => Ok(Ask::Changes),
            ("unknown", None) => Ok(Ask::Unknown),
            (_, None) => Err(Unanswered::new(
                Fault::Nothing,
                format!("there is no report `{name}`"),
                "there are `account`, `denials`, `access`, `changes` and `unknown`",
            )),
        }
    }

    /// Makes a report.
    ///
    /// # Errors
    /// When it cannot be meant or read.
    pub fn report(&self, ask: &Ask, opened: &Opened) -> Result<(report::Report, Reading), Unanswered> {
        let told = report::report(&opened.index, ask, &self.span()?);
        let told = told.map_err(|cause| unindexed(&opened.folder, &cause))?;
        let of = if let Ask::Account(account) = ask { format!(" {account}") } else { String::new() };
        let what = format!("report {}{of}{}", ask.name(), self.words());
        let count = told.rows() as u64;
        Ok((told, Reading { what, count }))
    }

    /// Counts.
    ///
    /// # Errors
    /// When it cannot be meant or read.
    pub fn stats(&self, opened: &Opened) -> Result<(Figures, Reading), Unanswered> {
        let stats = report::stats(&opened.index, &self.span()?);
        let stats = stats.map_err(|cause| unindexed(&opened.folder, &cause))?;
        let bytes = opened.folder.join(index::FILE).metadata().map(|file| file.len()).unwrap_or_default();
        let logs = opened
            .logs
            .iter()
            .map(|log| json!({"log": log.number, "origin": log.log.checkpoint().origin, "entries": log.log.size()}));
        let figures = Figures { logs: logs.collect(), behind: opened.behind()?, bytes, stats };
        Ok((figures, Reading { what: format!("stats{}", self.words()), count: 0 }))
    }

    fn words(&self) -> String {
        let named = [("from", &self.from), ("to", &self.to)];
        named.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?))).collect()
    }
}

/// The log and its index in figures.
pub struct Figures {
    /// What is counted.
    pub stats: Stats,
    /// The logs there are.
    pub logs: Vec<Value>,
    /// Entries that the index does not hold yet.
    pub behind: u64,
    /// Bytes of the index.
    pub bytes: u64,
}

impl Figures {
    /// For programs.
    pub fn shown(&self) -> Value {
        let Self { stats, logs, behind, bytes } = self;
        let mut shown = json!({
            "checkpoint": told(&stats.checkpoint), "logs": logs, "index": {"entries_behind": behind, "bytes": bytes},
            "figures": stats.figures,
        });
        if let Some(members) = shown.as_object_mut() {
            members.extend(stats.tables.iter().map(|table| (table.name.to_owned(), table.objects())));
        }
        shown
    }
}

/// A report for programs.
pub fn shown(ask: &Ask, report: &report::Report) -> Value {
    let cut: Vec<&str> =
        report.tables.iter().filter(|table| table.cut == Cut::Newest).map(|table| table.name).collect();
    let mut shown = json!({"report": ask.name(), "checkpoint": told(&report.checkpoint), "cut": cut});
    if let Some(members) = shown.as_object_mut() {
        members.extend(report.tables.iter().map(|table| (table.name.to_owned(), table.objects())));
    }
    shown
}
