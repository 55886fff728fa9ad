//! Loads rules or says why not. In: policy files, columns, the registry's names. Out: checked rules with their scopes, or findings with place, cause and cure. Never here: agents' classes, calls.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, PolicySet, ValidationError, ValidationMode, ValidationWarning, Validator};

use super::check::{self, KnownNames, Place};
use super::oblige;
use super::output;
use super::quick;
use super::reads::Fact;
use super::schema::{self, Stage};
use super::scope::{Columns, Form, PrincipalScope, Scopes};
use super::source::{self, Contents, Parsed, Source};
use super::spread::Spread;
use super::surface::{Digest, Shape, Surface};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, line_of};

/// A rule that is enforced.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As parsed.
    pub parsed: Parsed,
    /// The columns it covers, sorted.
    pub columns: Arc<[u32]>,
}

impl Rule {
    /// Whom it is about.
    pub fn principal(&self) -> &PrincipalScope {
        &self.parsed.scope.principal
    }
}

/// Rules that passed every check, and what an operator should look at nevertheless.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// In the order of the files; a rule's position is its number in every decision.
    pub rules: Vec<Rule>,
    /// Findings that only warn.
    pub warnings: Diagnostics,
    /// What the next load need not do again.
    pub known: Known,
}

/// What one load worked out that holds as long as what it was worked out from.
#[derive(Clone, Debug, Default)]
pub struct Known {
    contents: Contents,
    /// By the ident of a rule's content.
    sound: AHashMap<u64, Sound>,
}

/// A content that passed every check but that of its names, which is made every time.
#[derive(Clone, Debug)]
struct Sound {
    /// Names all that these checks looked at beside the content.
    under: Shape,
    /// What the validator would have an operator look at, with lines counted from the rule's first.
    warnings: Arc<[Diagnostic]>,
}

/// Parses, resolves, checks and validates; every finding of every file comes at once.
pub fn load(sources: &[Source<'_>], surface: &Surface, names: &KnownNames<'_>) -> Result<Loaded, Diagnostics> {
    load_after(sources, (surface, names), &Known::default(), Spread::ALONE)
}

/// The same after an earlier load: what it found sound and what it rested on is not looked at again.
pub fn load_after(
    sources: &[Source<'_>],
    (surface, names): (&Surface, &KnownNames<'_>),
    earlier: &Known,
    spread: Spread,
) -> Result<Loaded, Diagnostics> {
    let (parsed, contents) = source::parse_after(sources, &earlier.contents, spread)?;
    let texts: AHashMap<&str, &str> = sources.iter().map(|source| (source.file, source.text)).collect();
    let mut scopes = Scopes::default();
    let covered: Vec<Arc<Columns>> = parsed.iter().map(|rule| scopes.columns(&rule.scope, surface)).collect();
    let calendars = calendars(names);
    let pairs: Vec<(&Parsed, &Columns)> = parsed.iter().zip(covered.iter().map(|covered| &**covered)).collect();
    let judged = spread.map(&pairs, |(rule, covered)| {
        let text = texts.get(&*rule.file).copied().unwrap_or_default();
        let under = under(rule, covered, surface, &calendars);
        judge(rule, covered, Place { surface, names, text }, (under, earlier))
    });
    let mut findings = Diagnostics::new();
    let mut sound: Vec<((&Parsed, &Columns), Judged)> = Vec::with_capacity(pairs.len());
    for (pair, judged) in pairs.into_iter().zip(judged) {
        match judged {
            Ok(judged) => sound.push((pair, judged)),
            Err(wrong) => findings.extend(wrong),
        }
    }
    let new: Vec<(&Parsed, &Columns)> =
        sound.iter().filter(|(_, judged)| judged.warnings.is_none()).map(|(pair, _)| *pair).collect();
    let passed = quick::passing(&new, surface, spread);
    let doubtful: Vec<(&Parsed, &Columns)> =
        new.into_iter().filter(|(rule, _)| !passed.contains(&rule.number)).collect();
    let mut validated = validate(&doubtful, surface, &texts)?;
    for ((rule, covered), _) in &sound {
        if !validated.refused.contains(&rule.number) {
            findings.extend(check::covers_nothing(rule, covered));
        }
    }
    findings.append(&mut validated.errors);
    if !findings.is_empty() {
        findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        return Err(findings);
    }
    let mut known = Known { contents, sound: AHashMap::with_capacity(sound.len()) };
    let mut warnings = Diagnostics::new();
    for ((rule, _), judged) in sound {
        let own = judged.warnings.unwrap_or_else(|| from_first_line(validated.warnings.remove(&rule.number), rule));
        warnings.extend(own.iter().map(|finding| in_place(finding, rule)));
        known.sound.insert(rule.ident, Sound { under: judged.under, warnings: own });
    }
    drop(scopes);
    let rules = parsed
        .into_iter()
        .zip(covered)
        .map(|(parsed, covered)| Rule { columns: Arc::clone(&covered.matching), parsed });
    let rules: Vec<Rule> = rules.collect();
    warnings.extend(table_warnings(&rules, surface, &texts));
    Ok(Loaded { rules, warnings, known })
}

/// What is known of a rule that passed the checks: what these looked at, and the validator's warnings if it need not be asked.
struct Judged {
    under: Shape,
    warnings: Option<Arc<[Diagnostic]>>,
}

/// Checks a rule, unless an earlier load found it sound under the same.
fn judge(
    rule: &Parsed,
    covered: &Columns,
    place: Place<'_>,
    (under, earlier): (Shape, &Known),
) -> Result<Judged, Diagnostics> {
    let known = earlier.sound.get(&rule.ident).filter(|sound| sound.under == under);
    // Whether the names exist is asked every time: they come and go without touching what a rule covers.
    if let Some(sound) = known.filter(|_| check::names(rule, place).is_empty()) {
        return Ok(Judged { under, warnings: Some(Arc::clone(&sound.warnings)) });
    }
    let mut wrong = check::rule(rule, covered, place);
    wrong.extend(oblige::findings(rule, covered, place));
    wrong.extend(output::findings(rule, covered, place));
    if wrong.is_empty() { Ok(Judged { under, warnings: None }) } else { Err(wrong) }
}

/// Names all that a rule's checks and its validation look at beside its content and the names in it: what the columns that it covers offer; every
/// column, where it could be validated against more; the calendars, where it reads them.
fn under(rule: &Parsed, covered: &Columns, surface: &Surface, calendars: &Shape) -> Shape {
    let more = rule.reads.names_actions || rule.scope.form == Form::Other;
    let timed = rule.reads.facts.contains(Fact::Calendars);
    let whole = if more { covered.shapes.of_both(&surface.whole()) } else { covered.shapes };
    if timed { whole.of_both(calendars) } else { whole }
}

/// Names the calendars that rules can name.
fn calendars(names: &KnownNames<'_>) -> Shape {
    let mut all: Vec<&str> = names.calendars.iter().copied().collect();
    all.sort_unstable();
    let mut digest = Digest::default();
    ("calendars", all).hash(&mut digest);
    digest.shape()
}

/// A rule's warnings, wherever it stands.
fn from_first_line(warnings: Option<Diagnostics>, rule: &Parsed) -> Arc<[Diagnostic]> {
    let moved =
        |finding: Diagnostic| Diagnostic { line: finding.line.map(|line| line - rule.line.min(line)), ..finding };
    warnings.unwrap_or_default().into_iter().map(moved).collect()
}

/// A warning where the rule stands now.
fn in_place(finding: &Diagnostic, rule: &Parsed) -> Diagnostic {
    let line = finding.line.map(|line| line.saturating_add(rule.line));
    Diagnostic { file: (*rule.file).to_owned(), line, ..finding.clone() }
}

/// Rules that only forbid tables: a name that hides the table, such as a view's, passes them.
fn table_warnings(rules: &[Rule], surface: &Surface, texts: &AHashMap<&str, &str>) -> Diagnostics {
    let sql = |column: &u32| surface.columns.get(*column as usize).is_some_and(|column| column.sql.is_some());
    let reads_tables = |rule: &Parsed| rule.reads.sought.iter().any(|sought| &*sought.set == "sql.tables");
    let forbids = rules.iter().filter(|rule| rule.parsed.effect == Effect::Forbid && reads_tables(&rule.parsed));
    let listing = |rule: &&Rule| rule.parsed.effect == Effect::Permit && rule.parsed.reads.lists_tables;
    let bound: AHashSet<u32> = rules.iter().filter(listing).flat_map(|rule| rule.columns.iter().copied()).collect();
    let unbound = forbids.filter(|rule| rule.columns.iter().any(|column| sql(column) && !bound.contains(column)));
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
    /// By rule.
    warnings: AHashMap<u32, Diagnostics>,
    /// The numbers of the rules with errors.
    refused: AHashSet<u32>,
}

/// Cedar's strict validation. A rule is validated against the actions that its scope names and no others: the validator's cost is rules × actions.
fn validate(
    doubtful: &[(&Parsed, &Columns)],
    surface: &Surface,
    texts: &AHashMap<&str, &str>,
) -> Result<Validated, Diagnostics> {
    let mut groups: BTreeMap<(Stage, Option<&[u32]>), Vec<&Parsed>> = BTreeMap::new();
    for (rule, covered) in doubtful {
        let scope = if rule.reads.names_actions { None } else { covered.by_action.as_deref() };
        let stage = if rule.reads.is_over_results() { Stage::Result } else { Stage::Request };
        groups.entry((stage, scope)).or_default().push(rule);
    }
    let mut validated = Validated::default();
    for ((stage, scope), rules) in groups {
        let schema = schema::build_at(stage, surface, scope, "catalogues").map_err(|finding| vec![finding])?;
        let mut set = PolicySet::new();
        for rule in &rules {
            if set.add(rule.numbered()).is_err() {
                return Err(vec![Diagnostic::error(&*rule.file, Some(rule.line), "this rule's number is taken")]);
            }
        }
        let by_number: AHashMap<String, &Parsed> = rules.iter().map(|rule| (rule.number.to_string(), *rule)).collect();
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let mut found: Vec<(&Parsed, Rank, Diagnostic)> = Vec::new();
        for error in result.validation_errors() {
            if let Some(rule) = by_number.get(&error.policy_id().to_string()) {
                let text = texts.get(&*rule.file).copied().unwrap_or_default();
                found.push((rule, Rank::of(error), mistake(&DetailedError::from(error), rule, text)));
            }
        }
        for warning in result.validation_warnings() {
            if let Some(rule) = by_number.get(&warning.policy_id().to_string()) {
                let text = texts.get(&*rule.file).copied().unwrap_or_default();
                found.push((rule, Rank::of_warning(warning), warned(warning, rule, text)));
            }
        }
        // The validator keeps no order of its own.
        let key = |(rule, rank, finding): &(&Parsed, Rank, Diagnostic)| {
            (rule.number, *rank, finding.line, finding.message.clone(), finding.help.clone())
        };
        found.sort_by_cached_key(key);
        found.into_iter().for_each(|(rule, _, finding)| validated.add(finding, rule));
    }
    Ok(validated)
}

/// Which of several findings tells most: a misspelt name explains what follows from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Type,
    Action,
    Condition,
    Scope,
    Never,
    Spelling,
}

impl Rank {
    fn of(error: &ValidationError) -> Self {
        match error {
            ValidationError::UnrecognizedEntityType(_) => Self::Type,
            ValidationError::UnrecognizedActionId(_) => Self::Action,
            _ => Self::Condition,
        }
    }

    fn of_warning(warning: &ValidationWarning) -> Self {
        match warning {
            ValidationWarning::InvalidActionApplication(_) => Self::Scope,
            ValidationWarning::ImpossiblePolicy(_) => Self::Never,
            _ => Self::Spelling,
        }
    }
}

impl Validated {
    /// The validator repeats a finding for every action a rule covers; the first tells.
    fn add(&mut self, finding: Diagnostic, rule: &Parsed) {
        let findings = match finding.severity {
            Severity::Error => {
                self.refused.insert(rule.number);
                &mut self.errors
            }
            Severity::Warning => self.warnings.entry(rule.number).or_default(),
        };
        if findings.last().is_none_or(|last| (&last.file, last.line) != (&finding.file, finding.line)) {
            findings.push(finding);
        }
    }
}

fn mistake(error: &DetailedError, rule: &Parsed, text: &str) -> Diagnostic {
    let line = error.source_locations.first().map_or(rule.line, |label| line_of(text, rule.start + label.loc.start));
    let prefix = format!("for policy `{}`", rule.number);
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

/// The rules that pass by their conditions, and those of which the validator has nothing to say as they are written.
#[cfg(test)]
pub(super) fn passing_and_valid(
    parsed: &[Parsed],
    surface: &Surface,
    names: &KnownNames<'_>,
) -> (AHashSet<u32>, AHashSet<u32>) {
    let mut scopes = Scopes::default();
    let covered: Vec<Arc<Columns>> = parsed.iter().map(|rule| scopes.columns(&rule.scope, surface)).collect();
    let pairs: Vec<(&Parsed, &Columns)> = parsed.iter().zip(covered.iter().map(|covered| &**covered)).collect();
    let named = |pair: &&(&Parsed, &Columns)| check::names(pair.0, Place { surface, names, text: "" }).is_empty();
    let pairs: Vec<(&Parsed, &Columns)> = pairs.iter().filter(named).copied().collect();
    let validated = validate(&pairs, surface, &AHashMap::new()).unwrap_or_default();
    let valid = |number: &u32| !validated.refused.contains(number) && !validated.warnings.contains_key(number);
    let numbers = pairs.iter().map(|(rule, _)| rule.number);
    (quick::passing(&pairs, surface, Spread::ALONE), numbers.filter(valid).collect())
}
