use super::*;
use crate::prove::Prover;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// What becomes of a session with a solver that does this: `ok`, or why it is not believed.
fn check(script: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("z3");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let program = Program::find(Some(&path)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = runtime.block_on(Prover::start(program, Duration::from_secs(2)));
    let got = match started {
        Ok(_) => "ok".to_owned(),
        Err(failure) => failure.message.split_once("relied on: ").unwrap().1.to_owned(),
    };
    assert_eq!(got, expected, "{script}");
}

/// Echoes what it is told to, and answers every question with a word.
fn always(word: &str) -> String {
    format!(
        "while read -r line; do case $line in '(echo '*) echo \"$line\" | sed 's/(echo \"\\(.*\\)\")/\\1/' ;; '(check-sat)') echo '{word}' ;; esac; done"
    )
}

#[test]
fn a_solver_that_lies_crashes_or_hangs_is_not_believed() {
    check(&always("unsat"), "it answers `unsat` where `sat` is known");
    check(&always("sat"), "it answers `sat` where `unsat` is known");
    check(&always("unknown"), "it answers `unknown` where `sat` is known");
    check(&always("sat\nunsat"), "it answers `sat` where `sat` is known");
    check(
        &always("(error \"line 3: unknown constant set.in\")"),
        "it answers `(error \"line 3: unknown constant set.in\")` where `sat` is known",
    );
    check("yes unsat", "it says `unsat`");
    check("exit 3", "it ended in the middle of an answer");
    check("echo unsat", "it says `unsat`");
    check("printf unsat; exit 0", "it ended in the middle of an answer");
    check("while read -r line; do :; done", "it does not answer");
}

#[test]
fn a_solver_that_is_not_there_is_named_with_the_cure() {
    let failure = Program::find(Some(Path::new("/nowhere/z3"))).unwrap_err();
    assert_eq!(failure.message, "there is no solver `/nowhere/z3`");
    assert!(failure.help.unwrap().contains("pip install z3-solver"));
    let failure = Program::find(Some(Path::new("no-such-solver-anywhere"))).unwrap_err();
    assert_eq!(failure.message, "there is no solver `no-such-solver-anywhere`");
}

#[test]
fn a_name_tells_the_spelling() {
    let folder = tempfile::tempdir().unwrap();
    for (name, dialect) in [("cvc5-1.3", Dialect::Cvc5), ("z3", Dialect::Z3), ("solver", Dialect::Z3)] {
        let path = folder.path().join(name);
        fs::write(&path, "").unwrap();
        assert_eq!(Program::find(Some(&path)).unwrap().dialect, dialect, "{name}");
    }
}
