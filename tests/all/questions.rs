//! Questions about the log: answered from an index that is made by asking, and provable to whoever has the log's key alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portcullis_tests::gateway::{binary, built};
use portcullis_tests::setup::{OPEN, Setup, fresh_address};
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const ORIGIN: &str = "edge-1.example/audit";
const BOOT: &str = "1795428000000";

/// A folder with a configuration, and the log that it grows.
struct Scene {
    folder: TempDir,
    growth: Growth,
    seq: u64,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().unwrap();
        let setup = Setup::new().server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &[]).policy(OPEN);
        setup.write(folder.path(), fresh_address());
        Self { folder, growth: Growth::default(), seq: 0 }
    }

    /// The calls of a day: allowed, denied, withheld, never ended; a change of the rules and a read of the log.
    fn busy() -> Self {
        let mut scene = Self::new();
        let call = |agent: &str, account: &str, verdict: &str, rule: &str| {
            json!({"event": "decision", "agent": agent, "account": account, "server": "crm", "tool": "read_table",
                "method": "tools/call", "decision": verdict, "rules": [rule], "snapshot": 1})
        };
        let end = |of: u64, outcome: &str| {
            json!({"event": "result", "agent": "recon", "server": "crm", "decision_seq": of, "status": 200,
                "outcome": outcome, "duration_us": 1500})
        };
        let mut denied = call("intruder", "acme", "deny", "");
        denied["cause"] = json!("no_rule");
        denied["rules"] = json!([]);
        for record in [
            json!({"event": "gateway.started", "version": "1", "snapshot": 1}),
            call("recon", "acme", "allow", "support.cedar:3"),
            end(1, "complete"),
            denied,
            call("recon", "globex", "allow", "support.cedar:3"),
            json!({"event": "policy.swapped", "snapshot": 2, "previous": 1, "actor": "uid 0"}),
            json!({"event": "audit.read", "actor": "uid 1000", "what": "report denials", "count": 3}),
        ] {
            scene.record(record);
        }
        scene.sign();
        scene
    }

    fn record(&mut self, record: Value) {
        let mut members: Map<String, Value> = record.as_object().unwrap().clone();
        let own =
            json!({"v": 2, "boot": BOOT, "shard": 0, "seq": self.seq, "ts": 1_795_428_000_000_u64 + self.seq * 1_000});
        members.extend(own.as_object().unwrap().clone());
        members.sort_keys();
        self.growth.append(Value::Object(members).to_string().as_bytes()).unwrap();
        self.seq += 1;
    }

    fn sign(&mut self) {
        let log = self.folder.path().join("audit/logs/0000");
        for asset in self.growth.take() {
            let path = log.join(asset.tile.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, asset.bytes).unwrap();
        }
        let signer = NoteSigner::new(ORIGIN, Kind::Signature, &[7; 32]).unwrap();
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: self.growth.head() };
        fs::write(log.join("log.pub"), format!("{}\n", signer.verifier())).unwrap();
        fs::write(log.join("checkpoint"), checkpoint.sign(&signer)).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn audit(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.arg("audit").args(words).current_dir(self.path()).output().expect("the program runs")
    }

    /// What it says to people: standard output, standard error.
    #[track_caller]
    fn said(&self, words: &[&str]) -> (String, String) {
        let output = self.audit(words);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{words:?}: {out}{err}");
        (out, err)
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let (out, _) = self.said(&[words, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    #[track_caller]
    fn refused(&self, words: &[&str], says: &[&str]) {
        let output = self.audit(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        says.iter().for_each(|part| assert!(told.contains(part), "{words:?}: {told}"));
    }
}

#[test]
fn what_cannot_be_answered_is_told_with_its_cure() {
    let scene = Scene::new();
    for words in [&["query"][..], &["stats"], &["report", "denials"], &["proof", "@0"], &["reindex"]] {
        scene.refused(words, &["there is no signed log in `", "it begins with the first `portcullis run`"]);
    }
    let scene = Scene::busy();
    scene.refused(&["query", "--from", "yesterday"], &["`yesterday` is no time", "-24h"]);
    scene.refused(&["query", "--cursor", "x"], &["`x` is no cursor", "`0000@17`"]);
    scene.refused(&["query", "--cursor", "0000@99"], &["`0000@99` is no place in the log"]);
    scene.refused(&["query", "--limit", "10001"], &["a page has at most 10000 calls"]);
    scene.refused(&["proof", "@7"], &["the signed log has no place `@7`"]);
    scene.refused(&["proof", "0-9"], &["no record `0-9` in the signed log"]);
    scene.refused(&["proof", "nonsense"], &["`nonsense` names no record"]);
    let bundle = scene.path().join("audit/logs/0000/tile/entries/000.p/7");
    let mut entries = fs::read(&bundle).unwrap();
    let at = entries.windows(8).position(|part| part == b"intruder").unwrap();
    entries[at..at + 8].copy_from_slice(b"somebody");
    fs::write(&bundle, entries).unwrap();
    let not_signed = "are not what was signed";
    scene.refused(&["reindex"], &[not_signed, "portcullis-verify log"]);
    scene.refused(&["query"], &[not_signed]);
    scene.refused(&["proof", "@3"], &["the entry 3 is not what was signed"]);
    fs::write(scene.path().join("audit/logs/0000/checkpoint"), "nobody signed this\n").unwrap();
    scene.refused(&["query"], &["the checkpoint is not to be believed"]);
}

#[test]
fn calls_are_found_by_what_they_have_in_common_with_the_checkpoint_of_the_answer() {
    let mut scene = Scene::busy();
    let (out, err) = scene.said(&["query", "--account", "acme"]);
    let expected = [
        format!("2026-11-23T10:00:03.000Z DENY intruder crm.read_table cause=no_rule v1  {BOOT}-0-3 0000@3\n"),
        format!(
            "2026-11-23T10:00:01.000Z ALLOW recon crm.read_table rule=support.cedar:3 v1 1.5ms  {BOOT}-0-1 0000@1\n"
        ),
    ];
    assert_eq!(out, expected.concat());
    assert!(err.contains("as of 7 entries of edge-1.example/audit, root "), "{err}");
    for (words, expected) in [
        (&["--agent", "recon"][..], &[4, 1][..]),
        (&["--tool", "crm.read_table", "--decision", "deny"], &[3]),
        (&["--rule", "support.cedar:3", "--account", "globex"], &[4]),
        (&["--event", "policy.swapped"], &[5]),
        (&["--outcome", "complete"], &[1]),
        (&["--user", "nobody"], &[]),
        (&["--server", "crm", "--from", "2026-11-23T10:00:02Z", "--to", "2026-11-23T10:00:04Z"], &[3]),
        (&["--from", "-1h", "--to", "-30m"], &[]),
    ] {
        let told = scene.json(&[&["query"], words].concat());
        let found: Vec<u64> =
            told["calls"].as_array().unwrap().iter().map(|call| call["index"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{words:?}");
        assert_eq!((&told["checkpoint"]["size"], &told["checkpoint"]["origin"]), (&json!(7), &json!(ORIGIN)));
    }
    let first = scene.json(&["query", "--limit", "2"]);
    scene.record(json!({"event": "refusal", "cause": "no_token", "status": 401}));
    scene.sign();
    let second = scene.json(&["query", "--cursor", first["next"].as_str().unwrap()]);
    assert_eq!((&second["calls"][0]["index"], &second["checkpoint"]["size"]), (&json!(4), &json!(8)));
}

#[test]
fn reports_and_figures_say_who_did_what() {
    let mut scene = Scene::busy();
    let told = scene.json(&["report", "account", "acme"]);
    let agents: Vec<&str> =
        told["touched"].as_array().unwrap().iter().map(|row| row["agent"].as_str().unwrap()).collect();
    assert_eq!(agents, ["intruder", "recon"]);
    let told = scene.json(&["report", "denials"]);
    assert_eq!((&told["denied"][0]["cause"], &told["denied"][0]["calls"]), (&json!("no_rule"), &json!(1)));
    let told = scene.json(&["report", "access"]);
    assert_eq!(told["access"][1]["allowed"], json!(2));
    assert_eq!(told["access"][0]["denied"], json!(1));
    let told = scene.json(&["report", "changes"]);
    let events: Vec<&str> =
        told["changes"].as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["policy.swapped", "gateway.started"]);
    assert_eq!(told["reads"][0]["more"]["what"], json!("report denials"));
    let told = scene.json(&["report", "unknown"]);
    assert_eq!((told["unknown"].as_array().unwrap().len(), told["under_way"].as_array().unwrap().len()), (0, 1));
    // The next start of the gateway knows of a call that it will never hear of again.
    scene.record(json!({"event": "outcome.unknown", "decision_boot": BOOT, "decision_shard": 0, "decision_seq": 4}));
    scene.sign();
    let told = scene.json(&["report", "unknown"]);
    assert_eq!((&told["unknown"][0]["account"], &told["under_way"]), (&json!("globex"), &json!([])));
    let told = scene.json(&["stats"]);
    assert_eq!(
        (&told["figures"]["calls"], &told["figures"]["denied"], &told["index"]["entries_behind"]),
        (&json!(3), &json!(1), &json!(0))
    );
    let (out, _) = scene.said(&["stats"]);
    assert!(out.contains("calls by agent:"), "{out}");
    let (out, _) = scene.said(&["report", "access"]);
    assert!(out.contains("intruder  crm.read_table  0        1"), "{out}");
    assert!(scene.said(&["reindex"]).0.contains("8 entries indexed"));
}

#[test]
fn a_record_is_proven_to_whoever_has_the_key_and_the_verifier() {
    let scene = Scene::busy();
    let verifier = built("portcullis-tlog", "portcullis-verify").expect("the verifier builds");
    let check = |proof: &str, entry: &str| {
        let words = ["entry", "--key", "audit/logs/0000/log.pub", "--proof", proof, entry];
        Command::new(&verifier).args(words).current_dir(scene.path()).output().unwrap()
    };
    for (id, index) in
        [(format!("{BOOT}-0-2"), 2), ("0-3".to_owned(), 3), ("@5".to_owned(), 5), ("0000@6".to_owned(), 6)]
    {
        let (out, _) = scene.said(&["proof", &id, "-o", "a.tlog-proof", "--entry", "a.json"]);
        assert!(out.contains(&format!("a.tlog-proof proves the entry 0000@{index} of {ORIGIN}")), "{out}");
        let checked = check("a.tlog-proof", "a.json");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        assert_eq!(
            String::from_utf8_lossy(&checked.stdout),
            format!("ok: entry {index} of 7, as `{ORIGIN}` signed it\n")
        );
        let told = scene.json(&["proof", &id]);
        assert_eq!(told["entry"].as_str().unwrap().as_bytes(), fs::read(scene.path().join("a.json")).unwrap());
        assert_eq!(told["proof"].as_str().unwrap(), fs::read_to_string(scene.path().join("a.tlog-proof")).unwrap());
    }
    let entry = fs::read_to_string(scene.path().join("a.json")).unwrap();
    fs::write(scene.path().join("b.json"), entry.replace("uid 1000", "uid 1001")).unwrap();
    assert_eq!(check("a.tlog-proof", "b.json").status.code(), Some(1));
}
