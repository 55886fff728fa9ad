//! Sorts agents into classes. In: rules and the registry's agents. Out: classes that meet the same rules, and the class of each agent. Never here: cells.

use ahash::{AHashMap, AHashSet};

use super::load::Rule;
use super::scope::PrincipalScope;
use crate::identity::registry::Registry;

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

/// Agents that meet the same rules.
pub struct Class<'a> {
    /// Rules about them, beside those about everyone.
    pub own: Vec<u32>,
    /// Those of their groups that some condition names, sorted.
    pub groups: Vec<&'a str>,
    /// One of them.
    pub agent: &'a str,
}

/// The classes, and the class of each agent.
pub fn classes<'a>(rules: &'a [Rule], agents: &'a [AgentSource<'a>]) -> (Vec<Class<'a>>, Vec<u32>) {
    let mut by_agent: AHashMap<&str, Vec<u32>> = AHashMap::new();
    let mut by_group: AHashMap<&str, Vec<u32>> = AHashMap::new();
    let mut named_groups: AHashSet<&str> = AHashSet::new();
    let mut named_agents: AHashSet<&str> = AHashSet::new();
    // Rules over results decide no request.
    for (number, rule) in (0_u32..).zip(rules).filter(|(_, rule)| !rule.parsed.reads.is_over_results()) {
        match rule.principal() {
            PrincipalScope::Agent(id) => by_agent.entry(id).or_default().push(number),
            PrincipalScope::Group(id) => by_group.entry(id).or_default().push(number),
            PrincipalScope::Everyone | PrincipalScope::Nobody => {}
        }
        named_groups.extend(rule.parsed.reads.groups.iter().map(|group| &**group));
        named_agents.extend(rule.parsed.reads.agents.iter().map(|agent| &**agent));
    }
    let mut known: AHashMap<ClassKey<'_>, u32> = AHashMap::new();
    let mut classes: Vec<Class<'a>> = Vec::new();
    let mut of_agents = Vec::with_capacity(agents.len());
    // Most agents are met through their groups alone, and many have the same.
    let mut alike: AHashMap<&[&str], u32> = AHashMap::new();
    for agent in agents {
        let only_groups = !by_agent.contains_key(agent.id) && !named_agents.contains(agent.id);
        if let Some(class) = alike.get(agent.groups.as_slice()).filter(|_| only_groups) {
            of_agents.push(*class);
            continue;
        }
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
            classes.push(Class { own: own.clone(), groups: groups.clone(), agent: agent.id });
            next
        });
        if only_groups {
            alike.insert(&agent.groups, class);
        }
        of_agents.push(class);
    }
    (classes, of_agents)
}

/// What makes two agents one class: their own rules, and of their groups and names those that a rule reads.
type ClassKey<'a> = (Vec<u32>, Vec<&'a str>, Option<&'a str>);
