//! Validates rules by their conditions alone. In: rules, the columns they cover. Out: those of which the validator has nothing to say. Never here: findings; a rule that does not pass is validated as it is written.
//!
//! Cedar's validator judges a rule once for every action of the schema, so that a schema of one action for each rule, or of all for all, takes a
//! minute for a hundred thousand rules. What it says of conditions hangs on what an action offers and not on its name, as long as they name no
//! action; and a scope that is written plainly adds nothing. So the conditions are validated against one action of each shape, together with all
//! rules that cover the same shapes.

use ahash::{AHashMap, AHashSet};
use cedar_policy::{PolicyId, PolicySet, ValidationMode, Validator};

use super::schema;
use super::scope::{Columns, Form};
use super::source::Parsed;
use super::spread::Spread;
use super::surface::{Shape, Surface};

/// Rules that are validated in one go, so that large groups spread over cores; making a schema takes as long as validating some.
const TOGETHER_MAX: usize = 500;

/// The numbers of those rules that are valid without a word.
pub fn passing(rules: &[(&Parsed, &Columns)], surface: &Surface, spread: Spread) -> AHashSet<u32> {
    let mut groups: AHashMap<Shape, (&Columns, Vec<&Parsed>)> = AHashMap::new();
    for (rule, covered) in rules.iter().copied().filter(|(rule, _)| may_pass(rule)) {
        groups.entry(covered.action_shapes).or_insert_with(|| (covered, Vec::new())).1.push(rule);
    }
    let cut = groups.values().flat_map(|(covered, rules)| rules.chunks(TOGETHER_MAX).map(|rules| (*covered, rules)));
    let jobs: Vec<(&Columns, &[&Parsed])> = cut.collect();
    spread.map(&jobs, |(covered, rules)| pass(covered, rules, surface)).into_iter().flatten().collect()
}

fn may_pass(rule: &Parsed) -> bool {
    rule.scope.form == Form::Plain && !rule.reads.names_actions && !rule.reads.is_over_results()
}

fn pass(covered: &Columns, rules: &[&Parsed], surface: &Surface) -> Vec<u32> {
    let actions = match &covered.by_action {
        Some(some) => surface.one_of_each(some.iter().copied()),
        None => surface.one_of_each(0..surface.count()),
    };
    let Ok(schema) = schema::build(surface, Some(&actions), "catalogues") else { return Vec::new() };
    let mut set = PolicySet::new();
    let mut asked: Vec<(PolicyId, u32)> = Vec::with_capacity(rules.len());
    for rule in rules {
        let id = PolicyId::new(rule.number.to_string());
        if set.add(rule.bare.new_id(id.clone())).is_ok() {
            asked.push((id, rule.number));
        }
    }
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| error.policy_id().clone());
    let told: AHashSet<PolicyId> =
        errors.chain(result.validation_warnings().map(|warning| warning.policy_id().clone())).collect();
    asked.into_iter().filter(|(id, _)| !told.contains(id)).map(|(_, number)| number).collect()
}
