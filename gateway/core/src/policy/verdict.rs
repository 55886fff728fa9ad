//! States a decision. In: nothing; only the engine makes one. Out: a permit that the next stage spends, or a denial that says why. Never here: outward words.

use std::sync::Arc;

use smallvec::SmallVec;

use super::sql::SqlRefusal;
use super::surface::{ServerIndex, Subject};
use crate::limits::DETERMINING_MAX;

/// The rules that determined a decision, by number, the first [`DETERMINING_MAX`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Determining {
    first: SmallVec<[u32; DETERMINING_MAX]>,
    total: u32,
}

impl Determining {
    pub(super) fn of(rules: impl IntoIterator<Item = u32>) -> Self {
        let mut determining = Self::default();
        rules.into_iter().for_each(|rule| determining.push(rule));
        determining.first.sort_unstable();
        determining
    }

    /// One more; rules come in ascending order, or are sorted afterwards.
    pub(super) fn push(&mut self, rule: u32) {
        self.total = self.total.saturating_add(1);
        if self.first.len() < DETERMINING_MAX && !self.first.contains(&rule) {
            self.first.push(rule);
        }
    }

    /// Their numbers, ascending.
    pub fn rules(&self) -> &[u32] {
        &self.first
    }

    /// How many there were, if more than are named.
    pub fn total(&self) -> u32 {
        self.total
    }
}

/// Who worked a decision out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evaluator {
    /// Our own tables and programs.
    Tables,
    /// Cedar's evaluator, for rules that have no program; it is slower, and worth counting.
    Cedar,
}

/// Leave for one deed. Only [`Engine::decide`](super::engine::Engine::decide) makes one; the deed spends it.
#[derive(Debug)]
pub struct Permit {
    server: ServerIndex,
    subject: Subject,
    determining: Determining,
    evaluator: Evaluator,
    observed: Option<DenialCause>,
}

impl Permit {
    pub(super) fn new(
        server: ServerIndex,
        subject: Subject,
        (determining, evaluator): (Determining, Evaluator),
    ) -> Self {
        Self { server, subject, determining, evaluator, observed: None }
    }

    /// Leave in spite of a denial, where a route only observes.
    pub(super) fn in_spite(server: ServerIndex, subject: Subject, denial: Denial) -> Self {
        let observed = Some(denial.cause);
        Self { server, subject, determining: denial.determining, evaluator: denial.evaluator, observed }
    }

    /// Who worked it out.
    pub fn evaluator(&self) -> Evaluator {
        self.evaluator
    }

    /// Why it would have been refused, were the route not in observe mode.
    pub fn observed(&self) -> Option<DenialCause> {
        self.observed
    }

    /// The server it holds for.
    pub fn server(&self) -> ServerIndex {
        self.server
    }

    /// What it holds for.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The permits that gave it.
    pub fn determining(&self) -> &Determining {
        &self.determining
    }
}

/// Whether the caller may know that something exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// It is left out of lists, and a call of it must look like a call of something unknown.
    Hidden,
    /// Some call of it could be permitted, so it is listed, and a denial may say that it is one.
    Listed,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialCause {
    /// No permit holds.
    NoRule,
    /// A forbid holds.
    Forbidden,
    /// A forbid could not be evaluated; Cedar would skip it, we deny.
    RuleError,
    /// An argument that a rule reads is of another type, or a number that Cedar cannot hold.
    ArgumentUnreadable,
    /// An argument that the tool's schema rules out, or that a rule asks for and the schema does not declare.
    ArgumentUndeclared,
    /// A claim that a rule reads has a shape that no rule can read.
    ClaimUnreadable,
    /// A rule reads SQL that is not judged.
    SqlRefused(SqlRefusal),
    /// A rule reads calendars, and the time lies outside of what they are laid out for.
    CalendarsEnded,
    /// The tool is not in the reviewed catalogue.
    UnknownTool,
    /// The tool's live definition is not the reviewed one.
    Drifted,
    /// The method is neither MCP's nor among the server's extension methods.
    UnknownMethod,
    /// The agent is not in this snapshot's registry.
    UnknownAgent,
    /// The server is not in this snapshot's configuration.
    UnknownServer,
    /// A rate that a determining permit obliges to is used up.
    RateExceeded,
    /// A budget that a determining permit obliges to does not hold the amount.
    BudgetExceeded,
    /// The amount that a budget adds up is missing, or no decimal that can be added.
    AmountUnreadable,
    /// No more rates and budgets can be counted.
    LimitsFull,
    /// The call was permitted, and a rule over its result holds the result back.
    Withheld(ResultCause),
}

/// Why a result is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultCause {
    /// A forbid over the result holds.
    Forbidden,
    /// One could not be evaluated.
    RuleError,
    /// The result has no `structuredContent`, which is what rules read.
    Unstructured,
    /// A member that a rule reads is not what the tool's `outputSchema` declares.
    Mistyped,
    /// What rules read of it has more values than are judged.
    TooLarge,
    /// Something of the call that a rule reads beside its result cannot be read.
    CallUnreadable,
}

impl ResultCause {
    /// The stable name that audit records and metrics carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "result_forbidden",
            Self::RuleError => "result_rule_error",
            Self::Unstructured => "result_unstructured",
            Self::Mistyped => "result_mistyped",
            Self::TooLarge => "result_too_large",
            Self::CallUnreadable => "result_call_unreadable",
        }
    }

    /// What it means, for operators.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Forbidden => "the call is made, and a forbid over its result holds",
            Self::RuleError => "the call is made, and a forbid over its result cannot be evaluated, which withholds it",
            Self::Unstructured => "the call is made, and rules over its result find no `structuredContent` to read",
            Self::Mistyped => "the call is made, and its result is not what the tool declares where a rule reads it",
            Self::TooLarge => "the call is made, and rules read more values of its result than are judged",
            Self::CallUnreadable => {
                "the call is made, and a rule over its result reads of the call what cannot be read"
            }
        }
    }

    /// What the agent is told: nothing of rules or values.
    pub fn words(self) -> &'static str {
        match self {
            Self::Forbidden | Self::RuleError => "the call was made, and its result was withheld by policy",
            Self::Unstructured | Self::Mistyped | Self::TooLarge | Self::CallUnreadable => {
                "the call was made, and its result was withheld: policy has it judged, and it cannot be read"
            }
        }
    }
}

impl DenialCause {
    /// The stable name that audit records and metrics carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Forbidden => "forbidden",
            Self::RuleError => "rule_error",
            Self::ArgumentUnreadable => "argument_unreadable",
            Self::ArgumentUndeclared => "argument_undeclared",
            Self::ClaimUnreadable => "claim_unreadable",
            Self::SqlRefused(refusal) => refusal.name(),
            Self::CalendarsEnded => "calendars_ended",
            Self::UnknownTool => "unknown_tool",
            Self::Drifted => "drifted",
            Self::UnknownMethod => "unknown_method",
            Self::UnknownAgent => "unknown_agent",
            Self::UnknownServer => "unknown_server",
            Self::RateExceeded => "rate_exceeded",
            Self::BudgetExceeded => "budget_exceeded",
            Self::AmountUnreadable => "amount_unreadable",
            Self::LimitsFull => "limits_full",
            Self::Withheld(cause) => cause.name(),
        }
    }
}

/// A refusal. Only the engine makes one.
#[derive(Debug)]
pub struct Denial {
    cause: DenialCause,
    determining: Determining,
    evaluator: Evaluator,
    visibility: Visibility,
    pointer: Option<Arc<str>>,
}

impl Denial {
    pub(super) fn new(cause: DenialCause) -> Self {
        Self {
            cause,
            determining: Determining::default(),
            evaluator: Evaluator::Tables,
            visibility: Visibility::Hidden,
            pointer: None,
        }
    }

    pub(super) fn by(cause: DenialCause, determining: Determining) -> Self {
        Self { determining, ..Self::new(cause) }
    }

    pub(super) fn at(cause: DenialCause, pointer: Arc<str>) -> Self {
        Self { pointer: Some(pointer), ..Self::new(cause) }
    }

    pub(super) fn worked_out_by(self, evaluator: Evaluator) -> Self {
        Self { evaluator, ..self }
    }

    pub(super) fn seen(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    /// Why.
    pub fn cause(&self) -> DenialCause {
        self.cause
    }

    /// What the agent is told: what it can mend is named, and nothing of rules or values.
    pub fn words(&self) -> &'static str {
        match self.cause {
            DenialCause::SqlRefused(refusal) => refusal.words(),
            DenialCause::Withheld(cause) => cause.words(),
            DenialCause::NoRule
            | DenialCause::Forbidden
            | DenialCause::RuleError
            | DenialCause::ArgumentUnreadable
            | DenialCause::ArgumentUndeclared
            | DenialCause::ClaimUnreadable
            | DenialCause::CalendarsEnded
            | DenialCause::RateExceeded
            | DenialCause::BudgetExceeded
            | DenialCause::AmountUnreadable
            | DenialCause::LimitsFull
            | DenialCause::UnknownTool
            | DenialCause::Drifted
            | DenialCause::UnknownMethod
            | DenialCause::UnknownAgent
            | DenialCause::UnknownServer => "denied by policy",
        }
    }

    /// The forbids that held or could not be evaluated.
    pub fn determining(&self) -> &Determining {
        &self.determining
    }

    /// Who worked it out.
    pub fn evaluator(&self) -> Evaluator {
        self.evaluator
    }

    /// Whether the caller may learn that what it asked for exists.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The argument that could not be read, as an RFC 6901 pointer into `params.arguments`; it names no value.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }
}
