//! Compares our policy engine with Cedar. In: a seed. Out: worlds of tools, rules and agents, questions to both, and where they answer differently. Never here: mending.
//!
//! A world is made from one number. The oracle reads it directly: it writes its own entities and contexts and lets Cedar's `Authorizer` judge the whole
//! policy set, scopes included, with no index, no classes and no folding. The engine sees the same world as a gateway would: catalogues of tools with
//! JSON schemas, policy files, a registry, bodies as bytes.
//!
//! Where the engine deliberately says something else than Cedar, [`oracle`] says so, rule by rule, and nowhere else.

pub mod chance;
pub mod pools;
pub mod calendars;
pub mod statements;
pub mod json;
pub mod shape;
pub mod ground;
pub mod rules;
pub mod writer;
pub mod atoms;
pub mod values;
pub mod sets;
pub mod known;
pub mod asks;
pub mod convert;
pub mod oracle;
pub mod subject;
pub mod tally;
pub mod compare;
pub mod pace;
pub mod run;
