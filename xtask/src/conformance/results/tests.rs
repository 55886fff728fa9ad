use serde_json::json;

use super::{Check, Requirements, Results, Verdict, judged, scenario_name};

#[track_caller]
fn check_verdict(checks: &[(&str, &str)], expected: Verdict) {
    let checks: Vec<Check> = checks
        .iter()
        .map(|(id, status)| Check { id: (*id).to_owned(), status: (*status).to_owned(), error_message: None })
        .collect();
    assert_eq!(judged(&checks).verdict, expected);
}

#[test]
fn a_scenario_that_checked_nothing_has_not_passed() {
    check_verdict(&[], Verdict::Vacuous);
    check_verdict(&[("wire-schema-valid", "SUCCESS")], Verdict::Vacuous);
    check_verdict(&[("wire-schema-valid", "SUCCESS"), ("tools-list", "INFO")], Verdict::Vacuous);
    check_verdict(&[("wire-schema-valid", "SUCCESS"), ("tools-list", "WARNING")], Verdict::Vacuous);
    check_verdict(&[("tasks-status", "SKIPPED")], Verdict::Skipped);
}

#[test]
fn one_failed_check_fails_a_scenario() {
    check_verdict(&[("tools-list", "SUCCESS"), ("wire-schema-valid", "FAILURE")], Verdict::Failed);
}

#[test]
fn a_scenario_passes_by_a_check_of_its_own() {
    check_verdict(&[("tools-list", "SUCCESS"), ("wire-schema-valid", "SUCCESS"), ("x", "WARNING")], Verdict::Passed);
}

#[test]
fn only_the_server_leg_of_the_frozen_list_is_read() {
    let yaml = "# server:\nserver:\n  - ping\n  - tools-list\n\nclient:\n  - tools_call\n\nnot_scored:\n  - scenario: auth/dpop\n    leg: client\n  - scenario: tasks-lifecycle\n    leg: server\n    note: >-\n      later\n";
    let Requirements::Frozen { scored, unscored } = Requirements::frozen(yaml) else { panic!("not a frozen list") };
    assert_eq!(
        (scored, unscored),
        (vec!["ping".to_owned(), "tools-list".to_owned()], vec!["tasks-lifecycle".to_owned()])
    );
}

#[test]
fn the_scenario_is_found_in_the_name_of_its_folder() {
    for (folder, expected) in [
        ("runner.log", None),
        ("server-", None),
        ("server-ping-2026", None),
        ("server-server-sse-polling-2026-11-23T06-59-18-380Z", Some("server-sse-polling")),
    ] {
        assert_eq!(scenario_name(folder), expected, "{folder}");
    }
}

fn results(scenarios: &[(&str, &str)], scored: &[&str]) -> Results {
    let folder = std::env::temp_dir().join(format!("portcullis-results-{}-{}", std::process::id(), scored.join("+")));
    for (name, status) in scenarios {
        let one = folder.join(format!("server-{name}-2026-11-23T06-59-18-380Z"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::write(one.join("checks.json"), json!([{"id": name, "status": status}]).to_string()).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    let scored = scored.iter().map(|name| (*name).to_owned()).collect();
    let results = Results::read(&folder, &Requirements::Frozen { scored, unscored: Vec::new() }).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    results
}

#[test]
fn a_scored_scenario_that_did_not_run_is_a_fault() {
    let fault = results(&[("ping", "SUCCESS")], &["ping", "tools-list"]).fault();
    assert_eq!(fault.as_deref(), Some("1 of the scenarios (2 scored) did not pass: tools-list"));
}

#[test]
fn a_runner_that_fails_is_a_fault_even_without_a_failed_check() {
    let results = results(&[("ping", "SUCCESS")], &["ping"]);
    assert_eq!(results.fault(), None);
    let fault = results.judged_by_runner(false).fault();
    assert_eq!(fault.as_deref(), Some("the runner failed although every scenario passed"));
}
