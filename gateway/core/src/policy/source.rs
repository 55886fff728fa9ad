//! Parses policy files. In: their texts. Out: static policies with ids and places, or findings. Never here: schemas, agents.

use std::sync::Arc;

use ahash::AHashMap;
use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{
    ActionConstraint as PstAction, Clause, PolicyID, PrincipalConstraint as PstPrincipal,
    ResourceConstraint as PstResource, StaticPolicy, Template,
};
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};

use super::reads::Reads;
use crate::diagnostic::{Diagnostic, Diagnostics, line_of};

/// One policy file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As the operator names it.
    pub file: &'a str,
    /// Its whole text.
    pub text: &'a str,
}

/// Bytes of one policy file; larger sets are split over files.
pub const SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Policies of one engine; the goal is that 100,000 are no slower to decide than ten.
pub const POLICIES_MAX: usize = 200_000;

/// One parsed policy.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its `@id`, or `file:line` with the file's name in its folder, so that it does not follow the way the folder was named.
    pub id: Box<str>,
    /// The file it stands in.
    pub file: Arc<str>,
    /// The line it begins on.
    pub line: u32,
    /// Its own text and where in the file that begins, for finer places.
    pub text: Box<str>,
    /// Byte offset of `text` in the file.
    pub start: usize,
    /// Permit or forbid.
    pub effect: Effect,
    /// The policy as written, under its position as id.
    pub policy: Policy,
    /// The same without its scope: what is left to evaluate once the index has matched the scope.
    pub bare: Policy,
    /// Its `when` and `unless`.
    pub clauses: Vec<Clause>,
    /// What these read.
    pub reads: Reads,
    /// Its annotations, `@id` included, sorted by key.
    pub annotations: Vec<(Box<str>, Box<str>)>,
}

impl Parsed {
    /// The line of the first occurrence of `words` in this policy; its first line where they do not occur.
    pub fn line_of(&self, words: &str, file_text: &str) -> u32 {
        self.text.find(words).map_or(self.line, |offset| line_of(file_text, self.start + offset))
    }

    /// The line on which a member of this name is first read, as `.name`, `has name` or `"name"`.
    pub fn line_of_member(&self, name: &str, file_text: &str) -> u32 {
        let spellings = [format!(".{name}"), format!("has {name}"), format!("\"{name}\"")];
        let first = spellings.iter().filter_map(|words| self.text.find(words.as_str())).min();
        first.map_or(self.line, |offset| line_of(file_text, self.start + offset))
    }
}

/// Parses every source; all findings of all files are given at once.
pub fn parse(sources: &[Source<'_>]) -> Result<Vec<Parsed>, Diagnostics> {
    let mut findings = Diagnostics::new();
    let mut parsed: Vec<Parsed> = Vec::new();
    for source in sources {
        parse_file(source, &mut parsed, &mut findings);
    }
    if parsed.len() > POLICIES_MAX {
        findings.push(Diagnostic::error(
            "policies",
            None,
            format!("{} policies, the limit is {POLICIES_MAX}", parsed.len()),
        ));
    }
    unique_ids(&mut parsed, &mut findings);
    if findings.is_empty() { Ok(parsed) } else { Err(findings) }
}

fn parse_file(source: &Source<'_>, parsed: &mut Vec<Parsed>, findings: &mut Diagnostics) {
    if source.text.len() > SOURCE_BYTES_MAX {
        let message = format!("{} bytes of policies in one file, the limit is {SOURCE_BYTES_MAX}", source.text.len());
        findings.push(Diagnostic::error(source.file, None, message).help("split it"));
        return;
    }
    let set: PolicySet = match source.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            findings.extend(
                cedar_policy::ParseErrors::iter(&errors).map(|error| syntax(&DetailedError::from(error), source)),
            );
            return;
        }
    };
    for template in set.templates() {
        let line = template.as_ref().loc().map(|place| line_of(source.text, place.start()));
        let slot = template.slots().next().map_or_else(String::new, ToString::to_string);
        let finding = Diagnostic::error(
            source.file,
            line,
            format!("a rule with the open place `{slot}` is a template, which nothing fills"),
        );
        findings.push(finding.help("write the agent, group or server in its place"));
    }
    let file: Arc<str> = source.file.into();
    let first = parsed.len();
    // Counting lines from the beginning for every rule would take minutes where there are a hundred thousand.
    let breaks: Vec<usize> = source.text.match_indices('\n').map(|(offset, _)| offset).collect();
    for policy in set.policies() {
        let span = policy.as_ref().loc().map_or(0..0, |place| place.start()..place.end());
        let before = breaks.partition_point(|offset| *offset < span.start);
        let line = u32::try_from(before + 1).unwrap_or(u32::MAX);
        match read(policy, (&file, line), source, span) {
            Some(policy) => parsed.push(policy),
            None => findings.push(Diagnostic::error(
                source.file,
                None,
                format!("policy `{}` cannot be taken apart", policy.id()),
            )),
        }
    }
    // The set keeps no order of its own.
    if let Some(own) = parsed.get_mut(first..) {
        own.sort_by_key(|policy| policy.start);
    }
}

fn read(
    policy: &Policy,
    (file, line): (&Arc<str>, u32),
    source: &Source<'_>,
    span: std::ops::Range<usize>,
) -> Option<Parsed> {
    let tree = policy.to_pst().ok()?;
    let body = tree.body();
    let bare = Template::new(PolicyID::from("bare"), body.effect, PstPrincipal::Any, PstAction::Any, PstResource::Any);
    let bare = bare.try_with_clauses(body.clauses().iter().cloned()).ok()?;
    let bare = Policy::from_pst(cedar_policy::pst::Policy::Static(StaticPolicy::try_from(bare).ok()?)).ok()?;
    let mut annotations: Vec<(Box<str>, Box<str>)> =
        policy.annotations().map(|(key, value)| (key.into(), value.into())).collect();
    annotations.sort();
    Some(Parsed {
        id: policy.annotation("id").map_or_else(|| format!("{}:{line}", own_name(file)).into(), Box::from),
        file: Arc::clone(file),
        line,
        text: source.text.get(span.clone())?.into(),
        start: span.start,
        effect: policy.effect(),
        policy: policy.clone(),
        bare,
        clauses: body.clauses().clone(),
        reads: Reads::of(body.clauses()),
        annotations,
    })
}

/// The name of a file in its folder. Rule files lie in one folder, so no two of a set share it.
fn own_name(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, name)| name)
}

/// Refuses an `@id` that occurs twice, tells rules on one line apart, and gives each policy its position as Cedar id.
fn unique_ids(parsed: &mut [Parsed], findings: &mut Diagnostics) {
    let mut seen: AHashMap<Box<str>, (Arc<str>, u32)> = AHashMap::new();
    for (position, rule) in parsed.iter_mut().enumerate() {
        let chosen = rule.annotations.iter().any(|(key, _)| &**key == "id");
        let written = rule.id.clone();
        let mut repeated = 2_u32;
        while let Some((file, line)) = seen.get(&rule.id) {
            if chosen {
                let finding = Diagnostic::error(
                    &*rule.file,
                    Some(rule.line),
                    format!("the id `{written}` is taken by the rule at {file}:{line}"),
                );
                findings.push(finding.help("give each rule an `@id` of its own"));
                break;
            }
            rule.id = format!("{written}#{repeated}").into();
            repeated += 1;
        }
        seen.insert(rule.id.clone(), (Arc::clone(&rule.file), rule.line));
        let id = PolicyId::new(position.to_string());
        rule.policy = rule.policy.new_id(id.clone());
        rule.bare = rule.bare.new_id(id);
    }
}

fn syntax(error: &DetailedError, source: &Source<'_>) -> Diagnostic {
    let place = error.source_locations.first();
    let line = place.map(|label| line_of(source.text, label.loc.start));
    let expected = place.and_then(|label| label.label.as_ref());
    let finding = Diagnostic::error(source.file, line, error.message.clone());
    match error.help.as_ref().or(expected) {
        Some(cure) => finding.help(cure.clone()),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let shown = match parse(&[Source { file: "a.cedar", text }]) {
            Ok(parsed) => {
                parsed.iter().map(|rule| format!("{} {} {}", rule.id, rule.line, rule.effect)).collect::<Vec<_>>()
            }
            Err(findings) => findings.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(shown, expected, "{}", text.trim());
    }

    #[test]
    fn what_cannot_be_parsed_is_refused_with_its_line() {
        check(
            "permit (principal, action, resource);\n\npermit (principal, action);",
            &[
                "a.cedar:3: this policy is missing the `resource` variable in the scope; policy scopes must contain a `principal`, `action`, and `resource` element in that order",
            ],
        );
        check(
            "permit (principal, action, resource)\nwhen { 1 + };",
            &[
                "a.cedar:2: unexpected token `}`; expected `!`, `(`, `-`, `[`, `{`, `false`, identifier, `if`, number, `?principal`, `?resource`, string literal, or `true`",
            ],
        );
        check(
            "permit (principal == ?principal, action, resource);",
            &[
                "a.cedar:1: a rule with the open place `?principal` is a template, which nothing fills; write the agent, group or server in its place",
            ],
        );
    }

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let large = " ".repeat(SOURCE_BYTES_MAX + 1);
        check(&large, &["a.cedar: 16777217 bytes of policies in one file, the limit is 16777216; split it"]);
    }

    #[test]
    fn an_id_is_given_once() {
        let twice =
            "@id(\"x\")\npermit (principal, action, resource);\n@id(\"x\")\nforbid (principal, action, resource);";
        check(twice, &["a.cedar:3: the id `x` is taken by the rule at a.cedar:1; give each rule an `@id` of its own"]);
    }

    #[test]
    fn rules_are_named_by_id_or_place() {
        check("", &[]);
        let text = "// one\npermit (principal, action, resource); permit (principal, action, resource);\n@id(\"office\")\nforbid (principal, action, resource);";
        check(text, &["a.cedar:2 2 permit", "a.cedar:2#2 2 permit", "office 3 forbid"]);
        let elsewhere = parse(&[Source { file: "/etc/portcullis/policies/a.cedar", text }]).unwrap();
        assert_eq!(&*elsewhere[0].id, "a.cedar:2", "the same rule under another path has the same id");
        assert_eq!(&*elsewhere[0].file, "/etc/portcullis/policies/a.cedar");
    }
}
