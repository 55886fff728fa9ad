//! What was asked and answered can be destroyed: it is nowhere on the disk then, the log verifies as before and says who did it; what is held stays.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use portcullis_audit::disk::RealDisk;
use portcullis_audit::keys::{Keys, WrappingKey};
use portcullis_audit::payloads::PayloadReader;
use portcullis_audit::reader::Reader;
use portcullis_audit::wal::SegmentReader;
use portcullis_tests::audit::{self, number, text};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::{Gate, Upstream};
use serde_json::{Value, json};

fn erase<'w>(words: &[&'w str]) -> Vec<&'w str> {
    [&["erase"][..], words, &["--reason", "asked for"]].concat()
}

const CANARY: &str = "4111-1111-1111-1111";

fn upstream() -> Upstream {
    Upstream::calls(|request, wire| {
        let asked =
            request.json().pointer("/params/arguments/card").and_then(Value::as_str).unwrap_or("none").to_owned();
        wire.result(request, mcp::text_result(&format!("charged {asked}")));
    })
}

/// The names of all decisions.
fn decisions(gateway: &Gateway) -> BTreeSet<String> {
    let decisions = gateway.events("decision");
    let part = |record: &Value, member| number(record, member).unwrap();
    let name = |record: &Value| format!("{}-{}-{}", text(record, "boot"), part(record, "shard"), part(record, "seq"));
    decisions.iter().map(name).collect()
}

/// A call with the canary; its name, once it is in the signed log. Any core may have served it.
fn charged(gateway: &Gateway) -> String {
    let before = decisions(gateway);
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({"card": CANARY, "name": "ann"})));
    assert_eq!(answer.status(), 200);
    audit::verify_whole(&gateway.audit_folder());
    let after = decisions(gateway);
    let mut fresh = after.difference(&before);
    fresh.next().expect("the decision is recorded").clone()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn done(gateway: &Gateway, words: &[&str]) -> String {
    let output = gateway.operate(&[&["audit"][..], words].concat());
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

#[track_caller]
fn refused(gateway: &Gateway, words: &[&str], says: &str) {
    let output = gateway.operate(&[&["audit"][..], words].concat());
    assert!(!output.status.success() && said(&output).contains(says), "{words:?}: {}", said(&output));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Gives a folder and all in it to a user.
fn give(folder: &Path, uid: u32) {
    lchown(folder, Some(uid), Some(uid)).unwrap();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => give(&entry.path(), uid),
            false => lchown(entry.path(), Some(uid), Some(uid)).unwrap(),
        }
    }
}

fn key_of(audit: &Path) -> WrappingKey {
    Keys::values_of(&audit.join("keys")).unwrap()
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What a journal, or what was torn off one, holds once it is opened.
fn opened(path: &Path, key: &WrappingKey) -> Vec<u8> {
    let mut reader = SegmentReader::open(&RealDisk, path, key, 0).unwrap();
    let (mut all, end) = (Vec::new(), reader.length().unwrap());
    while let Some(batch) = reader.next(end).unwrap() {
        all.extend_from_slice(batch);
    }
    all
}

fn is_journal(path: &Path) -> bool {
    path.to_string_lossy().contains(".wal")
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| is_journal(path)).collect()
}

/// Every place where the canary can still be read by whoever has all the keys: any file as it lies there, journals and values opened.
fn places(folder: &Path) -> Vec<String> {
    let canary = CANARY.as_bytes();
    let audit = folder.join("audit");
    let key = key_of(&audit);
    let raw = files(folder).into_iter().filter(|path| holds(&fs::read(path).unwrap_or_default(), canary));
    let mut places: Vec<String> = raw.map(|path| path.display().to_string()).collect();
    let held = journals(&audit).into_iter().filter(|path| holds(&opened(path, &key), canary));
    places.extend(held.map(|path| format!("{}, opened", path.display())));
    let mut values = PayloadReader::new(Arc::new(RealDisk), &audit, 0, Arc::new(key));
    let (mut out, entries) = (Vec::new(), audit::verify(&audit).unwrap());
    for index in 0..entries {
        if let Some(opening) = values.of(index).unwrap() {
            out.clear();
            opening.write(&mut out);
            places.extend(holds(&out, canary).then(|| format!("the values of entry {index}")));
        }
    }
    let shown = audit::records(&audit).into_iter().map(|record| record.to_string());
    places.extend(shown.filter(|line| line.contains(CANARY)));
    places
}

/// What would open the canary again, for whoever kept the rest: the wrapped keys of journals that hold it, the origins of its values' keys, and the
/// sealed values themselves.
fn secrets(folder: &Path) -> Vec<Vec<u8>> {
    let audit = folder.join("audit");
    let key = key_of(&audit);
    let mut secrets = Vec::new();
    for path in journals(&audit) {
        if holds(&opened(&path, &key), CANARY.as_bytes()) {
            secrets.push(fs::read(&path).unwrap()[24..64].to_vec());
        }
    }
    let payloads = audit.join("payloads/0000");
    let (rows, data) = (fs::read(payloads.join("00000000.rows")), fs::read(payloads.join("00000000.data")));
    let (rows, data) = (rows.unwrap(), data.unwrap());
    for line in Reader::new(&audit).more().unwrap() {
        let Some((_, index)) = line.entry.filter(|_| line.shown().contains(CANARY)) else { continue };
        let row = &rows[usize::try_from(index).unwrap() * 64..][..64];
        let at = usize::try_from(u64::from_le_bytes(row[..8].try_into().unwrap())).unwrap();
        secrets.extend([row[16..48].to_vec(), data[at..at + 32].to_vec()]);
    }
    secrets
}

#[track_caller]
fn nowhere(folder: &Path, secrets: &[Vec<u8>]) {
    for path in files(folder) {
        let bytes = fs::read(&path).unwrap_or_default();
        let at = secrets.iter().position(|secret| holds(&bytes, secret));
        assert_eq!(at, None, "what opened the canary is still in {}", path.display());
    }
    assert_eq!(places(folder), [] as [String; 0]);
}

#[test]
fn what_cannot_be_erased_is_refused_with_its_cause() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        if request.json().pointer("/params/arguments/wait").is_some() {
            at_script.pass();
        }
        wire.result(request, mcp::text_result("fine"));
    });
    let gateway = Setup::open(&upstream).start();
    let name = charged(&gateway);
    refused(&gateway, &erase(&[]), "no calls are named");
    refused(&gateway, &erase(&["x"]), "`x` names no call");
    refused(&gateway, &erase(&["1-0-17"]), "no call `1-0-17` in the signed log");
    refused(&gateway, &erase(&[&name, "--field", "/params/name"]), "is no field that can be erased");
    refused(&gateway, &["erase", &name, "--reason", " "], "the reason is empty");
    refused(&gateway, &["hold", "remove", "none", "--reason", "x"], "there is no hold `none`");

    done(&gateway, &["hold", "add", "case-7", "--agent", "reader", "--reason", "a court asks"]);
    refused(&gateway, &["hold", "add", "case-7", &name, "--reason", "again"], "there is a hold `case-7` already");
    refused(&gateway, &erase(&[&name]), "is held by `case-7`; nothing was erased");
    assert!(done(&gateway, &["hold", "list"]).contains("a court asks"));
    assert!(!places(gateway.folder()).is_empty(), "a held call keeps its values");
    done(&gateway, &["hold", "remove", "case-7", "--reason", "it is over"]);
    assert!(!done(&gateway, &["hold", "list"]).contains("case-7"));

    let mut client = gateway.connect();
    client.send(gateway.call("reader", "loose", json!({"wait": true})).bytes());
    gateway.record(|record| record.pointer("/arguments/wait").is_some());
    audit::verify_whole(&gateway.audit_folder());
    refused(&gateway, &erase(&["--agent", "reader"]), "is still under way; nothing was erased");
    gate.open();
    assert_eq!(client.next_status(), 200);
    for (event, reason) in [("audit.held", "a court asks"), ("audit.released", "it is over")] {
        let records = gateway.events(event);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!((text(&records[0], "what"), text(&records[0], "reason")), ("case-7", reason));
    }
    assert_eq!(gateway.events("audit.erased").len(), 0);
    audit::verify_whole(&gateway.audit_folder());
}

#[test]
fn an_erased_value_is_nowhere_on_the_disk_and_the_log_verifies() {
    let upstream = upstream();
    let gateway = Setup::open(&upstream).start();
    let name = charged(&gateway);
    let (folder, audit) = (gateway.folder().to_owned(), gateway.audit_folder());
    // The index has been made, and somebody has asked it.
    done(&gateway, &["query", "--values"]);
    // What a crash tore off from a journal is kept beside it, under the same key.
    let key = key_of(&audit);
    let segment = journals(&audit).into_iter().find(|path| holds(&opened(path, &key), CANARY.as_bytes()));
    let segment = segment.expect("the journal that is written still holds the call");
    fs::copy(&segment, segment.with_extension("wal.torn")).unwrap();
    // Arguments and result in the values, what was shown of both, the journal and what was torn off.
    assert!(places(&folder).len() >= 6, "{:?}", places(&folder));
    let secrets = secrets(&folder);
    assert!(secrets.len() >= 6, "two journals, origins and values of two entries: {}", secrets.len());
    let before = gateway.records().len();

    let told = done(&gateway, &["erase", &name, "--reason", "article 17"]);
    assert!(told.contains("of 1 calls are erased"), "{told}");
    nowhere(&folder, &secrets);
    assert!(!done(&gateway, &["query", "--values"]).contains(CANARY));
    assert!(!done(&gateway, &["export", "--format", "jsonl"]).contains(CANARY));
    audit::verify_whole(&audit);
    let erased = gateway.events("audit.erased");
    assert_eq!(erased.len(), 1, "{erased:?}");
    assert_eq!((&erased[0]["entries"], text(&erased[0], "reason")), (&json!([name]), "article 17"));
    assert!(gateway.records().len() > before);

    // Calls go on, and one field of another goes alone.
    let other = charged(&gateway);
    let secrets = self::secrets(&folder);
    done(&gateway, &["erase", &other, "--field", "/params/arguments/card", "--field", "/result", "--reason", "card"]);
    nowhere(&folder, &secrets);
    let left = gateway.record(|record| record.pointer("/arguments/name") == Some(&json!("ann")));
    assert_eq!(left["arguments"], json!({"card": {"erased": true}, "name": "ann"}));
    audit::verify_whole(&audit);
    let gateway = gateway.restart();
    assert_eq!(gateway.events("audit.erased").len(), 2);
    audit::verify_whole(&audit);
}

#[test]
fn a_log_that_no_gateway_writes_is_changed_by_the_command_alone() {
    let upstream = upstream();
    let mut gateway = Setup::open(&upstream).start();
    let (one, two) = (charged(&gateway), charged(&gateway));
    gateway.kill();
    let (folder, audit) = (gateway.folder().to_owned(), gateway.audit_folder());
    // Whoever the folder belongs to, root may do it, and leaves nothing there that is root's.
    let (me, other) = (fs::metadata(&audit).unwrap().uid(), 65_534);
    let root = me == 0;
    if root {
        give(&audit, other);
    }
    done(&gateway, &["hold", "add", "case-7", &two, "--reason", "a court asks"]);
    refused(&gateway, &["erase", "--agent", "reader", "--reason", "x"], "is held by `case-7`");
    done(&gateway, &["erase", &one, "--reason", "article 17"]);
    assert!(!places(&folder).is_empty(), "the held one stays");
    done(&gateway, &["hold", "remove", "case-7", "--reason", "over"]);
    let secrets = self::secrets(&folder);
    done(&gateway, &["erase", &two, "--reason", "article 17"]);
    nowhere(&folder, &secrets);
    audit::verify_whole(&audit);
    if root {
        let owned = files(&audit).into_iter().filter(|path| fs::metadata(path).unwrap().uid() != other);
        assert_eq!(owned.collect::<Vec<_>>(), [] as [PathBuf; 0]);
        give(&audit, me);
    }
    let gateway = gateway.restart();
    assert_eq!(gateway.events("audit.erased").len(), 2);
    let next = charged(&gateway);
    assert!(gateway.records().len() > 6 && next != two);
}
