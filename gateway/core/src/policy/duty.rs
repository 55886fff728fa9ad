//! Tells what a permit binds the gateway to. In: an engine, a permit, the call. Out: obligations, and the rules that its result has to meet. Never here:
//! carrying them out.

use std::sync::Arc;

use super::catalogue::ToolIndex;
use super::convert::Unfit;
use super::engine::Engine;
use super::facts::{self, Facts, Missing, Subjects};
use super::oblige::Obligations;
use super::plan::{Input, Plan};
use super::reads::Argument;
use super::result::{Met, ResultRule, Results};
use super::surface::{ServerIndex, Subject};
use super::verdict::Permit;
use super::who::Who;

/// Whether the arguments of a call are at hand where its result is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// They are those of the facts.
    Known,
    /// Another request made the call, and nobody kept them.
    Forgotten,
}

impl Engine {
    /// What `permit` obliges to: its own tool's call, or a task that a call of `tool` made. Nothing else carries obligations. The rules over the
    /// result are not among them: see [`Engine::results`].
    pub fn obligations(&self, permit: &Permit, tool: ToolIndex) -> Obligations {
        let column = self.surface.column(permit.server(), Subject::Tool(tool));
        column.map_or_else(Obligations::default, |column| self.obligations.of_permit(permit, column))
    }

    /// All that any rule obliges to on a tool, and all rules over its results.
    pub fn obligations_of(&self, server: ServerIndex, tool: ToolIndex) -> Obligations {
        let Some(column) = self.surface.column(server, Subject::Tool(tool)) else { return Obligations::default() };
        self.obligations.of_column(column).with_results(self.results.over(column).cloned())
    }

    /// Whether any rule is about results.
    pub fn judges_results(&self) -> bool {
        !self.results.is_empty()
    }

    /// The rules that the result of this call has to meet; none where no rule over the tool's results is about the caller, which costs one
    /// look-up. What of the call they read is read now.
    pub fn results(
        &self,
        who: &Who<'_>,
        (server, tool): (ServerIndex, ToolIndex),
        facts: &Facts<'_>,
        arguments: Arguments,
    ) -> Option<Results> {
        if self.results.is_empty() {
            return None;
        }
        let column = self.surface.column(server, Subject::Tool(tool))?;
        let all = self.results.over(column)?;
        // An agent that is not known is refused long before; were it not, no rule would be about it.
        let standing = self.standing(who).ok()?;
        let rules: Vec<Arc<ResultRule>> = all.rules.iter().filter(|rule| rule.is_about(standing)).cloned().collect();
        if rules.is_empty() {
            return None;
        }
        let of = Subjects { standing, who, uri: None, name: None, calendars: &self.calendars };
        let met = self.met(&rules, column, of, (facts, arguments));
        Some(Results::new(rules, Some(met)))
    }

    fn met(
        &self,
        rules: &[Arc<ResultRule>],
        column: u32,
        of: Subjects<'_>,
        (facts, arguments): (&Facts<'_>, Arguments),
    ) -> Result<Met, Missing> {
        let prepared = self.columns.get(column as usize).ok_or(Missing::Defect)?;
        let column = self.surface.columns.get(column as usize).ok_or(Missing::Defect)?;
        let plan = Plan::of(rules.iter().map(|rule| &rule.reads), column);
        let reads_arguments = plan.input.is_some() || plan.account.is_some() || plan.sql.is_some();
        if arguments == Arguments::Forgotten && reads_arguments {
            return Err(Missing::Argument(Unfit::Unreadable(Arc::from(""))));
        }
        let read: Vec<&Argument> = rules.iter().flat_map(|rule| &rule.reads.outputs).collect();
        Ok(Met {
            parties: [of.standing.uid.clone(), prepared.action.clone(), prepared.resource.clone()],
            context: facts::context(&plan, of, facts)?,
            entities: facts::entities(&plan, of, (&prepared.action, &prepared.groups))?,
            output: Input::of(column.result.as_ref().ok_or(Missing::Defect)?, &read),
            set: Met::set(rules).ok_or(Missing::Defect)?,
        })
    }
}
