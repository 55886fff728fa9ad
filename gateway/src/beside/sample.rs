//! Copies a call as it was decided. In: what the decision borrowed. Out: a value that outlives it and can be judged again. Never here: judging.

use super::Copied;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::engine::{Action, Engine};
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::trial::{Question, Target, Trial, Tried, Untried};
use portcullis_core::policy::verdict::{Denial, Permit};
use portcullis_core::policy::who::Who;
use std::sync::Arc;

/// A decision that was copied.
pub struct Sample {
    /// Whom it is for.
    pub copied: Copied,
    /// The snapshot that decided it.
    pub snapshot: Arc<Snapshot>,
    /// The call.
    pub trial: Trial,
    /// What was decided.
    pub tried: Tried,
}

/// A decision as it stands on the way of its call.
#[derive(Clone, Copy)]
pub struct Decided<'d> {
    /// Who asked.
    pub who: &'d Who<'d>,
    /// Of which server.
    pub server: ServerIndex,
    /// What.
    pub action: Action<'d>,
    /// With what.
    pub facts: &'d Facts<'d>,
    /// The raw arguments in the body.
    pub arguments: Option<&'d [u8]>,
}

impl Sample {
    /// The copy; nothing where a part has no name any more.
    pub fn of(
        copied: Copied,
        snapshot: Arc<Snapshot>,
        decided: Decided<'_>,
        outcome: &Result<Permit, Denial>,
    ) -> Option<Self> {
        let Decided { who, server, action, facts, arguments } = decided;
        let engine = &snapshot.engine;
        let tool = |tool| engine.tool_name(server, tool).map(Box::from);
        let target = match action {
            Action::Connect => Target::Connect,
            Action::Tool(index) => Target::Tool(tool(index)?),
            Action::ResourceRead { uri } => Target::ResourceRead(uri.into()),
            Action::PromptGet { name } => Target::PromptGet(name.into()),
            Action::CompletePrompt { name } => Target::CompletePrompt(name.into()),
            Action::CompleteResource { uri } => Target::CompleteResource(uri.into()),
            Action::Task { tool: index } => match index {
                Some(index) => Target::Task(Some(tool(index)?)),
                None => Target::Task(None),
            },
            Action::Sample => Target::Sample,
            Action::Elicit => Target::Elicit,
            Action::Roots => Target::Roots,
            Action::Extension { method } => Target::Extension(method.into()),
        };
        let mut claims = Vec::new();
        let all: Result<(), ()> = who.claims.try_each(|name, value| {
            claims.push((Box::from(name), value.clone()));
            Ok(())
        });
        let trial = Trial {
            agent: who.id.into(),
            user: who.user.map(Box::from),
            account: who.account.map(Box::from),
            claims,
            server: snapshot.server(server)?.settings.name.clone(),
            target,
            arguments: arguments.map(Box::from),
            output: None,
            source: facts.source,
            at: facts.now,
        };
        let tried = Tried::of(engine, outcome);
        all.ok().map(|()| Self { copied, snapshot, trial, tried })
    }

    /// The same question to the same snapshot.
    pub fn again(&self, ask: impl FnOnce(&Question<'_>, &Engine) -> Tried) -> Result<Tried, Untried> {
        let Snapshot { engine, registry, .. } = &*self.snapshot;
        self.trial.put(engine, registry, &self.snapshot.json_limits(), |question| ask(question, engine))
    }
}
