//! Holds rules as the generator knows them. In: scopes and conditions. Out: Cedar text, what they read, whom they match. Never here: Cedar's own trees.

use std::collections::BTreeSet;

use crate::ground::{Agent, Column};

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Permit or forbid.
    pub effect: Effect,
    /// Whom it is about.
    pub principal: Principal,
    /// What it covers.
    pub action: Action,
    /// Where.
    pub resource: Resource,
    /// `when` and `unless`, in their order.
    pub clauses: Vec<(Word, Cond)>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `permit`
    Permit,
    /// `forbid`
    Forbid,
}

/// How a clause begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `when`
    When,
    /// `unless`
    Unless,
}

/// Type and id of an entity.
pub type Uid = (&'static str, String);

/// Whom a rule is about.
#[derive(Clone, Debug)]
pub enum Principal {
    /// `principal`
    Any,
    /// `principal is Agent`
    Is,
    /// `principal == …`
    Eq(Uid),
    /// `principal in …`
    In(Uid),
    /// `principal is Agent in …`
    IsIn(Uid),
}

/// What a rule covers.
#[derive(Clone, Debug)]
pub enum Action {
    /// `action`
    Any,
    /// `action == …`
    Eq(String),
    /// `action in …`
    In(String),
    /// `action in […]`
    InAny(Vec<String>),
}

/// Where a rule holds.
#[derive(Clone, Debug)]
pub enum Resource {
    /// `resource`
    Any,
    /// `resource is Server`
    Is,
    /// `resource == …`
    Eq(String),
    /// `resource in …`
    In(String),
    /// `resource is Server in …`
    IsIn(String),
}

/// A condition: what is known before a call stands apart from what is not.
#[derive(Clone, Debug)]
pub enum Cond {
    /// `true` or `false`.
    Const(bool),
    /// About principal, action and resource alone.
    Known(Known),
    /// About the call.
    Atom(Piece),
    /// `!`
    Not(Box<Cond>),
    /// `&&`
    And(Box<Cond>, Box<Cond>),
    /// `||`
    Or(Box<Cond>, Box<Cond>),
    /// `if then else`
    If(Box<Cond>, Box<Cond>, Box<Cond>),
}

/// A test of who, what and where.
#[derive(Clone, Debug)]
pub enum Known {
    /// `principal is …`
    PrincipalIs(&'static str),
    /// `principal == …`, or `!=`, which the flag says.
    PrincipalEq(String, Sign),
    /// `principal in …`, one or a set.
    PrincipalIn(Vec<Uid>),
    /// `principal is Agent in …`
    PrincipalIsIn(Uid),
    /// `action == …`, or `!=`.
    ActionEq(String, Sign),
    /// `action in …`
    ActionIn(Vec<String>),
    /// `resource == …`, or `!=`.
    ResourceEq(String, Sign),
}

/// `==` or `!=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

/// Cedar text, what it reads and of what it is made.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// The text, in parentheses where it needs them.
    pub text: String,
    /// What it reads.
    pub reads: BTreeSet<Read>,
    /// Its kinds of expression.
    pub kinds: BTreeSet<&'static str>,
}

/// Something of a call that a rule reads and that may be unfit to be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// An argument's value.
    Value(Vec<String>),
    /// Whether an argument is there.
    Presence(Vec<String>),
    /// The account.
    Account,
    /// A claim of this name.
    Claim(String),
    /// A claim whose name is computed.
    AnyClaim,
    /// The calendars.
    Calendars,
    /// What SQL does.
    Sql,
}

/// A string or an id as Cedar writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// An entity as Cedar writes it.
pub fn named((ty, id): &Uid) -> String {
    format!("{ty}::{}", quoted(id))
}

fn action_named(id: &str) -> String {
    format!("Action::{}", quoted(id))
}

fn any_of(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

impl Rule {
    /// The rule on one line.
    pub fn text(&self) -> String {
        let effect = match self.effect {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        };
        let principal = match &self.principal {
            Principal::Any => "principal".to_owned(),
            Principal::Is => "principal is Agent".to_owned(),
            Principal::Eq(uid) => format!("principal == {}", named(uid)),
            Principal::In(uid) => format!("principal in {}", named(uid)),
            Principal::IsIn(uid) => format!("principal is Agent in {}", named(uid)),
        };
        let action = match &self.action {
            Action::Any => "action".to_owned(),
            Action::Eq(id) => format!("action == {}", action_named(id)),
            Action::In(id) => format!("action in {}", action_named(id)),
            Action::InAny(ids) => {
                format!("action in [{}]", ids.iter().map(|id| action_named(id)).collect::<Vec<_>>().join(", "))
            }
        };
        let resource = match &self.resource {
            Resource::Any => "resource".to_owned(),
            Resource::Is => "resource is Server".to_owned(),
            Resource::Eq(name) => format!("resource == Server::{}", quoted(name)),
            Resource::In(name) => format!("resource in Server::{}", quoted(name)),
            Resource::IsIn(name) => format!("resource is Server in Server::{}", quoted(name)),
        };
        let mut text = format!("{effect} ({principal}, {action}, {resource})");
        for (word, cond) in &self.clauses {
            let word = match word {
                Word::When => "when",
                Word::Unless => "unless",
            };
            text.push_str(&format!(" {word} {{ {} }}", cond.text()));
        }
        text + ";"
    }

    /// Does its scope match this agent on this column?
    pub fn matches(&self, agent: &Agent, column: &Column, server: &str) -> bool {
        let principal = match &self.principal {
            Principal::Any | Principal::Is => true,
            Principal::Eq((ty, id)) => *ty == "Agent" && *id == agent.id,
            Principal::In(uid) | Principal::IsIn(uid) => within(agent, uid),
        };
        let action = match &self.action {
            Action::Any => true,
            Action::Eq(id) => *id == column.action,
            Action::In(id) => covers(id, column),
            Action::InAny(ids) => ids.iter().any(|id| covers(id, column)),
        };
        let resource = match &self.resource {
            Resource::Any | Resource::Is => true,
            Resource::Eq(name) | Resource::In(name) | Resource::IsIn(name) => name == server,
        };
        principal && action && resource
    }

    /// What it reads.
    pub fn reads(&self) -> BTreeSet<Read> {
        let mut all = BTreeSet::new();
        self.clauses.iter().for_each(|(_, cond)| cond.each(&mut |piece| all.extend(piece.reads.iter().cloned())));
        all
    }

    /// Of which kinds of expression its conditions are.
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        let mut all = BTreeSet::new();
        for (word, cond) in &self.clauses {
            all.insert(if *word == Word::When { "when" } else { "unless" });
            cond.kinds(&mut all);
        }
        all
    }
}

/// Cedar's `in` of an agent: itself, or one of its groups.
pub fn within(agent: &Agent, (ty, id): &Uid) -> bool {
    (*ty == "Agent" && *id == agent.id) || (*ty == "Group" && agent.groups.contains(id))
}

/// Cedar's `in` of an action: itself, or one of its groups.
pub fn covers(id: &str, column: &Column) -> bool {
    id == column.action || column.groups.iter().any(|group| group == id)
}

impl Cond {
    /// Its text, in parentheses.
    pub fn text(&self) -> String {
        match self {
            Self::Const(value) => value.to_string(),
            Self::Known(known) => format!("({})", known.text()),
            Self::Atom(piece) => format!("({})", piece.text),
            Self::Not(inner) => format!("!{}", inner.text()),
            Self::And(left, right) => format!("({} && {})", left.text(), right.text()),
            Self::Or(left, right) => format!("({} || {})", left.text(), right.text()),
            Self::If(cond, then, other) => {
                format!("(if {} then {} else {})", cond.text(), then.text(), other.text())
            }
        }
    }

    /// Every piece in it.
    pub fn each(&self, visit: &mut impl FnMut(&Piece)) {
        match self {
            Self::Const(_) | Self::Known(_) => {}
            Self::Atom(piece) => visit(piece),
            Self::Not(inner) => inner.each(visit),
            Self::And(left, right) | Self::Or(left, right) => {
                left.each(visit);
                right.each(visit);
            }
            Self::If(cond, then, other) => [cond, then, other].into_iter().for_each(|part| part.each(visit)),
        }
    }

    fn kinds(&self, all: &mut BTreeSet<&'static str>) {
        match self {
            Self::Const(_) => {
                all.insert("constant");
            }
            Self::Known(known) => {
                all.insert(known.kind());
            }
            Self::Atom(piece) => all.extend(piece.kinds.iter()),
            Self::Not(inner) => {
                all.insert("!");
                inner.kinds(all);
            }
            Self::And(left, right) | Self::Or(left, right) => {
                all.insert(if matches!(self, Self::And(..)) { "&&" } else { "||" });
                left.kinds(all);
                right.kinds(all);
            }
            Self::If(cond, then, other) => {
                all.insert("if");
                [cond, then, other].into_iter().for_each(|part| part.kinds(all));
            }
        }
    }

    /// The whole condition as one piece, for a place inside an expression.
    pub fn piece(&self) -> Piece {
        let mut piece = Piece { text: self.text(), ..Piece::default() };
        self.each(&mut |part| piece.reads.extend(part.reads.iter().cloned()));
        self.kinds(&mut piece.kinds);
        piece
    }
}

impl Known {
    fn text(&self) -> String {
        let sign = |sign: &Sign| match sign {
            Sign::Equal => "==",
            Sign::Unequal => "!=",
        };
        match self {
            Self::PrincipalIs(ty) => format!("principal is {ty}"),
            Self::PrincipalEq(id, is) => format!("principal {} {}", sign(is), named(&("Agent", id.clone()))),
            Self::PrincipalIn(uids) => format!("principal in {}", any_of(uids.iter().map(named))),
            Self::PrincipalIsIn(uid) => format!("principal is Agent in {}", named(uid)),
            Self::ActionEq(id, is) => format!("action {} {}", sign(is), action_named(id)),
            Self::ActionIn(ids) => format!("action in {}", any_of(ids.iter().map(|id| action_named(id)))),
            Self::ResourceEq(name, is) => format!("resource {} Server::{}", sign(is), quoted(name)),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::PrincipalIs(_) => "principal is",
            Self::PrincipalEq(..) => "principal ==",
            Self::PrincipalIn(_) => "principal in",
            Self::PrincipalIsIn(_) => "principal is in",
            Self::ActionEq(..) => "action ==",
            Self::ActionIn(_) => "action in",
            Self::ResourceEq(..) => "resource ==",
        }
    }
}
