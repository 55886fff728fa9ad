//! Judges results. In: rules over results, a call as it was judged, the structured content that it brought. Out: nothing to object, or why the
//! result is withheld and by which rules. Never here: answers as MCP shapes them, and what is decided of requests.
//!
//! A rule over results reads what the call's own rules could read, as it stood when the call was judged, and `context.output`. It is left to
//! Cedar's evaluator: what it reads is unknown until the server has answered, which takes longer than any evaluation.

use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression as Expression,
};

use super::convert::{self, Unfit};
use super::facts::{Missing, Standing};
use super::load::Rule;
use super::plan::{Input, Member, Want};
use super::reads::Reads;
use super::scope::PrincipalScope;
use super::verdict::{Denial, DenialCause, Determining, Evaluator, ResultCause, Visibility};
use crate::protocol::json::{Kind, Value};

/// Values of one result that rules read. Cedar's sets are made and sorted value by value, on a core that serves others meanwhile: some ten
/// milliseconds at most. Larger results are better judged by what their servers count of them.
pub const VALUES_MAX: usize = 20_000;

/// One rule over results.
#[derive(Debug)]
pub struct ResultRule {
    pub(super) number: u32,
    id: Box<str>,
    text: Box<str>,
    principal: PrincipalScope,
    bare: Policy,
    pub(super) reads: Reads,
}

/// Rules over the results of one tool: all there are, or those that one call has to meet.
#[derive(Clone, Debug)]
pub struct Results {
    pub(super) rules: Vec<Arc<ResultRule>>,
    pub(super) call: Option<Result<Met, Missing>>,
    bearing: Bearing,
}

/// What becomes of a result that a rule forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It is withheld, and nothing beside it says what it holds.
    Withholds,
    /// It passes and is recorded as one that would be withheld.
    Notes,
}

/// A call as it was judged, as far as rules over its result read it.
#[derive(Clone, Debug)]
pub struct Met {
    /// Agent, action and server.
    pub(super) parties: [EntityUid; 3],
    /// All that they read of it beside its result.
    pub(super) context: Context,
    pub(super) entities: Entities,
    /// What they read of the result.
    pub(super) output: Input,
    /// The rules without their scopes, each under its number.
    pub(super) set: PolicySet,
}

/// Why a result is withheld.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Why.
    pub cause: ResultCause,
    /// The rules that held or could not be evaluated, or all that the result had to meet where it could not be read: number and id.
    pub rules: Vec<(u32, Box<str>)>,
    /// The member that could not be read, as an RFC 6901 pointer into the structured content.
    pub pointer: Option<Arc<str>>,
}

impl ResultRule {
    fn of(number: u32, rule: &Rule) -> Self {
        Self {
            number,
            id: rule.parsed.id.clone(),
            text: rule.parsed.text.clone(),
            principal: rule.principal().clone(),
            bare: rule.parsed.bare.new_id(PolicyId::new(number.to_string())),
            reads: rule.parsed.reads.clone(),
        }
    }

    /// Whether this agent's calls have to meet it.
    pub(super) fn is_about(&self, standing: &Standing) -> bool {
        match &self.principal {
            PrincipalScope::Everyone => true,
            PrincipalScope::Agent(id) => standing.uid.id().unescaped() == &**id,
            PrincipalScope::Group(id) => standing.groups.iter().any(|group| group.id().unescaped() == &**id),
            PrincipalScope::Nobody => false,
        }
    }
}

impl Results {
    pub(super) fn new(rules: Vec<Arc<ResultRule>>, call: Option<Result<Met, Missing>>) -> Self {
        Self { rules, call, bearing: Bearing::Withholds }
    }

    /// The same for a route that only observes.
    #[must_use]
    pub fn noting(self) -> Self {
        Self { bearing: Bearing::Notes, ..self }
    }

    /// The same without what they read of the call: what it brings is withheld.
    #[must_use]
    pub fn forgetting_call(&self) -> Self {
        Self { rules: self.rules.clone(), call: None, bearing: self.bearing }
    }

    /// What becomes of a result that one of them forbids.
    pub fn bearing(&self) -> Bearing {
        self.bearing
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.id)
    }

    /// Whether all of these are among `others`, word for word.
    pub fn are_among(&self, others: Option<&Self>) -> bool {
        let known = |rule: &Arc<ResultRule>| {
            others.is_some_and(|others| others.rules.iter().any(|other| other.text == rule.text))
        };
        self.rules.iter().all(known)
    }

    /// Judges the structured content of a result, as its server gave it; none where it has none.
    ///
    /// # Errors
    /// Why it is withheld. What cannot be read or evaluated is.
    pub fn judge(&self, content: Option<Value<'_>>) -> Result<(), Withheld> {
        let Some(Ok(met)) = &self.call else { return Err(self.whatever(ResultCause::CallUnreadable, None)) };
        let content = content.ok_or_else(|| self.whatever(ResultCause::Unstructured, None))?;
        if content.kind() != Kind::Object {
            return Err(self.whatever(ResultCause::Mistyped, Some(Arc::from(""))));
        }
        if read(&met.output, content) > VALUES_MAX {
            return Err(self.whatever(ResultCause::TooLarge, None));
        }
        let output = convert::input(&met.output, Some(content)).map_err(|unfit| match unfit {
            Unfit::Unreadable(pointer) | Unfit::Undeclared(pointer) => {
                self.whatever(ResultCause::Mistyped, Some(pointer))
            }
        })?;
        let (held, failed) = met.evaluated(output).ok_or_else(|| self.whatever(ResultCause::RuleError, None))?;
        match (held.is_empty(), failed.is_empty()) {
            (false, _) => Err(self.by(ResultCause::Forbidden, &held)),
            (true, false) => Err(self.by(ResultCause::RuleError, &failed)),
            (true, true) => Ok(()),
        }
    }

    /// Withheld whatever the single rules say.
    fn whatever(&self, cause: ResultCause, pointer: Option<Arc<str>>) -> Withheld {
        let rules = self.rules.iter().map(|rule| (rule.number, rule.id.clone())).collect();
        Withheld { cause, rules, pointer }
    }

    fn by(&self, cause: ResultCause, numbers: &[u32]) -> Withheld {
        let rules = self.rules.iter().filter(|rule| numbers.contains(&rule.number));
        Withheld { cause, rules: rules.map(|rule| (rule.number, rule.id.clone())).collect(), pointer: None }
    }
}

impl Met {
    /// The rules that hold of this result, and those that cannot be evaluated; none where Cedar cannot be asked.
    fn evaluated(&self, output: Expression) -> Option<(Vec<u32>, Vec<u32>)> {
        let [agent, action, server] = self.parties.clone();
        let context = self.context.clone().merge([("output".to_owned(), output)]).ok()?;
        let request = Request::new(agent, action, server, context, None).ok()?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &self.entities);
        let number = |id: &PolicyId| AsRef::<str>::as_ref(id).parse::<u32>().ok();
        let held: Option<Vec<u32>> = response.diagnostics().reason().map(number).collect();
        let failed = response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => number(error.policy_id()),
        });
        let failed: Option<Vec<u32>> = failed.collect();
        Some((held?, failed?))
    }

    /// The rules as one set.
    pub(super) fn set(rules: &[Arc<ResultRule>]) -> Option<PolicySet> {
        PolicySet::from_policies(rules.iter().map(|rule| rule.bare.clone())).ok()
    }
}

impl Withheld {
    /// The denial that it comes to, for a call that is tried out or explained.
    pub fn into_denial(self) -> Denial {
        let cause = DenialCause::Withheld(self.cause);
        let denial = match self.pointer {
            Some(pointer) => Denial::at(cause, pointer),
            None => Denial::by(cause, Determining::of(self.rules.into_iter().map(|(number, _)| number))),
        };
        denial.seen(Visibility::Listed).worked_out_by(Evaluator::Cedar)
    }
}

/// How many values of a result are converted for the rules that read it.
fn read(wanted: &Input, content: Value<'_>) -> usize {
    match wanted {
        Input::Whole(_) => values(content),
        Input::Members(members) => members.iter().map(|member| wish(member, content)).sum(),
    }
}

fn wish(member: &Member, object: Value<'_>) -> usize {
    let Some(value) = object.get(&member.name) else { return 0 };
    match &member.want {
        Want::Value(_) => values(value),
        Want::Members(members) => members.iter().map(|member| wish(member, value)).sum(),
        Want::Absence | Want::Presence => 0,
    }
}

/// Depth is bounded by the strict reading.
fn values(value: Value<'_>) -> usize {
    1 + value.items().map(values).sum::<usize>() + value.entries().map(|(_, member)| values(member)).sum::<usize>()
}

/// The rules over results of one snapshot.
#[derive(Debug, Default)]
pub struct Table {
    /// By column; empty where there are none at all.
    by_column: Vec<Option<Arc<Results>>>,
}

impl Table {
    /// From rules that passed every check.
    pub fn of(rules: &[Rule], columns: usize) -> Self {
        let mut by_column: Vec<Vec<Arc<ResultRule>>> = Vec::new();
        for (number, rule) in (0_u32..).zip(rules).filter(|(_, rule)| rule.parsed.reads.is_over_results()) {
            by_column.resize_with(columns, Vec::new);
            let made = Arc::new(ResultRule::of(number, rule));
            for column in rule.columns.iter() {
                if let Some(covering) = by_column.get_mut(*column as usize) {
                    covering.push(Arc::clone(&made));
                }
            }
        }
        let results = |rules: Vec<_>| (!rules.is_empty()).then(|| Arc::new(Results::new(rules, None)));
        Self { by_column: by_column.into_iter().map(results).collect() }
    }

    /// All rules over the results of the tool of `column`.
    pub fn over(&self, column: u32) -> Option<&Arc<Results>> {
        self.by_column.get(column as usize)?.as_ref()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_column.is_empty()
    }
}
