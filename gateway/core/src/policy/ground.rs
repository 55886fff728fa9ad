//! Holds the rules that something is to be proven of. In: rules, reviewed tools, the registry. Out: the rules as loaded, and engines that decide by them. Never here: IO, solvers.

use cedar_policy::{Effect, PolicySet};

use super::calendar::Calendars;
use super::check::KnownNames;
use super::engine::{Engine, Inputs};
use super::index::AgentSource;
use super::load::{self, Rule};
use super::source::Source;
use super::surface::Surface;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// What proofs are about: one gateway's servers, agents and rules.
pub struct Ground<'a> {
    inputs: Inputs<'a>,
    /// All that can be asked.
    pub surface: Surface,
    names: KnownNames<'a>,
    /// The rules that are to be proven.
    pub book: Book<'a>,
}

/// One set of rules over the same servers and agents.
pub struct Book<'a> {
    /// Its files.
    pub sources: Vec<Source<'a>>,
    /// Those that decide requests, as loaded.
    pub rules: Vec<Rule>,
    /// The same for Cedar, each under its position as id.
    pub set: PolicySet,
    /// What decides by them.
    pub engine: Engine,
}

impl<'a> Ground<'a> {
    /// Loads the rules of `inputs`.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn build(inputs: Inputs<'a>) -> Result<Self, Diagnostics> {
        let servers: Vec<_> = inputs.servers.iter().map(|(server, _)| *server).collect();
        let surface = Surface::build(&servers, inputs.settings_file)?;
        let mut names = KnownNames::default();
        for agent in inputs.agents {
            names.agents.insert(agent.id);
            names.groups.extend(&agent.groups);
        }
        names.calendars.extend(inputs.calendars.names());
        let book = book(inputs, &surface, &names)?;
        Ok(Self { inputs, surface, names, book })
    }

    /// Loads other rules over the same servers and agents.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn other<'s>(&'s self, sources: &'s [Source<'s>]) -> Result<Book<'s>, Diagnostics> {
        book(Inputs { sources, ..self.inputs }, &self.surface, &self.names)
    }

    /// Loads the permits that name the calls of an invariant; they pass the same checks as rules.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn permits(&self, file: &str, text: &str) -> Result<Vec<Rule>, Diagnostics> {
        let rules = load::load(&[Source { file, text }], &self.surface, &self.names)?.rules;
        let mut findings: Diagnostics = rules
            .iter()
            .filter(|rule| rule.parsed.effect == Effect::Forbid)
            .map(|rule| {
                Diagnostic::error(file, Some(rule.parsed.line), "an invariant is written as `permit`, not as `forbid`")
                    .help("it names the calls that are meant and permits none of them")
            })
            .collect();
        if rules.is_empty() {
            findings
                .push(Diagnostic::error(file, None, "an invariant names no calls").help("write them as a `permit`"));
        }
        if findings.is_empty() { Ok(rules) } else { Err(findings) }
    }

    /// The registry's agents.
    pub fn agents(&self) -> &'a [AgentSource<'a>] {
        self.inputs.agents
    }

    /// The calendars.
    pub fn calendars(&self) -> &'a Calendars {
        self.inputs.calendars
    }

    /// Whether some agent is in a group of this name, which rules can name only then.
    pub fn knows_group(&self, group: &str) -> bool {
        self.names.groups.contains(group)
    }

    /// An engine for the rules of `book` in a registry that holds `agent` as well, in the place of one of its name if there is one; and its position.
    pub fn trial(&self, book: &Book<'_>, agent: &AgentSource<'_>) -> Option<(Engine, usize)> {
        let mut agents: Vec<AgentSource<'_>> = self.inputs.agents.to_vec();
        let position = agents.iter().position(|known| known.id == agent.id).unwrap_or(agents.len());
        // The groups of one who is replaced must stay known, or rules that name them would not load.
        let replaced = agents.get(position).cloned();
        match agents.get_mut(position) {
            Some(known) => *known = agent.clone(),
            None => agents.push(agent.clone()),
        }
        agents.extend(replaced.map(|known| AgentSource { id: REPLACED, ..known }));
        let inputs = Inputs { sources: &book.sources, agents: &agents, ..self.inputs };
        Engine::build(inputs).ok().map(|engine| (engine, position))
    }
}

impl Engine {
    /// The calendars that rules can name.
    pub fn calendars(&self) -> &Calendars {
        &self.calendars
    }
}

/// The id of an agent that gives its place to a trial; no registry allows it.
const REPLACED: &str = "\u{0}replaced";

fn book<'s>(inputs: Inputs<'s>, surface: &Surface, names: &KnownNames<'_>) -> Result<Book<'s>, Diagnostics> {
    let engine = Engine::build(inputs)?;
    let mut rules = load::load(inputs.sources, surface, names)?.rules;
    // A proof is about requests. Rules over results only forbid further, once a call has been made.
    rules.retain(|rule| !rule.parsed.reads.is_over_results());
    let mut set = PolicySet::new();
    for rule in &rules {
        if set.add(rule.parsed.numbered()).is_err() {
            return Err(vec![Diagnostic::error(
                &*rule.parsed.file,
                Some(rule.parsed.line),
                "this rule's number is taken",
            )]);
        }
    }
    Ok(Book { sources: inputs.sources.to_vec(), rules, set, engine })
}
