//! Others verify our log: `aics-tlog`, a verifier that shares no code with ours, and `aics-witness`, a witness that does not either.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis::witness::ask::Witnessing;
use portcullis_audit::log::Log;
use portcullis_core::config::settings::witness::Witness;
use portcullis_core::config::settings::{UpstreamTls, UpstreamUrl};
use portcullis_tests::gateway;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use xtask::tools;

const ORIGIN: &str = "example.com/log";

/// Three levels of tiles, all of them partial at the end.
const SIZE: u64 = 66_000;

fn signer() -> NoteSigner {
    NoteSigner::new(ORIGIN, Kind::Signature, &[7; 32]).unwrap()
}

/// Lets a log grow to `size` and signs it; its checkpoint.
fn grow(growth: &mut Growth, log: &Path, size: u64, history: &str) -> String {
    for index in growth.head().size..size {
        growth.append(format!("{{\"{history}\":{index}}}").as_bytes()).unwrap();
    }
    for asset in growth.take() {
        let path = log.join(asset.tile.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, asset.bytes).unwrap();
    }
    let note = Checkpoint { origin: ORIGIN.to_owned(), head: growth.head() }.sign(&signer());
    fs::write(log.join("checkpoint"), &note).unwrap();
    note
}

/// A witness in a process of its own, which ends with this.
pub struct Served {
    child: Child,
    /// As the configuration names it.
    pub witness: Witness,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts `command`, whose output names its port on a line with `http://127.0.0.1:`.
fn serve(mut command: Command, name: &str, key: &str) -> Served {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One of the two tells; each of them is read to its end, so that neither fills up.
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    let (tell, told) = std::sync::mpsc::channel();
    for stream in streams {
        let tell = tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let port = line.split_once("http://127.0.0.1:").map(|(_, rest)| rest);
                let digits: Option<String> = port.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
                if let Some(port) = digits.and_then(|digits| digits.parse::<u16>().ok()) {
                    let _nobody_waits_any_more = tell.send(port);
                }
            }
        });
    }
    drop(tell);
    let port = told.recv().expect("the witness says where it listens");
    let authority = format!("127.0.0.1:{port}").into();
    let url = UpstreamUrl {
        tls: UpstreamTls::Plain,
        host: "127.0.0.1".into(),
        port,
        path: "/add-checkpoint".into(),
        authority,
    };
    Served { child, witness: Witness { name: name.into(), url, key: key.into() } }
}

/// What `command` says when it goes well.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// `portcullis witness` of the log with the key `log`, as an operator starts it.
pub fn ours(folder: &Path, log: &str) -> Served {
    let command = || {
        let mut command = Command::new(gateway::binary());
        command.current_dir(folder).args(["witness", "--key", "w.key"]);
        command
    };
    let made = said(command().args(["--new-key", "example.com/w", "--json"]));
    let key = serde_json::from_str::<Value>(&made).unwrap()["key"].as_str().unwrap().to_owned();
    fs::write(folder.join("log.pub"), log).unwrap();
    let mut serving = command();
    serving.args(["--listen", "127.0.0.1:0", "--state", "state", "--log", "log.pub"]);
    serve(serving, "ours", &key)
}

/// Another implementation of the same protocol.
fn theirs(folder: &Path, python: &Path) -> Served {
    let verb = |verb: &str| {
        let mut command = Command::new(python);
        command.current_dir(folder).args(["-m", "aics_witness", verb, "--config", "w.json"]);
        command
    };
    let key = said(verb("init").args(["--name", "example.org/w", "--listen", "127.0.0.1:0"])).trim().to_owned();
    said(verb("add-log").args(["--origin", ORIGIN, "--vkey", &signer().verifier().to_string()]));
    serve(verb("serve"), "theirs", &key)
}

/// Asks both about the log as it is; what came of it: cosigned, failed, forked.
fn ask(log: &Path, witnesses: &[Witness]) -> [u64; 3] {
    let witnessing = Witnessing::start(log.to_owned(), signer().verifier().clone(), witnesses).unwrap();
    let tally = witnessing.stop();
    [&tally.cosigned, &tally.failed, &tally.forked].map(|count| count.load(Ordering::Relaxed))
}

#[test]
fn an_independent_verifier_and_an_independent_witness_agree_with_ours() {
    let python = tools::aics().expect("aics-tlog installs");
    let scene = TempDir::new().unwrap();
    let folder = |name: &str| {
        let folder = scene.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (log, proofs) = (folder("log"), folder("proofs"));
    let (one, two) = (ours(&folder("ours"), &format!("{}\n", signer().verifier())), theirs(&folder("theirs"), &python));
    let witnesses = [one.witness.clone(), two.witness.clone()];
    let mut growth = Growth::default();
    let mut before: Vec<(u64, String)> = Vec::new();
    for size in [1, 300, 512, 65_536, SIZE] {
        before.push((size, grow(&mut growth, &log, size, "entry")));
        let [cosigned, failed, forked] = ask(&log, &witnesses);
        assert!(cosigned >= 2 && (failed, forked) == (0, 0), "at {size}: {cosigned}, {failed}, {forked}");
    }
    let read = Log::open(&log, signer().verifier()).unwrap();
    for index in [0, 1, 255, 256, 511, 512, 40_000, 65_535, 65_536, SIZE - 1] {
        let proof = read.evidence(index).unwrap().unwrap().to_string();
        fs::write(proofs.join(format!("{index}.tlog-proof")), proof).unwrap();
        fs::write(proofs.join(format!("{index}.entry")), read.entry(index).unwrap().unwrap()).unwrap();
    }
    for (old, note) in &before[..4] {
        let hashes: Vec<String> = read.growth(*old).unwrap().iter().map(|hash| STANDARD.encode(hash)).collect();
        let text = format!("{note}\n---\n{}\n---\n{}", read.note(), hashes.join("\n"));
        fs::write(proofs.join(format!("{old}-{SIZE}.growth")), text).unwrap();
    }
    let script = tools::root().unwrap().join("tests/clients/tlog.py");
    let mut command = Command::new(&python);
    command.arg(script).arg(&log).arg(signer().verifier().to_string()).arg(&proofs);
    let verified = said(command.args(witnesses.iter().map(|witness| &*witness.key)));
    let expected = json!({"entries": SIZE, "tiles": 261, "bundles": 258, "witnesses": 2, "inclusion": 10, "growth": 4, "tampered": 3});
    assert_eq!(serde_json::from_str::<Value>(&verified).unwrap(), expected);

    // Another history of the same length, signed with the same key: neither cosigns it, and both are told apart from silence.
    let mut other = Growth::default();
    grow(&mut other, &log, SIZE, "other");
    let [cosigned, _, forked] = ask(&log, &witnesses);
    assert!(cosigned == 0 && forked >= 2, "{cosigned} cosigned a fork, {forked} told it");
}
