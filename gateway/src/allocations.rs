//! Tells how often the cores allocated. In: the allocator's counts. Out: lines among the metrics. Never here: the product; this module exists
//! only under the feature `count-allocations`, with which `portcullis` itself does not compile.

use portcullis_ring::allocations::{self, Section};
use std::fmt::Write;

/// Appends the counts of every core. Allocations that follow are named, so that a proof that fails says where.
pub fn tell(out: &mut String, cores: usize) {
    for (name, section) in
        [("portcullis_allocations_path_total", Section::Path), ("portcullis_allocations_policy_total", Section::Policy)]
    {
        let cores = u16::try_from(cores).unwrap_or(u16::MAX);
        let sum: u64 = (0..cores).map(|core| allocations::count(core, section)).sum();
        let _ = writeln!(out, "# HELP {name} Heap allocations of the workers.\n# TYPE {name} counter\n{name} {sum}");
    }
    allocations::name_from_here_on();
}
