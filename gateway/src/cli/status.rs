//! `portcullis status`: tells how the gateway stands. In: its answer. Out: a page for people, or the answer itself. Never here: judgement.

use crate::cli::say::{Hue, line, painted};
use crate::cli::{End, Outcome, Ways, client, counted, list, number, say, text};
use serde_json::Value;

/// Exit code 0 while it serves.
pub fn status(ways: &Ways) -> Outcome {
    let Some(value) = client::get(ways, "/v1/status")?.done(ways) else { return Ok(End::Refused) };
    match ways.json {
        true => say::json(&value),
        false => page(&value),
    }
    Ok(End::Done)
}

fn page(value: &Value) {
    let state = text(value, "/state");
    let hue = if state == "serving" { Hue::Green } else { Hue::Yellow };
    line(&format!(
        "portcullis {} is {} since {}",
        text(value, "/build"),
        painted(state, hue),
        text(value, "/started_at")
    ));
    line(&format!("agents reach it at {} ({})", text(value, "/listen/public_url"), text(value, "/listen/address")));
    line(&format!(
        "rules: version {} of {} by uid {} ({}), {}",
        number(value, "/snapshot/version"),
        text(value, "/snapshot/applied_at"),
        number(value, "/snapshot/by_uid"),
        text(value, "/snapshot/how"),
        many(value, "/snapshot/rules", "rule"),
    ));
    match text(value, "/snapshot/files") {
        "same" => {}
        "differ" => line(&painted(
            "       the files differ from what serves; `portcullis policy apply` puts them in force",
            Hue::Yellow,
        )),
        _ => line(&painted("       the files do not load; `portcullis check` tells why", Hue::Red)),
    }
    if let Some(refused) = value.get("refused").filter(|refused| refused.is_object()) {
        let words = format!("       REFUSED at {}: these findings kept a load from serving", text(refused, "/at"));
        line(&painted(&words, Hue::Red));
        for finding in list(refused, "/findings") {
            line(&painted(&format!("       {}", client::shown(finding)), Hue::Red));
        }
    }
    line(&format!(
        "agents: {} active, {} suspended, {} retired",
        number(value, "/agents/active"),
        number(value, "/agents/suspended"),
        number(value, "/agents/retired")
    ));
    routes(list(value, "/routes"));
    line(&format!("audit: {} in {}", text(value, "/audit/durability"), text(value, "/audit/folder")));
    line(&format!(
        "now: {}, {}, {}, {}; {} allowed, {} denied, {} denied but only observed since the start",
        many(value, "/now/connections", "connection"),
        many(value, "/now/requests", "request"),
        many(value, "/now/streams", "stream"),
        many(value, "/now/sessions", "session"),
        number(value, "/now/allowed"),
        number(value, "/now/denied"),
        number(value, "/now/observed_denied"),
    ));
    line(&format!("process: {} on {}", many(value, "/process/workers", "worker"), text(value, "/process/io")));
    for missing in list(value, "/process/missing").iter().filter_map(Value::as_str) {
        line(&painted(&format!("not in effect: {missing}"), Hue::Yellow));
    }
    for warning in list(value, "/warnings") {
        line(&painted(&client::shown(warning), Hue::Yellow));
    }
}

/// A number of an answer and what it counts.
fn many(value: &Value, pointer: &str, noun: &str) -> String {
    counted(usize::try_from(number(value, pointer)).unwrap_or_default(), noun)
}

fn routes(routes: &[Value]) {
    for route in routes {
        line(&format!(
            "route {} -> {} ({})",
            text(route, "/resource"),
            text(route, "/upstream"),
            many(route, "/tools", "tool")
        ));
        if text(route, "/mode") == "observe" {
            line(&painted("      OBSERVE: refusals on this route are recorded and NOT enforced", Hue::Red));
        }
        if list(route, "/addresses").is_empty() {
            line(&painted("      its name does not resolve", Hue::Red));
        }
        if route.get("learned").and_then(Value::as_bool) == Some(false) {
            line(&painted("      no tool is approved yet, so every call is refused", Hue::Yellow));
        }
    }
}
