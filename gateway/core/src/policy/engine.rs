//! Decides. In: who, which server, what is asked, the facts of the call. Out: a permit or a denial. Never here: IO, clocks, logs.

mod build;

use std::sync::{Arc, OnceLock};

use cedar_policy::{Effect, EntityUid, PolicyId, PolicySet};

use self::build::Kept;
use super::calendar::Calendars;
use super::call::Call;
use super::catalogue::{Catalogue, ToolIndex};
use super::cell::{Cell, Program, Row, Verdict, Way};
use super::drift::{self, Drift, Live};
use super::facts::{Facts, Standing, Subjects};
use super::index::{AgentSource, Index};
use super::lower::Unlowered;
use super::oblige;
use super::pin::Pin;
use super::result;
use super::source::{Content, Source};
use super::surface::{ServerIndex, ServerSource, Subject, Surface};
use super::types::Undeclared;
use super::verdict::{Denial, DenialCause, Evaluator, Permit, Visibility};
use super::who::Who;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// The handshake, `ping`, the lists.
    Connect,
    /// Calling a tool.
    Tool(ToolIndex),
    /// Reading or subscribing to a resource.
    ResourceRead {
        /// Its URI as the request spells it.
        uri: &'a str,
    },
    /// Getting a prompt.
    PromptGet {
        /// Its name.
        name: &'a str,
    },
    /// Completing an argument of a prompt.
    CompletePrompt {
        /// Its name.
        name: &'a str,
    },
    /// Completing a variable of a resource template.
    CompleteResource {
        /// The template.
        uri: &'a str,
    },
    /// Asking for, feeding or cancelling a task.
    Task {
        /// The tool whose call made it; none where several are meant, as in `tasks/list`.
        tool: Option<ToolIndex>,
    },
    /// The upstream asks the agent's model.
    Sample,
    /// The upstream asks the agent's user.
    Elicit,
    /// The upstream asks for the agent's folders.
    Roots,
    /// A method beyond MCP.
    Extension {
        /// The method.
        method: &'a str,
    },
}

impl Action<'_> {
    /// What a permit for it holds for; an extension's number is not known here and does not matter to a permit.
    fn subject(self) -> Subject {
        match self {
            Self::Connect => Subject::Connect,
            Self::Tool(tool) => Subject::Tool(tool),
            Self::ResourceRead { .. } => Subject::ResourceRead,
            Self::PromptGet { .. } => Subject::PromptGet,
            Self::CompletePrompt { .. } | Self::CompleteResource { .. } => Subject::Complete,
            Self::Task { .. } => Subject::Task,
            Self::Sample => Subject::Sample,
            Self::Elicit => Subject::Elicit,
            Self::Roots => Subject::Roots,
            Self::Extension { .. } => Subject::Extension(u16::MAX),
        }
    }
}

/// All that an engine is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The policy files.
    pub sources: &'a [Source<'a>],
    /// The servers, by [`ServerIndex`], each with the marks of its drifted tools.
    pub servers: &'a [(ServerSource<'a>, Arc<Drift>)],
    /// The registry's agents, by position.
    pub agents: &'a [AgentSource<'a>],
    /// The calendars that rules can name.
    pub calendars: &'a Calendars,
    /// The configuration file, for findings about servers and tools.
    pub settings_file: &'a str,
}

/// Where a rule stands, for audit records and explanations.
#[derive(Clone, Debug)]
struct Origin {
    id: Box<str>,
    file: Arc<str>,
    line: u32,
    content: Arc<Content>,
}

/// A rule that is left to Cedar's evaluator somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow<'e> {
    /// Its number.
    pub rule: u32,
    /// Its `@id`, or `file:line`.
    pub id: &'e str,
    /// The file it stands in.
    pub file: &'e str,
    /// The line it begins on.
    pub line: u32,
    /// Why.
    pub reason: Unlowered,
}

/// A column made ready for requests.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) action: EntityUid,
    pub(super) groups: Box<[EntityUid]>,
    pub(super) resource: EntityUid,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) drift: Arc<Drift>,
    catalogue: Catalogue,
}

/// The rules of one snapshot, ready to decide. Reading it takes no lock.
#[derive(Debug)]
pub struct Engine {
    pub(super) surface: Surface,
    pub(super) columns: Vec<Prepared>,
    pub(super) servers: Vec<Server>,
    /// By column, what the tool's schema says of arguments that it does not declare.
    pub(super) undeclared: Box<[Undeclared]>,
    /// Every rule with its scope, for [`Engine::decide_by_cedar`].
    whole: OnceLock<PolicySet>,
    pub(super) calendars: Calendars,
    pub(super) agents: Vec<Standing>,
    pub(super) index: Index,
    origins: Vec<Origin>,
    pub(super) obligations: oblige::Table,
    pub(super) results: result::Table,
    warnings: Diagnostics,
    hash: [u8; 32],
    kept: Kept,
}

impl Engine {
    /// May `who` do this on `server`? The only maker of a [`Permit`], with its double below. Allocates nothing where every rule has a program.
    pub fn decide(
        &self,
        who: &Who<'_>,
        server: ServerIndex,
        action: Action<'_>,
        facts: &Facts<'_>,
    ) -> Result<Permit, Denial> {
        self.decided(Evaluator::Tables, (who, server), action, facts)
    }

    /// The same, worked out by Cedar's evaluator over all rules of the snapshot: neither our index nor our programs bear on it. For tests and for a
    /// watch on live decisions; it takes time in proportion to the rules.
    pub fn decide_by_cedar(
        &self,
        who: &Who<'_>,
        server: ServerIndex,
        action: Action<'_>,
        facts: &Facts<'_>,
    ) -> Result<Permit, Denial> {
        self.decided(Evaluator::Cedar, (who, server), action, facts)
    }

    fn decided(
        &self,
        evaluator: Evaluator,
        (who, server): (&Who<'_>, ServerIndex),
        action: Action<'_>,
        facts: &Facts<'_>,
    ) -> Result<Permit, Denial> {
        let call =
            Call { engine: self, evaluator, standing: self.standing(who)?, row: self.row(who)?, who, server, facts };
        match action {
            Action::Connect => call.connect(),
            Action::Tool(tool) => call.tool(tool),
            Action::ResourceRead { uri } => call.plain(Subject::ResourceRead, Some(uri), None),
            Action::PromptGet { name } => call.plain(Subject::PromptGet, None, Some(name)),
            Action::CompletePrompt { name } => call.complete(Subject::PromptGet, None, Some(name)),
            Action::CompleteResource { uri } => call.complete(Subject::ResourceRead, Some(uri), None),
            Action::Task { tool } => call.task(tool),
            Action::Sample => call.plain(Subject::Sample, None, None),
            Action::Elicit => call.plain(Subject::Elicit, None, None),
            Action::Roots => call.plain(Subject::Roots, None, None),
            Action::Extension { method } => call.extension(method),
        }
    }

    /// Every rule over requests as it was written, as one set.
    pub(super) fn whole(&self) -> &PolicySet {
        self.whole.get_or_init(|| {
            let requests = (0..).zip(&self.origins).filter(|(_, origin)| !origin.content.reads.is_over_results());
            self.some(requests.map(|(rule, _)| rule))
        })
    }

    /// Some rules as they were written.
    pub(super) fn some(&self, rules: impl Iterator<Item = u32>) -> PolicySet {
        let mut set = PolicySet::new();
        for (rule, origin) in rules.filter_map(|rule| Some((rule, self.origins.get(rule as usize)?))) {
            // Each has its position as id, so none is refused.
            let _ = set.add(origin.content.policy.new_id(PolicyId::new(rule.to_string())));
        }
        set
    }

    /// Whether a rule permits; none where there is no such rule.
    pub(super) fn effect(&self, rule: u32) -> Option<Effect> {
        self.origins.get(rule as usize).map(|origin| origin.content.effect)
    }

    /// The rules that are left to Cedar's evaluator where they apply, with all rules beside them there.
    pub fn slow(&self) -> impl Iterator<Item = Slow<'_>> {
        let results = (0..).zip(&self.origins).filter(|(_, origin)| origin.content.reads.is_over_results());
        let results = results.map(|(rule, _)| (rule, Unlowered::Result));
        self.index.slow.iter().copied().chain(results).filter_map(|(rule, reason)| {
            let origin = self.origins.get(rule as usize)?;
            Some(Slow { rule, id: &origin.id, file: &origin.file, line: origin.line, reason })
        })
    }

    /// What is evaluated when `who` calls a tool, and whom it is evaluated about; none where nothing has to be.
    pub fn program<'e>(
        &'e self,
        who: &'e Who<'e>,
        server: ServerIndex,
        tool: ToolIndex,
    ) -> Option<(&'e Program, Subjects<'e>)> {
        let standing = self.standing(who).ok()?;
        let cell = self.cell(self.row(who).ok()?, self.surface.column(server, Subject::Tool(tool))?)?;
        match &cell.verdict {
            Verdict::Program(program) => {
                Some((program, Subjects { standing, who, uri: None, name: None, calendars: &self.calendars }))
            }
            Verdict::NoRule | Verdict::Forbidden(_) | Verdict::Allowed(_) => None,
        }
    }

    /// How many distinct cells are decided by Cedar's evaluator.
    pub fn slow_cells(&self) -> usize {
        let slow = |cell: &&Cell| matches!(&cell.verdict, Verdict::Program(Program { way: Way::Cedar(_), .. }));
        self.index.cells.iter().filter(slow).count()
    }

    /// On a route that only observes, what policy denies passes and is recorded as denied. What is not reviewed, not known or not whom it
    /// claims to be stays refused.
    pub fn observe(&self, denial: Denial, server: ServerIndex, action: Action<'_>) -> Result<Permit, Denial> {
        match denial.cause() {
            DenialCause::NoRule
            | DenialCause::Forbidden
            | DenialCause::RuleError
            | DenialCause::ArgumentUnreadable
            | DenialCause::ArgumentUndeclared
            | DenialCause::ClaimUnreadable
            | DenialCause::SqlRefused(_)
            | DenialCause::CalendarsEnded
            | DenialCause::RateExceeded
            | DenialCause::BudgetExceeded
            | DenialCause::AmountUnreadable
            | DenialCause::LimitsFull
            | DenialCause::Withheld(_) => Ok(Permit::in_spite(server, action.subject(), denial)),
            DenialCause::UnknownTool
            | DenialCause::Drifted
            | DenialCause::UnknownMethod
            | DenialCause::UnknownAgent
            | DenialCause::UnknownServer => Err(denial),
        }
    }

    /// The name of a reviewed tool.
    pub fn tool_name(&self, server: ServerIndex, tool: ToolIndex) -> Option<&str> {
        Some(&self.servers.get(usize::from(server.0))?.catalogue.tool(tool)?.name)
    }

    /// Could some call of this tool by `who` be permitted? A look-up, decided at load; a drifted tool is hidden.
    pub fn lists(&self, who: &Who<'_>, server: ServerIndex, tool: ToolIndex) -> Visibility {
        let seen = || {
            let row = self.standing(who).and_then(|_| self.row(who)).ok()?;
            let reviewed = self.servers.get(usize::from(server.0))?.drift.of(tool) == Live::AsReviewed;
            reviewed.then(|| self.cell(row, self.surface.column(server, Subject::Tool(tool))?)).flatten()
        };
        seen().map_or(Visibility::Hidden, |cell| cell.visibility)
    }

    /// Is this resource listed to `who`? It is where reading it is permitted now; its URI, the caller and the time are all known.
    pub fn lists_resource(&self, who: &Who<'_>, server: ServerIndex, uri: &str, facts: &Facts<'_>) -> Visibility {
        visible(self.decide(who, server, Action::ResourceRead { uri }, facts))
    }

    /// Is this prompt listed to `who`? It is where getting it is permitted now.
    pub fn lists_prompt(&self, who: &Who<'_>, server: ServerIndex, name: &str, facts: &Facts<'_>) -> Visibility {
        visible(self.decide(who, server, Action::PromptGet { name }, facts))
    }

    /// The tool of exactly this name; a name that nobody reviewed is a denial.
    pub fn tool(&self, server: ServerIndex, name: &str) -> Result<ToolIndex, Denial> {
        let server = self.servers.get(usize::from(server.0)).ok_or_else(|| Denial::new(DenialCause::UnknownServer))?;
        server.catalogue.find(name).ok_or_else(|| Denial::new(DenialCause::UnknownTool))
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<ServerIndex> {
        self.surface.server(name)
    }

    /// The action id of a permit or of a call, such as `crm.read_table`.
    pub fn label(&self, server: ServerIndex, subject: Subject) -> Option<&str> {
        let column = self.surface.columns.get(self.surface.column(server, subject)? as usize)?;
        Some(&column.action)
    }

    /// Compares the raw bytes of a live `tools[]` element with the reviewed pin, and remembers the answer.
    pub fn pin_matches(&self, server: ServerIndex, tool: ToolIndex, element: &[u8]) -> Live {
        let Some(server) = self.servers.get(usize::from(server.0)) else { return Live::Drifted };
        let Some(reviewed) = server.catalogue.tool(tool) else { return Live::Drifted };
        let live = drift::compare(reviewed.pin, element);
        server.drift.observe(tool, live);
        live
    }

    /// What the last look at a tool's live definition showed.
    pub fn drift(&self, server: ServerIndex, tool: ToolIndex) -> Live {
        self.servers.get(usize::from(server.0)).map_or(Live::Drifted, |server| server.drift.of(tool))
    }

    /// The reviewed pin of a tool.
    pub fn pin(&self, server: ServerIndex, tool: ToolIndex) -> Option<Pin> {
        Some(self.servers.get(usize::from(server.0))?.catalogue.tool(tool)?.pin)
    }

    /// The ids of all rules, by number.
    pub fn policy_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.origins.iter().map(|origin| &*origin.id)
    }

    /// The id of a rule: its `@id`, or `file:line` within the folder of rules.
    pub fn policy_id(&self, rule: u32) -> Option<&str> {
        self.origins.get(rule as usize).map(|origin| &*origin.id)
    }

    /// File and line of a rule.
    pub fn place(&self, rule: u32) -> Option<(&str, u32)> {
        self.origins.get(rule as usize).map(|origin| (&*origin.file, origin.line))
    }

    /// A rule's annotation, such as the `ann` of `@owner("ann")`.
    pub fn annotation(&self, rule: u32, key: &str) -> Option<&str> {
        let annotations = &self.origins.get(rule as usize)?.content.annotations;
        annotations.iter().find(|(own, _)| &**own == key).map(|(_, value)| &**value)
    }

    /// What the load found worth a look.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// BLAKE3 over all inputs: rules, columns, pins, agents. Equal inputs decide equally.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// How many classes, distinct rows and distinct cells the load came to.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.index.rows_of.len(), self.index.rows.len(), self.index.cells.len())
    }

    pub(super) fn standing(&self, who: &Who<'_>) -> Result<&Standing, Denial> {
        let standing = self.agents.get(who.agent.0 as usize).filter(|standing| standing.uid.id().unescaped() == who.id);
        standing.ok_or_else(|| Denial::new(DenialCause::UnknownAgent))
    }

    pub(super) fn row(&self, who: &Who<'_>) -> Result<&Row, Denial> {
        let class = self.index.classes.get(who.agent.0 as usize);
        let row = class.and_then(|class| self.index.rows_of.get(*class as usize));
        row.and_then(|row| self.index.rows.get(*row as usize)).ok_or_else(|| Denial::new(DenialCause::UnknownAgent))
    }

    pub(super) fn cell(&self, row: &Row, column: u32) -> Option<&Cell> {
        self.index.cells.get(*row.cells.get(column as usize)? as usize)
    }
}

fn visible(decision: Result<Permit, Denial>) -> Visibility {
    match decision {
        Ok(_) => Visibility::Listed,
        Err(_) => Visibility::Hidden,
    }
}
