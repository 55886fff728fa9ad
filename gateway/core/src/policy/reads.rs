//! Finds what a rule reads. In: the conditions of one policy. Out: which facts and which arguments must be converted for it. Never here: values.

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};

/// One thing beside the arguments that a rule can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The agent's attributes or groups.
    Principal,
    /// The action's groups.
    Action,
    /// `context.account`.
    Account,
    /// `context.calendars`.
    Calendars,
    /// `context.claims`.
    Claims,
    /// `context.name`.
    Name,
    /// `context.now`.
    Now,
    /// `context.source`.
    Source,
    /// `context.sql`.
    Sql,
    /// `context.uri`.
    Uri,
}

const CONTEXT_FACTS: [(&str, Fact); 8] = [
    ("account", Fact::Account),
    ("calendars", Fact::Calendars),
    ("claims", Fact::Claims),
    ("name", Fact::Name),
    ("now", Fact::Now),
    ("source", Fact::Source),
    ("sql", Fact::Sql),
    ("uri", Fact::Uri),
];

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FactSet(u16);

impl FactSet {
    /// Adds one.
    pub fn insert(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u16;
    }

    /// Whether it is among them.
    pub fn contains(self, fact: Fact) -> bool {
        self.0 & (1 << fact as u16) != 0
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How an argument is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Only `has`.
    Presence,
    /// Its value.
    Value,
}

/// One argument or member of a result that is read; the empty path is `context.input` or `context.output` itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Member names below it.
    pub path: Vec<Box<str>>,
    /// Value or presence.
    pub how: How,
}

/// A text that a rule looks for in a set of facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The set, as in `calendars` or `sql.tables`.
    pub set: Box<str>,
    /// The text.
    pub text: Box<str>,
}

/// All that a rule's conditions read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Facts beside the arguments.
    pub facts: FactSet,
    /// Arguments, in the order of the text, each once.
    pub arguments: Vec<Argument>,
    /// Members of the result, below `context.output`, in the order of the text, each once.
    pub outputs: Vec<Argument>,
    /// Whether the conditions take the context as a whole.
    pub takes_context: bool,
    /// Groups that the conditions name.
    pub groups: Vec<Box<str>>,
    /// Agents that the conditions name.
    pub agents: Vec<Box<str>>,
    /// Claims that the conditions ask for by name.
    pub claims: Vec<Box<str>>,
    /// Whether the conditions ask for a claim whose name is computed, which may be any.
    pub computes_claims: bool,
    /// Whether the conditions name an action.
    pub names_actions: bool,
    /// Texts that the conditions look for in a set of facts, such as the names of calendars.
    pub sought: Vec<Sought>,
    /// Whether the conditions bind the tables of SQL to listed ones.
    pub lists_tables: bool,
    /// Members of the context that exist for no action, as `weather`; each once. Even a `has` of one counts: it would be false for ever, in silence.
    pub unknown: Vec<Box<str>>,
}

impl Reads {
    /// What these clauses read.
    pub fn of(clauses: &[Clause]) -> Self {
        let mut reads = Self::default();
        for clause in clauses {
            let (Clause::When(condition) | Clause::Unless(condition)) = clause;
            reads.walk(condition);
        }
        reads
    }

    fn walk(&mut self, expr: &Expr) {
        match expr {
            Expr::Var(Var::Principal) => self.facts.insert(Fact::Principal),
            Expr::Var(Var::Action) => self.facts.insert(Fact::Action),
            Expr::Var(Var::Context) => {
                self.takes_context = true;
                self.everything();
            }
            Expr::Literal(Literal::EntityUID(uid)) => self.name(&uid.ty.to_string(), &uid.eid),
            Expr::GetAttr { expr: inner, attr: _ } => match context_path(expr) {
                Some(path) => self.read(&path, How::Value),
                None => self.walk(inner),
            },
            Expr::HasAttr { expr: inner, attrs } => match context_path(inner) {
                Some(mut path) => {
                    path.extend(attrs.iter().map(|attr| attr.as_str()));
                    self.read(&path, How::Presence);
                }
                None => self.walk(inner),
            },
            Expr::BinaryOp { op: BinaryOp::GetTag | BinaryOp::HasTag, left, right } => {
                self.walk(left);
                match &**right {
                    Expr::Literal(Literal::String(name)) => self.claims.push(name.as_str().into()),
                    computed => {
                        self.computes_claims = true;
                        self.walk(computed);
                    }
                }
            }
            Expr::BinaryOp {
                op:
                    op @ (BinaryOp::Contains
                    | BinaryOp::ContainsAll
                    | BinaryOp::ContainsAny
                    | BinaryOp::Eq
                    | BinaryOp::NotEq),
                left,
                right,
            } => {
                self.seek(left, right);
                self.seek(right, left);
                let listed = matches!(op, BinaryOp::ContainsAll | BinaryOp::Eq) && matches!(**left, Expr::Set(_));
                let reversed = *op == BinaryOp::Eq && matches!(**right, Expr::Set(_));
                self.lists_tables |= (listed && context_path(right).is_some_and(|path| path == TABLES))
                    || (reversed && context_path(left).is_some_and(|path| path == TABLES));
                self.walk(left);
                self.walk(right);
            }
            // The syntax tree is another crate's and may grow: whatever it holds, its parts are walked.
            other => children(other).into_iter().for_each(|child| self.walk(child)),
        }
    }

    /// Texts in `sought` that are looked for in the set of facts `set`.
    fn seek(&mut self, set: &Expr, sought: &Expr) {
        let Some(path) = context_path(set).filter(|path| matches!(path.as_slice(), ["calendars"] | ["sql", _])) else {
            return;
        };
        let elements: Vec<&Expr> = match sought {
            Expr::Set(elements) => elements.iter().map(|element| &**element).collect(),
            other => vec![other],
        };
        for element in elements {
            if let Expr::Literal(Literal::String(text)) = element {
                self.sought.push(Sought { set: path.join(".").into(), text: text.as_str().into() });
            }
        }
    }

    fn name(&mut self, ty: &str, id: &str) {
        let names = match ty {
            "Group" => &mut self.groups,
            "Agent" => &mut self.agents,
            "Action" => {
                self.names_actions = true;
                return;
            }
            _ => return,
        };
        if !names.iter().any(|name| **name == *id) {
            names.push(id.into());
        }
    }

    fn read(&mut self, path: &[&str], how: How) {
        let Some((first, rest)) = path.split_first() else { return self.everything() };
        if let "input" | "output" = *first {
            let member = Argument { path: rest.iter().map(|step| Box::from(*step)).collect(), how };
            let members = if *first == "input" { &mut self.arguments } else { &mut self.outputs };
            if !members.contains(&member) {
                members.push(member);
            }
            return;
        }
        if let Some((_, fact)) = CONTEXT_FACTS.iter().find(|(name, _)| name == first) {
            self.facts.insert(*fact);
        } else if !self.unknown.iter().any(|name| **name == **first) {
            self.unknown.push((*first).into());
        }
    }

    /// The names of all that a rule can read of the context.
    pub fn context_names() -> impl Iterator<Item = &'static str> {
        CONTEXT_FACTS.iter().map(|(name, _)| *name).chain(["input", "output"])
    }

    /// Whether the rule is about what a call brought: it is judged with the result and not with the request.
    pub fn is_over_results(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Whether this member of the context is read.
    pub fn reads_context(&self, name: &str) -> bool {
        match CONTEXT_FACTS.iter().find(|(known, _)| *known == name) {
            Some((_, fact)) => self.facts.contains(*fact),
            None => name == "input" && !self.arguments.is_empty(),
        }
    }

    fn everything(&mut self) {
        for (_, fact) in CONTEXT_FACTS {
            self.facts.insert(fact);
        }
        self.read(&["input"], How::Value);
    }
}

/// `context.sql.tables`.
const TABLES: [&str; 2] = ["sql", "tables"];

/// The member names of `context.a.b`; none for anything else.
pub(super) fn context_path(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Var(Var::Context) => Some(Vec::new()),
        Expr::GetAttr { expr, attr } => {
            let mut path = context_path(expr)?;
            path.push(attr.as_str());
            Some(path)
        }
        _ => None,
    }
}

/// The direct parts of an expression.
pub fn children(expr: &Expr) -> Vec<&Arc<Expr>> {
    match expr {
        Expr::UnaryOp { op: _, expr }
        | Expr::GetAttr { expr, attr: _ }
        | Expr::HasAttr { expr, attrs: _ }
        | Expr::Like { expr, pattern: _ } => vec![expr],
        Expr::BinaryOp { op: _, left, right } => vec![left, right],
        Expr::Is { expr, entity_type: _, in_expr } => [expr].into_iter().chain(in_expr).collect(),
        Expr::IfThenElse { cond, then_expr, else_expr } => vec![cond, then_expr, else_expr],
        Expr::Set(elements) => elements.iter().collect(),
        Expr::Record(members) => members.values().collect(),
        // Leaves: literals, variables, slots, unknowns.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str, arguments: &[&str], facts: &[Fact]) {
        let policy =
            cedar_policy::Policy::parse(None, format!("permit (principal, action, resource) when {{ {condition} }};"))
                .unwrap();
        let reads = Reads::of(policy.to_pst().unwrap().body().clauses());
        let shown: Vec<String> =
            reads.arguments.iter().map(|read| format!("{:?} {}", read.how, read.path.join("/"))).collect();
        assert_eq!(shown, arguments, "{condition}");
        let mut expected = FactSet::default();
        facts.iter().for_each(|fact| expected.insert(*fact));
        assert_eq!(reads.facts, expected, "{condition}");
    }

    #[test]
    fn every_read_of_a_condition_is_found() {
        check("true", &[], &[]);
        check(
            "context == {}",
            &["Value "],
            &[Fact::Account, Fact::Calendars, Fact::Claims, Fact::Name, Fact::Now, Fact::Source, Fact::Sql, Fact::Uri],
        );
        check("[\"a\"].contains(context.input.table)", &["Value table"], &[]);
        check("context.input has a && context.input.a.b > 1", &["Presence a", "Value a/b"], &[]);
        check("context.input has a.b.c", &["Presence a/b/c"], &[]);
        check("(if true then context.input else context.input).x == 1", &["Value "], &[]);
        check("context[\"input\"][\"x y\"] like \"*\"", &["Value x y"], &[]);
        check("principal.accounts.contains(context.account)", &[], &[Fact::Principal, Fact::Account]);
        check(
            "context.claims.hasTag(\"a\") && context.now > datetime(\"2024-01-01\")",
            &[],
            &[Fact::Claims, Fact::Now],
        );
        check(
            "action in Action::\"call\" && {\"a\": context.source}.a.isLoopback()",
            &[],
            &[Fact::Action, Fact::Source],
        );
    }

    #[test]
    fn members_that_no_context_has_are_found() {
        let text = "permit (principal, action, resource) when { context has weather.today || context.now > context[\"sea\"] || context.sea };";
        let reads = Reads::of(cedar_policy::Policy::parse(None, text).unwrap().to_pst().unwrap().body().clauses());
        assert_eq!(reads.unknown, ["weather".into(), "sea".into()]);
    }

    #[test]
    fn texts_sought_in_facts_are_found() {
        let check = |condition: &str, expected: &[&str], lists: &[&str]| {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let reads = Reads::of(cedar_policy::Policy::parse(None, text).unwrap().to_pst().unwrap().body().clauses());
            let shown: Vec<String> =
                reads.sought.iter().map(|sought| format!("{} {}", sought.set, sought.text)).collect();
            assert_eq!(
                (shown.as_slice(), reads.lists_tables),
                (expected.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(), !lists.is_empty()),
                "{condition}"
            );
        };
        check(
            "context.calendars.contains(\"a\") && !context.calendars.containsAny([\"b\", \"c\"])",
            &["calendars a", "calendars b", "calendars c"],
            &[],
        );
        check("[\"a\"].containsAll(context.sql.tables)", &["sql.tables a"], &["tables"]);
        check(
            "context.sql.tables == [\"a\"] && context.sql.kinds == [\"select\"]",
            &["sql.tables a", "sql.kinds select"],
            &["tables"],
        );
        check(
            "context.sql.tables.contains(\"a\") || context.sql.tables.containsAll([\"b\"])",
            &["sql.tables a", "sql.tables b"],
            &[],
        );
    }

    #[test]
    fn names_in_conditions_are_found() {
        let policy = cedar_policy::Policy::parse(
            None,
            "permit (principal in Group::\"scope\", action, resource) when { principal in [Group::\"a\", Group::\"b\"] } unless { principal == Agent::\"x\" };",
        );
        let reads = Reads::of(policy.unwrap().to_pst().unwrap().body().clauses());
        assert_eq!((reads.groups, reads.agents), (vec!["a".into(), "b".into()], vec!["x".into()]));
    }
}
