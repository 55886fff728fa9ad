//! What is asked, and what is believed of an answer.

use super::*;
use crate::policy::ground::Ground;
use crate::policy::invariant::{Agents, Which};
use crate::policy::question::{self, About, Account, Ask};
use crate::policy::witness;
use cedar_policy::{Context, Entities, Request};

/// Calls `then` with the rules over the usual servers and agents.
fn with<T>(policies: &str, then: impl FnOnce(&Ground<'_>) -> T) -> T {
    let (crm, rules) = (crm(), rules());
    let server = ServerSource { name: "crm", catalogue: &crm, tools: &rules, extension_methods: &[] };
    let servers = [(server, Arc::new(Drift::new(&crm)))];
    let agents =
        AGENTS.map(|(id, groups, accounts)| AgentSource { id, groups: groups.to_vec(), accounts: accounts.to_vec() });
    let sources = [Source { file: "p.cedar", text: policies }];
    let calendars = calendars();
    let inputs = Inputs {
        sources: &sources,
        servers: &servers,
        agents: &agents,
        calendars: &calendars,
        settings_file: "portcullis.toml",
    };
    then(&Ground::build(inputs).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n"))))
}

const READS: &str = r#"permit (principal in Group::"support", action == Action::"crm.read_table", resource) when { context.input.table == "a" };"#;

/// What comes of the claim that this agent may read a table, where nobody should read any.
fn check_claim(
    policies: &str,
    (agent, groups, table): (&str, &[&str], &str),
    agents: Agents,
    expected: Result<&str, &str>,
) {
    with(policies, |ground| {
        let never = r#"permit (principal, action == Action::"crm.read_table", resource);"#;
        let about = About::Never(ground.permits("i.toml", never).unwrap());
        let item = question::items(ground, &about)[0];
        let question = question::question(ground, &about, item, agents).unwrap();
        let context = json!({
            "account": "c1", "input": {"table": table}, "claims": {"__entity": {"type": "Claims", "id": "x"}},
            "source": {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}}, "now": {"__extn": {"fn": "datetime", "arg": "2026-11-24"}},
        });
        let context = Context::from_json_value(context, None).unwrap();
        let uid = |ty: &str, id: &str| crate::policy::facts::entity(ty, id).unwrap();
        let request =
            Request::new(uid("Agent", agent), question.action.clone(), uid("Server", "crm"), context, None).unwrap();
        let parents: Vec<Value> = groups.iter().map(|group| json!({"type": "Group", "id": group})).collect();
        let entities = json!([{"uid": {"type": "Agent", "id": agent}, "attrs": {"accounts": []}, "parents": parents}]);
        let entities = Entities::from_json_value(entities, None).unwrap();
        let got = witness::confirm(ground, (&about, agents), &question, (&request, &entities));
        let got = got.map(|case| format!("{} {} {}", case.agent, case.registered, case.outcome));
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{agent} {groups:?} {table}");
    });
}

#[test]
fn a_claim_that_the_engine_does_not_confirm_is_not_believed() {
    let spurious = Err("the call is denied (no_rule), or not one that is meant");
    check_claim(READS, ("x", &["support"], "b"), Agents::Any, spurious);
    check_claim(READS, ("x", &["support"], "b"), Agents::Registered, Err("no registered agent can make the call"));
    let nobody = format!(
        "{READS} forbid (principal in Group::\"support\", action, resource) unless {{ principal in Group::\"finance\" }};"
    );
    check_claim(&nobody, ("x", &["support"], "a"), Agents::Registered, Ok("cat true permitted by p.cedar:1"));
    let both = format!(
        "{READS} forbid (principal == Agent::\"ann\", action, resource); forbid (principal == Agent::\"cat\", action, resource);"
    );
    check_claim(&both, ("x", &["support"], "a"), Agents::Registered, Err("no registered agent can make the call"));
    check_claim(&both, ("x", &["support", "unknown"], "a"), Agents::Any, Ok("some-agent false permitted by p.cedar:1"));
    check_claim(READS, ("x", &["support"], "a"), Agents::Any, Ok("ann true permitted by p.cedar:1"));
}

#[test]
fn an_action_that_follows_from_others_is_not_asked_about() {
    with(READS, |ground| {
        let asked = |permit: &str| {
            let about = About::Never(ground.permits("i.toml", permit).unwrap());
            question::items(ground, &about).len()
        };
        assert_eq!(asked(r#"permit (principal, action == Action::"connect", resource);"#), 0);
        assert_eq!(asked(r#"permit (principal, action in Action::"call", resource);"#), 6);
        // All eight fixed actions but three, and the tools.
        assert_eq!(asked("permit (principal, action, resource);"), 5 + 6);
    });
}

#[test]
fn what_reads_the_account_is_asked_with_one_and_without() {
    let rules = r#"permit (principal, action == Action::"crm.read_table", resource) when { context.account == "c1" };
        forbid (principal, action == Action::"crm.search", resource) when { context.input has page && context.input.page > 3 };"#;
    with(rules, |ground| {
        let asked = |about: &About<'_>| -> Vec<(Account, Option<usize>)> {
            question::items(ground, about).iter().map(|item| (item.account, item.rule)).collect()
        };
        assert_eq!(
            asked(&About::NeverErrors(Which::Rules)),
            [(Account::Named, Some(0)), (Account::Absent, Some(0)), (Account::Named, Some(1))]
        );
        assert_eq!(asked(&About::NeverErrors(Which::Forbids)), [(Account::Named, Some(1))]);
        let about = About::NeverErrors(Which::Rules);
        let absent = question::items(ground, &about)[1];
        let question = question::question(ground, &about, absent, Agents::Any).unwrap();
        let Ask::NeverErrs(policy) = question.ask else { panic!("another question") };
        assert!(!policy.to_string().contains("account"), "{policy}");
    });
}
