//! Tries a call out. In: a call that owns all it carries, an engine. Out: what the engine says of it, in words that outlive both. Never here: deeds; nothing is permitted by a trial.
//!
//! Rules are explained, tested, replayed, watched and shadowed with the same question that a live request asks.

use std::net::IpAddr;

use super::cell::Verdict;
use super::duty::Arguments;
use super::engine::{Action, Engine};
use super::facts::Facts;
use super::reads::Fact;
use super::result::{Results, Withheld};
use super::surface::{ServerIndex, Subject};
use super::verdict::{Denial, DenialCause, Permit};
use super::who::{Claims, Who};
use crate::identity::AgentIndex;
use crate::identity::claims::ClaimValue;
use crate::identity::registry::Registry;
use crate::protocol::json::{self, BodyError, JsonLimits, Scratch, Value};
use crate::time::UnixMillis;

/// What is asked, owned; see [`Action`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants of `Action`, one to one, with names in the place of numbers")]
pub enum Target {
    Connect,
    Tool(Box<str>),
    ResourceRead(Box<str>),
    PromptGet(Box<str>),
    CompletePrompt(Box<str>),
    CompleteResource(Box<str>),
    Task(Option<Box<str>>),
    Sample,
    Elicit,
    Roots,
    Extension(Box<str>),
}

/// One call and its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The agent's id.
    pub agent: Box<str>,
    /// The user it acts for.
    pub user: Option<Box<str>>,
    /// The customer account of its token.
    pub account: Option<Box<str>>,
    /// Its token's claims, as far as they are known.
    pub claims: Vec<(Box<str>, ClaimValue)>,
    /// The server's name.
    pub server: Box<str>,
    /// What is asked.
    pub target: Target,
    /// The raw JSON of `params.arguments`.
    pub arguments: Option<Box<[u8]>>,
    /// The raw JSON of the result's `structuredContent`, for a call whose result is to be judged as well.
    pub output: Option<Box<[u8]>>,
    /// Where it comes from.
    pub source: IpAddr,
    /// When.
    pub at: UnixMillis,
}

/// A trial as an engine is asked it.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    /// Who.
    pub who: Who<'q>,
    /// Where.
    pub server: ServerIndex,
    /// What.
    pub action: Action<'q>,
    /// With what.
    pub facts: Facts<'q>,
    /// And what it brings, where that is to be judged as well.
    pub output: Option<Value<'q>>,
}

/// What an engine said, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Nothing where it is permitted, else why not.
    pub denied: Option<DenialCause>,
    /// The rules that determined it, by id.
    pub rules: Vec<Box<str>>,
    /// The argument that could not be read.
    pub pointer: Option<Box<str>>,
}

/// Why an engine cannot even be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untried {
    /// No agent of this id is registered.
    UnknownAgent,
    /// No server has this name.
    UnknownServer,
    /// The server's reviewed tools have none of this name.
    UnknownTool,
    /// The arguments are no JSON that a request could carry.
    Arguments(BodyError),
    /// The output is no JSON that an answer could carry.
    Output(BodyError),
}

impl Question<'_> {
    /// The engine's answer to the request.
    pub fn decide(&self, engine: &Engine) -> Result<Permit, Denial> {
        engine.decide(&self.who, self.server, self.action, &self.facts)
    }

    /// The engine's answer to the request and, where one is given, to what it brings.
    pub fn judge(&self, engine: &Engine) -> Result<Permit, Denial> {
        let permit = self.decide(engine)?;
        match (self.output, self.results(engine)) {
            (Some(output), Some(results)) => {
                results.judge(Some(output)).map_err(Withheld::into_denial).map(|()| permit)
            }
            (_, _) => Ok(permit),
        }
    }

    /// The rules that the result has to meet.
    pub fn results(&self, engine: &Engine) -> Option<Results> {
        let Action::Tool(tool) = self.action else { return None };
        engine.results(&self.who, (self.server, tool), &self.facts, Arguments::Known)
    }

    /// Whether a rule that could bear on it reads claims of the token, which nobody records.
    pub fn reads_claims(&self, engine: &Engine) -> bool {
        let subject = match self.action {
            Action::Connect => Subject::Connect,
            Action::Tool(tool) | Action::Task { tool: Some(tool) } => Subject::Tool(tool),
            Action::ResourceRead { .. } | Action::CompleteResource { .. } => Subject::ResourceRead,
            Action::PromptGet { .. } | Action::CompletePrompt { .. } => Subject::PromptGet,
            Action::Task { tool: None } => Subject::Task,
            Action::Sample => Subject::Sample,
            Action::Elicit => Subject::Elicit,
            Action::Roots => Subject::Roots,
            // Which column it is depends on the server; to look is dearer than to say yes.
            Action::Extension { .. } => return true,
        };
        let cell = engine.row(&self.who).ok().zip(engine.surface.column(self.server, subject));
        let cell = cell.and_then(|(row, column)| engine.cell(row, column));
        match cell.map(|cell| &cell.verdict) {
            Some(Verdict::Program(program)) => program.plan.facts.contains(Fact::Claims),
            Some(Verdict::NoRule | Verdict::Forbidden(_) | Verdict::Allowed(_)) | None => false,
        }
    }
}

impl Trial {
    /// Puts the trial as a question about `engine`, whose agents are those of `registry`, and hands it to `then`.
    ///
    /// # Errors
    /// Why it cannot be put.
    pub fn put<T>(
        &self,
        engine: &Engine,
        registry: &Registry,
        limits: &JsonLimits,
        then: impl FnOnce(&Question<'_>) -> T,
    ) -> Result<T, Untried> {
        let agent = registry.find(&self.agent).ok_or(Untried::UnknownAgent)?;
        let server = engine.server(&self.server).ok_or(Untried::UnknownServer)?;
        let tool = |name: &str| engine.tool(server, name).map_err(|_| Untried::UnknownTool);
        let action = match &self.target {
            Target::Connect => Action::Connect,
            Target::Tool(name) => Action::Tool(tool(name)?),
            Target::ResourceRead(uri) => Action::ResourceRead { uri },
            Target::PromptGet(name) => Action::PromptGet { name },
            Target::CompletePrompt(name) => Action::CompletePrompt { name },
            Target::CompleteResource(uri) => Action::CompleteResource { uri },
            Target::Task(name) => Action::Task { tool: name.as_deref().map(tool).transpose()? },
            Target::Sample => Action::Sample,
            Target::Elicit => Action::Elicit,
            Target::Roots => Action::Roots,
            Target::Extension(method) => Action::Extension { method },
        };
        let (mut scratch, mut room) = (Scratch::new(), Scratch::new());
        let document = match &self.arguments {
            Some(raw) => Some(json::read(&mut scratch, raw, limits).map_err(Untried::Arguments)?),
            None => None,
        };
        let brought = match &self.output {
            Some(raw) => Some(json::read(&mut room, raw, limits).map_err(Untried::Output)?),
            None => None,
        };
        let arguments = document.as_ref().map(json::Document::root);
        let output = brought.as_ref().map(json::Document::root);
        let facts = Facts { arguments, source: self.source, now: self.at };
        Ok(then(&Question { who: self.who(agent), server, action, facts, output }))
    }

    /// What `engine` says.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn judge(&self, engine: &Engine, registry: &Registry, limits: &JsonLimits) -> Result<Tried, Untried> {
        self.put(engine, registry, limits, |question| Tried::of(engine, &question.judge(engine)))
    }

    fn who(&self, agent: AgentIndex) -> Who<'_> {
        Who {
            agent,
            id: &self.agent,
            user: self.user.as_deref(),
            account: self.account.as_deref(),
            claims: Claims::Listed(&self.claims),
        }
    }
}

impl Tried {
    /// The words of a decision of `engine`.
    pub fn of(engine: &Engine, decided: &Result<Permit, Denial>) -> Self {
        let (denied, determining, pointer) = match decided {
            Ok(permit) => (permit.observed(), permit.determining(), None),
            Err(denial) => (Some(denial.cause()), denial.determining(), denial.pointer()),
        };
        let ids = determining.rules().iter().filter_map(|rule| engine.policy_id(*rule));
        Self { denied, rules: ids.map(Box::from).collect(), pointer: pointer.map(Box::from) }
    }

    /// Whether it is permitted.
    pub fn is_allowed(&self) -> bool {
        self.denied.is_none()
    }

    /// `allow` or `deny`.
    pub fn word(&self) -> &'static str {
        if self.is_allowed() { "allow" } else { "deny" }
    }
}

impl Untried {
    /// The cause in words, for `trial`.
    pub fn words(&self, trial: &Trial) -> String {
        match self {
            Self::UnknownAgent => format!("no agent `{}` is registered", trial.agent),
            Self::UnknownServer => format!("no server is called `{}`", trial.server),
            Self::UnknownTool => {
                let name = match &trial.target {
                    Target::Tool(name) | Target::Task(Some(name)) => name,
                    Target::Connect | Target::Sample | Target::Elicit | Target::Roots | Target::Task(None) => "",
                    Target::ResourceRead(name) | Target::PromptGet(name) | Target::CompletePrompt(name) => name,
                    Target::CompleteResource(name) | Target::Extension(name) => name,
                };
                format!("server `{}` has no reviewed tool `{name}`", trial.server)
            }
            Self::Arguments(error) => format!("the arguments cannot be read: {}", error.name()),
            Self::Output(error) => format!("the output cannot be read: {}", error.name()),
        }
    }
}
