//! Chooses what goes wrong. In: chance. Out: which fault comes, and at which operation. Never here: what comes of it.

use oorandom::Rand64;

/// What goes wrong at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process ends.
    Kill,
    /// The power goes.
    Power,
    /// There is no space for a while.
    Full,
    /// A sync fails and drops what it was to write.
    Sync,
    /// A read fails.
    Read,
    /// Any operation fails once.
    Refused,
}

/// All of them; those that end everything at some operation come more often.
const BLOWS: [Blow; 10] = [
    Blow::Kill,
    Blow::Kill,
    Blow::Power,
    Blow::Power,
    Blow::Power,
    Blow::Power,
    Blow::Full,
    Blow::Sync,
    Blow::Read,
    Blow::Refused,
];

impl Blow {
    /// One of them.
    pub fn one(chance: &mut Rand64) -> Self {
        BLOWS[chance.rand_range(0..BLOWS.len() as u64) as usize]
    }

    /// When it comes. What happens early in a start happens seldom, and matters as much.
    pub fn faults(self, chance: &mut Rand64) -> Faults {
        let reach = [12, 60, 250][chance.rand_range(0..3) as usize];
        let at = 1 + chance.rand_range(0..reach);
        let none = Faults::default();
        match self {
            Self::Kill | Self::Power => Faults { ends_at: Some(at), ..none },
            Self::Full => Faults { full_from: Some(at), ..none },
            Self::Sync => Faults { sync_fails: Some(at.div_ceil(2)), ..none },
            Self::Read => Faults { read_fails: Some(at), ..none },
            Self::Refused => Faults { refuses: Some((at, at + 1 + chance.rand_range(0..4))), ..none },
        }
    }
}

/// What goes wrong, and when: operations are counted from the moment the plan is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Before the end of this operation everything stops.
    pub ends_at: Option<u64>,
    /// From this operation on there is no space, until [`SimDisk::lift`].
    pub full_from: Option<u64>,
    /// This sync fails, and drops what it was to write.
    pub sync_fails: Option<u64>,
    /// This read fails.
    pub read_fails: Option<u64>,
    /// From the first of these operations up to the second all fail and do nothing.
    pub refuses: Option<(u64, u64)>,
}
