//! Residual programs decide as Cedar does: every instruction, its errors and its refusals, and mixtures of them.

use super::*;
use crate::policy::evaluate::BROKEN_INSTRUCTION;
use crate::policy::surface::ServerIndex;
use crate::policy::verdict::DenialCause;

/// Conditions over `crm.update_row`, each with a program.
const CONDITIONS: &[&str] = &[
    "true",
    "context.input.id == 5",
    "context.input.id != 5",
    "context.input.id < 5",
    "context.input.id <= 5",
    "context.input.id > 5 && context.input.id >= 7",
    "[1, 5, -7].contains(context.input.id)",
    "context.input.id + 1 > 100",
    "context.input.id - 9223372036854775807 < -100",
    "context.input.id * 4 == 20",
    "-context.input.id == -5",
    "5 == context.input.id || context.input.id * 9223372036854775807 > 0",
    "context.input.amount.lessThan(decimal(\"100.5\"))",
    "context.input.amount.lessThanOrEqual(decimal(\"100.5\"))",
    "context.input.amount.greaterThan(decimal(\"-0.5\"))",
    "context.input.amount.greaterThanOrEqual(decimal(\"100.5\"))",
    "context.input.amount == decimal(\"100.50\")",
    "[decimal(\"7.0\"), decimal(\"100.5\")].contains(context.input.amount)",
    "context.input has tags && context.input.tags.contains(\"a\")",
    "context.input has tags && [\"a\", \"b\"].containsAll(context.input.tags)",
    "context.input has tags && context.input.tags.containsAll([\"a\", \"b\"])",
    "context.input has tags && context.input.tags.containsAny([\"c\", \"b\"])",
    "context.input has tags && context.input.tags.isEmpty()",
    "context.input has tags && context.input.tags == [\"b\", \"a\"]",
    "context.input has tags && context.input.tags == principal.accounts",
    "context.input has tags && context.input has customer_id && context.input.tags.contains(context.input.customer_id)",
    "context.input has customer_id && [context.input.customer_id, \"x\"].containsAny(principal.accounts)",
    "context.input has customer_id && [context.input.customer_id] == [\"c1\", \"c1\"]",
    "context.input has customer_id && context.input.customer_id like \"c*\"",
    "context.input has customer_id && context.input.customer_id like \"*a*b*\\*\"",
    "context.input has to",
    "context.input has to && context.input.to.region == \"eu\"",
    "context.input has to.region && context.input.to.region like \"e*\"",
    "context.input has to.deep.flag && context.input.to.deep.flag",
    "context.input has to && context.input.to has deep",
    "context.input has to && context.input.to has deep && context.input.to.deep has flag && !context.input.to.deep.flag",
    "if context.input has to then context.input.to.region == \"us\" else context.input.id == 1",
    "(if context.input.id == 1 then 2 else context.input.id) == 2",
    "(if context.input.id == 1 then [\"a\"] else [\"b\"]).contains(\"b\")",
    "principal.accounts.contains(context.account)",
    "principal.accounts.contains(\"c1\")",
    "principal.accounts.isEmpty()",
    "principal has user && principal.user == \"eve\"",
    "principal has accounts && principal.accounts.containsAll([\"c1\"])",
    "context has account && context.account == \"17\"",
    "context.account like \"c*\"",
    "context.claims.hasTag(\"level\")",
    "context.claims.hasTag(\"level\") && context.claims.getTag(\"level\") == \"3\"",
    "context.claims.hasTag(\"level\") && [\"3\", \"true\"].contains(context.claims.getTag(\"level\"))",
    "context.claims.hasTag(\"level\") && context.claims.getTag(\"level\") like \"t*e\"",
    "context.input has customer_id && context.claims.hasTag(context.input.customer_id)",
    "context.input has customer_id && context.claims.hasTag(context.input.customer_id) && context.claims.getTag(context.input.customer_id) == \"3\"",
    "context.source.isLoopback()",
    "context.source.isIpv4()",
    "context.source.isIpv6()",
    "context.source.isMulticast()",
    "context.source.isInRange(ip(\"10.1.0.0/16\"))",
    "context.source == ip(\"10.1.2.3/32\")",
    "context.source.isInRange(ip(\"2001:db8::/32\"))",
    "context.now < datetime(\"2026-11-24T12:00:00Z\")",
    "context.now <= datetime(\"2026-11-24T13:00:00+0100\")",
    "context.now > datetime(\"2026-01-01\")",
    "context.now.toTime() >= duration(\"9h\") && context.now.toTime() < duration(\"17h30m\")",
    "context.now.toDate() == datetime(\"2026-11-24\")",
    "context.now.durationSince(datetime(\"2026-11-24\")).toHours() == 12",
    "context.now.durationSince(datetime(\"2026-12-24\")).toDays() == -29",
    "context.now.offset(duration(\"-1d2h3m4s5ms\")).toTime().toMinutes() > 500",
    "context.now.offset(duration(\"9223372036854775807ms\")) > context.now",
    "duration(\"1s\").toMilliseconds() == 1000 && duration(\"90s\").toSeconds() == 90 && context.input.id == 5",
    "context.now has toString || false",
    "principal in Group::\"support\" && context.input.id <= 5",
    "principal == Agent::\"ann\" || context.input.id == 1",
    "[Agent::\"ann\", Agent::\"bob\"].contains(principal) && context.input.id == 5",
    "resource == Server::\"crm\" && context.input.id < 9",
    "if principal in Group::\"finance\" then context.input.id > 5 else context.input.id <= 5",
    "action in Action::\"customerTools\" && principal is Agent && !(context.input.id == 1)",
    "context has input && context has source && context has now && context.input.id == 5",
];

/// Those that do not load, as the validator knows better.
fn loads(condition: &str) -> bool {
    build(&rule("permit", condition, 0)).is_ok()
}

fn rule(effect: &str, condition: &str, number: usize) -> String {
    format!(
        "@id(\"{effect}{number}\") {effect} (principal, action == Action::\"crm.update_row\", resource) when {{ {condition} }};\n"
    )
}

const ARGUMENTS: &[&str] = &[
    "",
    "{}",
    r#"{"id": 5, "amount": 100.5}"#,
    r#"{"id": 1, "amount": 7, "tags": ["a", "b", "a"], "customer_id": "c1"}"#,
    r#"{"id": 9223372036854775807, "amount": -0.5, "tags": [], "customer_id": 17}"#,
    r#"{"id": -9223372036854775808, "amount": 922337203685477, "tags": ["c"], "customer_id": "level"}"#,
    r#"{"id": 5.0, "amount": 100.4999, "customer_id": "cab-a-b*", "to": {"region": "eu"}}"#,
    r#"{"id": 7, "amount": 1e2, "tags": ["c1", "c2"], "customer_id": "c2", "to": {"region": "us", "deep": {"flag": true}}}"#,
    r#"{"id": 6, "amount": 0, "to": {"region": "eu", "deep": {}}, "tags": ["b"]}"#,
    r#"{"id": 2, "amount": 0, "to": {"deep": {"flag": false}}}"#,
    r#"{"id": 9007199254740993.0, "amount": 0.10000000000000000001}"#,
    r#"{"id": 5, "amount": 1.23456, "to": "eu"}"#,
    r#"{"id": 5, "amount": 5, "tags": ["a", 1], "to": {"region": 5}}"#,
    r#"{"id": 5, "amount": 5, "Tags": ["a"], "TO": {}, "customer_id": {}}"#,
    r#"{"id": null, "amount": null, "tags": null, "customer_id": null, "to": null}"#,
    r#"{"id": 5, "amount": 5, "customer_id": "c1", "Customer_Id": "c9"}"#,
];

/// Asks all of [`ARGUMENTS`] as several callers; gives the calls that our tables and Cedar decide differently.
fn mismatches(engine: &Engine) -> Vec<String> {
    let of = |name: &str, value| [(Box::from(name), value)];
    let (text, number, truth) = (
        of("level", ClaimValue::Text("3".into())),
        of("level", ClaimValue::Integer(3)),
        of("level", ClaimValue::Truth(true)),
    );
    let odd = of("level", ClaimValue::Unreadable);
    let mut found = Vec::new();
    for arguments in ARGUMENTS {
        let call = format!("crm.update_row {arguments}");
        let ann = Ask::new("ann", call.trim_end());
        let asks = [
            ann,
            Ask { now: "2026-11-24T12:00:00.001Z", user: Some("eve"), claims: &text, ..ann },
            Ask { now: "1969-12-31T23:59:59.999Z", source: "::ffff:10.1.2.3", claims: &number, ..ann },
            Ask { agent: "bob", source: "2001:db8::7", user: Some("Eve"), claims: &truth, ..ann },
            Ask { agent: "cat", source: "127.0.0.1", claims: &odd, ..ann },
            Ask { agent: "dan", source: "224.0.0.1", account: Some("c1"), now: "0000-01-01T00:00:00Z", ..ann },
        ];
        for ask in asks {
            let ours = outcome(engine, &ask.decide_by(Evaluator::Tables, engine));
            let cedars = outcome(engine, &ask.decide_by(Evaluator::Cedar, engine));
            if ours != cedars {
                found.push(format!("{} asks {}: ours `{ours}`, Cedar's `{cedars}`", ask.agent, ask.call));
            }
        }
    }
    found
}

#[test]
fn every_instruction_decides_as_cedar_does_and_a_broken_one_is_noticed() {
    let (mut noticed, mut lowered) = (0, 0);
    for condition in CONDITIONS.iter().filter(|condition| loads(condition)) {
        for rules in [rule("permit", condition, 0), rule("permit", "true", 0) + &rule("forbid", condition, 0)] {
            let engine = build(&rules).unwrap();
            let slow: Vec<String> = engine.slow().map(|slow| slow.reason.to_string()).collect();
            assert!(slow.is_empty(), "{condition} has no program: {slow:?}");
            lowered += 1;
            let differing = mismatches(&engine);
            noticed += differing.len();
            assert!(differing.is_empty() || BROKEN_INSTRUCTION, "given {rules}\n{}", differing.join("\n"));
        }
    }
    assert!(lowered > 120, "only {lowered} conditions were tried");
    assert_eq!(noticed > 0, BROKEN_INSTRUCTION, "{noticed} decisions differ");
}

/// A sequence of numbers that looks random and is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn condition(&mut self, sound: &[&str], depth: usize) -> String {
        let part = |this: &mut Self| {
            if depth == 0 { sound[this.below(sound.len())].to_owned() } else { this.condition(sound, depth - 1) }
        };
        match self.below(5) {
            0 => format!("({}) && ({})", part(self), part(self)),
            1 => format!("({}) || ({})", part(self), part(self)),
            2 => format!("!({})", part(self)),
            3 => format!("if ({}) then ({}) else ({})", part(self), part(self), part(self)),
            _ => part(self),
        }
    }
}

#[test]
fn mixtures_of_rules_decide_as_cedar_does() {
    let sound: Vec<&str> = CONDITIONS.iter().copied().filter(|condition| loads(condition)).collect();
    let mut dice = Dice(2026);
    let mut tried = 0;
    for _ in 0..60 {
        let mut rules = String::new();
        for number in 0..1 + dice.below(4) {
            let effect = if dice.below(3) == 0 { "forbid" } else { "permit" };
            rules += &rule(effect, &dice.condition(&sound, 2), number);
        }
        // A mixture may be always false, which does not load.
        let Ok(engine) = build(&rules) else { continue };
        assert_eq!(engine.slow().count(), 0, "{rules}");
        tried += 1;
        let differing = mismatches(&engine);
        assert!(differing.is_empty() || BROKEN_INSTRUCTION, "given {rules}\n{}", differing.join("\n"));
    }
    assert!(tried >= 20, "only {tried} mixtures loaded");
}

#[test]
fn what_has_no_program_is_decided_by_cedar_and_listed() {
    const WHOLE: &str = r#"@id("plain") permit (principal, action == Action::"crm.update_row", resource) when { context.input.id == 5 };
        @id("set") permit (principal, action == Action::"crm.update_row", resource) when { [{"a": 1}, {"a": 2}].contains({"a": context.input.id}) };
        @id("other") permit (principal, action == Action::"crm.read_table", resource) when { context.input.table == "x" };"#;
    let engine = build(WHOLE).unwrap();
    let slow: Vec<String> =
        engine.slow().map(|slow| format!("{} {}:{} {}", slow.id, slow.file, slow.line, slow.reason)).collect();
    assert_eq!(slow, ["set p.cedar:2 it takes a record as a whole"]);
    assert_eq!(engine.slow_cells(), 1);
    let by = |call: &str| match Ask::new("ann", call).decide(&engine) {
        Ok(permit) => (true, permit.evaluator()),
        Err(denial) => (false, denial.evaluator()),
    };
    assert_eq!(by(r#"crm.update_row {"id": 2, "amount": 1}"#), (true, Evaluator::Cedar));
    assert_eq!(by(r#"crm.update_row {"id": 3, "amount": 1}"#), (false, Evaluator::Cedar));
    assert_eq!(by(r#"crm.read_table {"table": "x"}"#), (true, Evaluator::Tables));
    assert_eq!(by(r#"crm.read_table {"table": "y"}"#), (false, Evaluator::Tables));
}

#[test]
fn rules_that_read_too_much_or_nest_too_deep_are_left_to_cedar() {
    // Cedar's parser and validator recurse much deeper than we do, in a debug build beyond a test thread's stack.
    std::thread::Builder::new().stack_size(256 << 20).spawn(too_much_and_too_deep).unwrap().join().unwrap();
}

fn too_much_and_too_deep() {
    let mut deep = "context.input.id".to_owned();
    (0..70).for_each(|_| deep = format!("({deep} + 1)"));
    let engine = build(&rule("permit", &format!("{deep} == 75"), 0)).unwrap();
    assert_eq!(engine.slow().next().unwrap().reason.to_string(), "its conditions are nested deeper than 64");
    let claims: Vec<String> = (0..33).map(|number| format!("context.claims.hasTag(\"c{number}\")")).collect();
    let engine = build(&rule("permit", &claims.join(" || "), 0)).unwrap();
    assert_eq!(engine.slow().next().unwrap().reason.to_string(), "it and the rules beside it read more than 32 values");
    let chain: Vec<String> = (0..200).map(|number| format!("context.input.id == {number}")).collect();
    let engine = build(&rule("permit", &chain.join(" || "), 0)).unwrap();
    assert_eq!(engine.slow().count(), 0, "a long chain is not deep");
    assert_eq!(outcome(&engine, &Ask::new("ann", r#"crm.update_row {"id": 199}"#).decide(&engine)), "allow permit0");
}

#[test]
fn every_reason_of_a_denial_is_named() {
    const RULES: &str = r#"@id("all") permit (principal, action, resource);
        @id("always") forbid (principal, action == Action::"crm.update_row", resource);
        @id("five") forbid (principal, action == Action::"crm.update_row", resource) when { context.input.id == 5 };
        @id("alone") forbid (principal == Agent::"dan", action == Action::"prompt.get", resource) when { context.name == "x" };"#;
    check(RULES, "ann", r#"crm.update_row {"id": 5}"#, "forbidden always five");
    check(RULES, "ann", r#"crm.update_row {"id": 6}"#, "forbidden always");
    check(RULES, "ann", r#"crm.update_row {"id": "x"}"#, "forbidden always");
    const NO_PERMIT: &str = r#"@id("five") forbid (principal, action == Action::"crm.update_row", resource) when { context.input.id == 5 };"#;
    check(NO_PERMIT, "ann", r#"crm.update_row {"id": 5}"#, "forbidden five");
    check(NO_PERMIT, "ann", r#"crm.update_row {"id": 6}"#, "no_rule");
    check(NO_PERMIT, "ann", r#"crm.update_row {"id": "x"}"#, "no_rule");
}

#[test]
fn sets_too_large_to_compare_one_by_one_are_left_to_cedar() {
    const TAGS: &str = r#"@id("t") permit (principal, action == Action::"crm.update_row", resource)
        when { context.input has tags && context.input.tags == principal.accounts };"#;
    let engine = build(TAGS).unwrap();
    let tags = vec!["\"c1\",\"c2\""; 100_000].join(",");
    let call = format!("crm.update_row {{\"tags\": [{tags}]}}");
    let decision = Ask::new("ann", &call).decide_by(Evaluator::Tables, &engine);
    assert_eq!(decision.unwrap().evaluator(), Evaluator::Cedar);
}

#[test]
fn the_account_argument_must_be_the_only_one_of_its_name() {
    const ACCOUNT: &str = r#"@id("a") permit (principal, action == Action::"crm.update_row", resource)
        when { principal.accounts.contains(context.account) };"#;
    let engine = build(ACCOUNT).unwrap();
    let ask = Ask::new("ann", r#"crm.update_row {"id": 1, "customer_id": "c1", "Customer_ID": "c9"}"#);
    let denial = ask.decide(&engine).unwrap_err();
    assert_eq!((denial.cause(), denial.pointer()), (DenialCause::ArgumentUnreadable, Some("/customer_id")));
}

#[test]
fn a_decision_by_programs_allocates_nothing() {
    const RULES: &str = r#"@id("p") permit (principal, action == Action::"crm.update_row", resource)
            when { context.input has tags && ["a", "b"].containsAll(context.input.tags) && context.input.amount.lessThan(decimal("9.5")) }
            when { context.account == "17" && context.claims.hasTag("level") && context.claims.getTag("level") == "3" && context.now > datetime("2026-01-01") };
        @id("f") forbid (principal, action == Action::"crm.update_row", resource) when { context.input.id + 1 > 100 }
            unless { context.source.isInRange(ip("10.0.0.0/8")) && principal.accounts.contains("c1") };"#;
    let engine = build(RULES).unwrap();
    let (server, tool) = (engine.server("crm").unwrap(), engine.tool(ServerIndex(0), "update_row").unwrap());
    let claims = [(Box::from("level"), ClaimValue::Integer(3))];
    for (id, expected) in [
        ("1", "allow p"),
        ("100", "allow p"),
        ("9223372036854775807", "rule_error f"),
        ("{}", "argument_unreadable /id"),
    ] {
        let text = format!(r#"{{"id": {id}, "amount": 9.4999, "tags": ["b", "a"], "customer_id": 17}}"#);
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, text.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
        let facts = Facts {
            arguments: Some(document.root()),
            source: "10.0.0.1".parse().unwrap(),
            now: UnixMillis(1_800_000_000_000),
        };
        let who = Who { claims: Claims::Listed(&claims), ..Ask::new("ann", "").who() };
        let mut decision = None;
        let counted =
            allocation_counter::measure(|| decision = Some(engine.decide(&who, server, Action::Tool(tool), &facts)));
        assert_eq!(outcome(&engine, &decision.unwrap()), expected);
        assert_eq!(counted.count_total, 0, "{expected}");
    }
}
