//! States residual programs. In: nothing. Out: the instructions that are left of a rule's conditions once class and action are known. Never here: lowering, evaluating.
//!
//! Values carry their types, as Cedar's do, so that an instruction meets a value of another type with an error and never with a guess.

use std::net::IpAddr;

/// An address or a range of them, as Cedar's `ipaddr`: an address alone has the longest prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// Bits that count, at most 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// One address.
    pub fn single(address: IpAddr) -> Self {
        Self { address, prefix: bits(address) }
    }

    /// What `ip("…")` means; none where Cedar refuses it or reads it in a way of its own.
    pub fn parse(text: &str) -> Option<Self> {
        // Cedar takes no IPv4 address inside an IPv6 one.
        if text.contains(':') && text.contains('.') {
            return None;
        }
        let Some((address, prefix)) = text.split_once('/') else { return text.parse().ok().map(Self::single) };
        let address: IpAddr = address.parse().ok()?;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = if plain { prefix.parse().ok()? } else { return None };
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    /// Whether all of it lies within `other`.
    pub fn is_within(self, other: Self) -> bool {
        let (left, right) = match (self.address, other.address) {
            (IpAddr::V4(left), IpAddr::V4(right)) => {
                (u128::from(left.to_bits()) << 96, u128::from(right.to_bits()) << 96)
            }
            (IpAddr::V6(left), IpAddr::V6(right)) => (left.to_bits(), right.to_bits()),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let hosts = 128_u32.saturating_sub(u32::from(other.prefix));
        self.prefix >= other.prefix && (left ^ right).checked_shr(hosts).unwrap_or(0) == 0
    }

    /// Whether all of it is loopback.
    pub fn is_loopback(self) -> bool {
        self.address.is_loopback() && self.prefix >= if self.address.is_ipv4() { 8 } else { 128 }
    }

    /// Whether all of it is multicast.
    pub fn is_multicast(self) -> bool {
        self.address.is_multicast() && self.prefix >= if self.address.is_ipv4() { 4 } else { 8 }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A value that a rule writes, or that is known of class and action.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Constant {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A text.
    Text(Box<str>),
    /// `decimal("…")`, in ten-thousandths.
    Decimal(i64),
    /// `ip("…")`.
    Ip(Network),
    /// `datetime("…")`, in milliseconds since the epoch.
    Datetime(i64),
    /// `duration("…")`, in milliseconds.
    Duration(i64),
    /// An entity: type and id.
    Entity(Box<(Box<str>, Box<str>)>),
}

/// A set of constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConstantSet {
    /// Its texts, by length and then bytes, each once.
    texts: Box<[Box<str>]>,
    /// All else, sorted, each once.
    others: Box<[Constant]>,
}

impl ConstantSet {
    /// A set of these.
    pub fn new(constants: Vec<Constant>) -> Self {
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for constant in constants {
            if let Constant::Text(text) = constant {
                texts.push(text);
            } else {
                others.push(constant);
            }
        }
        texts.sort_unstable_by(|a, b| by_length(a, b));
        texts.dedup();
        others.sort_unstable();
        others.dedup();
        Self { texts: texts.into(), others: others.into() }
    }

    /// Whether a text is in it.
    pub fn contains_text(&self, wanted: &str) -> bool {
        if self.texts.len() <= LOOKED_THROUGH_MAX {
            return self.texts.iter().any(|text| **text == *wanted);
        }
        self.texts.binary_search_by(|text| by_length(text, wanted)).is_ok()
    }

    /// Its texts.
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// Its members that are no texts.
    pub fn others(&self) -> &[Constant] {
        &self.others
    }
}

/// Up to here comparing each, mostly by length, is quicker than searching.
const LOOKED_THROUGH_MAX: usize = 8;

fn by_length(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// What `like` compares with: texts with anything between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// At the beginning.
    pub first: Box<str>,
    /// What follows in its order, each after a `*`; the last one at the end. Nothing where the pattern has no `*`.
    pub rest: Box<[Box<str>]>,
}

impl Pattern {
    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.rest.split_last() else { return *text == *self.first };
        let Some(mut text) = text.strip_prefix(&*self.first) else { return false };
        for part in middle {
            // The leftmost occurrence leaves the most for what follows.
            let Some((_, behind)) = text.split_once(&**part) else { return false };
            text = behind;
        }
        text.ends_with(&**last)
    }
}

/// One instruction, with those that it takes its values from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A value.
    Constant(Constant),
    /// A set of values.
    Set(ConstantSet),
    /// A set some of whose members are computed.
    Members(Box<[Node]>),
    /// The value in a slot; an error where it is absent.
    Slot(u16),
    /// Whether there is a value in a slot.
    Has(u16),
    /// Whether the value in a slot is this one: the commonest condition, in one step.
    Is(u16, Constant),
    /// Whether the value in a slot is among these, likewise.
    Among(u16, ConstantSet),
    /// Whether the token has a claim of the computed name.
    HasClaim(Box<Node>),
    /// The claim of the computed name; an error where there is none.
    Claim(Box<Node>),
    /// `!a`
    Not(Box<Node>),
    /// `a && b && …`, which stops at the first that is false.
    All(Box<[Node]>),
    /// `a || b || …`, which stops at the first that is true.
    Any(Box<[Node]>),
    /// `if a then b else c`
    If(Box<[Node; 3]>),
    /// What takes one value.
    Unary(Unary, Box<Node>),
    /// What takes two.
    Binary(Binary, Box<[Node; 2]>),
    /// `a like "…"`
    Like(Box<Node>, Pattern),
    /// An error, whatever the call.
    Error,
}

/// What takes one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-a`
    Negate,
    /// `a.isEmpty()`
    IsEmpty,
    /// `a.isIpv4()`
    IsIpv4,
    /// `a.isIpv6()`
    IsIpv6,
    /// `a.isLoopback()`
    IsLoopback,
    /// `a.isMulticast()`
    IsMulticast,
    /// `a.toDate()`
    ToDate,
    /// `a.toTime()`
    ToTime,
    /// `a.toMilliseconds()` and its like: milliseconds in one of the wanted unit.
    ToWhole(i64),
}

/// What takes two values; `>` and `>=` are `<` and `<=` the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a == b`
    Equal,
    /// `a < b` of whole numbers, instants or spans.
    Less,
    /// `a <= b`
    LessEqual,
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a.contains(b)`
    Contains,
    /// `a.containsAll(b)`
    ContainsAll,
    /// `a.containsAny(b)`
    ContainsAny,
    /// `a.isInRange(b)`
    IsInRange,
    /// `a.offset(b)`
    Offset,
    /// `a.durationSince(b)`
    DurationSince,
    /// `a.lessThan(b)`
    DecimalLess,
    /// `a.lessThanOrEqual(b)`
    DecimalLessEqual,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_they_are_written() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let mut parts = pattern.split('*').map(Box::from);
            let made = Pattern { first: parts.next().unwrap(), rest: parts.collect() };
            assert_eq!(made.matches(text), expected, "`{text}` like `{pattern}`");
        };
        for (pattern, text) in [
            ("", "a"),
            ("a", "ab"),
            ("a*b", "ab c"),
            ("ab*bc", "abc"),
            ("a*b*c", "acb"),
            ("*ab*ab", "ab"),
            ("a*é", "aè"),
        ] {
            check(pattern, text, false);
        }
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "x"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*b*c", "a-b-b-c"),
            ("*ab*ab", "abab"),
            ("*aab", "aaaab"),
            ("a*é", "aéé"),
        ] {
            check(pattern, text, true);
        }
    }

    #[test]
    fn networks_lie_within_each_other_as_cedar_says() {
        let check = |inner: &str, outer: &str, expected: bool| {
            let within = Network::parse(inner).unwrap().is_within(Network::parse(outer).unwrap());
            assert_eq!(within, expected, "{inner} in {outer}");
        };
        check("10.0.0.0/7", "10.0.0.0/8", false);
        check("10.0.0.1", "11.0.0.0/8", false);
        check("::a", "10.0.0.0/0", false);
        check("10.0.0.1", "::/0", false);
        check("10.1.0.0/16", "10.0.0.0/8", true);
        check("10.0.0.1", "0.0.0.0/0", true);
        check("10.0.0.1/32", "10.0.0.1", true);
        check("2001:db8::1", "2001:db8::/32", true);
        check("2001:db8::1", "::/0", true);
        for text in ["::ffff:10.0.0.1", "10.0.0.1/033", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/+8", "ten", "::/129"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
