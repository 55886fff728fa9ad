//! Proofs about rules: what is proved holds, what is refuted is shown by a call that really breaks it, and a solver is never believed without a test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use portcullis_tests::gateway::binary;
use portcullis_tests::mcp::tool;
use portcullis_tests::setup::{Setup, fresh_address, put};
use serde_json::{Value, json};
use tempfile::TempDir;

mod random;

/// z3 from the Python package, installed once a machine.
fn z3() -> &'static Path {
    static Z3: OnceLock<PathBuf> = OnceLock::new();
    Z3.get_or_init(|| xtask::tools::z3().expect("z3 installs"))
}

/// The demo's agents and tools, with these rules.
fn demo(rules: &[&str]) -> Setup {
    let text = json!({"type": "string"});
    let schema = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let tools = [
        tool("read_table", schema(json!({"table": text, "limit": {"type": "integer"}}), json!(["table"]))),
        tool("write_table", schema(json!({"table": text, "row": {"type": "object"}}), json!(["table", "row"]))),
        tool("run_sql", schema(json!({"sql": text}), json!(["sql"]))),
    ];
    let setup =
        Setup::default().agent("support-bot", "groups = [\"support\"]").agent("finance-bot", "groups = [\"finance\"]");
    let setup = setup.server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &tools);
    rules.iter().fold(setup, |setup, rules| setup.policy(rules))
}

/// The demo's rules; the hours are those of an office.
fn rules() -> [String; 3] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/policies");
    let text = |name: &str| fs::read_to_string(folder.join(name)).expect("a file of the demo");
    [
        text("finance.cedar"),
        text("hours.cedar.in").replace("@FROM@", "8").replace("@UNTIL@", "18"),
        text("support.cedar"),
    ]
}

/// A folder with a configuration and, in `invariants.toml`, what must hold.
fn folder(setup: &Setup, invariants: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().expect("a folder");
    setup.write(folder.path(), fresh_address());
    put(folder.path(), "invariants.toml", invariants);
    folder
}

fn run(folder: &Path, solver: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["policy", "prove", "--solver"]).arg(solver).args(more).current_dir(folder);
    command.output().expect("the program runs")
}

/// What `policy prove --json` comes to: its exit code, and what it says.
#[track_caller]
fn proved(setup: &Setup, invariants: &str) -> (i32, Value) {
    let folder = folder(setup, invariants);
    answer(&run(folder.path(), z3(), &["invariants.toml", "--json"]))
}

#[track_caller]
fn answer(output: &Output) -> (i32, Value) {
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().expect("an exit code"), said)
}

/// One invariant over the demo's rules: its verdict, and the call that refutes it.
#[track_caller]
fn check(rules: &[&str], invariant: &str, verdict: &str) -> Value {
    let (code, said) = proved(&demo(rules), &format!("[[invariant]]\nname = \"it\"\n{invariant}\n"));
    let found = &said["invariants"][0];
    assert_eq!(found["verdict"], verdict, "given {invariant}\n{said:#}");
    let expected = match verdict {
        "proved" => 0,
        "refuted" => 1,
        _ => 2,
    };
    assert_eq!(code, expected, "{said:#}");
    found["counterexamples"].get(0).cloned().unwrap_or_default()
}

#[test]
fn what_the_demos_rules_promise_is_proved() {
    let rules = rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    for invariant in [
        r#"never = 'permit (principal in Group::"support", action == Action::"crm.run_sql", resource);'"#,
        r#"never = 'permit (principal, action == Action::"crm.read_table", resource) when { context.input.table == "financials" } unless { principal in Group::"finance" };'"#,
        r#"never = 'permit (principal, action, resource) unless { principal in Group::"finance" || principal in Group::"support" };'"#,
        r#"never = 'permit (principal, action == Action::"crm.write_table", resource) unless { context.now.toTime() >= duration("8h") && context.now.toTime() < duration("18h") };'"#,
        r#"never = 'permit (principal, action == Action::"crm.write_table", resource) when { context.input.table != "orders" };'"#,
        r#"always = 'permit (principal in Group::"support", action == Action::"crm.read_table", resource) when { context.input.table == "orders" };'"#,
        "agents = \"registered\"\nnever = 'permit (principal in Group::\"finance\", action == Action::\"crm.write_table\", resource);'",
        "agents = \"registered\"\nalways = 'permit (principal in Group::\"finance\", action == Action::\"crm.run_sql\", resource);'",
        r#"never-errors = "rules""#,
        r#"no-more-than = "policies""#,
    ] {
        check(&rules, invariant, "proved");
    }
}

#[test]
fn what_does_not_hold_is_refuted_by_a_call() {
    let rules = rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let reads = check(
        &rules,
        r#"never = 'permit (principal in Group::"support", action == Action::"crm.read_table", resource);'"#,
        "refuted",
    );
    assert_eq!(
        (&reads["agent"], &reads["registered"], &reads["action"]),
        (&json!("support-bot"), &json!(true), &json!("crm.read_table"))
    );
    let table = reads["arguments"]["table"].as_str().expect("a table");
    assert!(["customers", "orders"].contains(&table), "{reads:#}");
    assert_eq!(reads["outcome"], json!("permitted by 02.cedar:4"));
    // Nobody is in both groups today; the rules alone do not rule it out.
    let both = check(
        &rules,
        r#"never = 'permit (principal in Group::"finance", action == Action::"crm.write_table", resource);'"#,
        "refuted",
    );
    assert_eq!((&both["groups"], &both["registered"]), (&json!(["finance", "support"]), &json!(false)), "{both:#}");
    let both = check(
        &rules,
        r#"always = 'permit (principal in Group::"finance", action == Action::"crm.run_sql", resource);'"#,
        "refuted",
    );
    assert_eq!(both["groups"], json!(["finance", "support"]), "{both:#}");
    assert!(both["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("denied by 02.cedar")), "{both:#}");
    let late = check(
        &rules,
        r#"always = 'permit (principal in Group::"support", action == Action::"crm.write_table", resource) when { context.input.table == "orders" };'"#,
        "refuted",
    );
    let hour: u32 =
        late["now"].as_str().and_then(|now| now.get(11..13)).and_then(|hour| hour.parse().ok()).expect("an hour");
    assert!(!(8..18).contains(&hour), "{late:#}");
}

#[test]
fn a_rule_that_is_weakened_turns_a_proof_into_a_refutation() {
    let [finance, hours, support] = rules();
    let wider = support.replace("\"orders\"].contains", "\"orders\", \"financials\"].contains");
    let unbound = support.split("// Never SQL").next().expect("the rules before").to_owned();
    let never_sql = r#"never = 'permit (principal in Group::"support", action == Action::"crm.run_sql", resource);'"#;
    let never_financials = r#"never = 'permit (principal, action == Action::"crm.read_table", resource) when { context.input.table == "financials" } unless { principal in Group::"finance" };'"#;
    check(&[&finance, &hours, &support], never_financials, "proved");
    let read = check(&[&finance, &hours, &wider], never_financials, "refuted");
    assert_eq!(
        (&read["arguments"]["table"], &read["agent"]),
        (&json!("financials"), &json!("support-bot")),
        "{read:#}"
    );
    check(&[&finance, &hours, &support], never_sql, "proved");
    check(&[&finance, &hours, &unbound], never_sql, "refuted");
    check(
        &[&finance, &unbound],
        r#"never = 'permit (principal, action == Action::"crm.write_table", resource) when { context.now.toTime() < duration("8h") };'"#,
        "refuted",
    );
}

#[test]
fn a_forbid_that_fails_denies_in_proofs_as_in_the_gateway() {
    const RULES: &str = r#"
        @id("read") permit (principal, action == Action::"crm.read_table", resource);
        @id("sum") forbid (principal, action == Action::"crm.read_table", resource) when { context.input has limit && context.input.limit + 1 > 100 };
        @id("own") forbid (principal, action == Action::"crm.run_sql", resource) when { context.account == "closed" };
        @id("sql") permit (principal, action == Action::"crm.run_sql", resource);"#;
    // Cedar itself would skip the forbid there and permit.
    check(
        &[RULES],
        r#"never = 'permit (principal, action == Action::"crm.read_table", resource) when { context.input has limit && context.input.limit == 9223372036854775807 };'"#,
        "proved",
    );
    let failed = check(&[RULES], r#"never-errors = "forbids""#, "refuted");
    assert_eq!(failed["arguments"]["limit"], json!(i64::MAX), "{failed:#}");
    assert_eq!(failed["outcome"], json!("denied by sum (rule_error); rule `sum` fails"));
    let only = RULES.replace("limit + 1 > 100", "limit > 100");
    let absent = check(&[&only], r#"never-errors = "forbids""#, "refuted");
    assert_eq!((&absent["account"], &absent["action"]), (&Value::Null, &json!("crm.run_sql")), "{absent:#}");
    check(
        &[&only],
        r#"never = 'permit (principal, action == Action::"crm.run_sql", resource) when { context has account && context.account == "closed" };'"#,
        "proved",
    );
}

#[test]
fn a_change_is_shown_as_what_it_newly_permits_and_denies() {
    let [finance, hours, support] = rules();
    let before = demo(&[&finance, &hours, &support]);
    let folder = folder(&before, "");
    let old = folder.path().join("old");
    fs::rename(folder.path().join("policies"), &old).expect("a rename");
    fs::create_dir(folder.path().join("policies")).expect("a folder");
    let changed = support.replace("\"orders\"].contains", "\"invoices\"].contains");
    for (name, text) in [("00.cedar", &finance), ("01.cedar", &hours), ("02.cedar", &changed)] {
        put(folder.path(), &format!("policies/{name}"), text);
    }
    let (code, said) = answer(&run(folder.path(), z3(), &["--against", "old", "--json"]));
    assert_eq!(code, 1, "{said:#}");
    let case = |at: usize| &said["invariants"][at]["counterexamples"][0];
    assert_eq!(
        (&case(0)["arguments"]["table"], &case(0)["agent"]),
        (&json!("invoices"), &json!("support-bot")),
        "{said:#}"
    );
    assert_eq!(
        (&case(1)["arguments"]["table"], &case(1)["agent"]),
        (&json!("orders"), &json!("support-bot")),
        "{said:#}"
    );
    let (code, said) = answer(&run(folder.path(), z3(), &["--against", "policies", "--json"]));
    assert_eq!((code, &said["proved"]), (0, &json!(2)), "{said:#}");
    let nowhere = run(folder.path(), z3(), &["--against", "nowhere"]);
    let cure = "nowhere: the folder of rules cannot be read: No such file or directory (os error 2); `--against` takes a folder of `.cedar` files, or the number of a version that served";
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains(cure), "{nowhere:?}");
    let unread = run(folder.path(), z3(), &["none.toml"]);
    let cure =
        "none.toml: the file does not exist; name a file of invariants; `portcullis policy prove --help` shows one";
    assert!(String::from_utf8_lossy(&unread.stderr).contains(cure), "{unread:?}");
    let unkept = run(folder.path(), z3(), &["--against", "7"]);
    assert_eq!(unkept.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unkept.stderr).contains("version 7 is not kept"));
}

#[test]
fn facts_that_follow_from_the_call_are_fitted_to_it() {
    const RULES: &str = r#"
        @id("ask") permit (principal, action == Action::"crm.run_sql", resource) when { context.sql.kinds == ["select"] && ["customers", "orders"].containsAll(context.sql.tables) };
        @id("open") permit (principal, action == Action::"crm.read_table", resource) when { context.calendars.contains("office") };"#;
    let setup = demo(&[RULES]).tool("crm.run_sql", "sql = { argument = \"/sql\", dialect = \"sqlite\" }");
    let office = "[calendar.office]\nzone = \"Europe/Berlin\"\nwindows = [{ days = [\"mon-fri\"], from = \"09:00\", to = \"17:00\" }]\n";
    let setup = setup.calendars(office);
    let check = |invariant: &str, verdict: &str| {
        let (_, said) = proved(&setup, &format!("[[invariant]]\nname = \"it\"\n{invariant}\n"));
        assert_eq!(said["invariants"][0]["verdict"], verdict, "given {invariant}\n{said:#}");
        said["invariants"][0]["counterexamples"].get(0).cloned().unwrap_or_default()
    };
    check(
        r#"never = 'permit (principal, action == Action::"crm.run_sql", resource) when { context.sql.kinds.contains("delete") };'"#,
        "proved",
    );
    check(
        r#"never = 'permit (principal, action == Action::"crm.read_table", resource) unless { context.calendars.contains("office") };'"#,
        "proved",
    );
    let read = check(
        r#"never = 'permit (principal, action == Action::"crm.run_sql", resource) when { context.sql.tables.contains("orders") };'"#,
        "refuted",
    );
    assert!(read["arguments"]["sql"].as_str().is_some_and(|sql| sql.contains("orders")), "{read:#}");
    let read = check(r#"never = 'permit (principal, action == Action::"crm.read_table", resource);'"#, "refuted");
    assert_eq!(read["outcome"], json!("permitted by open"), "{read:#}");
}

/// A program in the place of the solver.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("z3");
    fs::write(&path, format!("#!/bin/sh\n{}\n", text.replace("Z3", z3().to_str().expect("a path in UTF-8"))))
        .expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    path
}

#[test]
fn a_solver_that_is_absent_or_lies_proves_nothing() {
    const NEVER: &str = "[[invariant]]\nname = \"it\"\nnever = 'permit (principal in Group::\"support\", action == Action::\"crm.read_table\", resource);'\n";
    let rules = rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let folder = folder(&demo(&rules), NEVER);
    for (program, expected) in [
        // Says `unsat` to everything, from the start or once it saw a question about rules.
        ("Z3 \"$@\" | sed -u 's/^sat$/unsat/'", "answers `unsat` where `sat` is known"),
        ("sed -u 's/^(check-sat)$/(assert false)(check-sat)/' | Z3 \"$@\"", "answers `unsat` where `sat` is known"),
        (
            "sed -u '/Datetime/,/never seen/ s/^(check-sat)$/(assert false)(check-sat)/' | Z3 \"$@\"",
            "answers `unsat` where `sat` is known",
        ),
        ("exit 0", "ended in the middle"),
        // Fails or falls silent at the first question about rules.
        ("sed -u '/Datetime/q' | Z3 \"$@\"", "ended in the middle of an answer"),
        ("sed -u '/Datetime/,/never seen/d' | Z3 \"$@\"", "no answer within 2 s"),
        (
            "sed -u 's/^(declare-datatype Datetime/(declare-datatype Datetime)&/' | Z3 \"$@\"",
            "unrecognized solver output",
        ),
    ] {
        let solver = script(folder.path(), program);
        let output = run(folder.path(), &solver, &["invariants.toml", "--timeout", "2"]);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "given {program}\n{said}");
        assert!(said.contains(expected), "given {program}\n{said}");
        assert!(!said.contains("proved  "), "given {program}\n{said}");
    }
    let mut command = Command::new(binary());
    let output =
        command.args(["policy", "prove", "invariants.toml"]).current_dir(folder.path()).env("PATH", "/nowhere");
    let output = output.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no SMT solver on the path") && said.contains("pip install z3-solver"), "{said}");
}

#[test]
fn an_invariant_is_checked_as_rules_are() {
    let rules = rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    for (invariant, expected) in [
        (
            "never = 'permit (principal in Group::\"suport\", action, resource);'",
            "invariants.toml:3: unknown group `suport`; did you mean `support`?",
        ),
        (
            "never = '''\npermit (principal,\n  action == Action::\"crm.reed_table\", resource);'''",
            "invariants.toml:5: unknown tool `reed_table` on server `crm`; did you mean `read_table`?",
        ),
        (
            "never = 'forbid (principal, action, resource);'",
            "invariants.toml:3: an invariant is written as `permit`, not as `forbid`; it names the calls that are meant and permits none of them",
        ),
        ("never = ''", "invariants.toml: an invariant names no calls; write them as a `permit`"),
        (
            "no-more-than = \"nowhere\"",
            "invariants.toml:1: `no-more-than` of this invariant: nowhere: the folder of rules cannot be read: No such file or directory (os error 2); name a folder of `.cedar` files",
        ),
        (
            "always = 'permit (principal, action == Action::\"crm.run_sql\", resource) when { context.input.table == \"a\" };'",
            "invariants.toml:3: unknown argument `/table` of tool `crm.run_sql`",
        ),
    ] {
        let folder = folder(&demo(&rules), &format!("[[invariant]]\nname = \"it\"\n{invariant}\n"));
        let output = run(folder.path(), z3(), &["invariants.toml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "given {invariant}\n{said}");
    }
    check(&rules, r#"never = 'permit (principal, action == Action::"connect", resource);'"#, "undecided");
}
