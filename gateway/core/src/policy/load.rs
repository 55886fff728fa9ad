//! Loads rules or says why not. In: policy files, columns, the registry's names. Out: checked rules with their scopes, or findings with place, cause and cure. Never here: agents' classes, calls.

use std::collections::BTreeMap;

use ahash::{AHashMap, AHashSet};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, PolicySet, ValidationMode, ValidationWarning, Validator};

use super::check::{self, KnownNames, Place};
use super::oblige;
use super::output;
use super::schema::{self, Stage};
use super::scope::{self, Columns, PrincipalScope};
use super::source::{self, Parsed, Source};
use super::surface::Surface;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, line_of};

/// A rule that is enforced.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As parsed.
    pub parsed: Parsed,
    /// Whom it is about.
    pub principal: PrincipalScope,
    /// The columns it covers, sorted.
    pub columns: Vec<u32>,
}

/// Rules that passed every check, and what an operator should look at nevertheless.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// In the order of the files; a rule's position is its number in every decision.
    pub rules: Vec<Rule>,
    /// Findings that only warn.
    pub warnings: Diagnostics,
}

/// Parses, resolves, checks and validates; every finding of every file comes at once.
pub fn load(sources: &[Source<'_>], surface: &Surface, names: &KnownNames<'_>) -> Result<Loaded, Diagnostics> {
    let parsed = source::parse(sources)?;
    let texts: AHashMap<&str, &str> = sources.iter().map(|source| (source.file, source.text)).collect();
    let mut findings = Diagnostics::new();
    let mut sound: Vec<(Parsed, Columns)> = Vec::new();
    for rule in parsed {
        let covered = scope::columns(&rule.policy, surface);
        let text = texts.get(&*rule.file).copied().unwrap_or_default();
        let place = Place { surface, names, text };
        let mut wrong = check::rule(&rule, &covered, place);
        wrong.extend(oblige::findings(&rule, &covered, place));
        wrong.extend(output::findings(&rule, &covered, place));
        if wrong.is_empty() {
            sound.push((rule, covered));
        }
        findings.extend(wrong);
    }
    let validated = validate(&sound, surface, &texts)?;
    for (rule, covered) in &sound {
        if !validated.refused.contains(&rule.policy.id().to_string()) {
            findings.extend(check::covers_nothing(rule, covered));
        }
    }
    findings.extend(validated.errors);
    if !findings.is_empty() {
        findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        return Err(findings);
    }
    let rules = sound.into_iter().map(|(parsed, covered)| Rule {
        principal: scope::principal(&parsed.policy),
        columns: covered.matching,
        parsed,
    });
    let rules: Vec<Rule> = rules.collect();
    let warnings = validated.warnings.into_iter().chain(table_warnings(&rules, surface, &texts)).collect();
    Ok(Loaded { rules, warnings })
}

/// Rules that only forbid tables: a name that hides the table, such as a view's, passes them.
fn table_warnings(rules: &[Rule], surface: &Surface, texts: &AHashMap<&str, &str>) -> Diagnostics {
    let sql = |column: &u32| surface.columns.get(*column as usize).is_some_and(|column| column.sql.is_some());
    let reads_tables = |rule: &Parsed| rule.reads.sought.iter().any(|sought| &*sought.set == "sql.tables");
    let forbids = rules.iter().filter(|rule| rule.parsed.effect == Effect::Forbid && reads_tables(&rule.parsed));
    let bound = |column: &u32| {
        rules.iter().any(|rule| {
            rule.parsed.effect == Effect::Permit
                && rule.parsed.reads.lists_tables
                && rule.columns.binary_search(column).is_ok()
        })
    };
    let unbound = forbids.filter(|rule| rule.columns.iter().filter(|column| sql(column)).any(|column| !bound(column)));
    unbound
        .map(|rule| {
            let rule = &rule.parsed;
            let line = rule.line_of_member("sql", texts.get(&*rule.file).copied().unwrap_or_default());
            let message =
                "this rule forbids tables by name, and a view or a search path can lead to them under another";
            let cure = "permit listed tables instead: `[\"customers\", \"orders\"].containsAll(context.sql.tables)`";
            Diagnostic::warning(&*rule.file, Some(line), message).help(cure)
        })
        .collect()
}

/// What the validator found.
#[derive(Default)]
struct Validated {
    errors: Diagnostics,
    warnings: Diagnostics,
    /// The numbers of the rules with errors.
    refused: AHashSet<String>,
}

/// Cedar's strict validation. A rule is validated against the actions that its scope names and no others: the validator's cost is rules × actions.
fn validate(
    sound: &[(Parsed, Columns)],
    surface: &Surface,
    texts: &AHashMap<&str, &str>,
) -> Result<Validated, Diagnostics> {
    let mut groups: BTreeMap<(Stage, Option<&[u32]>), Vec<&Parsed>> = BTreeMap::new();
    for (rule, covered) in sound {
        let scope = if rule.reads.names_actions { None } else { covered.by_action.as_deref() };
        let stage = if rule.reads.is_over_results() { Stage::Result } else { Stage::Request };
        groups.entry((stage, scope)).or_default().push(rule);
    }
    let mut validated = Validated::default();
    for ((stage, scope), rules) in groups {
        let schema = schema::build_at(stage, surface, scope, "catalogues").map_err(|finding| vec![finding])?;
        let mut set = PolicySet::new();
        for rule in &rules {
            if set.add(rule.policy.clone()).is_err() {
                return Err(vec![Diagnostic::error(&*rule.file, Some(rule.line), "this rule's number is taken")]);
            }
        }
        let by_number: AHashMap<String, &Parsed> =
            rules.iter().map(|rule| (rule.policy.id().to_string(), *rule)).collect();
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        for error in result.validation_errors() {
            if let Some(rule) = by_number.get(&error.policy_id().to_string()) {
                let text = texts.get(&*rule.file).copied().unwrap_or_default();
                validated.add(mistake(&DetailedError::from(error), rule, text), rule);
            }
        }
        for warning in result.validation_warnings() {
            if let Some(rule) = by_number.get(&warning.policy_id().to_string()) {
                let text = texts.get(&*rule.file).copied().unwrap_or_default();
                validated.add(warned(warning, rule, text), rule);
            }
        }
    }
    Ok(validated)
}

impl Validated {
    /// The validator repeats a finding for every action a rule covers; the first tells.
    fn add(&mut self, finding: Diagnostic, rule: &Parsed) {
        let findings = match finding.severity {
            Severity::Error => {
                self.refused.insert(rule.policy.id().to_string());
                &mut self.errors
            }
            Severity::Warning => &mut self.warnings,
        };
        if findings.last().is_none_or(|last| (&last.file, last.line) != (&finding.file, finding.line)) {
            findings.push(finding);
        }
    }
}

fn mistake(error: &DetailedError, rule: &Parsed, text: &str) -> Diagnostic {
    let line = error.source_locations.first().map_or(rule.line, |label| line_of(text, label.loc.start));
    let prefix = format!("for policy `{}`", rule.policy.id());
    let said = error.message.strip_prefix(&prefix).unwrap_or(&error.message).trim_start_matches([',', ':', ' ']);
    let finding = Diagnostic::error(&*rule.file, Some(line), said);
    match &error.help {
        Some(help) => finding.help(help.strip_prefix(&prefix).unwrap_or(help).trim_start_matches([',', ' '])),
        None => finding,
    }
}

fn warned(warning: &ValidationWarning, rule: &Parsed, text: &str) -> Diagnostic {
    let never =
        |why: &str| Diagnostic::error(&*rule.file, Some(rule.line), format!("this rule can never match: {why}"));
    match warning {
        ValidationWarning::ImpossiblePolicy(_) => {
            never("its conditions are always false").help("mend them or delete the rule")
        }
        ValidationWarning::InvalidActionApplication(_) => {
            never("no action in its scope exists for its principal and resource")
                .help("the principal is an `Agent` or a `Group`, the resource a `Server`")
        }
        // Confusable and bidirectional characters; whatever else Cedar will warn of is shown as well.
        other => {
            let mut finding = mistake(&DetailedError::from(other), rule, text);
            finding.severity = Severity::Warning;
            finding
        }
    }
}
