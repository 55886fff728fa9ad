//! Explains a decision. In: an engine, the files it was made from, one question. Out: the rules that determined it, those that nearly did and why they did not, and the values they read. Never here: permission; clocks.
//!
//! Every rule about this caller and this action is evaluated part by part by Cedar itself, so that what is told is what the rule says and
//! not what our tables make of it. It is slow, and nobody waits on the way of a request.

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Expr, PolicyID, PrincipalConstraint, ResourceConstraint, StaticPolicy, Template,
};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EvalResult, Policy, PolicySet, Request, RestrictedExpression,
};
use serde::Serialize;
use std::sync::Arc;

use super::calendar::Calendars;
use super::convert::{self, Unfit};
use super::engine::{Action, Engine, Prepared};
use super::facts::{self, Missing, Standing, Subjects};
use super::plan::{Input, Plan};
use super::reads::{Argument, Fact, Reads};
use super::scope::{self, PrincipalScope};
use super::source::{self, Parsed, Source};
use super::surface::{Column, Subject};
use super::trial::{Question, Tried};
use super::verdict::{DenialCause, Visibility};
use crate::identity::claims::ClaimValue;

/// A decision and all that bears on it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// Why it is denied.
    pub cause: Option<&'static str>,
    /// The same in a sentence.
    pub why: &'static str,
    /// The argument that could not be read.
    pub pointer: Option<Box<str>>,
    /// The rules that determined it.
    pub rules: Vec<Told>,
    /// The rules that its result will have to meet; only where it is allowed and no output was given.
    pub results: Vec<Told>,
    /// Rules about this caller and this action that did not determine it, and what kept them from it.
    pub near: Vec<Near>,
    /// Permits of this action that are about somebody else, the first [`ELSEWHERE_MAX`]; only where it is denied.
    pub elsewhere: Vec<Elsewhere>,
    /// What these rules read, as they see it.
    pub values: Vec<Read>,
    /// Whether the caller sees the tool in lists.
    pub listed: bool,
}

/// A rule for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its id.
    pub id: Box<str>,
    /// `permit` or `forbid`.
    pub effect: Box<str>,
    /// The file it stands in.
    pub file: Box<str>,
    /// The line it begins on.
    pub line: u32,
    /// Its whole text.
    pub text: Box<str>,
}

/// A rule that did not determine the decision.
#[derive(Clone, Debug, Serialize)]
pub struct Near {
    /// The rule.
    pub rule: Told,
    /// What kept it from it.
    #[serde(flatten)]
    pub kept: Kept,
}

/// What kept a rule from determining a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kept_by")]
pub enum Kept {
    /// This part of its condition does not hold; the parts before it do.
    Part {
        /// The part.
        part: String,
    },
    /// This part of its condition cannot be evaluated.
    Error {
        /// The part.
        part: String,
        /// Cedar's words.
        message: String,
    },
    /// An argument that it reads is of another type than its tool declares, or not declared.
    Argument {
        /// RFC 6901 pointer into the arguments.
        pointer: Box<str>,
    },
    /// A member of the result that it reads is of another type than its tool declares, or not declared.
    Output {
        /// RFC 6901 pointer into the structured content.
        pointer: Box<str>,
    },
    /// A claim that it reads has a shape that no rule can read.
    Claim,
    /// SQL that it reads is not judged.
    Sql {
        /// Why not, as records name it.
        refusal: &'static str,
        /// The argument that holds it.
        pointer: Box<str>,
    },
    /// It reads calendars, and the time lies outside of what they are laid out for.
    Calendars,
    /// It holds, and something outweighs it.
    Outweighed,
}

/// A permit of the same action that is about somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// Its id.
    pub id: Box<str>,
    /// The file it stands in.
    pub file: Box<str>,
    /// The line it begins on.
    pub line: u32,
    /// Whom it is about, such as ``group `finance` ``.
    pub about: String,
}

/// A value as rules see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Read {
    /// What was read, such as `context.input.table`.
    pub name: String,
    /// In Cedar's notation; nothing where it is absent.
    pub value: Option<String>,
}

/// Rules for other agents that are named: enough for a hint.
pub const ELSEWHERE_MAX: usize = 16;

/// Characters of a value that are shown.
const VALUE_CHARACTERS_MAX: usize = 400;

/// Explains what `engine`, made from `sources`, says to `question`.
pub fn explain(engine: &Engine, sources: &[Source<'_>], question: &Question<'_>) -> Explanation {
    let decided = question.judge(engine);
    let tried = Tried::of(engine, &decided);
    let determining: Vec<u32> = match &decided {
        Ok(permit) => permit.determining().rules().to_vec(),
        Err(denial) => denial.determining().rules().to_vec(),
    };
    let mut told = Explanation {
        decision: tried.word(),
        cause: tried.denied.map(DenialCause::name),
        why: tried.denied.map_or("a permit holds, and no forbid does", words),
        pointer: tried.pointer,
        rules: Vec::new(),
        results: Vec::new(),
        near: Vec::new(),
        elsewhere: Vec::new(),
        values: Vec::new(),
        listed: listed(engine, question),
    };
    // An engine was made from them, so they parse; were they others, there would be nothing true to tell.
    let Ok(parsed) = source::parse(sources) else { return told };
    told.rules = determining.iter().filter_map(|rule| parsed.get(*rule as usize)).map(Told::of).collect();
    let Some(bench) = Bench::new(engine, question) else { return told };
    let made = matches!(tried.denied, None | Some(DenialCause::Withheld(_)));
    for (number, rule) in (0_u32..).zip(&parsed) {
        if !scope::columns(&rule.scope, &engine.surface).matching.contains(&bench.position) {
            continue;
        }
        let is_about = bench.is_about(rule);
        if rule.reads.is_over_results() && (!made || question.output.is_none()) {
            told.results.extend((is_about && made).then(|| Told::of(rule)));
            continue;
        }
        match (is_about, determining.contains(&number)) {
            (true, true) => bench.read(rule, &mut told.values),
            (true, false) => {
                bench.read(rule, &mut told.values);
                told.near.push(Near { rule: Told::of(rule), kept: bench.kept(rule) });
            }
            (false, _) => told.elsewhere.extend(elsewhere(rule)),
        }
    }
    if tried.denied.is_none() {
        told.elsewhere.clear();
    }
    told.elsewhere.truncate(ELSEWHERE_MAX);
    told
}

/// The rules of these ids, for decisions of the past.
pub fn rules(sources: &[Source<'_>], ids: &[String]) -> Vec<Told> {
    let Ok(parsed) = source::parse(sources) else { return Vec::new() };
    parsed.iter().filter(|rule| ids.iter().any(|id| **id == *rule.id)).map(Told::of).collect()
}

/// What a denial means.
fn words(cause: DenialCause) -> &'static str {
    match cause {
        DenialCause::NoRule => "no permit holds, and what no rule permits is refused",
        DenialCause::Forbidden => "a forbid holds, and a forbid outweighs every permit",
        DenialCause::RuleError => "a forbid could not be evaluated, and that denies",
        DenialCause::ArgumentUnreadable => "an argument that a rule reads has another type than the tool declares",
        DenialCause::ArgumentUndeclared => "the call carries an argument that the tool does not declare",
        DenialCause::ClaimUnreadable => "a claim that a rule reads has a shape that no rule can read",
        DenialCause::SqlRefused(_) => "a rule reads SQL that is not judged, and what is not judged is refused",
        DenialCause::CalendarsEnded => {
            "a rule reads calendars, and the time lies outside of what they are laid out for"
        }
        DenialCause::RateExceeded => "the agent made as many calls as a permit's rate allows",
        DenialCause::BudgetExceeded => "the amount is more than a permit's budget has left",
        DenialCause::AmountUnreadable => "an amount that a permit's budget counts could not be read",
        DenialCause::LimitsFull => "no further rate or budget can be counted, and what is not counted is refused",
        DenialCause::Withheld(cause) => cause.meaning(),
        DenialCause::UnknownTool => "nobody reviewed a tool of this name",
        DenialCause::Drifted => "the tool's live definition is not the reviewed one",
        DenialCause::UnknownMethod => "the method is neither of the protocol nor named for this server",
        DenialCause::UnknownAgent => "the agent is not in the registry",
        DenialCause::UnknownServer => "the server is not in the configuration",
    }
}

fn listed(engine: &Engine, question: &Question<'_>) -> bool {
    match question.action {
        Action::Tool(tool) => engine.lists(&question.who, question.server, tool) == Visibility::Listed,
        Action::ResourceRead { uri } => {
            engine.lists_resource(&question.who, question.server, uri, &question.facts) == Visibility::Listed
        }
        Action::PromptGet { name } => {
            engine.lists_prompt(&question.who, question.server, name, &question.facts) == Visibility::Listed
        }
        Action::Connect | Action::CompletePrompt { .. } | Action::CompleteResource { .. } | Action::Task { .. } => {
            question.decide(engine).is_ok()
        }
        Action::Sample | Action::Elicit | Action::Roots | Action::Extension { .. } => question.decide(engine).is_ok(),
    }
}

fn elsewhere(rule: &Parsed) -> Option<Elsewhere> {
    let about = match &rule.scope.principal {
        PrincipalScope::Agent(id) => format!("agent `{id}`"),
        PrincipalScope::Group(id) => format!("group `{id}`"),
        PrincipalScope::Everyone | PrincipalScope::Nobody => return None,
    };
    let permits = rule.effect == cedar_policy::Effect::Permit;
    permits.then(|| Elsewhere { id: rule.id.clone(), file: (&*rule.file).into(), line: rule.line, about })
}

impl Told {
    fn of(rule: &Parsed) -> Self {
        Self {
            id: rule.id.clone(),
            effect: rule.effect.to_string().into(),
            file: (&*rule.file).into(),
            line: rule.line,
            text: rule.text.trim().into(),
        }
    }
}

/// What evaluating the rules of one question needs.
struct Bench<'e> {
    question: &'e Question<'e>,
    position: u32,
    column: &'e Column,
    prepared: &'e Prepared,
    standing: &'e Standing,
    calendars: &'e Calendars,
    uri: Option<&'e str>,
    name: Option<&'e str>,
}

impl<'e> Bench<'e> {
    fn new(engine: &'e Engine, question: &'e Question<'e>) -> Option<Self> {
        let (subject, uri, name) = match question.action {
            Action::Connect => (Subject::Connect, None, None),
            Action::Tool(tool) => (Subject::Tool(tool), None, None),
            Action::ResourceRead { uri } | Action::CompleteResource { uri } => (Subject::ResourceRead, Some(uri), None),
            Action::PromptGet { name } | Action::CompletePrompt { name } => (Subject::PromptGet, None, Some(name)),
            Action::Task { tool: Some(tool) } => (Subject::Tool(tool), None, None),
            Action::Task { tool: None } => (Subject::Task, None, None),
            Action::Sample => (Subject::Sample, None, None),
            Action::Elicit => (Subject::Elicit, None, None),
            Action::Roots => (Subject::Roots, None, None),
            Action::Extension { method } => {
                let face = engine.surface.faces.get(usize::from(question.server.0))?;
                let position = face.extensions.iter().position(|known| &**known == method)?;
                (Subject::Extension(u16::try_from(position).ok()?), None, None)
            }
        };
        let position = engine.surface.column(question.server, subject)?;
        Some(Self {
            question,
            position,
            column: engine.surface.columns.get(position as usize)?,
            prepared: engine.columns.get(position as usize)?,
            standing: engine.standing(&question.who).ok()?,
            calendars: &engine.calendars,
            uri,
            name,
        })
    }

    fn is_about(&self, rule: &Parsed) -> bool {
        match &rule.scope.principal {
            PrincipalScope::Everyone => true,
            PrincipalScope::Agent(id) => **id == *self.question.who.id,
            PrincipalScope::Group(id) => self.standing.groups.iter().any(|group| group.id().unescaped() == &**id),
            PrincipalScope::Nobody => false,
        }
    }

    fn subjects(&self) -> Subjects<'_> {
        Subjects {
            standing: self.standing,
            who: &self.question.who,
            uri: self.uri,
            name: self.name,
            calendars: self.calendars,
        }
    }

    fn given(&self, reads: &Reads) -> Result<(Context, Entities), Missing> {
        let plan = Plan::of(std::iter::once(reads), self.column);
        let mut context = facts::context(&plan, self.subjects(), &self.question.facts)?;
        if let Ok(Some(output)) = self.output(reads) {
            context = context.merge([("output".to_owned(), output)]).map_err(|_| Missing::Defect)?;
        }
        let entities = facts::entities(&plan, self.subjects(), (&self.prepared.action, &self.prepared.groups))?;
        Ok((context, entities))
    }

    /// What the rule reads of the result, where it reads any.
    fn output(&self, reads: &Reads) -> Result<Option<RestrictedExpression>, Unfit> {
        let read: Vec<&Argument> = reads.outputs.iter().collect();
        match (&self.column.result, self.question.output) {
            (Some(result), Some(output)) if !read.is_empty() => {
                convert::input(&Input::of(result, &read), Some(output)).map(Some)
            }
            (_, _) => Ok(None),
        }
    }

    /// The first part of the rule's condition that does not hold.
    fn kept(&self, rule: &Parsed) -> Kept {
        if let Err(Unfit::Unreadable(pointer) | Unfit::Undeclared(pointer)) = self.output(&rule.reads) {
            return Kept::Output { pointer: pointer.as_ref().into() };
        }
        let (context, entities) = match self.given(&rule.reads) {
            Ok(given) => given,
            Err(Missing::Argument(Unfit::Unreadable(pointer) | Unfit::Undeclared(pointer))) => {
                return Kept::Argument { pointer: pointer.as_ref().into() };
            }
            Err(Missing::Claim) => return Kept::Claim,
            Err(Missing::Sql(refusal, pointer)) => return Kept::Sql { refusal: refusal.name(), pointer },
            Err(Missing::Calendars) => return Kept::Calendars,
            Err(Missing::Defect) => return Kept::Outweighed,
        };
        let (action, resource) = (self.prepared.action.clone(), self.prepared.resource.clone());
        let Ok(request) = Request::new(self.standing.uid.clone(), action, resource, context, None) else {
            return Kept::Outweighed;
        };
        for part in parts(&rule.clauses) {
            let shown = part.to_string();
            let Some(set) = alone(part) else { continue };
            let response = Authorizer::new().is_authorized(&request, &set, &entities);
            if let Some(error) = response.diagnostics().errors().next() {
                return Kept::Error { part: shown, message: message(error) };
            }
            if response.decision() == Decision::Deny {
                return Kept::Part { part: shown };
            }
        }
        Kept::Outweighed
    }

    /// What the rule reads, each value once.
    fn read(&self, rule: &Parsed, values: &mut Vec<Read>) {
        let mut add = |name: String, value: Option<String>| {
            if !values.iter().any(|read| read.name == name) {
                values.push(Read { name, value: value.map(shortened) });
            }
        };
        let context = self.given(&rule.reads).ok().map(|(context, _)| context);
        let members = rule.reads.arguments.iter().map(|read| ("input", read));
        for (root, argument) in members.chain(rule.reads.outputs.iter().map(|read| ("output", read))) {
            let steps = [root].into_iter().chain(argument.path.iter().map(|step| &**step));
            let name = format!("context.{}", steps.clone().collect::<Vec<_>>().join("."));
            add(name, context.as_ref().and_then(|context| found(context, steps)));
        }
        // Whatever else of the context the rule reads stands in the context that was made for it.
        for name in Reads::context_names().filter(|name| !matches!(*name, "input" | "output" | "claims")) {
            let read = rule.reads.reads_context(name);
            if read {
                add(format!("context.{name}"), context.as_ref().and_then(|context| found(context, [name])));
            }
        }
        self.read_caller(&rule.reads, &mut add);
    }

    fn read_caller(&self, reads: &Reads, add: &mut impl FnMut(String, Option<String>)) {
        let who = &self.question.who;
        for name in &reads.claims {
            let mut value = None;
            let looked: Result<(), ()> = who.claims.try_each(|own, claim| {
                if own == &**name {
                    value = Some(claimed(claim));
                }
                Ok(())
            });
            let _all_seen = looked;
            add(format!("context.claims.{name}"), value);
        }
        if reads.facts.contains(Fact::Principal) {
            let groups: Vec<&str> = self.standing.groups.iter().map(|group| group.id().unescaped()).collect();
            add("principal".into(), Some(format!("Agent::{:?} in groups {groups:?}", who.id)));
            add("principal.accounts".into(), Some(format!("{:?}", self.standing.accounts)));
            add("principal.user".into(), who.user.map(|user| format!("{user:?}")));
        }
    }
}

fn claimed(claim: &ClaimValue) -> String {
    match claim {
        ClaimValue::Text(text) => format!("{text:?}"),
        ClaimValue::Integer(number) => format!("\"{number}\""),
        ClaimValue::Truth(truth) => format!("\"{truth}\""),
        ClaimValue::Texts(_) | ClaimValue::Unreadable => "of a shape that no rule can read".into(),
    }
}

/// The member of the context at these steps, in Cedar's notation.
fn found<'s>(context: &Context, steps: impl IntoIterator<Item = &'s str>) -> Option<String> {
    let mut steps = steps.into_iter();
    let mut here = context.get(steps.next()?)?;
    for step in steps {
        let EvalResult::Record(record) = &here else { return None };
        here = record.get(step)?.clone();
    }
    Some(here.to_string())
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The parts of a condition that hold together, in the order of the text.
fn parts(clauses: &[Clause]) -> Vec<Clause> {
    let mut out = Vec::new();
    for clause in clauses {
        match clause {
            Clause::When(expr) => conjuncts(expr, &mut out),
            Clause::Unless(expr) => out.push(Clause::Unless(Arc::clone(expr))),
        }
    }
    out
}

fn conjuncts(expr: &Arc<Expr>, out: &mut Vec<Clause>) {
    match &**expr {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        // Whatever else the language holds is one part.
        _ => out.push(Clause::When(Arc::clone(expr))),
    }
}

/// A set of one permit with this condition.
fn alone(part: Clause) -> Option<PolicySet> {
    let template = Template::new(
        PolicyID::from("part"),
        cedar_policy::pst::Effect::Permit,
        PrincipalConstraint::Any,
        ActionConstraint::Any,
        ResourceConstraint::Any,
    );
    let template = template.try_with_clauses([part]).ok()?;
    let policy = Policy::from_pst(cedar_policy::pst::Policy::Static(StaticPolicy::try_from(template).ok()?)).ok()?;
    PolicySet::from_policies([policy]).ok()
}

fn message(error: &cedar_policy::AuthorizationError) -> String {
    match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.inner().to_string(),
    }
}
