//! Makes policies of any number over a grid of agents and tools. In: how many of each. Out: an engine, and the same rules for other engines. Never here: timing.
//!
//! Each rule lets one group call one tool on two tables, and no two rules the same; one rule over everything forbids a third table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::identity::AgentIndex;
use portcullis_core::policy::calendar::Calendars;
use portcullis_core::policy::catalogue::{Catalogue, ToolIndex};
use portcullis_core::policy::drift::Drift;
use portcullis_core::policy::engine::{Engine, Inputs};
use portcullis_core::policy::index::AgentSource;
use portcullis_core::policy::source::Source;
use portcullis_core::policy::spread::Spread;
use portcullis_core::policy::surface::{ServerIndex, ServerSource};
use portcullis_core::policy::who::{Claims, Who};
use serde_json::{Value, json};

/// Sizes of a grid.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Rules, beside the one that forbids.
    pub rules: usize,
    /// Agents, spread evenly over the groups.
    pub agents: usize,
    /// Groups, each one class of agents.
    pub groups: usize,
    /// Tools, a thousand on each server.
    pub tools: usize,
}

/// An engine over a grid.
pub struct Grid {
    /// Its sizes.
    pub sizes: Sizes,
    /// The engine.
    pub engine: Engine,
    /// The ids of the agents, by position.
    pub agents: Vec<String>,
}

/// What an engine over a grid is made of, for engines that come after one another.
pub struct World {
    /// Its sizes.
    pub sizes: Sizes,
    /// The ids of the agents, by position.
    pub agents: Vec<String>,
    /// The rules: names and texts of files.
    pub files: Vec<(String, String)>,
    /// The tools, by server.
    pub tools: Vec<Vec<Value>>,
}

/// Tools on one server.
const TOOLS_A_SERVER: usize = 1_000;

/// Bytes of one policy file, below the loader's bound.
const FILE_BYTES: usize = 8 << 20;

impl World {
    /// With rules and tools as they are given.
    pub fn new(sizes: Sizes, rule: impl Fn(usize) -> String, tool: impl Fn(usize) -> Value) -> Self {
        let numbers: Vec<usize> = (0..sizes.tools).collect();
        Self {
            sizes,
            agents: (0..sizes.agents).map(|agent| format!("agent-{agent}")).collect(),
            files: files(sizes, rule),
            tools: numbers
                .chunks(TOOLS_A_SERVER)
                .map(|numbers| numbers.iter().map(|number| tool(*number)).collect())
                .collect(),
        }
    }

    /// The engine of it, after another or from nothing; the time is what building took, without reading the catalogues.
    ///
    /// # Panics
    /// When the grid's rules do not load.
    pub fn engine(&self, earlier: Option<&Engine>, spread: Spread) -> (Engine, Duration) {
        let groups: Vec<String> = (0..self.sizes.groups).map(|group| format!("group-{group}")).collect();
        let names: Vec<String> = (0..self.tools.len()).map(|server| format!("s{server}")).collect();
        let catalogues: Vec<Catalogue> = (names.iter().zip(&self.tools))
            .map(|(name, tools)| Catalogue::learn(name, tools).expect("the grid's tools are good"))
            .collect();
        let none = BTreeMap::new();
        let servers: Vec<_> = names
            .iter()
            .zip(&catalogues)
            .map(|(name, catalogue)| {
                let source = ServerSource { name, catalogue, tools: &none, extension_methods: &[] };
                (source, Arc::new(Drift::new(catalogue)))
            })
            .collect();
        let sources: Vec<AgentSource<'_>> = self
            .agents
            .iter()
            .enumerate()
            .map(|(agent, id)| AgentSource { id, groups: vec![&groups[agent % groups.len()]], accounts: Vec::new() })
            .collect();
        let files: Vec<Source<'_>> = self.files.iter().map(|(file, text)| Source { file, text }).collect();
        let inputs = Inputs {
            sources: &files,
            servers: &servers,
            agents: &sources,
            calendars: &Calendars::default(),
            settings_file: "portcullis.toml",
        };
        let begun = Instant::now();
        match Engine::build_after(inputs, earlier, spread) {
            Ok(engine) => (engine, begun.elapsed()),
            Err(findings) => panic!("{}", findings.iter().take(3).map(ToString::to_string).collect::<String>()),
        }
    }
}

/// A tool of the grid, as its server lists it.
pub fn tool(number: usize) -> Value {
    let schema = json!({"type": "object", "properties": {"table": {"type": "string"}, "limit": {"type": "integer"}}, "required": ["table"]});
    // A catalogue sorts its tools by name.
    json!({"name": tool_name(number), "description": "x", "inputSchema": schema})
}

impl Grid {
    /// Builds it.
    ///
    /// # Panics
    /// When the grid's rules do not load.
    pub fn new(sizes: Sizes) -> Self {
        let world = World::new(sizes, |number| rule(number, sizes), tool);
        let (engine, _) = world.engine(None, Spread::ALONE);
        Self { sizes, engine, agents: world.agents }
    }

    /// The caller at a position.
    pub fn who(&self, agent: usize) -> Who<'_> {
        let index = AgentIndex(u32::try_from(agent).unwrap_or(u32::MAX));
        Who { agent: index, id: &self.agents[agent], user: None, account: None, claims: Claims::Listed(&[]) }
    }

    /// A tool of the grid.
    pub fn tool(&self, tool: usize) -> (ServerIndex, ToolIndex) {
        let server = ServerIndex(u16::try_from(tool / TOOLS_A_SERVER).unwrap_or(u16::MAX));
        (server, self.engine.tool(server, &tool_name(tool)).expect("the grid has this tool"))
    }

    /// An agent whom a rule permits a tool, and the tool.
    pub fn permitted(&self, rule: usize, member: usize) -> (usize, usize) {
        let members = (self.sizes.agents / self.sizes.groups).max(1);
        let agent = rule % self.sizes.groups + (member % members) * self.sizes.groups;
        (agent.min(self.sizes.agents - 1), covered(rule, self.sizes).1)
    }
}

/// The name of a tool.
pub fn tool_name(tool: usize) -> String {
    format!("tool_{tool:05}")
}

/// The group and the tool that a rule is about.
pub fn covered(rule: usize, sizes: Sizes) -> (usize, usize) {
    let (group, round) = (rule % sizes.groups, rule / sizes.groups);
    (group, (group * (sizes.tools / sizes.groups).max(1) + round) % sizes.tools)
}

/// The rule of a number, in Cedar.
pub fn rule(rule: usize, sizes: Sizes) -> String {
    let (group, tool) = covered(rule, sizes);
    let server = tool / TOOLS_A_SERVER;
    format!(
        "permit (principal in Group::\"group-{group}\", action == Action::\"s{server}.{}\", resource == Server::\"s{server}\")\n\
         when {{ [\"customers\", \"orders\"].contains(context.input.table) }};\n",
        tool_name(tool)
    )
}

/// The rule over everything.
pub const FORBID: &str =
    "forbid (principal, action in Action::\"call\", resource) when { context.input.table == \"financials\" };\n";

fn files(sizes: Sizes, rule: impl Fn(usize) -> String) -> Vec<(String, String)> {
    let mut files = vec![("rules0.cedar".to_owned(), FORBID.to_owned())];
    for number in 0..sizes.rules {
        let next = files.len();
        if files.last().is_some_and(|(_, text)| text.len() > FILE_BYTES) {
            files.push((format!("rules{next}.cedar"), String::new()));
        }
        if let Some((_, text)) = files.last_mut() {
            let _ = write!(text, "{}", rule(number));
        }
    }
    files
}
