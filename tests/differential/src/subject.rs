//! Asks the engine under test. In: a world as a gateway would meet it. Out: its decisions. Never here: what they should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::diagnostic::Diagnostic;
use portcullis_core::identity::AgentIndex;
use portcullis_core::identity::claims::ClaimValue;
use portcullis_core::policy::calendar::Calendars;
use portcullis_core::policy::catalogue::{Catalogue, ToolIndex};
use portcullis_core::policy::drift::{Drift, Live};
use portcullis_core::policy::engine::{Action, Engine, Inputs};
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::index::AgentSource;
use portcullis_core::policy::source::Source;
use portcullis_core::policy::sql::{self, SqlRules};
use portcullis_core::policy::surface::{ServerIndex, ServerSource, ToolRules};
use portcullis_core::policy::verdict::{Evaluator, Visibility};
use portcullis_core::policy::who::{Claims, Who};
use portcullis_core::protocol::json::Value;
use portcullis_core::time::UnixMillis;

use crate::asks::{Ask, Call};
use crate::calendars;
use crate::ground::{Claim, Ground, Server};
use crate::rules::Rule;
use crate::statements::{Dialect, Sql};

/// What the engine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// Permitted: the rules it names, and how many there were.
    Allowed(Vec<u32>, u32),
    /// Denied: the cause, the rules it names, how many there were, and the argument.
    Denied(&'static str, Vec<u32>, u32, Option<String>),
}

/// The engine of one world.
pub struct Subject {
    engine: Engine,
    /// By server and tool.
    tools: Vec<Vec<ToolIndex>>,
    stage: Arc<Stage>,
}

/// Why a world is not loaded.
pub struct Refused {
    /// The rules to blame, each with what was said.
    pub rules: BTreeMap<usize, String>,
    /// Findings that blame no rule.
    pub others: Vec<String>,
}

/// What one world has before its rules, as a gateway would meet it.
pub struct Stage {
    servers: Vec<Staged>,
    calendars: Calendars,
    /// Claims, by token.
    tokens: Vec<Vec<(Box<str>, ClaimValue)>>,
}

/// One server of the stage.
struct Staged {
    catalogue: Catalogue,
    settings: BTreeMap<Box<str>, ToolRules>,
    methods: Vec<Box<str>>,
    drift: Arc<Drift>,
}

impl Stage {
    /// Reads catalogues, settings and calendars.
    pub fn new(ground: &Ground) -> Self {
        let servers = ground.servers.iter().map(|server| {
            let catalogue = catalogue(server);
            let drift = Arc::new(drift(server, &catalogue));
            let methods = server.extensions.iter().map(|one| one.as_str().into()).collect();
            Staged { settings: settings(server), methods, drift, catalogue }
        });
        Self {
            servers: servers.collect(),
            calendars: read(&calendars::file(&ground.calendars)),
            tokens: ground.tokens.iter().map(|token| claims(token)).collect(),
        }
    }

    /// The same, with calendars that never open.
    pub fn with_calendars_shut(mut self, ground: &Ground) -> Self {
        let shut = ground.calendars.iter().map(|calendar| calendar.shut());
        self.calendars = read(&shut.collect::<String>());
        self
    }

    /// The same, with tables of another schema than the statements'.
    pub fn with_tables_elsewhere(mut self) -> Self {
        for tool in self.servers.iter_mut().flat_map(|server| server.settings.values_mut()) {
            if let Some(sql) = &mut tool.sql {
                Arc::make_mut(sql).schema = Some("elsewhere".into());
            }
        }
        self
    }
}

fn read(file: &str) -> Calendars {
    Calendars::parse(file, "calendars.toml", UnixMillis(calendars::READ_AT)).unwrap_or_else(|findings| {
        panic!("{file}\n{findings:#?}");
    })
}

impl Subject {
    /// Loads rules as two policy files.
    pub fn load(ground: &Ground, stage: &Arc<Stage>, rules: &[Rule]) -> Result<Self, Refused> {
        let half = rules.len() / 2;
        let lines = |rules: &[Rule]| rules.iter().map(|rule| rule.text() + "\n").collect::<String>();
        let (first, second) = (lines(&rules[..half]), lines(&rules[half..]));
        let sources = [Source { file: "a.cedar", text: &first }, Source { file: "b.cedar", text: &second }];
        let servers = ground.servers.iter().zip(&stage.servers).map(|(server, staged)| {
            let source = ServerSource {
                name: &server.name,
                catalogue: &staged.catalogue,
                tools: &staged.settings,
                extension_methods: &staged.methods,
            };
            (source, Arc::clone(&staged.drift))
        });
        let agents = ground.agents.iter().map(|agent| AgentSource {
            id: &agent.id,
            groups: agent.groups.iter().map(String::as_str).collect(),
            accounts: agent.accounts.iter().map(String::as_str).collect(),
        });
        let inputs = Inputs {
            sources: &sources,
            servers: &servers.collect::<Vec<_>>(),
            agents: &agents.collect::<Vec<_>>(),
            calendars: &stage.calendars,
            settings_file: "portcullis.toml",
        };
        let engine = Engine::build(inputs).map_err(|findings| refused(&findings, half))?;
        let tools = ground.servers.iter().zip(&stage.servers).map(|(server, staged)| {
            server.tools.iter().map(|tool| staged.catalogue.find(&tool.name).unwrap()).collect()
        });
        Ok(Self { engine, tools: tools.collect(), stage: Arc::clone(stage) })
    }

    /// The engine's decision, and who worked it out.
    pub fn decide(
        &self,
        ground: &Ground,
        ask: &Ask,
        arguments: Option<Value<'_>>,
        (agent, user): (usize, usize),
    ) -> (Got, &'static str) {
        let who = self.who(ground, ask, (agent, user));
        let facts = Facts { arguments, source: ask.source, now: UnixMillis(ask.now) };
        let tool = |tool: &usize| self.tools[ask.server][*tool];
        let action = match &ask.call {
            Call::Connect => Action::Connect,
            Call::Tool(position) => Action::Tool(tool(position)),
            Call::Resource(uri) => Action::ResourceRead { uri },
            Call::Prompt(name) => Action::PromptGet { name },
            Call::CompletePrompt(name) => Action::CompletePrompt { name },
            Call::CompleteResource(uri) => Action::CompleteResource { uri },
            Call::Task(position) => Action::Task { tool: position.as_ref().map(tool) },
            Call::Sample => Action::Sample,
            Call::Elicit => Action::Elicit,
            Call::Roots => Action::Roots,
            Call::Extension(method) => Action::Extension { method },
        };
        match self.engine.decide(&who, server(ask.server), action, &facts) {
            Ok(permit) => {
                let determining = permit.determining();
                (Got::Allowed(determining.rules().to_vec(), determining.total()), named(permit.evaluator()))
            }
            Err(denial) => {
                let (determining, pointer) = (denial.determining(), denial.pointer().map(str::to_owned));
                let (named_rules, total) = (determining.rules().to_vec(), determining.total());
                (Got::Denied(denial.cause().name(), named_rules, total, pointer), named(denial.evaluator()))
            }
        }
    }

    /// Is this tool listed to the agent?
    pub fn lists(&self, ground: &Ground, ask: &Ask, agent: usize, tool: usize) -> bool {
        let who = self.who(ground, ask, (agent, 0));
        self.engine.lists(&who, server(ask.server), self.tools[ask.server][tool]) == Visibility::Listed
    }

    fn who<'a>(&'a self, ground: &'a Ground, ask: &'a Ask, (agent, user): (usize, usize)) -> Who<'a> {
        Who {
            agent: AgentIndex(agent as u32),
            id: &ground.agents[agent].id,
            user: ground.users[user].as_deref(),
            account: ask.account.as_deref(),
            claims: Claims::Listed(&self.stage.tokens[ask.token]),
        }
    }
}

fn server(position: usize) -> ServerIndex {
    ServerIndex(position as u16)
}

fn named(evaluator: Evaluator) -> &'static str {
    match evaluator {
        Evaluator::Tables => "tables",
        Evaluator::Cedar => "cedar",
    }
}

/// How a tool takes SQL, as the engine is told.
pub fn sql_rules(sql: &Sql) -> SqlRules {
    SqlRules {
        argument: crate::ground::pointer(&sql.argument).into(),
        dialect: match sql.dialect {
            Dialect::Postgres => sql::Dialect::Postgres,
            Dialect::MySql => sql::Dialect::MySql,
            Dialect::Sqlite => sql::Dialect::Sqlite,
            Dialect::Generic => sql::Dialect::Generic,
        },
        schema: sql.schema.map(Box::from),
        functions: sql.functions.iter().map(|name| Box::from(*name)).collect(),
    }
}

fn settings(server: &Server) -> BTreeMap<Box<str>, ToolRules> {
    let of = |tool: &crate::ground::Tool| ToolRules {
        sql: tool.sql.as_ref().map(|sql| Arc::new(sql_rules(sql))),
        groups: tool.groups.iter().map(|group| group.as_str().into()).collect(),
        types: tool.types.iter().map(|(pointer, ty)| (pointer.as_str().into(), (*ty).into())).collect(),
        account: tool.account.as_ref().map(|path| crate::ground::pointer(path).into()),
    };
    server.tools.iter().map(|tool| (Box::from(tool.name.as_str()), of(tool))).collect()
}

fn catalogue(server: &Server) -> Catalogue {
    let live: Vec<_> = server.tools.iter().map(|tool| tool.definition.clone()).collect();
    Catalogue::learn(&server.name, &live).unwrap()
}

fn drift(server: &Server, catalogue: &Catalogue) -> Drift {
    let drift = Drift::new(catalogue);
    for tool in server.tools.iter().filter(|tool| tool.drifted) {
        drift.observe(catalogue.find(&tool.name).unwrap(), Live::Drifted);
    }
    drift
}

fn claims(token: &[(String, Claim)]) -> Vec<(Box<str>, ClaimValue)> {
    let value = |claim: &Claim| match claim {
        Claim::Text(text) => ClaimValue::Text(text.as_str().into()),
        Claim::Number(number) => ClaimValue::Integer(*number),
        Claim::Truth(truth) => ClaimValue::Truth(*truth),
        Claim::List => ClaimValue::Texts(vec!["c1".into()]),
        Claim::Odd => ClaimValue::Unreadable,
    };
    token.iter().map(|(name, claim)| (name.as_str().into(), value(claim))).collect()
}

/// A rule stands on a line of its own, so that a finding's line names it.
fn refused(findings: &[Diagnostic], half: usize) -> Refused {
    let mut refused = Refused { rules: BTreeMap::new(), others: Vec::new() };
    for finding in findings {
        let before = match &*finding.file {
            "a.cedar" => Some(0),
            "b.cedar" => Some(half),
            _ => None,
        };
        match (before, finding.line) {
            (Some(before), Some(line)) if line > 0 => {
                refused.rules.insert(before + line as usize - 1, finding.to_string());
            }
            _ => refused.others.push(finding.to_string()),
        }
    }
    refused
}
