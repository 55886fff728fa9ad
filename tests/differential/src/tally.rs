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
    /// Cases by who worked the engine's decision out: our tables and programs, or Cedar's evaluator inside it.
    pub evaluators: BTreeMap<&'static str, u64>,
    /// Cases by what calendars and SQL came to, where a rule in question read them.
    pub facts: BTreeMap<&'static str, u64>,
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
pub const OUTCOMES: [&str; 22] = [
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
    "calendars_ended",
    "sql_too_long",
    "sql_too_deep",
    "sql_character",
    "sql_comment",
    "sql_literal",
    "sql_unparsable",
    "sql_several_statements",
    "sql_statement",
    "sql_construct",
    "sql_name",
    "sql_function",
];

/// All that calendars and SQL must have come to in a whole run.
pub const FACTS: [&str; 13] = [
    "no calendar open",
    "one calendar open",
    "several calendars open",
    "select",
    "insert",
    "update",
    "delete",
    "replace",
    "no table",
    "one table",
    "several tables",
    "no function",
    "a function",
];

/// Everything that can be asked.
pub const CALLS: [&str; 11] = [
    "connect",
    "tool",
    "resource",
    "prompt",
    "complete prompt",
    "complete resource",
    "task",
    "sample",
    "elicit",
    "roots",
    "extension",
];

/// Who works decisions out.
pub const EVALUATORS: [&str; 2] = ["tables", "cedar"];

/// Every kind of expression that a whole run must have exercised.
pub const EXPRESSIONS: [&str; 119] = [
    "!",
    "!=",
    "&&",
    "*",
    "+",
    "-",
    "<",
    "<=",
    "== of conditions",
    "==",
    ">",
    ">=",
    "action ==",
    "action in",
    "argument",
    "boolean",
    "calendars ==",
    "calendars contains",
    "calendars containsAll",
    "calendars containsAny",
    "calendars isEmpty",
    "computed tag",
    "constant",
    "contains",
    "containsAll calendars",
    "containsAll sql.functions",
    "containsAll sql.kinds",
    "containsAll sql.tables",
    "containsAll",
    "containsAny",
    "context has calendars",
    "context has claims",
    "context has now",
    "context has source",
    "context has sql",
    "context has sql.member",
    "context has sql.tables",
    "context.account",
    "context.calendars",
    "context.name",
    "context.now",
    "context.source",
    "context.sql has",
    "context.sql.functions",
    "context.sql.kinds",
    "context.sql.tables",
    "context.uri",
    "datetime",
    "decimal",
    "duration in units",
    "duration",
    "durationSince",
    "getTag",
    "greaterThan",
    "greaterThanOrEqual",
    "has path",
    "has",
    "hasTag",
    "if value",
    "if",
    "ip",
    "isEmpty",
    "isInRange",
    "isIpv4",
    "isIpv6",
    "isLoopback",
    "isMulticast",
    "lessThan",
    "lessThanOrEqual",
    "like with \\*",
    "like",
    "long",
    "now twice",
    "offset",
    "principal ==",
    "principal in",
    "principal is in",
    "principal is",
    "principal.accounts",
    "principal.user",
    "record",
    "resource ==",
    "scope action ==",
    "scope action in set",
    "scope action in",
    "scope any action",
    "scope any principal",
    "scope any resource",
    "scope principal ==",
    "scope principal in",
    "scope principal is in",
    "scope principal is",
    "scope resource ==",
    "scope resource in",
    "scope resource is",
    "set",
    "sql.functions ==",
    "sql.functions contains",
    "sql.functions containsAll",
    "sql.functions containsAny",
    "sql.functions isEmpty",
    "sql.kinds ==",
    "sql.kinds contains",
    "sql.kinds containsAll",
    "sql.kinds containsAny",
    "sql.kinds isEmpty",
    "sql.tables ==",
    "sql.tables contains",
    "sql.tables containsAll",
    "sql.tables containsAny",
    "sql.tables isEmpty",
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
        for (own, others) in [
            (&mut self.outcomes, other.outcomes),
            (&mut self.evaluators, other.evaluators),
            (&mut self.facts, other.facts),
            (&mut self.calls, other.calls),
        ] {
            for (name, count) in others {
                *own.entry(name).or_default() += count;
            }
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
            let words = [
                "no decision was",
                "no decision was worked out by",
                "no rule in question met",
                "nothing asked was",
                "no case exercised",
            ];
            for (met, words) in self.kinds().iter().zip(words) {
                gaps.extend(met.missing.iter().map(|name| format!("{words} `{name}`")));
            }
        }
        gaps
    }

    /// The kinds of decisions, evaluators, facts, calls and expressions: how many were met, and which were not.
    fn kinds(&self) -> [Kinds; 5] {
        let of = |name, all: &[&'static str], met: &dyn Fn(&str) -> bool| {
            let missing: Vec<&'static str> = all.iter().copied().filter(|name| !met(name)).collect();
            Kinds { name, all: all.len(), missing }
        };
        [
            of("decisions", &OUTCOMES, &|name| self.outcomes.contains_key(name)),
            of("evaluators", &EVALUATORS, &|name| self.evaluators.contains_key(name)),
            of("facts", &FACTS, &|name| self.facts.contains_key(name)),
            of("calls", &CALLS, &|name| self.calls.contains_key(name)),
            of("expressions", &EXPRESSIONS, &|name| self.expressions.get(name).is_some_and(|(_, cases)| *cases > 0)),
        ]
    }

    /// The report.
    pub fn json(&self) -> Value {
        let expressions: BTreeMap<_, _> = self
            .expressions
            .iter()
            .map(|(name, (rules, cases))| (name, json!({"rules": rules, "cases": cases})))
            .collect();
        let kinds: BTreeMap<_, _> = (self.kinds().iter())
            .map(|kinds| {
                let met = kinds.all - kinds.missing.len();
                (kinds.name, json!({"met": met, "of": kinds.all, "missing": kinds.missing}))
            })
            .collect();
        json!({
            "cases": self.cases,
            "worlds": self.worlds,
            "mismatches": self.mismatches,
            "kinds_met": kinds,
            "decisions": self.outcomes,
            "worked_out_by": self.evaluators,
            "facts": self.facts,
            "calls": self.calls,
            "listed_because_permitted": self.listed,
            "rules": {"written": self.written, "refused": self.refused, "refusals": self.refusals},
            "expressions": expressions,
        })
    }
}

/// Kinds of one sort.
struct Kinds {
    name: &'static str,
    all: usize,
    missing: Vec<&'static str>,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Too short to meet everything.
    Short,
    /// Long enough.
    Whole,
}
