//! Rules that read calendars and SQL, through the engine.

use super::*;
use crate::policy::sql::SqlRefusal;
use crate::policy::verdict::{DenialCause, Visibility};

fn check_load(policies: &str, expected: &[&str]) {
    let got = match build(policies) {
        Ok(engine) => engine.warnings().iter().map(ToString::to_string).collect(),
        Err(findings) => shown(&findings),
    };
    assert_eq!(got, expected, "\ngiven {policies}");
}

const LISTED: &str = "@id(\"listed\") permit (principal, action == Action::\"pg.query\", resource)\nwhen { context.sql.kinds == [\"select\"] && [\"customers\", \"orders\"].containsAll(context.sql.tables) };";

#[test]
fn a_calendar_that_does_not_exist_is_refused_at_load() {
    let on = |condition: &str| format!("permit (principal, action, resource)\nwhen {{ {condition} }};");
    check_load(
        &on("context.calendars.contains(\"ofice\")"),
        &["p.cedar:2: unknown calendar `ofice`; did you mean `office`?"],
    );
    check_load(
        &on("[\"office\", \"nights\"].containsAll(context.calendars)"),
        &["p.cedar:2: unknown calendar `nights`"],
    );
    check_load(
        &on("context.calendars.containsAny([\"never\", \"offices\"])"),
        &["p.cedar:2: unknown calendar `offices`; did you mean `office`?"],
    );
    check_load(&on("context.calendars.contains(\"office\") || context.calendars.contains(\"never\")"), &[]);
    check_load(
        &on("context.calendars.open"),
        &[
            "p.cedar:2: unexpected type: expected __cedar::internal::AnyEntity, or __cedar::internal::OpenRecord{} but saw Set<String>",
        ],
    );
    let none = Engine::build(Inputs {
        sources: &[Source { file: "p.cedar", text: &on("context has calendars") }],
        servers: &[],
        agents: &[],
        calendars: &Calendars::default(),
        settings_file: "portcullis.toml",
    });
    let expected = "p.cedar:2: no calendars are configured; write some into a file and name it: `calendars = \"calendars.toml\"` in `[policy]`";
    assert_eq!(shown(&none.unwrap_err()), [expected]);
}

#[test]
fn sql_that_no_tool_takes_is_refused_at_load() {
    let on = |action: &str, condition: &str| {
        format!("permit (principal, action{action}, resource)\nwhen {{ {condition} }};")
    };
    let pg = " == Action::\"pg.query\"";
    check_load(
        &on(" == Action::\"crm.read_table\"", "context has sql"),
        &[
            "p.cedar:2: no tool that this rule covers has an argument with SQL; write `sql = { argument = \"/sql\", dialect = \"postgres\" }` under the `[tool.\"…\"]`",
        ],
    );
    check_load(
        &on(pg, "context.sql.kinds == [\"SELECT\"]"),
        &["p.cedar:2: unknown kind of statement `SELECT`; did you mean `select`?"],
    );
    check_load(
        &on(pg, "context.sql.kinds.contains(\"drop table\")"),
        &[
            "p.cedar:2: unknown kind of statement `drop table`; the kinds are `select`, `insert`, `update`, `delete`, `replace`, `create`",
        ],
    );
    check_load(
        &on(pg, "context.sql.table.contains(\"a\")"),
        &["p.cedar:2: attribute `sql.table` in context for Action::\"pg.query\" not found; did you mean `tables`?"],
    );
    check_load(&on(" in Action::\"call\"", "context has sql && context.sql.kinds == [\"select\"]"), &[]);
}

#[test]
fn a_schema_and_a_dialect_say_how_tables_are_named() {
    let pg = pg();
    let load = |sql: SqlRules, table: &str| {
        let rules = BTreeMap::from([("query".into(), ToolRules { sql: Some(Arc::new(sql)), ..ToolRules::default() })]);
        let server = (
            ServerSource { name: "pg", catalogue: &pg, tools: &rules, extension_methods: &[] },
            Arc::new(Drift::new(&pg)),
        );
        let text = format!(
            "permit (principal, action == Action::\"pg.query\", resource) when {{ [\"{table}\"].containsAll(context.sql.tables) }};"
        );
        let built = Engine::build(Inputs {
            sources: &[Source { file: "p.cedar", text: &text }],
            servers: &[server],
            agents: &[],
            calendars: &Calendars::default(),
            settings_file: "f",
        });
        built.map_or_else(|findings| shown(&findings), |_| Vec::new())
    };
    let sql = SqlRules {
        argument: "/sql".into(),
        dialect: Dialect::Sqlite,
        schema: Some("main".into()),
        functions: Vec::new(),
    };
    assert_eq!(
        load(sql.clone(), "notes"),
        ["p.cedar:1: no table is ever called `notes`, without its schema; write `main.notes`"]
    );
    assert_eq!(
        load(sql.clone(), "main.Notes"),
        [
            "p.cedar:1: no table is ever called `main.Notes`; write `main.notes`: names of this dialect are in lower case"
        ]
    );
    assert_eq!(load(sql.clone(), "main.notes"), Vec::<String>::new());
    for argument in ["/sq", "/sql/x", "/"] {
        let expected = format!(
            "f: tool `pg.query` has no text argument `{argument}`, which its `sql` names; correct `argument`, a pointer such as `/sql`"
        );
        assert_eq!(load(SqlRules { argument: argument.into(), ..sql.clone() }, "main.notes"), [expected]);
    }
}

#[test]
fn rules_that_only_forbid_tables_are_worth_a_look() {
    const FORBID: &str = "permit (principal, action == Action::\"pg.query\", resource);\nforbid (principal, action == Action::\"pg.query\", resource)\nwhen { context.sql.tables.contains(\"financials\") };";
    check_load(
        FORBID,
        &[
            "p.cedar:3: warning: this rule forbids tables by name, and a view or a search path can lead to them under another; permit listed tables instead: `[\"customers\", \"orders\"].containsAll(context.sql.tables)`",
        ],
    );
    check_load(&format!("{LISTED}\n{}", FORBID.split_once('\n').unwrap().1), &[]);
}

#[test]
fn calendars_are_read_at_the_time_of_the_decision() {
    const OFFICE: &str = "@id(\"hours\") permit (principal, action == Action::\"crm.read_table\", resource) when { context.calendars.contains(\"office\") };
        @id(\"closed\") forbid (principal, action == Action::\"crm.strict\", resource) unless { context.calendars.contains(\"office\") };
        @id(\"any\") permit (principal, action == Action::\"crm.strict\", resource);";
    for (now, table, strict) in [
        (NOON, "allow hours", "allow any"),
        ("2026-11-24T07:59:59Z", "no_rule", "forbidden closed"),
        ("2026-11-24T08:00:00Z", "allow hours", "allow any"),
        ("2026-11-28T12:00:00Z", "no_rule", "forbidden closed"),
        // What the calendars are not laid out for is denied, and says so.
        ("2023-06-01T12:00:00Z", "calendars_ended", "calendars_ended"),
        ("2037-06-01T12:00:00Z", "calendars_ended", "calendars_ended"),
    ] {
        check_ask(OFFICE, Ask { now, ..Ask::new("ann", "crm.read_table {\"table\": \"x\"}") }, table);
        check_ask(OFFICE, Ask { now, ..Ask::new("ann", "crm.strict {}") }, strict);
    }
}

#[test]
fn sql_is_read_where_a_rule_asks_about_it() {
    let query = |sql: &str| format!("pg.query {}", json!({ "sql": sql }));
    for (sql, expected) in [
        ("SELECT * FROM financials", "no_rule"),
        ("SELECT * FROM customers c, public.orders", "no_rule"),
        ("DELETE FROM customers", "no_rule"),
        ("WITH orders AS (SELECT * FROM financials) SELECT * FROM orders", "no_rule"),
        ("SELECT * FROM customers; SELECT 1", "sql_several_statements /sql"),
        ("SELECT * FROM customers WHERE pg_sleep(9) IS NULL", "sql_function /sql"),
        ("SELEC", "sql_unparsable /sql"),
        ("DROP TABLE customers", "sql_statement /sql"),
        ("", "sql_unparsable /sql"),
        ("SELECT my_total(a) FROM customers", "allow listed"),
        ("SELECT * FROM customers JOIN orders USING (id)", "allow listed"),
        ("SELECT 1", "allow listed"),
    ] {
        check(LISTED, "ann", &query(sql), expected);
    }
    for (arguments, expected) in [
        ("{}", "argument_unreadable /sql"),
        ("{\"sql\": null}", "argument_unreadable /sql"),
        ("{\"sql\": [\"SELECT 1\"]}", "argument_unreadable /sql"),
        ("{\"sql\": \"SELECT 1\", \"SQL\": \"SELECT * FROM financials\"}", "argument_unreadable /sql"),
    ] {
        check(LISTED, "ann", &format!("pg.query {arguments}"), expected);
    }
    // Who is permitted by a rule that does not ask about it may send anything.
    check("@id(\"all\") permit (principal, action, resource);", "ann", &query("DROP TABLE customers"), "allow all");
    const FUNCTIONS: &str = "@id(\"pure\") permit (principal, action == Action::\"pg.query\", resource) when { context.sql.functions.isEmpty() };";
    check(FUNCTIONS, "ann", &query("SELECT lower(a) FROM t"), "no_rule");
    check(FUNCTIONS, "ann", &query("SELECT a FROM t"), "allow pure");
    // A forbid that cannot be judged denies, whatever permits there are.
    const FORBID: &str = "@id(\"all\") permit (principal, action, resource); @id(\"no\") forbid (principal, action in Action::\"call\", resource) when { context has sql && context.sql.tables.contains(\"financials\") };";
    check(FORBID, "ann", &query("SELECT * FROM financials"), "forbidden no");
    check(FORBID, "ann", &query("SELECT * FROM public.financials"), "forbidden no");
    check(FORBID, "ann", &query("EXPLAIN SELECT 1"), "sql_statement /sql");
    check(FORBID, "ann", &query("SELECT 1"), "allow all");
    check(FORBID, "ann", "crm.read_table {\"table\": \"x\"}", "allow all");
}

#[test]
fn what_is_not_judged_passes_only_where_a_route_observes_and_names_no_value() {
    let engine = build(LISTED).unwrap();
    let ask = Ask::new("ann", "pg.query {\"sql\": \"SELECT secret_function(a) FROM t\"}");
    let denial = ask.decide(&engine).unwrap_err();
    assert_eq!(denial.cause(), DenialCause::SqlRefused(SqlRefusal::Function));
    assert_eq!(
        (denial.words(), denial.visibility()),
        ("denied by policy: the SQL calls a function that is not listed", Visibility::Listed)
    );
    let (server, tool) = (engine.server("pg").unwrap(), engine.tool(engine.server("pg").unwrap(), "query").unwrap());
    let permit = engine.observe(denial, server, Action::Tool(tool)).unwrap();
    assert_eq!(permit.observed(), Some(DenialCause::SqlRefused(SqlRefusal::Function)));
    for refusal in SqlRefusal::ALL {
        assert!(refusal.words().starts_with("denied by policy: the SQL ") && refusal.name().starts_with("sql_"));
    }
}
