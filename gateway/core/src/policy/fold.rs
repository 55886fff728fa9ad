//! Folds what is known before a call. In: a condition, the class of agents, the action, the server. Out: true, false, never true, or unknown. Never here: arguments, time.

use cedar_policy::pst::{BinaryOp, Clause, EntityType, EntityUID, Expr, Literal, UnaryOp, Var};

use super::reads::children;
use super::surface::{Column, ServerIndex, Subject};

/// What is certain of a condition whatever the call's arguments, time and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Always true, and never an error.
    True,
    /// Always false, and never an error.
    False,
    /// False or an error: a permit with it never holds, a forbid with it may still err and so deny.
    NeverTrue,
    /// Depends on the call.
    Unknown,
}

/// What is known of all calls of one class of agents on one column.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// An agent of the class; all of a class stand alike to every agent that a condition names.
    pub agent: &'a str,
    /// Those of the agent's groups that some condition names.
    pub groups: &'a [&'a str],
    /// The action.
    pub column: &'a Column,
    /// The server's name.
    pub server: &'a str,
}

/// What a rule's conditions look at beside the call, found once.
#[derive(Clone, Copy, Debug)]
pub struct Bearing {
    /// What they come to, where they look at no entity at all.
    pub fold: Option<Fold>,
    /// Whether they look at the server.
    pub resource: Resource,
}

/// Whether conditions look at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// They do.
    Read,
    /// They do not.
    Unread,
}

impl Bearing {
    /// Of these conditions.
    pub fn of(conditions: &[Clause]) -> Self {
        let (mut entities, mut resource) = (false, Resource::Unread);
        let mut pending: Vec<&Expr> = Vec::new();
        for clause in conditions {
            let (Clause::When(condition) | Clause::Unless(condition)) = clause;
            pending.push(condition);
        }
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::Var(Var::Resource) => {
                    entities = true;
                    resource = Resource::Read;
                }
                Expr::Var(Var::Principal | Var::Action) | Expr::Literal(Literal::EntityUID(_)) => entities = true,
                other => pending.extend(children(other).into_iter().map(|child| &**child)),
            }
        }
        let nothing = Column::plain(ServerIndex(0), Subject::Connect, "");
        let known = Known { agent: "", groups: &[], column: &nothing, server: "" };
        Self { fold: (!entities).then(|| clauses(conditions, &known)), resource }
    }
}

/// The clauses of one policy, which hold together.
pub fn clauses(clauses: &[Clause], known: &Known<'_>) -> Fold {
    clauses.iter().fold(Fold::True, |before, clause| {
        let this = match clause {
            Clause::When(condition) => fold(condition, known),
            Clause::Unless(condition) => not(fold(condition, known)),
        };
        and(before, this)
    })
}

/// What is certain of one expression.
pub(super) fn fold(expr: &Expr, known: &Known<'_>) -> Fold {
    match expr {
        Expr::Literal(Literal::Bool(value)) => certain(*value),
        Expr::UnaryOp { op: UnaryOp::Not, expr } => not(fold(expr, known)),
        Expr::BinaryOp { op: BinaryOp::And, left, right } => and(fold(left, known), fold(right, known)),
        Expr::BinaryOp { op: BinaryOp::Or, left, right } => or(fold(left, known), fold(right, known)),
        Expr::BinaryOp { op: BinaryOp::Eq, left, right } => equal(left, right, known),
        Expr::BinaryOp { op: BinaryOp::NotEq, left, right } => not(equal(left, right, known)),
        Expr::BinaryOp { op: BinaryOp::In, left, right } => within(left, right, known),
        Expr::Is { expr, entity_type, in_expr } => {
            let Some(entity) = entity(expr, known) else { return Fold::Unknown };
            let ty = certain(type_name(entity_type) == Some(entity.ty));
            in_expr.as_ref().map_or(ty, |ancestor| and(ty, within(expr, ancestor, known)))
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            let (then, otherwise) = (fold(then_expr, known), fold(else_expr, known));
            let never = |fold| matches!(fold, Fold::False | Fold::NeverTrue);
            match fold(cond, known) {
                Fold::True => then,
                Fold::False => otherwise,
                Fold::NeverTrue if never(otherwise) => Fold::NeverTrue,
                Fold::Unknown if never(then) && never(otherwise) => Fold::NeverTrue,
                Fold::NeverTrue | Fold::Unknown => Fold::Unknown,
            }
        }
        // Whatever else the language holds or will hold depends on the call, as far as we know.
        _ => Fold::Unknown,
    }
}

fn certain(value: bool) -> Fold {
    if value { Fold::True } else { Fold::False }
}

fn not(fold: Fold) -> Fold {
    match fold {
        Fold::True => Fold::False,
        Fold::False => Fold::True,
        Fold::NeverTrue | Fold::Unknown => Fold::Unknown,
    }
}

/// Cedar's `&&` looks at the right side only where the left is true; an error on the left stays one.
fn and(left: Fold, right: Fold) -> Fold {
    match (left, right) {
        (Fold::True, right) => right,
        (Fold::False, _) => Fold::False,
        (Fold::NeverTrue, _) | (Fold::Unknown, Fold::False | Fold::NeverTrue) => Fold::NeverTrue,
        (Fold::Unknown, Fold::True | Fold::Unknown) => Fold::Unknown,
    }
}

fn or(left: Fold, right: Fold) -> Fold {
    match (left, right) {
        (Fold::True, _) => Fold::True,
        (Fold::False, right) => right,
        (Fold::NeverTrue, Fold::False | Fold::NeverTrue) => Fold::NeverTrue,
        (Fold::NeverTrue, Fold::True | Fold::Unknown) | (Fold::Unknown, _) => Fold::Unknown,
    }
}

/// An entity known before the call.
struct Entity<'e> {
    ty: &'e str,
    id: &'e str,
    /// The groups that the entity is known to be in, where it is the principal or the action.
    parents: Parents<'e>,
}

enum Parents<'e> {
    Groups(&'e [&'e str]),
    Actions(&'e [Box<str>]),
    None,
    /// An entity that a rule names: what it belongs to is not looked up.
    Unknown,
}

fn entity<'e>(expr: &'e Expr, known: &'e Known<'_>) -> Option<Entity<'e>> {
    match expr {
        Expr::Var(Var::Principal) => {
            Some(Entity { ty: "Agent", id: known.agent, parents: Parents::Groups(known.groups) })
        }
        Expr::Var(Var::Action) => {
            Some(Entity { ty: "Action", id: &known.column.action, parents: Parents::Actions(&known.column.groups) })
        }
        Expr::Var(Var::Resource) => Some(Entity { ty: "Server", id: known.server, parents: Parents::None }),
        Expr::Literal(Literal::EntityUID(uid)) => {
            Some(Entity { ty: uid_type(uid)?, id: uid.eid.as_str(), parents: Parents::Unknown })
        }
        _ => None,
    }
}

/// Type and id of an entity that is known before the call.
pub(super) fn named<'e>(expr: &'e Expr, known: &'e Known<'_>) -> Option<(&'e str, &'e str)> {
    entity(expr, known).map(|entity| (entity.ty, entity.id))
}

fn equal(left: &Expr, right: &Expr, known: &Known<'_>) -> Fold {
    match (entity(left, known), entity(right, known)) {
        (Some(left), Some(right)) => certain(left.ty == right.ty && left.id == right.id),
        (Some(_) | None, None) | (None, Some(_)) => Fold::Unknown,
    }
}

fn within(left: &Expr, right: &Expr, known: &Known<'_>) -> Fold {
    if let Expr::Set(elements) = right {
        return elements.iter().fold(Fold::False, |before, element| match (before, within(left, element, known)) {
            (Fold::True, _) | (_, Fold::True) => Fold::True,
            (Fold::False, Fold::False) => Fold::False,
            (_, _) => Fold::Unknown,
        });
    }
    let (Some(left), Some(right)) = (entity(left, known), entity(right, known)) else { return Fold::Unknown };
    if left.ty == right.ty && left.id == right.id {
        return Fold::True;
    }
    match left.parents {
        Parents::Groups(groups) => certain(right.ty == "Group" && groups.contains(&right.id)),
        Parents::Actions(groups) => certain(right.ty == "Action" && groups.iter().any(|group| **group == *right.id)),
        Parents::None => Fold::False,
        Parents::Unknown => Fold::Unknown,
    }
}

fn uid_type(uid: &EntityUID) -> Option<&str> {
    type_name(&uid.ty)
}

/// The name of a type outside any namespace; ours all are.
fn type_name(ty: &EntityType) -> Option<&str> {
    ty.0.namespace.is_empty().then(|| ty.0.id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalogue::ToolIndex;
    use crate::policy::surface::{ServerIndex, Subject};
    use crate::policy::types::Record;

    fn check(condition: &str, expected: Fold) {
        let policy =
            cedar_policy::Policy::parse(None, format!("permit (principal, action, resource) {condition};")).unwrap();
        let column = Column {
            server: ServerIndex(0),
            subject: Subject::Tool(ToolIndex(0)),
            action: "crm.read".into(),
            groups: [Box::from("call")].into(),
            input: Record::open(),
            account: None,
            sql: None,
            output: None,
            result: None,
        };
        let known = Known { agent: "bot", groups: &["support"], column: &column, server: "crm" };
        assert_eq!(clauses(policy.to_pst().unwrap().body().clauses(), &known), expected, "{condition}");
    }

    #[test]
    fn what_depends_on_the_call_stays_unknown() {
        for condition in [
            "context.input.a == 1",
            "!(context.input.a == 1)",
            "context.now > datetime(\"2024-01-01\")",
            "principal.accounts.contains(\"x\")",
        ] {
            check(&format!("when {{ {condition} }}"), Fold::Unknown);
            check(&format!("when {{ {condition} && principal == Agent::\"bot\" }}"), Fold::Unknown);
            check(&format!("when {{ {condition} && false }}"), Fold::NeverTrue);
            check(&format!("when {{ !({condition} && false) }}"), Fold::Unknown);
            check(&format!("when {{ false && {condition} }}"), Fold::False);
            check(&format!("when {{ {condition} || true }}"), Fold::Unknown);
            check(&format!("when {{ ({condition} && false) || {condition} }}"), Fold::Unknown);
            check(&format!("when {{ if {condition} then false else false }}"), Fold::NeverTrue);
            check(&format!("when {{ if {condition} then true else false }}"), Fold::Unknown);
        }
        check("when { if context.input.a == 1 && false then true else false }", Fold::NeverTrue);
        check("when { Group::\"a\" in Group::\"b\" }", Fold::Unknown);
    }

    #[test]
    fn who_what_and_where_are_folded() {
        let certain = [
            "principal in Group::\"support\"",
            "principal in [Group::\"other\", Group::\"support\"]",
            "principal == Agent::\"bot\"",
            "principal in Agent::\"bot\"",
            "principal is Agent",
            "principal is Agent in Group::\"support\"",
            "action == Action::\"crm.read\"",
            "action in Action::\"call\"",
            "resource == Server::\"crm\"",
            "true || context.input.a == 1",
            "if action in Action::\"call\" then true else context.input.a == 1",
        ];
        for condition in certain {
            check(&format!("when {{ {condition} }}"), Fold::True);
            check(&format!("unless {{ {condition} }}"), Fold::False);
        }
        for condition in [
            "principal in Group::\"other\"",
            "principal != Agent::\"bot\"",
            "action in Action::\"x\"",
            "resource == Server::\"pg\"",
            "principal is Group",
        ] {
            check(&format!("when {{ {condition} }}"), Fold::False);
        }
        check("", Fold::True);
    }
}
