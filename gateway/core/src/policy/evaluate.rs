//! Runs a residual program. In: an instruction, the values of one call. Out: what it comes to, or that it errs. Never here: allocation, Cedar.
//!
//! Every instruction does what Cedar's evaluator does, errors and short circuits included: a value of another type, an absent value and a sum
//! beyond 64 bits are errors.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::program::{Binary, Constant, ConstantSet, Network, Node, Unary};
use super::slots::{Datum, Set, claim, digits};
use super::who::Claims;

/// Set by the feature `broken-instruction`, under which `<=` means `<`: the proof that a comparison with Cedar would notice.
pub const BROKEN_INSTRUCTION: bool = cfg!(feature = "broken-instruction");

/// Members of sets looked at in one decision, which keeps it below a millisecond; beyond, Cedar decides, which sorts sets before it compares them.
pub const STEPS_MAX: u32 = 1 << 18;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// As in Cedar.
    Erred,
    /// The sets are too large to compare them member by member.
    TooLong,
}

/// The values of one call.
pub struct Values<'e> {
    slots: &'e [Datum<'e>],
    claims: Claims<'e>,
    steps: Cell<u32>,
}

type Came<T> = Result<T, Stopped>;

const DAY_MILLIS: i64 = 86_400_000;

impl<'e> Values<'e> {
    /// Of these slots, and of these claims where their names are computed.
    pub fn new(slots: &'e [Datum<'e>], claims: Claims<'e>) -> Self {
        Self { slots, claims, steps: Cell::new(STEPS_MAX) }
    }

    /// Whether a condition holds.
    pub fn holds(&self, node: &'e Node) -> Came<bool> {
        match node {
            Node::Constant(Constant::Bool(truth)) => Ok(*truth),
            Node::Has(slot) => Ok(!matches!(self.slot(*slot), Datum::Absent)),
            Node::Is(slot, constant) => match (self.slots.get(usize::from(*slot)), constant) {
                (Some(Datum::Text(text)), Constant::Text(wanted)) => Ok(*text == &**wanted),
                _ => self.same(present(self.slot(*slot))?, datum(constant)),
            },
            Node::Among(slot, set) => match self.slots.get(usize::from(*slot)) {
                Some(Datum::Text(text)) => Ok(set.contains_text(text)),
                _ => self.contains(Set::Constants(set), present(self.slot(*slot))?),
            },
            Node::Not(inner) => self.holds(inner).map(|truth| !truth),
            Node::All(parts) => {
                for part in parts {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Any(parts) => {
                for part in parts {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::If(parts) => self.holds(self.branch(parts)?),
            Node::HasClaim(name) => self.claim(name).map(|claim| !matches!(claim, Datum::Absent)),
            Node::Like(text, pattern) => text_of(&self.value(text)?, |text| Ok(pattern.matches(text))),
            Node::Binary(op, sides) => {
                let [left, right] = &**sides;
                self.relation(*op, self.value(left)?, self.value(right)?)
            }
            Node::Unary(op, inner) => truth(self.unary(*op, self.value(inner)?)?),
            Node::Slot(_) | Node::Claim(_) => truth(self.value(node)?),
            Node::Constant(
                Constant::Long(_)
                | Constant::Text(_)
                | Constant::Decimal(_)
                | Constant::Ip(_)
                | Constant::Datetime(_)
                | Constant::Duration(_)
                | Constant::Entity(_),
            )
            | Node::Set(_)
            | Node::Members(_)
            | Node::Error => Err(Stopped::Erred),
        }
    }

    fn slot(&self, slot: u16) -> Datum<'e> {
        self.slots.get(usize::from(slot)).copied().unwrap_or(Datum::Absent)
    }

    fn branch(&self, [condition, then, otherwise]: &'e [Node; 3]) -> Came<&'e Node> {
        Ok(if self.holds(condition)? { then } else { otherwise })
    }

    fn value(&self, node: &'e Node) -> Came<Datum<'e>> {
        match node {
            Node::Slot(slot) => present(self.slot(*slot)),
            Node::Constant(constant) => Ok(datum(constant)),
            Node::Set(set) => Ok(Datum::Set(Set::Constants(set))),
            Node::Members(members) => {
                // They are computed again when they are compared; here they only must not err.
                for member in members {
                    self.value(member)?;
                }
                Ok(Datum::Set(Set::Members(members)))
            }
            Node::Claim(name) => present(self.claim(name)?),
            Node::If(parts) => self.value(self.branch(parts)?),
            Node::Unary(op, inner) => self.unary(*op, self.value(inner)?),
            Node::Binary(op, sides) => {
                let [left, right] = &**sides;
                self.binary(*op, self.value(left)?, self.value(right)?)
            }
            Node::Has(_)
            | Node::Is(_, _)
            | Node::Among(_, _)
            | Node::HasClaim(_)
            | Node::Not(_)
            | Node::All(_)
            | Node::Any(_)
            | Node::Like(_, _) => self.holds(node).map(Datum::Bool),
            Node::Error => Err(Stopped::Erred),
        }
    }

    fn claim(&self, name: &'e Node) -> Came<Datum<'e>> {
        text_of(&self.value(name)?, |name| {
            let mut found = Datum::Absent;
            self.claims.try_each(|own, value| {
                if own == name {
                    found = claim(value).ok_or(Stopped::Erred)?;
                }
                Ok(())
            })?;
            Ok(found)
        })
    }

    fn unary(&self, op: Unary, value: Datum<'e>) -> Came<Datum<'e>> {
        let of_ip = |test: fn(Network) -> bool| {
            if let Datum::Ip(network) = value { Ok(Datum::Bool(test(network))) } else { Err(Stopped::Erred) }
        };
        match (op, value) {
            (Unary::Negate, Datum::Long(number)) => number.checked_neg().map(Datum::Long).ok_or(Stopped::Erred),
            (Unary::IsEmpty, Datum::Set(set)) => Ok(Datum::Bool(is_empty(set))),
            (Unary::IsIpv4, _) => of_ip(|network| network.address.is_ipv4()),
            (Unary::IsIpv6, _) => of_ip(|network| network.address.is_ipv6()),
            (Unary::IsLoopback, _) => of_ip(Network::is_loopback),
            (Unary::IsMulticast, _) => of_ip(Network::is_multicast),
            (Unary::ToDate, Datum::Datetime(at)) => {
                at.checked_sub(at.rem_euclid(DAY_MILLIS)).map(Datum::Datetime).ok_or(Stopped::Erred)
            }
            (Unary::ToTime, Datum::Datetime(at)) => Ok(Datum::Duration(at.rem_euclid(DAY_MILLIS))),
            (Unary::ToWhole(unit), Datum::Duration(span)) => {
                span.checked_div(unit).map(Datum::Long).ok_or(Stopped::Erred)
            }
            (Unary::Negate | Unary::IsEmpty | Unary::ToDate | Unary::ToTime | Unary::ToWhole(_), _) => {
                Err(Stopped::Erred)
            }
        }
    }

    fn binary(&self, op: Binary, left: Datum<'e>, right: Datum<'e>) -> Came<Datum<'e>> {
        let number = match (op, left, right) {
            (Binary::Add, Datum::Long(left), Datum::Long(right)) => left.checked_add(right).map(Datum::Long),
            (Binary::Subtract, Datum::Long(left), Datum::Long(right)) => left.checked_sub(right).map(Datum::Long),
            (Binary::Multiply, Datum::Long(left), Datum::Long(right)) => left.checked_mul(right).map(Datum::Long),
            (Binary::Offset, Datum::Datetime(at), Datum::Duration(span)) => at.checked_add(span).map(Datum::Datetime),
            (Binary::DurationSince, Datum::Datetime(at), Datum::Datetime(since)) => {
                at.checked_sub(since).map(Datum::Duration)
            }
            (Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Offset | Binary::DurationSince, _, _) => None,
            (
                Binary::Equal
                | Binary::Less
                | Binary::LessEqual
                | Binary::Contains
                | Binary::ContainsAll
                | Binary::ContainsAny
                | Binary::IsInRange
                | Binary::DecimalLess
                | Binary::DecimalLessEqual,
                _,
                _,
            ) => Some(Datum::Bool(self.relation(op, left, right)?)),
        };
        number.ok_or(Stopped::Erred)
    }

    fn relation(&self, op: Binary, left: Datum<'e>, right: Datum<'e>) -> Came<bool> {
        match (op, left, right) {
            (Binary::Equal, _, _) => self.same(left, right),
            (Binary::Contains, Datum::Set(set), _) => self.contains(set, right),
            (Binary::Less, _, _) => ordered(left, right, |left, right| left < right),
            (Binary::LessEqual, _, _) => ordered(left, right, at_most),
            (Binary::ContainsAll, Datum::Set(set), Datum::Set(wanted)) => self.contains_all(set, wanted),
            (Binary::ContainsAny, Datum::Set(set), Datum::Set(wanted)) => {
                self.any(wanted, |member| self.contains(set, member))
            }
            (Binary::IsInRange, Datum::Ip(network), Datum::Ip(range)) => Ok(network.is_within(range)),
            (Binary::DecimalLess, Datum::Decimal(left), Datum::Decimal(right)) => Ok(left < right),
            (Binary::DecimalLessEqual, Datum::Decimal(left), Datum::Decimal(right)) => Ok(at_most(left, right)),
            (
                Binary::Contains
                | Binary::ContainsAll
                | Binary::ContainsAny
                | Binary::IsInRange
                | Binary::DecimalLess
                | Binary::DecimalLessEqual,
                _,
                _,
            ) => Err(Stopped::Erred),
            (Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Offset | Binary::DurationSince, _, _) => {
                truth(self.binary(op, left, right)?)
            }
        }
    }

    fn contains_all(&self, set: Set<'e>, wanted: Set<'e>) -> Came<bool> {
        self.any(wanted, |member| self.contains(set, member).map(|found| !found)).map(|missing| !missing)
    }

    fn contains(&self, set: Set<'e>, wanted: Datum<'e>) -> Came<bool> {
        match (set, wanted) {
            (Set::Constants(constants), Datum::Text(text)) => Ok(constants.contains_text(text)),
            (Set::Constants(constants), Datum::Digits(number)) => {
                let text = digits(number).ok_or(Stopped::Erred)?;
                Ok(constants.contains_text(text.as_str()))
            }
            (Set::Constants(_) | Set::Array(_, _) | Set::Texts(_) | Set::Members(_), _) => {
                self.any(set, |member| self.same(member, wanted))
            }
        }
    }

    /// Whether `test` holds for a member; every look at one is counted.
    fn any(&self, set: Set<'e>, test: impl Fn(Datum<'e>) -> Came<bool>) -> Came<bool> {
        let look = |member: Came<Datum<'e>>| -> ControlFlow<Came<bool>> {
            let Some(left) = self.steps.get().checked_sub(1) else { return ControlFlow::Break(Err(Stopped::TooLong)) };
            self.steps.set(left);
            match member.and_then(&test) {
                Ok(false) => ControlFlow::Continue(()),
                Ok(true) => ControlFlow::Break(Ok(true)),
                Err(stopped) => ControlFlow::Break(Err(stopped)),
            }
        };
        let flow = match set {
            Set::Array(array, element) => {
                array.items().try_for_each(|item| look(element.read(item).ok_or(Stopped::Erred)))
            }
            Set::Texts(texts) => texts.iter().try_for_each(|text| look(Ok(Datum::Text(text)))),
            Set::Constants(constants) => members(constants).try_for_each(|member| look(Ok(member))),
            Set::Members(members) => members.iter().try_for_each(|member| look(self.value(member))),
        };
        match flow {
            ControlFlow::Break(came) => came,
            ControlFlow::Continue(()) => Ok(false),
        }
    }

    /// Equality never errs: values of two types differ.
    fn same(&self, left: Datum<'e>, right: Datum<'e>) -> Came<bool> {
        Ok(match (left, right) {
            (Datum::Text(left), Datum::Text(right)) => left == right,
            (Datum::Long(left), Datum::Long(right))
            | (Datum::Digits(left), Datum::Digits(right))
            | (Datum::Decimal(left), Datum::Decimal(right))
            | (Datum::Datetime(left), Datum::Datetime(right))
            | (Datum::Duration(left), Datum::Duration(right)) => left == right,
            (Datum::Bool(left), Datum::Bool(right)) => left == right,
            (Datum::Text(text), Datum::Digits(number)) | (Datum::Digits(number), Datum::Text(text)) => {
                digits(number).ok_or(Stopped::Erred)?.as_str() == text
            }
            (Datum::Ip(left), Datum::Ip(right)) => left == right,
            (Datum::Entity(left), Datum::Entity(right)) => left == right,
            (Datum::Set(left), Datum::Set(right)) => {
                self.contains_all(left, right)? && self.contains_all(right, left)?
            }
            (Datum::Absent | Datum::Present, _) | (_, Datum::Absent | Datum::Present) => return Err(Stopped::Erred),
            (_, _) => false,
        })
    }
}

fn at_most(left: i64, right: i64) -> bool {
    if BROKEN_INSTRUCTION { left < right } else { left <= right }
}

fn ordered(left: Datum<'_>, right: Datum<'_>, test: impl Fn(i64, i64) -> bool) -> Came<bool> {
    match (left, right) {
        (Datum::Long(left), Datum::Long(right))
        | (Datum::Datetime(left), Datum::Datetime(right))
        | (Datum::Duration(left), Datum::Duration(right)) => Ok(test(left, right)),
        (_, _) => Err(Stopped::Erred),
    }
}

fn truth(value: Datum<'_>) -> Came<bool> {
    if let Datum::Bool(truth) = value { Ok(truth) } else { Err(Stopped::Erred) }
}

fn text_of<T>(value: &Datum<'_>, then: impl FnOnce(&str) -> Came<T>) -> Came<T> {
    if let Datum::Text(text) = value {
        return then(text);
    }
    let Datum::Digits(number) = value else { return Err(Stopped::Erred) };
    then(digits(*number).ok_or(Stopped::Erred)?.as_str())
}

fn present(value: Datum<'_>) -> Came<Datum<'_>> {
    if let Datum::Absent | Datum::Present = value { Err(Stopped::Erred) } else { Ok(value) }
}

fn is_empty(set: Set<'_>) -> bool {
    match set {
        Set::Array(array, _) => array.is_empty(),
        Set::Texts(texts) => texts.is_empty(),
        Set::Constants(constants) => constants.texts().is_empty() && constants.others().is_empty(),
        Set::Members(members) => members.is_empty(),
    }
}

fn members(constants: &ConstantSet) -> impl Iterator<Item = Datum<'_>> {
    constants.texts().iter().map(|text| Datum::Text(text)).chain(constants.others().iter().map(datum))
}

fn datum(constant: &Constant) -> Datum<'_> {
    match constant {
        Constant::Bool(truth) => Datum::Bool(*truth),
        Constant::Long(number) => Datum::Long(*number),
        Constant::Text(text) => Datum::Text(text),
        Constant::Decimal(scaled) => Datum::Decimal(*scaled),
        Constant::Ip(network) => Datum::Ip(*network),
        Constant::Datetime(at) => Datum::Datetime(*at),
        Constant::Duration(span) => Datum::Duration(*span),
        Constant::Entity(entity) => Datum::Entity(entity),
    }
}
