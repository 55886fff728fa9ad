//! Finds calls. In: what they have in common. Out: a page of them, newest first; their values where those were asked for. Never here: who may see values.

use super::{Fault, Opened, Reading, Unanswered, instant, told, unindexed};
use clap::Args;
use portcullis_audit::index::Place;
use portcullis_audit::index::call::Call;
use portcullis_audit::index::query::{LIMIT_MAX, Page, Query};
use portcullis_audit::reader::Reader;
use portcullis_core::audit::field;
use portcullis_core::audit::leaf::Value as Kept;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Calls of a page, unless it is told.
pub const LIMIT: usize = 50;

/// Bytes of one value, unless it is told: what `capture` keeps of a result by default, four times.
const VALUE_BYTES: usize = 64 * 1024;

/// Bytes of all values of a page: a control plane must not be brought to hold more for one answer.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What calls are to have in common, and what is to be told of them.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
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
    /// How many at most; 50 unless it is told
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Go on where the page before ended
    #[arg(long, value_name = "PLACE")]
    pub cursor: Option<String>,
    /// With arguments and results, as far as they are kept; for root and the gateway's user alone
    #[arg(long)]
    pub values: bool,
    /// Leave out arguments of more bytes than this; 65536 unless it is told
    #[arg(long, value_name = "BYTES", requires = "values")]
    pub arguments_max: Option<usize>,
    /// Leave out results of more bytes than this; 65536 unless it is told
    #[arg(long, value_name = "BYTES", requires = "values")]
    pub result_max: Option<usize>,
}

impl Events {
    /// As the index is asked.
    ///
    /// # Errors
    /// What of it cannot be meant.
    pub fn meant(&self) -> Result<Query, Unanswered> {
        let limit = self.limit.unwrap_or(LIMIT);
        if limit > LIMIT_MAX {
            let help = "take it page by page with `--cursor`, or export the log";
            return Err(Unanswered::new(Fault::Question, format!("a page has at most {LIMIT_MAX} calls"), help));
        }
        let cursor = self.cursor.as_deref().map(|text| {
            let help = "write it as the page before gave it, such as `0000@17`";
            Place::parse(text).ok_or_else(|| Unanswered::new(Fault::Question, format!("`{text}` is no cursor"), help))
        });
        Ok(Query {
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
            from: instant(self.from.as_ref())?,
            to: instant(self.to.as_ref())?,
            cursor: cursor.transpose()?,
            limit,
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
            ("cursor", &self.cursor),
        ];
        let named = named.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
        let values = if self.values { " with values" } else { "" };
        format!("query{}{values}", named.collect::<String>())
    }

    /// Asks the index, and reads the values where they are asked for.
    ///
    /// # Errors
    /// When it cannot be meant or read, or this process cannot read values.
    pub fn page(&self, opened: &Opened) -> Result<(Page, Reading), Unanswered> {
        let page = opened.index.query(&self.meant()?);
        let mut page = page.map_err(|cause| unindexed(&opened.folder, &cause))?;
        if self.values {
            let mut values = Values::open(&opened.folder)?;
            let (arguments_max, result_max) =
                (self.arguments_max.unwrap_or(VALUE_BYTES), self.result_max.unwrap_or(VALUE_BYTES));
            for call in &mut page.calls {
                values.put(call, (arguments_max, result_max))?;
            }
        }
        let reading = Reading { what: self.words(), count: page.calls.len() as u64 };
        Ok((page, reading))
    }
}

/// A page for programs.
pub fn shown(page: &Page) -> Value {
    let next = page.next.map(|place| place.to_string());
    json!({"checkpoint": told(&page.checkpoint), "calls": page.calls, "next": next})
}

/// Reads values.
pub struct Values {
    reader: Reader,
    left: usize,
}

impl Values {
    /// Of an audit folder.
    ///
    /// # Errors
    /// When this process has no key to them.
    pub fn open(folder: &Path) -> Result<Self, Unanswered> {
        let reader = Reader::new(folder);
        if !reader.has_key() {
            return Err(Unanswered::new(
                Fault::Rights,
                "arguments and results are encrypted, and their key cannot be read by this user",
                "ask as root or as the gateway's user, or leave the values out",
            ));
        }
        Ok(Self { reader, left: PAGE_BYTES_MAX })
    }

    /// What reads them, without a bound.
    pub fn into_reader(self) -> Reader {
        self.reader
    }

    /// Adds its values to a call.
    fn put(&mut self, call: &mut Call, (arguments_max, result_max): (usize, usize)) -> Result<(), Unanswered> {
        self.put_one((call.log, call.index), arguments_max, &mut call.record)?;
        if let Some(end) = &mut call.result {
            let place = |name| end.get(name).and_then(Value::as_u64);
            if let (Some(log), Some(index)) = (place("log").and_then(|log| u32::try_from(log).ok()), place("index")) {
                self.put_one((log, index), result_max, end)?;
            }
        }
        Ok(())
    }

    /// Adds the values of one entry to the members that tell of it.
    ///
    /// # Errors
    /// When they are there and cannot be read.
    pub fn put_one(
        &mut self,
        (log, index): (u32, u64),
        bytes_max: usize,
        members: &mut Map<String, Value>,
    ) -> Result<(), Unanswered> {
        let values = self.reader.values(log, index).map_err(|cause| {
            let message =
                format!("the values of the entry {} cannot be read: {cause}", Place { log: Some(log), index });
            Unanswered::new(Fault::Log, message, "leave the values out; the records are whole without them")
        })?;
        for (name, value) in [("arguments", values.arguments), ("result", values.result)] {
            match value {
                None => {}
                Some(Kept::Digest(digest)) => {
                    let mut spelt = Vec::with_capacity(2 * digest.len());
                    field::hex(&mut spelt, &digest);
                    let digest = String::from_utf8(spelt).unwrap_or_default();
                    members.insert(format!("{name}_digest"), json!(digest));
                }
                Some(Kept::Json(json)) if json.len() > bytes_max.min(self.left) => {
                    members.insert(format!("{name}_left_out"), json!("longer than asked for"));
                }
                Some(Kept::Json(json)) => {
                    self.left -= json.len();
                    let text = || Value::from(String::from_utf8_lossy(&json));
                    members.insert(name.to_owned(), serde_json::from_slice(&json).unwrap_or_else(|_| text()));
                }
            }
        }
        Ok(())
    }
}
