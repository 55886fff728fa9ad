//! Spreads work over cores. In: many things and what is to be done with each; how to do several at once, which the shell knows. Out: the results, in their order. Never here: threads.

use std::sync::OnceLock;

/// How the parts of a work are done: calls it once with every number below the first argument, in whatever order, on as many cores as it likes.
#[derive(Clone, Copy, Debug)]
pub struct Spread(pub fn(usize, &(dyn Fn(usize) + Sync)));

/// Parts that a work is cut into: many more than cores, so that none waits long for another.
const PARTS_MAX: usize = 256;

impl Spread {
    /// One after the other.
    pub const ALONE: Self = Self(one_after_the_other);

    /// What `work` makes of each.
    pub fn map<T: Sync, R: Send + Sync>(self, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let parts: Vec<&[T]> = all.chunks(all.len().div_ceil(PARTS_MAX).max(1)).collect();
        let made: Vec<OnceLock<Vec<R>>> = parts.iter().map(|_| OnceLock::new()).collect();
        let make = |part: &[T]| part.iter().map(&work).collect::<Vec<R>>();
        (self.0)(parts.len(), &|number| {
            if let (Some(part), Some(place)) = (parts.get(number), made.get(number)) {
                place.get_or_init(|| make(part));
            }
        });
        // A part that was left out is made up for: what is missing here would be a rule that nobody checked.
        parts.iter().zip(made).flat_map(|(part, place)| place.into_inner().unwrap_or_else(|| make(part))).collect()
    }
}

fn one_after_the_other(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    (0..parts).for_each(work);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_stands_in_its_place_whatever_the_order_of_the_work() {
        fn backwards(parts: usize, work: &(dyn Fn(usize) + Sync)) {
            (0..parts).rev().for_each(work);
        }
        fn half_of_it(parts: usize, work: &(dyn Fn(usize) + Sync)) {
            (0..parts).step_by(2).for_each(work);
        }
        fn threads(parts: usize, work: &(dyn Fn(usize) + Sync)) {
            std::thread::scope(|scope| {
                for part in 0..parts {
                    scope.spawn(move || work(part));
                }
            });
        }
        for length in [0, 1, 2, 255, 256, 257, 5_000] {
            let all: Vec<usize> = (0..length).collect();
            let expected: Vec<usize> = all.iter().map(|one| one * 3).collect();
            for spread in [Spread::ALONE, Spread(backwards), Spread(half_of_it), Spread(threads)] {
                assert_eq!(spread.map(&all, |one| one * 3), expected, "{length}");
            }
        }
    }
}
