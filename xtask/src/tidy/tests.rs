//! Each rule fires on its own fixture, at the lines the fixture names, and not on the good one beside it.

use std::fs;
use std::path::PathBuf;

use super::Rule;
use super::source::Tree;

fn fixtures(rule: Rule) -> PathBuf {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    PathBuf::from(package).join("fixtures/tidy").join(rule.name())
}

/// The findings of `rule` over one fixture, as `path:line`.
fn check(rule: Rule, which: &str, expected: &[String]) {
    let tree = Tree::read(&fixtures(rule).join(which)).unwrap();
    let found: Vec<String> =
        rule.findings(&tree).iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect();
    assert_eq!(found, expected, "rule `{}` over the fixture `{which}`", rule.name());
}

#[test]
fn every_rule_fires_on_its_own_fixture_at_the_lines_it_names() {
    for rule in Rule::ALL {
        let expected = fs::read_to_string(fixtures(rule).join("expected")).unwrap();
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        assert!(!expected.is_empty(), "rule `{}` has a fixture that expects nothing", rule.name());
        check(rule, "bad", &expected);
    }
}

#[test]
fn no_rule_fires_on_its_good_fixture() {
    for rule in Rule::ALL {
        check(rule, "good", &[]);
    }
}

#[test]
fn an_exception_without_a_reason_excepts_nothing() {
    let tree = Tree::read(&fixtures(Rule::Marker).join("bad")).unwrap();
    let excused = tree.files.iter().any(|source| source.text.contains("tidy: allow(marker)"));
    assert!(excused, "the fixture holds an exception without a reason, and `expected` names its line");
}

#[test]
fn a_finding_names_place_rule_cause_and_cure() {
    let tree = Tree::read(&fixtures(Rule::Unwrap).join("bad")).unwrap();
    let line = Rule::Unwrap.findings(&tree).first().unwrap().to_string();
    assert_eq!(
        line,
        "gateway/src/main.rs:2: unwrap: `.unwrap()` in product code; use `let-else`, `?` or a named error"
    );
}
