//! Random rules, and a random search through the engine for what was proved not to exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use oorandom::Rand64;
use portcullis_core::identity::AgentIndex;
use portcullis_core::policy::calendar::Calendars;
use portcullis_core::policy::catalogue::Catalogue;
use portcullis_core::policy::drift::Drift;
use portcullis_core::policy::engine::{Action, Engine, Inputs};
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::index::AgentSource;
use portcullis_core::policy::source::Source;
use portcullis_core::policy::surface::ServerSource;
use portcullis_core::policy::who::{Claims, Who};
use portcullis_core::protocol::json::{JsonLimits, Scratch, read};
use portcullis_core::time::UnixMillis;
use portcullis_tests::mcp::tool;
use portcullis_tests::setup::Setup;
use serde_json::{Value, json};

/// Sets of rules, invariants for each, and calls that are tried against each set.
const SETS: u64 = 8;
const INVARIANTS: usize = 6;
const CALLS: usize = 3_000;

const AGENTS: [(&str, &[&str], &[&str]); 4] =
    [("ann", &["a"], &["c1"]), ("bob", &["b"], &[]), ("cat", &["a", "b"], &["c1", "c2"]), ("dan", &[], &["c2"])];

/// Conditions; some fail for some calls.
const ATOMS: [&str; 11] = [
    r#"context.input.table == "a""#,
    r#"["a", "ab"].contains(context.input.table)"#,
    r#"context.input.table like "a*""#,
    "(context.input has limit && context.input.limit > 5)",
    "(context.input has limit && context.input.limit + 1 > 5)",
    "(context.input has limit && context.input.limit * 3 < 20)",
    r#"principal in Group::"b""#,
    r#"principal == Agent::"ann""#,
    r#"context.account == "c1""#,
    "principal.accounts.contains(context.account)",
    r#"context.source.isInRange(ip("10.0.0.0/8"))"#,
];

const SCOPES: [&str; 4] =
    ["principal", r#"principal in Group::"a""#, r#"principal in Group::"b""#, r#"principal == Agent::"cat""#];

/// The same numbers every time.
struct Chance(Rand64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.rand_range(0..bound as u64)).unwrap_or(0)
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }

    fn condition(&mut self) -> String {
        let (one, other) = (self.of(&ATOMS), self.of(&ATOMS));
        match self.below(4) {
            0 => one.to_owned(),
            1 => format!("{one} && {other}"),
            2 => format!("{one} || {other}"),
            _ => format!("!({one}) || {other}"),
        }
    }

    fn rule(&mut self, effect: &str) -> String {
        let (scope, condition) = (self.of(&SCOPES), self.condition());
        format!("{effect} ({scope}, action == Action::\"crm.read\", resource) when {{ {condition} }};")
    }

    fn call(&mut self) -> Call {
        let limit = [None, Some(-1), Some(4), Some(5), Some(6), Some(7), Some(i64::MAX), Some(i64::MIN)][self.below(8)];
        let table = self.of(&["a", "b", "ab", "xa"]);
        let arguments = match limit {
            Some(limit) => json!({"table": table, "limit": limit}),
            None => json!({"table": table}),
        };
        Call {
            agent: self.below(AGENTS.len()),
            arguments,
            account: [None, Some("c1"), Some("c2"), Some("c3")][self.below(4)],
            source: self.of(&["10.1.1.1", "192.0.2.1", "::1"]),
        }
    }
}

#[derive(Debug)]
struct Call {
    agent: usize,
    arguments: Value,
    account: Option<&'static str>,
    source: &'static str,
}

fn tools() -> [Value; 1] {
    [tool(
        "read",
        json!({"type": "object", "properties": {"table": {"type": "string"}, "limit": {"type": "integer"}}, "required": ["table"]}),
    )]
}

fn engine(rules: &str) -> Option<Engine> {
    let (catalogue, none) = (Catalogue::learn("crm", &tools()).ok()?, BTreeMap::new());
    let server = ServerSource { name: "crm", catalogue: &catalogue, tools: &none, extension_methods: &[] };
    let agents =
        AGENTS.map(|(id, groups, accounts)| AgentSource { id, groups: groups.to_vec(), accounts: accounts.to_vec() });
    let sources = [Source { file: "p.cedar", text: rules }];
    let servers = [(server, Arc::new(Drift::new(&catalogue)))];
    Engine::build(Inputs {
        sources: &sources,
        servers: &servers,
        agents: &agents,
        calendars: &Calendars::default(),
        settings_file: "t.toml",
    })
    .ok()
}

fn permits(engine: &Engine, call: &Call) -> bool {
    let mut scratch = Scratch::new();
    let text = call.arguments.to_string();
    let document = read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 16, depth_max: 8 }).expect("JSON");
    let server = engine.server("crm").expect("a server");
    let tool = engine.tool(server, "read").expect("a tool");
    let who = Who {
        agent: AgentIndex(u32::try_from(call.agent).expect("few")),
        id: AGENTS[call.agent].0,
        user: None,
        account: call.account,
        claims: Claims::Listed(&[]),
    };
    let facts = Facts {
        arguments: Some(document.root()),
        source: call.source.parse().expect("an address"),
        now: UnixMillis(1_800_000_000_000),
    };
    engine.decide(&who, server, Action::Tool(tool), &facts).is_ok()
}

#[test]
fn a_random_search_finds_nothing_that_was_proved_not_to_exist() {
    let (mut proved, mut refuted) = (0, 0);
    for seed in 1..=SETS {
        let mut chance = Chance(Rand64::new(u128::from(seed)));
        let rules: Vec<String> =
            ["permit", "permit", "permit", "forbid", "forbid"].map(|effect| chance.rule(effect)).into();
        let rules = rules.join("\n");
        let Some(real) = engine(&rules) else { continue };
        let named: Vec<(&str, String)> = (0..INVARIANTS)
            .map(|at| (if at % 2 == 0 { "never" } else { "always" }, chance.rule("permit")))
            .filter(|(_, rule)| engine(rule).is_some())
            .collect();
        let file: String = (named.iter().enumerate())
            .map(|(at, (kind, rule))| {
                let agents = if at % 3 == 0 { "registered" } else { "any" };
                format!("[[invariant]]\nname = \"{at}\"\nagents = \"{agents}\"\n{kind} = '{rule}'\n")
            })
            .collect();
        let setup = AGENTS.iter().fold(Setup::default(), |setup, (id, groups, accounts)| {
            setup.agent(id, &format!("groups = {groups:?}\naccounts = {accounts:?}"))
        });
        let setup = setup.server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &tools()).policy(&rules);
        let (_, said) = super::proved(&setup, &file);
        let calls: Vec<Call> = (0..CALLS).map(|_| chance.call()).collect();
        for (at, (kind, rule)) in named.iter().enumerate() {
            let meant = engine(rule).expect("an engine");
            let broken = calls.iter().find(|call| permits(&meant, call) && permits(&real, call) == (*kind == "never"));
            match said["invariants"][at]["verdict"].as_str() {
                Some("proved") => {
                    proved += 1;
                    assert!(broken.is_none(), "seed {seed}\n{rules}\n{kind} {rule}\nwas proved, but {broken:?}");
                }
                Some("refuted") => refuted += 1,
                other => panic!("seed {seed}\n{rules}\n{kind} {rule}\n{other:?} {:#}", said["invariants"][at]),
            }
        }
    }
    assert!(proved >= 3 && refuted >= 3, "{proved} proved, {refuted} refuted: the search compared next to nothing");
}
