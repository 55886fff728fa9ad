//! Lowers conditions. In: a rule's clauses, the class of agents, the column. Out: instructions over slots, or why they stay with Cedar. Never here: values of calls.

use std::fmt;
use std::sync::Arc;

use ahash::AHashMap;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, PatternElem, UnaryOp, Var};
use cedar_policy::{Context, Entities, EvalResult, Expression, Request};

use super::facts;
use super::fold::{self, Fold, Known};
use super::plan::{Given, Placed, Plan};
use super::program::{Binary, Constant, ConstantSet, Network, Node, Pattern, Unary};
use super::reads::context_path;
use super::slots::{Element, SLOTS_MAX};
use super::surface::Subject;
use super::types::{Record, Type};

/// Instructions inside each other; evaluating recurses as deep, and rules in the wild stay below 10.
pub const DEPTH_MAX: usize = 64;

/// Why a rule stays with Cedar's evaluator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unlowered {
    /// It compares or passes on a record as a whole.
    Record,
    /// It looks into a set of sets or of records.
    NestedSet,
    /// It asks something of an entity that class and action do not decide.
    Entity,
    /// It makes a value of a text that is not written in the rule.
    Constructor,
    /// Its instructions are nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// It and the rules beside it read more than [`SLOTS_MAX`] values.
    TooManyValues,
    /// It uses an operation of Cedar's that has no instruction.
    Operation,
    /// It reads what a call brings.
    Result,
}

impl fmt::Display for Unlowered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => out.write_str("it takes a record as a whole"),
            Self::NestedSet => out.write_str("it looks into a set of sets or of records"),
            Self::Entity => out.write_str("it asks something of an entity that agent and action do not decide"),
            Self::Constructor => out.write_str("it makes a value of a text that it does not spell out"),
            Self::TooDeep => write!(out, "its conditions are nested deeper than {DEPTH_MAX}"),
            Self::TooManyValues => write!(out, "it and the rules beside it read more than {SLOTS_MAX} values"),
            Self::Operation => out.write_str("it uses an operation without an instruction"),
            Self::Result => out.write_str("it reads the result, which is there only once the server has answered"),
        }
    }
}

/// What the texts of `datetime("…")` and `duration("…")` mean, asked of Cedar once each.
#[derive(Default)]
pub struct Times(AHashMap<String, Option<i64>>);

impl Times {
    fn millis(&mut self, expression: String) -> Option<i64> {
        if let Some(known) = self.0.get(&expression) {
            return *known;
        }
        let millis = evaluated(&expression);
        self.0.insert(expression, millis);
        millis
    }
}

/// Cedar's own reading of a whole number's expression.
fn evaluated(expression: &str) -> Option<i64> {
    let (agent, action, server) =
        (facts::entity("Agent", "")?, facts::entity("Action", "")?, facts::entity("Server", "")?);
    let request = Request::new(agent, action, server, Context::empty(), None).ok()?;
    let expression: Expression = expression.parse().ok()?;
    match cedar_policy::eval_expression(&request, &Entities::empty(), &expression).ok()? {
        EvalResult::Long(millis) => Some(millis),
        _ => None,
    }
}

/// Something that a slot is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Argument(Vec<Box<str>>),
    Given(Given),
    Claim(Box<str>),
}

/// Lowers the rules of one cell, which share their slots.
pub struct Lowering<'l> {
    known: Known<'l>,
    times: &'l mut Times,
    places: Vec<Place>,
}

type Lowered = Result<Node, Unlowered>;

impl<'l> Lowering<'l> {
    /// For this class and column.
    pub fn new(known: Known<'l>, times: &'l mut Times) -> Self {
        Self { known, times, places: Vec::new() }
    }

    /// The clauses of one rule, which hold together.
    pub fn clauses(&mut self, clauses: &[Clause]) -> Lowered {
        let mut parts = Vec::with_capacity(clauses.len());
        for clause in clauses {
            parts.push(match clause {
                Clause::When(condition) => self.node(condition, 0)?,
                Clause::Unless(condition) => not(self.node(condition, 0)?),
            });
        }
        Ok(all(parts))
    }

    /// Gives the plan the slots that the lowered rules read.
    pub fn place(self, plan: &mut Plan) -> Result<(), Unlowered> {
        plan.slots = u16::try_from(self.places.len()).map_err(|_| Unlowered::TooManyValues)?;
        for (slot, place) in (0_u16..).zip(self.places) {
            match place {
                Place::Argument(path) => match plan.place(&path, slot) {
                    Placed::There => {}
                    // A rule beside this one takes the record that it stands in as a whole.
                    Placed::Nowhere => return Err(Unlowered::Record),
                },
                Place::Given(given) => plan.given.push((given, slot)),
                Place::Claim(name) => plan.claim_slots.push((name, slot)),
            }
        }
        Ok(())
    }

    fn slot(&mut self, place: Place) -> Result<u16, Unlowered> {
        let slot = self.places.iter().position(|known| *known == place).unwrap_or_else(|| {
            self.places.push(place);
            self.places.len() - 1
        });
        u16::try_from(slot).ok().filter(|slot| usize::from(*slot) < SLOTS_MAX).ok_or(Unlowered::TooManyValues)
    }

    fn node(&mut self, expr: &Expr, depth: usize) -> Lowered {
        if depth > DEPTH_MAX {
            return Err(Unlowered::TooDeep);
        }
        match expr {
            Expr::Literal(Literal::Bool(truth)) => Ok(Node::Constant(Constant::Bool(*truth))),
            Expr::Literal(Literal::Long(number)) => Ok(Node::Constant(Constant::Long(*number))),
            Expr::Literal(Literal::String(text)) => Ok(Node::Constant(Constant::Text(text.as_str().into()))),
            Expr::Literal(Literal::EntityUID(_)) | Expr::Var(Var::Principal | Var::Action | Var::Resource) => {
                let (ty, id) = fold::named(expr, &self.known).ok_or(Unlowered::Entity)?;
                Ok(Node::Constant(Constant::Entity(Box::new((ty.into(), id.into())))))
            }
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, depth),
            Expr::BinaryOp { op: op @ (BinaryOp::And | BinaryOp::Or), left, right } => {
                self.chain(*op, [left, right], depth)
            }
            Expr::BinaryOp { op, left, right } => self.binary(*op, [left, right], depth),
            Expr::Is { .. } => self.folded(expr),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                let condition = self.node(cond, depth + 1)?;
                if let Node::Constant(Constant::Bool(truth)) = condition {
                    return self.node(if truth { then_expr } else { else_expr }, depth + 1);
                }
                let (then, otherwise) = (self.node(then_expr, depth + 1)?, self.node(else_expr, depth + 1)?);
                Ok(Node::If(Box::new([condition, then, otherwise])))
            }
            Expr::Set(elements) => {
                let members: Result<Vec<Node>, Unlowered> =
                    elements.iter().map(|element| self.node(element, depth + 1)).collect();
                Ok(set(members?))
            }
            Expr::Like { expr, pattern } => Ok(Node::Like(Box::new(self.node(expr, depth + 1)?), like(pattern))),
            Expr::GetAttr { expr: inner, attr } => match (context_path(expr), &**inner) {
                (Some(path), _) => self.read(&path),
                (None, Expr::Var(Var::Principal)) => match attr.as_str() {
                    "accounts" => self.slot(Place::Given(Given::Accounts)).map(Node::Slot),
                    "user" => self.slot(Place::Given(Given::User)).map(Node::Slot),
                    _ => Err(Unlowered::Entity),
                },
                (None, _) => Err(Unlowered::Record),
            },
            Expr::HasAttr { expr, attrs } => {
                let attrs: Vec<&str> = attrs.iter().map(|attr| attr.as_str()).collect();
                match (context_path(expr), &**expr, attrs.as_slice()) {
                    (Some(path), _, _) => self.has(&path, &attrs),
                    (None, Expr::Var(Var::Principal), ["accounts"]) => Ok(truth(true)),
                    (None, Expr::Var(Var::Principal), ["user"]) => self.slot(Place::Given(Given::User)).map(Node::Has),
                    (None, Expr::Var(Var::Principal | Var::Action | Var::Resource), _) => Err(Unlowered::Entity),
                    (None, _, _) => Err(Unlowered::Record),
                }
            }
            Expr::Var(Var::Context) | Expr::Record(_) => Err(Unlowered::Record),
            // The syntax tree is another crate's and may grow.
            _ => Err(Unlowered::Operation),
        }
    }

    /// What only class and column decide.
    fn folded(&self, expr: &Expr) -> Lowered {
        match fold::fold(expr, &self.known) {
            Fold::True => Ok(truth(true)),
            Fold::False => Ok(truth(false)),
            Fold::NeverTrue | Fold::Unknown => Err(Unlowered::Entity),
        }
    }

    /// `a && b && c` is a tree that leans to one side and may be long: its parts are gathered without recursion.
    fn chain(&mut self, op: BinaryOp, sides: [&Arc<Expr>; 2], depth: usize) -> Lowered {
        let [left, right] = sides;
        let mut pending = vec![&**right, &**left];
        let mut parts = Vec::new();
        while let Some(next) = pending.pop() {
            match next {
                Expr::BinaryOp { op: own, left, right } if *own == op => pending.extend([&**right, &**left]),
                part => parts.push(self.node(part, depth + 1)?),
            }
        }
        Ok(if op == BinaryOp::And { all(parts) } else { any(parts) })
    }

    fn unary(&mut self, op: UnaryOp, inner: &Expr, depth: usize) -> Lowered {
        let op = match op {
            UnaryOp::Not => return Ok(not(self.node(inner, depth + 1)?)),
            UnaryOp::Decimal | UnaryOp::Ip | UnaryOp::Datetime | UnaryOp::Duration => {
                let Expr::Literal(Literal::String(text)) = inner else { return Err(Unlowered::Constructor) };
                return self.made(op, text).map(Node::Constant).ok_or(Unlowered::Constructor);
            }
            UnaryOp::Neg => Unary::Negate,
            UnaryOp::IsEmpty => Unary::IsEmpty,
            UnaryOp::IsIPv4 => Unary::IsIpv4,
            UnaryOp::IsIPV6 => Unary::IsIpv6,
            UnaryOp::IsLoopback => Unary::IsLoopback,
            UnaryOp::IsMulticast => Unary::IsMulticast,
            UnaryOp::ToDate => Unary::ToDate,
            UnaryOp::ToTime => Unary::ToTime,
            UnaryOp::ToMilliseconds => Unary::ToWhole(1),
            UnaryOp::ToSeconds => Unary::ToWhole(1_000),
            UnaryOp::ToMinutes => Unary::ToWhole(60_000),
            UnaryOp::ToHours => Unary::ToWhole(3_600_000),
            UnaryOp::ToDays => Unary::ToWhole(86_400_000),
            _ => return Err(Unlowered::Operation),
        };
        Ok(Node::Unary(op, Box::new(self.node(inner, depth + 1)?)))
    }

    /// The value of `decimal("…")` and its like; none where Cedar would refuse the text.
    fn made(&mut self, op: UnaryOp, text: &str) -> Option<Constant> {
        let quoted = || format!("\"{}\"", text.escape_debug());
        match op {
            UnaryOp::Decimal => decimal(text).map(Constant::Decimal),
            UnaryOp::Ip => Network::parse(text).map(Constant::Ip),
            UnaryOp::Duration => {
                self.times.millis(format!("duration({}).toMilliseconds()", quoted())).map(Constant::Duration)
            }
            _ => {
                let since = "durationSince(datetime(\"1970-01-01\")).toMilliseconds()";
                self.times.millis(format!("datetime({}).{since}", quoted())).map(Constant::Datetime)
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, sides: [&Arc<Expr>; 2], depth: usize) -> Lowered {
        let [left, right] = sides;
        if let BinaryOp::HasTag | BinaryOp::GetTag = op {
            return self.tag(op, sides, depth);
        }
        let (op, turned) = match op {
            BinaryOp::In => {
                return self.folded(&Expr::BinaryOp { op, left: Arc::clone(left), right: Arc::clone(right) });
            }
            BinaryOp::NotEq => return Ok(not(self.binary(BinaryOp::Eq, sides, depth)?)),
            BinaryOp::Eq => (Binary::Equal, false),
            BinaryOp::Less => (Binary::Less, false),
            BinaryOp::LessEq => (Binary::LessEqual, false),
            BinaryOp::Greater => (Binary::Less, true),
            BinaryOp::GreaterEq => (Binary::LessEqual, true),
            BinaryOp::Add => (Binary::Add, false),
            BinaryOp::Sub => (Binary::Subtract, false),
            BinaryOp::Mul => (Binary::Multiply, false),
            BinaryOp::Contains => (Binary::Contains, false),
            BinaryOp::ContainsAll => (Binary::ContainsAll, false),
            BinaryOp::ContainsAny => (Binary::ContainsAny, false),
            BinaryOp::IsInRange => (Binary::IsInRange, false),
            BinaryOp::Offset => (Binary::Offset, false),
            BinaryOp::DurationSince => (Binary::DurationSince, false),
            BinaryOp::DecimalLessThan => (Binary::DecimalLess, false),
            BinaryOp::DecimalLessEq => (Binary::DecimalLessEqual, false),
            BinaryOp::DecimalGreater => (Binary::DecimalLess, true),
            BinaryOp::DecimalGreaterEq => (Binary::DecimalLessEqual, true),
            _ => return Err(Unlowered::Operation),
        };
        let (left, right) = (self.node(left, depth + 1)?, self.node(right, depth + 1)?);
        Ok(match (op, left, right) {
            // An entity compares with entities alone, and both are known.
            (Binary::Equal, Node::Constant(Constant::Entity(left)), Node::Constant(Constant::Entity(right))) => {
                truth(left == right)
            }
            (Binary::Equal, Node::Slot(slot), Node::Constant(constant))
            | (Binary::Equal, Node::Constant(constant), Node::Slot(slot)) => Node::Is(slot, constant),
            (Binary::Contains, Node::Set(set), Node::Slot(slot)) => Node::Among(slot, set),
            (op, left, right) => Node::Binary(op, Box::new(if turned { [right, left] } else { [left, right] })),
        })
    }

    fn tag(&mut self, op: BinaryOp, [left, right]: [&Arc<Expr>; 2], depth: usize) -> Lowered {
        if context_path(left).as_deref() != Some(&["claims"]) {
            return Err(Unlowered::Entity);
        }
        let has = op == BinaryOp::HasTag;
        if let Expr::Literal(Literal::String(name)) = &**right {
            let slot = self.slot(Place::Claim(name.as_str().into()))?;
            return Ok(if has { Node::Has(slot) } else { Node::Slot(slot) });
        }
        let name = Box::new(self.node(right, depth + 1)?);
        Ok(if has { Node::HasClaim(name) } else { Node::Claim(name) })
    }

    /// `context.a.b` as a value.
    fn read(&mut self, path: &[&str]) -> Lowered {
        match path {
            ["input", path @ ..] => self.argument(path),
            ["claims"] => Err(Unlowered::Entity),
            // A tool without SQL has no such member.
            ["sql", ..] if self.known.column.sql.is_none() => Ok(Node::Error),
            path => self.slot(Place::Given(Given::of_context(path).ok_or(Unlowered::Record)?)).map(Node::Slot),
        }
    }

    fn has_input(&self) -> bool {
        matches!(self.known.column.subject, Subject::Tool(_))
    }

    fn argument(&mut self, path: &[&str]) -> Lowered {
        if !self.has_input() {
            return Ok(Node::Error);
        }
        match member(&self.known.column.input, path) {
            Member::Typed(Type::Record(_)) | Member::All => Err(Unlowered::Record),
            Member::Typed(Type::Set(items)) if Element::of(items).is_none() => Err(Unlowered::NestedSet),
            Member::Typed(Type::String | Type::Long | Type::Bool | Type::Decimal | Type::Set(_)) => {
                self.slot(Place::Argument(owned(path))).map(Node::Slot)
            }
            // A call that carries it is refused before, in any other it is absent.
            Member::Undeclared | Member::Below => Ok(Node::Error),
        }
    }

    /// `context.a has b.c`: whatever leads to `a` must be there, `b` and `c` may be.
    fn has(&mut self, path: &[&str], attrs: &[&str]) -> Lowered {
        let whole: Vec<&str> = path.iter().chain(attrs).copied().collect();
        match (path, whole.as_slice()) {
            ([], ["input"]) => Ok(truth(self.has_input())),
            ([], ["calendars" | "claims" | "now" | "source"]) => Ok(truth(true)),
            ([], ["sql"]) => Ok(truth(self.known.column.sql.is_some())),
            ([], ["sql", ..]) if self.known.column.sql.is_none() => Ok(truth(false)),
            (["sql"], ["sql", ..]) if self.known.column.sql.is_none() => Ok(Node::Error),
            ([] | ["sql"], path @ ["sql", _]) => Ok(truth(Given::of_context(path).is_some())),
            ([], ["input", rest @ ..]) => {
                if self.has_input() {
                    self.has_argument(rest)
                } else {
                    Ok(truth(false))
                }
            }
            (["input", ..], _) if !self.has_input() => Ok(Node::Error),
            (["input"], ["input", rest @ ..]) => self.has_argument(rest),
            (["input", inner @ ..], ["input", rest @ ..]) => {
                let condition = self.has_argument(inner)?;
                let then = self.has_argument(rest)?;
                Ok(Node::If(Box::new([condition, then, Node::Error])))
            }
            ([], path) => self.slot(Place::Given(Given::of_context(path).ok_or(Unlowered::Record)?)).map(Node::Has),
            _ => Err(Unlowered::Record),
        }
    }

    fn has_argument(&mut self, path: &[&str]) -> Lowered {
        match member(&self.known.column.input, path) {
            Member::Typed(_) => self.slot(Place::Argument(owned(path))).map(Node::Has),
            Member::Undeclared => Ok(truth(false)),
            Member::All => Ok(truth(true)),
            Member::Below => Err(Unlowered::Operation),
        }
    }
}

/// Where a path leads in a tool's arguments.
enum Member<'r> {
    /// To the arguments themselves.
    All,
    /// To a typed member.
    Typed(&'r Type),
    /// To one that is not declared, or has no type.
    Undeclared,
    /// Into a value that has no members.
    Below,
}

fn member<'r>(input: &'r Record, path: &[&str]) -> Member<'r> {
    let (mut here, mut found) = (Some(input), Member::All);
    for step in path {
        let Some(record) = here else { return Member::Below };
        let Some(ty) = record.field(step).and_then(|field| field.ty.as_ref()) else { return Member::Undeclared };
        here = match ty {
            Type::Record(inner) => Some(inner),
            Type::String | Type::Long | Type::Bool | Type::Decimal | Type::Set(_) => None,
        };
        found = Member::Typed(ty);
    }
    found
}

fn owned(path: &[&str]) -> Vec<Box<str>> {
    path.iter().map(|step| Box::from(*step)).collect()
}

fn truth(truth: bool) -> Node {
    Node::Constant(Constant::Bool(truth))
}

fn not(node: Node) -> Node {
    if let Node::Constant(Constant::Bool(value)) = node { truth(!value) } else { Node::Not(Box::new(node)) }
}

/// What is true on the left of something decides nothing; what is false ends it.
fn all(parts: Vec<Node>) -> Node {
    shortened(parts, true).map_or_else(|only| only, |parts| Node::All(parts.into()))
}

fn any(parts: Vec<Node>) -> Node {
    shortened(parts, false).map_or_else(|only| only, |parts| Node::Any(parts.into()))
}

/// The parts without those that are `neutral`, up to the first constant that ends them; the only one where there is but one.
fn shortened(parts: Vec<Node>, neutral: bool) -> Result<Vec<Node>, Node> {
    let mut kept = Vec::with_capacity(parts.len());
    for part in parts {
        let constant = if let Node::Constant(Constant::Bool(value)) = part { Some(value) } else { None };
        if constant == Some(neutral) {
            continue;
        }
        kept.push(part);
        if constant.is_some() {
            break;
        }
    }
    match (kept.pop(), kept.is_empty()) {
        (None, _) => Err(truth(neutral)),
        (Some(only), true) => Err(only),
        (Some(last), false) => {
            kept.push(last);
            Ok(kept)
        }
    }
}

fn set(members: Vec<Node>) -> Node {
    if !members.iter().all(|member| matches!(member, Node::Constant(_))) {
        return Node::Members(members.into());
    }
    let constant = |member| if let Node::Constant(constant) = member { Some(constant) } else { None };
    Node::Set(ConstantSet::new(members.into_iter().filter_map(constant).collect()))
}

fn like(pattern: &[PatternElem]) -> Pattern {
    let mut parts = vec![String::new()];
    for element in pattern {
        match element {
            PatternElem::Wildcard => parts.push(String::new()),
            PatternElem::Char(character) => {
                if let Some(part) = parts.last_mut() {
                    part.push(*character);
                }
            }
        }
    }
    let mut parts = parts.into_iter().map(String::into_boxed_str);
    Pattern { first: parts.next().unwrap_or_default(), rest: parts.collect() }
}

/// Cedar's `decimal`, in ten-thousandths: digits on both sides of a point, at most four behind it.
fn decimal(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let scale = 10_i64.pow(4 - u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<i64>().ok()? * scale;
    let whole_part = whole.parse::<i64>().ok()?.checked_mul(10_000)?;
    if whole.starts_with('-') { whole_part.checked_sub(fraction) } else { whole_part.checked_add(fraction) }
}
