//! Finds what a permit obliges to. In: checked rules, the permits that determined a decision. Out: their obligations, or why a call does not meet
//! one. Never here: results, counts, clocks.
//!
//! Of several determining permits every obligation of every one applies: values redacted by any are redacted, of row caps the smallest
//! wins, and each rate and budget must hold. So a further permit can never show more. Obligations are carried out on calls of tools and
//! on what their tasks bring, nowhere else; a rule that reaches further with one is refused.

use std::sync::Arc;

use cedar_policy::Effect;
use smallvec::SmallVec;

use super::check::{self, Resolved};
use super::declares::{Declared, declares};
use super::load::Rule;
use super::meter::{Limit, UsedUp};
use super::obligation::{Bound, Fault, KEYS, Pointer, RowCap, Stated};
use super::result::{Bearing, Results};
use super::scope::Columns;
use super::source::Parsed;
use super::surface::{Column, Subject};
use super::verdict::{Denial, DenialCause, Determining, Permit, Visibility};
use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::protocol::json::Value;

/// What one permit obliges to.
#[derive(Debug)]
pub struct Duties {
    rule: u32,
    id: Box<str>,
    stated: Stated,
    /// What names each of its bounds over swaps and restarts, in their order.
    names: Vec<[u8; 32]>,
}

/// What a decision obliges to; for most calls nothing, which costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Obligations {
    duties: SmallVec<[Arc<Duties>; 2]>,
    /// The rules that the result has to meet; none for most calls.
    results: Option<Arc<Results>>,
}

/// What a call takes of one rate or budget.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'o> {
    /// The rule that bounds it.
    pub rule: u32,
    /// What names the bound: the rule and its text. The agent and the tool make it a count.
    pub name: &'o [u8; 32],
    /// The bound.
    pub limit: &'o Limit,
    /// How much of it.
    pub amount: u64,
}

/// A call that policy permits and whose obligations do not let it be made now.
#[derive(Debug)]
pub struct Unmet {
    denial: Box<Denial>,
    shortfall: Shortfall,
}

/// What is missing for a call to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// A rate is used up.
    Rate(UsedUp),
    /// A budget does not hold the amount.
    Budget(UsedUp),
    /// The amount that a budget adds up cannot be read.
    Amount,
    /// No more rates and budgets can be counted, and what cannot be counted is not permitted.
    Full,
}

impl Unmet {
    /// `charge` cannot be taken.
    pub fn used_up(charge: &Charge<'_>, used_up: UsedUp) -> Self {
        match charge.limit {
            Limit::Rate(_) => Self::by(Shortfall::Rate(used_up), charge.rule),
            Limit::Budget(_) => Self::by(Shortfall::Budget(used_up), charge.rule),
        }
    }

    /// `charge` cannot be counted.
    pub fn uncounted(charge: &Charge<'_>) -> Self {
        Self::by(Shortfall::Full, charge.rule)
    }

    fn by(shortfall: Shortfall, rule: u32) -> Self {
        let cause = match shortfall {
            Shortfall::Rate(_) => DenialCause::RateExceeded,
            Shortfall::Budget(_) => DenialCause::BudgetExceeded,
            Shortfall::Amount => DenialCause::AmountUnreadable,
            Shortfall::Full => DenialCause::LimitsFull,
        };
        // A permit held, so the caller may know of the tool.
        let denial = Denial::by(cause, Determining::of([rule])).seen(Visibility::Listed);
        Self { denial: Box::new(denial), shortfall }
    }

    /// What is missing.
    pub fn shortfall(&self) -> Shortfall {
        self.shortfall
    }

    /// The denial that it comes to.
    pub fn denial(&self) -> &Denial {
        &self.denial
    }

    /// The same, for a route that only observes.
    pub fn into_denial(self) -> Denial {
        *self.denial
    }

    /// After how many seconds asking again can succeed, where waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self.shortfall {
            Shortfall::Rate(used_up) | Shortfall::Budget(used_up) => used_up.retry_after_seconds,
            Shortfall::Amount | Shortfall::Full => None,
        }
    }
}

impl Obligations {
    /// Of one rule with these annotations, for tests of what carries them out.
    #[cfg(test)]
    pub(crate) fn of(annotations: &[(&str, &str)]) -> Self {
        let mut stated = Stated::default();
        annotations.iter().for_each(|(key, text)| stated.add(key, text).unwrap());
        let duties = Duties { rule: 0, id: "rule".into(), names: vec![[0; 32]; stated.bounds.len()], stated };
        Self { duties: [Arc::new(duties)].into_iter().collect(), results: None }
    }

    /// These, and rules that the result has to meet.
    #[must_use]
    pub fn with_results(self, results: Option<Arc<Results>>) -> Self {
        Self { results, ..self }
    }

    /// The same where what those rules read of the call is not kept: its result is withheld then.
    #[must_use]
    pub fn forgetting_call(self) -> Self {
        let results = self.results.map(|results| Arc::new(results.forgetting_call()));
        Self { results, ..self }
    }

    /// The rules that the result has to meet.
    pub fn results(&self) -> Option<&Results> {
        self.results.as_deref()
    }

    /// Whether results are withheld that a rule forbids: then nothing passes that no rule could read.
    pub fn withhold_results(&self) -> bool {
        self.results.as_ref().is_some_and(|results| results.bearing() == Bearing::Withholds)
    }

    /// Whether the result may not pass as it came.
    pub fn touch_results(&self) -> bool {
        let narrowing = |duties: &Arc<Duties>| !duties.stated.redact.is_empty() || !duties.stated.rows.is_empty();
        self.withhold_results() || self.duties.iter().any(narrowing)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.duties.is_empty() && self.results.is_none()
    }

    /// What is redacted.
    pub fn redactions(&self) -> impl Iterator<Item = &Pointer> {
        self.duties.iter().flat_map(|duties| &duties.stated.redact)
    }

    /// What is cut.
    pub fn row_caps(&self) -> impl Iterator<Item = &RowCap> {
        self.duties.iter().flat_map(|duties| &duties.stated.rows)
    }

    /// The ids of the rules that oblige, and of those that the result has to meet.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let results = self.results.iter().flat_map(|results| results.ids());
        self.duties.iter().map(|duties| &*duties.id).chain(results)
    }

    /// Adds those of `others` that are not among them.
    pub fn join(&mut self, others: &Self) {
        for duties in &others.duties {
            if !self.duties.iter().any(|own| Arc::ptr_eq(own, duties)) {
                self.duties.push(Arc::clone(duties));
            }
        }
        if self.results.is_none() {
            self.results.clone_from(&others.results);
        }
    }

    /// What a call with these arguments takes of each rate and budget; each bound once, even where two rules state the very same.
    pub fn charges(&self, arguments: Option<Value<'_>>) -> Result<SmallVec<[Charge<'_>; 4]>, Unmet> {
        let mut charges: SmallVec<[Charge<'_>; 4]> = SmallVec::new();
        for duties in &self.duties {
            for (bound, name) in duties.stated.bounds.iter().zip(&duties.names) {
                let amount = bound.amount_of(arguments).ok_or_else(|| Unmet::by(Shortfall::Amount, duties.rule))?;
                if !charges.iter().any(|charge| charge.name == name) {
                    charges.push(Charge { rule: duties.rule, name, limit: &bound.limit, amount });
                }
            }
        }
        Ok(charges)
    }

    /// Whether `live` obliges results of the same tool to something that these do not, as after a swap.
    pub fn lack_any_of(&self, live: &Self) -> bool {
        let known = |duties: &Duties| {
            let same =
                |own: &Arc<Duties>| own.stated.redact == duties.stated.redact && own.stated.rows == duties.stated.rows;
            self.duties.iter().any(same)
        };
        let narrower = live.duties.iter().any(|duties| {
            let touches = !duties.stated.redact.is_empty() || !duties.stated.rows.is_empty();
            touches && !known(duties)
        });
        narrower || live.results().is_some_and(|results| !results.are_among(self.results()))
    }
}

/// The obligations of one snapshot's rules.
#[derive(Debug, Default)]
pub struct Table {
    /// By rule, ascending.
    by_rule: Vec<(u32, Arc<Duties>)>,
    /// For each column the rules that cover it and oblige; empty where no rule obliges.
    by_column: Vec<Box<[u32]>>,
}

impl Table {
    /// From rules that passed every check.
    pub fn of(rules: &[Rule], columns: usize) -> Self {
        let mut table = Self::default();
        let mut by_column: Vec<Vec<u32>> = Vec::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let Ok(stated) = stated(&rule.parsed) else { continue };
            if stated.is_empty() {
                continue;
            }
            let names = stated.bounds.iter().map(|bound| name(&rule.parsed, bound)).collect();
            let duties = Duties { rule: number, id: rule.parsed.id.clone(), stated, names };
            table.by_rule.push((number, Arc::new(duties)));
            by_column.resize_with(columns, Vec::new);
            for column in rule.columns.iter() {
                if let Some(covering) = by_column.get_mut(*column as usize) {
                    covering.push(number);
                }
            }
        }
        table.by_column = by_column.into_iter().map(Vec::into_boxed_slice).collect();
        table
    }

    /// What `permit` obliges to on the tool of `column`. Where more permits determined it than are named, everything that any rule obliges
    /// to on this tool counts: too much is safe, too little is not.
    pub fn of_permit(&self, permit: &Permit, column: u32) -> Obligations {
        let Some(covering) = self.by_column.get(column as usize).filter(|rules| !rules.is_empty()) else {
            return Obligations::default();
        };
        let determining = permit.determining();
        let cut = usize::try_from(determining.total()).map_or(true, |total| total > determining.rules().len());
        let named = |rule: &&u32| cut || determining.rules().contains(rule);
        let duties = covering.iter().filter(named).filter_map(|rule| self.duties(*rule)).collect();
        Obligations { duties, results: None }
    }

    /// All that any rule obliges to on the tool of `column`.
    pub fn of_column(&self, column: u32) -> Obligations {
        let covering = self.by_column.get(column as usize).into_iter().flatten();
        Obligations { duties: covering.filter_map(|rule| self.duties(*rule)).collect(), results: None }
    }

    fn duties(&self, rule: u32) -> Option<Arc<Duties>> {
        let at = self.by_rule.binary_search_by_key(&rule, |(number, _)| *number).ok()?;
        self.by_rule.get(at).map(|(_, duties)| Arc::clone(duties))
    }
}

/// All that a rule's annotations state.
fn stated(rule: &Parsed) -> Result<Stated, (Box<str>, Fault)> {
    let mut stated = Stated::default();
    for (key, text) in &rule.annotations {
        stated.add(key, text).map_err(|fault| (key.clone(), fault))?;
    }
    Ok(stated)
}

/// What names a bound: the rule's `@id`, or its text where it has none, and the bound as it is written. An edit elsewhere in the file leaves
/// it as it is; a bound that was changed is a new one.
fn name(rule: &Parsed, bound: &Bound) -> [u8; 32] {
    let id = rule.annotations.iter().find(|(key, _)| &**key == "id").map(|(_, id)| &**id);
    let mut hasher = blake3::Hasher::new();
    for part in [if id.is_some() { "id" } else { "text" }, id.unwrap_or(&rule.text), &bound.text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// All that is wrong with a rule's obligations; an empty list where nothing is.
pub fn findings(rule: &Parsed, covered: &Columns, place: check::Place<'_>) -> Diagnostics {
    let obliging = rule.annotations.iter().map(|(key, _)| &**key).find(|key| KEYS.contains(key));
    let Some(first) = obliging else { return Diagnostics::new() };
    let finding = |key: &str, message: String, cure: String| {
        let line = rule.line_of(&format!("@{key}"), place.text);
        vec![Diagnostic::error(&*rule.file, Some(line), message).help(cure)]
    };
    if rule.effect == Effect::Forbid {
        let cure = "write it on the permit: what is forbidden has nothing to oblige to".to_owned();
        return finding(first, format!("`@{first}` stands on a forbid"), cure);
    }
    let stated = match stated(rule) {
        Ok(stated) => stated,
        Err((key, fault)) => return finding(&key, fault.message, fault.cure),
    };
    let columns = covered.matching.iter().filter_map(|column| place.surface.columns.get(*column as usize));
    let columns: Vec<&Column> = columns.collect();
    if let Some(other) = columns.iter().find(|column| !matches!(column.subject, Subject::Tool(_))) {
        let message =
            format!("`@{first}` is carried out on calls of tools, and this rule also covers `{}`", other.action);
        let cure = "name the tools, or write `action in Action::\"call\"`; give the rest to another rule".to_owned();
        return finding(first, message, cure);
    }
    if let Some(free) = columns.iter().find(|column| column.sql.is_some() && !stated.redact.is_empty()) {
        let message = format!("the agent's own SQL names the columns of `{}`, so no pointer holds them", free.action);
        let cure = "give this tool's rules no `@redact`; hide the columns in a view, or permit tables without them";
        return finding("redact", message, cure.to_owned());
    }
    if let Some((message, cure)) = stated.redact.iter().find_map(|pointer| unmet_anywhere(&columns, pointer)) {
        return finding("redact", message, cure);
    }
    let caps = stated.rows.iter().filter_map(|cap| cap.at.as_ref());
    if let Some((message, cure)) = caps.into_iter().find_map(|pointer| unmet_anywhere(&columns, pointer)) {
        return finding("max_rows", message, cure);
    }
    let amounts = stated.bounds.iter().filter_map(|bound| Some((bound, bound.amount.as_ref()?.names()?)));
    amounts
        .flat_map(|(bound, path)| {
            undeclared(&columns, bound, &path)
                .map(|(message, cure)| finding("budget", message, cure))
                .unwrap_or_default()
        })
        .collect()
}

/// A pointer into results that no tool of the rule declares is a slip: what it should hide would pass.
fn unmet_anywhere(columns: &[&Column], pointer: &Pointer) -> Option<(String, String)> {
    let mut nearest = None;
    for column in columns {
        match column.output.as_ref().map(|schema| declares(schema, pointer)) {
            None | Some(Declared::Perhaps) => return None,
            Some(Declared::No { known, named }) => nearest = nearest.or(Some((column, known, named))),
        }
    }
    let (column, known, named) = nearest?;
    let message = match columns.len() {
        1 => format!("the results of tool `{}` have no member `{named}`", column.action),
        many => format!("none of the {many} tools that this rule covers has results with a member `{named}`"),
    };
    let cure = did_you_mean(&named, known.iter().map(String::as_str));
    Some((message, cure.unwrap_or_else(|| "point at what the tool's `outputSchema` declares".to_owned())))
}

/// Every tool that the rule covers must declare the argument that a budget adds up: a call without it is denied.
fn undeclared(columns: &[&Column], bound: &Bound, path: &[Box<str>]) -> Option<(String, String)> {
    columns.iter().find_map(|column| match check::resolve(&column.input, path) {
        Resolved::Typed | Resolved::Untyped(_) => None,
        Resolved::Undeclared(record, depth) => {
            let name = path.get(depth).map_or("", |name| name);
            let pointer = check::pointer(path);
            let message =
                format!("unknown argument `{pointer}` of tool `{}` in the budget `{}`", column.action, bound.text);
            let cure = did_you_mean(name, record.fields.iter().map(|field| &*field.name));
            Some((
                message,
                cure.unwrap_or_else(|| "a budget can add up only what the tool's schema declares".to_owned()),
            ))
        }
    })
}
