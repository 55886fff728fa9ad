//! Asks what could break an invariant. In: what must hold, the rules. Out: for each action two sets of permits and how they must relate. Never here: answers.
//!
//! A question is put in Cedar alone, with permits only. A call is permitted where some permit holds and every forbid is evaluated to `false`, so each
//! permit becomes one rule `permit && !forbid && …`: one that errs in any part does not match. This is exactly how the gateway decides, where a forbid that
//! cannot be evaluated denies; Cedar's own decision, which skips it, is never asked for.
//!
//! What is quantified over, beside all arguments of the tool's types, sources, claims, users and accounts: every agent in any of the groups (or those of the
//! registry), every time from 1970 to 9999, calls with a customer account and calls without one. `connect`, `complete` and `task` follow from
//! other actions and are not asked about.

use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect as PstEffect, Expr, Literal, PolicyID, PrincipalConstraint,
    ResourceConstraint, StaticPolicy, Template, UnaryOp, Var,
};
use cedar_policy::{Effect, EntityUid, Policy, PolicySet, Schema};

use super::facts;
use super::ground::{Book, Ground};
use super::invariant::{Agents, Which};
use super::load::Rule;
use super::reads::Fact;
use super::schema;
use super::scope::{self, PrincipalScope};
use super::surface::{Column, Subject};
use super::types::{Presence, Type};

/// Agents of a registry that a question can hold one by one.
pub const REGISTERED_MAX: usize = 2_000;

/// What must hold, with its rules loaded.
pub enum About<'b> {
    /// No call that these match is permitted.
    Never(Vec<Rule>),
    /// Every call that these match is permitted.
    Always(Vec<Rule>),
    /// What is permitted, the other rules permit as well.
    NotMore(&'b Book<'b>),
    /// What the other rules permit, is permitted.
    NotLess(&'b Book<'b>),
    /// No rule fails.
    NeverErrors(Which),
}

/// Whether a call names a customer account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// It does.
    Named,
    /// It does not: a rule that reads it fails.
    Absent,
}

/// One thing to ask: an action on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its column.
    pub column: u32,
    /// With or without a customer account.
    pub account: Account,
    /// The rule that must not fail, where that is asked.
    pub rule: Option<usize>,
}

/// How two sets of permits must relate.
#[derive(Clone, Debug)]
pub enum Ask {
    /// No request is permitted by both.
    Disjoint(PolicySet, PolicySet),
    /// Every request that the first permits, the second permits.
    Implies(PolicySet, PolicySet),
    /// No request makes it fail.
    NeverErrs(Box<Policy>),
}

/// A question for the solver.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked about.
    pub item: Item,
    /// The action.
    pub action: EntityUid,
    /// What the sets are typed by.
    pub schema: Schema,
    /// The sets.
    pub ask: Ask,
}

/// All that has to be asked; nothing for an action that follows from others.
pub fn items(ground: &Ground<'_>, about: &About<'_>) -> Vec<Item> {
    let rules = &ground.book.rules;
    let permits = |rules: &[Rule]| -> Vec<(u32, Option<usize>)> {
        let covering = rules.iter().filter(|rule| rule.parsed.effect == Effect::Permit);
        covering.flat_map(|rule| rule.columns.iter().map(|column| (*column, None))).collect()
    };
    let mut asked: Vec<(u32, Option<usize>)> = match about {
        About::Never(named) | About::Always(named) => permits(named),
        About::NotMore(_) => permits(rules),
        About::NotLess(other) => permits(&other.rules),
        About::NeverErrors(which) => {
            let meant = rules.iter().enumerate().filter(|(_, rule)| match which {
                Which::Rules => true,
                Which::Forbids => rule.parsed.effect == Effect::Forbid,
            });
            meant.flat_map(|(at, rule)| rule.columns.iter().map(move |column| (*column, Some(at)))).collect()
        }
    };
    asked.sort_unstable();
    asked.dedup();
    let mut items = Vec::with_capacity(asked.len());
    for (column, rule) in asked {
        let Some(subject) = ground.surface.columns.get(column as usize).map(|column| column.subject) else { continue };
        if follows(subject) {
            continue;
        }
        items.push(Item { column, account: Account::Named, rule });
        if about.reads_account(ground, column) {
            items.push(Item { column, account: Account::Absent, rule });
        }
    }
    items
}

/// Whether a subject is permitted because something else is.
pub fn follows(subject: Subject) -> bool {
    match subject {
        Subject::Connect | Subject::Complete | Subject::Task => true,
        Subject::ResourceRead | Subject::PromptGet | Subject::Sample | Subject::Elicit | Subject::Roots => false,
        Subject::Extension(_) | Subject::Tool(_) => false,
    }
}

impl About<'_> {
    /// Whether some rule of the question reads `context.account`.
    pub(super) fn reads_account(&self, ground: &Ground<'_>, column: u32) -> bool {
        let others = match self {
            Self::Never(named) | Self::Always(named) => named.as_slice(),
            Self::NotMore(other) | Self::NotLess(other) => &other.rules,
            Self::NeverErrors(_) => &[],
        };
        let covers = |rule: &&Rule| rule.columns.binary_search(&column).is_ok();
        ground
            .book
            .rules
            .iter()
            .chain(others)
            .filter(covers)
            .any(|rule| rule.parsed.reads.facts.contains(Fact::Account))
    }
}

/// Puts the question.
///
/// # Errors
/// What cannot be asked, in words.
pub fn question(ground: &Ground<'_>, about: &About<'_>, item: Item, agents: Agents) -> Result<Question, String> {
    let column = ground.surface.columns.get(item.column as usize).ok_or("there is no such action")?;
    let made = Made { ground, item, column };
    let universe = made.universe(agents, about)?;
    let permits = |rules: &[Rule]| made.named(rules, &universe);
    let ask = match about {
        About::Never(named) => Ask::Disjoint(permits(named)?, made.permitted(&ground.book, &[])?),
        About::Always(named) => Ask::Implies(permits(named)?, made.permitted(&ground.book, &[])?),
        About::NotMore(other) => Ask::Implies(made.permitted(&ground.book, &universe)?, made.permitted(other, &[])?),
        About::NotLess(other) => Ask::Implies(made.permitted(other, &universe)?, made.permitted(&ground.book, &[])?),
        About::NeverErrors(_) => {
            let rule = item.rule.and_then(|at| ground.book.rules.get(at)).ok_or("there is no such rule")?;
            let parts = universe.iter().cloned().chain(made.holds(rule)?).collect();
            Ask::NeverErrs(Box::new(made.policy(0, parts)?))
        }
    };
    // A condition that names an action is typed by all of them.
    let others: &[Rule] = match about {
        About::Never(named) | About::Always(named) => named,
        About::NotMore(other) | About::NotLess(other) => &other.rules,
        About::NeverErrors(_) => &[],
    };
    let wide = ground.book.rules.iter().chain(others).any(|rule| rule.parsed.reads.names_actions);
    let narrow = [item.column];
    let schema = schema::build(&ground.surface, (!wide).then_some(&narrow), "catalogues");
    let schema = schema.map_err(|finding| finding.message)?;
    let action = facts::entity("Action", &column.action).ok_or("the action cannot be named")?;
    Ok(Question { item, action, schema, ask })
}

/// One question in the making.
struct Made<'m> {
    ground: &'m Ground<'m>,
    item: Item,
    column: &'m Column,
}

type Parts = Vec<Arc<Expr>>;

impl Made<'_> {
    fn covers(&self, rule: &Rule) -> bool {
        rule.columns.binary_search(&self.item.column).is_ok()
    }

    /// The permits that name an invariant's calls.
    fn named(&self, rules: &[Rule], universe: &[Arc<Expr>]) -> Result<PolicySet, String> {
        let mut set = PolicySet::new();
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| self.covers(rule)) {
            let parts = universe.iter().cloned().chain(self.holds(rule)?).collect();
            set.add(self.policy(at, parts)?).map_err(|error| error.to_string())?;
        }
        Ok(set)
    }

    /// One permit for each permit of the book, holding where no forbid holds or fails.
    fn permitted(&self, book: &Book<'_>, universe: &[Arc<Expr>]) -> Result<PolicySet, String> {
        let covering = || book.rules.iter().enumerate().filter(|(_, rule)| self.covers(rule));
        let mut clear = Parts::new();
        for (_, forbid) in covering().filter(|(_, rule)| rule.parsed.effect == Effect::Forbid) {
            let held = conjunction(self.holds(forbid)?);
            clear.push(Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr: held }));
        }
        let mut set = PolicySet::new();
        for (at, permit) in covering().filter(|(_, rule)| rule.parsed.effect == Effect::Permit) {
            let parts = universe.iter().cloned().chain(self.holds(permit)?).chain(clear.iter().cloned()).collect();
            set.add(self.policy(at, parts)?).map_err(|error| error.to_string())?;
        }
        Ok(set)
    }

    /// What must be true for a rule to hold here; its action and resource are this column's.
    fn holds(&self, rule: &Rule) -> Result<Parts, String> {
        let mut parts = Parts::new();
        match rule.principal() {
            PrincipalScope::Everyone => {}
            PrincipalScope::Agent(id) => parts.push(expression(&format!("principal == {}", named("Agent", id)?))?),
            PrincipalScope::Group(id) => parts.push(expression(&format!("principal in {}", named("Group", id)?))?),
            PrincipalScope::Nobody => parts.push(Arc::new(Expr::Literal(Literal::Bool(false)))),
        }
        for clause in &rule.parsed.clauses {
            parts.push(match clause {
                Clause::When(condition) => self.seen(condition)?,
                Clause::Unless(condition) => Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr: self.seen(condition)? }),
            });
        }
        Ok(parts)
    }

    /// A condition as a call with or without an account meets it.
    fn seen(&self, condition: &Arc<Expr>) -> Result<Arc<Expr>, String> {
        match self.item.account {
            Account::Named => Ok(Arc::clone(condition)),
            Account::Absent => without_account(condition, &expression(FAILS)?),
        }
    }

    fn policy(&self, at: usize, parts: Parts) -> Result<Policy, String> {
        let id = PolicyID::from(at.to_string().as_str());
        let any = (PrincipalConstraint::Any, ActionConstraint::Any, ResourceConstraint::Any);
        let template = Template::new(id, PstEffect::Permit, any.0, any.1, any.2);
        let template =
            template.try_with_clauses([Clause::When(conjunction(parts))]).map_err(|error| error.to_string())?;
        let policy = StaticPolicy::try_from(template).map_err(|error| error.to_string())?;
        Policy::from_pst(cedar_policy::pst::Policy::Static(policy)).map_err(|error| error.to_string())
    }

    /// Which calls are asked about.
    fn universe(&self, agents: Agents, about: &About<'_>) -> Result<Parts, String> {
        let face = self.ground.surface.faces.get(usize::from(self.column.server.0)).ok_or("there is no such server")?;
        let mut parts = vec![expression(&format!("resource == {}", named("Server", &face.name)?))?, expression(TIMES)?];
        parts.extend(self.account()?);
        match agents {
            Agents::Any => {}
            Agents::Registered => parts.push(self.registered(about)?),
        }
        Ok(parts)
    }

    /// Where an argument names the account, the two agree.
    fn account(&self) -> Result<Option<Arc<Expr>>, String> {
        let field = self.column.account.as_deref().and_then(|pointer| pointer.strip_prefix('/'));
        let Some(field) = field.and_then(|name| self.column.input.field(name)) else { return Ok(None) };
        let name = format!("{:?}", &*field.name);
        match (self.item.account, field.ty.as_ref(), field.presence) {
            (Account::Named, Some(Type::String), _) => expression(&format!(
                "if context.input has {name} then context.account == context.input[{name}] else true"
            ))
            .map(Some),
            (Account::Absent, Some(_), Presence::Optional | Presence::Nullable) => {
                expression(&format!("!(context.input has {name})")).map(Some)
            }
            (Account::Named | Account::Absent, _, _) => Ok(None),
        }
    }

    /// That the caller is one of the registry's agents, as they are.
    fn registered(&self, about: &About<'_>) -> Result<Arc<Expr>, String> {
        let agents = self.ground.agents();
        if agents.len() > REGISTERED_MAX {
            return Err(format!(
                "the registry holds {} agents, and a question takes {REGISTERED_MAX}; ask of `any` agent",
                agents.len()
            ));
        }
        let groups = self.groups(about);
        let mut one_of = Vec::with_capacity(agents.len());
        for agent in agents {
            let mut parts = vec![format!("principal == {}", named("Agent", agent.id)?)];
            for group in &groups {
                let not = if agent.groups.contains(&&**group) { "" } else { "!" };
                parts.push(format!("{not}(principal in {})", named("Group", group)?));
            }
            parts.push(match agent.accounts.as_slice() {
                [] => "principal.accounts.isEmpty()".to_owned(),
                accounts => format!("principal.accounts == {}", list(accounts)),
            });
            one_of.push(format!("({})", parts.join(" && ")));
        }
        if one_of.is_empty() { expression("false") } else { expression(&one_of.join(" || ")) }
    }

    /// The groups that some rule of the question names.
    fn groups(&self, about: &About<'_>) -> Vec<Box<str>> {
        let others: &[Rule] = match about {
            About::Never(named) | About::Always(named) => named,
            About::NotMore(other) | About::NotLess(other) => &other.rules,
            About::NeverErrors(_) => &[],
        };
        let rules = self.ground.book.rules.iter().chain(others).filter(|rule| self.covers(rule));
        let uids = rules.flat_map(|rule| &rule.parsed.entities);
        let named = |uid: &EntityUid| match scope::named(uid) {
            ("Group", id) => Some(Box::from(id)),
            _ => None,
        };
        let mut groups: Vec<Box<str>> = uids.filter_map(named).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// The times that are asked about: what an RFC 3339 text can say, from the epoch on.
const TIMES: &str = r#"context.now >= datetime("1970-01-01") && context.now < datetime("9999-12-31")"#;

/// A string that is never had: the sum is beyond 64 bits.
const FAILS: &str = r#"if 9223372036854775807 + 1 > 0 then "a" else "b""#;

fn named(ty: &str, id: &str) -> Result<String, String> {
    facts::entity(ty, id).map(|uid| uid.to_string()).ok_or_else(|| format!("`{id}` cannot be named"))
}

fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{}\"", text.escape_debug())).collect();
    format!("[{}]", quoted.join(", "))
}

fn expression(text: &str) -> Result<Arc<Expr>, String> {
    let policy = Policy::parse(None, format!("permit (principal, action, resource) when {{ {text} }};"));
    let tree = policy.map_err(|error| error.to_string())?.to_pst().map_err(|error| error.to_string())?;
    match tree.body().clauses().first() {
        Some(Clause::When(expr) | Clause::Unless(expr)) => Ok(Arc::clone(expr)),
        None => Err("an empty condition".to_owned()),
    }
}

fn conjunction(parts: Parts) -> Arc<Expr> {
    let both = |left, right| Arc::new(Expr::BinaryOp { op: BinaryOp::And, left, right });
    parts.into_iter().reduce(both).unwrap_or_else(|| Arc::new(Expr::Literal(Literal::Bool(true))))
}

/// The condition as it is evaluated without `context.account`: asking for it says no, reading it fails.
fn without_account(expr: &Arc<Expr>, fails: &Arc<Expr>) -> Result<Arc<Expr>, String> {
    let context = |expr: &Expr| matches!(expr, Expr::Var(Var::Context));
    let same = |expr: &Arc<Expr>| without_account(expr, fails);
    let all = |exprs: &[Arc<Expr>]| exprs.iter().map(same).collect::<Result<Vec<_>, _>>();
    Ok(Arc::new(match &**expr {
        Expr::GetAttr { expr, attr } if context(expr) && attr == "account" => return Ok(Arc::clone(fails)),
        Expr::HasAttr { expr, attrs } if context(expr) && attrs.first() == "account" => {
            Expr::Literal(Literal::Bool(false))
        }
        Expr::GetAttr { expr, attr } if context(expr) => Expr::GetAttr { expr: Arc::clone(expr), attr: attr.clone() },
        Expr::HasAttr { expr, attrs } if context(expr) => {
            Expr::HasAttr { expr: Arc::clone(expr), attrs: attrs.clone() }
        }
        Expr::Var(Var::Context) => {
            return Err("a rule compares the whole context, which may lack an account".to_owned());
        }
        Expr::UnaryOp { op, expr } => Expr::UnaryOp { op: *op, expr: same(expr)? },
        Expr::BinaryOp { op, left, right } => Expr::BinaryOp { op: *op, left: same(left)?, right: same(right)? },
        Expr::GetAttr { expr, attr } => Expr::GetAttr { expr: same(expr)?, attr: attr.clone() },
        Expr::HasAttr { expr, attrs } => Expr::HasAttr { expr: same(expr)?, attrs: attrs.clone() },
        Expr::Like { expr, pattern } => Expr::Like { expr: same(expr)?, pattern: pattern.clone() },
        Expr::Is { expr, entity_type, in_expr } => Expr::Is {
            expr: same(expr)?,
            entity_type: entity_type.clone(),
            in_expr: in_expr.as_ref().map(same).transpose()?,
        },
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            Expr::IfThenElse { cond: same(cond)?, then_expr: same(then_expr)?, else_expr: same(else_expr)? }
        }
        Expr::Set(elements) => Expr::Set(all(elements)?),
        Expr::Record(members) => {
            let members = members.iter().map(|(name, member)| Ok((name.clone(), same(member)?)));
            Expr::Record(members.collect::<Result<_, String>>()?)
        }
        Expr::Var(_) | Expr::Literal(_) => return Ok(Arc::clone(expr)),
        // The syntax tree is another crate's and may grow.
        _ => return Err("a rule holds an expression that is not known".to_owned()),
    }))
}
