//! Times each stage by itself, in the order a call meets them, then the whole call. A stage that grows slower shows here before it shows in a
//! whole call; what it allocates is said beside it.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use portcullis_benches::stage::Promise;
use portcullis_benches::stages;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    if !stages::LEFT_OUT.is_empty() {
        eprintln!("{}", stages::LEFT_OUT);
    }
    for mut stage in stages::all() {
        stage.warm();
        let allocations = stage.allocations();
        println!("{}: {allocations} allocations", stage.name);
        assert!(stage.promise == Promise::None || allocations == 0.0, "{} promises to allocate nothing", stage.name);
        let (group, case) = stage.name.split_once('/').unwrap_or((&stage.name, ""));
        let mut group = criterion.benchmark_group(group);
        if let Some(bytes) = stage.bytes {
            group.throughput(Throughput::Bytes(bytes));
        }
        let case = if case.is_empty() { "-".to_owned() } else { case.to_owned() };
        group.bench_function(case, |bench| bench.iter(|| stage.once()));
        group.finish();
    }
    criterion.final_summary();
}
