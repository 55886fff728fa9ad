//! Small worlds that are edited at random. In: chance. Out: files, catalogues, registries and calendars, some of them faulty.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::policy::calendar::Calendars;
use crate::policy::catalogue::Catalogue;
use crate::policy::drift::Drift;
use crate::policy::engine::Inputs;
use crate::policy::index::AgentSource;
use crate::policy::source::Source;
use crate::policy::sql::{Dialect, SqlRules};
use crate::policy::surface::{ServerSource, ToolRules};
use crate::time::UnixMillis;

/// 2026-11-24, a Tuesday, at noon and before midnight, UTC.
pub const NOON: i64 = 1_795_521_600_000;
pub const NIGHT: i64 = NOON + 11 * 3_600_000;

/// Numbers that are the same on every machine.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| assert!(chance.below(2) < 2));
        chance
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'p>(&mut self, all: &[&'p str]) -> &'p str {
        all[self.below(all.len())]
    }
}

/// One tool.
#[derive(Clone, Debug)]
pub struct Tool {
    variant: usize,
    group: usize,
    account: bool,
    sql: bool,
    typed: bool,
    output: usize,
}

/// A world.
#[derive(Clone, Debug)]
pub struct World {
    pub files: Vec<(String, Vec<String>)>,
    pub servers: Vec<(String, BTreeMap<String, Tool>)>,
    pub agents: Vec<(String, Vec<String>, Vec<String>)>,
    pub calendars: Vec<&'static str>,
}

impl World {
    pub fn new(chance: &mut Chance) -> Self {
        let mut world = Self {
            files: vec![("a.cedar".into(), Vec::new()), ("b.cedar".into(), Vec::new())],
            servers: ["s", "t"].map(|name| (name.to_owned(), BTreeMap::new())).into(),
            agents: Vec::new(),
            calendars: vec!["office", "night"],
        };
        for server in 0..2 {
            for number in 0..4 {
                world.servers[server].1.insert(format!("t{number}"), tool(chance));
            }
        }
        for number in 0..5 {
            let groups = (0..chance.below(3)).map(|_| format!("g{}", chance.below(3))).collect();
            world.agents.push((format!("a{number}"), groups, vec!["c1".to_owned()]));
        }
        world.agents[0].1 = (0..3).map(|group| format!("g{group}")).collect();
        for _ in 0..8 {
            let rule = world.sound_rule(chance);
            world.files[0].1.push(rule);
        }
        world
    }

    /// One random edit; what it was.
    pub fn edit(&mut self, chance: &mut Chance) -> String {
        let file = chance.below(self.files.len());
        let rules = self.files[file].1.len();
        let at = chance.below(rules.max(1));
        let rule = if chance.below(6) == 0 { self.rule(chance) } else { self.sound_rule(chance) };
        let (server, agent) = (chance.below(self.servers.len()), chance.below(self.agents.len()));
        let name = format!("t{}", chance.below(6));
        match chance.below(28) {
            0..=3 if rules > 0 => self.files[file].1[at] = rule,
            0..=7 => self.files[file].1.insert(at.min(rules), rule),
            8 | 9 if rules > 3 => drop(self.files[file].1.remove(at)),
            10 if rules > 1 => self.files[file].1.swap(at, rules - 1),
            11 if rules > 0 => {
                let told =
                    ["// said; \"so\"\n", "\n\n", "@owner(\"o\") ", "@owner(\"p\")\n", "\u{a0}"][chance.below(5)];
                self.files[file].1[at].insert_str(0, told);
            }
            12 if rules > 0 => self.files[file].1[at].push_str(["// é\n", " ", "\r\n", ";", "x"][chance.below(5)]),
            13 => self.files[file].0 = format!("f{}.cedar", chance.below(9)),
            14 => drop(self.servers[server].1.insert(name, tool(chance))),
            15 => drop(self.servers[server].1.remove(&name)),
            16 => self.agents[agent].1 = (0..chance.below(3)).map(|_| format!("g{}", chance.below(3))).collect(),
            17 if self.agents.len() < 8 => {
                let at = chance.below(self.agents.len() + 1);
                let mut free = (0..9).map(|number| format!("a{number}"));
                let free = free.find(|id| self.agents.iter().all(|(known, _, _)| known != id)).unwrap();
                self.agents.insert(at, (free, vec!["g0".to_owned()], Vec::new()));
            }
            18 if self.agents.len() > 3 => drop(self.agents.remove(agent)),
            19 => self.calendars = [&["office", "night"][..], &["office"], &[]][chance.below(3)].to_vec(),
            20 => self.servers.swap(0, 1),
            21 => self.servers[server].1.values_mut().for_each(|tool| tool.typed = !tool.typed),
            22 => self.servers[server].1.values_mut().for_each(|tool| tool.output = (tool.output + 1) % 3),
            23 | 24 if rules > 0 => {
                let twice = self.files[file].1[at].clone();
                self.files[file].1.push(twice);
            }
            _ => self.flip(chance),
        }
        format!("{:?}", self.files.iter().map(|(file, rules)| (file, rules.len())).collect::<Vec<_>>())
    }

    /// One thing about one tool, and nothing else.
    fn flip(&mut self, chance: &mut Chance) {
        let tools = &mut self.servers[chance.below(2)].1;
        let at = chance.below(tools.len().max(1));
        let Some(tool) = tools.values_mut().nth(at) else { return };
        match chance.below(4) {
            0 => tool.account = !tool.account,
            1 => tool.output = (tool.output + 1) % 3,
            2 => tool.group = (tool.group + 1) % 3,
            _ => tool.sql = !tool.sql,
        }
    }

    /// A rule over names that exist, mostly.
    fn sound_rule(&self, chance: &mut Chance) -> String {
        if chance.below(3) == 0 {
            return wide_rule(chance);
        }
        let (server, tools) = &self.servers[chance.below(self.servers.len())];
        let names: Vec<&str> = tools.keys().map(String::as_str).collect();
        let Some(name) = (!names.is_empty()).then(|| chance.pick(&names)) else { return self.rule(chance) };
        let variant = &tools[name];
        let condition = match (variant.variant, variant.sql) {
            (_, true) if chance.below(2) == 0 => chance.pick(&[
                "[\"public.t1\", \"t1\"].containsAll(context.sql.tables)",
                "context.sql.kinds == [\"select\"]",
            ]),
            (3, _) => chance.pick(&["context.input.amount.lessThan(decimal(\"5.0\"))", "context has input.amount"]),
            (2, _) => chance.pick(&[
                "context.input has table && context.input.table == \"a\"",
                "context.input has limit && context.input.limit < 5",
            ]),
            (0 | 1, _) => chance.pick(&[
                "context.input.table == \"a\"",
                "[\"a\", \"b\"].contains(context.input.table)",
                "context.input has limit && context.input.limit < 5",
                "context.input.table like \"*a\" && principal in Group::\"g0\"",
                "context.input.table ==\n\"say_\u{4bb}ello\"",
            ]),
            _ => {
                chance.pick(&["true", "context.claims.hasTag(\"role\") && context.claims.getTag(\"role\") == \"lead\""])
            }
        };
        let effect = chance.pick(&["permit", "permit", "forbid"]);
        let who = chance.pick(&["principal", "principal in Group::\"g0\"", "principal == Agent::\"a1\""]);
        if variant.output > 0 && chance.below(3) == 0 {
            let condition =
                chance.pick(&["context.output.total > 4", "context.output has total && context.input has table"]);
            return format!(
                "forbid ({who}, action == Action::\"{server}.{name}\", resource) when {{ {condition} }};\n"
            );
        }
        let place =
            if chance.below(3) == 0 { format!("resource == Server::\"{server}\"") } else { "resource".to_owned() };
        let clause = if condition == "true" { "when" } else { chance.pick(&["when", "when", "unless"]) };
        let noted = match (effect, chance.below(6)) {
            ("permit", 0) => "@rate(\"3/s\") ",
            ("permit", 1) => "@redact(\"/rows/*/x\") ",
            _ => "",
        };
        format!("{noted}{effect} ({who}, action == Action::\"{server}.{name}\", {place}) {clause} {{ {condition} }};\n")
    }

    /// Any rule at all: of some tools, of groups, of everything; some of them mean nothing.
    fn rule(&self, chance: &mut Chance) -> String {
        let effect = chance.pick(&["permit", "permit", "forbid"]);
        let who = chance.pick(&[
            "principal",
            "principal",
            "principal is Agent",
            "principal == Agent::\"a2\"",
            "principal in Group::\"g1\"",
            "principal is Agent in Group::\"g2\"",
            "principal in Agent::\"a1\"",
            "principal == Group::\"g1\"",
            "principal in Group::\"nobody\"",
        ]);
        let what = chance.pick(&[
            "action",
            "action in Action::\"call\"",
            "action in Action::\"grp0\"",
            "action in [Action::\"s.t0\", Action::\"t.t1\"]",
            "action == Action::\"s.t1\"",
            "action == Action::\"connect\"",
            "action == Action::\"call\"",
            "action == Other::Action::\"s.t1\"",
            "action in [Action::\"resource.read\", Action::\"prompt.get\"]",
        ]);
        let place = chance.pick(&[
            "resource",
            "resource",
            "resource == Server::\"s\"",
            "resource is Server",
            "resource in Server::\"t\"",
            "resource == Agent::\"a1\"",
        ]);
        let condition = chance.pick(&[
            "true",
            "false",
            "principal in Group::\"g1\"",
            "principal == Agent::\"a1\" || context.now > datetime(\"2026-01-01\")",
            "action in Action::\"grp1\"",
            "action == Action::\"s.t1\" || resource == Server::\"t\"",
            "resource == Server::\"s\"",
            "context.calendars.contains(\"office\")",
            "!context.calendars.contains(\"night\")",
            "principal.accounts.contains(context.account)",
            "context.input == {\"table\": \"a\"}",
            "context has input && context.input has table && context.input.table == \"a\"",
            "context.input.table == \"say_\u{4bb}ello\"",
            "context.input.table == 1",
            "context.sql.tables.contains(\"t1\")",
            "context.uri like \"file:*\"",
            "context.source.isLoopback()",
            "context.weather == 1",
            "context.output.total > 4",
            "principal is Group",
            "[principal].contains(Agent::\"a1\")",
        ]);
        let clause = chance.pick(&["when", "unless"]);
        let noted =
            chance.pick(&["", "", "@id(\"one\") ", "@owner(\"ann\") ", "@odd(\"x\") ", "@budget(\"/amount 5/day\") "]);
        format!("{noted}{effect} ({who}, {what}, {place})\n{clause} {{ {condition} }};\n")
    }

    /// Calls `then` with all that an engine is made of.
    pub fn inputs<T>(&self, then: impl FnOnce(Inputs<'_>) -> T) -> T {
        let texts: Vec<(String, String)> =
            self.files.iter().map(|(file, rules)| (file.clone(), rules.concat())).collect();
        let sources: Vec<Source<'_>> = texts.iter().map(|(file, text)| Source { file, text }).collect();
        let catalogues: Vec<Catalogue> = self.servers.iter().map(|(name, tools)| catalogue(name, tools)).collect();
        let settings: Vec<_> = self.servers.iter().map(|(_, tools)| settings(tools)).collect();
        let parts = self.servers.iter().zip(&catalogues).zip(&settings);
        let servers: Vec<(ServerSource<'_>, Arc<Drift>)> = parts
            .map(|(((name, _), catalogue), tools)| {
                let source = ServerSource { name, catalogue, tools, extension_methods: &[] };
                (source, Arc::new(Drift::new(catalogue)))
            })
            .collect();
        let agents: Vec<AgentSource<'_>> = self
            .agents
            .iter()
            .map(|(id, groups, accounts)| AgentSource {
                id,
                groups: groups.iter().map(String::as_str).collect(),
                accounts: accounts.iter().map(String::as_str).collect(),
            })
            .collect();
        let calendars = calendars(&self.calendars);
        then(Inputs {
            sources: &sources,
            servers: &servers,
            agents: &agents,
            calendars: &calendars,
            settings_file: "portcullis.toml",
        })
    }
}

/// A rule about many tools, which reads what class and column bear on.
fn wide_rule(chance: &mut Chance) -> String {
    let effect = chance.pick(&["permit", "permit", "forbid"]);
    let who = chance.pick(&["principal", "principal in Group::\"g0\""]);
    let what = chance.pick(&["action", "action in Action::\"call\"", "action in Action::\"call\""]);
    let condition = chance.pick(&[
        "context.account == \"c1\"",
        "principal.accounts.contains(context.account)",
        "context.calendars.contains(\"office\")",
        "!context.calendars.contains(\"night\")",
        "(resource == Server::\"s\" && context.now > datetime(\"2026-01-01\")) || context.source.isLoopback()",
        "(action in Action::\"call\" && context.now > datetime(\"2026-01-01\")) || context.source.isLoopback()",
        "(principal == Agent::\"a1\" && context.now > datetime(\"2026-01-01\")) || context.source.isLoopback()",
        "(principal in Group::\"g1\" && context.now > datetime(\"2026-01-01\")) || context.source.isLoopback()",
    ]);
    let noted = match (effect, what, chance.below(3)) {
        ("permit", "action in Action::\"call\"", 0) => "@redact(\"/rows/*/x\") ",
        _ => "",
    };
    format!("{noted}{effect} ({who}, {what}, resource) when {{ {condition} }};\n")
}

fn tool(chance: &mut Chance) -> Tool {
    Tool {
        variant: chance.below(5),
        group: chance.below(4),
        account: chance.below(4) == 0,
        sql: chance.below(3) == 0,
        typed: chance.below(4) > 0,
        output: chance.below(3),
    }
}

fn catalogue(name: &str, tools: &BTreeMap<String, Tool>) -> Catalogue {
    let text = json!({"type": "string"});
    let definitions: Vec<_> = tools
        .iter()
        .map(|(name, tool)| {
            let mut properties = match tool.variant {
                0 => json!({"table": text, "limit": {"type": "integer"}}),
                1 => json!({"table": text, "limit": {"type": "integer"}, "amount": {"type": "number"}}),
                2 => json!({"table": {"type": ["string", "null"]}, "limit": {}}),
                3 => json!({"amount": {"type": "number"}, "table": text}),
                _ => json!({"other": text}),
            };
            let required = if tool.variant == 2 { json!([]) } else { json!(["table", "amount"]) };
            if tool.sql {
                properties["sql"] = text.clone();
            }
            let mut definition =
                json!({"name": name, "inputSchema": {"type": "object", "properties": properties, "required": required}});
            if tool.output > 0 {
                let member = ["rows", "lines"][tool.output - 1];
                let total = if tool.variant % 2 == 0 { json!({"type": "integer"}) } else { json!({}) };
                let properties = json!({member: {"type": "array"}, "total": total});
                definition["outputSchema"] = json!({"type": "object", "properties": properties, "required": ["total"]});
            }
            definition
        })
        .collect();
    Catalogue::learn(name, &definitions).unwrap()
}

fn settings(tools: &BTreeMap<String, Tool>) -> BTreeMap<Box<str>, ToolRules> {
    let sql = || SqlRules { argument: "/sql".into(), dialect: Dialect::Generic, schema: None, functions: Vec::new() };
    let of = |tool: &Tool| ToolRules {
        groups: (tool.group < 2).then(|| format!("grp{}", tool.group).into()).into_iter().collect(),
        types: (tool.typed && tool.variant == 2).then(|| ("/limit".into(), "integer".into())).into_iter().collect(),
        output_types: (tool.output > 0 && tool.typed)
            .then(|| ("/total".into(), "integer".into()))
            .into_iter()
            .collect(),
        account: tool.account.then(|| "/table".into()),
        sql: tool.sql.then(|| Arc::new(sql())),
    };
    tools.iter().map(|(name, tool)| (name.as_str().into(), of(tool))).collect()
}

fn calendars(names: &[&str]) -> Calendars {
    let text: String = names
        .iter()
        .map(|name| {
            let (from, to) = if *name == "office" { ("09:00", "17:00") } else { ("22:00", "23:30") };
            format!(
                "[calendar.{name}]\nzone = \"UTC\"\nwindows = [{{ days = [\"mon-fri\"], from = \"{from}\", to = \"{to}\" }}]\n"
            )
        })
        .collect();
    Calendars::parse(&text, "calendars.toml", UnixMillis(NOON)).unwrap()
}
