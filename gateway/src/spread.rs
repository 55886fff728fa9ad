//! Spreads the building of rules over the processors. In: parts of a work. Out: all of them done. Never here: what the work is.

use portcullis_core::policy::spread::Spread;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// On as many threads as there are processors. They have the priority of whoever asks, and end with the work.
pub const EVERY_CORE: Spread = Spread(on_every_core);

fn on_every_core(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            work(part);
        }
    };
    let helpers = thread::available_parallelism().map_or(1, NonZero::get).min(parts).saturating_sub(1);
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Without a helper the work takes longer, and is done all the same.
            let _ = thread::Builder::new().name("build".to_owned()).spawn_scoped(scope, take);
        }
        take();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once() {
        for parts in [0, 1, 3, 1_000] {
            let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
            on_every_core(parts, &|part| {
                done[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{parts}");
        }
    }
}
