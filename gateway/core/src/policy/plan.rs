//! Plans what a cell must convert. In: what its rules read, the tool's typed arguments. Out: a tree of wanted members, made once at load. Never here: values.

use std::sync::Arc;

use super::check::pointer;
use super::reads::{Argument, Fact, FactSet, How, Reads};
use super::sql::SqlRules;
use super::surface::{Column, Subject};
use super::types::{Presence, Record, Type};

/// All that is converted before the rules of a cell are evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Facts beside the arguments.
    pub facts: FactSet,
    /// The claims asked for by name.
    pub claims: Vec<Box<str>>,
    /// Whether a claim of any name may be asked for.
    pub computes_claims: bool,
    /// The arguments; none where no rule reads any.
    pub input: Option<Input>,
    /// The argument that names the account, where the account is read.
    pub account: Option<AccountArgument>,
    /// How the argument that holds SQL is read, where a rule reads `context.sql`.
    pub sql: Option<Arc<SqlRules>>,
    /// Facts that a residual program reads, and the slots it looks for them in.
    pub given: Vec<(Given, u16)>,
    /// Claims that a residual program reads by name, and their slots.
    pub claim_slots: Vec<(Box<str>, u16)>,
    /// How many slots a residual program reads, those of arguments among them.
    pub slots: u16,
}

/// A fact beside the arguments that a residual program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Given {
    /// `context.account`, a text.
    Account,
    /// `context.name`, a text.
    Name,
    /// `context.now`, an instant.
    Now,
    /// `context.source`, an address.
    Source,
    /// `context.uri`, a text.
    Uri,
    /// `principal.accounts`, a set of texts.
    Accounts,
    /// `principal.user`, a text.
    User,
    /// `context.calendars`, a set of texts.
    Calendars,
    /// `context.sql.kinds`, a set of texts.
    SqlKinds,
    /// `context.sql.tables`, a set of texts.
    SqlTables,
    /// `context.sql.functions`, a set of texts.
    SqlFunctions,
}

/// Where the facts of the context stand in it. A fact of several members, such as `context.a.b`, has a path of as many names.
const CONTEXT: [(&[&str], Given); 9] = [
    (&["account"], Given::Account),
    (&["calendars"], Given::Calendars),
    (&["name"], Given::Name),
    (&["now"], Given::Now),
    (&["source"], Given::Source),
    (&["sql", "functions"], Given::SqlFunctions),
    (&["sql", "kinds"], Given::SqlKinds),
    (&["sql", "tables"], Given::SqlTables),
    (&["uri"], Given::Uri),
];

impl Given {
    /// The fact at this path below `context`.
    pub fn of_context(path: &[&str]) -> Option<Self> {
        CONTEXT.iter().find(|(known, _)| *known == path).map(|(_, given)| *given)
    }
}

/// The argument that names the customer account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountArgument {
    /// Its RFC 6901 pointer, for the refusal.
    pub pointer: Arc<str>,
    /// The pointer's reference tokens, unescaped.
    pub path: Box<[Box<str>]>,
}

impl AccountArgument {
    fn at(pointer: &str) -> Self {
        let steps = pointer.split('/').skip(1);
        let path = steps.map(|step| step.replace("~1", "/").replace("~0", "~").into()).collect();
        Self { pointer: pointer.into(), path }
    }
}

/// How the arguments are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// As a whole, for a rule that compares them at once.
    Whole(Record),
    /// Some members.
    Members(Vec<Member>),
}

impl Input {
    /// What is wanted of an object of this shape.
    pub fn of(record: &Record, wanted: &[&Argument]) -> Self {
        if wanted.iter().any(|member| member.path.is_empty() && member.how == How::Value) {
            return Self::Whole(record.clone());
        }
        let paths: Vec<(&[Box<str>], How)> = wanted.iter().map(|member| (member.path.as_slice(), member.how)).collect();
        Self::Members(members(record, &paths, &mut Vec::new()))
    }
}

/// One wanted member of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its name.
    pub name: Box<str>,
    /// Its RFC 6901 pointer from the arguments on, for the refusal; shared, so that a refusal does not copy it.
    pub pointer: Arc<str>,
    /// Whether it may be absent or `null`.
    pub presence: Presence,
    /// How it is wanted.
    pub want: Want,
    /// The slot that a residual program looks for it in.
    pub slot: Option<u16>,
}

/// How a member is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
            plan.account = column.account.as_deref().map(AccountArgument::at);
        }
        if plan.facts.contains(Fact::Sql) {
            plan.sql = column.sql.clone();
        }
        if matches!(column.subject, Subject::Tool(_)) && !wanted.is_empty() {
            plan.input = Some(Input::of(&column.input, &wanted));
        }
        plan
    }

    /// Gives the argument at this path its slot.
    pub fn place(&mut self, path: &[Box<str>], slot: u16) -> Placed {
        let Some(Input::Members(members)) = &mut self.input else { return Placed::Nowhere };
        let mut members = members.as_mut_slice();
        for (depth, step) in path.iter().enumerate() {
            let Some(member) = members.iter_mut().find(|member| member.name == *step) else { return Placed::Nowhere };
            if depth + 1 == path.len() {
                member.slot = Some(slot);
                return Placed::There;
            }
            let Want::Members(below) = &mut member.want else { return Placed::Nowhere };
            members = below;
        }
        Placed::Nowhere
    }

    /// Whether a plan over these reads differs from column to column.
    pub fn depends_on_column(reads: &Reads, column: &Column) -> bool {
        let account = reads.facts.contains(Fact::Account) && column.account.is_some();
        let sql = reads.facts.contains(Fact::Sql) && column.sql.is_some();
        account || sql || !reads.arguments.is_empty() || reads.facts.contains(Fact::Action)
    }
}

/// Whether an argument was found in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It has its slot.
    There,
    /// No rule wants it.
    Nowhere,
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
        out.push(Member { name: name.into(), pointer: pointer(upto.iter()).into(), presence, want, slot: None });
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
