//! Indexes rules by who may meet them where. In: checked rules, the registry's agents, the columns. Out: classes of agents, and for each class and column one cell. Never here: calls.
//!
//! A rule whose scope does not match cannot bear on a decision (Cedar's theorem of sound policy slicing), so a cell holds only those that match.
//! Agents that meet the same rules form a class; where conditions name a group or an agent, belonging to it is part of the class, so that
//! such conditions are decided here and not on every call.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::{Effect, PolicySet};

use super::fold::{self, Fold, Known};
use super::load::Rule;
use super::plan::Plan;
use super::scope::PrincipalScope;
use super::source::Parsed;
use super::surface::{Column, Subject, Surface};
use super::verdict::Visibility;
use crate::diagnostic::Diagnostic;
use crate::identity::registry::Registry;
use crate::limits::DETERMINING_MAX;

/// Cell numbers of all distinct rows: 2,000 classes × 10,000 tools take 80 MB, and this bound five times that.
pub const ROW_ENTRIES_MAX: usize = 100_000_000;

/// One agent of the registry.
#[derive(Clone, Debug)]
pub struct AgentSource<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its groups.
    pub groups: Vec<&'a str>,
    /// The customer accounts it may act for.
    pub accounts: Vec<&'a str>,
}

impl<'a> AgentSource<'a> {
    /// All agents of a registry, by their positions.
    pub fn of_registry(registry: &'a Registry) -> Vec<Self> {
        let texts = |all: &'a [Box<str>]| all.iter().map(|one| &**one).collect();
        registry
            .agents()
            .map(|agent| Self { id: &agent.id, groups: texts(&agent.groups), accounts: texts(&agent.accounts) })
            .collect()
    }
}

/// What one class may do in one column.
#[derive(Debug)]
pub struct Cell {
    /// What is decided without looking at the call, or the rules that look at it.
    pub verdict: Verdict,
    /// The permits that could hold.
    pub permits: Box<[u32]>,
    /// Whether some call could be permitted.
    pub visibility: Visibility,
}

/// The rest of a decision after indexing and folding.
#[derive(Debug)]
pub enum Verdict {
    /// No permit can hold.
    NoRule,
    /// These forbids hold whatever is asked.
    Forbidden(Box<[u32]>),
    /// Only permits that hold whatever is asked.
    Allowed(Box<[u32]>),
    /// These rules must be evaluated.
    Program(Program),
}

/// Rules to evaluate, and what they read.
#[derive(Debug)]
pub struct Program {
    /// Each under its number as id.
    pub rules: Arc<PolicySet>,
    /// What must be converted for them.
    pub plan: Plan,
}

/// One class's cells, by column, and what makes each server reachable.
#[derive(Debug)]
pub struct Row {
    /// Cell numbers by column.
    pub cells: Box<[u32]>,
    /// For each server, permits that could hold anywhere on it, the first few.
    pub reachable: Box<[Box<[u32]>]>,
}

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
}

/// Agents that meet the same rules.
struct Class<'a> {
    rules: Vec<u32>,
    groups: Vec<&'a str>,
    agent: &'a str,
}

/// Builds the index.
pub fn build(rules: &[Rule], agents: &[AgentSource<'_>], surface: &Surface) -> Result<Index, Diagnostic> {
    let mut builder = Builder {
        rules,
        surface,
        index: Index::default(),
        cells: AHashMap::new(),
        sets: AHashMap::new(),
        rows: AHashMap::new(),
    };
    builder.index.cells.push(Cell { verdict: Verdict::NoRule, permits: Box::new([]), visibility: Visibility::Hidden });
    let (classes, of_agents) = classes(rules, agents);
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
    Ok(builder.index)
}

/// The classes, and the class of each agent.
fn classes<'a>(rules: &'a [Rule], agents: &'a [AgentSource<'a>]) -> (Vec<Class<'a>>, Vec<u32>) {
    let mut everyone = Vec::new();
    let mut by_agent: AHashMap<&str, Vec<u32>> = AHashMap::new();
    let mut by_group: AHashMap<&str, Vec<u32>> = AHashMap::new();
    let mut named_groups: AHashSet<&str> = AHashSet::new();
    let mut named_agents: AHashSet<&str> = AHashSet::new();
    for (number, rule) in (0_u32..).zip(rules) {
        match &rule.principal {
            PrincipalScope::Everyone => everyone.push(number),
            PrincipalScope::Agent(id) => by_agent.entry(id).or_default().push(number),
            PrincipalScope::Group(id) => by_group.entry(id).or_default().push(number),
            PrincipalScope::Nobody => {}
        }
        named_groups.extend(rule.parsed.reads.groups.iter().map(|group| &**group));
        named_agents.extend(rule.parsed.reads.agents.iter().map(|agent| &**agent));
    }
    let mut known: AHashMap<ClassKey<'_>, u32> = AHashMap::new();
    let mut classes: Vec<Class<'a>> = Vec::new();
    let mut of_agents = Vec::with_capacity(agents.len());
    for agent in agents {
        let mut own: Vec<u32> = by_agent.get(agent.id).cloned().unwrap_or_default();
        for group in &agent.groups {
            own.extend(by_group.get(group).into_iter().flatten());
        }
        own.sort_unstable();
        own.dedup();
        let mut groups: Vec<&str> = agent.groups.iter().copied().filter(|group| named_groups.contains(group)).collect();
        groups.sort_unstable();
        groups.dedup();
        let named = named_agents.contains(agent.id).then_some(agent.id);
        let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
        let class = *known.entry((own, groups, named)).or_insert_with_key(|(own, groups, _)| {
            let mut rules: Vec<u32> = everyone.iter().chain(own).copied().collect();
            rules.sort_unstable();
            classes.push(Class { rules, groups: groups.clone(), agent: agent.id });
            next
        });
        of_agents.push(class);
    }
    (classes, of_agents)
}

/// What makes two agents one class: their own rules, and of their groups and names those that a rule reads.
type ClassKey<'a> = (Vec<u32>, Vec<&'a str>, Option<&'a str>);

/// What makes two cells one: the same rules with the same folds, and the same column where the plan depends on it.
type CellKey = (Vec<(u32, Certainty)>, Option<u32>, Needs);

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

struct Builder<'a> {
    rules: &'a [Rule],
    surface: &'a Surface,
    index: Index,
    cells: AHashMap<CellKey, u32>,
    sets: AHashMap<Vec<u32>, Arc<PolicySet>>,
    rows: AHashMap<Box<[u32]>, u32>,
}

impl Builder<'_> {
    fn parsed(&self, number: u32) -> Option<&Parsed> {
        self.rules.get(number as usize).map(|rule| &rule.parsed)
    }

    fn row(&mut self, class: &Class<'_>) -> u32 {
        let mut covering: Vec<Vec<u32>> = vec![Vec::new(); self.surface.columns.len()];
        for number in &class.rules {
            let columns = self.rules.get(*number as usize).map(|rule| rule.columns.as_slice()).unwrap_or_default();
            for column in columns {
                if let Some(covering) = covering.get_mut(*column as usize) {
                    covering.push(*number);
                }
            }
        }
        let cells: Box<[u32]> =
            (0_u32..).zip(covering).map(|(column, rules)| self.cell(class, column, &rules)).collect();
        if let Some(row) = self.rows.get(&cells) {
            return *row;
        }
        let row = u32::try_from(self.index.rows.len()).unwrap_or(u32::MAX);
        let reachable = self.reachable(&cells);
        self.rows.insert(cells.clone(), row);
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

    fn cell(&mut self, class: &Class<'_>, number: u32, rules: &[u32]) -> u32 {
        let Some(column) = self.surface.columns.get(number as usize).filter(|_| !rules.is_empty()) else { return 0 };
        let server = self.surface.faces.get(usize::from(column.server.0)).map_or("", |face| &*face.name);
        let known = Known { agent: class.agent, groups: &class.groups, column, server };
        let mut kept: Vec<(u32, Certainty)> = Vec::with_capacity(rules.len());
        for rule in rules {
            let Some(parsed) = self.parsed(*rule) else { continue };
            match (fold::clauses(&parsed.clauses, &known), parsed.effect) {
                (Fold::True, _) => kept.push((*rule, Certainty::Holds)),
                (Fold::Unknown, _) | (Fold::NeverTrue, Effect::Forbid) => kept.push((*rule, Certainty::MayHold)),
                (Fold::False, _) | (Fold::NeverTrue, Effect::Permit) => {}
            }
        }
        if kept.is_empty() {
            return 0;
        }
        let depends = kept
            .iter()
            .filter_map(|(rule, _)| self.parsed(*rule))
            .any(|parsed| Plan::depends_on_column(&parsed.reads, column));
        let key = (kept, depends.then_some(number), needs(column.subject));
        if let Some(cell) = self.cells.get(&key) {
            return *cell;
        }
        let cell = self.made(&key.0, column, key.2);
        let position = u32::try_from(self.index.cells.len()).unwrap_or(u32::MAX);
        self.index.cells.push(cell);
        self.cells.insert(key, position);
        position
    }

    fn made(&mut self, kept: &[(u32, Certainty)], column: &Column, needs: Needs) -> Cell {
        let of = |effect: Effect, certainty: Option<Certainty>| -> Box<[u32]> {
            let wanted = kept.iter().filter(|(rule, this)| {
                certainty.is_none_or(|certainty| certainty == *this)
                    && self.parsed(*rule).is_some_and(|parsed| parsed.effect == effect)
            });
            wanted.map(|(rule, _)| *rule).collect()
        };
        let permits = of(Effect::Permit, None);
        let forbidding = of(Effect::Forbid, Some(Certainty::Holds));
        let undecided = kept.iter().any(|(_, certainty)| *certainty == Certainty::MayHold);
        let may_forbid = !of(Effect::Forbid, None).is_empty();
        let visibility =
            if permits.is_empty() || !forbidding.is_empty() { Visibility::Hidden } else { Visibility::Listed };
        let verdict = if !forbidding.is_empty() {
            Verdict::Forbidden(forbidding)
        } else if permits.is_empty() && (needs == Needs::Permit || !may_forbid) {
            Verdict::NoRule
        } else if !undecided {
            Verdict::Allowed(permits.clone())
        } else {
            let rules: Vec<u32> = kept.iter().map(|(rule, _)| *rule).collect();
            let plan = Plan::of(rules.iter().filter_map(|rule| self.parsed(*rule)).map(|parsed| &parsed.reads), column);
            match self.set(rules) {
                Some(rules) => Verdict::Program(Program { rules, plan }),
                None => {
                    return Cell { verdict: Verdict::NoRule, permits: Box::new([]), visibility: Visibility::Hidden };
                }
            }
        };
        Cell { verdict, permits, visibility }
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
