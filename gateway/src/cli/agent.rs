//! `portcullis agent`: lists, suspends and resumes agents. In: a verb. Out: the registry as it serves. Never here: the file's text.

use crate::cli::{End, Outcome, Ways, client, list, policy, say, text};
use clap::Subcommand;
use serde_json::Value;

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// List the agents that are known
    List,
    /// Refuse an agent from now on, open connections included
    Suspend {
        /// Its id
        id: String,
    },
    /// Let a suspended agent in again
    Resume {
        /// Its id
        id: String,
    },
}

/// Runs the verb.
pub fn agent(verb: &AgentVerb, ways: &Ways) -> Outcome {
    match verb {
        AgentVerb::List => agents(ways),
        AgentVerb::Suspend { id } => change(id, "suspend", "suspended", ways),
        AgentVerb::Resume { id } => change(id, "resume", "active", ways),
    }
}

fn change(id: &str, verb: &str, becomes: &str, ways: &Ways) -> Outcome {
    let end = policy::changed(client::post(ways, &format!("/v1/agents/{}/{verb}", escaped(id)), None)?, ways);
    if end == End::Done && !ways.json {
        say::line(&format!("agent `{id}` is {becomes}"));
    }
    Ok(end)
}

/// What stands in a path must not end it; ids have none of these, but what was typed may.
pub fn escaped(id: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn agents(ways: &Ways) -> Outcome {
    let Some(value) = client::get(ways, "/v1/agents")?.done(ways) else { return Ok(End::Refused) };
    if ways.json {
        say::json(&value);
        return Ok(End::Done);
    }
    let words = |agent: &Value, pointer: &str| {
        list(agent, pointer).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    let mut rows = vec![["ID", "STATUS", "OWNER", "GROUPS", "EXPIRES"].map(str::to_owned).to_vec()];
    rows.extend(list(&value, "/agents").iter().map(|agent| {
        vec![
            text(agent, "/id").to_owned(),
            text(agent, "/status").to_owned(),
            text(agent, "/owner").to_owned(),
            words(agent, "/groups"),
            text(agent, "/expires").to_owned(),
        ]
    }));
    say::table(&rows);
    Ok(End::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert_eq!(escaped("crm-bot_1"), "crm-bot_1");
        assert_eq!(escaped("../x?y z"), "%2E%2E%2Fx%3Fy%20z");
    }
}
