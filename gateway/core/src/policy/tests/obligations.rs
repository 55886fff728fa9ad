//! What permits oblige to: all of every determining one, and nothing of any other.

use super::*;
use crate::policy::meter::Limit;

/// The rules whose obligations a call comes with, and what it takes of each bound; or why it takes nothing.
fn check(policies: &str, agent: &str, call: &str, expected: &str) {
    let engine = build(policies).unwrap_or_else(|findings| panic!("given {policies}\ngot {:?}", shown(&findings)));
    let ask = Ask::new(agent, call);
    let permit = ask.decide(&engine).unwrap_or_else(|denial| panic!("given {policies}\n{call} got {denial:?}"));
    let (server, tool) = call.split(' ').next().unwrap().split_once('.').unwrap();
    let tool = engine.tool(engine.server(server).unwrap(), tool).unwrap();
    let obligations = engine.obligations(&permit, tool);
    let mut scratch = Scratch::new();
    let body = call.split_once(' ').map_or("{}", |(_, body)| body);
    let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
    let mut words: Vec<String> = obligations.ids().map(str::to_owned).collect();
    match obligations.charges(Some(document.root())) {
        Ok(charges) => words.extend(charges.iter().map(|charge| match charge.limit {
            Limit::Rate(rate) => format!("rate {}", rate.count),
            Limit::Budget(budget) => format!("{} of {}", charge.amount, budget.sum_max),
        })),
        Err(unmet) => {
            words.push(unmet.denial().cause().name().to_owned());
            assert_eq!(unmet.denial().visibility(), crate::policy::verdict::Visibility::Listed);
        }
    }
    assert_eq!(words.join(" "), expected, "given {policies}\nwhen {agent} asks {call}");
}

const RULES: &str = r#"
    @id("plain") permit (principal == Agent::"bob", action in Action::"call", resource);
    @id("ssn") @redact("/rows/*/ssn") permit (principal in Group::"support", action in Action::"customerTools", resource);
    @id("calm") @rate("10/m") permit (principal == Agent::"ann", action == Action::"crm.read_table", resource) when { context.input.table == "a" };
    @id("purse") @budget("/amount 100/day, /amount 2000/month") permit (principal, action == Action::"crm.update_row", resource);"#;

#[test]
fn all_obligations_of_all_determining_permits_apply_and_no_others() {
    check(RULES, "bob", r#"crm.read_table {"table":"a"}"#, "");
    check(RULES, "ann", r#"crm.read_table {"table":"b"}"#, "ssn");
    check(RULES, "ann", r#"crm.read_table {"table":"a"}"#, "ssn calm rate 10");
    check(RULES, "ann", r#"crm.update_row {"id":1,"amount":1.5}"#, "ssn purse 15000 of 1000000 15000 of 20000000");
    check(RULES, "bob", r#"crm.update_row {"id":1,"amount":1.5}"#, "purse 15000 of 1000000 15000 of 20000000");
    check(RULES, "bob", r#"crm.update_row {"id":1,"amount":-1.5}"#, "purse amount_unreadable");
    check(RULES, "bob", r#"crm.update_row {"id":1}"#, "purse amount_unreadable");
}

#[test]
fn a_bound_that_two_rules_state_alike_is_taken_once_and_one_that_differs_twice() {
    let one = "@rate(\"3/s\") permit (principal, action == Action::\"crm.bare\", resource);";
    check(&format!("{one}\n{one}"), "ann", "crm.bare", "p.cedar:1 p.cedar:2 rate 3");
    let named = |id: &str| format!("@id(\"{id}\") {one}");
    check(&format!("{}\n{}", named("a"), named("b")), "ann", "crm.bare", "a b rate 3 rate 3");
}

#[test]
fn where_more_permits_determine_than_are_named_all_obligations_count() {
    let plain = "permit (principal, action == Action::\"crm.bare\", resource);\n".repeat(20);
    let text =
        format!("{plain}@id(\"last\") @redact(\"/a\") permit (principal, action == Action::\"crm.bare\", resource);");
    check(&text, "ann", "crm.bare", "last");
}

#[test]
fn a_task_carries_what_the_call_that_made_it_could_have() {
    let engine = build(RULES).unwrap();
    let tool = engine.tool(engine.server("crm").unwrap(), "read_table").unwrap();
    let permit = Ask::new("ann", "crm task read_table").decide(&engine).unwrap();
    assert_eq!(engine.obligations(&permit, tool).ids().collect::<Vec<_>>(), ["ssn", "calm"]);
}

#[test]
fn a_bound_keeps_its_name_when_other_rules_come_and_go() {
    let named = |text: &str| {
        let engine = build(text).unwrap();
        let permit = Ask::new("ann", "crm.bare").decide(&engine).unwrap();
        let tool = engine.tool(engine.server("crm").unwrap(), "bare").unwrap();
        let obligations = engine.obligations(&permit, tool);
        obligations.charges(None).unwrap().first().map(|charge| *charge.name).unwrap()
    };
    let rule = "permit (principal, action == Action::\"crm.bare\", resource);";
    let other = "permit (principal, action == Action::\"crm.empty\", resource);\n";
    let before = named(&format!("@rate(\"3/s\") {rule}"));
    assert_eq!(named(&format!("{other}{other}@rate(\"3/s\") {rule}")), before);
    assert_ne!(named(&format!("@rate(\"4/s\") {rule}")), before);
    assert_ne!(named(&format!("@id(\"x\") @rate(\"3/s\") {rule}")), before);
}

#[test]
fn a_redaction_that_sql_could_rename_its_way_around_is_refused_at_load() {
    let on_sql = |what: &str| format!("{what} permit (principal, action == Action::\"pg.query\", resource);");
    let findings = build(&on_sql("@redact(\"/rows/*/ssn\")")).unwrap_err();
    let expected = "p.cedar:1: the agent's own SQL names the columns of `pg.query`, so no pointer holds them; \
                    give this tool's rules no `@redact`; hide the columns in a view, or permit tables without them";
    assert_eq!(shown(&findings), [expected]);
    assert!(build(&on_sql("@max_rows(\"5\")")).is_ok());
}
