//! Holds the values that rules, arguments and tokens of one world share, so that they meet often. In: chance. Out: small pools, biased to boundaries.

use std::net::IpAddr;

use crate::chance::Chance;

/// The values of one world.
#[derive(Debug)]
pub struct Pools {
    /// Strings.
    pub texts: Vec<String>,
    /// Whole numbers.
    pub longs: Vec<i64>,
    /// Decimals as they are written in JSON.
    pub decimals: Vec<&'static str>,
    /// Instants, in milliseconds since 1970.
    pub nows: Vec<i64>,
    /// Addresses of connections.
    pub sources: Vec<IpAddr>,
}

const TEXTS: [&str; 26] = [
    "customers",
    "orders",
    "financials",
    "Customers",
    "a",
    "ab",
    "abc",
    "a*b",
    "*",
    "",
    " ",
    "é",
    "e\u{301}",
    "\u{1F600}x",
    "tab\tnew\nline\r",
    "quote\"back\\slash'",
    "nul\u{0}nul",
    "\u{7f}\u{80}\u{ffff}",
    "c1",
    "c2",
    "c3",
    "42",
    "true",
    "аpple",
    "日本語",
    "/../%2e%2e/",
];

const LONGS: [i64; 19] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    9,
    10,
    100,
    -100,
    1_000,
    9_007_199_254_740_991,
    9_007_199_254_740_993,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    i64::MIN + 1,
    3_037_000_500,
    -3_037_000_500,
];

const DECIMALS: [&str; 14] = [
    "0.0",
    "0.1",
    "-0.1",
    "0.0001",
    "-0.0001",
    "0.9999",
    "1.0",
    "1.5",
    "99.99",
    "100.0",
    "100.5",
    "-100.5",
    "1234567.8901",
    "922337203685477.0",
];

/// Midnights, the minutes and milliseconds beside them, leap days, 1969, the last instant that a clock of ours can name.
const NOWS: [i64; 12] = [
    0,
    -1,
    1,
    86_399_999,
    86_400_000,
    951_782_400_000,
    1_709_164_800_000,
    1_732_449_600_000,
    1_732_449_599_999,
    1_795_521_600_123,
    4_102_444_800_000,
    253_402_207_200_000,
];

const SOURCES: [&str; 12] = [
    "10.0.0.1",
    "10.255.255.255",
    "11.0.0.0",
    "127.0.0.1",
    "0.0.0.0",
    "192.0.2.1",
    "224.0.0.1",
    "::1",
    "::",
    "2001:db8::1",
    "ff02::1",
    "::ffff:10.0.0.9",
];

impl Pools {
    /// The pools of one world.
    pub fn new(chance: &mut Chance) -> Self {
        let mut texts: Vec<String> = chance.some(&TEXTS, 6, 9).into_iter().map(String::from).collect();
        if chance.percent(10) {
            texts.push("x".repeat(300));
        }
        Self {
            texts,
            longs: chance.some(&LONGS, 5, 8),
            decimals: chance.some(&DECIMALS, 3, 6),
            nows: chance.some(&NOWS, 2, 4),
            sources: chance.some(&SOURCES, 2, 4).into_iter().map(|text| text.parse().unwrap()).collect(),
        }
    }
}
