//! A gateway's log, seen by a witness on its way: what was cosigned is kept, and a log that was put back to an older state is told from one that grew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use portcullis_tests::audit;
use portcullis_tests::gateway::{self, Gateway};
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::Upstream;
use portcullis_tests::{CEILING, mcp};
use portcullis_tlog::note::{Kind, NoteSigner};
use serde_json::json;
use tempfile::TempDir;

use crate::tlog::{Served, ours};

/// Between two looks at a file.
const LOOK: Duration = Duration::from_millis(5);

fn upstream() -> Upstream {
    Upstream::calls(|request, wire| {
        wire.result(request, mcp::text_result("done"));
    })
}

fn call(gateway: &Gateway) {
    assert_eq!(gateway.answer(&gateway.call("reader", "loose", json!({}))).status(), 200);
}

fn log(gateway: &Gateway) -> PathBuf {
    gateway.audit_folder().join("logs/0000")
}

/// Ends a gateway as an operator does; what it said.
#[track_caller]
fn ended(gateway: &mut Gateway) -> String {
    gateway.terminate();
    assert!(gateway.ended().success());
    gateway.log()
}

/// The line of `[audit]` that names a witness.
fn named(authority: &str, key: &str) -> String {
    format!("witnesses = [{{ name = \"north\", url = \"http://{authority}\", key = \"{key}\" }}]")
}

/// Names a witness in the configuration of a gateway.
fn name(gateway: &Gateway, served: &Served) {
    let witness = named(&served.witness.url.authority, &served.witness.key);
    let file = gateway.folder().join("portcullis.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[audit]\n", &format!("[audit]\n{witness}\n"))).unwrap();
}

/// Waits until the witness has seen all that is recorded; the file that says so.
#[track_caller]
fn witnessed(gateway: &Gateway) -> PathBuf {
    let entries = audit::verify_whole(&gateway.audit_folder());
    let file = log(gateway).join("checkpoint.witnessed");
    let start = Instant::now();
    loop {
        let seen = fs::read_to_string(&file).unwrap_or_default();
        if seen.lines().nth(1) == Some(&entries.to_string()) {
            return file;
        }
        assert!(start.elapsed() < CEILING, "{entries} entries, and witnessed is\n{seen}\n{}", gateway.log());
        std::thread::park_timeout(LOOK);
    }
}

/// The key of some other log.
fn log_key() -> String {
    NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap().verifier().to_string()
}

fn verify(folder: &Path, words: &[&str]) -> Output {
    let verifier = gateway::built("portcullis-tlog", "portcullis-verify").expect("the verifier builds");
    let mut command = Command::new(verifier);
    command.args(["log", "--key"]).arg(folder.join("log.pub")).args(words).arg(folder).output().unwrap()
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copied(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

#[test]
fn a_log_that_was_put_back_goes_on_unseen_by_itself_and_not_by_its_witness() {
    let (upstream, scene) = (upstream(), TempDir::new().unwrap());
    let mut gateway = Setup::open(&upstream).start();
    call(&gateway);
    ended(&mut gateway);
    let older = scene.path().join("older");
    copied(&gateway.audit_folder(), &older);

    let key = fs::read_to_string(log(&gateway).join("log.pub")).unwrap();
    let served = ours(scene.path(), &key);
    name(&gateway, &served);
    let mut gateway = gateway.restart();
    call(&gateway);
    let file = witnessed(&gateway);
    let seen = scene.path().join("seen");
    fs::copy(&file, &seen).unwrap();
    // Whoever demands the witness gets its word for all of it.
    let told = verify(&log(&gateway), &["--witness", &served.witness.key]);
    assert!(told.status.success(), "{told:?}");
    ended(&mut gateway);

    fs::remove_dir_all(gateway.audit_folder()).unwrap();
    copied(&older, &gateway.audit_folder());
    let mut gateway = gateway.restart();
    for _ in 0..3 {
        call(&gateway);
    }
    audit::verify_whole(&gateway.audit_folder());
    let said = ended(&mut gateway);
    assert!(said.contains("the witness cosigned what this log does not show"), "{said}");
    // By itself it is sound; held against what was witnessed it is not.
    let alone = verify(&log(&gateway), &[]);
    assert!(alone.status.success(), "{alone:?}");
    let held = verify(&log(&gateway), &["--witness", &served.witness.key, "--witnessed", seen.to_str().unwrap()]);
    assert_eq!(held.status.code(), Some(1), "{held:?}");
}

#[test]
fn a_witness_that_cannot_be_one_is_refused_before_anything_starts() {
    let upstream = upstream();
    let of_a_log = log_key();
    for (key, expected) in [("w+0+A", "witness `north`: "), (&*of_a_log, "the key is that of a log, not of a witness")]
    {
        let output = Setup::open(&upstream).audit(&named("127.0.0.1:1", key)).refused();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("portcullis.toml: ") && said.contains(expected), "{said}");
        assert!(said.contains("as `portcullis witness` tells it"), "{said}");
    }
}

#[test]
fn calls_go_on_while_no_witness_answers() {
    let upstream = upstream();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = TempDir::new().unwrap();
    let served = ours(scene.path(), &log_key());
    let witness = named(&closed.to_string(), &served.witness.key);
    drop(served);
    let mut gateway = Setup::open(&upstream).audit(&witness).start();
    call(&gateway);
    audit::verify_whole(&gateway.audit_folder());
    let said = ended(&mut gateway);
    assert!(said.contains("the log was not cosigned"), "{said}");
}
