//! Says which rows have a property. In: facets, words, positions. Out: places within a block, as bytes. Never here: the file.

/// Positions of one block: few enough that a place takes two bytes and that a block which still grows is written again at little cost; so many
/// that a thousand rows that have a property take one row here.
pub const BLOCK: u64 = 16_384;

/// What rows are found by. The numbers stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Facet {
    /// The agent that called, or that an event is about.
    Agent = 1,
    /// The user it acted for.
    User = 2,
    /// The account it acted on.
    Account = 3,
    /// The server.
    Server = 4,
    /// The tool, without its server.
    Tool = 5,
    /// What was decided.
    Decision = 6,
    /// Why it was refused, or did not end well.
    Cause = 7,
    /// A rule that determined the decision, or objected to the result.
    Rule = 8,
    /// The record's event; `decision` for a call.
    Event = 9,
    /// How the call ended.
    Outcome = 10,
}

impl Facet {
    /// Whether rows are counted by its words, which are few.
    pub fn is_counted(self) -> bool {
        match self {
            Self::Server | Self::Event | Self::Outcome => true,
            Self::Agent | Self::User | Self::Account | Self::Tool | Self::Decision | Self::Cause | Self::Rule => false,
        }
    }
}

/// The block of a position.
pub fn block(id: u64) -> u64 {
    id / BLOCK
}

/// The place within its block, as it is written.
pub fn place(id: u64) -> [u8; 2] {
    u16::try_from(id % BLOCK).unwrap_or(u16::MAX).to_le_bytes()
}

/// The positions that are meant, ascending and each once.
pub fn positions(block: u64, places: &[u8]) -> Vec<u64> {
    let (pairs, _none) = places.as_chunks::<2>();
    let mut positions: Vec<u64> =
        pairs.iter().map(|pair| block * BLOCK + u64::from(u16::from_le_bytes(*pair))).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

/// Those of `positions` that stand in the other list too.
pub fn common(positions: Vec<u64>, block: u64, places: &[u8]) -> Vec<u64> {
    let mut bits = [0_u64; (BLOCK / 64) as usize];
    let (pairs, _none) = places.as_chunks::<2>();
    for pair in pairs {
        let place = u64::from(u16::from_le_bytes(*pair));
        if let Some(word) = bits.get_mut((place / 64) as usize) {
            *word |= 1 << (place % 64);
        }
    }
    let holds = |id: &u64| {
        let place = id - block * BLOCK;
        bits.get((place / 64) as usize).is_some_and(|word| word >> (place % 64) & 1 == 1)
    };
    positions.into_iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn what_was_written_in_any_order_is_read_in_its_own(
            block in 0..1_u64 << 40,
            one in prop::collection::vec(0..BLOCK, 0..60),
            other in prop::collection::vec(0..BLOCK, 0..60),
        ) {
            let written = |places: &[u64]| places.iter().flat_map(|at| place(block * BLOCK + at)).collect::<Vec<u8>>();
            let set = |places: &[u64]| places.iter().map(|at| block * BLOCK + at).collect::<BTreeSet<u64>>();
            let read = positions(block, &written(&one));
            prop_assert_eq!(&read, &set(&one).into_iter().collect::<Vec<_>>());
            let both = common(read, block, &written(&other));
            prop_assert_eq!(both, set(&one).intersection(&set(&other)).copied().collect::<Vec<_>>());
        }
    }
}
