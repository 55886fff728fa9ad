//! What is permitted and what is not.

use super::*;

#[test]
fn nothing_means_no() {
    for call in [
        "crm connect",
        "crm.read_table {}",
        "crm read file:///a",
        "crm prompt a",
        "crm complete-prompt a",
        "crm task",
        "crm sample",
        "crm elicit",
        "crm roots",
        "crm extension skills/list",
    ] {
        check("", "ann", call, "no_rule");
    }
    const ALL: &str = "@id(\"all\") permit (principal, action, resource);";
    check(ALL, "ann", "crm.nothing", "unknown_tool");
    check(ALL, "ann", "crm.Read_table", "unknown_tool");
    check(ALL, "nobody", "crm.read_table {}", "unknown_agent");
    // A position that means another agent in this registry, as after a swap.
    let stale = Who { id: "bob", ..Ask::new("ann", "").who() };
    let facts = Facts { arguments: None, source: "10.0.0.1".parse().unwrap(), now: UnixMillis(0) };
    let engine = build(ALL).unwrap();
    assert_eq!(
        outcome(&engine, &engine.decide(&stale, engine.server("crm").unwrap(), Action::Connect, &facts)),
        "unknown_agent"
    );
    check(ALL, "ann", "other connect", "unknown_server");
    check(ALL, "ann", "pg extension skills/list", "unknown_method");
    check(ALL, "ann", "crm extension skills/get", "unknown_method");
    for call in [
        "crm connect",
        "crm.read_table {}",
        "crm read file:///a",
        "crm prompt a",
        "crm complete-prompt a",
        "crm task",
        "crm sample",
        "crm elicit",
        "crm roots",
        "crm extension skills/list",
    ] {
        check(ALL, "ann", call, "allow all");
    }
}

#[test]
fn agents_groups_and_tools_are_told_apart() {
    const RULES: &str = r#"
        @id("one") permit (principal == Agent::"dan", action == Action::"crm.bare", resource == Server::"crm");
        @id("group") permit (principal in Group::"support", action == Action::"crm.read_table", resource);
        @id("server") permit (principal in Group::"finance", action, resource == Server::"pg");
        @id("tools") permit (principal == Agent::"bob", action in Action::"customerTools", resource);"#;
    for (agent, call, expected) in [
        ("dan", "crm.bare {}", "allow one"),
        ("ann", "crm.bare {}", "no_rule"),
        ("ann", "crm.read_table {\"table\": \"x\"}", "allow group"),
        ("dan", "crm.read_table {\"table\": \"x\"}", "no_rule"),
        ("ann", "pg.query {\"sql\": \"\"}", "no_rule"),
        ("bob", "pg.query {\"sql\": \"\"}", "allow server"),
        ("bob", "pg sample", "allow server"),
        ("bob", "crm sample", "no_rule"),
        ("bob", "crm.update_row {\"id\": 1, \"amount\": 1}", "allow tools"),
        ("bob", "crm.search {}", "no_rule"),
        ("cat", "crm.read_table {\"table\": \"x\"}", "allow group"),
        ("cat", "pg.query {\"sql\": \"\"}", "allow server"),
    ] {
        check(RULES, agent, call, expected);
    }
}

#[test]
fn a_forbid_wins_over_every_permit() {
    const RULES: &str = r#"
        @id("all") permit (principal, action, resource);
        @id("never") forbid (principal, action == Action::"crm.bare", resource);
        @id("money") forbid (principal, action in Action::"call", resource == Server::"pg") unless { principal in Group::"finance" };
        @id("table") forbid (principal, action == Action::"crm.read_table", resource) when { context.input.table == "secrets" };"#;
    check(RULES, "ann", "crm.bare {}", "forbidden never");
    check(RULES, "ann", "pg.query {\"sql\": \"\"}", "forbidden money");
    check(RULES, "cat", "pg.query {\"sql\": \"\"}", "allow all");
    check(RULES, "ann", "crm.read_table {\"table\": \"secrets\"}", "forbidden table");
    check(RULES, "ann", "crm.read_table {\"table\": \"rows\"}", "allow all");
}

#[test]
fn a_forbid_that_errs_denies_and_a_permit_that_errs_does_not_count() {
    const FORBID: &str = r#"
        @id("all") permit (principal, action, resource);
        @id("sum") forbid (principal, action == Action::"crm.update_row", resource) when { context.input.id + 1 > 100 };"#;
    check(FORBID, "ann", "crm.update_row {\"id\": 9223372036854775807, \"amount\": 1}", "rule_error sum");
    check(FORBID, "ann", "crm.update_row {\"id\": 100, \"amount\": 1}", "forbidden sum");
    check(FORBID, "ann", "crm.update_row {\"id\": 1, \"amount\": 1}", "allow all");
    // A required argument that is missing errs as well.
    check(FORBID, "ann", "crm.update_row {}", "rule_error sum");
    const PERMIT: &str = r#"
        @id("sum") permit (principal, action == Action::"crm.update_row", resource) when { context.input.id + 1 > 100 };
        @id("bob") permit (principal == Agent::"bob", action == Action::"crm.update_row", resource);"#;
    check(PERMIT, "ann", "crm.update_row {\"id\": 9223372036854775807, \"amount\": 1}", "no_rule");
    check(PERMIT, "bob", "crm.update_row {\"id\": 9223372036854775807, \"amount\": 1}", "allow bob");
    check(PERMIT, "bob", "crm.update_row {\"id\": 100, \"amount\": 1}", "allow sum bob");
}

#[test]
fn arguments_are_judged_by_value() {
    const TABLES: &str = r#"@id("t") permit (principal, action == Action::"crm.read_table", resource)
        when { ["customers", "orders"].contains(context.input.table) && (if context.input has limit then context.input.limit <= 100 else true) };"#;
    for (arguments, expected) in [
        (r#"{"table": "customers"}"#, "allow t"),
        (r#"{"table": "orders", "limit": 100}"#, "allow t"),
        (r#"{"table": "orders", "limit": 5.0}"#, "allow t"),
        (r#"{"table": "orders", "limit": 101}"#, "no_rule"),
        (r#"{"table": "Customers"}"#, "no_rule"),
        (r#"{"table": "\u0063ustomers"}"#, "allow t"),
        (r#"{}"#, "no_rule"),
        (r#"{"table": "orders", "limit": 1.5}"#, "argument_unreadable /limit"),
        (r#"{"table": "orders", "limit": null}"#, "argument_unreadable /limit"),
        (r#"{"table": 5}"#, "argument_unreadable /table"),
        (r#"{"table": ["customers"]}"#, "argument_unreadable /table"),
        (r#"{"table": "orders", "undeclared": {"x": 1e300}}"#, "allow t"),
        (r#"{"table": "orders", "where": 5}"#, "allow t"),
    ] {
        check(TABLES, "ann", &format!("crm.read_table {arguments}"), expected);
    }
    check(TABLES, "ann", "crm.read_table", "no_rule");
    check(TABLES, "ann", "crm.read_table [\"customers\"]", "argument_unreadable ");
    check("permit (principal, action, resource);", "ann", "crm.bare 5", "argument_unreadable ");
}

#[test]
fn numbers_sets_and_nested_members_are_judged() {
    const ROWS: &str = r#"@id("r") permit (principal, action == Action::"crm.update_row", resource)
        when { context.input.amount.lessThan(decimal("100.5")) && (if context.input has tags then ["a", "b"].containsAll(context.input.tags) else true) }
        unless { context.input has to && (context.input.to.region == "us" || (context.input.to has deep.flag && context.input.to.deep.flag)) };"#;
    for (arguments, expected) in [
        (r#"{"id": 1, "amount": 100.4999}"#, "allow r"),
        (r#"{"id": 1, "amount": 100}"#, "allow r"),
        (r#"{"id": 1, "amount": 100.5}"#, "no_rule"),
        (r#"{"id": 1, "amount": 1.23456}"#, "argument_unreadable /amount"),
        (r#"{"id": 1.5, "amount": 1}"#, "allow r"),
        (r#"{"id": 1, "amount": 1, "tags": ["b", "a", "a"]}"#, "allow r"),
        (r#"{"id": 1, "amount": 1, "tags": ["c"]}"#, "no_rule"),
        (r#"{"id": 1, "amount": 1, "tags": [1]}"#, "argument_unreadable /tags"),
        (r#"{"id": 1, "amount": 1, "to": {"region": "eu", "other": 1}}"#, "allow r"),
        (r#"{"id": 1, "amount": 1, "to": {"region": "us"}}"#, "no_rule"),
        (r#"{"id": 1, "amount": 1, "to": {"region": "eu", "deep": {"flag": true}}}"#, "no_rule"),
        (r#"{"id": 1, "amount": 1, "to": {"region": "eu", "deep": {}}}"#, "allow r"),
        (r#"{"id": 1, "amount": 1, "to": {"region": "eu", "deep": {"flag": 1}}}"#, "argument_unreadable /to/deep/flag"),
        (r#"{"id": 1, "amount": 1, "to": "eu"}"#, "argument_unreadable /to"),
    ] {
        check(ROWS, "ann", &format!("crm.update_row {arguments}"), expected);
    }
}

#[test]
fn what_no_rule_reads_is_not_converted() {
    const PAGE: &str = r#"@id("p") permit (principal, action == Action::"crm.search", resource) when { context.input has page && context.input.page < 9 };"#;
    check(PAGE, "ann", r#"crm.search {"page": 1, "query": [1.23456], "raw": 7}"#, "allow p");
    const RAW: &str = r#"@id("p") permit (principal, action == Action::"crm.search", resource) when { context.input has raw && context.input.raw like "a*" };"#;
    check(RAW, "ann", r#"crm.search {"raw": "ab"}"#, "allow p");
    check(RAW, "ann", r#"crm.search {"raw": 7}"#, "argument_unreadable /raw");
    check(RAW, "ann", r#"crm.search {"raw": null}"#, "no_rule");
}

#[test]
fn undeclared_arguments_are_refused_where_the_schema_or_a_rule_says_so() {
    const ALL: &str = "@id(\"all\") permit (principal, action, resource);";
    check(ALL, "ann", r#"crm.strict {"a": "x", "b": 1}"#, "argument_undeclared ");
    check(ALL, "ann", r#"crm.strict {"a": "x"}"#, "allow all");
    check(ALL, "ann", r#"crm.bare {"b": 1}"#, "allow all");
    check(ALL, "ann", r#"crm.empty {"b": 1}"#, "allow all");
    // `table` is declared by two tools; on the others it has no type, so that a call that carries it cannot be judged.
    const TABLE: &str = r#"@id("all") permit (principal, action in Action::"call", resource);
        @id("no") forbid (principal, action in Action::"call", resource) when { context.input has table && context.input.table == "secrets" };"#;
    check(TABLE, "ann", r#"crm.bare {"table": "secrets"}"#, "argument_undeclared /table");
    check(TABLE, "ann", r#"crm.bare {"tables": "secrets"}"#, "allow all");
    check(TABLE, "ann", r#"pg.query {"sql": "", "table": "secrets"}"#, "forbidden no");
    check(TABLE, "ann", r#"pg.query {"sql": "", "table": null}"#, "argument_unreadable /table");
    check(TABLE, "ann", r#"pg.query {"sql": ""}"#, "allow all");
}

#[test]
fn whole_arguments_can_be_compared() {
    const WHOLE: &str = r#"@id("w") permit (principal, action == Action::"crm.strict", resource) when { context.input == {"a": "x"} };"#;
    let refused = build(WHOLE).err().map(|findings| shown(&findings));
    // An optional member makes the two records different types; Cedar says so at load.
    assert!(refused.is_some());
    // Here only a part that the server decides against looks at them all; the arguments must be fit nevertheless.
    const FOLDED: &str = r#"@id("f") permit (principal, action == Action::"crm.strict", resource)
        when { if resource == Server::"crm" then context.now > datetime("2000-01-01") else [context.input].contains(context.input) };"#;
    check(FOLDED, "ann", r#"crm.strict {"a": "x"}"#, "allow f");
    check(FOLDED, "ann", "crm.strict", "allow f");
    check(FOLDED, "ann", r#"crm.strict {"a": 1}"#, "argument_unreadable /a");
}

#[test]
fn time_is_judged_in_utc() {
    const HOURS: &str = r#"@id("day") permit (principal, action == Action::"crm.bare", resource)
        when { context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h") };"#;
    for (now, expected) in [
        ("2026-11-24T08:59:59.999Z", "no_rule"),
        ("2026-11-24T09:00:00Z", "allow day"),
        ("2026-11-24T16:59:59.999Z", "allow day"),
        ("2026-11-24T17:00:00Z", "no_rule"),
    ] {
        check_ask(HOURS, Ask { now, ..Ask::new("ann", "crm.bare {}") }, expected);
    }
    const UNTIL: &str =
        r#"@id("until") permit (principal, action, resource) when { context.now < datetime("2026-12-01") };"#;
    check_ask(UNTIL, Ask { now: "2026-11-30T23:59:59Z", ..Ask::new("ann", "crm connect") }, "allow until");
    check_ask(UNTIL, Ask { now: "2026-12-01T00:00:00Z", ..Ask::new("ann", "crm.bare {}") }, "no_rule");
}

#[test]
fn accounts_users_claims_and_networks_are_judged() {
    const ACCOUNT: &str = r#"@id("a") permit (principal, action in Action::"customerTools", resource)
        when { principal.accounts.contains(context.account) };"#;
    let read = Ask::new("ann", r#"crm.read_table {"table": "x"}"#);
    check_ask(ACCOUNT, read, "no_rule");
    check_ask(ACCOUNT, Ask { account: Some("c1"), ..read }, "allow a");
    check_ask(ACCOUNT, Ask { account: Some("c9"), ..read }, "no_rule");
    // This tool names the account in an argument, whatever the token says.
    check_ask(
        ACCOUNT,
        Ask { account: Some("c1"), ..Ask::new("ann", r#"crm.update_row {"id": 1, "amount": 1, "customer_id": "c9"}"#) },
        "no_rule",
    );
    check(ACCOUNT, "ann", r#"crm.update_row {"id": 1, "amount": 1, "customer_id": "c2"}"#, "allow a");
    check_ask(
        ACCOUNT,
        Ask { account: Some("c1"), ..Ask::new("ann", r#"crm.update_row {"id": 1, "amount": 1}"#) },
        "no_rule",
    );
    check(ACCOUNT, "ann", r#"crm.update_row {"customer_id": {}}"#, "argument_unreadable /customer_id");

    const FOREIGN: &str = r#"@id("all") permit (principal, action, resource);
        @id("own") forbid (principal, action in Action::"customerTools", resource) unless { principal.accounts.contains(context.account) };"#;
    check_ask(FOREIGN, Ask { account: Some("c9"), ..read }, "forbidden own");
    check_ask(FOREIGN, Ask { account: Some("c1"), ..read }, "allow all");
    check_ask(FOREIGN, read, "rule_error own");

    const USER: &str =
        r#"@id("u") permit (principal, action, resource) when { principal has user && principal.user == "eve" };"#;
    check_ask(USER, Ask { user: Some("eve"), ..read }, "allow u");
    check_ask(USER, Ask { user: Some("Eve"), ..read }, "no_rule");
    check_ask(USER, read, "no_rule");

    const NETWORK: &str =
        r#"@id("n") permit (principal, action, resource) when { context.source.isInRange(ip("10.0.0.0/8")) };"#;
    check_ask(NETWORK, read, "allow n");
    check_ask(NETWORK, Ask { source: "::ffff:10.0.0.9", ..read }, "allow n");
    check_ask(NETWORK, Ask { source: "192.0.2.1", ..read }, "no_rule");
    check_ask(NETWORK, Ask { source: "2001:db8::1", ..read }, "no_rule");
}

#[test]
fn claims_are_judged_as_text_and_odd_ones_deny_where_they_are_read() {
    const CLAIM: &str = r#"@id("c") permit (principal, action, resource) when { context.claims.hasTag("level") && context.claims.getTag("level") == "3" };"#;
    let ask = Ask::new("ann", "crm.bare {}");
    let of = |name: &str, value| [(Box::from(name), value)];
    check_ask(CLAIM, ask, "no_rule");
    check_ask(CLAIM, Ask { claims: &of("level", ClaimValue::Text("3".into())), ..ask }, "allow c");
    check_ask(CLAIM, Ask { claims: &of("level", ClaimValue::Integer(3)), ..ask }, "allow c");
    check_ask(CLAIM, Ask { claims: &of("level", ClaimValue::Truth(true)), ..ask }, "no_rule");
    check_ask(CLAIM, Ask { claims: &of("level", ClaimValue::Texts(vec!["3".into()])), ..ask }, "claim_unreadable");
    check_ask(CLAIM, Ask { claims: &of("level", ClaimValue::Unreadable), ..ask }, "claim_unreadable");
    check_ask(CLAIM, Ask { claims: &of("other", ClaimValue::Unreadable), ..ask }, "no_rule");
}

#[test]
fn resources_and_prompts_are_judged_by_name_and_completions_follow_them() {
    const RULES: &str = r#"
        @id("docs") permit (principal, action == Action::"resource.read", resource == Server::"crm") when { context.uri like "file:///docs/*" };
        @id("prompts") permit (principal, action == Action::"prompt.get", resource) when { context.name == "greet" };
        @id("quiet") forbid (principal == Agent::"bob", action == Action::"complete", resource);"#;
    for (agent, call, expected) in [
        ("ann", "crm read file:///docs/a", "allow docs"),
        ("ann", "crm read file:///etc/passwd", "no_rule"),
        ("ann", "pg read file:///docs/a", "no_rule"),
        ("ann", "crm prompt greet", "allow prompts"),
        ("ann", "crm prompt Greet", "no_rule"),
        ("ann", "crm complete-prompt greet", "allow prompts"),
        ("ann", "crm complete-prompt other", "no_rule"),
        ("ann", "crm complete-resource file:///docs/{x}", "allow docs"),
        ("bob", "crm complete-prompt greet", "forbidden quiet"),
        ("bob", "crm prompt greet", "allow prompts"),
        ("ann", "crm connect", "allow docs prompts"),
        ("ann", "pg connect", "allow prompts"),
    ] {
        check(RULES, agent, call, expected);
    }
    // A permit on `complete` alone gives nothing.
    check(
        "permit (principal, action == Action::\"complete\", resource);",
        "ann",
        "crm complete-prompt greet",
        "no_rule",
    );
}

#[test]
fn connecting_is_implied_by_any_possible_permit_and_can_be_forbidden() {
    const TOOL: &str = r#"@id("t") permit (principal in Group::"support", action == Action::"crm.read_table", resource) when { context.input.table == "x" };"#;
    check(TOOL, "ann", "crm connect", "allow t");
    check(TOOL, "ann", "pg connect", "no_rule");
    check(TOOL, "bob", "crm connect", "no_rule");
    let barred = format!(
        "{TOOL} @id(\"home\") forbid (principal, action == Action::\"connect\", resource) unless {{ context.source.isInRange(ip(\"10.0.0.0/8\")) }};"
    );
    check(&barred, "ann", "crm connect", "allow t");
    check_ask(&barred, Ask { source: "192.0.2.1", ..Ask::new("ann", "crm connect") }, "forbidden home");
    const DOOR: &str =
        "@id(\"d\") permit (principal, action == Action::\"connect\", resource) when { context.source.isLoopback() };";
    check(DOOR, "ann", "crm connect", "no_rule");
    check_ask(DOOR, Ask { source: "127.0.0.1", ..Ask::new("ann", "crm connect") }, "allow d");
    check(DOOR, "ann", "crm task", "no_rule");
    let dead = format!("{TOOL} forbid (principal, action == Action::\"crm.read_table\", resource);");
    check(&dead, "ann", "crm connect", "no_rule");
}

#[test]
fn tasks_follow_the_call_that_made_them() {
    const RULES: &str = r#"
        @id("t") permit (principal, action == Action::"crm.read_table", resource) when { context.input.table == "x" };
        @id("late") forbid (principal == Agent::"bob", action == Action::"task", resource) when { context.now > datetime("2026-01-01") };"#;
    check(RULES, "ann", "crm task read_table", "allow t");
    check(RULES, "ann", "crm task search", "no_rule");
    check(RULES, "ann", "crm task", "allow t");
    check(RULES, "ann", "pg task", "no_rule");
    check(RULES, "bob", "crm task read_table", "forbidden late");
}

#[test]
fn the_agents_of_a_registry_are_known_by_their_positions() {
    let registry = crate::identity::registry::Registry::parse(
        "[agent.ann]\nowner = \"x\"\nstatus = \"suspended\"\ngroups = [\"support\"]\naccounts = [\"c1\"]\n[agent.bob]\nowner = \"x\"\nstatus = \"suspended\"\n",
        "agents.toml",
    );
    let Ok(registry) = registry else { panic!("{:?}", registry.err()) };
    let agents = AgentSource::of_registry(&registry);
    let shown: Vec<_> = agents.iter().map(|agent| (agent.id, agent.groups.clone(), agent.accounts.clone())).collect();
    for (position, (id, groups, accounts)) in shown.into_iter().enumerate() {
        let found = registry.agent(AgentIndex(position as u32)).unwrap();
        assert_eq!((&*found.id, found.groups.len(), found.accounts.len()), (id, groups.len(), accounts.len()));
    }
}

#[test]
fn an_argument_that_a_reader_without_case_could_take_for_another_is_refused_where_a_rule_reads_it() {
    const RULE: &str = r#"@id("customers") permit (principal, action == Action::"crm.read_table", resource)
        when { context.input.table == "customers" };"#;
    check(RULE, "ann", r#"crm.read_table {"table":"customers"}"#, "allow customers");
    check(RULE, "ann", r#"crm.read_table {"table":"customers","Table":"financials"}"#, "argument_unreadable /table");
    const BLIND: &str = r#"@id("any") permit (principal, action == Action::"crm.read_table", resource);"#;
    check(BLIND, "ann", r#"crm.read_table {"table":"customers","Table":"financials"}"#, "allow any");
}
