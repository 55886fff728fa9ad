//! Compares two rule sets. In: two engines and their files. Out: which agents may do more, less or something else where, and which rules came and went. Never here: calls.

use ahash::{AHashMap, AHashSet};
use serde::Serialize;
use std::collections::BTreeMap;

use super::cell::{Cell, Verdict, Way};
use super::engine::Engine;
use super::source::{self, Parsed, Source};
use super::verdict::Visibility;

/// What a class of agents may expect of an action before the call is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Every call is refused.
    Denied,
    /// It depends on the call.
    Conditional,
    /// Every call passes.
    Allowed,
}

impl Outlook {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Conditional => "allowed for some calls",
            Self::Allowed => "allowed",
        }
    }

    fn of(cell: Option<&Cell>) -> Self {
        match cell {
            None => Self::Denied,
            Some(cell) => match (&cell.verdict, cell.visibility) {
                (Verdict::NoRule | Verdict::Forbidden(_), _) | (Verdict::Program(_), Visibility::Hidden) => {
                    Self::Denied
                }
                (Verdict::Allowed(_), _) => Self::Allowed,
                (Verdict::Program(_), Visibility::Listed) => Self::Conditional,
            },
        }
    }
}

/// One action that some agents may expect something else of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The server.
    pub server: Box<str>,
    /// The action, such as `crm.read_table`.
    pub action: Box<str>,
    /// Before.
    pub before: Outlook,
    /// After. The same as before where it depends on the call, but on other conditions.
    pub after: Outlook,
    /// Groups all of whose members are concerned.
    pub groups: Vec<Box<str>>,
    /// Agents beside these groups.
    pub agents: Vec<Box<str>>,
    /// How many agents are concerned in all.
    pub count: usize,
}

impl Change {
    /// Whom it concerns, in words.
    pub fn whom(&self) -> String {
        let shown = self.agents.iter().take(NAMES_MAX).map(|agent| format!("agent {agent}"));
        let mut parts: Vec<String> = self.groups.iter().map(|group| format!("group {group}")).chain(shown).collect();
        if let Some(more) = self.agents.len().checked_sub(NAMES_MAX).filter(|more| *more > 0) {
            parts.push(format!("{more} more agents"));
        }
        parts.join(", ")
    }

    /// The whole change in one line.
    pub fn words(&self) -> String {
        let (before, after) = (self.before.words(), self.after.words());
        let change = match self.before == self.after {
            true => format!("{after}, on other conditions than before"),
            false => format!("{before} before, {after} after"),
        };
        format!("{}: {}: {change}", self.whom(), self.label())
    }

    fn label(&self) -> String {
        // A tool's action begins with its server.
        let own = self.action.strip_prefix(&*self.server).is_some_and(|rest| rest.starts_with('.'));
        if own { self.action.to_string() } else { format!("{} {}", self.server, self.action) }
    }
}

/// Rules that came, went and changed, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// In the second set and not in the first.
    pub added: Vec<Box<str>>,
    /// In the first set and not in the second.
    pub removed: Vec<Box<str>>,
    /// In both, with other texts.
    pub changed: Vec<Box<str>>,
}

/// Agents that are named in one line.
const NAMES_MAX: usize = 4;

/// One rule set: an engine and the files it was made from.
#[derive(Clone, Copy)]
pub struct Side<'s> {
    /// The engine.
    pub engine: &'s Engine,
    /// Its files.
    pub sources: &'s [Source<'s>],
}

/// Which rules came and went, by their texts; a rule that only moved did neither.
pub fn rules(before: &[Source<'_>], after: &[Source<'_>]) -> Rules {
    let parse = |sources: &[Source<'_>], others: &[Source<'_>]| {
        let others: AHashSet<(&str, &str)> = others.iter().map(|source| (source.file, source.text)).collect();
        // A file that did not change holds no rule that did.
        let own: Vec<Source<'_>> =
            sources.iter().filter(|source| !others.contains(&(source.file, source.text))).copied().collect();
        source::parse(&own).unwrap_or_default()
    };
    let (before, after) = (parse(before, after), parse(after, before));
    let (mut added, mut removed) = (beyond(&after, &before), beyond(&before, &after));
    let gone: AHashSet<Box<str>> = removed.iter().cloned().collect();
    let changed: Vec<Box<str>> = added.iter().filter(|id| gone.contains(*id)).cloned().collect();
    let both: AHashSet<&Box<str>> = changed.iter().collect();
    added.retain(|id| !both.contains(id));
    removed.retain(|id| !both.contains(id));
    Rules { added, removed, changed }
}

/// The rules of `these` that have no twin among `those`.
fn beyond(these: &[Parsed], those: &[Parsed]) -> Vec<Box<str>> {
    let mut twins: AHashMap<&str, usize> = AHashMap::new();
    for rule in those {
        *twins.entry(rule.text.trim()).or_default() += 1;
    }
    let alone = these.iter().filter(|rule| match twins.get_mut(rule.text.trim()) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        Some(_) | None => true,
    });
    alone.map(|rule| rule.id.clone()).collect()
}

/// What agents may expect otherwise. An agent or an action that one side does not know is denied there.
pub fn cells(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let (before, after) = (Table::new(before), Table::new(after));
    let columns = columns(before.engine, after.engine);
    let mut pairs: AHashMap<(Option<u32>, Option<u32>), Vec<&str>> = AHashMap::new();
    for agent in before.rows.keys().chain(after.rows.keys().filter(|agent| !before.rows.contains_key(*agent))) {
        let pair = (before.rows.get(agent).copied(), after.rows.get(agent).copied());
        pairs.entry(pair).or_default().push(agent);
    }
    let mut changes: BTreeMap<(Key<'_>, Outlook, Outlook), Vec<&str>> = BTreeMap::new();
    for ((old, new), agents) in pairs {
        for (key, was, is) in &columns {
            let (old, new) = (before.cell(old, *was), after.cell(new, *is));
            let (from, to) = (Outlook::of(old), Outlook::of(new));
            let same = from == to && (from != Outlook::Conditional || before.texts(old) == after.texts(new));
            if !same {
                changes.entry((*key, from, to)).or_default().extend(&agents);
            }
        }
    }
    let change = |(((server, action), from, to), agents): ((Key<'_>, Outlook, Outlook), Vec<&str>)| {
        let (groups, rest) = grouped(&agents, &before.members, &after.members);
        Change {
            server: server.into(),
            action: action.into(),
            before: from,
            after: to,
            groups,
            agents: rest,
            count: agents.len(),
        }
    };
    changes.into_iter().map(change).collect()
}

/// Server and action.
type Key<'k> = (&'k str, &'k str);

/// Every action of either side with its column on each.
fn columns<'e>(before: &'e Engine, after: &'e Engine) -> Vec<(Key<'e>, Option<u32>, Option<u32>)> {
    let mut all: BTreeMap<Key<'e>, (Option<u32>, Option<u32>)> = BTreeMap::new();
    for (position, key) in keys(before) {
        all.entry(key).or_default().0 = Some(position);
    }
    for (position, key) in keys(after) {
        all.entry(key).or_default().1 = Some(position);
    }
    all.into_iter().map(|(key, (was, is))| (key, was, is)).collect()
}

fn keys(engine: &Engine) -> impl Iterator<Item = (u32, Key<'_>)> {
    let name = |column: &'_ super::surface::Column| usize::from(column.server.0);
    (0_u32..).zip(&engine.surface.columns).filter_map(move |(position, column)| {
        let face = engine.surface.faces.get(name(column))?;
        Some((position, (&*face.name, &*column.action)))
    })
}

/// The concerned groups as a whole, and who is left.
fn grouped(
    agents: &[&str],
    before: &BTreeMap<&str, AHashSet<&str>>,
    after: &BTreeMap<&str, AHashSet<&str>>,
) -> (Vec<Box<str>>, Vec<Box<str>>) {
    let concerned: AHashSet<&str> = agents.iter().copied().collect();
    let mut left = concerned.clone();
    let mut groups: Vec<(&str, &AHashSet<&str>)> = after
        .iter()
        .chain(before.iter().filter(|(group, _)| !after.contains_key(*group)))
        .map(|(group, members)| (*group, members))
        .filter(|(_, members)| !members.is_empty() && members.is_subset(&concerned))
        .collect();
    groups.sort_by_key(|(group, members)| (std::cmp::Reverse(members.len()), *group));
    let mut named = Vec::new();
    for (group, members) in groups {
        if members.iter().any(|member| left.contains(member)) {
            members.iter().for_each(|member| {
                left.remove(member);
            });
            named.push(group.into());
        }
    }
    let mut rest: Vec<Box<str>> = left.into_iter().map(Box::from).collect();
    rest.sort_unstable();
    (named, rest)
}

/// One side, ready to be looked up.
struct Table<'s> {
    engine: &'s Engine,
    parsed: Vec<Parsed>,
    /// The row of each agent.
    rows: BTreeMap<&'s str, u32>,
    /// The agents of each group.
    members: BTreeMap<&'s str, AHashSet<&'s str>>,
}

impl<'s> Table<'s> {
    fn new(side: Side<'s>) -> Self {
        let index = &side.engine.index;
        let mut rows = BTreeMap::new();
        let mut members: BTreeMap<&str, AHashSet<&str>> = BTreeMap::new();
        for (position, standing) in side.engine.agents.iter().enumerate() {
            let id = standing.uid.id().unescaped();
            let class = index.classes.get(position);
            rows.extend(class.and_then(|class| index.rows_of.get(*class as usize)).map(|row| (id, *row)));
            for group in &standing.groups {
                members.entry(group.id().unescaped()).or_default().insert(id);
            }
        }
        Self { engine: side.engine, parsed: source::parse(side.sources).unwrap_or_default(), rows, members }
    }

    fn cell(&self, row: Option<u32>, column: Option<u32>) -> Option<&Cell> {
        self.engine.cell(self.engine.index.rows.get(row? as usize)?, column?)
    }

    /// The texts of the rules that a call is judged by, without their order.
    fn texts(&self, cell: Option<&Cell>) -> Vec<&str> {
        let Some(Cell { verdict: Verdict::Program(program), .. }) = cell else { return Vec::new() };
        let numbers: Vec<u32> = match &program.way {
            Way::Residuals(left) => left.forbids.iter().chain(&left.permits).map(|residual| residual.rule).collect(),
            Way::Cedar(rules) => rules.policies().filter_map(|policy| policy.id().to_string().parse().ok()).collect(),
        };
        let mut texts: Vec<&str> = numbers
            .iter()
            .filter_map(|number| self.parsed.get(*number as usize))
            .map(|rule| rule.text.trim())
            .collect();
        texts.sort_unstable();
        texts
    }
}
