//! Indexes rules by who may meet them where. In: checked rules, the registry's agents, the columns. Out: classes of agents, and for each class and column one cell. Never here: calls.
//!
//! A rule whose scope does not match cannot bear on a decision (Cedar's theorem of sound policy slicing), so a cell holds only those that match.
//! Agents that meet the same rules form a class; where conditions name a group or an agent, belonging to it is part of the class, so that
//! such conditions are decided here and not on every call.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::pst::{Clause, Expr, Literal, Var};
use cedar_policy::{Effect, PolicySet};

use super::cell::{Cell, Otherwise, Program, Residual, Residuals, Row, Verdict, Way};
/// What the index is built of, named here for those who build one.
pub use super::classes::AgentSource;
use super::classes::{Class, classes};
use super::fold::{self, Fold, Known};
use super::load::Rule;
use super::lower::{Lowering, Times, Unlowered};
use super::plan::Plan;
use super::program::Node;
use super::reads::{Fact, children};
use super::scope::PrincipalScope;
use super::source::Parsed;
use super::surface::{Column, ServerIndex, Subject, Surface};
use super::types::Record;
use super::verdict::Visibility;
use crate::diagnostic::Diagnostic;
use crate::limits::DETERMINING_MAX;

/// Cell numbers of all distinct rows: 2,000 classes × 10,000 tools take 80 MB, and this bound five times that.
pub const ROW_ENTRIES_MAX: usize = 100_000_000;

/// The whole index.
#[derive(Debug, Default)]
pub struct Index {
    /// Class of each agent.
    pub classes: Vec<u32>,
    /// Row of each class.
    pub rows_of: Vec<u32>,
    /// Distinct rows.
    pub rows: Vec<Row>,
    /// Distinct cells; the first is the empty one.
    pub cells: Vec<Cell>,
    /// Rules that are left to Cedar's evaluator, and why; sorted, each pair once.
    pub slow: Vec<(u32, Unlowered)>,
}

/// Builds the index.
pub fn build(rules: &[Rule], agents: &[AgentSource<'_>], surface: &Surface) -> Result<Index, Diagnostic> {
    let mut builder = Builder {
        rules,
        surface,
        shapes: rules.iter().map(|rule| Shape::of(&rule.parsed.clauses)).collect(),
        index: Index::default(),
        cells: AHashMap::new(),
        contents: AHashMap::new(),
        sets: AHashMap::new(),
        rows: AHashMap::new(),
        everyone: Everyone::default(),
        conditions: AHashSet::new(),
        plans: AHashSet::new(),
        times: Times::default(),
    };
    builder.index.cells.push(Cell { verdict: Verdict::NoRule, permits: Box::new([]), visibility: Visibility::Hidden });
    let (classes, of_agents) = classes(rules, agents);
    builder.cover();
    builder.index.classes = of_agents;
    for class in &classes {
        let row = builder.row(class);
        builder.index.rows_of.push(row);
        if builder.index.rows.len().saturating_mul(surface.columns.len()) > ROW_ENTRIES_MAX {
            let message = format!(
                "{} classes of agents over {} actions exceed the table of {ROW_ENTRIES_MAX} entries",
                classes.len(),
                surface.columns.len()
            );
            return Err(Diagnostic::error("policies", None, message)
                .help("write rules about groups rather than about single agents"));
        }
    }
    builder.index.slow.sort_unstable();
    builder.index.slow.dedup();
    Ok(builder.index)
}

/// What makes two cells one: the same rules with the same folds; the same column where their programs depend on it; the same belonging where they ask
/// for it.
#[derive(PartialEq, Eq, Hash)]
struct CellKey<'a> {
    kept: Vec<(u32, Certainty)>,
    column: Option<u32>,
    needs: Needs,
    groups: Vec<&'a str>,
    agent: Option<&'a str>,
}

/// The same in what was made of it: rules with the addresses of their conditions, the plan's address, and what holds where a call cannot be read.
type Content = (Vec<(u32, usize)>, usize, Otherwise);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Certainty {
    Holds,
    MayHold,
}

/// Whether a column denies without a permit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Needs {
    /// It denies: forbids need not be evaluated where no permit can hold.
    Permit,
    /// It follows other columns, so its forbids count by themselves.
    OnlyForbids,
}

fn needs(subject: Subject) -> Needs {
    match subject {
        Subject::Connect | Subject::Complete | Subject::Task => Needs::OnlyForbids,
        Subject::ResourceRead | Subject::PromptGet | Subject::Sample | Subject::Elicit | Subject::Roots => {
            Needs::Permit
        }
        Subject::Extension(_) | Subject::Tool(_) => Needs::Permit,
    }
}

/// What a rule's conditions look at beside the call, found once.
#[derive(Clone, Copy)]
struct Shape {
    /// What they come to, where they look at no entity at all.
    fold: Option<Fold>,
    /// Whether they look at the server.
    resource: Resource,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Read,
    Unread,
}

impl Shape {
    fn of(clauses: &[Clause]) -> Self {
        let (mut entities, mut resource) = (false, Resource::Unread);
        let mut pending: Vec<&Expr> = Vec::new();
        for clause in clauses {
            let (Clause::When(condition) | Clause::Unless(condition)) = clause;
            pending.push(condition);
        }
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::Var(Var::Resource) => {
                    entities = true;
                    resource = Resource::Read;
                }
                Expr::Var(Var::Principal | Var::Action) | Expr::Literal(Literal::EntityUID(_)) => entities = true,
                other => pending.extend(children(other).into_iter().map(|child| &**child)),
            }
        }
        let nothing = Column {
            server: ServerIndex(0),
            subject: Subject::Connect,
            action: "".into(),
            groups: Box::new([]),
            input: Record::open(),
            account: None,
            sql: None,
            output: None,
            result: None,
        };
        let known = Known { agent: "", groups: &[], column: &nothing, server: "" };
        Self { fold: (!entities).then(|| fold::clauses(clauses, &known)), resource }
    }
}

/// Of an agent's groups and name, those that some rules read.
type Belonging<'a> = (Vec<&'a str>, Option<&'a str>);

/// The rules about everyone. Most classes meet little else, so that what these come to is worked out once for all that stand alike to them.
#[derive(Default)]
struct Everyone<'a> {
    /// Their numbers, by column.
    covering: Vec<Vec<u32>>,
    groups: AHashSet<&'a str>,
    agents: AHashSet<&'a str>,
    /// The cells of an agent whom no other rule is about, by those of its groups and names that these rules read.
    rows: AHashMap<Belonging<'a>, Arc<[u32]>>,
}

struct Builder<'a> {
    rules: &'a [Rule],
    surface: &'a Surface,
    shapes: Vec<Shape>,
    index: Index,
    cells: AHashMap<CellKey<'a>, u32>,
    contents: AHashMap<Content, u32>,
    sets: AHashMap<Vec<u32>, Arc<PolicySet>>,
    rows: AHashMap<Arc<[u32]>, u32>,
    everyone: Everyone<'a>,
    conditions: AHashSet<Arc<Node>>,
    plans: AHashSet<Arc<Plan>>,
    times: Times,
}

impl<'a> Builder<'a> {
    fn parsed(&self, number: u32) -> Option<&'a Parsed> {
        self.rules.get(number as usize).map(|rule| &rule.parsed)
    }

    /// Finds the rules about everyone.
    fn cover(&mut self) {
        self.everyone.covering = vec![Vec::new(); self.surface.columns.len()];
        for (number, rule) in (0_u32..).zip(self.rules) {
            if rule.principal != PrincipalScope::Everyone || rule.parsed.reads.is_over_results() {
                continue;
            }
            self.everyone.groups.extend(rule.parsed.reads.groups.iter().map(|group| &**group));
            self.everyone.agents.extend(rule.parsed.reads.agents.iter().map(|agent| &**agent));
            for column in &rule.columns {
                if let Some(covering) = self.everyone.covering.get_mut(*column as usize) {
                    covering.push(number);
                }
            }
        }
    }

    /// What the rules about everyone come to for this class.
    fn common(&mut self, class: &Class<'a>) -> Arc<[u32]> {
        let groups = class.groups.iter().copied().filter(|group| self.everyone.groups.contains(group)).collect();
        let key = (groups, self.everyone.agents.contains(class.agent).then_some(class.agent));
        if let Some(cells) = self.everyone.rows.get(&key) {
            return Arc::clone(cells);
        }
        let covering = std::mem::take(&mut self.everyone.covering);
        let cells: Arc<[u32]> =
            (0_u32..).zip(&covering).map(|(column, rules)| self.cell(class, column, rules)).collect();
        self.everyone.covering = covering;
        self.everyone.rows.insert(key, Arc::clone(&cells));
        cells
    }

    fn row(&mut self, class: &Class<'a>) -> u32 {
        let mut cells: Vec<u32> = self.common(class).to_vec();
        let mut own: Vec<(u32, u32)> = Vec::new();
        for number in &class.own {
            let columns = self.rules.get(*number as usize).map(|rule| rule.columns.as_slice()).unwrap_or_default();
            own.extend(columns.iter().map(|column| (*column, *number)));
        }
        own.sort_unstable();
        for run in own.chunk_by(|(left, _), (right, _)| left == right) {
            let Some((column, _)) = run.first() else { continue };
            let mut rules = self.everyone.covering.get(*column as usize).cloned().unwrap_or_default();
            rules.extend(run.iter().map(|(_, number)| *number));
            rules.sort_unstable();
            let cell = self.cell(class, *column, &rules);
            if let Some(place) = cells.get_mut(*column as usize) {
                *place = cell;
            }
        }
        let cells: Arc<[u32]> = cells.into();
        if let Some(row) = self.rows.get(&cells) {
            return *row;
        }
        let row = u32::try_from(self.index.rows.len()).unwrap_or(u32::MAX);
        let reachable = self.reachable(&cells);
        self.rows.insert(Arc::clone(&cells), row);
        self.index.rows.push(Row { cells, reachable });
        row
    }

    fn reachable(&self, cells: &[u32]) -> Box<[Box<[u32]>]> {
        let mut reachable: Vec<Vec<u32>> = vec![Vec::new(); self.surface.faces.len()];
        for (column, cell) in self.surface.columns.iter().zip(cells) {
            // What follows other columns opens nothing by itself.
            let own = needs(column.subject) == Needs::Permit;
            let cell = self.index.cells.get(*cell as usize).filter(|cell| own && cell.visibility == Visibility::Listed);
            let (Some(cell), Some(reachable)) = (cell, reachable.get_mut(usize::from(column.server.0))) else {
                continue;
            };
            for permit in &cell.permits {
                if reachable.len() < DETERMINING_MAX && !reachable.contains(permit) {
                    reachable.push(*permit);
                }
            }
        }
        reachable.into_iter().map(Vec::into_boxed_slice).collect()
    }

    fn cell(&mut self, class: &Class<'a>, number: u32, rules: &[u32]) -> u32 {
        let Some(column) = self.surface.columns.get(number as usize).filter(|_| !rules.is_empty()) else { return 0 };
        let server = self.surface.faces.get(usize::from(column.server.0)).map_or("", |face| &*face.name);
        let known = Known { agent: class.agent, groups: &class.groups, column, server };
        let mut kept: Vec<(u32, Certainty)> = Vec::with_capacity(rules.len());
        for rule in rules {
            let (Some(parsed), Some(shape)) = (self.parsed(*rule), self.shapes.get(*rule as usize)) else { continue };
            match (shape.fold.unwrap_or_else(|| fold::clauses(&parsed.clauses, &known)), parsed.effect) {
                (Fold::True, _) => kept.push((*rule, Certainty::Holds)),
                (Fold::Unknown, _) | (Fold::NeverTrue, Effect::Forbid) => kept.push((*rule, Certainty::MayHold)),
                (Fold::False, _) | (Fold::NeverTrue, Effect::Permit) => {}
            }
        }
        if kept.is_empty() {
            return 0;
        }
        let key = self.key(kept, class, (number, column));
        if let Some(cell) = self.cells.get(&key) {
            return *cell;
        }
        let position = self.made(&key.kept, &known, key.needs);
        self.cells.insert(key, position);
        position
    }

    fn key(&self, kept: Vec<(u32, Certainty)>, class: &Class<'a>, (number, column): (u32, &Column)) -> CellKey<'a> {
        let (mut groups, mut agent, mut depends) = (Vec::new(), None, false);
        for (rule, certainty) in &kept {
            let (Some(parsed), Some(shape)) = (self.parsed(*rule), self.shapes.get(*rule as usize)) else { continue };
            depends |= Plan::depends_on_column(&parsed.reads, column);
            if *certainty == Certainty::MayHold && shape.fold.is_none() {
                depends |= shape.resource == Resource::Read || parsed.reads.facts.contains(Fact::Action);
                let own = parsed.reads.groups.iter().map(|group| &**group);
                groups.extend(own.filter(|group| class.groups.binary_search(group).is_ok()));
                agent =
                    agent.or(parsed.reads.agents.iter().any(|named| **named == *class.agent).then_some(class.agent));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        CellKey { kept, column: depends.then_some(number), needs: needs(column.subject), groups, agent }
    }

    fn add(&mut self, cell: Cell) -> u32 {
        let position = u32::try_from(self.index.cells.len()).unwrap_or(u32::MAX);
        self.index.cells.push(cell);
        position
    }

    fn made(&mut self, kept: &[(u32, Certainty)], known: &Known<'_>, needs: Needs) -> u32 {
        let of = |effect: Effect, certainty: Option<Certainty>| -> Box<[u32]> {
            let wanted = kept.iter().filter(|(rule, this)| {
                certainty.is_none_or(|certainty| certainty == *this)
                    && self.parsed(*rule).is_some_and(|parsed| parsed.effect == effect)
            });
            wanted.map(|(rule, _)| *rule).collect()
        };
        let permits = of(Effect::Permit, None);
        let forbidding = of(Effect::Forbid, Some(Certainty::Holds));
        let may_forbid = !of(Effect::Forbid, Some(Certainty::MayHold)).is_empty();
        let may_permit = forbidding.is_empty() && !of(Effect::Permit, Some(Certainty::MayHold)).is_empty();
        let visibility =
            if permits.is_empty() || !forbidding.is_empty() { Visibility::Hidden } else { Visibility::Listed };
        let verdict = match (may_forbid || may_permit, forbidding.is_empty(), permits.is_empty()) {
            (false, false, _) => Verdict::Forbidden(forbidding),
            (false, true, true) => Verdict::NoRule,
            (false, true, false) => Verdict::Allowed(permits.clone()),
            (true, certain, none) => {
                let otherwise = match (certain, none, needs) {
                    (false, _, _) => Otherwise::Forbidden(forbidding),
                    (true, true, Needs::Permit) => Otherwise::NoRule,
                    (true, true, Needs::OnlyForbids) | (true, false, _) => Otherwise::Refused,
                };
                // Where a forbid holds for certain no permit can be among the reasons.
                let rules: Vec<(u32, Certainty)> = match &otherwise {
                    Otherwise::Forbidden(_) => {
                        kept.iter().copied().filter(|(rule, _)| !permits.contains(rule)).collect()
                    }
                    Otherwise::NoRule | Otherwise::Refused => kept.to_vec(),
                };
                return self.programmed(&rules, known, (permits, visibility), otherwise);
            }
        };
        self.add(Cell { verdict, permits, visibility })
    }

    /// A cell with a program; one of the same content is used again.
    fn programmed(
        &mut self,
        rules: &[(u32, Certainty)],
        known: &Known<'_>,
        (permits, visibility): (Box<[u32]>, Visibility),
        otherwise: Otherwise,
    ) -> u32 {
        let reads = rules.iter().filter_map(|(rule, _)| self.parsed(*rule)).map(|parsed| &parsed.reads);
        let mut plan = Plan::of(reads, known.column);
        let residuals = self.residuals(rules, known, &mut plan);
        let plan = shared(&mut self.plans, plan);
        let way = match residuals {
            Some(residuals) => {
                let address = |residual: &Residual| (residual.rule, Arc::as_ptr(&residual.condition) as usize);
                let all = residuals.forbids.iter().chain(&residuals.permits).map(address).collect();
                let next = u32::try_from(self.index.cells.len()).unwrap_or(u32::MAX);
                let cell = *self.contents.entry((all, Arc::as_ptr(&plan) as usize, otherwise.clone())).or_insert(next);
                if cell != next {
                    return cell;
                }
                Way::Residuals(residuals)
            }
            None => match self.set(rules.iter().map(|(rule, _)| *rule).collect()) {
                Some(set) => Way::Cedar(set),
                // No set can be made of rules that were sets before; were it so, nothing would be permitted.
                None => return 0,
            },
        };
        self.add(Cell { verdict: Verdict::Program(Program { plan, way, otherwise }), permits, visibility })
    }

    /// The programs of these rules; none where one of them has to stay with Cedar.
    fn residuals(&mut self, rules: &[(u32, Certainty)], known: &Known<'_>, plan: &mut Plan) -> Option<Residuals> {
        let (mut forbids, mut permits, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        let all = self.rules;
        let mut lowering = Lowering::new(*known, &mut self.times);
        for (rule, certainty) in rules {
            let Some(parsed) = all.get(*rule as usize).map(|rule| &rule.parsed) else { continue };
            let lowered = match certainty {
                Certainty::Holds => lowering.clauses(&[]),
                Certainty::MayHold => lowering.clauses(&parsed.clauses),
            };
            match (lowered, parsed.effect) {
                (Ok(node), Effect::Forbid) => forbids.push((*rule, node)),
                (Ok(node), Effect::Permit) => permits.push((*rule, node)),
                (Err(reason), _) => slow.push((*rule, reason)),
            }
        }
        if let (true, Err(reason)) = (slow.is_empty(), lowering.place(plan)) {
            slow.extend(
                rules.iter().filter(|(_, certainty)| *certainty == Certainty::MayHold).map(|(rule, _)| (*rule, reason)),
            );
        }
        if !slow.is_empty() {
            self.index.slow.extend(slow);
            return None;
        }
        let mut kept_once = |rules: Vec<(u32, Node)>| -> Box<[Residual]> {
            let made = |(rule, node)| Residual { rule, condition: shared(&mut self.conditions, node) };
            rules.into_iter().map(made).collect()
        };
        Some(Residuals { forbids: kept_once(forbids), permits: kept_once(permits) })
    }

    /// The rules without their scopes, as one set; cells with the same rules share it.
    fn set(&mut self, rules: Vec<u32>) -> Option<Arc<PolicySet>> {
        if let Some(set) = self.sets.get(&rules) {
            return Some(Arc::clone(set));
        }
        let mut set = PolicySet::new();
        for rule in &rules {
            set.add(self.parsed(*rule)?.bare.clone()).ok()?;
        }
        let set = Arc::new(set);
        self.sets.insert(rules, Arc::clone(&set));
        Some(set)
    }
}

/// The one of this content.
fn shared<T: Eq + std::hash::Hash>(known: &mut AHashSet<Arc<T>>, new: T) -> Arc<T> {
    if let Some(known) = known.get(&new) {
        return Arc::clone(known);
    }
    let new = Arc::new(new);
    known.insert(Arc::clone(&new));
    new
}
