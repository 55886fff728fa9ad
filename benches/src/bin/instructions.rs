//! Runs each stage a fixed number of times under callgrind. In: nothing. Out: which features of the CPU it sees, then a line a stage: its name,
//! its allocations, what it promises. Never here: counting, which is callgrind's; it collects within `turns_counted` alone and dumps after it.

use clap::Parser;
use portcullis_benches::stage::{Promise, Stage};
use portcullis_benches::stages;

/// Turns of each stage that are counted. `cargo xtask instructions` reads it off the first line.
const TURNS: usize = 100;

/// Runs each stage a fixed number of times, for `cargo xtask instructions` to count
#[derive(Parser)]
struct Args {
    /// Only stages whose name is this
    #[arg(long)]
    only: Option<String>,
    /// Makes a stage a twentieth dearer, to prove that the gate notices
    #[arg(long)]
    dearer: Option<String>,
}

fn main() {
    let args = Args::parse();
    println!("turns {TURNS}");
    println!("features {}", features().join(" "));
    for mut stage in stages::all() {
        if args.only.as_ref().is_some_and(|only| *only != stage.name) {
            continue;
        }
        let dearer = args.dearer.as_ref() == Some(&stage.name);
        stage.warm();
        let allocations = stage.allocations();
        let promise = match stage.promise {
            Promise::NoAllocation => "none",
            Promise::None => "some",
        };
        turns_counted(&mut stage, if dearer { TURNS + TURNS / 20 } else { TURNS });
        println!("stage {allocations} {promise} {}", stage.name);
    }
}

/// What callgrind collects.
#[inline(never)]
fn turns_counted(stage: &mut Stage, turns: usize) {
    for _ in 0..turns {
        stage.once();
    }
}

/// The features of the CPU that libraries choose their code by.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("sha", is_x86_feature_detected!("sha")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
    ];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

/// Other architectures are named as a whole.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
