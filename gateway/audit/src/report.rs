//! Answers the questions that are asked again and again. In: the index, a span of time. Out: tables, and the checkpoint they were computed at. Never
//! here: how a table is shown.

use std::collections::BTreeMap;

use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use serde_json::{Map, Value, json};

use crate::index::call::Call;
use crate::index::query::{LIMIT_MAX, Query};
use crate::index::tally::{Count, Days, Tally};
use crate::index::{Index, IndexError};

/// Which report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who touched an account.
    Account(String),
    /// What was refused, to whom and why.
    Denials,
    /// Which agent used which tools, for the review of its rights.
    Access,
    /// What was changed: rules, agents, tools, erasures; and who read the log.
    Changes,
    /// Calls of which nobody knows how they ended.
    Unknown,
}

impl Ask {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Denials => "denials",
            Self::Access => "access",
            Self::Changes => "changes",
            Self::Unknown => "unknown",
        }
    }
}

/// About when, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first instant.
    pub from: Option<UnixMillis>,
    /// The first instant after it.
    pub to: Option<UnixMillis>,
    /// Rows of a table of single records at most; the newest.
    pub limit: usize,
}

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was computed at.
    pub checkpoint: Checkpoint,
    /// Its tables.
    pub tables: Vec<Table>,
}

/// One of its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it is about, as a member of a JSON object is called.
    pub name: &'static str,
    /// The same for people.
    pub title: String,
    /// What its columns are called.
    pub columns: &'static [&'static str],
    /// A value for each column.
    pub rows: Vec<Vec<Value>>,
    /// Whether older rows were left out.
    pub cut: Cut,
}

/// Whether a table is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All there is.
    Whole,
    /// The newest rows alone.
    Newest,
}

impl Table {
    /// Its rows as objects.
    pub fn objects(&self) -> Value {
        let object = |row: &Vec<Value>| -> Map<String, Value> {
            self.columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        self.rows.iter().map(object).collect()
    }
}

impl Report {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }
}

/// Makes a report. Reports of counts (`denials`, `access`) are about whole days in UTC.
///
/// # Errors
/// When the index is not finished or cannot be read.
pub fn report(index: &Index, ask: &Ask, span: &Span) -> Result<Report, IndexError> {
    let checkpoint = index.checkpoint()?;
    let tables = match ask {
        Ask::Account(account) => of_account(index, account, span)?,
        Ask::Denials => denials(index, span)?,
        Ask::Access => access(index, span)?,
        Ask::Changes => changes(index, span)?,
        Ask::Unknown => unknown(index, span)?,
    };
    Ok(Report { checkpoint, tables })
}

fn of_account(index: &Index, account: &str, span: &Span) -> Result<Vec<Table>, IndexError> {
    let query = Query { account: Some(account.to_owned()), from: span.from, to: span.to, ..Query::default() };
    let mut touches = index.touches(&query)?;
    touches.sort_by_key(|touch| std::cmp::Reverse(touch.count.last));
    let rows = touches.into_iter().map(|touch| {
        let Count { n, first, last } = touch.count;
        let what = whole(&touch.server, &touch.tool);
        vec![
            json!(touch.agent),
            json!(touch.user),
            json!(what),
            json!(touch.decision),
            json!(n),
            time(first),
            time(last),
        ]
    });
    Ok(vec![Table {
        name: "touched",
        title: format!("who touched the account {account}"),
        columns: &["agent", "user", "tool", "decision", "calls", "first", "last"],
        rows: rows.collect(),
        cut: Cut::Whole,
    }])
}

fn denials(index: &Index, span: &Span) -> Result<Vec<Table>, IndexError> {
    let tallies = index.tallies(Days::of(span.from, span.to))?;
    let decided = |tally: &&Tally| tally.event == "decision" && tally.decision.ends_with("deny");
    let withheld = |tally: &&Tally| tally.event.starts_with("result");
    let refused = |tally: &&Tally| tally.event == "refusal";
    Ok(vec![
        counted(("denied", "calls that were refused"), tallies.iter().filter(decided)),
        counted(("withheld", "results that rules withheld"), tallies.iter().filter(withheld)),
        counted(("turned_away", "requests that never became a call of an agent"), tallies.iter().filter(refused)),
    ])
}

fn counted<'t>((name, title): (&'static str, &str), tallies: impl Iterator<Item = &'t Tally>) -> Table {
    let mut tallies: Vec<&Tally> = tallies.collect();
    tallies.sort_by_key(|tally| std::cmp::Reverse((tally.count.n, tally.count.last)));
    let row = |tally: &Tally| {
        let Count { n, first, last } = tally.count;
        let what = whole(&tally.server, &tally.tool);
        vec![
            json!(tally.agent),
            json!(what),
            json!(tally.decision),
            json!(tally.cause),
            json!(n),
            time(first),
            time(last),
        ]
    };
    Table {
        name,
        title: title.to_owned(),
        columns: &["agent", "tool", "decision", "cause", "calls", "first", "last"],
        rows: tallies.into_iter().map(row).collect(),
        cut: Cut::Whole,
    }
}

fn access(index: &Index, span: &Span) -> Result<Vec<Table>, IndexError> {
    /// Allowed, denied, only observed.
    #[derive(Clone, Copy, Default)]
    struct Use([u64; 3], Option<Count>);
    let mut used: BTreeMap<(String, String), Use> = BTreeMap::new();
    for tally in index.tallies(Days::of(span.from, span.to))?.into_iter().filter(|tally| tally.event == "decision") {
        let Use(counts, all) = used.entry((tally.agent, whole(&tally.server, &tally.tool))).or_default();
        let place = match &*tally.decision {
            "allow" => 0,
            "observed_deny" => 2,
            _ => 1,
        };
        if let Some(count) = counts.get_mut(place) {
            *count += tally.count.n;
        }
        *all = Some(all.map_or(tally.count, |known| known.and(tally.count)));
    }
    let rows = used.into_iter().filter_map(|((agent, tool), Use([allowed, denied, observed], all))| {
        let Count { first, last, .. } = all?;
        let counts = [json!(allowed), json!(denied), json!(observed)];
        Some([json!(agent), json!(tool)].into_iter().chain(counts).chain([time(first), time(last)]).collect())
    });
    Ok(vec![Table {
        name: "access",
        title: "what each agent used".to_owned(),
        columns: &["agent", "tool", "allowed", "denied", "would_be_denied", "first", "last"],
        rows: rows.collect(),
        cut: Cut::Whole,
    }])
}

/// Events that say what was changed, as `changes` lists them.
pub const CHANGES: [&str; 13] = [
    "policy.swapped",
    "agent.suspended",
    "agent.resumed",
    "tool.drifted",
    "tool.approved",
    "gateway.started",
    "gateway.stopped",
    "audit.erased",
    "audit.pruned",
    "audit.lost",
    "audit.held",
    "audit.released",
    "log.begun",
];

fn changes(index: &Index, span: &Span) -> Result<Vec<Table>, IndexError> {
    let (mut changed, mut cut) = (Vec::new(), Cut::Whole);
    for event in CHANGES {
        let (calls, more) = of_event(index, event, span)?;
        changed.extend(calls);
        cut = if more == Cut::Newest { Cut::Newest } else { cut };
    }
    changed.sort_by_key(|call| std::cmp::Reverse((call.log, call.index)));
    if changed.len() > span.limit {
        cut = Cut::Newest;
        changed.truncate(span.limit);
    }
    let (mut read, mut reads_cut) = of_event(index, "audit.read", span)?;
    let (looked, looks_cut) = of_event(index, "admin.read", span)?;
    read.extend(looked);
    read.sort_by_key(|call| std::cmp::Reverse((call.log, call.index)));
    if read.len() > span.limit || looks_cut == Cut::Newest {
        reads_cut = Cut::Newest;
        read.truncate(span.limit);
    }
    let columns = &["time", "event", "actor", "about", "more", "id"];
    let title = "what was changed".to_owned();
    let changed = Table { name: "changes", title, columns, rows: changed.iter().map(change).collect(), cut };
    let title = "who read the log, rules and agents".to_owned();
    let read = Table { name: "reads", title, columns, rows: read.iter().map(change).collect(), cut: reads_cut };
    Ok(vec![changed, read])
}

fn of_event(index: &Index, event: &str, span: &Span) -> Result<(Vec<Call>, Cut), IndexError> {
    let limit = span.limit.min(LIMIT_MAX);
    let query = Query { event: Some(event.to_owned()), from: span.from, to: span.to, limit, ..Query::default() };
    let page = index.query(&query)?;
    Ok((page.calls, if page.next.is_some() { Cut::Newest } else { Cut::Whole }))
}

/// Members of a record that a row of `changes` shows in columns of their own, or that say nothing more.
const SHOWN: [&str; 9] = ["event", "boot", "shard", "seq", "ts", "actor", "agent", "server", "tool"];

fn change(call: &Call) -> Vec<Value> {
    let text = |name| call.text(name).unwrap_or_default();
    let about = [text("agent").to_owned(), whole(text("server"), text("tool"))];
    let about: Vec<String> = about.into_iter().filter(|text| !text.is_empty()).collect();
    let more: Map<String, Value> = call
        .record
        .iter()
        .filter(|(name, _)| !SHOWN.contains(&&***name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let id = call.id.clone().unwrap_or_else(|| call.place().to_string());
    let (time, event, actor) = (json!(call.time), json!(text("event")), json!(text("actor")));
    vec![time, event, actor, json!(about.join(" ")), Value::Object(more), json!(id)]
}

fn unknown(index: &Index, span: &Span) -> Result<Vec<Table>, IndexError> {
    let query = Query {
        outcome: Some("unknown".to_owned()),
        from: span.from,
        to: span.to,
        limit: span.limit.min(LIMIT_MAX),
        ..Query::default()
    };
    let page = index.query(&query)?;
    let holds = |call: &&Call| {
        let ts = call.record.get("ts").and_then(Value::as_i64).unwrap_or_default();
        span.from.is_none_or(|from| ts >= from.0) && span.to.is_none_or(|to| ts < to.0)
    };
    let (open, boot) = index.open_calls(LIMIT_MAX)?;
    let (now, lost): (Vec<&Call>, Vec<&Call>) =
        open.iter().filter(holds).partition(|call| call.text("boot") == boot.as_deref());
    let table = |name, title: &str, rows: Vec<Vec<Value>>, cut| Table {
        name,
        title: title.to_owned(),
        columns: &["time", "agent", "account", "tool", "released", "id"],
        rows,
        cut,
    };
    let whole_or_not = if page.next.is_some() || open.len() >= LIMIT_MAX { Cut::Newest } else { Cut::Whole };
    let mut gone: Vec<&Call> = page.calls.iter().chain(lost).collect();
    gone.sort_by_key(|call| std::cmp::Reverse((call.log, call.index)));
    Ok(vec![
        table(
            "unknown",
            "calls of which nobody knows whether they were done",
            gone.into_iter().map(unsettled).collect(),
            whole_or_not,
        ),
        table("under_way", "calls not ended yet", now.into_iter().map(unsettled).collect(), whole_or_not),
    ])
}

fn unsettled(call: &Call) -> Vec<Value> {
    use crate::index::call::State;
    let text = |name| call.text(name).unwrap_or_default();
    let released = match call.state {
        State::PartlyReleased => "in part",
        State::Open | State::Settled => "nothing that is recorded",
    };
    let what = if text("tool").is_empty() { text("method") } else { text("tool") };
    let what = whole(text("server"), what);
    vec![json!(call.time), json!(text("agent")), json!(text("account")), json!(what), json!(released), json!(call.id)]
}

/// `crm.read_table`; `crm` where there is no more to say.
fn whole(server: &str, tool: &str) -> String {
    match (server, tool) {
        ("", only) | (only, "") => only.to_owned(),
        // A method stands apart from a tool by its slash.
        (server, method) if method.contains('/') => format!("{server} {method}"),
        (server, tool) => format!("{server}.{tool}"),
    }
}

fn time(ts: i64) -> Value {
    json!(UnixMillis(ts).rfc3339())
}

/// The log and the index in figures.
#[derive(Clone, Debug)]
pub struct Stats {
    /// What it was computed at.
    pub checkpoint: Checkpoint,
    /// The figures, as one object.
    pub figures: Value,
    /// The tables to them.
    pub tables: Vec<Table>,
}

/// Rows of each table of [`stats`]: the most frequent.
const STATS_ROWS: usize = 20;

/// Counts all there is, or the days of a span.
///
/// # Errors
/// When the index is not finished or cannot be read.
pub fn stats(index: &Index, span: &Span) -> Result<Stats, IndexError> {
    let checkpoint = index.checkpoint()?;
    let holdings = index.holdings()?;
    let tallies = index.tallies(Days::of(span.from, span.to))?;
    let decisions = || tallies.iter().filter(|tally| tally.event == "decision");
    let sum = |verdict: &str| -> u64 {
        decisions().filter(|tally| tally.decision == verdict).map(|tally| tally.count.n).sum()
    };
    let calls: u64 = decisions().map(|tally| tally.count.n).sum();
    let percentile = |share: f64| percentile(&holdings.durations, share);
    let figures = json!({
        "calls": calls, "allowed": sum("allow"), "denied": sum("deny"), "would_be_denied": sum("observed_deny"),
        "turned_away": tallies.iter().filter(|tally| tally.event == "refusal").map(|tally| tally.count.n).sum::<u64>(),
        "not_ended": holdings.open, "first": holdings.first.map(time), "last": holdings.last.map(time),
        "duration_us": {"p50": percentile(0.5), "p90": percentile(0.9), "p99": percentile(0.99), "p99.9": percentile(0.999)},
    });
    let by = |name, title: &str, key: fn(&Tally) -> String| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        decisions().for_each(|tally| *counts.entry(key(tally)).or_default() += tally.count.n);
        top(name, title, counts.into_iter().filter(|(word, _)| !word.is_empty()).collect())
    };
    let tables = vec![
        by("agents", "calls by agent", |tally| tally.agent.clone()),
        by("tools", "calls by tool", |tally| whole(&tally.server, &tally.tool)),
        by("causes", "refused calls by cause", |tally| tally.cause.clone()),
        top("outcomes", "calls by outcome", holdings.outcomes),
        top("events", "records by event", holdings.events),
    ];
    Ok(Stats { checkpoint, figures, tables })
}

fn top(name: &'static str, title: &str, mut counts: Vec<(String, u64)>) -> Table {
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let cut = if counts.len() > STATS_ROWS { Cut::Newest } else { Cut::Whole };
    let rows = counts.into_iter().take(STATS_ROWS).map(|(word, count)| vec![json!(word), json!(count)]);
    Table { name, title: title.to_owned(), columns: &["name", "count"], rows: rows.collect(), cut }
}

/// The least duration that a share of calls did not exceed, in microseconds, told within an eighth; none without calls.
fn percentile(durations: &[(u64, u64)], share: f64) -> Option<u64> {
    let all: u64 = durations.iter().map(|(_, n)| n).sum();
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0;
    durations.iter().find_map(|(micros, n)| {
        seen += n;
        (seen >= wanted).then_some(*micros)
    })
}
