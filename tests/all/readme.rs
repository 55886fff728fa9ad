//! The README's rules load, and come to what the README says they come to; so do the starter's.

use std::net::SocketAddr;
use std::process::{Command, Output};

use portcullis_tests::gateway::binary;
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, put};
use serde_json::json;

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language that stand in the section about rules, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let section = README.split("\n## ").find(|section| section.starts_with("Rules\n")).expect("a section about rules");
    let mut parts = section.split("```");
    let mut found = Vec::new();
    while let (Some(_prose), Some(block)) = (parts.next(), parts.next()) {
        let (own, text) = block.split_once('\n').expect("a block has a first line");
        if own == language {
            found.push(text);
        }
    }
    found
}

fn tests(rules: &str, cases: &str) -> Output {
    let [_, calendars, _] = blocks("toml").try_into().expect("cases, calendars and a tool's SQL");
    let text = json!({"type": "string"});
    let tool = |name, argument: &str| {
        mcp::tool(name, json!({"type": "object", "required": [argument], "properties": {argument: text}}))
    };
    let mut run_sql = tool("run_sql", "sql");
    run_sql["outputSchema"] =
        json!({"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}});
    let tools = [tool("read_table", "table"), tool("write_table", "table"), run_sql, tool("find_ticket", "number")];
    let setup = Setup::new().server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &tools).policy(rules);
    let setup = setup.agent("support-bot", "groups = [\"support\"]").agent("finance-bot", "groups = [\"finance\"]");
    let setup = setup.agent("auditor", "groups = [\"audit\"]").calendars(calendars);
    let setup = setup.tool("crm.run_sql", "sql = { argument = \"/sql\", dialect = \"sqlite\" }");
    let folder = tempfile::tempdir().unwrap();
    setup.write(folder.path(), SocketAddr::from(([127, 0, 0, 1], 8443)));
    put(folder.path(), "cases.toml", cases);
    Command::new(binary()).args(["policy", "test", "cases.toml"]).current_dir(folder.path()).output().unwrap()
}

fn page(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_four_levels_of_the_readme_come_to_what_it_says() {
    let rules = blocks("cedar").concat();
    assert_eq!(rules.matches("permit (").count(), 5, "the agent, the tool, the parameter twice, an obligation");
    let [cases, calendars, sql] = blocks("toml").try_into().expect("cases, calendars and a tool's SQL");
    assert!(calendars.contains("[calendar.berlin-office-hours]") && sql.contains("sql = { argument = \"/sql\""));
    let output = tests(&rules, cases);
    assert!(output.status.success(), "{}", page(&output));
}

#[test]
fn a_rule_of_the_readme_that_is_left_out_fails_its_case() {
    let rules = blocks("cedar").concat();
    for (line, case) in [
        ("[\"customers\", \"orders\"].contains(context.input.table)", "support reads orders"),
        ("&& [\"customers\", \"orders\"].containsAll(context.sql.tables)", "nor is the table behind another name"),
        ("context.output.total > 100", "nor is a result that is too large"),
        ("unless { context.calendars.contains(\"berlin-office-hours\") }", "finance writes on a working day"),
    ] {
        let without = match line.strip_prefix("unless") {
            Some(_) => rules.replace(line, ""),
            None => {
                let other = match line {
                    "context.output.total > 100" => "context.output.total > 1000",
                    _ => "context.input.table == \"customers\"",
                };
                rules.replace(line, if line.starts_with("&&") { "" } else { other })
            }
        };
        assert_ne!(without, rules, "the README has no `{line}`");
        let output = tests(&without, blocks("toml")[0]);
        assert_eq!(output.status.code(), Some(1), "{}", page(&output));
        assert!(page(&output).contains(case), "{line}: {}", page(&output));
    }
}

#[test]
fn the_starter_and_its_cases_pass_together() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| Command::new(binary()).args(words).current_dir(folder.path()).output().unwrap();
    assert!(run(&["init"]).status.success());
    let tested = run(&["policy", "test", "policies/tests.toml"]);
    assert!(tested.status.success() && page(&tested).contains("1 passed, 0 failed"), "{}", page(&tested));
}
