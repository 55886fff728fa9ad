//! Plans what a cell must convert. In: what its rules read, the tool's typed arguments. Out: a tree of wanted members, made once at load. Never here: values.

use std::sync::Arc;

use super::check::pointer;
use super::reads::{Argument, Fact, FactSet, How, Reads};
use super::sql::SqlRules;
use super::surface::{Column, Subject};
use super::types::{Presence, Record, Type};

/// All that is converted before the rules of a cell are evaluated.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Facts beside the arguments.
    pub facts: FactSet,
    /// The claims asked for by name.
    pub claims: Vec<Box<str>>,
    /// Whether a claim of any name may be asked for.
    pub computes_claims: bool,
    /// The arguments; none where no rule reads any.
    pub input: Option<Input>,
    /// The pointer of the argument that names the account, where the account is read.
    pub account: Option<Box<str>>,
    /// How the argument that holds SQL is read, where a rule reads `context.sql`.
    pub sql: Option<Arc<SqlRules>>,
}

/// How the arguments are wanted.
#[derive(Clone, Debug)]
pub enum Input {
    /// As a whole, for a rule that compares them at once.
    Whole(Record),
    /// Some members.
    Members(Vec<Member>),
}

/// One wanted member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: Box<str>,
    /// Its RFC 6901 pointer from the arguments on, for the refusal.
    pub pointer: Box<str>,
    /// Whether it may be absent or `null`.
    pub presence: Presence,
    /// How it is wanted.
    pub want: Want,
}

/// How a member is wanted.
#[derive(Clone, Debug)]
pub enum Want {
    /// The tool does not declare it, so its value has no type: a call that carries it is denied.
    Absence,
    /// Only whether it is there.
    Presence,
    /// Its value.
    Value(Type),
    /// Some of its members.
    Members(Vec<Member>),
}

impl Plan {
    /// The plan for rules with these reads on this column.
    pub fn of<'r>(rules: impl Iterator<Item = &'r Reads>, column: &Column) -> Self {
        let mut plan = Self::default();
        let mut wanted: Vec<&Argument> = Vec::new();
        for reads in rules {
            plan.facts = plan.facts.union(reads.facts);
            plan.computes_claims |= reads.computes_claims;
            plan.claims.extend(reads.claims.iter().cloned());
            wanted.extend(&reads.arguments);
        }
        plan.claims.sort_unstable();
        plan.claims.dedup();
        if plan.facts.contains(Fact::Account) {
            plan.account = column.account.clone();
        }
        if plan.facts.contains(Fact::Sql) {
            plan.sql = column.sql.clone();
        }
        if matches!(column.subject, Subject::Tool(_)) && !wanted.is_empty() {
            let whole = wanted.iter().any(|argument| argument.path.is_empty() && argument.how == How::Value);
            let paths: Vec<(&[Box<str>], How)> =
                wanted.iter().map(|argument| (argument.path.as_slice(), argument.how)).collect();
            plan.input = Some(if whole {
                Input::Whole(column.input.clone())
            } else {
                Input::Members(members(&column.input, &paths, &mut Vec::new()))
            });
        }
        plan
    }

    /// Whether a plan over these reads differs from column to column.
    pub fn depends_on_column(reads: &Reads, column: &Column) -> bool {
        let account = reads.facts.contains(Fact::Account) && column.account.is_some();
        let sql = reads.facts.contains(Fact::Sql) && column.sql.is_some();
        account || sql || !reads.arguments.is_empty() || reads.facts.contains(Fact::Action)
    }
}

fn members(record: &Record, wanted: &[(&[Box<str>], How)], upto: &mut Vec<Box<str>>) -> Vec<Member> {
    let mut names: Vec<&str> = wanted.iter().filter_map(|(path, _)| path.first().map(|name| &**name)).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let below: Vec<(&[Box<str>], How)> = wanted
            .iter()
            .filter_map(|(path, how)| {
                path.split_first().filter(|(first, _)| &***first == name).map(|(_, rest)| (rest, *how))
            })
            .collect();
        upto.push(name.into());
        let (want, presence) = match record.field(name) {
            None => (Want::Absence, Presence::Nullable),
            Some(field) => (wish(field.ty.as_ref(), &below, upto), field.presence),
        };
        out.push(Member { name: name.into(), pointer: pointer(upto.iter()).into(), presence, want });
        upto.pop();
    }
    out
}

fn wish(ty: Option<&Type>, below: &[(&[Box<str>], How)], upto: &mut Vec<Box<str>>) -> Want {
    // A rule over an untyped member was refused at load; were one to slip through, it would meet a denial here.
    let Some(ty) = ty else { return Want::Absence };
    if below.iter().any(|(rest, how)| rest.is_empty() && *how == How::Value) {
        return Want::Value(ty.clone());
    }
    if below.iter().all(|(rest, _)| rest.is_empty()) {
        return Want::Presence;
    }
    match ty {
        Type::Record(inner) => Want::Members(members(inner, below, upto)),
        Type::String | Type::Long | Type::Bool | Type::Decimal | Type::Set(_) => Want::Value(ty.clone()),
    }
}
