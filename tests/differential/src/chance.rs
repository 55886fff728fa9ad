//! Rolls dice that repeat. In: a seed. Out: choices, the same for the same seed on every machine. Never here: time.

use oorandom::Rand64;

/// A stream of choices.
pub struct Chance(Rand64);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Rand64::new(u128::from(seed)))
    }

    /// A number below `count`, which is at least one.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.rand_range(0..count as u64) as usize
    }

    /// A number of `low..=high`.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in `share` of a hundred cases.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `low..=high` of them in their order, fewer where there are no more.
    pub fn some<T: Clone>(&mut self, from: &[T], low: usize, high: usize) -> Vec<T> {
        let mut left: Vec<usize> = (0..from.len()).collect();
        let mut chosen = Vec::new();
        for _ in 0..self.within(low, high).min(from.len()) {
            chosen.push(left.swap_remove(self.below(left.len())));
        }
        chosen.sort_unstable();
        chosen.into_iter().map(|position| from[position].clone()).collect()
    }
}

/// The seed of a run's world. The first world has the run's own, so that a world repeats alone.
pub fn world_seed(run: u64, world: u64) -> u64 {
    if world == 0 {
        return run;
    }
    // SplitMix64: neighbouring numbers become far ones.
    let mut mixed = run.wrapping_add(world.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_choices_for_ever() {
        let mut chance = Chance::new(7);
        let first: Vec<usize> = (0..6).map(|_| chance.below(1000)).collect();
        assert_eq!(first, [419, 238, 420, 513, 828, 480]);
        // The first output of SplitMix64 from seed 0, as its authors publish it.
        assert_eq!((world_seed(9, 0), world_seed(0, 1)), (9, 0xE220_A839_7B1D_CDAF));
    }
}
