//! Parses policy files. In: their texts, rules that were read before. Out: static policies with ids and places, or findings. Never here: schemas, agents.
//!
//! A rule means the same wherever it stands, so it is read by itself, and one that was read before is not read again. Where a file cannot be
//! taken apart for certain, or a part of it cannot be read, Cedar reads it as a whole: the findings are always its own.

use std::borrow::Borrow;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{
    ActionConstraint as PstAction, Clause, PolicyID, PrincipalConstraint as PstPrincipal,
    ResourceConstraint as PstResource, StaticPolicy, Template,
};
use cedar_policy::{Effect, EntityUid, Policy, PolicyId, PolicySet};

use super::fold::Bearing;
use super::reads::Reads;
use super::scope::Scope;
use super::split::{Piece, split};
use super::spread::Spread;
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

/// What a rule's own text comes to, wherever it stands. Rules of the same text share it, before and after a change.
#[derive(Debug)]
pub struct Content {
    /// Tells it from every other content of this engine and of those that it came from.
    pub ident: u64,
    /// Its text, from its first token to its `;`.
    pub text: Box<str>,
    /// Permit or forbid.
    pub effect: Effect,
    /// The policy as written, under an id of no meaning.
    pub policy: Policy,
    /// The same without its scope: what is left to evaluate once the index has matched the scope.
    pub bare: Policy,
    /// Whom and what it is about.
    pub scope: Scope,
    /// Every entity that it names, each once, in the order of the text.
    pub entities: Box<[EntityUid]>,
    /// Its `when` and `unless`.
    pub clauses: Vec<Clause>,
    /// What these read.
    pub reads: Reads,
    /// What these look at beside the call.
    pub bearing: Bearing,
    /// Its annotations, `@id` included, sorted by key.
    pub annotations: Vec<(Box<str>, Box<str>)>,
}

/// One parsed policy.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its `@id`, or `file:line` with the file's name in its folder, so that it does not follow the way the folder was named.
    pub id: Box<str>,
    /// The file it stands in.
    pub file: Arc<str>,
    /// The line it begins on.
    pub line: u32,
    /// Byte offset of its text in the file, for finer places.
    pub start: usize,
    /// Its position among all rules.
    pub number: u32,
    /// What its text comes to.
    pub content: Arc<Content>,
}

impl Deref for Parsed {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Parsed {
    /// The policy as written, under its number as id.
    pub fn numbered(&self) -> Policy {
        self.policy.new_id(PolicyId::new(self.number.to_string()))
    }

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

impl Content {
    /// Reads one rule that stands alone; none where Cedar does not read it as one rule without open places.
    fn read(text: &str) -> Option<Self> {
        let policy = Policy::parse(Some(PolicyId::new("rule")), text).ok()?;
        if policy.as_ref().loc().map(|place| place.start()..place.end()) != Some(0..text.len()) {
            return None;
        }
        let tree = policy.to_pst().ok()?;
        let body = tree.body();
        let bare =
            Template::new(PolicyID::from("bare"), body.effect, PstPrincipal::Any, PstAction::Any, PstResource::Any);
        let bare = bare.try_with_clauses(body.clauses().iter().cloned()).ok()?;
        let bare = Policy::from_pst(cedar_policy::pst::Policy::Static(StaticPolicy::try_from(bare).ok()?)).ok()?;
        let mut annotations: Vec<(Box<str>, Box<str>)> =
            policy.annotations().map(|(key, value)| (key.into(), value.into())).collect();
        annotations.sort();
        let mut seen = AHashSet::new();
        Some(Self {
            ident: 0,
            text: text.into(),
            effect: policy.effect(),
            scope: Scope::of(&policy),
            entities: policy.entity_literals().into_iter().filter(|uid| seen.insert(uid.clone())).collect(),
            clauses: body.clauses().clone(),
            reads: Reads::of(body.clauses()),
            bearing: Bearing::of(body.clauses()),
            bare,
            policy,
            annotations,
        })
    }
}

/// The contents of all rules, by their texts.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    known: AHashSet<ByText>,
    /// Above every ident that was ever given, here or before.
    next: u64,
}

#[derive(Clone, Debug)]
struct ByText(Arc<Content>);

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<str>::borrow(self).hash(state);
    }
}

impl Contents {
    fn find(&self, text: &str) -> Option<&Arc<Content>> {
        self.known.get(text).map(|ByText(content)| content)
    }

    /// Reads those of `texts` that are not known; what cannot be read stays unknown.
    fn learn<'t>(&mut self, texts: impl Iterator<Item = &'t str>, earlier: &Self, spread: Spread) {
        let mut unread: Vec<&str> = Vec::new();
        let mut wanted: AHashSet<&str> = AHashSet::new();
        for text in texts {
            match earlier.known.get(text) {
                Some(known) => {
                    self.known.insert(known.clone());
                }
                None if self.known.contains(text) => {}
                None if wanted.insert(text) => unread.push(text),
                None => {}
            }
        }
        for content in spread.map(&unread, |text| Content::read(text)).into_iter().flatten() {
            self.known.insert(ByText(Arc::new(Content { ident: self.next, ..content })));
            self.next += 1;
        }
    }
}

/// Parses every source; all findings of all files are given at once.
pub fn parse(sources: &[Source<'_>]) -> Result<Vec<Parsed>, Diagnostics> {
    parse_after(sources, &Contents::default(), Spread::ALONE).map(|(parsed, _)| parsed)
}

/// The same, where some rules were read before; with the contents of all rules of these sources and no others.
pub fn parse_after(
    sources: &[Source<'_>],
    earlier: &Contents,
    spread: Spread,
) -> Result<(Vec<Parsed>, Contents), Diagnostics> {
    let mut findings = Diagnostics::new();
    let mut parsed: Vec<Parsed> = Vec::new();
    let mut contents = Contents { known: AHashSet::with_capacity(earlier.known.len()), next: earlier.next };
    let sound = sources.iter().filter(|source| !too_large(source, &mut findings));
    let files: Vec<(&Source<'_>, Option<Vec<Piece>>)> = sound.map(|source| (source, split(source.text))).collect();
    let pieces = files.iter().flat_map(|(source, pieces)| pieces.iter().flatten().map(move |piece| (source, piece)));
    let texts = pieces.map(|(source, piece)| source.text.get(piece.span.clone()).unwrap_or_default());
    contents.learn(texts, earlier, spread);
    for (source, pieces) in files {
        let before = parsed.len();
        if pieces.is_some_and(|pieces| place(source, &pieces, &contents, &mut parsed).is_ok()) {
            continue;
        }
        parsed.truncate(before);
        let Some(pieces) = whole(source, &mut findings) else { continue };
        let texts = pieces.iter().filter_map(|piece| source.text.get(piece.span.clone()));
        contents.learn(texts, earlier, spread);
        if let Err(Unread(line)) = place(source, &pieces, &contents, &mut parsed) {
            findings.push(Diagnostic::error(source.file, Some(line), "this rule cannot be taken apart"));
        }
    }
    if parsed.len() > POLICIES_MAX {
        findings.push(Diagnostic::error(
            "policies",
            None,
            format!("{} policies, the limit is {POLICIES_MAX}", parsed.len()),
        ));
    }
    unique_ids(&mut parsed, &mut findings);
    if findings.is_empty() { Ok((parsed, contents)) } else { Err(findings) }
}

fn too_large(source: &Source<'_>, findings: &mut Diagnostics) -> bool {
    let large = source.text.len() > SOURCE_BYTES_MAX;
    if large {
        let message = format!("{} bytes of policies in one file, the limit is {SOURCE_BYTES_MAX}", source.text.len());
        findings.push(Diagnostic::error(source.file, None, message).help("split it"));
    }
    large
}

/// The line of a rule that could not be read by itself.
struct Unread(u32);

/// Gives the rules of one file their places.
fn place(source: &Source<'_>, pieces: &[Piece], contents: &Contents, parsed: &mut Vec<Parsed>) -> Result<(), Unread> {
    let file: Arc<str> = source.file.into();
    let mut unnamed = String::new();
    for piece in pieces {
        let content = source.text.get(piece.span.clone()).and_then(|text| contents.find(text));
        let content = Arc::clone(content.ok_or(Unread(piece.line))?);
        let id = match content.annotations.iter().find(|(key, _)| &**key == "id") {
            Some((_, chosen)) => chosen.clone(),
            None => {
                unnamed.clear();
                // Writing to a text does not fail.
                let _ = write!(unnamed, "{}:{}", own_name(&file), piece.line);
                unnamed.as_str().into()
            }
        };
        parsed.push(Parsed {
            id,
            file: Arc::clone(&file),
            line: piece.line,
            start: piece.span.start,
            number: 0,
            content,
        });
    }
    Ok(())
}

/// Where the rules of a file stand, as Cedar reads it as a whole.
fn whole(source: &Source<'_>, findings: &mut Diagnostics) -> Option<Vec<Piece>> {
    let set: PolicySet = match source.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            findings.extend(
                cedar_policy::ParseErrors::iter(&errors).map(|error| syntax(&DetailedError::from(error), source)),
            );
            return None;
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
    // Counting lines from the beginning for every rule would take minutes where there are a hundred thousand.
    let breaks: Vec<usize> = source.text.match_indices('\n').map(|(offset, _)| offset).collect();
    let piece = |policy: &Policy| {
        let span = policy.as_ref().loc().map_or(0..0, |place| place.start()..place.end());
        let before = breaks.partition_point(|offset| *offset < span.start);
        Piece { span, line: u32::try_from(before + 1).unwrap_or(u32::MAX) }
    };
    // The set keeps no order of its own.
    let mut pieces: Vec<Piece> = set.policies().map(piece).collect();
    pieces.sort_by_key(|piece| piece.span.start);
    Some(pieces)
}

/// The name of a file in its folder. Rule files lie in one folder, so no two of a set share it.
fn own_name(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, name)| name)
}

/// Refuses an `@id` that occurs twice, tells rules on one line apart, and gives each policy its position as number.
fn unique_ids(parsed: &mut [Parsed], findings: &mut Diagnostics) {
    for (number, rule) in (0_u32..).zip(parsed.iter_mut()) {
        rule.number = number;
    }
    let ids: AHashSet<&str> = parsed.iter().map(|rule| &*rule.id).collect();
    if ids.len() == parsed.len() {
        return;
    }
    let mut seen: AHashMap<Box<str>, (Arc<str>, u32)> = AHashMap::with_capacity(parsed.len());
    for rule in parsed {
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
