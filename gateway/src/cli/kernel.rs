//! `portcullis kernel`: tells what stands in front of the listeners. In: a running gateway, or this process alone. Out: a page for people, or
//! JSON. Never here: attaching, bans.

use crate::cli::say::{Hue, line, painted};
use crate::cli::{End, Failure, Outcome, Ways, client, counted, first, list, number, say, text};
use crate::kernel::{pins, report};
use crate::sources;
use clap::Subcommand;
use serde_json::{Value, json};

/// What to do with the kernel layer.
#[derive(Debug, Subcommand)]
pub enum KernelVerb {
    /// Tell what is attached how, or what is missing and what gives it
    Status,
    /// Take out of the kernel what a gateway left there that has stopped
    Detach,
}

/// Runs the verb.
pub fn kernel(verb: &KernelVerb, ways: &Ways) -> Outcome {
    match verb {
        KernelVerb::Status => status(ways),
        KernelVerb::Detach => detach(ways),
    }
}

fn detach(ways: &Ways) -> Outcome {
    let pins = sources::read(&ways.config).map_err(first)?.settings.kernel.pins;
    let detached = pins::detach(&pins).map_err(|missing| {
        let help = format!("stop the gateway first, or start it with `ebpf = \"off\"`; {}", missing.cure);
        Failure::new(missing.cause, help)
    })?;
    match ways.json {
        true => say::json(&json!({"detached": detached})),
        false => line(&format!("programs taken from {}", counted(detached, "interface"))),
    }
    Ok(End::Done)
}

fn status(ways: &Ways) -> Outcome {
    let value = match client::get(ways, "/v1/kernel") {
        Ok(answer) => match answer.done(ways) {
            Some(value) => value,
            None => return Ok(End::Refused),
        },
        // No gateway answers: what a start by this user would find.
        Err(_) => report::alone(&sources::read(&ways.config).map_err(first)?.settings.kernel),
    };
    match ways.json {
        true => say::json(&value),
        false => page(&value),
    }
    Ok(End::Done)
}

fn page(value: &Value) {
    if value.get("running").and_then(Value::as_bool) == Some(false) {
        line("no gateway answers; this is what a start as this user would find");
    }
    line(&format!("ebpf = \"{}\"", text(value, "/ebpf")));
    for attached in list(value, "/attached") {
        let lasts = match attached.get("pinned").and_then(Value::as_bool) {
            Some(true) => "stays over restarts",
            Some(false) | None => "goes with the gateway",
        };
        let how = format!("{}: admit, {}, {lasts}", text(attached, "/interface"), text(attached, "/way"));
        line(&painted(&how, Hue::Green));
        for refused in list(attached, "/refused").iter().filter_map(Value::as_str) {
            line(&format!("      not {refused}"));
        }
    }
    line(&format!(
        "without a proof: {} ms, {} bytes, {} connections a second from one source{}",
        number(value, "/deadline_ms"),
        number(value, "/budget_bytes"),
        number(value, "/connects_per_second"),
        match text(value, "/enforced_by") {
            "" => String::new(),
            who => format!("; enforced by {who}"),
        }
    ));
    let trusted: Vec<&str> = list(value, "/trusted").iter().filter_map(Value::as_str).collect();
    if !trusted.is_empty() {
        line(&format!("trusted: {}", trusted.join(" ")));
    }
    let packets = value.get("packets").and_then(Value::as_object).into_iter().flatten();
    let packets: Vec<String> = packets.map(|(verdict, count)| format!("{verdict} {count}")).collect();
    if !packets.is_empty() {
        line(&format!("packets: {}", packets.join(", ")));
    }
    for missing in list(value, "/missing") {
        let words = format!("missing: {}; {}", text(missing, "/cause"), text(missing, "/cure"));
        line(&painted(&words, Hue::Yellow));
    }
}
