//! Makes what cells hold. In: the rules that bear on one class in one column. Out: what is decided of them, by their places among these rules; what was made before for the same is found again. Never here: rows, calls.
//!
//! What is made hangs on the contents of the rules and on nothing that a change elsewhere can move: neither their numbers nor the column's. So it
//! outlives the engine that it was made for.

use std::hash::Hash;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::Effect;
use smallvec::SmallVec;

use super::cell::{Otherwise, Residual};
use super::fold::{Known, Resource};
use super::lower::{Lowering, Times, Unlowered};
use super::plan::Plan;
use super::program::Node;
use super::reads::Fact;
use super::source::Content;
use super::surface::{Column, Shape, Subject};
use super::verdict::Visibility;

/// Whether a rule can still fail to hold once class and column are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// It holds whatever is asked.
    Holds,
    /// It hangs on the call.
    MayHold,
}

/// Whether a column denies without a permit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needs {
    /// It denies: forbids need not be evaluated where no permit can hold.
    Permit,
    /// It follows other columns, so its forbids count by themselves.
    OnlyForbids,
}

impl Needs {
    /// Of what is asked.
    pub fn of(subject: Subject) -> Self {
        match subject {
            Subject::Connect | Subject::Complete | Subject::Task => Self::OnlyForbids,
            Subject::ResourceRead | Subject::PromptGet | Subject::Sample | Subject::Elicit | Subject::Roots => {
                Self::Permit
            }
            Subject::Extension(_) | Subject::Tool(_) => Self::Permit,
        }
    }
}

/// As much of a column as the rules of a cell look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Nothing.
    Nothing,
    /// What it offers.
    Shape(Shape),
    /// Its action and its server as well.
    Whole(Shape),
}

/// Rules of most cells: so many are kept without allocating.
pub const FEW: usize = 4;

/// Rules that bear on a cell: each content with its certainty, in the order of the rules.
pub type Bearers<'r> = [(&'r Arc<Content>, Certainty)];

/// All that a made cell hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    bearers: SmallVec<[(u64, Certainty); FEW]>,
    aspect: Aspect,
    needs: Needs,
    /// Of the class's groups, those that these rules name.
    groups: Box<[Box<str>]>,
    /// The class's agent, if one of these rules names it.
    agent: Option<Box<str>>,
}

impl Key {
    /// For these rules on a column of this aspect.
    pub fn new(
        bearers: &Bearers<'_>,
        (aspect, needs): (Aspect, Needs),
        (groups, agent): (&[&str], Option<&str>),
    ) -> Self {
        Self {
            bearers: bearers.iter().map(|(content, certainty)| (content.ident, *certainty)).collect(),
            aspect,
            needs,
            groups: groups.iter().map(|group| Box::from(*group)).collect(),
            agent: agent.map(Box::from),
        }
    }
}

/// What the rules of a cell come to. Rules are named by their places among the bearers.
#[derive(Debug)]
pub struct Made {
    /// What is decided, or what decides it.
    pub verdict: Decided,
    /// The permits that could hold.
    pub permits: Box<[u32]>,
    /// Whether some call could be permitted.
    pub visibility: Visibility,
    /// Rules that are left to Cedar's evaluator, and why.
    pub slow: Vec<(u32, Unlowered)>,
}

/// What is decided.
#[derive(Debug)]
pub enum Decided {
    /// No permit can hold.
    NoRule,
    /// These forbids hold whatever is asked.
    Forbidden(Box<[u32]>),
    /// Only permits that hold whatever is asked: all of them.
    Allowed,
    /// These rules must be evaluated.
    Program {
        /// What must be read for them.
        plan: Arc<Plan>,
        /// How.
        way: Evaluated,
        /// What is decided of a call that cannot be read.
        otherwise: Otherwise,
    },
}

/// How rules are evaluated.
#[derive(Debug)]
pub enum Evaluated {
    /// By our own programs.
    Residuals {
        /// Forbids.
        forbids: Box<[Residual]>,
        /// Permits.
        permits: Box<[Residual]>,
    },
    /// By Cedar's evaluator.
    Cedar(Box<[u32]>),
}

/// Which aspect of a column these rules look at, beside its needs. `depends` is of all of them, `exactly` of those that hang on the call.
pub fn aspect(bearers: &Bearers<'_>, column: &Column, (shape, exactly): (Shape, impl FnOnce() -> Shape)) -> Aspect {
    let named = |(content, certainty): &(&Arc<Content>, Certainty)| {
        *certainty == Certainty::MayHold
            && content.bearing.fold.is_none()
            && (content.bearing.resource == Resource::Read || content.reads.facts.contains(Fact::Action))
    };
    if bearers.iter().any(named) {
        Aspect::Whole(exactly())
    } else if bearers.iter().any(|(content, _)| Plan::depends_on_column(&content.reads, column)) {
        Aspect::Shape(shape)
    } else {
        Aspect::Nothing
    }
}

/// What was made, for the engine that comes after.
#[derive(Debug, Default)]
pub struct Store {
    made: AHashMap<Key, Arc<Made>>,
}

/// Makes what cells hold, each once.
pub struct Maker<'e> {
    earlier: &'e Store,
    store: Store,
    conditions: Once<Node>,
    plans: Once<Plan>,
    times: Times,
}

impl<'e> Maker<'e> {
    /// That finds again what is in `earlier`.
    pub fn new(earlier: &'e Store) -> Self {
        let made = AHashMap::with_capacity(earlier.made.len());
        Self { earlier, store: Store { made }, conditions: Once::new(), plans: Once::new(), times: Times::default() }
    }

    /// Everything that was asked for.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// What these rules come to.
    pub fn make(&mut self, key: Key, bearers: &Bearers<'_>, known: &Known<'_>) -> Arc<Made> {
        if let Some(made) = self.store.made.get(&key) {
            return Arc::clone(made);
        }
        let made = match self.earlier.made.get(&key) {
            Some(made) => Arc::clone(made),
            None => Arc::new(self.anew(bearers, known, key.needs)),
        };
        self.store.made.insert(key, Arc::clone(&made));
        made
    }

    /// The one condition of this content, whichever engine made it.
    pub fn condition(&mut self, condition: &Arc<Node>) -> Arc<Node> {
        self.conditions.of(condition)
    }

    /// The one plan of this content.
    pub fn plan(&mut self, plan: &Arc<Plan>) -> Arc<Plan> {
        self.plans.of(plan)
    }

    fn anew(&mut self, bearers: &Bearers<'_>, known: &Known<'_>, needs: Needs) -> Made {
        let of = |effect: Effect, certainty: Option<Certainty>| -> Box<[u32]> {
            let wanted = (0_u32..).zip(bearers).filter(|(_, (content, this))| {
                certainty.is_none_or(|certainty| certainty == *this) && content.effect == effect
            });
            wanted.map(|(place, _)| place).collect()
        };
        let permits = of(Effect::Permit, None);
        let forbidding = of(Effect::Forbid, Some(Certainty::Holds));
        let may_forbid = !of(Effect::Forbid, Some(Certainty::MayHold)).is_empty();
        let may_permit = forbidding.is_empty() && !of(Effect::Permit, Some(Certainty::MayHold)).is_empty();
        let visibility =
            if permits.is_empty() || !forbidding.is_empty() { Visibility::Hidden } else { Visibility::Listed };
        let mut slow = Vec::new();
        let verdict = match (may_forbid || may_permit, forbidding.is_empty(), permits.is_empty()) {
            (false, false, _) => Decided::Forbidden(forbidding),
            (false, true, true) => Decided::NoRule,
            (false, true, false) => Decided::Allowed,
            (true, certain, none) => {
                let otherwise = match (certain, none, needs) {
                    (false, _, _) => Otherwise::Forbidden(forbidding),
                    (true, true, Needs::Permit) => Otherwise::NoRule,
                    (true, true, Needs::OnlyForbids) | (true, false, _) => Otherwise::Refused,
                };
                let all = (0_u32..).zip(bearers.iter().copied());
                // Where a forbid holds for certain no permit can be among the reasons.
                let rules: Vec<(u32, (&Arc<Content>, Certainty))> = match &otherwise {
                    Otherwise::Forbidden(_) => all.filter(|(place, _)| !permits.contains(place)).collect(),
                    Otherwise::NoRule | Otherwise::Refused => all.collect(),
                };
                let mut plan = Plan::of(rules.iter().map(|(_, (content, _))| &content.reads), known.column);
                let way = match self.residuals(&rules, known, &mut plan) {
                    Ok(way) => way,
                    Err(reasons) => {
                        slow = reasons;
                        Evaluated::Cedar(rules.iter().map(|(place, _)| *place).collect())
                    }
                };
                Decided::Program { plan: self.plans.of(&Arc::new(plan)), way, otherwise }
            }
        };
        Made { verdict, permits, visibility, slow }
    }

    /// The programs of these rules; where one of them has to stay with Cedar, which and why.
    fn residuals(
        &mut self,
        rules: &[(u32, (&Arc<Content>, Certainty))],
        known: &Known<'_>,
        plan: &mut Plan,
    ) -> Result<Evaluated, Vec<(u32, Unlowered)>> {
        let (mut forbids, mut permits, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        let mut lowering = Lowering::new(*known, &mut self.times);
        for (place, (content, certainty)) in rules {
            let lowered = match certainty {
                Certainty::Holds => lowering.clauses(&[]),
                Certainty::MayHold => lowering.clauses(&content.clauses),
            };
            match (lowered, content.effect) {
                (Ok(node), Effect::Forbid) => forbids.push((*place, node)),
                (Ok(node), Effect::Permit) => permits.push((*place, node)),
                (Err(reason), _) => slow.push((*place, reason)),
            }
        }
        if let (true, Err(reason)) = (slow.is_empty(), lowering.place(plan)) {
            let hanging = rules.iter().filter(|(_, (_, certainty))| *certainty == Certainty::MayHold);
            slow.extend(hanging.map(|(place, _)| (*place, reason)));
        }
        if !slow.is_empty() {
            return Err(slow);
        }
        let mut kept_once = |rules: Vec<(u32, Node)>| -> Box<[Residual]> {
            let made = |(rule, node)| Residual { rule, condition: self.conditions.of(&Arc::new(node)) };
            rules.into_iter().map(made).collect()
        };
        Ok(Evaluated::Residuals { forbids: kept_once(forbids), permits: kept_once(permits) })
    }
}

/// Values of which equal ones are kept once.
struct Once<T> {
    all: AHashSet<Arc<T>>,
    /// The addresses of those in `all`, so that one which is kept already is found without looking at it.
    kept: AHashSet<usize>,
}

impl<T: Eq + Hash> Once<T> {
    fn new() -> Self {
        Self { all: AHashSet::new(), kept: AHashSet::new() }
    }

    fn of(&mut self, value: &Arc<T>) -> Arc<T> {
        if self.kept.contains(&(Arc::as_ptr(value) as usize)) {
            return Arc::clone(value);
        }
        if let Some(known) = self.all.get(value) {
            return Arc::clone(known);
        }
        self.kept.insert(Arc::as_ptr(value) as usize);
        self.all.insert(Arc::clone(value));
        Arc::clone(value)
    }
}
