//! Says what is certain of a rule before a call. In: a rule, an agent, a column. Out: always, never, or open. Never here: calls.
//!
//! This is the promise that a gateway needs for its lists: what who, what and where decide is decided at load. A condition counts by all outcomes it
//! could have (true, false, an error), with every question about the call open; where more than one is left that is not all "not true", anything is.

use crate::ground::{Agent, Column};
use crate::rules::{Cond, Effect, Known, Rule, Sign, Word, covers, within};

/// How far a rule is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It holds whatever is asked.
    Always,
    /// It does not hold whatever is asked.
    Never,
    /// A call decides; or, of a forbid, a call may make it err.
    Open,
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const ERROR: u8 = 4;
const ANY: u8 = TRUE | FALSE | ERROR;

/// Decides a rule whose scope matches.
pub fn certainty(rule: &Rule, agent: &Agent, column: &Column, server: &str) -> Certainty {
    let place = Place { agent, column, server };
    let mut whole = TRUE;
    for (word, cond) in &rule.clauses {
        let this = place.outcomes(cond);
        let this = match word {
            Word::When => this,
            Word::Unless => widened(not(this)),
        };
        whole = widened(then(whole, TRUE, this));
    }
    match (whole, rule.effect) {
        (TRUE, _) => Certainty::Always,
        (FALSE, _) => Certainty::Never,
        (none, Effect::Permit) if none & TRUE == 0 => Certainty::Never,
        (_, _) => Certainty::Open,
    }
}

struct Place<'p> {
    agent: &'p Agent,
    column: &'p Column,
    server: &'p str,
}

impl Place<'_> {
    fn outcomes(&self, cond: &Cond) -> u8 {
        widened(match cond {
            Cond::Const(value) => of(*value),
            Cond::Known(known) => of(self.holds(known)),
            Cond::Atom(_) => ANY,
            Cond::Not(inner) => not(self.outcomes(inner)),
            Cond::And(left, right) => then(self.outcomes(left), TRUE, self.outcomes(right)),
            Cond::Or(left, right) => then(self.outcomes(left), FALSE, self.outcomes(right)),
            Cond::If(cond, yes, no) => {
                let cond = self.outcomes(cond);
                (cond & ERROR)
                    | if cond & TRUE != 0 { self.outcomes(yes) } else { 0 }
                    | if cond & FALSE != 0 { self.outcomes(no) } else { 0 }
            }
        })
    }

    fn holds(&self, known: &Known) -> bool {
        let signed = |equal: bool, sign: &Sign| match sign {
            Sign::Equal => equal,
            Sign::Unequal => !equal,
        };
        match known {
            Known::PrincipalIs(ty) => *ty == "Agent",
            Known::PrincipalEq(id, sign) => signed(*id == self.agent.id, sign),
            Known::PrincipalIn(uids) => uids.iter().any(|uid| within(self.agent, uid)),
            Known::PrincipalIsIn(uid) => within(self.agent, uid),
            Known::ActionEq(id, sign) => signed(*id == self.column.action, sign),
            Known::ActionIn(ids) => ids.iter().any(|id| covers(id, self.column)),
            Known::ResourceEq(name, sign) => signed(name == self.server, sign),
        }
    }
}

fn of(value: bool) -> u8 {
    if value { TRUE } else { FALSE }
}

fn not(outcomes: u8) -> u8 {
    (outcomes & ERROR) | if outcomes & TRUE != 0 { FALSE } else { 0 } | if outcomes & FALSE != 0 { TRUE } else { 0 }
}

/// The right side counts where the left came out as `on`.
fn then(left: u8, on: u8, right: u8) -> u8 {
    (left & !on) | if left & on != 0 { right } else { 0 }
}

fn widened(outcomes: u8) -> u8 {
    match outcomes {
        TRUE | FALSE => outcomes,
        never if never & TRUE == 0 => FALSE | ERROR,
        _ => ANY,
    }
}
