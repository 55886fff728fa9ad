//! States what one class may do in one column. In: nothing; the index makes cells. Out: a verdict, or the programs that come to one. Never here: building, calls.

use std::sync::Arc;

use cedar_policy::PolicySet;

use super::evaluate::{Stopped, Values};
use super::plan::Plan;
use super::program::Node;
use super::verdict::{Determining, Visibility};

/// What one class may do in one column.
#[derive(Debug)]
pub struct Cell {
    /// What is decided without looking at the call, or the rules that look at it.
    pub verdict: Verdict,
    /// The permits that could hold.
    pub permits: Box<[u32]>,
    /// Whether some call could be permitted.
    pub visibility: Visibility,
}

/// The rest of a decision after indexing and folding.
#[derive(Debug)]
pub enum Verdict {
    /// No permit can hold.
    NoRule,
    /// These forbids hold whatever is asked.
    Forbidden(Box<[u32]>),
    /// Only permits that hold whatever is asked.
    Allowed(Box<[u32]>),
    /// These rules must be evaluated.
    Program(Program),
}

/// Rules to evaluate, and what they read.
#[derive(Debug)]
pub struct Program {
    /// What must be read for them.
    pub plan: Arc<Plan>,
    /// How they are evaluated.
    pub way: Way,
    /// What is decided where a call cannot be read as they want it.
    pub otherwise: Otherwise,
}

/// How rules are evaluated.
#[derive(Debug)]
pub enum Way {
    /// By our own programs.
    Residuals(Residuals),
    /// By Cedar's evaluator, each rule under its number as id.
    Cedar(Arc<PolicySet>),
}

/// What is left of the rules of one cell.
#[derive(Debug)]
pub struct Residuals {
    /// Forbids, by number.
    pub forbids: Box<[Residual]>,
    /// Permits, by number.
    pub permits: Box<[Residual]>,
}

/// What is left of one rule.
#[derive(Clone, Debug)]
pub struct Residual {
    /// Its number.
    pub rule: u32,
    /// When it holds; equal conditions are kept once.
    pub condition: Arc<Node>,
}

/// What is decided of a call that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Otherwise {
    /// These forbids hold whatever is asked.
    Forbidden(Box<[u32]>),
    /// No permit could hold.
    NoRule,
    /// It is refused because it cannot be read.
    Refused,
}

/// One class's cells, by column, and what makes each server reachable.
#[derive(Debug)]
pub struct Row {
    /// Cell numbers by column.
    pub cells: Arc<[u32]>,
    /// For each server, permits that could hold anywhere on it, the first few.
    pub reachable: Box<[Box<[u32]>]>,
}

/// What the rules of a cell come to.
#[derive(Debug)]
pub enum Outcome {
    /// These forbids hold.
    Forbidden(Determining),
    /// No forbid holds and these err.
    Failed(Determining),
    /// No permit holds.
    NoRule,
    /// These permits hold.
    Permitted(Determining),
}

impl Residuals {
    /// All forbids, then all permits, so that a decision names every rule that determined it. A permit that errs does not count; a forbid that errs
    /// denies unless another one holds.
    pub fn outcome<'e>(&'e self, values: &Values<'e>) -> Result<Outcome, Stopped> {
        let mut forbidding = Determining::default();
        if let Found::Errors = holding(&self.forbids, values, &mut forbidding)?
            && forbidding.total() == 0
        {
            return failing(&self.forbids, values).map(Outcome::Failed);
        }
        if forbidding.total() > 0 {
            return Ok(Outcome::Forbidden(forbidding));
        }
        // None was found, so it is as new.
        let mut permitting = forbidding;
        holding(&self.permits, values, &mut permitting)?;
        Ok(if permitting.total() == 0 { Outcome::NoRule } else { Outcome::Permitted(permitting) })
    }
}

/// Whether rules erred.
enum Found {
    Errors,
    NoErrors,
}

/// Adds those of these rules that hold.
fn holding<'e>(rules: &'e [Residual], values: &Values<'e>, out: &mut Determining) -> Result<Found, Stopped> {
    let mut found = Found::NoErrors;
    for residual in rules {
        match values.holds(&residual.condition) {
            Ok(true) => out.push(residual.rule),
            Ok(false) => {}
            Err(Stopped::Erred) => found = Found::Errors,
            Err(Stopped::TooLong) => return Err(Stopped::TooLong),
        }
    }
    Ok(found)
}

/// Those of these rules that err; it is rare, so they are evaluated again.
fn failing<'e>(rules: &'e [Residual], values: &Values<'e>) -> Result<Determining, Stopped> {
    let mut failed = Determining::default();
    for residual in rules {
        match values.holds(&residual.condition) {
            Ok(_) => {}
            Err(Stopped::Erred) => failed.push(residual.rule),
            Err(Stopped::TooLong) => return Err(Stopped::TooLong),
        }
    }
    Ok(failed)
}
