//! Indexes rules by who may meet them where. In: checked rules, the registry's agents, the columns. Out: classes of agents, and for each class and column one cell. Never here: calls.
//!
//! A rule whose scope does not match cannot bear on a decision (Cedar's theorem of sound policy slicing), so a cell holds only those that match.
//! Agents that meet the same rules form a class; where conditions name a group or an agent, belonging to it is part of the class, so that
//! such conditions are decided here and not on every call.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::{Effect, PolicyId, PolicySet};
use smallvec::SmallVec;

use super::cell::{Cell, Otherwise, Program, Residual, Residuals, Row, Verdict, Way};
/// What the index is built of, named here for those who build one.
pub use super::classes::AgentSource;
use super::classes::{Class, classes};
use super::fold::{self, Fold, Known};
use super::load::Rule;
use super::lower::Unlowered;
use super::made::{Aspect, Bearers, Certainty, Decided, Evaluated, FEW, Key, Made, Maker, Needs, Store, aspect};
use super::scope::PrincipalScope;
use super::source::{Content, Parsed};
use super::surface::{Column, Surface};
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

/// Builds the index; what `earlier` made for the same rules is used again. With the index comes what was made for it.
pub fn build(
    rules: &[Rule],
    agents: &[AgentSource<'_>],
    surface: &Surface,
    earlier: &Store,
) -> Result<(Index, Store), Diagnostic> {
    let mut builder = Builder {
        rules,
        surface,
        index: Index::default(),
        maker: Maker::new(earlier),
        cells: AHashMap::new(),
        contents: AHashMap::new(),
        sets: AHashMap::new(),
        rows: AHashMap::new(),
        everyone: Everyone::default(),
        scratch: Vec::new(),
        listed: Vec::new(),
        opens: surface.columns.iter().map(|column| Needs::of(column.subject)).collect(),
    };
    builder.add(Cell { verdict: Verdict::NoRule, permits: Box::new([]), visibility: Visibility::Hidden });
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
    Ok((builder.index, builder.maker.into_store()))
}

/// What makes two cells one: the same rules with the same folds; the same aspect of a column; the same belonging where they ask for it.
#[derive(PartialEq, Eq, Hash)]
struct CellKey<'a> {
    kept: SmallVec<[(u32, Certainty); FEW]>,
    aspect: Aspect,
    needs: Needs,
    groups: Vec<&'a str>,
    agent: Option<&'a str>,
}

/// The same in what was made of it: rules with the addresses of their conditions, the plan's address, and what holds where a call cannot be read.
type Likeness = (SmallVec<[(u32, usize); FEW]>, usize, Otherwise);

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
    index: Index,
    maker: Maker<'a>,
    cells: AHashMap<CellKey<'a>, u32>,
    contents: AHashMap<Likeness, u32>,
    sets: AHashMap<Vec<u32>, Arc<PolicySet>>,
    rows: AHashMap<Arc<[u32]>, u32>,
    everyone: Everyone<'a>,
    /// One row's cells, while they are worked out.
    scratch: Vec<u32>,
    /// Whether a cell lists what it is about, by cell.
    listed: Vec<Visibility>,
    /// Whether a column opens its server, by column.
    opens: Vec<Needs>,
}

impl<'a> Builder<'a> {
    fn parsed(&self, number: u32) -> Option<&'a Parsed> {
        self.rules.get(number as usize).map(|rule| &rule.parsed)
    }

    /// Finds the rules about everyone.
    fn cover(&mut self) {
        self.everyone.covering = vec![Vec::new(); self.surface.columns.len()];
        for (number, rule) in (0_u32..).zip(self.rules) {
            if *rule.principal() != PrincipalScope::Everyone || rule.parsed.reads.is_over_results() {
                continue;
            }
            self.everyone.groups.extend(rule.parsed.reads.groups.iter().map(|group| &**group));
            self.everyone.agents.extend(rule.parsed.reads.agents.iter().map(|agent| &**agent));
            for column in rule.columns.iter() {
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
        let common = self.common(class);
        let mut cells = std::mem::take(&mut self.scratch);
        cells.clear();
        cells.extend_from_slice(&common);
        let mut own: Vec<(u32, u32)> = Vec::new();
        for number in &class.own {
            let columns = self.rules.get(*number as usize).map(|rule| &*rule.columns).unwrap_or_default();
            own.extend(columns.iter().map(|column| (*column, *number)));
        }
        own.sort_unstable();
        for run in own.chunk_by(|(left, _), (right, _)| left == right) {
            let Some((column, _)) = run.first() else { continue };
            let everyone = self.everyone.covering.get(*column as usize).into_iter().flatten();
            let mut rules: SmallVec<[u32; FEW]> =
                everyone.chain(run.iter().map(|(_, number)| number)).copied().collect();
            rules.sort_unstable();
            let cell = self.cell(class, *column, &rules);
            if let Some(place) = cells.get_mut(*column as usize) {
                *place = cell;
            }
        }
        let known = self.rows.get(cells.as_slice()).copied();
        let shared: Option<Arc<[u32]>> = known.is_none().then(|| cells.as_slice().into());
        self.scratch = cells;
        if let Some(row) = known {
            return row;
        }
        let cells = shared.unwrap_or_default();
        let row = u32::try_from(self.index.rows.len()).unwrap_or(u32::MAX);
        let reachable = self.reachable(&cells);
        self.rows.insert(Arc::clone(&cells), row);
        self.index.rows.push(Row { cells, reachable });
        row
    }

    fn reachable(&self, cells: &[u32]) -> Box<[Box<[u32]>]> {
        let mut reachable: Vec<Vec<u32>> = vec![Vec::new(); self.surface.faces.len()];
        for ((column, cell), opens) in self.surface.columns.iter().zip(cells).zip(&self.opens) {
            // What follows other columns opens nothing by itself.
            if self.listed.get(*cell as usize) != Some(&Visibility::Listed) || *opens == Needs::OnlyForbids {
                continue;
            }
            let cell = self.index.cells.get(*cell as usize);
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
        let mut kept: SmallVec<[(u32, Certainty); FEW]> = SmallVec::new();
        let mut bearers: SmallVec<[(&'a Arc<Content>, Certainty); FEW]> = SmallVec::new();
        for rule in rules {
            let Some(content) = self.parsed(*rule).map(|parsed| &parsed.content) else { continue };
            let fold = content.bearing.fold.unwrap_or_else(|| fold::clauses(&content.clauses, &known));
            let certainty = match (fold, content.effect) {
                (Fold::True, _) => Certainty::Holds,
                (Fold::Unknown, _) | (Fold::NeverTrue, Effect::Forbid) => Certainty::MayHold,
                (Fold::False, _) | (Fold::NeverTrue, Effect::Permit) => continue,
            };
            kept.push((*rule, certainty));
            bearers.push((content, certainty));
        }
        if kept.is_empty() {
            return 0;
        }
        let key = self.key(kept, &bearers, class, (number, column));
        if let Some(cell) = self.cells.get(&key) {
            return *cell;
        }
        let lasting = Key::new(&bearers, (key.aspect, key.needs), (&key.groups, key.agent));
        let made = self.maker.make(lasting, &bearers, &known);
        let position = self.numbered(&made, &key.kept);
        self.cells.insert(key, position);
        position
    }

    fn key(
        &self,
        kept: SmallVec<[(u32, Certainty); FEW]>,
        bearers: &Bearers<'a>,
        class: &Class<'a>,
        (number, column): (u32, &Column),
    ) -> CellKey<'a> {
        let (mut groups, mut agent) = (Vec::new(), None);
        for (content, certainty) in bearers {
            if *certainty == Certainty::MayHold && content.bearing.fold.is_none() {
                let own = content.reads.groups.iter().map(|group| &**group);
                groups.extend(own.filter(|group| class.groups.binary_search(group).is_ok()));
                agent =
                    agent.or(content.reads.agents.iter().any(|named| **named == *class.agent).then_some(class.agent));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        let exactly = || self.surface.exactly(number);
        let aspect = aspect(bearers, column, (self.surface.shape_of(number), exactly));
        CellKey { kept, aspect, needs: Needs::of(column.subject), groups, agent }
    }

    fn add(&mut self, cell: Cell) -> u32 {
        let position = u32::try_from(self.index.cells.len()).unwrap_or(u32::MAX);
        self.listed.push(cell.visibility);
        self.index.cells.push(cell);
        position
    }

    /// The cell of what was made, with the rules by their numbers. One of the same content is used again.
    fn numbered(&mut self, made: &Made, kept: &[(u32, Certainty)]) -> u32 {
        // A place that no rule has would be a defect of ours; a number that no rule has is the same to whoever asks for it.
        let number = |place: &u32| kept.get(*place as usize).map_or(u32::MAX, |(number, _)| *number);
        let numbers = |places: &[u32]| -> Box<[u32]> { places.iter().map(number).collect() };
        self.index.slow.extend(made.slow.iter().map(|(place, reason)| (number(place), *reason)));
        let (permits, visibility) = (numbers(&made.permits), made.visibility);
        let (plan, way, otherwise) = match &made.verdict {
            Decided::NoRule => return self.add(Cell { verdict: Verdict::NoRule, permits, visibility }),
            Decided::Forbidden(forbids) => {
                return self.add(Cell { verdict: Verdict::Forbidden(numbers(forbids)), permits, visibility });
            }
            Decided::Allowed => {
                return self.add(Cell { verdict: Verdict::Allowed(permits.clone()), permits, visibility });
            }
            Decided::Program { plan, way, otherwise } => (self.maker.plan(plan), way, otherwise),
        };
        let otherwise = match otherwise {
            Otherwise::Forbidden(forbids) => Otherwise::Forbidden(numbers(forbids)),
            Otherwise::NoRule => Otherwise::NoRule,
            Otherwise::Refused => Otherwise::Refused,
        };
        let way = match way {
            Evaluated::Residuals { forbids, permits } => {
                let mut all = |residuals: &[Residual]| -> Box<[Residual]> {
                    let own = |residual: &Residual| Residual {
                        rule: number(&residual.rule),
                        condition: self.maker.condition(&residual.condition),
                    };
                    residuals.iter().map(own).collect()
                };
                let residuals = Residuals { forbids: all(forbids), permits: all(permits) };
                let address = |residual: &Residual| (residual.rule, Arc::as_ptr(&residual.condition) as usize);
                let all = residuals.forbids.iter().chain(&residuals.permits).map(address).collect();
                let next = u32::try_from(self.index.cells.len()).unwrap_or(u32::MAX);
                let cell = *self.contents.entry((all, Arc::as_ptr(&plan) as usize, otherwise.clone())).or_insert(next);
                if cell != next {
                    return cell;
                }
                Way::Residuals(residuals)
            }
            Evaluated::Cedar(places) => match self.set(numbers(places).into_vec()) {
                Some(set) => Way::Cedar(set),
                // No set can be made of rules that were sets before; were it so, nothing would be permitted.
                None => return 0,
            },
        };
        self.add(Cell { verdict: Verdict::Program(Program { plan, way, otherwise }), permits, visibility })
    }

    /// The rules without their scopes, as one set, each under its number; cells with the same rules share it.
    fn set(&mut self, rules: Vec<u32>) -> Option<Arc<PolicySet>> {
        if let Some(set) = self.sets.get(&rules) {
            return Some(Arc::clone(set));
        }
        let mut set = PolicySet::new();
        for rule in &rules {
            set.add(self.parsed(*rule)?.bare.new_id(PolicyId::new(rule.to_string()))).ok()?;
        }
        let set = Arc::new(set);
        self.sets.insert(rules, Arc::clone(&set));
        Some(set)
    }
}
