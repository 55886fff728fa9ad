//! Promises of explanations, comparisons and drafts.

use super::*;
use crate::policy::diff::{self, Side};
use crate::policy::explain::{Explanation, Kept, explain};
use crate::policy::suggest::{Draft, Observed};
use crate::policy::trial::{Question, Target, Trial};

/// What is told of `call` by `agent` under `policies`.
fn told(policies: &str, ask: Ask<'_>) -> Explanation {
    let sources = [Source { file: "policies/p.cedar", text: policies }];
    let engine = build_with(&sources, &rules()).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n")));
    let (head, body) = ask.call.split_once(' ').unwrap();
    let (server, tool) = head.split_once('.').unwrap();
    let server = engine.server(server).unwrap();
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
    let now: jiff::Timestamp = ask.now.parse().unwrap();
    let facts = Facts {
        arguments: Some(document.root()),
        source: ask.source.parse().unwrap(),
        now: UnixMillis(now.as_millisecond()),
    };
    let action = Action::Tool(engine.tool(server, tool).unwrap());
    explain(&engine, &sources, &Question { who: ask.who(), server, action, facts, output: None })
}

/// The explanation in lines: the decision, determining rules, near ones, values.
fn lines(told: &Explanation) -> Vec<String> {
    let mut lines = vec![format!("{} {}", told.decision, told.cause.unwrap_or("-"))];
    lines.extend(told.rules.iter().map(|rule| format!("by {} {} line {}", rule.effect, rule.id, rule.line)));
    lines.extend(told.near.iter().map(|near| {
        let kept = match &near.kept {
            Kept::Part { part } => part.clone(),
            Kept::Error { part, message } => format!("error in {part}: {message}"),
            Kept::Argument { pointer } => format!("unreadable {pointer}"),
            Kept::Output { pointer } => format!("output {pointer}"),
            Kept::Claim => "claim".into(),
            Kept::Sql { refusal, pointer } => format!("sql {refusal} at {pointer}"),
            Kept::Calendars => "calendars".into(),
            Kept::Outweighed => "outweighed".into(),
        };
        format!("near {} {kept}", near.rule.id)
    }));
    lines.extend(told.elsewhere.iter().map(|other| format!("elsewhere {} {}", other.id, other.about)));
    lines.extend(
        told.values.iter().map(|read| format!("{} = {}", read.name, read.value.as_deref().unwrap_or("absent"))),
    );
    lines
}

#[track_caller]
fn check(policies: &str, ask: Ask<'_>, expected: &[&str]) {
    assert_eq!(lines(&told(policies, ask)), expected, "\ngiven {policies}\nwhen {} asks {}", ask.agent, ask.call);
}

const RULES: &str = r#"permit (principal in Group::"support", action == Action::"crm.read_table", resource)
when { context.input.table == "customers" && context.source.isInRange(ip("10.0.0.0/8")) };
permit (principal in Group::"finance", action == Action::"crm.read_table", resource);
@id("night") forbid (principal, action in Action::"call", resource) unless { context.now.toTime() > duration("6h") };
@id("big") forbid (principal, action == Action::"crm.read_table", resource) when { context.input has limit && context.input.limit + 1 > 100 };"#;

#[test]
fn a_denial_names_the_first_part_that_does_not_hold_and_whom_other_rules_are_about() {
    check(
        RULES,
        Ask::new("ann", r#"crm.read_table {"table": "orders"}"#),
        &[
            "deny no_rule",
            "near p.cedar:1 when { context.input.table == \"customers\" }",
            "near night unless { context.now.toTime() > duration(\"6h\") }",
            "near big when { context.input has limit }",
            "elsewhere p.cedar:3 group `finance`",
            "context.input.table = \"orders\"",
            "context.source = ip(\"10.1.2.3\")",
            "context.now = datetime(\"2026-11-24T12:00:00.000Z\")",
            "context.input.limit = absent",
        ],
    );
    let far = Ask { source: "192.0.2.1", ..Ask::new("ann", r#"crm.read_table {"table": "customers"}"#) };
    let expected = "near p.cedar:1 when { context.source.isInRange(ip(\"10.0.0.0/8\")) }";
    assert_eq!(lines(&told(RULES, far))[1], expected);
}

#[test]
fn a_forbid_that_holds_or_fails_is_told_apart_from_what_it_outweighs() {
    let night = Ask { now: "2026-11-24T05:00:00Z", ..Ask::new("bob", r#"crm.read_table {"table": "x"}"#) };
    assert_eq!(
        lines(&told(RULES, night))[..4],
        [
            "deny forbidden",
            "by forbid night line 4",
            "near p.cedar:3 outweighed",
            "near big when { context.input has limit }"
        ]
    );
    let huge = Ask::new("bob", r#"crm.read_table {"table": "x", "limit": 9223372036854775807}"#);
    let told_of = told(RULES, huge);
    assert_eq!(lines(&told_of)[..2], ["deny rule_error", "by forbid big line 5"]);
    assert!(told_of.rules[0].text.contains("context.input.limit + 1 > 100"));
    let unreadable = lines(&told(RULES, Ask::new("ann", r#"crm.read_table {"table": 7}"#)));
    assert_eq!(unreadable[..2], ["deny argument_unreadable", "near p.cedar:1 unreadable /table"]);
}

#[test]
fn an_allowed_call_names_its_permits_and_nothing_about_others() {
    let told_of = told(RULES, Ask::new("cat", r#"crm.read_table {"table": "customers"}"#));
    assert_eq!(
        lines(&told_of)[..5],
        [
            "allow -",
            "by permit p.cedar:1 line 1",
            "by permit p.cedar:3 line 3",
            "near night unless { context.now.toTime() > duration(\"6h\") }",
            "near big when { context.input has limit }"
        ]
    );
    assert!(told_of.listed && told_of.elsewhere.is_empty());
    assert_eq!(told_of.rules[0].file, "policies/p.cedar".into());
}

/// The lines of a comparison.
fn changes(before: &str, after: &str) -> Vec<String> {
    let (old, new) = ([Source { file: "p.cedar", text: before }], [Source { file: "p.cedar", text: after }]);
    let (was, is) = (build_with(&old, &rules()).unwrap(), build_with(&new, &rules()).unwrap());
    let cells = diff::cells(Side { engine: &was, sources: &old }, Side { engine: &is, sources: &new });
    cells.iter().map(diff::Change::words).collect()
}

#[test]
fn a_comparison_says_who_may_expect_something_else_of_what() {
    const ALL: &str = r#"permit (principal in Group::"support", action == Action::"crm.read_table", resource);"#;
    let some = format!("{} when {{ context.input.table == \"a\" }};", ALL.trim_end_matches(';'));
    let others = some.replace("\"a\"", "\"b\"");
    let nothing = "";
    for (before, after, expected) in [
        (ALL, ALL, vec![]),
        (nothing, ALL, vec!["group support: crm.read_table: denied before, allowed after"]),
        (ALL, nothing, vec!["group support: crm.read_table: allowed before, denied after"]),
        (nothing, some.as_str(), vec!["group support: crm.read_table: denied before, allowed for some calls after"]),
        (
            some.as_str(),
            others.as_str(),
            vec!["group support: crm.read_table: allowed for some calls, on other conditions than before"],
        ),
        (
            nothing,
            r#"permit (principal == Agent::"dan", action == Action::"resource.read", resource == Server::"pg");"#,
            vec!["agent dan: pg resource.read: denied before, allowed after"],
        ),
        (
            nothing,
            "permit (principal, action == Action::\"pg.query\", resource);",
            vec!["group finance, group support, agent dan: pg.query: denied before, allowed after"],
        ),
    ] {
        assert_eq!(changes(before, after), expected, "\nfrom {before}\nto {after}");
    }
}

#[test]
fn rules_come_and_go_by_their_text_and_not_by_their_place() {
    let one = r#"permit (principal == Agent::"ann", action, resource);"#;
    let two = r#"forbid (principal == Agent::"bob", action, resource);"#;
    let check = |before: &str, after: &str, added: &[&str], removed: &[&str], changed: &[&str]| {
        let found = diff::rules(
            &[Source { file: "a/p.cedar", text: before }, Source { file: "a/q.cedar", text: two }],
            &[Source { file: "b/p.cedar", text: after }, Source { file: "a/q.cedar", text: two }],
        );
        let ids = |ids: &[Box<str>]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            [ids(&found.added), ids(&found.removed), ids(&found.changed)],
            [added, removed, changed].map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "{before} / {after}"
        );
    };
    check(one, one, &[], &[], &[]);
    check(one, &format!("// moved\n\n{one}"), &[], &[], &[]);
    check(one, "", &[], &["p.cedar:1"], &[]);
    check(one, &format!("{one}\n{one}"), &["p.cedar:2"], &[], &[]);
    check(one, &one.replace("ann", "cat"), &[], &[], &["p.cedar:1"]);
    let named = |id: &str, who: &str| format!("@id(\"{id}\") {}", one.replace("ann", who));
    check(
        &format!("{}\n{two}", named("a", "ann")),
        &format!("{}\n{}", named("b", "ann"), named("a", "cat")),
        &["b"],
        &["p.cedar:2"],
        &["a"],
    );
}

/// A call of a tool on `crm`, or of what `what` names otherwise.
fn seen(agent: &str, target: Target, arguments: &str) -> Observed {
    Observed::of(Trial {
        agent: agent.into(),
        user: None,
        account: None,
        claims: Vec::new(),
        server: "crm".into(),
        target,
        arguments: (!arguments.is_empty()).then(|| arguments.as_bytes().into()),
        output: None,
        source: "127.0.0.1".parse().unwrap(),
        at: UnixMillis(0),
    })
}

/// The draft made of these calls, by the registry of these tests.
fn drafted(engine: &Engine, calls: &[Observed]) -> String {
    let groups: Vec<Vec<Box<str>>> =
        AGENTS.iter().map(|(_, groups, _)| groups.iter().map(|group| (*group).into()).collect()).collect();
    let agents = AGENTS.iter().zip(&groups).map(|((id, _, _), groups)| (*id, groups.as_slice()));
    Draft::of(engine, engine.server("crm").unwrap(), agents, calls).to_cedar()
}

#[test]
fn a_draft_permits_what_was_seen_and_says_no_more_than_it_must() {
    let engine = build("").unwrap();
    let read = |agent: &str, arguments: &str| seen(agent, Target::Tool("read_table".into()), arguments);
    let uris = (0..9).map(|number| seen("bob", Target::ResourceRead(format!("doc://a*b/{number}").into()), ""));
    let mut calls = vec![
        read("ann", r#"{"table": "orders", "limit": 5}"#),
        read("ann", r#"{"table": "customers", "limit": 50}"#),
        read("cat", r#"{"table": "customers", "limit": 50, "odd": 1}"#),
        read("cat", r#"{"table": "orders", "limit": 5, "odd": 1}"#),
        read("dan", r#"{"table": "a\"b"}"#),
        seen("bob", Target::PromptGet("greet".into()), ""),
        Observed::blind("bob", "search"),
    ];
    calls.extend(uris);
    let text = drafted(&engine, &calls);
    let expected = r#"// 2 calls by ann.
permit (principal == Agent::"ann", action == Action::"crm.read_table", resource == Server::"crm")
when { context.input has limit && context.input.limit >= 5 && context.input.limit <= 50 &&
       ["customers", "orders"].contains(context.input.table) &&
       !(context.input has where) };
"#;
    assert!(text.contains(expected), "{text}");
    for part in [
        "// Carried but not declared, so no rule can read them: `odd`.\npermit (principal == Agent::\"cat\"",
        "context.input.table == \"a\\\"b\"",
        "!(context.input has limit)",
        "context.uri like \"doc://a\\*b/*\"",
        "context.name == \"greet\"",
        "// Arguments of some of them were not captured, so any are permitted.",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    // What is drafted loads, and permits all of it.
    let rules = build(&text).unwrap_or_else(|findings| panic!("{}\n{text}", shown(&findings).join("\n")));
    for (agent, call, outcome) in [
        ("ann", r#"crm.read_table {"table": "orders", "limit": 7}"#, true),
        ("ann", r#"crm.read_table {"table": "orders"}"#, false),
        ("ann", r#"crm.read_table {"table": "orders", "limit": 51}"#, false),
        ("ann", r#"crm.read_table {"table": "orders", "limit": 7, "where": "x"}"#, false),
        ("bob", "crm read doc://a*b/77", true),
        ("bob", "crm read doc://aXb/77", false),
        ("bob", r#"crm.read_table {"table": "orders", "limit": 7}"#, false),
    ] {
        assert_eq!(Ask::new(agent, call).decide(&rules).is_ok(), outcome, "{agent} {call}\n{text}");
    }
    // A group is named where all of it did alike.
    let text = drafted(&engine, &[read("ann", r#"{"table": "a"}"#), read("cat", r#"{"table": "a"}"#)]);
    assert!(text.starts_with("// 2 calls by ann, cat.\npermit (principal in Group::\"support\","), "{text}");
}
