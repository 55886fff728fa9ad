//! Measures each stage of the core by itself. A stage joins with one function here once it exists; until then there is nothing to time.

use criterion::Criterion;

fn main() {
    Criterion::default().configure_from_args().final_summary();
}
