//! Counts what was compared. In: cases and mismatches of worlds. Out: a report, and what a run left unproven. Never here: comparing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What some worlds came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Questions compared.
    pub cases: u64,
    /// Worlds made.
    pub worlds: u64,
    /// Rules written.
    pub written: u64,
    /// Rules that the load refused.
    pub refused: u64,
    /// What refusals said, a few of them.
    pub refusals: Vec<String>,
    /// Cases by what the decision had to be.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Cases by what was asked.
    pub calls: BTreeMap<&'static str, u64>,
    /// By kind of expression: rules that hold one, and cases in which such a rule was in question.
    pub expressions: BTreeMap<&'static str, (u64, u64)>,
    /// Tools that a call was permitted of, and that therefore had to be listed.
    pub listed: u64,
    /// What differs, one text a world.
    pub mismatches: Vec<String>,
}

/// Every outcome that a whole run must have met.
pub const OUTCOMES: [&str; 10] = [
    "allowed",
    "implied",
    "no_rule",
    "forbidden",
    "rule_error",
    "argument_unreadable",
    "argument_undeclared",
    "claim_unreadable",
    "drifted",
    "unknown_method",
];

/// Every kind of expression that a whole run must have exercised.
pub const EXPRESSIONS: [&str; 83] = [
    "!",
    "!=",
    "&&",
    "*",
    "+",
    "-",
    "<",
    "<=",
    "==",
    "== of conditions",
    ">",
    ">=",
    "action ==",
    "action in",
    "argument",
    "boolean",
    "computed tag",
    "constant",
    "contains",
    "containsAll",
    "containsAny",
    "context.account",
    "context.name",
    "context.now",
    "context.source",
    "context.uri",
    "datetime",
    "decimal",
    "duration",
    "duration in units",
    "durationSince",
    "getTag",
    "greaterThan",
    "greaterThanOrEqual",
    "has",
    "has path",
    "hasTag",
    "if",
    "if value",
    "ip",
    "isEmpty",
    "isInRange",
    "isIpv4",
    "isIpv6",
    "isLoopback",
    "isMulticast",
    "lessThan",
    "lessThanOrEqual",
    "like",
    "like with \\*",
    "long",
    "now twice",
    "offset",
    "principal ==",
    "principal in",
    "principal is",
    "principal is in",
    "principal.accounts",
    "principal.user",
    "record",
    "resource ==",
    "scope action ==",
    "scope action in",
    "scope action in set",
    "scope any action",
    "scope any principal",
    "scope any resource",
    "scope principal ==",
    "scope principal in",
    "scope principal is",
    "scope principal is in",
    "scope resource ==",
    "scope resource in",
    "scope resource is",
    "set",
    "string",
    "toDate",
    "toTime",
    "unary -",
    "unless",
    "when",
    "whole input",
    "||",
];

/// The share of rules, in a hundred, that the load may refuse: beyond it the generator no longer writes what an operator would.
const REFUSED_PERCENT_MAX: u64 = 25;

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.worlds += other.worlds;
        self.written += other.written;
        self.refused += other.refused;
        self.listed += other.listed;
        self.refusals.extend(other.refusals);
        self.refusals.truncate(20);
        self.mismatches.extend(other.mismatches);
        for (name, count) in other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
        for (name, count) in other.calls {
            *self.calls.entry(name).or_default() += count;
        }
        for (name, (rules, cases)) in other.expressions {
            let own = self.expressions.entry(name).or_default();
            (own.0, own.1) = (own.0 + rules, own.1 + cases);
        }
    }

    /// What this run does not prove, although it found no mismatch; `whole` is a run long enough to meet everything.
    pub fn gaps(&self, whole: Length) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.cases == 0 {
            gaps.push("no case was compared".to_owned());
        }
        if self.refused * 100 > self.written * REFUSED_PERCENT_MAX {
            gaps.push(format!(
                "the load refused {} of {} rules, e.g. {:#?}",
                self.refused, self.written, self.refusals
            ));
        }
        if whole == Length::Whole {
            let met = |name: &&&str| !self.outcomes.contains_key(**name);
            gaps.extend(OUTCOMES.iter().filter(met).map(|name| format!("no decision was `{name}`")));
            let exercised = |name: &&&str| self.expressions.get(**name).is_none_or(|(_, cases)| *cases == 0);
            gaps.extend(EXPRESSIONS.iter().filter(exercised).map(|name| format!("no case exercised `{name}`")));
        }
        gaps
    }

    /// The report.
    pub fn json(&self) -> Value {
        let expressions: BTreeMap<_, _> = self
            .expressions
            .iter()
            .map(|(name, (rules, cases))| (name, json!({"rules": rules, "cases": cases})))
            .collect();
        json!({
            "cases": self.cases,
            "worlds": self.worlds,
            "mismatches": self.mismatches,
            "decisions": self.outcomes,
            "calls": self.calls,
            "listed_because_permitted": self.listed,
            "rules": {"written": self.written, "refused": self.refused, "refusals": self.refusals},
            "expressions": expressions,
        })
    }
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Too short to meet everything.
    Short,
    /// Long enough.
    Whole,
}
