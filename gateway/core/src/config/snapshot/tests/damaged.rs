//! Ten thousand damaged inputs: none is taken for what it is not, none panics, and what served goes on deciding as it did.
//!
//! A damaged file may still be a good one: a comment lost, a name that became another name. So what is accepted is read a second time
//! by a reader that shares nothing with ours (Cedar's own evaluator, a TOML table, the undamaged catalogue) and must mean the same to it.

use super::*;
use crate::identity::AgentIndex;
use crate::policy::catalogue::Tool;
use crate::policy::engine::Action;
use crate::policy::facts::Facts;
use crate::policy::spread::Spread;
use crate::policy::who::{Claims, Who};
use crate::protocol::json::{Scratch, read};
use crate::time::UnixMillis;
use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request};
use oorandom::Rand64;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One server: every round loads all of it.
const SMALL: &str = "[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"idp.json\"\n[server.crm]\nurl = \"http://127.0.0.1:9000/mcp\"\n";

const ROUNDS: usize = 10_000;

/// Threads that share them.
const SHARES: usize = 4;

const RULES: &str = r#"// Support reads two tables.
@id("read") permit (principal in Group::"support", action == Action::"crm.read_table", resource == Server::"crm")
when { ["customers", "orders"].contains(context.input.table) };
forbid (principal, action in Action::"call", resource) when { context.input.table == "secrets" };
"#;

const TWO_AGENTS: &str = "# Who may call.\n[agent.bot]\nowner = \"a@example.com\"\ngroups = [\"support\"]\ntokens = [{ issuer = \"idp\", client_id = \"bot\" }]\n\n[agent.eve]\nowner = \"e@example.com\"\nstatus = \"suspended\"\ngroups = []\n";

const TABLES: [&str; 3] = ["customers", "secrets", "other"];

/// Pieces of the languages, which damage puts where they do not belong.
const PIECES: [&str; 24] = [
    "permit",
    "forbid",
    "when",
    "unless",
    " || true",
    " && false",
    "!",
    "==",
    "!=",
    "principal",
    "Group::\"support\"",
    ";",
    "{",
    "}",
    "\"",
    "\n",
    "//",
    "#",
    "[agent.x]\n",
    "status = \"active\"\n",
    ",",
    "null",
    "customers",
    "\u{0}",
];

/// A catalogue whose one tool asks for a table.
fn reviewed(server: &str) -> Text {
    let schema =
        serde_json::json!({"type": "object", "properties": {"table": {"type": "string"}}, "required": ["table"]});
    let tool = serde_json::json!({"name": "read_table", "description": "Reads.", "inputSchema": schema});
    text(&format!("catalogue/{server}.json"), &Catalogue::learn(server, &[tool]).unwrap().to_text())
}

/// A failure names the seed that makes it again.
struct Chance(Rand64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.rand_range(0..bound.max(1) as u64)).unwrap()
    }

    /// Damages a text as disks, editors and hands do.
    fn damage(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(7),
                1 | 2 => {
                    let end = (at + 1 + self.below(30)).min(bytes.len());
                    bytes.drain(at.min(end)..end);
                }
                3 => {
                    let end = (at + 1 + self.below(60)).min(bytes.len());
                    let copy = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => {
                    let piece = PIECES[self.below(PIECES.len())].as_bytes();
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let other = self.below(bytes.len());
                    if !bytes.is_empty() {
                        bytes.swap(at, other);
                    }
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What every agent may do with every table, by our engine.
fn decided(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let agents: Vec<String> = snapshot.registry.agents().map(|agent| agent.id.to_string()).collect();
    for (position, id) in agents.iter().enumerate() {
        for server in ["crm"] {
            for table in TABLES {
                let index = snapshot.engine.server(server).unwrap();
                let Ok(tool) = snapshot.engine.tool(index, "read_table") else { continue };
                let body = format!("{{\"table\":\"{table}\"}}");
                let mut scratch = Scratch::new();
                let document = read(&mut scratch, body.as_bytes(), &snapshot.json_limits()).unwrap();
                let who = Who {
                    agent: AgentIndex(u32::try_from(position).unwrap()),
                    id,
                    user: None,
                    account: None,
                    claims: Claims::Listed(&[]),
                };
                let facts = Facts {
                    arguments: Some(document.root()),
                    source: "127.0.0.1".parse().unwrap(),
                    now: UnixMillis(1_795_428_000_000),
                };
                if snapshot.engine.decide(&who, index, Action::Tool(tool), &facts).is_ok() {
                    allowed.insert(format!("{id} {server} {table}"));
                }
            }
        }
    }
    allowed
}

/// The same by Cedar over the texts themselves.
fn cedars(policies: &str, agents: &str) -> BTreeSet<String> {
    let set: PolicySet = policies.parse().unwrap();
    let table: toml::Table = agents.parse().unwrap();
    let mut allowed = BTreeSet::new();
    for (id, agent) in table.get("agent").and_then(toml::Value::as_table).into_iter().flatten() {
        let groups = agent.get("groups").and_then(toml::Value::as_array).into_iter().flatten();
        let parents: Vec<_> =
            groups.map(|group| serde_json::json!({"type": "Group", "id": group.as_str().unwrap()})).collect();
        for server in ["crm"] {
            let entities = serde_json::json!([
                {"uid": {"type": "Agent", "id": id}, "attrs": {"accounts": []}, "parents": parents},
                {"uid": {"type": "Action", "id": format!("{server}.read_table")}, "attrs": {},
                 "parents": [{"type": "Action", "id": "call"}]},
            ]);
            let entities = Entities::from_json_value(entities, None).unwrap();
            for asked in TABLES {
                let context = serde_json::json!({"input": {"table": asked}});
                let uid = |ty: &str, id: &str| crate::policy::facts::entity(ty, id).unwrap();
                let request = Request::new(
                    uid("Agent", id),
                    uid("Action", &format!("{server}.read_table")),
                    uid("Server", server),
                    Context::from_json_value(context, None).unwrap(),
                    None,
                );
                let answer = Authorizer::new().is_authorized(&request.unwrap(), &set, &entities);
                if answer.decision() == cedar_policy::Decision::Allow {
                    allowed.insert(format!("{id} {server} {asked}"));
                }
            }
        }
    }
    allowed
}

/// Why an accepted input must not have been, if it must not.
fn wrong(snapshot: &Snapshot, texts: &Texts, whole: &Snapshot) -> Option<String> {
    let (ours, theirs) = (decided(snapshot), cedars(&texts.policies[0].text, &texts.agents.text));
    if ours != theirs {
        return Some(format!("we allow {ours:?}, Cedar {theirs:?}"));
    }
    let table: toml::Table = texts.agents.text.parse().unwrap();
    let agents = table.get("agent").and_then(toml::Value::as_table);
    for agent in snapshot.registry.agents() {
        let own = agents.and_then(|agents| agents.get(&*agent.id))?;
        let status = own.get("status").and_then(toml::Value::as_str).unwrap_or("active");
        if status != agent.status.as_str() {
            return Some(format!("`{}` is {} and not {status}", agent.id, agent.status.as_str()));
        }
    }
    for (index, _) in whole.routes() {
        let (before, after) = (whole.catalogue(index)?, snapshot.catalogue(index)?);
        // What is no part of a pin nobody relies on.
        let of = |catalogue: &Catalogue| {
            let member = |tool: &Tool, name: &str| tool.definition.get(name).cloned();
            let parts = |tool: &Tool| (tool.pin, ["name", "description", "inputSchema"].map(|name| member(tool, name)));
            catalogue.tools().iter().map(parts).collect::<Vec<_>>()
        };
        let (before, after) = (of(before), of(after));
        if !after.iter().all(|tool| before.contains(tool)) {
            return Some(format!("a tool passes that nobody reviewed: {after:?}"));
        }
    }
    None
}

/// One share of the rounds: how many damaged inputs were accepted, and which must not have been.
fn share(seed: u64, good: &Texts, whole: &Snapshot) -> (usize, Vec<String>) {
    let mut chance = Chance(Rand64::new(u128::from(seed)));
    let (mut accepted, mut failures) = (0, Vec::new());
    for round in 0..ROUNDS / SHARES {
        let mut damaged = good.clone();
        let part = match chance.below(5) {
            0 | 1 => &mut damaged.policies[0].text,
            2 => &mut damaged.agents.text,
            _ => &mut damaged.catalogues[0].as_mut().unwrap().text,
        };
        *part = chance.damage(part);
        let part = part.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let built = Snapshot::build_after(damaged.clone(), 8, Some(whole), Spread::ALONE);
            built.ok().map(|snapshot| wrong(&snapshot, &damaged, whole))
        }));
        match outcome {
            Ok(None) => {}
            Ok(Some(None)) => accepted += 1,
            Ok(Some(Some(why))) => failures.push(format!("seed {seed:#x}, round {round}: {why}\n{part}")),
            Err(_) => failures.push(format!("seed {seed:#x}, round {round}: panicked over\n{part}")),
        }
    }
    (accepted, failures)
}

#[test]
fn nothing_damaged_is_accepted_for_what_it_is_not() {
    let mut good = texts(SMALL);
    good.policies[0].text = RULES.into();
    good.agents.text = TWO_AGENTS.into();
    good.catalogues = vec![Some(reviewed("crm"))];
    let whole = build(good.clone());
    let serving = decided(&whole);
    assert_eq!(serving, cedars(RULES, TWO_AGENTS));
    assert_eq!(serving.len(), 1, "{serving:?}");
    // A panic is a finding of this test, told with its round; a trace for each would bury it.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let shares: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let seeds = (1..=SHARES as u64).map(|number| 0x5eed_cafe_f00d_0000 + number);
        let running: Vec<_> = seeds
            .map(|seed| {
                scope.spawn({
                    let (good, whole) = (&good, &whole);
                    move || share(seed, good, whole)
                })
            })
            .collect();
        running.into_iter().map(|share| share.join().unwrap()).collect()
    });
    std::panic::set_hook(hook);
    let accepted: usize = shares.iter().map(|(accepted, _)| accepted).sum();
    let failures: Vec<&String> = shares.iter().flat_map(|(_, failures)| failures).collect();
    assert!(failures.is_empty(), "{} of {ROUNDS}, the first:\n{}", failures.len(), failures[0]);
    assert_eq!(decided(&whole), serving, "what served goes on");
    // Damage that only ever refused, or never did, would prove nothing.
    assert!((ROUNDS / 100..ROUNDS / 2).contains(&accepted), "{accepted} of {ROUNDS} were accepted");
}
