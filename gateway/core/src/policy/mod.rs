//! Decides what an agent may do. In: rules, reviewed tools, the registry, one call. Out: a permit or a denial, with the rules that determined it. Never here: IO, clocks, logs.
//!
//! Rules are Cedar. They are loaded once: parsed, checked and strictly validated against a schema made from the tools' own schemas; indexed by
//! whom they are about and what they cover; and folded as far as the class of agents and the action decide them. What is left of them is
//! lowered to a program over the values of the call, which decides without allocating; what has no instructions is left to Cedar's evaluator over
//! the few rules of one cell. An error inside a forbid denies, which Cedar itself would skip. What a permit obliges to
//! (redactions, row caps, rates, budgets) stands in its annotations and rides on every decision it determines.

pub mod calendar;
pub mod names;
pub mod pin;
pub mod catalogue;
pub mod types;
pub mod sql;
pub mod surface;
pub mod schema;
pub mod reads;
pub mod fold;
pub mod meter;
pub mod obligation;
pub mod declares;
pub mod spread;
pub mod split;
pub mod scope;
pub mod source;
pub mod check;
pub mod output;
pub mod quick;
pub mod load;
pub mod who;
pub mod verdict;
pub mod drift;
pub mod plan;
pub mod convert;
pub mod facts;
pub mod result;
pub mod oblige;
pub mod program;
pub mod slots;
pub mod lower;
pub mod evaluate;
pub mod cell;
pub mod classes;
pub mod made;
pub mod index;
pub mod engine;
pub mod unchecked;
mod call;
pub mod duty;
pub mod quarantine;
pub mod trial;
pub mod explain;
pub mod diff;
pub mod suggest;
pub mod invariant;
pub mod ground;
pub mod question;
pub mod mend;
pub mod extract;
pub mod witness;
#[cfg(test)]
pub(crate) mod tests;
