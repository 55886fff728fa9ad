//! Reads what a residual program looks at. In: who calls, what the call carries, where and when. Out: typed values, borrowed from the call; or the
//! very refusal that the conversion for Cedar gives. Never here: decisions, allocation.

use std::sync::Arc;

use smallvec::SmallVec;

use super::convert::{self, Account, Unfit};
use super::facts::{self, Facts, Missing, Subjects};
use super::plan::{Given, Input, Member, Plan, Want};
use super::program::{ConstantSet, Network, Node};
use super::reads::Fact;
use super::types::Type;
use super::who::Claims;
use crate::identity::claims::ClaimValue;
use crate::protocol::json::short::Short;
use crate::protocol::json::{Kind, Value};
use crate::time::UnixMillis;

/// Slots of one program. A cell whose rules look at more keeps to Cedar's evaluator: rules in the wild read one to five arguments.
pub const SLOTS_MAX: usize = 32;

/// The values of one call, by slot.
pub type Slots<'a> = SmallVec<[Datum<'a>; SLOTS_MAX]>;

/// A value of a call.
#[derive(Clone, Copy)]
pub enum Datum<'a> {
    /// None.
    Absent,
    /// There is one, and only that is looked at.
    Present,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A text.
    Text(&'a str),
    /// A whole number that counts as a text, as claims and accounts do.
    Digits(i64),
    /// A decimal in ten-thousandths.
    Decimal(i64),
    /// An address or a range.
    Ip(Network),
    /// Milliseconds since the epoch.
    Datetime(i64),
    /// Milliseconds.
    Duration(i64),
    /// Type and id.
    Entity(&'a (Box<str>, Box<str>)),
    /// A set.
    Set(Set<'a>),
}

/// A set of a call or of a rule; repetitions in it do not count.
#[derive(Clone, Copy)]
pub enum Set<'a> {
    /// An array of the arguments, every item of this type.
    Array(Value<'a>, Element),
    /// Texts.
    Texts(&'a [Box<str>]),
    /// Constants of a rule.
    Constants(&'a ConstantSet),
    /// Members of a rule, some of them computed.
    Members(&'a [Node]),
}

/// The type of an array's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Texts.
    Text,
    /// Whole numbers.
    Long,
    /// Truth values.
    Bool,
    /// Decimals.
    Decimal,
}

impl Element {
    /// The items of a set of this type; none where they are sets or records themselves.
    pub fn of(ty: &Type) -> Option<Self> {
        match ty {
            Type::String => Some(Self::Text),
            Type::Long => Some(Self::Long),
            Type::Bool => Some(Self::Bool),
            Type::Decimal => Some(Self::Decimal),
            Type::Set(_) | Type::Record(_) => None,
        }
    }

    /// An item as a value; none where it is of another type.
    pub fn read(self, item: Value<'_>) -> Option<Datum<'_>> {
        match self {
            Self::Text => item.as_str().map(Datum::Text),
            Self::Long => convert::long(item).map(Datum::Long),
            Self::Bool => item.as_bool().map(Datum::Bool),
            Self::Decimal => convert::decimal(item).map(Datum::Decimal),
        }
    }
}

/// Reads all that the plan wants, in the order and with the refusals of [`facts::context`] and [`facts::entities`].
pub fn read<'a>(plan: &'a Plan, of: Subjects<'a>, facts: &Facts<'a>, slots: &mut Slots<'a>) -> Result<(), Missing> {
    slots.clear();
    slots.resize(usize::from(plan.slots), Datum::Absent);
    match &plan.input {
        None => {}
        Some(Input::Members(members)) => arguments(members, facts.arguments, slots).map_err(Missing::Argument)?,
        // No program looks at it, for what would is left to Cedar; but where a folded part of a rule names it, it must be fit all the same.
        Some(whole @ Input::Whole(_)) => drop(convert::input(whole, facts.arguments).map_err(Missing::Argument)?),
    }
    let account = match plan.facts.contains(Fact::Account) {
        true => facts::account(plan, of.who, facts)?,
        false => None,
    };
    if plan.facts.contains(Fact::Now) && !is_writable(facts.now) {
        return Err(Missing::Defect);
    }
    for (given, slot) in &plan.given {
        let value = match given {
            Given::Account => match account {
                None => Datum::Absent,
                Some(Account::Text(text)) => Datum::Text(text),
                Some(Account::Number(number)) => Datum::Digits(number),
            },
            Given::Name => of.name.map_or(Datum::Absent, Datum::Text),
            Given::Now => Datum::Datetime(facts.now.0),
            Given::Source => Datum::Ip(Network::single(facts.source.to_canonical())),
            Given::Uri => of.uri.map_or(Datum::Absent, Datum::Text),
            Given::Accounts => Datum::Set(Set::Texts(&of.standing.accounts)),
            Given::User => of.who.user.map_or(Datum::Absent, Datum::Text),
        };
        put(slots, *slot, value);
    }
    if plan.facts.contains(Fact::Claims) {
        claims(plan, of.who.claims, slots)?;
    }
    Ok(())
}

fn put<'a>(slots: &mut Slots<'a>, slot: u16, value: Datum<'a>) {
    if let Some(place) = slots.get_mut(usize::from(slot)) {
        *place = value;
    }
}

/// The instants that Cedar's `datetime` can be written for and that [`UnixMillis::rfc3339`] writes: the years 0000 to 9999, less its last day.
fn is_writable(now: UnixMillis) -> bool {
    (-62_167_219_200_000..=jiff::Timestamp::MAX.as_millisecond()).contains(&now.0)
}

fn arguments<'a>(members: &'a [Member], object: Option<Value<'a>>, slots: &mut Slots<'a>) -> Result<(), Unfit> {
    for member in members {
        let Some(value) = convert::member(member, object)? else { continue };
        let datum = match &member.want {
            Want::Absence => return Err(Unfit::Undeclared(Arc::clone(&member.pointer))),
            Want::Presence => Datum::Present,
            Want::Value(ty) => typed(value, ty, &member.pointer)?,
            Want::Members(inner) if value.kind() == Kind::Object => {
                arguments(inner, Some(value), slots)?;
                Datum::Present
            }
            Want::Members(_) => return Err(Unfit::Unreadable(Arc::clone(&member.pointer))),
        };
        if let Some(slot) = member.slot {
            put(slots, slot, datum);
        }
    }
    Ok(())
}

fn typed<'a>(value: Value<'a>, ty: &Type, pointer: &Arc<str>) -> Result<Datum<'a>, Unfit> {
    let datum = match ty {
        Type::String => Element::Text.read(value),
        Type::Long => Element::Long.read(value),
        Type::Bool => Element::Bool.read(value),
        Type::Decimal => Element::Decimal.read(value),
        Type::Set(items) if value.kind() == Kind::Array => match Element::of(items) {
            Some(element) => {
                value.items().all(|item| element.read(item).is_some()).then_some(Datum::Set(Set::Array(value, element)))
            }
            None => return convert::typed(value, ty, pointer).map(|_| Datum::Present),
        },
        Type::Set(_) => None,
        // No program looks into it, but a rule of the cell names it, so it must be fit.
        Type::Record(_) => return convert::typed(value, ty, pointer).map(|_| Datum::Present),
    };
    datum.ok_or_else(|| Unfit::Unreadable(Arc::clone(pointer)))
}

fn claims<'a>(plan: &'a Plan, claims: Claims<'a>, slots: &mut Slots<'a>) -> Result<(), Missing> {
    claims.try_each(|name, value| {
        if !plan.computes_claims && !plan.claims.iter().any(|asked| **asked == *name) {
            return Ok(());
        }
        let datum = claim(value).ok_or(Missing::Claim)?;
        for (_, slot) in plan.claim_slots.iter().filter(|(asked, _)| **asked == *name) {
            put(slots, *slot, datum);
        }
        Ok(())
    })
}

/// Claims are texts: numbers and truth values as they are written.
pub fn claim(value: &ClaimValue) -> Option<Datum<'_>> {
    match value {
        ClaimValue::Text(text) => Some(Datum::Text(text)),
        ClaimValue::Integer(number) => Some(Datum::Digits(*number)),
        ClaimValue::Truth(true) => Some(Datum::Text("true")),
        ClaimValue::Truth(false) => Some(Datum::Text("false")),
        ClaimValue::Texts(_) | ClaimValue::Unreadable => None,
    }
}

/// The text of a number that counts as one.
pub fn digits(number: i64) -> Option<Short> {
    Short::of(format_args!("{number}"))
}
