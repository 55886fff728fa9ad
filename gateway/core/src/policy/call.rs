//! Judges one call. In: the caller's row, the cell of what is asked, the facts. Out: a permit or a denial. Never here: loading.

use std::sync::Arc;

use cedar_policy::{Authorizer, Effect, PolicySet, Request};

use super::catalogue::ToolIndex;
use super::cell::{Otherwise, Outcome, Program, Residuals, Row, Verdict, Way};
use super::convert::Unfit;
use super::drift::Live;
use super::engine::Engine;
use super::evaluate::{Stopped, Values};
use super::facts::{self, Facts, Missing, Standing, Subjects};

use super::plan::Plan;
use super::reads::Fact;
use super::slots::{self, Slots};
use super::surface::{ServerIndex, Subject};
use super::types::Undeclared;
use super::verdict::{Denial, DenialCause, Determining, Evaluator, Permit, Visibility};
use super::who::Who;
use crate::protocol::json::Kind;

/// What one cell says of one call: the permits that hold, and who found them.
type Judged = Result<(Determining, Evaluator), Denial>;

/// One decision under way.
pub(super) struct Call<'c> {
    pub(super) engine: &'c Engine,
    pub(super) evaluator: Evaluator,
    pub(super) row: &'c Row,
    pub(super) standing: &'c Standing,
    pub(super) who: &'c Who<'c>,
    pub(super) server: ServerIndex,
    pub(super) facts: &'c Facts<'c>,
}

impl Call<'_> {
    fn permit(&self, subject: Subject, held: (Determining, Evaluator)) -> Permit {
        Permit::new(self.server, subject, held)
    }

    fn column(&self, subject: Subject, otherwise: DenialCause) -> Result<u32, Denial> {
        self.engine.surface.column(self.server, subject).ok_or_else(|| Denial::new(otherwise))
    }

    pub(super) fn plain(&self, subject: Subject, uri: Option<&str>, name: Option<&str>) -> Result<Permit, Denial> {
        let column = self.column(subject, DenialCause::UnknownServer)?;
        self.judge(column, uri, name).map(|held| self.permit(subject, held))
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
        let unfit = match visibility {
            Visibility::Listed => self.unfit(column),
            Visibility::Hidden => None,
        };
        match unfit.map_or_else(|| self.judge(column, None, None), Err) {
            Ok(held) => Ok(self.permit(subject, held)),
            Err(denial) => Err(denial.seen(visibility)),
        }
    }

    /// A denial where the arguments are no object, or hold one that the tool's schema rules out.
    fn unfit(&self, column: u32) -> Option<Denial> {
        let arguments = self.facts.arguments?;
        if arguments.kind() != Kind::Object {
            return Some(Denial::at(DenialCause::ArgumentUnreadable, Arc::from("")));
        }
        match self.engine.undeclared.get(column as usize)? {
            Undeclared::Legal => None,
            Undeclared::Refused => {
                let input = &self.engine.surface.columns.get(column as usize)?.input;
                let foreign = arguments.entries().any(|(name, _)| input.field(name).is_none());
                foreign.then(|| Denial::at(DenialCause::ArgumentUndeclared, Arc::from("")))
            }
        }
    }

    /// Implied by any permit that could hold on the server; an explicit forbid still counts.
    pub(super) fn connect(&self) -> Result<Permit, Denial> {
        let column = self.column(Subject::Connect, DenialCause::UnknownServer)?;
        match self.judge(column, None, None) {
            Ok(held) => Ok(self.permit(Subject::Connect, held)),
            Err(denial) if denial.cause() == DenialCause::NoRule => {
                let possible = self.row.reachable.get(usize::from(self.server.0)).filter(|permits| !permits.is_empty());
                let evaluator = denial.evaluator();
                let possible = possible.ok_or(denial)?;
                Ok(self.permit(Subject::Connect, (Determining::of(possible.iter().copied()), evaluator)))
            }
            Err(denial) => Err(denial),
        }
    }

    /// Follows the thing completed; an explicit forbid on `complete` still counts.
    pub(super) fn complete(&self, of: Subject, uri: Option<&str>, name: Option<&str>) -> Result<Permit, Denial> {
        let followed = self.plain(of, uri, name)?;
        self.unless_forbidden(Subject::Complete, uri, name)?;
        Ok(self.permit(Subject::Complete, (followed.determining().clone(), followed.evaluator())))
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
        let evaluator = self.unless_forbidden(Subject::Task, None, None)?;
        Ok(self.permit(Subject::Task, (Determining::of(permits.iter().copied()), evaluator)))
    }

    fn unless_forbidden(&self, subject: Subject, uri: Option<&str>, name: Option<&str>) -> Result<Evaluator, Denial> {
        let column = self.column(subject, DenialCause::UnknownServer)?;
        match self.judge(column, uri, name) {
            Ok((_, evaluator)) => Ok(evaluator),
            Err(denial) if denial.cause() == DenialCause::NoRule => Ok(denial.evaluator()),
            Err(denial) => Err(denial),
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

    fn judge(&self, column: u32, uri: Option<&str>, name: Option<&str>) -> Judged {
        let of = Subjects { standing: self.standing, who: self.who, uri, name, calendars: &self.engine.calendars };
        let cell = self.engine.cell(self.row, column).ok_or_else(|| Denial::new(DenialCause::NoRule))?;
        let Verdict::Program(program) = &cell.verdict else { return self.decided(&cell.verdict, column, of) };
        let judged = match (self.evaluator, &program.way) {
            (Evaluator::Cedar, _) => self.by_cedar(self.engine.whole(), &whole_plan(&program.plan), column, of),
            (Evaluator::Tables, Way::Cedar(rules)) => self.by_cedar(rules, &program.plan, column, of),
            (Evaluator::Tables, Way::Residuals(residuals)) => match self.by_program(residuals, &program.plan, of) {
                // The sets of this call are too large to compare member by member, which Cedar does not do.
                Err(Halted::TooLong) => {
                    let rules = residuals.forbids.iter().chain(&residuals.permits).map(|residual| residual.rule);
                    self.by_cedar(&self.engine.some(rules), &whole_plan(&program.plan), column, of)
                }
                Err(Halted::Missing(missing)) => Err(missing),
                Ok(judged) => Ok(judged),
            },
        };
        judged.unwrap_or_else(|missing| Err(self.unreadable(missing, program)))
    }

    /// What is decided whatever the call says.
    fn decided(&self, verdict: &Verdict, column: u32, of: Subjects<'_>) -> Judged {
        match (self.evaluator, verdict) {
            (Evaluator::Cedar, _) => self
                .by_cedar(self.engine.whole(), &whole_plan(&Plan::default()), column, of)
                .unwrap_or_else(|_| Err(Denial::new(DenialCause::RuleError))),
            (Evaluator::Tables, Verdict::Forbidden(forbids)) => {
                Err(Denial::by(DenialCause::Forbidden, Determining::of(forbids.iter().copied())))
            }
            (Evaluator::Tables, Verdict::Allowed(permits)) => {
                Ok((Determining::of(permits.iter().copied()), Evaluator::Tables))
            }
            (Evaluator::Tables, Verdict::NoRule | Verdict::Program(_)) => Err(Denial::new(DenialCause::NoRule)),
        }
    }

    fn unreadable(&self, missing: Missing, program: &Program) -> Denial {
        let denial = match (&program.otherwise, missing) {
            (Otherwise::Forbidden(forbids), _) => {
                Denial::by(DenialCause::Forbidden, Determining::of(forbids.iter().copied()))
            }
            (Otherwise::NoRule, _) => Denial::new(DenialCause::NoRule),
            (Otherwise::Refused, Missing::Argument(Unfit::Unreadable(pointer))) => {
                Denial::at(DenialCause::ArgumentUnreadable, pointer)
            }
            (Otherwise::Refused, Missing::Argument(Unfit::Undeclared(pointer))) => {
                Denial::at(DenialCause::ArgumentUndeclared, pointer)
            }
            (Otherwise::Refused, Missing::Sql(refusal, pointer)) => {
                Denial::at(DenialCause::SqlRefused(refusal), pointer.into())
            }
            (Otherwise::Refused, Missing::Calendars) => Denial::new(DenialCause::CalendarsEnded),
            (Otherwise::Refused, Missing::Claim) => Denial::new(DenialCause::ClaimUnreadable),
            (Otherwise::Refused, Missing::Defect) => Denial::new(DenialCause::RuleError),
        };
        denial.worked_out_by(self.evaluator)
    }

    fn by_program(&self, residuals: &Residuals, plan: &Plan, of: Subjects<'_>) -> Result<Judged, Halted> {
        let mut slots = Slots::new();
        slots::read(plan, of, self.facts, &mut slots).map_err(Halted::Missing)?;
        let outcome = residuals.outcome(&Values::new(&slots, self.who.claims));
        Ok(
            match outcome.map_err(|stopped| match stopped {
                Stopped::TooLong => Halted::TooLong,
                Stopped::Erred => Halted::Missing(Missing::Defect),
            })? {
                Outcome::Forbidden(forbids) => Err(Denial::by(DenialCause::Forbidden, forbids)),
                Outcome::Failed(forbids) => Err(Denial::by(DenialCause::RuleError, forbids)),
                Outcome::NoRule => Err(Denial::new(DenialCause::NoRule)),
                Outcome::Permitted(permits) => Ok((permits, Evaluator::Tables)),
            },
        )
    }

    /// The same by Cedar's evaluator, which skips what errs.
    fn by_cedar(&self, rules: &PolicySet, plan: &Plan, column: u32, of: Subjects<'_>) -> Result<Judged, Missing> {
        let prepared = self.engine.columns.get(column as usize).ok_or(Missing::Defect)?;
        let context = facts::context(plan, of, self.facts)?;
        let entities = facts::entities(plan, of, (&prepared.action, &prepared.groups))?;
        let request =
            Request::new(self.standing.uid.clone(), prepared.action.clone(), prepared.resource.clone(), context, None);
        let request = request.map_err(|_| Missing::Defect)?;
        let response = Authorizer::new().is_authorized(&request, rules, &entities);
        let number = |id: &cedar_policy::PolicyId| AsRef::<str>::as_ref(id).parse::<u32>().ok();
        let forbids = |rule: &u32| self.engine.effect(*rule) == Some(Effect::Forbid);
        let reasons = sorted(response.diagnostics().reason().filter_map(number));
        let erred = response.diagnostics().errors().filter_map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => number(error.policy_id()),
        });
        let failed = sorted(erred.filter(forbids));
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        let denied = |cause, rules| Err(Denial::by(cause, Determining::of(rules)).worked_out_by(Evaluator::Cedar));
        Ok(match (reasons.iter().any(forbids), failed.is_empty(), allowed) {
            (true, _, _) => denied(DenialCause::Forbidden, reasons),
            (false, false, _) => denied(DenialCause::RuleError, failed),
            (false, true, true) => Ok((Determining::of(reasons), Evaluator::Cedar)),
            (false, true, false) => denied(DenialCause::NoRule, Vec::new()),
        })
    }
}

/// Why a program came to no end.
enum Halted {
    Missing(Missing),
    TooLong,
}

/// A plan for all rules of a snapshot: their scopes look at the agent and the action, whatever their conditions read.
fn whole_plan(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.facts.insert(Fact::Principal);
    plan.facts.insert(Fact::Action);
    plan
}

fn sorted(rules: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut rules: Vec<u32> = rules.collect();
    rules.sort_unstable();
    rules
}
