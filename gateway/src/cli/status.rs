//! `portcullis status`: tells how the gateway stands. In: its answer. Out: a page for people, or the answer itself. Never here: judgement.

use crate::cli::say::{Hue, line, painted};
use crate::cli::{End, Outcome, Ways, client, list, number, say, text};
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
        "rules: version {} of {} by uid {} ({}), {} rules",
        number(value, "/snapshot/version"),
        text(value, "/snapshot/applied_at"),
        number(value, "/snapshot/by_uid"),
        text(value, "/snapshot/how"),
        number(value, "/snapshot/rules"),
    ));
    match text(value, "/snapshot/files") {
        "same" => {}
        "differ" => line(&painted(
            "       the files differ from what serves; `portcullis policy apply` puts them in force",
            Hue::Yellow,
        )),
        _ => line(&painted("       the files do not load; `portcullis check` tells why", Hue::Red)),
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
        "now: {} connections, {} requests, {} streams, {} sessions; {} allowed, {} denied since the start",
        number(value, "/now/connections"),
        number(value, "/now/requests"),
        number(value, "/now/streams"),
        number(value, "/now/sessions"),
        number(value, "/now/allowed"),
        number(value, "/now/denied"),
    ));
    line(&format!("process: {} workers on {}", number(value, "/process/workers"), text(value, "/process/io")));
    for missing in list(value, "/process/missing").iter().filter_map(Value::as_str) {
        line(&painted(&format!("not in effect: {missing}"), Hue::Yellow));
    }
    for warning in list(value, "/warnings") {
        line(&painted(&client::shown(warning), Hue::Yellow));
    }
}

fn routes(routes: &[Value]) {
    for route in routes {
        line(&format!(
            "route {} -> {} ({} tools)",
            text(route, "/resource"),
            text(route, "/upstream"),
            number(route, "/tools")
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
