//! Tells how the kernel layer stands. In: what is attached, or this process alone. Out: JSON. Never here: changes.

use super::{Kernel, Missing, capability, pins};
use portcullis_core::config::settings::Kernel as Wish;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What serves.
pub fn running(kernel: &Kernel) -> Value {
    let mut value = wished(&kernel.wish);
    let attached = kernel.layer.iter().flat_map(|layer| {
        layer.attached.iter().map(|one| {
            json!({
                "interface": one.interface,
                "way": one.way.as_str(),
                "replaced": one.replaced,
                "refused": one.refused,
                "pinned": layer.pinned,
            })
        })
    });
    let counters: Map<String, Value> = kernel
        .layer
        .iter()
        .flat_map(|layer| layer.counters())
        .map(|(verdict, packets)| (verdict.name().to_owned(), json!(packets)))
        .collect();
    if let Some(members) = value.as_object_mut() {
        members.insert("running".into(), json!(true));
        members.insert("attached".into(), attached.collect());
        members
            .insert("enforced_by".into(), json!(if kernel.layer.is_some() { "kernel and workers" } else { "workers" }));
        members.insert("packets".into(), Value::Object(counters));
        members.insert("missing".into(), missing(&kernel.missing));
    }
    value
}

/// The same as Prometheus reads it: packets by verdict, and what each program that is loaded has cost.
pub fn metrics(kernel: &Kernel, out: &mut String) {
    let Some(layer) = &kernel.layer else { return };
    out.push_str("# HELP portcullis_kernel_packets_total Packets judged in the kernel, by verdict.\n# TYPE portcullis_kernel_packets_total counter\n");
    for (verdict, packets) in layer.counters() {
        let _ = writeln!(out, "portcullis_kernel_packets_total{{verdict=\"{}\"}} {packets}", verdict.name());
    }
    let runs = layer.runs();
    out.push_str("# HELP portcullis_kernel_runs_total Runs of a program, counted where `kernel.bpf_stats_enabled` is 1.\n# TYPE portcullis_kernel_runs_total counter\n");
    for (program, runs, _) in &runs {
        let _ = writeln!(out, "portcullis_kernel_runs_total{{program=\"{program}\"}} {runs}");
    }
    out.push_str("# HELP portcullis_kernel_run_seconds_total What they took.\n# TYPE portcullis_kernel_run_seconds_total counter\n");
    for (program, _, nanoseconds) in &runs {
        let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        let _ = writeln!(out, "portcullis_kernel_run_seconds_total{{program=\"{program}\"}} {whole}.{rest:09}");
    }
}

/// What a start would find, asked of this process while no gateway answers.
pub fn alone(wish: &Wish) -> Value {
    let mut value = wished(wish);
    let mut lacking = capability::missing();
    if !pins::is_bpf(&wish.pins) {
        lacking.push(pins::unpinned(&wish.pins));
    }
    if wish.interfaces.is_empty() {
        lacking.push(Missing::new(
            "eBPF programs: `[kernel]` names no `interfaces`",
            "name those that agents come in by, like `interfaces = [\"eth0\"]`",
        ));
    }
    let left: Vec<Value> = pins::links(&wish.pins)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(_, name)| {
            let (way, interface) = name.split_once('-')?;
            Some(json!({"interface": interface, "way": way, "pinned": true}))
        })
        .collect();
    if let Some(members) = value.as_object_mut() {
        members.insert("running".into(), json!(false));
        members.insert("attached".into(), Value::Array(left));
        members.insert("missing".into(), missing(&lacking));
    }
    value
}

fn wished(wish: &Wish) -> Value {
    let trusted: Vec<String> = wish.trusted.iter().map(ToString::to_string).collect();
    json!({
        "ebpf": wish.ebpf.as_str(),
        "interfaces": wish.interfaces,
        "deadline_ms": u64::try_from(wish.deadline.as_millis()).unwrap_or(u64::MAX),
        "budget_bytes": wish.budget_bytes,
        "connects_per_second": wish.connects_per_second,
        "trusted": trusted,
        "pins": wish.pins.display().to_string(),
    })
}

fn missing(missing: &[Missing]) -> Value {
    missing.iter().map(|one| json!({"cause": one.cause, "cure": one.cure})).collect()
}
