//! Promises of rules over results: what a load refuses of them, and what they come to.

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};

use super::*;
use crate::policy::duty::Arguments;
use crate::policy::ground::Ground;
use crate::policy::result::{Results, VALUES_MAX, Withheld};
use crate::policy::trial::Question;

fn lab() -> Catalogue {
    let text = json!({"type": "string"});
    let input =
        json!({"type": "object", "properties": {"table": text, "limit": {"type": "integer"}}, "required": ["table"]});
    let row = json!({"type": "object", "properties": {"name": text, "age": {"type": "integer"}}, "required": ["name"]});
    let output = json!({"type": "object", "required": ["total", "score"], "properties": {
        "total": {"type": "integer"}, "score": {"type": "number"}, "note": text, "owner": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": text}, "rows": {"type": "array", "items": row}, "key": {"type": ["string", "integer"]},
        "raw": {}, "summary": {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]},
    }});
    let tools = [
        json!({"name": "report", "inputSchema": input, "outputSchema": output}),
        json!({"name": "other", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}}}),
        tool("plain", json!({"type": "object"})),
    ];
    Catalogue::learn("lab", &tools).unwrap()
}

fn built(policies: &str) -> Result<Engine, Diagnostics> {
    let report =
        ToolRules { output_types: BTreeMap::from([("/raw".into(), "integer".into())]), ..ToolRules::default() };
    built_with(policies, BTreeMap::from([("report".into(), report)]))
}

fn built_with(policies: &str, rules: BTreeMap<Box<str>, ToolRules>) -> Result<Engine, Diagnostics> {
    with(policies, rules, Engine::build)
}

fn with<T>(policies: &str, rules: BTreeMap<Box<str>, ToolRules>, then: impl FnOnce(Inputs<'_>) -> T) -> T {
    let lab = lab();
    let source = ServerSource { name: "lab", catalogue: &lab, tools: &rules, extension_methods: &[] };
    let agents =
        AGENTS.map(|(id, groups, accounts)| AgentSource { id, groups: groups.to_vec(), accounts: accounts.to_vec() });
    then(Inputs {
        sources: &[Source { file: "p.cedar", text: policies }],
        servers: &[(source, Arc::new(Drift::new(&lab)))],
        agents: &agents,
        calendars: &calendars(),
        settings_file: "portcullis.toml",
    })
}

/// The call of a tool, put as a question.
fn asked<T>(
    engine: &Engine,
    (agent, tool, arguments): (&str, &str, &str),
    output: Option<&str>,
    then: impl FnOnce(&Question<'_>) -> T,
) -> T {
    let limits = JsonLimits { bytes_max: 1 << 20, depth_max: 32 };
    let (mut scratch, mut room) = (Scratch::new(), Scratch::new());
    let document = read(&mut scratch, arguments.as_bytes(), &limits).unwrap();
    let brought = output.map(|output| read(&mut room, output.as_bytes(), &limits).unwrap());
    let now: jiff::Timestamp = NOON.parse().unwrap();
    let facts = Facts {
        arguments: Some(document.root()),
        source: "10.1.2.3".parse().unwrap(),
        now: UnixMillis(now.as_millisecond()),
    };
    let server = engine.server("lab").unwrap();
    let action = Action::Tool(engine.tool(server, tool).unwrap());
    let output = brought.as_ref().map(|brought| brought.root());
    then(&Question { who: Ask::new(agent, "").who(), server, action, facts, output })
}

const SMALL: &str =
    r#"@id("small") forbid (principal, action == Action::"lab.report", resource) when { context.output.total > 100 };"#;

/// The rules that a call by `ann` has to meet where totals above 100 are forbidden.
pub(crate) fn small() -> Results {
    asked(&built(SMALL).unwrap(), ("ann", "report", r#"{"table":"a"}"#), None, |question| {
        question.results(&built(SMALL).unwrap()).unwrap()
    })
}

fn refused(policies: &str, expected: &[&str]) {
    let got = built(policies).map_or_else(|findings| shown(&findings), |_| Vec::new());
    assert_eq!(got, expected, "\ngiven {policies}");
}

fn on(scope: &str, condition: &str) -> String {
    format!("forbid (principal, {scope}, resource)\nwhen {{ {condition} }};")
}

fn report(condition: &str) -> String {
    on("action == Action::\"lab.report\"", condition)
}

#[test]
fn a_rule_over_results_that_could_not_be_enforced_is_refused_with_its_cure() {
    refused(
        "permit (principal, action == Action::\"lab.report\", resource)\nwhen { context.output.total < 5 };",
        &[
            "p.cedar:2: a permit cannot read `context.output`: the call has been made by the time its result is known; permit the call, and write a `forbid` over its result",
        ],
    );
    refused(
        &on("action == Action::\"lab.plain\"", "context.output.total > 1"),
        &[
            "p.cedar:2: tool `lab.plain` does not declare what its results hold; name only tools with an `outputSchema`; a rule can read no other results",
        ],
    );
    refused(
        &on("action", "context.output.total > 1"),
        &[
            "p.cedar:2: `context.output` is what a tool returned, and this rule also covers `connect`; name the tools; give the rest to another rule",
        ],
    );
    refused(
        &on("action == Action::\"task\"", "context.output has total"),
        &[
            "p.cedar:2: `context.output` is what a tool returned, and this rule also covers `task`; name the tools; give the rest to another rule",
        ],
    );
    let presence = "p.cedar:2: `context has output` asks nothing: a rule that reads it is judged only where there is a result; ask for a member, as in `context.output has total`";
    refused(&report("context has output"), &[presence]);
    refused(&report("context has output && context.output.total > 1"), &[presence]);
    refused(
        &report("context.output.total > 1 && context == context"),
        &[
            "p.cedar:2: a rule that reads `context.output` cannot take the context as a whole; read single members, as in `context.output.total`",
        ],
    );
}

#[test]
fn members_of_results_that_are_not_declared_or_have_no_type_are_refused() {
    refused(
        &report("context.output.totl > 1"),
        &["p.cedar:2: unknown member `/totl` of the results of tool `lab.report`; did you mean `total`?"],
    );
    refused(
        &report("context.output.summary.weight > 1"),
        &[
            "p.cedar:2: unknown member `/summary/weight` of the results of tool `lab.report`; a rule can read only what the tool's `outputSchema` declares",
        ],
    );
    refused(
        &on("action in [Action::\"lab.report\", Action::\"lab.other\"]", "context.output has weight"),
        &[
            "p.cedar:2: none of the 2 tools that this rule covers has results with a member `/weight`; a rule can read only what the tool's `outputSchema` declares",
        ],
    );
    refused(
        &report("context.output has key"),
        &[
            "p.cedar:2: member `/key` of the results of tool `lab.report` has no single type in its schema; say which with `output_types = { \"/key\" = \"string\" }` under `[tool.\"lab.report\"]`",
        ],
    );
    refused(
        &report("context.output.note == \"x\""),
        &[
            "p.cedar:2: unable to guarantee safety of access to optional attribute `output.note` in context for Action::\"lab.report\"; try testing for the attribute's presence with `context.output has note && ..`",
        ],
    );
    let typed = |tool: &str, pointer: &str, ty: &str, expected: &str| {
        let rules = ToolRules { output_types: BTreeMap::from([(pointer.into(), ty.into())]), ..ToolRules::default() };
        let findings = built_with("", BTreeMap::from([(tool.into(), rules)])).unwrap_err();
        assert_eq!(shown(&findings), [expected]);
    };
    typed(
        "plain",
        "/total",
        "integer",
        "portcullis.toml: tool `lab.plain` declares no results that could have types; take out its `output_types`: without an `outputSchema` no rule reads its results",
    );
    typed(
        "report",
        "/key",
        "text",
        "portcullis.toml: unknown type `text` for `/key` of tool `lab.report`; the types are `string`, `integer`, `decimal`, `boolean` and `set of` one of these",
    );
}

/// What our judge says: `passes`, or the cause and the rules.
fn judged(engine: &Engine, call: (&str, &str, &str), output: &str) -> String {
    asked(engine, call, Some(output), |question| match question.results(engine) {
        None => "not asked".to_owned(),
        Some(results) => words(results.judge(question.output)),
    })
}

fn words(judged: Result<(), Withheld>) -> String {
    match judged {
        Ok(()) => "passes".to_owned(),
        Err(withheld) => {
            let rules = withheld.rules.iter().map(|(_, id)| &**id);
            [withheld.cause.name()].into_iter().chain(rules).collect::<Vec<_>>().join(" ")
        }
    }
}

/// What Cedar's authorizer makes of all rules as they were written, scopes and all.
fn by_cedar(policies: &str, (agent, tool, arguments): (&str, &str, &str), output: &str) -> String {
    let set: PolicySet = policies.parse().unwrap();
    let (_, groups, accounts) = AGENTS.iter().find(|(id, _, _)| *id == agent).unwrap();
    let parents: Vec<Value> = groups.iter().map(|group| json!({"type": "Group", "id": group})).collect();
    let entities = json!([
        {"uid": {"type": "Agent", "id": agent}, "attrs": {"accounts": accounts}, "parents": parents},
        {"uid": {"type": "Action", "id": format!("lab.{tool}")}, "attrs": {}, "parents": [{"type": "Action", "id": "call"}]},
    ]);
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let context = Context::from_json_value(json!({"input": json(arguments), "output": json(output)}), None).unwrap();
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let parties = (format!("Agent::{agent:?}"), format!("Action::\"lab.{tool}\""), "Server::\"lab\"".to_owned());
    let request = Request::new(uid(parties.0), uid(parties.1), uid(parties.2), context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &set, &Entities::from_json_value(entities, None).unwrap());
    assert_eq!(response.decision(), Decision::Deny, "there is no permit among them");
    let id = |id: &cedar_policy::PolicyId| set.annotation(id, "id").unwrap().to_owned();
    let mut held: Vec<String> = response.diagnostics().reason().map(id).collect();
    let failed = response.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => id(error.policy_id()),
    });
    let mut failed: Vec<String> = failed.collect();
    held.sort();
    failed.sort();
    match (held.is_empty(), failed.is_empty()) {
        (false, _) => format!("result_forbidden {}", held.join(" ")),
        (true, false) => format!("result_rule_error {}", failed.join(" ")),
        (true, true) => "passes".to_owned(),
    }
}

const RULES: &str = r#"
    @id("a") forbid (principal in Group::"support", action == Action::"lab.report", resource) when { context.output.total > 100 };
    @id("b") forbid (principal == Agent::"bob", action == Action::"lab.report", resource == Server::"lab")
        when { context.input.table == "orders" && context.output.total > 10 };
    @id("c") forbid (principal, action == Action::"lab.report", resource)
        when { context.output has note && context.output.note like "*secret*" } unless { principal.accounts.contains("c9") };
    @id("d") forbid (principal, action == Action::"lab.report", resource) when { context.output.total + 9223372036854775000 < 0 };
    @id("e") forbid (principal, action == Action::"lab.report", resource)
        when { context.output has tags && context.output.tags.contains("pii") && principal in Group::"finance" };
"#;

#[test]
fn rules_over_results_come_to_what_cedar_makes_of_them() {
    let engine = built(RULES).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n")));
    let mut seen = std::collections::BTreeSet::new();
    for agent in ["ann", "bob", "cat", "dan"] {
        for arguments in [r#"{"table":"orders"}"#, r#"{"table":"customers","limit":3}"#] {
            for output in [
                r#"{"total":5}"#,
                r#"{"total":11}"#,
                r#"{"total":101,"note":"nothing"}"#,
                r#"{"total":101,"note":"a secret"}"#,
                r#"{"total":1,"note":"a secret","tags":["pii"]}"#,
                r#"{"total":1,"tags":["x","pii"]}"#,
                r#"{"total":1,"tags":[]}"#,
                r#"{"total":9223372036854775807}"#,
            ] {
                let call = (agent, "report", arguments);
                let ours = judged(&engine, call, output);
                assert_eq!(ours, by_cedar(RULES, call, output), "{agent} {arguments} {output}");
                seen.insert(ours.split(' ').next().unwrap().to_owned());
            }
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["passes", "result_forbidden", "result_rule_error"]);
    assert_eq!(engine.slow().count(), 5, "each is listed as left to Cedar's evaluator");
}

#[test]
fn what_cannot_be_read_of_a_result_is_withheld() {
    let rules = r#"
        @id("a") forbid (principal in Group::"support", action == Action::"lab.report", resource)
            when { context.output.score.greaterThan(decimal("1.5")) || context.output has raw && context.output.raw > 1 };
        @id("b") forbid (principal, action == Action::"lab.report", resource)
            when { context.output has owner && context.output.owner == "x" || context.output has rows && context.output.rows.isEmpty() };"#;
    let engine = built(rules).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n")));
    let rows = vec![r#"{"name":"a"}"#; VALUES_MAX / 2 + 1].join(",");
    let large = format!(r#"{{"score":1,"rows":[{rows}]}}"#);
    for (agent, output, expected) in [
        ("ann", r#"{"score":1.5}"#, "passes"),
        ("ann", r#"{"score":1.6}"#, "result_forbidden a"),
        ("ann", r#"{"score":1.60001}"#, "result_mistyped a b"),
        ("ann", r#"{"score":"1"}"#, "result_mistyped a b"),
        ("ann", r#"{"score":null}"#, "result_mistyped a b"),
        ("ann", r#"{"score":1,"raw":2}"#, "result_forbidden a"),
        ("ann", r#"{"score":1,"raw":"2"}"#, "result_mistyped a b"),
        ("ann", r#"{"score":1,"SCORE":2}"#, "result_mistyped a b"),
        ("ann", "{}", "result_rule_error a"),
        ("ann", "[]", "result_mistyped a b"),
        ("ann", "7", "result_mistyped a b"),
        ("ann", &large, "result_too_large a b"),
        // No rule about this agent reads the score.
        ("dan", r#"{"score":"1"}"#, "passes"),
        ("dan", r#"{"owner":null}"#, "passes"),
        ("dan", r#"{"owner":"x"}"#, "result_forbidden b"),
        ("dan", r#"{"owner":7}"#, "result_mistyped b"),
        ("dan", r#"{"rows":[{"name":"a","age":3}]}"#, "passes"),
        ("dan", r#"{"rows":[{"name":"a","weight":3}]}"#, "result_mistyped b"),
        ("dan", r#"{"rows":[]}"#, "result_forbidden b"),
    ] {
        assert_eq!(judged(&engine, (agent, "report", "{}"), output), expected, "{agent} {output}");
    }
    assert_eq!(judged(&engine, ("dan", "other", "{}"), "{}"), "not asked");
    let nothing =
        asked(&engine, ("dan", "report", "{}"), None, |question| words(question.results(&engine).unwrap().judge(None)));
    assert_eq!(nothing, "result_unstructured b");
}

#[test]
fn what_cannot_be_read_of_the_call_withholds_its_result() {
    let rules = r#"@id("a") forbid (principal, action == Action::"lab.report", resource)
        when { context.input.table == "orders" && context.output.total > 10 };"#;
    let engine = built(rules).unwrap();
    let whole = |arguments: &str, known: Arguments| {
        asked(&engine, ("ann", "report", arguments), Some(r#"{"total":1}"#), |question| {
            let Action::Tool(tool) = question.action else { panic!("a tool") };
            let results = engine.results(&question.who, (question.server, tool), &question.facts, known).unwrap();
            words(results.judge(question.output))
        })
    };
    assert_eq!(whole(r#"{"table":7}"#, Arguments::Known), "result_call_unreadable a");
    assert_eq!(whole(r#"{"table":"a"}"#, Arguments::Forgotten), "result_call_unreadable a");
    assert_eq!(whole("{}", Arguments::Known), "result_rule_error a");
    assert_eq!(whole(r#"{"table":"a"}"#, Arguments::Known), "passes");
    let small = small();
    assert_eq!(words(small.forgetting_call().judge(None)), "result_call_unreadable small");
}

#[test]
fn requests_are_decided_and_listed_as_if_there_were_no_rules_over_results() {
    let permit = r#"@id("p") permit (principal in Group::"support", action, resource);"#;
    let engine = built(&format!("{permit}{SMALL}")).unwrap();
    let decided = |agent, output: Option<&str>| {
        asked(&engine, (agent, "report", r#"{"table":"a"}"#), output, |question| {
            let request = outcome(&engine, &question.decide(&engine));
            let cedars = engine.decide_by_cedar(&question.who, question.server, question.action, &question.facts);
            assert_eq!(request, outcome(&engine, &cedars));
            let Action::Tool(tool) = question.action else { panic!("a tool") };
            let listed = format!("{:?}", engine.lists(&question.who, question.server, tool));
            (request, outcome(&engine, &question.judge(&engine)), listed)
        })
    };
    let told = |all: [&str; 3]| (all[0].to_owned(), all[1].to_owned(), all[2].to_owned());
    assert_eq!(decided("dan", Some(r#"{"total":1}"#)), told(["no_rule", "no_rule", "Hidden"]));
    assert_eq!(decided("ann", None), told(["allow p", "allow p", "Listed"]));
    assert_eq!(decided("ann", Some(r#"{"total":1}"#)), told(["allow p", "allow p", "Listed"]));
    assert_eq!(decided("ann", Some(r#"{"total":101}"#)), told(["allow p", "result_forbidden small", "Listed"]));
}

#[test]
fn an_explanation_names_the_rules_that_a_result_will_meet_and_what_they_make_of_one() {
    let text = format!("@id(\"p\") permit (principal, action in Action::\"call\", resource);\n{SMALL}");
    let engine = built(&text).unwrap();
    let sources = [Source { file: "p.cedar", text: &text }];
    let told = |agent: &str, tool: &str, output: Option<&str>| {
        asked(&engine, (agent, tool, r#"{"table":"a"}"#), output, |question| {
            let told = crate::policy::explain::explain(&engine, &sources, question);
            let ids =
                |all: &[crate::policy::explain::Told]| all.iter().map(|rule| rule.id.to_string()).collect::<Vec<_>>();
            let near: Vec<String> = told.near.iter().map(|near| format!("{} {:?}", near.rule.id, near.kept)).collect();
            let read: Vec<String> = told
                .values
                .iter()
                .map(|read| format!("{}={}", read.name, read.value.clone().unwrap_or_default()))
                .collect();
            format!(
                "{} {:?} judged by {:?} near {near:?} read {read:?}",
                told.cause.unwrap_or("allow"),
                ids(&told.rules),
                ids(&told.results)
            )
        })
    };
    assert_eq!(told("ann", "report", None), r#"allow ["p"] judged by ["small"] near [] read []"#);
    assert_eq!(told("ann", "other", None), r#"allow ["p"] judged by [] near [] read []"#);
    assert_eq!(
        told("ann", "report", Some(r#"{"total":101}"#)),
        r#"result_forbidden ["small"] judged by [] near ["p Outweighed"] read ["context.output.total=101"]"#
    );
    assert_eq!(
        told("ann", "report", Some(r#"{"total":100}"#)),
        r#"allow ["p"] judged by [] near ["small Part { part: \"when { context.output.total > 100 }\" }"] read ["context.output.total=100"]"#
    );
    assert_eq!(
        told("ann", "report", Some(r#"{"total":"x"}"#)),
        r#"result_mistyped [] judged by [] near ["p Outweighed", "small Output { pointer: \"/total\" }"] read ["context.output.total="]"#
    );
}

#[test]
fn a_proof_is_about_requests_alone() {
    let text = format!("@id(\"p\") permit (principal, action in Action::\"call\", resource);\n{SMALL}");
    with(&text, BTreeMap::new(), |inputs| {
        let ground = Ground::build(inputs).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n")));
        let ids: Vec<&str> = ground.book.rules.iter().map(|rule| &*rule.parsed.id).collect();
        assert_eq!((ids, ground.book.set.policies().count()), (vec!["p"], 1));
    });
}

#[test]
fn a_call_whose_result_meets_no_rules_pays_for_none() {
    let rules = SMALL.replace("principal,", "principal in Group::\"support\",");
    let (none, some) = (built("").unwrap(), built(&rules).unwrap());
    for (engine, agent, tool) in [(&none, "ann", "report"), (&some, "ann", "other"), (&some, "dan", "report")] {
        asked(engine, (agent, tool, r#"{"table":"a"}"#), None, |question| {
            let Action::Tool(tool) = question.action else { panic!("a tool") };
            let call = (question.server, tool);
            let mut results = None;
            let counted = allocation_counter::measure(|| {
                results = engine.results(&question.who, call, &question.facts, Arguments::Known);
            });
            assert!(results.is_none() && counted.count_total == 0, "{agent} {counted:?}");
        });
    }
}
