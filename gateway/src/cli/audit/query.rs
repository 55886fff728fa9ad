//! `portcullis audit query`: finds calls. In: what they have in common. Out: one line a call, newest first, and the checkpoint it was computed at.
//! Never here: how they are found.

use super::indexed::{self, Opened, Reading, Recorder};
use crate::cli::{End, Failure, Outcome, Ways, say};
use clap::Args;
use portcullis_audit::index::Place;
use portcullis_audit::index::call::Call;
use portcullis_audit::index::query::{LIMIT_MAX, Page};
use portcullis_core::audit::view;
use serde_json::json;

/// What calls are to have in common.
#[derive(Args, Clone, Debug, Default)]
pub struct Query {
    /// The agent
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// The user it acted for
    #[arg(long)]
    pub user: Option<String>,
    /// The account it acted on
    #[arg(long)]
    pub account: Option<String>,
    /// The server
    #[arg(long)]
    pub server: Option<String>,
    /// The tool, with or without its server: crm.read_table
    #[arg(long)]
    pub tool: Option<String>,
    /// What was decided: allow, deny or observed_deny
    #[arg(long)]
    pub decision: Option<String>,
    /// Why it was refused or did not end well, such as no_rule
    #[arg(long)]
    pub cause: Option<String>,
    /// A rule that determined it, or objected to its result
    #[arg(long)]
    pub rule: Option<String>,
    /// The event, such as decision, refusal or policy.swapped
    #[arg(long)]
    pub event: Option<String>,
    /// How it ended, such as complete, error or unknown
    #[arg(long)]
    pub outcome: Option<String>,
    /// From when on: a time, a day, or how long ago, as in -90m, -24h or -7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// Go on where the page before ended
    #[arg(long, value_name = "PLACE")]
    pub cursor: Option<String>,
}

impl Query {
    /// As the index is asked.
    fn meant(&self) -> Result<portcullis_audit::index::query::Query, Failure> {
        if self.limit > LIMIT_MAX {
            let help = "take it page by page with `--cursor`, or export the log";
            return Err(Failure::new(format!("a page has at most {LIMIT_MAX} calls"), help));
        }
        let cursor = self.cursor.as_deref().map(|text| {
            let help = "write it as the page before gave it, such as `0000@17`";
            Place::parse(text).ok_or_else(|| Failure::new(format!("`{text}` is no cursor"), help))
        });
        Ok(portcullis_audit::index::query::Query {
            agent: self.agent.clone(),
            user: self.user.clone(),
            account: self.account.clone(),
            server: self.server.clone(),
            tool: self.tool.clone(),
            decision: self.decision.clone(),
            cause: self.cause.clone(),
            rule: self.rule.clone(),
            event: self.event.clone(),
            outcome: self.outcome.clone(),
            from: indexed::instant(self.from.as_ref())?,
            to: indexed::instant(self.to.as_ref())?,
            cursor: cursor.transpose()?,
            limit: self.limit,
        })
    }

    /// What was asked, in words of the command line, for the record.
    fn words(&self) -> String {
        let named = [
            ("agent", &self.agent),
            ("user", &self.user),
            ("account", &self.account),
            ("server", &self.server),
            ("tool", &self.tool),
            ("decision", &self.decision),
            ("cause", &self.cause),
            ("rule", &self.rule),
            ("event", &self.event),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let named = named.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
        format!("query{}", named.collect::<String>())
    }
}

/// Runs the verb.
pub fn query(query: &Query, ways: &Ways, recorder: Recorder<'_>) -> Outcome {
    let meant = query.meant()?;
    let Opened { folder, index, .. } = indexed::open(ways)?;
    let page = index.query(&meant).map_err(|cause| indexed::failure(&folder, &cause))?;
    recorder(&Reading { what: query.words(), count: page.calls.len() as u64 })?;
    if ways.json {
        let next = page.next.map(|place| place.to_string());
        say::json(&json!({"checkpoint": indexed::told(&page.checkpoint), "calls": page.calls, "next": next}));
        return Ok(End::Done);
    }
    page.calls.iter().for_each(print);
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
