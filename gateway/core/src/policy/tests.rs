//! Promises of the whole engine: one `check` a subject, one row a case.

mod decisions;
mod explaining;
mod facts;
mod incremental;
pub(crate) mod judging;
mod listing;
mod loading;
mod obligations;
mod programs;
mod proofs;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::calendar::Calendars;
use super::catalogue::Catalogue;
use super::drift::Drift;
use super::engine::{Action, Engine, Inputs};
use super::facts::Facts;
use super::index::AgentSource;
use super::source::Source;
use super::sql::{Dialect, SqlRules};
use super::surface::{ServerSource, ToolRules};
use super::verdict::{Denial, Evaluator, Permit};
use super::who::{Claims, Who};
use crate::diagnostic::Diagnostics;
use crate::identity::AgentIndex;
use crate::identity::claims::ClaimValue;
use crate::protocol::json::{JsonLimits, Scratch, read};
use crate::time::UnixMillis;

/// Agents: id, groups, accounts.
const AGENTS: [(&str, &[&str], &[&str]); 4] = [
    ("ann", &["support"], &["c1", "c2"]),
    ("bob", &["finance"], &[]),
    ("cat", &["support", "finance"], &["c9"]),
    ("dan", &[], &[]),
];

/// 2026-11-24 is a Tuesday.
const NOON: &str = "2026-11-24T12:00:00Z";

fn tool(name: &str, schema: Value) -> Value {
    json!({"name": name, "description": name, "inputSchema": schema})
}

fn crm() -> Catalogue {
    let text = json!({"type": "string"});
    let table = json!({"type": "object", "properties": {"table": text, "limit": {"type": "integer"}, "where": {"anyOf": [text, {"type": "null"}]}}, "required": ["table"]});
    let row = json!({"type": "object", "properties": {
        "id": {"type": "integer"}, "amount": {"type": "number"}, "tags": {"type": "array", "items": text}, "customer_id": text,
        "to": {"type": "object", "properties": {"region": text, "deep": {"type": "object", "properties": {"flag": {"type": "boolean"}}}}, "required": ["region"]},
    }, "required": ["id", "amount"]});
    let search = json!({"type": "object", "properties": {"query": {"type": ["string", "integer"]}, "page": {"type": "integer"}, "raw": {}}});
    let strict = json!({"type": "object", "properties": {"a": text}, "additionalProperties": false});
    let tools = [
        tool("read_table", table),
        tool("update_row", row),
        tool("search", search),
        json!({"name": "strict", "inputSchema": strict, "outputSchema": {"type": "object", "properties": {"rows": {"type": "array"}}}}),
        json!({"name": "bare"}),
        tool("empty", json!({})),
    ];
    Catalogue::learn("crm", &tools).unwrap()
}

fn pg() -> Catalogue {
    let query = json!({"type": "object", "properties": {"sql": {"type": "string"}, "table": {"type": "string"}}, "required": ["sql"]});
    Catalogue::learn("pg", &[tool("query", query)]).unwrap()
}

fn rules() -> BTreeMap<Box<str>, ToolRules> {
    let of = |groups: &[&str], types: &[(&str, &str)], account: Option<&str>| ToolRules {
        groups: groups.iter().map(|group| Box::from(*group)).collect(),
        types: types.iter().map(|(pointer, ty)| (Box::from(*pointer), Box::from(*ty))).collect(),
        account: account.map(Box::from),
        ..ToolRules::default()
    };
    BTreeMap::from([
        ("read_table".into(), of(&["customerTools"], &[], None)),
        ("update_row".into(), of(&["customerTools"], &[], Some("/customer_id"))),
        ("search".into(), of(&[], &[("/raw", "string")], None)),
    ])
}

/// `office` is open on weekdays from nine to five in Berlin, `never` on one day in the past.
fn calendars() -> Calendars {
    let text = "[calendar.office]\nzone = \"Europe/Berlin\"\nwindows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]\n[calendar.never]\nzone = \"UTC\"\nopen = [{ date = \"2024-01-01\", from = \"00:00\", to = \"00:01\" }]\n";
    let now: jiff::Timestamp = NOON.parse().unwrap();
    Calendars::parse(text, "calendars.toml", UnixMillis(now.as_millisecond())).unwrap()
}

fn build(policies: &str) -> Result<Engine, Diagnostics> {
    build_with(&[Source { file: "p.cedar", text: policies }], &rules())
}

fn build_with(sources: &[Source<'_>], rules: &BTreeMap<Box<str>, ToolRules>) -> Result<Engine, Diagnostics> {
    let (crm, pg) = (crm(), pg());
    let sql = SqlRules {
        argument: "/sql".into(),
        dialect: Dialect::Postgres,
        schema: None,
        functions: vec!["my_total".into()],
    };
    let queries = BTreeMap::from([("query".into(), ToolRules { sql: Some(Arc::new(sql)), ..ToolRules::default() })]);
    let methods = [Box::from("skills/list")];
    let servers = [
        (
            ServerSource { name: "crm", catalogue: &crm, tools: rules, extension_methods: &methods },
            Arc::new(Drift::new(&crm)),
        ),
        (
            ServerSource { name: "pg", catalogue: &pg, tools: &queries, extension_methods: &[] },
            Arc::new(Drift::new(&pg)),
        ),
    ];
    let agents =
        AGENTS.map(|(id, groups, accounts)| AgentSource { id, groups: groups.to_vec(), accounts: accounts.to_vec() });
    Engine::build(Inputs {
        sources,
        servers: &servers,
        agents: &agents,
        calendars: &calendars(),
        settings_file: "portcullis.toml",
    })
}

/// One question: an agent, an action such as `crm.read_table {"table": "x"}` or `crm connect`, and what surrounds it.
#[derive(Clone, Copy)]
struct Ask<'a> {
    agent: &'a str,
    call: &'a str,
    now: &'a str,
    source: &'a str,
    user: Option<&'a str>,
    account: Option<&'a str>,
    claims: &'a [(Box<str>, ClaimValue)],
}

impl<'a> Ask<'a> {
    fn new(agent: &'a str, call: &'a str) -> Self {
        Self { agent, call, now: NOON, source: "10.1.2.3", user: None, account: None, claims: &[] }
    }

    fn who(&self) -> Who<'a> {
        let position = AGENTS.iter().position(|(id, _, _)| *id == self.agent).unwrap_or(99);
        Who {
            agent: AgentIndex(position as u32),
            id: self.agent,
            user: self.user,
            account: self.account,
            claims: Claims::Listed(self.claims),
        }
    }

    /// The engine's answer; Cedar's own must be the same.
    fn decide(&self, engine: &Engine) -> Result<Permit, Denial> {
        let ours = self.decide_by(Evaluator::Tables, engine);
        let cedars = self.decide_by(Evaluator::Cedar, engine);
        assert_eq!(
            outcome(engine, &ours),
            outcome(engine, &cedars),
            "\nour tables and Cedar differ when {} asks {}",
            self.agent,
            self.call
        );
        ours
    }

    fn decide_by(&self, evaluator: Evaluator, engine: &Engine) -> Result<Permit, Denial> {
        let (head, body) = self.call.split_once(' ').unwrap_or((self.call, ""));
        let (server, rest) = head.split_once('.').map_or((head, None), |(server, tool)| (server, Some(tool)));
        let server = engine.server(server).unwrap_or(super::surface::ServerIndex(99));
        let mut scratch = Scratch::new();
        let document;
        let now: jiff::Timestamp = self.now.parse().unwrap();
        let source: IpAddr = self.source.parse().unwrap();
        let mut facts = Facts { arguments: None, source, now: UnixMillis(now.as_millisecond()) };
        let words: Vec<&str> = body.split(' ').collect();
        let action = match (rest, words.as_slice()) {
            (Some(name), _) => {
                if !body.is_empty() {
                    document =
                        read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
                    facts.arguments = Some(document.root());
                }
                Action::Tool(engine.tool(server, name)?)
            }
            (None, ["connect"]) => Action::Connect,
            (None, ["read", uri]) => Action::ResourceRead { uri },
            (None, ["prompt", name]) => Action::PromptGet { name },
            (None, ["complete-prompt", name]) => Action::CompletePrompt { name },
            (None, ["complete-resource", uri]) => Action::CompleteResource { uri },
            (None, ["task"]) => Action::Task { tool: None },
            (None, ["task", name]) => Action::Task { tool: Some(engine.tool(server, name)?) },
            (None, ["sample"]) => Action::Sample,
            (None, ["elicit"]) => Action::Elicit,
            (None, ["roots"]) => Action::Roots,
            (None, ["extension", method]) => Action::Extension { method },
            (None, other) => panic!("no such call: {other:?}"),
        };
        match evaluator {
            Evaluator::Tables => engine.decide(&self.who(), server, action, &facts),
            Evaluator::Cedar => engine.decide_by_cedar(&self.who(), server, action, &facts),
        }
    }
}

/// `allow a b`, `forbidden x`, `argument_unreadable /x`: the outcome, then the determining rules or the place.
fn outcome(engine: &Engine, decision: &Result<Permit, Denial>) -> String {
    let (word, determining, pointer) = match decision {
        Ok(permit) => ("allow", permit.determining(), None),
        Err(denial) => (denial.cause().name(), denial.determining(), denial.pointer()),
    };
    let rules = determining.rules().iter().map(|rule| engine.policy_id(*rule).unwrap().to_owned());
    [word.to_owned()].into_iter().chain(rules).chain(pointer.map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

fn check_ask(policies: &str, ask: Ask<'_>, expected: &str) {
    let engine =
        build(policies).unwrap_or_else(|findings| panic!("given {policies}\ngot {}", shown(&findings).join("\n")));
    let got = outcome(&engine, &ask.decide(&engine));
    assert_eq!(got, expected, "\ngiven {policies}\nwhen {} asks {} at {}", ask.agent, ask.call, ask.now);
}

fn check(policies: &str, agent: &str, call: &str, expected: &str) {
    check_ask(policies, Ask::new(agent, call), expected);
}

fn shown(findings: &Diagnostics) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
