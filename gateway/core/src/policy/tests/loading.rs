//! What a load refuses, word for word, and what it makes of what it takes.

use super::*;

fn check(policies: &str, expected: &[&str]) {
    let got = match build(policies) {
        Ok(engine) => engine.warnings().iter().map(ToString::to_string).collect(),
        Err(findings) => shown(&findings),
    };
    assert_eq!(got, expected, "\ngiven {policies}");
}

#[test]
fn names_that_do_not_exist_are_refused_with_line_and_cure() {
    check(
        "permit (\n  principal in Group::\"suport\",\n  action == Action::\"crm.reed_table\",\n  resource == Server::\"crn\"\n);",
        &[
            "p.cedar:2: unknown group `suport`; did you mean `support`?",
            "p.cedar:3: unknown tool `reed_table` on server `crm`; did you mean `read_table`?",
            "p.cedar:4: unknown server `crn`; did you mean `crm`?",
        ],
    );
    check(
        "permit (principal == Agent::\"an\", action, resource);",
        &["p.cedar:1: unknown agent `an`; did you mean `ann`?"],
    );
    check(
        "permit (principal, action == Action::\"crm.zzz\", resource);",
        &["p.cedar:1: unknown tool `zzz` on server `crm`; `portcullis tools diff crm` shows what it offers"],
    );
    check(
        "permit (principal, action in Action::\"customerTool\", resource);",
        &["p.cedar:1: unknown action `customerTool`; did you mean `customerTools`?"],
    );
    check(
        "permit (principal, action == Action::\"resource.reed\", resource);",
        &["p.cedar:1: unknown action `resource.reed`; did you mean `resource.read`?"],
    );
    check(
        "permit (principal, action, resource)\nunless { principal in Group::\"nobody\" };",
        &["p.cedar:2: unknown group `nobody`"],
    );
    check(
        "permit (principal == Agnet::\"ann\", action, resource);",
        &["p.cedar:1: unrecognized entity type `Agnet`; did you mean `Agent`?"],
    );
    check(
        "permit (principal, action, resource == Sever::\"crm\");",
        &["p.cedar:1: unrecognized entity type `Sever`; did you mean `Server`?"],
    );
    check(
        "permit (principal, action, resource) when { context.claims == Claims::\"x\" };",
        &["p.cedar:1: a rule cannot name a set of claims; read them with `context.claims.hasTag` and `getTag`"],
    );
}

#[test]
fn a_tool_of_a_server_without_a_catalogue_is_to_be_learned_first() {
    let (none, empty) = (BTreeMap::new(), Catalogue::learn("new", &[]).unwrap());
    let server = (
        ServerSource { name: "new", catalogue: &empty, tools: &none, extension_methods: &[] },
        Arc::new(Drift::new(&empty)),
    );
    let text = "permit (principal, action == Action::\"new.read\", resource);";
    let findings = Engine::build(Inputs {
        sources: &[Source { file: "p.cedar", text }],
        servers: &[server],
        agents: &[],
        calendars: &Calendars::default(),
        settings_file: "portcullis.toml",
    });
    let expected = "p.cedar:1: unknown tool `read` on server `new`; its tools are not known: list them with `portcullis tools learn new` first";
    assert_eq!(shown(&findings.unwrap_err()), [expected]);
}

#[test]
fn arguments_that_do_not_exist_or_have_no_type_are_refused() {
    let on = |tool: &str, condition: &str| {
        format!("permit (principal, action == Action::\"{tool}\", resource)\nwhen {{ {condition} }};")
    };
    check(
        &on("crm.read_table", "context.input.tabel == \"x\""),
        &["p.cedar:2: unknown argument `/tabel` of tool `crm.read_table`; did you mean `table`?"],
    );
    check(
        &on("crm.read_table", "context.input has tabel"),
        &["p.cedar:2: unknown argument `/tabel` of tool `crm.read_table`; did you mean `table`?"],
    );
    check(
        &on("crm.update_row", "context.input has to.regio"),
        &["p.cedar:2: unknown argument `/to/regio` of tool `crm.update_row`; did you mean `region`?"],
    );
    check(
        &on("crm.bare", "context.input has a"),
        &["p.cedar:2: unknown argument `/a` of tool `crm.bare`; a rule can read only what the tool's schema declares"],
    );
    let untyped = "p.cedar:2: argument `/query` of tool `crm.search` has no single type in its schema; say which with `types = { \"/query\" = \"string\" }` under `[tool.\"crm.search\"]`";
    check(&on("crm.search", "context.input.query == \"x\""), &[untyped]);
    check(&on("crm.search", "context.input has query"), &[untyped]);
    check(
        "forbid (principal, action in Action::\"call\", resource) when { context.input has tabel };",
        &[
            "p.cedar:1: none of the 7 tools that this rule covers has an argument `/tabel`; a rule can read only what the tool's schema declares",
        ],
    );
}

#[test]
fn what_the_validator_finds_is_told_in_our_words() {
    let on = |condition: &str| {
        format!("permit (principal, action == Action::\"crm.read_table\", resource)\nwhen {{ {condition} }};")
    };
    check(
        &on("context.nwo > datetime(\"2024-01-01\")"),
        &["p.cedar:2: attribute `nwo` in context for Action::\"crm.read_table\" not found; did you mean `now`?"],
    );
    check(
        &on("context.input.limit > 5"),
        &[
            "p.cedar:2: unable to guarantee safety of access to optional attribute `input.limit` in context for Action::\"crm.read_table\"; try testing for the attribute's presence with `context.input has limit && ..`",
        ],
    );
    check(&on("context.input.table > 5"), &["p.cedar:2: unexpected type: expected Long but saw String"]);
    check(
        &on("principal.acounts.contains(\"a\")"),
        &["p.cedar:2: attribute `acounts` on entity type `Agent` not found; did you mean `accounts`?"],
    );
    check(
        &on("context.claims.getTag(\"a\") == \"b\""),
        &[
            "p.cedar:2: unable to guarantee safety of access to tag `\"a\"` on entity type `Claims`; try testing for the tag's presence with `.hasTag(\"a\") && ..`",
        ],
    );
}

#[test]
fn what_this_version_cannot_do_is_refused_and_never_ignored() {
    for (condition, expected) in [
        ("unless { context has nwo }", "p.cedar:2: no context has a fact `nwo`; did you mean `now`?"),
        (
            "unless { context has weather }",
            "p.cedar:2: no context has a fact `weather`; the facts are `account`, `calendars`, `claims`, `name`, `now`, `source`, `sql`, `uri`, `input` and `output`",
        ),
    ] {
        check(&format!("forbid (principal, action, resource)\n{condition};"), &[expected]);
    }
    let cure = "remove it: beside `@id`, a rule takes what obliges, `@redact`, `@max_rows`, `@rate` and `@budget`, and what speaks to readers, `@description`, `@doc`, `@note`, `@owner`, `@reason` and `@ticket`";
    check(
        "@id(\"a\")\n@until\npermit (principal, action, resource);",
        &[&format!("p.cedar:2: unknown annotation `@until`; {cure}")],
    );
    check(
        "@redakt(\"/email\")\npermit (principal, action, resource);",
        &["p.cedar:1: unknown annotation `@redakt`; did you mean `redact`?"],
    );
    check(
        "@Owner(\"ann\")\npermit (principal, action, resource);",
        &["p.cedar:1: unknown annotation `@Owner`; did you mean `owner`?"],
    );
    check(
        "@id(\"a\") @description(\"d\") @doc(\"d\") @note(\"n\") @owner(\"o\") @reason(\"r\") @ticket(\"t\")\npermit (principal, action, resource);",
        &[],
    );
}

#[test]
fn an_obligation_that_could_not_be_carried_out_is_refused() {
    let permit = "permit (principal, action == Action::\"crm.update_row\", resource);";
    for (annotation, rule, expected) in [
        (
            "@rate(\"10\")",
            permit,
            "p.cedar:2: `10` is no rate; write calls and unit, as in `@rate(\"10/m\")`; the units are `s`, `m`, `h` and `d`",
        ),
        (
            "@redact(\"ssn\")",
            permit,
            "p.cedar:2: `ssn` is no pointer; a pointer begins with a slash, as in `/rows/*/ssn`",
        ),
        (
            "@max_rows",
            permit,
            "p.cedar:2: `@max_rows(\"\")` has an empty entry; write `@max_rows(\"500\")` or `@max_rows(\"/rows 500\")`",
        ),
        (
            "@budget(\"/amonut 5/day\")",
            permit,
            "p.cedar:2: unknown argument `/amonut` of tool `crm.update_row` in the budget `/amonut 5/day`; did you mean `amount`?",
        ),
        (
            "@budget(\"/amount 5/day\")",
            "permit (principal, action in [Action::\"crm.update_row\", Action::\"crm.bare\"], resource);",
            "p.cedar:2: unknown argument `/amount` of tool `crm.bare` in the budget `/amount 5/day`; a budget can add up only what the tool's schema declares",
        ),
        (
            "@redact(\"/ssn\")",
            "forbid (principal, action == Action::\"crm.update_row\", resource);",
            "p.cedar:2: `@redact` stands on a forbid; write it on the permit: what is forbidden has nothing to oblige to",
        ),
        (
            "@rate(\"10/m\")",
            "permit (principal, action, resource == Server::\"crm\");",
            "p.cedar:2: `@rate` is carried out on calls of tools, and this rule also covers `connect`; name the tools, or write `action in Action::\"call\"`; give the rest to another rule",
        ),
        (
            "@redact(\"/a\")",
            "permit (principal, action == Action::\"resource.read\", resource);",
            "p.cedar:2: `@redact` is carried out on calls of tools, and this rule also covers `resource.read`; name the tools, or write `action in Action::\"call\"`; give the rest to another rule",
        ),
        (
            "@redact(\"/row/*/ssn\")",
            "permit (principal, action == Action::\"crm.strict\", resource);",
            "p.cedar:2: the results of tool `crm.strict` have no member `row`; did you mean `rows`?",
        ),
        (
            "@max_rows(\"/list 5\")",
            "permit (principal, action == Action::\"crm.strict\", resource);",
            "p.cedar:2: the results of tool `crm.strict` have no member `list`; point at what the tool's `outputSchema` declares",
        ),
    ] {
        check(&format!("@id(\"a\")\n{annotation}\n{rule}"), &[expected]);
    }
    check(
        "@redact(\"/rows/*/ssn\") @max_rows(\"5\") @rate(\"10/m\")\npermit (principal, action in Action::\"customerTools\", resource);",
        &[],
    );
    check(&format!("@budget(\"/amount 5/day\")\n{permit}"), &[]);
}

#[test]
fn a_rule_that_can_never_match_is_refused() {
    let scope = "p.cedar:1: this rule can never match: no action in its scope exists for its principal and resource; name a tool of that server, or leave out the resource";
    check("permit (principal, action == Action::\"crm.bare\", resource == Server::\"pg\");", &[scope]);
    check("permit (principal, action == Action::\"skills/list\", resource == Server::\"pg\");", &[scope]);
    let types = "p.cedar:1: this rule can never match: no action in its scope exists for its principal and resource; the principal is an `Agent` or a `Group`, the resource a `Server`";
    check("permit (principal == Group::\"support\", action, resource);", &[types]);
    check("permit (principal, action, resource in Group::\"support\");", &[types]);
    check(
        "permit (principal, action, resource) when { false };",
        &["p.cedar:1: this rule can never match: its conditions are always false; mend them or delete the rule"],
    );
    check(
        "\n\nforbid (principal, action == Action::\"crm.bare\", resource) when { context has uri };",
        &["p.cedar:3: this rule can never match: its conditions are always false; mend them or delete the rule"],
    );
}

#[test]
fn all_findings_of_all_files_come_at_once_and_in_order() {
    let sources = [
        Source { file: "b.cedar", text: "permit (principal in Group::\"x\", action, resource);" },
        Source {
            file: "a.cedar",
            text: "\npermit (principal, action, resource) when { context.q };\npermit (principal == Agent::\"q\", action, resource);",
        },
    ];
    let findings = build_with(&sources, &rules()).unwrap_err();
    let places: Vec<String> =
        findings.iter().map(|finding| format!("{}:{}", finding.file, finding.line.unwrap())).collect();
    assert_eq!(places, ["a.cedar:2", "a.cedar:3", "b.cedar:1"]);
}

#[test]
fn confusable_text_in_a_rule_is_warned_of() {
    let policies = "permit (principal, action == Action::\"crm.read_table\", resource)\nwhen { context.input.table == \"cust\u{43e}mers\" };";
    let warnings: Vec<String> = build(policies).unwrap().warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["p.cedar:2: warning: string `\"cust\u{43e}mers\"` contains mixed scripts"]);
}

#[test]
fn settings_of_tools_are_checked() {
    let check = |name: &str, rules: ToolRules, expected: &str| {
        let findings = build_with(&[], &BTreeMap::from([(Box::from(name), rules)])).unwrap_err();
        assert_eq!(shown(&findings), [expected]);
    };
    let typed = |pointer: &str, ty: &str| ToolRules {
        types: BTreeMap::from([(pointer.into(), ty.into())]),
        ..ToolRules::default()
    };
    let grouped = |group: &str| ToolRules { groups: vec![group.into()], ..ToolRules::default() };
    check(
        "reed_table",
        ToolRules::default(),
        "portcullis.toml: unknown tool `reed_table` on server `crm`; did you mean `read_table`?",
    );
    check(
        "bare",
        typed("a", "string"),
        "portcullis.toml: `a` is no argument pointer in the types of tool `crm.bare`; a pointer begins with `/`, as in `/amount`",
    );
    check(
        "bare",
        typed("/a", "money"),
        "portcullis.toml: unknown type `money` for `/a` of tool `crm.bare`; the types are `string`, `integer`, `decimal`, `boolean` and `set of` one of these",
    );
    check(
        "bare",
        grouped("connect"),
        "portcullis.toml: the tool group `connect` has the name of an action; rename the group",
    );
    check(
        "bare",
        grouped("crm.search"),
        "portcullis.toml: the tool group `crm.search` has the name of an action; rename the group",
    );
}

#[test]
fn action_names_that_would_mean_two_things_are_refused() {
    let none = BTreeMap::new();
    let one = Catalogue::learn("a", &[json!({"name": "b.c"})]).unwrap();
    let two = Catalogue::learn("a.b", &[json!({"name": "c"})]).unwrap();
    let methods = [Box::from("connect")];
    let server = |name, catalogue, extension_methods| {
        (ServerSource { name, catalogue, tools: &none, extension_methods }, Arc::new(Drift::new(catalogue)))
    };
    let build = |servers: &[(ServerSource<'_>, Arc<Drift>)]| {
        Engine::build(Inputs {
            sources: &[],
            servers,
            agents: &[],
            calendars: &Calendars::default(),
            settings_file: "portcullis.toml",
        })
        .map_err(|findings| shown(&findings))
    };
    let cure = "rename the server or leave the method out of its extension methods";
    let clash = format!("portcullis.toml: the action `a.b.c` would mean two things; {cure}");
    assert_eq!(build(&[server("a", &one, &[]), server("a.b", &two, &[])]).unwrap_err(), [clash.clone(), clash]);
    assert_eq!(
        build(&[server("a", &one, &methods)]).unwrap_err(),
        [format!("portcullis.toml: the action `connect` would mean two things; {cure}")]
    );
    assert_eq!(
        build(&[server("a", &one, &[]), server("a", &two, &[])]).unwrap_err(),
        ["portcullis.toml: server `a` is named twice"]
    );
}

#[test]
fn hostile_tool_names_stay_in_their_place() {
    let name = "x\", resource); permit (principal, action, \\\u{0}é";
    let none = BTreeMap::new();
    let catalogue = Catalogue::learn("s", &[json!({"name": name, "inputSchema": {"type": "object", "properties": {"a\"b": {"type": "string"}, "__cedar": {"type": "string"}}}})]).unwrap();
    let server = (
        ServerSource { name: "s", catalogue: &catalogue, tools: &none, extension_methods: &[] },
        Arc::new(Drift::new(&catalogue)),
    );
    let agents = [AgentSource { id: "ann", groups: vec![], accounts: vec![] }];
    let text = "permit (principal, action in Action::\"call\", resource) when { context.input has \"a\\\"b\" && context.input[\"a\\\"b\"] == \"1\" };";
    let engine = Engine::build(Inputs {
        sources: &[Source { file: "p", text }],
        servers: &[server],
        agents: &agents,
        calendars: &Calendars::default(),
        settings_file: "f",
    })
    .unwrap();
    let tool = engine.tool(crate::policy::surface::ServerIndex(0), name).unwrap();
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, br#"{"a\"b": "1"}"#, &JsonLimits { bytes_max: 100, depth_max: 9 }).unwrap();
    let facts = Facts { arguments: Some(document.root()), source: "::1".parse().unwrap(), now: UnixMillis(0) };
    let who = Who { agent: AgentIndex(0), id: "ann", user: None, account: None, claims: Claims::Listed(&[]) };
    assert!(engine.decide(&who, crate::policy::surface::ServerIndex(0), Action::Tool(tool), &facts).is_ok());
}

#[test]
fn rules_keep_their_ids_places_and_annotations() {
    let engine = build(
        "@id(\"a\") @owner(\"ann@example.com\")\npermit (principal, action, resource);\npermit (principal, action, resource);",
    )
    .unwrap();
    assert_eq!(engine.policy_ids().collect::<Vec<_>>(), ["a", "p.cedar:3"]);
    assert_eq!((engine.place(0), engine.place(1), engine.place(2)), (Some(("p.cedar", 1)), Some(("p.cedar", 3)), None));
    assert_eq!((engine.annotation(0, "owner"), engine.annotation(1, "owner")), (Some("ann@example.com"), None));
}

#[test]
fn the_hash_follows_every_input() {
    let base = *build("permit (principal, action, resource);").unwrap().hash();
    assert_eq!(base, *build("permit (principal, action, resource);").unwrap().hash());
    assert_ne!(base, *build("permit (principal, action, resource) ;").unwrap().hash());
    let mut others = rules();
    others.insert("bare".into(), ToolRules { groups: vec!["g".into()], ..ToolRules::default() });
    assert_ne!(
        base,
        *build_with(&[Source { file: "p.cedar", text: "permit (principal, action, resource);" }], &others)
            .unwrap()
            .hash()
    );
}

#[test]
fn an_engine_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Engine>();
}

#[test]
fn a_thousand_rules_load_and_share_classes() {
    let tools: Vec<Value> = (0..50)
        .map(|n| {
            tool(
                &format!("t{n}"),
                json!({"type": "object", "properties": {"table": {"type": "string"}}, "required": ["table"]}),
            )
        })
        .collect();
    let catalogue = Catalogue::learn("s", &tools).unwrap();
    let none = BTreeMap::new();
    let text: String = (0..1_000).map(|n| format!("permit (principal in Group::\"g{}\", action == Action::\"s.t{}\", resource) when {{ [\"a{n}\", \"b\"].contains(context.input.table) }};\n", n % 40, n % 50)).collect();
    let ids: Vec<(String, String)> = (0..2_000).map(|n| (format!("agent{n}"), format!("g{}", n % 40))).collect();
    let agents: Vec<AgentSource<'_>> =
        ids.iter().map(|(id, group)| AgentSource { id, groups: vec![group], accounts: vec![] }).collect();
    let server = (
        ServerSource { name: "s", catalogue: &catalogue, tools: &none, extension_methods: &[] },
        Arc::new(Drift::new(&catalogue)),
    );
    let started = std::time::Instant::now();
    let engine = Engine::build(Inputs {
        sources: &[Source { file: "p", text: &text }],
        servers: &[server],
        agents: &agents,
        calendars: &Calendars::default(),
        settings_file: "f",
    })
    .unwrap();
    println!("1,000 rules, 50 tools, 2,000 agents: {:?}, sizes {:?}", started.elapsed(), engine.sizes());
    assert_eq!(engine.sizes().0, 40);
    assert_eq!(engine.policy_ids().len(), 1_000);
}
