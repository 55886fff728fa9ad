//! The README's rules load, and come to what the README says they come to; its walk leads to a call; its configuration and the starter's load.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portcullis_tests::CEILING;
use portcullis_tests::crm::Crm;
use portcullis_tests::gateway::binary;
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, fresh_address, put};
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language that stand in the section about rules, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    blocks_of("Rules", language)
}

/// The same of any section.
fn blocks_of(section: &str, language: &str) -> Vec<&'static str> {
    let head = format!("{section}\n");
    let section = README.split("\n## ").find(|text| text.starts_with(&head)).expect("the section");
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

/// A gateway that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = (self.0.kill(), self.0.wait());
    }
}

/// A shell that ends at the first line that fails, and finds the program by its name.
fn shell(script: &str, folder: &Path) -> Command {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).current_dir(folder).env("PATH", path).stdin(Stdio::null());
    shell
}

/// Every line of the walk is run as it stands; only the two ports are this test's own.
#[test]
fn the_walk_in_front_of_a_server_leads_to_a_call_with_curl() {
    let [server, gateway, agent] =
        blocks_of("In front of a server of your own", "sh").try_into().expect("a server, a gateway, an agent");
    assert!(server.contains("--package portcullis-upstreams --bin crm -- --port 9000 --database /tmp/crm.sqlite\n"));
    let (crm, address, folder) = (Crm::start(), fresh_address().to_string(), tempfile::tempdir().unwrap());
    let ports =
        format!("sed -i 's#http://127.0.0.1:9000/mcp#{}#; s#127.0.0.1:8080#{address}#' portcullis.toml", crm.url());
    let (init, rest) = gateway.split_once('\n').unwrap();
    let (rest, last) = rest.trim_end().rsplit_once('\n').unwrap();
    assert!(init.starts_with("portcullis init edge && cd edge ") && last.starts_with("portcullis run "), "{gateway}");
    let script = format!("{init}\n{ports}\n{rest}\nexec {last}");
    let log = folder.path().join("gateway.log");
    let mut walk = shell(&script, folder.path());
    walk.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut running = Running(walk.spawn().expect("a shell"));
    let edge = folder.path().join("edge");
    let status = |words: &[&str]| Command::new(binary()).args(words).current_dir(&edge).output();
    let start = Instant::now();
    while !(edge.is_dir() && status(&["status"]).is_ok_and(|output| output.status.success())) {
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(running.0.try_wait().unwrap().is_none(), "the walk ended before the gateway served\n{}", said());
        assert!(start.elapsed() < CEILING, "the gateway does not serve");
        std::thread::park_timeout(Duration::from_millis(25));
    }
    let output = shell(&agent.replace("127.0.0.1:8080", &address), &edge).output().expect("a shell");
    assert!(output.status.success(), "{}", page(&output));
    let answers: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line)).ok())
        .filter(Value::is_object)
        .collect();
    assert_eq!(answers.len(), 2, "{}", page(&output));
    assert!(answers[0]["result"]["tools"].as_array().is_some_and(|tools| tools.len() == 3), "{}", page(&output));
    assert!(
        answers[1]["result"]["structuredContent"]["rows"].as_array().is_some_and(|rows| !rows.is_empty()),
        "{}",
        page(&output)
    );
    let said = page(&output);
    for part in [
        "ALLOW example-bot crm.read_table {\"table\":\"customers\"}",
        "agent `example-bot` is suspended",
        "agent `example-bot` is active",
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

#[test]
fn the_readmes_configuration_reads_as_it_is_written() {
    let issuers = blocks_of("Tokens", "toml").concat();
    let [config, agents] = blocks_of("Configuration at a glance", "toml").try_into().expect("configuration and agents");
    let read = |text: &str| portcullis_core::config::parse(text, "portcullis.toml", Path::new("/etc/portcullis"));
    for text in [config.to_owned(), format!("{issuers}[server.crm]\nurl = \"http://127.0.0.1:9000/mcp\"\n")] {
        let found = read(&text).unwrap_or_else(|findings| panic!("{findings:?}")).1;
        assert!(found.is_empty(), "{found:?}");
    }
    let registry = portcullis_core::identity::registry::Registry::parse(agents, "agents.toml");
    let registry = registry.unwrap_or_else(|findings| panic!("{findings:?}"));
    assert!(registry.unknown_issuers(&["okta"], "agents.toml").is_empty());
}
