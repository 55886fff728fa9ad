//! The stand-alone verifier as a third party runs it: a folder, a key, an exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::evidence::Evidence;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::proof::{self, Nodes};
use portcullis_tlog::tile::Node;
use portcullis_tlog::tree::Hash;
use tempfile::TempDir;

const SIZE: u64 = 1000;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

struct OnDisk<'f>(&'f Path);

impl Nodes for OnDisk<'_> {
    type Error = std::io::Error;

    fn node(&mut self, node: Node) -> Result<Hash, Self::Error> {
        let tile = node.tile(SIZE).unwrap();
        Ok(node.hash(&fs::read(self.0.join(tile.path()))?).unwrap())
    }
}

/// A log on disk, the key as text, a proof of entry 700 and the entry.
struct Scene {
    folder: TempDir,
    key: String,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut growth = Growth::default();
        (0..SIZE).for_each(|index| assert_eq!(growth.append(&entry(index)), Ok(index)));
        for asset in growth.take() {
            let path = log.join(asset.tile.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, asset.bytes).unwrap();
        }
        let signer = NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap();
        let checkpoint = Checkpoint { origin: "example.com/log".to_owned(), head: growth.head() }.sign(&signer);
        fs::write(log.join("checkpoint"), &checkpoint).unwrap();
        let proof = proof::inclusion(&mut OnDisk(&log), 700, SIZE).unwrap();
        let evidence = Evidence { index: 700, proof, checkpoint };
        fs::write(folder.path().join("700.tlog-proof"), evidence.to_string()).unwrap();
        fs::write(folder.path().join("entry"), entry(700)).unwrap();
        let key = signer.verifier().to_string();
        fs::write(folder.path().join("log.key"), format!("{key}\n")).unwrap();
        Self { folder, key }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut verifier = Command::new(env!("CARGO_BIN_EXE_portcullis-verify"));
        verifier.current_dir(self.folder.path()).args(arguments).output().unwrap()
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], status: i32, says: &str) {
        let output = self.run(arguments);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
}

#[test]
fn what_cannot_be_checked_is_told_apart_from_what_is_wrong() {
    let scene = Scene::new();
    scene.check(&[], 2, "Usage");
    scene.check(&["log", "--key", &scene.key], 2, "Usage");
    scene.check(&["log", "--key", "no.key", "log"], 2, "the key file `no.key`");
    scene.check(&["log", "--key", &scene.key.replace("example", "sample"), "log"], 2, "the ID within the key");
    scene.check(&["log", "--key", &scene.key, "nowhere"], 2, "`nowhere` is no folder");
    scene.check(&["entry", "--key", &scene.key, "--proof", "none", "entry"], 2, "the proof `none`");
    scene.check(&["entry", "--key", &scene.key, "--proof", "700.tlog-proof", "none"], 2, "the entry `none`");
    scene.check(&["--help"], 0, "Exit status");
}

#[test]
fn a_log_that_was_tampered_with_fails_with_the_first_bad_index() {
    let scene = Scene::new();
    let bundle = scene.folder.path().join("log/tile/entries/001");
    let good = fs::read(&bundle).unwrap();
    let changed = String::from_utf8_lossy(&good).replace("entry 300", "entry 3o0");
    fs::write(&bundle, changed).unwrap();
    scene.check(&["log", "--key", "log.key", "log"], 1, "first bad index: 300");
    fs::remove_file(&bundle).unwrap();
    scene.check(&["log", "--key", "log.key", "log"], 1, "`tile/entries/001` is missing");
    fs::write(&bundle, good).unwrap();
    fs::remove_file(scene.folder.path().join("log/checkpoint")).unwrap();
    scene.check(&["log", "--key", "log.key", "log"], 1, "there is no `checkpoint`");
    fs::write(scene.folder.path().join("entry"), "another").unwrap();
    scene.check(&["entry", "--key", "log.key", "--proof", "700.tlog-proof", "entry"], 1, "does not hold this entry");
    fs::write(scene.folder.path().join("700.tlog-proof"), "nothing\n").unwrap();
    scene.check(&["entry", "--key", "log.key", "--proof", "700.tlog-proof", "entry"], 1, "it is no `c2sp.org");
}

#[test]
fn a_log_and_an_entry_of_it_are_found_right_by_key_and_by_key_file() {
    let scene = Scene::new();
    for key in [scene.key.as_str(), "log.key"] {
        scene.check(&["log", "--key", key, "log"], 0, "ok: 1000 entries, 8890 bytes, as `example.com/log` signed them");
        scene.check(&["entry", "--key", key, "--proof", "700.tlog-proof", "entry"], 0, "ok: entry 700 of 1000");
    }
}

/// Logs that follow each other: 0000 with the key of `Scene`, 0001 with another, and the key of that one.
fn followed(scene: &Scene) -> String {
    let logs = scene.folder.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    fs::rename(scene.folder.path().join("log"), logs.join("0000")).unwrap();
    let signer = NoteSigner::new("example.com/log/1", Kind::Signature, &[8; 32]).unwrap();
    let mut growth = Growth::default();
    growth.append(&fs::read(logs.join("0000/checkpoint")).unwrap()).unwrap();
    (0..300).for_each(|index| assert!(growth.append(&entry(index)).is_ok()));
    for asset in growth.take() {
        let path = logs.join("0001").join(asset.tile.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, asset.bytes).unwrap();
    }
    let checkpoint = Checkpoint { origin: "example.com/log/1".to_owned(), head: growth.head() }.sign(&signer);
    fs::write(logs.join("0001/checkpoint"), checkpoint).unwrap();
    signer.verifier().to_string()
}

#[test]
fn logs_that_follow_each_other_are_vouched_for_by_the_newest_key() {
    let scene = Scene::new();
    let key = followed(&scene);
    scene.check(&["logs", "--key", &key, "logs"], 2, "no key was given of the log `0000`");
    fs::copy(scene.folder.path().join("log.key"), scene.folder.path().join("logs/0000/log.pub")).unwrap();
    scene.check(&["logs", "--key", &key, "logs"], 0, "ok: 2 logs");
    scene.check(&["logs", "--key", &key, "--key", &scene.key, "logs"], 0, "0001: 301 entries");
    scene.check(&["logs", "--key", &scene.key, "logs"], 2, "no key was given of the log `0001`");
    scene.check(&["log", "--key", &key, "logs/0001"], 0, "ok: 301 entries");
    scene.check(&["logs", "--key", &key, "--from", "1", "logs"], 2, "Usage");
    let (log, aside) = (scene.folder.path().join("logs/0001"), scene.folder.path().join("aside"));
    fs::rename(&log, &aside).unwrap();
    scene.check(
        &["logs", "--key", &key, "--key", &scene.key, "logs"],
        1,
        "there is no log of the key `example.com/log/1`",
    );
    fs::rename(&aside, &log).unwrap();
    let bundle = scene.folder.path().join("logs/0000/tile/entries/001");
    let changed = String::from_utf8_lossy(&fs::read(&bundle).unwrap()).replace("entry 300", "entry 3o0");
    fs::write(&bundle, changed).unwrap();
    scene.check(&["logs", "--key", &key, "logs"], 1, "0000: entry 300 is not the one that was logged");
    fs::rename(scene.folder.path().join("logs/0000"), &aside).unwrap();
    scene.check(&["logs", "--key", &key, "logs"], 1, "the log `0000` is missing");
}

#[test]
fn a_log_that_nobody_saw_is_told_where_somebody_must_have() {
    let scene = Scene::new();
    let witness = NoteSigner::new("example.com/w", Kind::Cosignature, &[9; 32]).unwrap();
    let key = witness.verifier().to_string();
    let by = ["log", "--key", &scene.key, "--witness", &key, "log"];
    scene.check(&by, 1, "the checkpoint that witnesses saw: there is none");
    let log = scene.folder.path().join("log");
    let note = fs::read_to_string(log.join("checkpoint")).unwrap();
    let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let seen = format!("{note}{}", witness.sign(&text, 1_700_000_000));
    fs::write(scene.folder.path().join("seen"), &seen).unwrap();
    let policy = format!("log {}\nwitness w {key}\nquorum w\n", scene.key);
    fs::write(scene.folder.path().join("policy"), policy).unwrap();
    scene.check(&["log", "--policy", "policy", "log"], 1, "there is none");
    scene.check(
        &["log", "--policy", "policy", "--witnessed", "seen", "log"],
        0,
        "1000 of them seen by `example.com/w`",
    );
    fs::write(log.join("checkpoint.witnessed"), &seen).unwrap();
    scene.check(&by, 0, "1000 of them seen by `example.com/w` at 1700000000");
    scene.check(&["log", "--policy", "policy", "log"], 0, "seen by");
    scene.check(&["log", "--policy", "policy", "--witness", &key, "log"], 2, "Usage");
    scene.check(&["log", "--policy", "none", "log"], 2, "the policy `none`");
    scene.check(&["log", "--key", &scene.key, "--witness", "none", "log"], 2, "the witness's key file `none`");
    let entry = ["entry", "--policy", "policy", "--proof", "700.tlog-proof", "entry"];
    scene.check(&entry, 1, "its checkpoint: too few cosigned it; missing: `example.com/w`");
    let path = scene.folder.path().join("700.tlog-proof");
    let proof = fs::read_to_string(&path).unwrap().replace(&note, &seen);
    fs::write(path, proof).unwrap();
    scene.check(&entry, 0, "ok: entry 700 of 1000, as `example.com/log` signed it; seen by `example.com/w`");
}
