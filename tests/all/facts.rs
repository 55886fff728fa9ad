//! Rules by calendar and by SQL: what they let through reaches a real SQLite file, and nothing else does.

use portcullis_tests::audit::text;
use portcullis_tests::crm::Crm;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::Setup;
use portcullis_tests::wire::Response;
use serde_json::{Value, json};

const CALENDARS: &str = r#"
[calendar.always]
zone = "Europe/Berlin"
windows = [{ days = ["mon-sun"], from = "00:00", to = "24:00" }]

[calendar.past]
zone = "Europe/Berlin"
open = [{ date = "2024-01-01", from = "09:00", to = "17:00" }]
"#;

const RULES: &str = r#"
@id("listed") permit (principal == Agent::"reader", action == Action::"crm.run_sql", resource)
    when { context.sql.kinds == ["select"] && ["customers", "orders"].containsAll(context.sql.tables) };
@id("open") permit (principal == Agent::"reader", action == Action::"crm.read_table", resource)
    when { context.calendars.contains("always") };
@id("past") permit (principal == Agent::"writer", action == Action::"crm.read_table", resource)
    when { context.calendars.contains("past") };"#;

fn setup(crm: &Crm) -> Setup {
    let setup = Setup::new().server_at("crm", crm.url(), "").catalogue("crm", &Crm::tools());
    setup.tool("crm.run_sql", "sql = { argument = \"/sql\", dialect = \"sqlite\" }").calendars(CALENDARS)
}

fn call(gateway: &Gateway, agent: &str, tool: &str, arguments: Value) -> Response {
    gateway.answer(&gateway.modern(agent, "crm", &mcp::modern("tools/call", mcp::call(tool, arguments))))
}

/// The message of an answer, which the server sends as an event and the gateway's own refusals as they are.
fn message(answer: &Response) -> Value {
    let data = answer.text().lines().find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.unwrap_or(answer.text())).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[track_caller]
fn check(gateway: &Gateway, sql: &str, expected: Result<usize, (&str, &str)>) {
    let answer = call(gateway, "reader", "run_sql", json!({ "sql": sql }));
    let record = gateway.record(|record| record["arguments"]["sql"] == sql && record.get("decision").is_some());
    match expected {
        Ok(rows) => {
            assert_eq!((answer.status(), answer.code()), (200, 0), "{sql}: {}", answer.text());
            let got =
                message(&answer).pointer("/result/structuredContent/rows").and_then(Value::as_array).map(Vec::len);
            assert_eq!(got, Some(rows), "{sql}: {}", answer.text());
            assert_eq!(record["rules"], json!(["listed"]), "{record}");
        }
        Err((cause, words)) => {
            assert_eq!((answer.status(), answer.code()), (200, -33403), "{sql}: {}", answer.text());
            assert_eq!(message(&answer)["error"]["message"], words, "{sql}");
            assert_eq!(text(&record, "cause"), cause, "{sql}: {record}");
        }
    }
}

#[test]
fn sql_reaches_the_database_only_where_its_tables_are_listed() {
    let crm = Crm::start();
    let gateway = setup(&crm).policy(RULES).start();
    let denied = "denied by policy";
    for (sql, cause, words) in [
        ("SELECT * FROM financials", "no_rule", denied),
        ("SELECT * FROM customers WHERE id IN (SELECT id FROM \"Financials\")", "no_rule", denied),
        ("WITH customers AS (SELECT * FROM financials) SELECT * FROM customers", "no_rule", denied),
        ("DELETE FROM customers", "no_rule", denied),
        (
            "SELECT 1; DELETE FROM customers",
            "sql_several_statements",
            "denied by policy: the SQL holds more than one statement",
        ),
        ("SELECT * FROM customers WHERE", "sql_unparsable", "denied by policy: the SQL cannot be parsed"),
        (
            "DROP TABLE financials",
            "sql_statement",
            "denied by policy: the SQL is not a SELECT, INSERT, UPDATE or DELETE",
        ),
        (
            "SELECT name FROM customers /*! , financials */",
            "sql_comment",
            "denied by policy: the SQL holds a comment that is not taken",
        ),
        (
            "SELECT load_extension('x') FROM customers",
            "sql_function",
            "denied by policy: the SQL calls a function that is not listed",
        ),
    ] {
        check(&gateway, sql, Err((cause, words)));
    }
    check(&gateway, "SELECT count(*) AS n FROM customers c JOIN orders o ON o.customer_id = c.id", Ok(1));
    check(&gateway, "WITH financials AS (SELECT name FROM customers) SELECT name FROM financials LIMIT 2", Ok(2));
}

#[test]
fn a_calendar_opens_and_closes_a_tool() {
    let crm = Crm::start();
    let gateway = setup(&crm).policy(RULES).start();
    let open = call(&gateway, "reader", "read_table", json!({"table": "customers"}));
    assert_eq!(message(&open)["result"]["isError"], false, "{}", open.text());
    let closed = call(&gateway, "writer", "read_table", json!({"table": "customers"}));
    assert_eq!((closed.status(), closed.code()), (200, -33403), "{}", closed.text());
    assert_eq!(text(&gateway.record(|record| text(record, "decision") == "deny"), "cause"), "no_rule");
}

#[test]
fn a_calendar_that_does_not_exist_keeps_the_gateway_from_starting() {
    let crm = Crm::start();
    let refused = setup(&crm).policy(&RULES.replace("\"past\")", "\"pats\")")).refused();
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(!refused.status.success() && said.contains("unknown calendar `pats`; did you mean `past`?"), "{said}");
}
