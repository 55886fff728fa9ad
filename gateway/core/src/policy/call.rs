//! Judges one call. In: the caller's row, the cell of what is asked, the facts. Out: a permit or a denial. Never here: loading.

use cedar_policy::{Authorizer, Request};

use super::catalogue::ToolIndex;
use super::convert::Unfit;
use super::drift::Live;
use super::engine::Engine;
use super::facts::{self, Facts, Missing, Standing, Subjects};
use super::index::{Cell, Program, Row, Verdict};
use super::surface::{ServerIndex, Subject};
use super::types::Undeclared;
use super::verdict::{Denial, DenialCause, Determining, Permit, Visibility};
use super::who::Who;
use crate::protocol::json::Kind;

/// What one cell says of one call.
enum Judgement {
    Permitted(Determining),
    Denied(Denial),
}

/// One decision under way.
pub(super) struct Call<'c> {
    pub(super) engine: &'c Engine,
    pub(super) row: &'c Row,
    pub(super) standing: &'c Standing,
    pub(super) who: &'c Who<'c>,
    pub(super) server: ServerIndex,
    pub(super) facts: &'c Facts<'c>,
}

impl Call<'_> {
    fn permit(&self, subject: Subject, determining: Determining) -> Permit {
        Permit::new(self.server, subject, determining)
    }

    fn column(&self, subject: Subject, otherwise: DenialCause) -> Result<u32, Denial> {
        self.engine.surface.column(self.server, subject).ok_or_else(|| Denial::new(otherwise))
    }

    pub(super) fn plain(&self, subject: Subject, uri: Option<&str>, name: Option<&str>) -> Result<Permit, Denial> {
        let column = self.column(subject, DenialCause::UnknownServer)?;
        match self.judge(column, uri, name) {
            Judgement::Permitted(determining) => Ok(self.permit(subject, determining)),
            Judgement::Denied(denial) => Err(denial),
        }
    }

    pub(super) fn tool(&self, tool: ToolIndex) -> Result<Permit, Denial> {
        let subject = Subject::Tool(tool);
        let column = self.column(subject, DenialCause::UnknownTool)?;
        if let Live::Drifted =
            self.engine.servers.get(usize::from(self.server.0)).map_or(Live::Drifted, |server| server.drift.of(tool))
        {
            return Err(Denial::new(DenialCause::Drifted));
        }
        let visibility = self.engine.cell(self.row, column).map_or(Visibility::Hidden, |cell| cell.visibility);
        let judged = match visibility {
            Visibility::Listed => self.unfit(column).map_or_else(|| self.judge(column, None, None), Judgement::Denied),
            Visibility::Hidden => self.judge(column, None, None),
        };
        match judged {
            Judgement::Permitted(determining) => Ok(self.permit(subject, determining)),
            Judgement::Denied(denial) => Err(denial.seen(visibility)),
        }
    }

    /// A denial where the arguments are no object, or hold one that the tool's schema rules out.
    fn unfit(&self, column: u32) -> Option<Denial> {
        if self.facts.arguments.is_some_and(|arguments| arguments.kind() != Kind::Object) {
            return Some(Denial::at(DenialCause::ArgumentUnreadable, ""));
        }
        let input = &self.engine.surface.columns.get(column as usize)?.input;
        let arguments = self.facts.arguments.filter(|_| input.undeclared == Undeclared::Refused)?;
        let foreign = arguments.entries().any(|(name, _)| input.field(name).is_none());
        foreign.then(|| Denial::at(DenialCause::ArgumentUndeclared, ""))
    }

    /// Implied by any permit that could hold on the server; an explicit forbid still counts.
    pub(super) fn connect(&self) -> Result<Permit, Denial> {
        let column = self.column(Subject::Connect, DenialCause::UnknownServer)?;
        match self.judge(column, None, None) {
            Judgement::Permitted(determining) => Ok(self.permit(Subject::Connect, determining)),
            Judgement::Denied(denial) if denial.cause() == DenialCause::NoRule => {
                let possible = self.row.reachable.get(usize::from(self.server.0)).filter(|permits| !permits.is_empty());
                let possible = possible.ok_or(denial)?;
                Ok(self.permit(Subject::Connect, Determining::of(possible.iter().copied())))
            }
            Judgement::Denied(denial) => Err(denial),
        }
    }

    /// Follows the thing completed; an explicit forbid on `complete` still counts.
    pub(super) fn complete(&self, of: Subject, uri: Option<&str>, name: Option<&str>) -> Result<Permit, Denial> {
        let followed = self.plain(of, uri, name)?;
        self.unless_forbidden(Subject::Complete, uri, name)?;
        Ok(self.permit(Subject::Complete, followed.determining().clone()))
    }

    /// Follows the call that made it, or any call; an explicit forbid on `task` still counts.
    pub(super) fn task(&self, tool: Option<ToolIndex>) -> Result<Permit, Denial> {
        let permits = match tool {
            None => self.row.reachable.get(usize::from(self.server.0)).map(|permits| &**permits),
            Some(tool) => {
                let column = self.column(Subject::Tool(tool), DenialCause::UnknownTool)?;
                match self.engine.lists(self.who, self.server, tool) {
                    Visibility::Listed => self.engine.cell(self.row, column).map(|cell| &*cell.permits),
                    Visibility::Hidden => None,
                }
            }
        };
        let permits = permits.filter(|permits| !permits.is_empty()).ok_or_else(|| Denial::new(DenialCause::NoRule))?;
        self.unless_forbidden(Subject::Task, None, None)?;
        Ok(self.permit(Subject::Task, Determining::of(permits.iter().copied())))
    }

    fn unless_forbidden(&self, subject: Subject, uri: Option<&str>, name: Option<&str>) -> Result<(), Denial> {
        let column = self.column(subject, DenialCause::UnknownServer)?;
        match self.judge(column, uri, name) {
            Judgement::Permitted(_) => Ok(()),
            Judgement::Denied(denial) if denial.cause() == DenialCause::NoRule => Ok(()),
            Judgement::Denied(denial) => Err(denial),
        }
    }

    pub(super) fn extension(&self, method: &str) -> Result<Permit, Denial> {
        let face = self
            .engine
            .surface
            .faces
            .get(usize::from(self.server.0))
            .ok_or_else(|| Denial::new(DenialCause::UnknownServer))?;
        let position = face
            .extensions
            .iter()
            .position(|known| &**known == method)
            .and_then(|position| u16::try_from(position).ok());
        self.plain(Subject::Extension(position.ok_or_else(|| Denial::new(DenialCause::UnknownMethod))?), None, None)
    }

    fn judge(&self, column: u32, uri: Option<&str>, name: Option<&str>) -> Judgement {
        let Some(cell) = self.engine.cell(self.row, column) else {
            return Judgement::Denied(Denial::new(DenialCause::NoRule));
        };
        match &cell.verdict {
            Verdict::NoRule => Judgement::Denied(Denial::new(DenialCause::NoRule)),
            Verdict::Forbidden(forbids) => {
                Judgement::Denied(Denial::by(DenialCause::Forbidden, Determining::of(forbids.iter().copied())))
            }
            Verdict::Allowed(permits) => Judgement::Permitted(Determining::of(permits.iter().copied())),
            Verdict::Program(program) => match self.evaluate(cell, program, column, (uri, name)) {
                Ok(judgement) => judgement,
                Err(Missing::Argument(Unfit::Unreadable(pointer))) => {
                    Judgement::Denied(Denial::at(DenialCause::ArgumentUnreadable, &pointer))
                }
                Err(Missing::Argument(Unfit::Undeclared(pointer))) => {
                    Judgement::Denied(Denial::at(DenialCause::ArgumentUndeclared, &pointer))
                }
                Err(Missing::Sql(refusal, pointer)) => {
                    Judgement::Denied(Denial::at(DenialCause::SqlRefused(refusal), &pointer))
                }
                Err(Missing::Calendars) => Judgement::Denied(Denial::new(DenialCause::CalendarsEnded)),
                Err(Missing::Claim) => Judgement::Denied(Denial::new(DenialCause::ClaimUnreadable)),
                Err(Missing::Defect) => Judgement::Denied(Denial::new(DenialCause::RuleError)),
            },
        }
    }

    /// Cedar over the rules of one cell. A permit that errs does not count; a forbid that errs denies.
    fn evaluate(
        &self,
        cell: &Cell,
        program: &Program,
        column: u32,
        (uri, name): (Option<&str>, Option<&str>),
    ) -> Result<Judgement, Missing> {
        let prepared = self.engine.columns.get(column as usize).ok_or(Missing::Defect)?;
        let of = Subjects { standing: self.standing, who: self.who, uri, name, calendars: &self.engine.calendars };
        let context = facts::context(&program.plan, of, self.facts)?;
        let entities = facts::entities(&program.plan, of, (&prepared.action, &prepared.groups))?;
        let request =
            Request::new(self.standing.uid.clone(), prepared.action.clone(), prepared.resource.clone(), context, None);
        let request = request.map_err(|_| Missing::Defect)?;
        let response = Authorizer::new().is_authorized(&request, &program.rules, &entities);
        let number = |id: &cedar_policy::PolicyId| AsRef::<str>::as_ref(id).parse::<u32>().ok();
        let held = || response.diagnostics().reason().filter_map(number);
        let erred = response.diagnostics().errors().filter_map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => number(error.policy_id()),
        });
        let mut failed_forbids: Vec<u32> = erred.filter(|rule| cell.permits.binary_search(rule).is_err()).collect();
        failed_forbids.sort_unstable();
        let forbidden = held().any(|rule| cell.permits.binary_search(&rule).is_err());
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        Ok(match (forbidden, failed_forbids.is_empty(), allowed) {
            (true, _, _) => Judgement::Denied(Denial::by(DenialCause::Forbidden, Determining::of(sorted(held())))),
            (false, false, _) => Judgement::Denied(Denial::by(DenialCause::RuleError, Determining::of(failed_forbids))),
            (false, true, true) => Judgement::Permitted(Determining::of(sorted(held()))),
            (false, true, false) => Judgement::Denied(Denial::new(DenialCause::NoRule)),
        })
    }
}

fn sorted(rules: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut rules: Vec<u32> = rules.collect();
    rules.sort_unstable();
    rules
}
