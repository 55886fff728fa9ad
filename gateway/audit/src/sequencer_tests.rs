//! Rows of journals that become a log, and of what a crash leaves of it.

use super::*;
use crate::disk::RealDisk;
use crate::keys::Keys;
use crate::payloads::PayloadReader;
use crate::reader::Reader;
use crate::recovery::{OpenError, Recovery, take_up};
use crate::wal::{FRAME_HEAD_BYTES, Home, ShardFile};
use portcullis_core::audit::capture::{CaptureRule, Content, Part};
use portcullis_core::audit::encode;
use portcullis_core::audit::leaf::Value;
use portcullis_core::audit::record::{
    Answer, Caller, Decision, Judged, Outcome, Record, Stop, Subject, Unknown, Verdict,
};
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::verify::{self, Files};
use std::fs;

const SECRET: &str = "4012-8888-8888-1881";

/// A gateway's log, without the gateway.
struct Scene {
    folder: tempfile::TempDir,
}

/// One core of one boot.
struct Core {
    file: ShardFile,
    boot: u64,
    next_seq: u64,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn audit(&self) -> &Path {
        self.folder.path()
    }

    fn keys(&self) -> Keys {
        Keys::take_up(&self.audit().join("keys"), "edge-1/audit").unwrap()
    }

    fn take_up(&self) -> (Sequencer, Recovery) {
        take_up(Arc::new(RealDisk), self.audit(), self.keys()).unwrap()
    }

    fn refused(&self) -> OpenError {
        take_up(Arc::new(RealDisk), self.audit(), self.keys()).err().unwrap()
    }

    fn core(&self, boot: u64, shard: u16, next_seq: u64) -> Core {
        let home = Home {
            disk: Arc::new(RealDisk),
            folder: self.audit().join("wal"),
            key: self.keys().values,
            segment_bytes_max: 4096,
        };
        Core { file: ShardFile::create(&home, boot, shard, Arc::default()).unwrap(), boot, next_seq }
    }

    /// Every entry, once the whole log verifies.
    fn entries(&self) -> Vec<String> {
        let folder = log_folder(self.audit(), 0);
        let key = VerifierKey::parse(&fs::read_to_string(folder.join("log.pub")).unwrap()).unwrap();
        let mut entries = Vec::new();
        verify::verify(&Folder(folder), &key, |_, entry| entries.push(String::from_utf8(entry.to_vec()).unwrap()))
            .unwrap();
        entries
    }

    /// Whether any file below holds these bytes.
    fn holds(&self, needle: &str) -> bool {
        fn any(folder: &Path, needle: &[u8]) -> bool {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
                if path.is_dir() {
                    return any(&path, needle);
                }
                fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
            })
        }
        any(self.audit(), needle.as_bytes())
    }
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

impl Core {
    fn write(&mut self, records: &[Record<'_>]) {
        let mut batch = vec![0; FRAME_HEAD_BYTES];
        for record in records {
            encode::write(&mut batch, self.next_seq, UnixMillis(1_795_428_000_000), record);
            self.next_seq += 1;
        }
        self.file.append(&mut batch).unwrap();
    }

    fn take(&self, sequencer: &mut Sequencer) {
        self.file.owed().sync().unwrap();
        assert_eq!(sequencer.take(self.boot, self.file.number(), self.file.owed()).unwrap(), Took::All);
    }
}

fn part(raw: &str) -> Part<'_> {
    Part { content: Content::Whole(raw.as_bytes()), rule: CaptureRule::Full, redact: &[] }
}

fn decision(arguments: &str) -> Record<'_> {
    let caller =
        Caller { agent: "recon-17", user: None, account: None, issuer: None, token_id: None, certificate: None };
    let judged = Judged { verdict: Verdict::Allow, cause: None, rules: &["r"], snapshot: 1, snapshot_hash: "aa" };
    Record::Decision(Decision {
        caller,
        source: None,
        server: "crm",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("read_table"),
        arguments: part(arguments),
        judged,
        obligations: &[],
        request_id: Some(b"7"),
    })
}

fn answer(decision_seq: u64) -> Record<'static> {
    Record::Result(Answer {
        decision_seq,
        agent: "recon-17",
        server: "crm",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: part(r#"{"content":[]}"#),
        obliged: Default::default(),
        objected: None,
        duration_us: 5,
    })
}

const STOP: Record<'static> = Record::GatewayStopped(Stop { reason: "signal" });

#[test]
fn records_of_all_cores_become_one_log_that_verifies() {
    let scene = Scene::new();
    let (mut sequencer, recovery) = scene.take_up();
    assert_eq!(recovery, Recovery::default());
    let (mut first, mut second) = (scene.core(7, 0, 0), scene.core(7, 1, 0));
    for call in 0..200 {
        first.write(&[decision(r#"{"table":"customers","n":1}"#), answer(2 * call)]);
        if call % 3 == 0 {
            second.write(&[STOP]);
        }
        if call % 50 == 0 {
            first.take(&mut sequencer);
            second.take(&mut sequencer);
            sequencer.publish().unwrap();
        }
    }
    first.take(&mut sequencer);
    second.take(&mut sequencer);
    assert_eq!(sequencer.publish().unwrap().unwrap().head.size, 467);
    assert!(sequencer.publish().unwrap().is_none());
    let entries = scene.entries();
    assert_eq!(entries.len(), 467);
    let read: serde_json::Value = serde_json::from_str(&entries[0]).unwrap();
    assert_eq!((&read["seq"], &read["v"], read.get("arguments")), (&0.into(), &2.into(), None));
    assert!(!scene.holds("customers"));
    // Each shard is a chain of its own within the log.
    for shard in [0, 1] {
        let mut prev = None;
        for entry in &entries {
            let read: serde_json::Value = serde_json::from_str(entry).unwrap();
            if read["shard"] == shard {
                assert_eq!(read.get("prev").and_then(|prev| prev.as_str()), prev.as_deref());
                let hash = portcullis_tlog::tree::leaf_hash(entry.as_bytes());
                prev = Some(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            }
        }
    }
    // Only the open segments are left, and no partial tile of a row that is full.
    assert_eq!(fs::read_dir(scene.audit().join("wal")).unwrap().count(), 2);
    assert!(!log_folder(scene.audit(), 0).join("tile/0/000.p").exists());
}

#[test]
fn values_are_read_back_until_they_are_erased_and_the_log_verifies_all_the_same() {
    let scene = Scene::new();
    let (mut sequencer, _) = scene.take_up();
    let mut core = scene.core(7, 0, 0);
    let arguments = format!(r#"{{"card":"{SECRET}","name":"ann"}}"#);
    core.write(&[decision(&arguments), answer(0), decision(&arguments)]);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    let opening = |index| {
        let mut reader = PayloadReader::new(Arc::new(RealDisk), scene.audit(), 0, scene.keys().values);
        reader.of(index).unwrap()
    };
    let whole = opening(0).unwrap();
    assert_eq!(whole.value(), Value::Json(arguments.clone().into()));
    let commit: String = whole.commit().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(scene.entries()[0].contains(&format!(r#""arguments_commit":"{commit}""#)));
    assert_eq!(opening(1).unwrap().which, Which::Result);
    assert_eq!(sequencer.erase(0, &["/card"]).unwrap(), 1);
    assert_eq!(sequencer.erase(0, &["/card"]).unwrap(), 0);
    let left = opening(0).unwrap();
    assert_eq!(left.value(), Value::Json(r#"{"card":{"erased":true},"name":"ann"}"#.into()));
    assert_eq!(left.commit(), whole.commit());
    assert_eq!(sequencer.erase(0, &[]).unwrap(), 2);
    assert_eq!(sequencer.erase(9, &[]).unwrap(), 0);
    assert_eq!(opening(0), None);
    // What is added to the span after an erasure stands behind it.
    core.write(&[decision(r#"{"a":1}"#)]);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    assert_eq!(opening(2).unwrap().value(), Value::Json(arguments.into()));
    assert_eq!(opening(3).unwrap().value(), Value::Json(br#"{"a":1}"#.to_vec()));
    assert_eq!(scene.entries().len(), 4);
    assert!(!scene.holds(SECRET));
}

#[test]
fn a_start_goes_on_with_what_the_journals_still_held() {
    let scene = Scene::new();
    let (mut sequencer, _) = scene.take_up();
    let mut core = scene.core(7, 0, 0);
    core.write(&[decision("{}"), answer(0), decision("{}")]);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    core.write(&[decision("{}"), STOP]);
    core.write(&[answer(3)]);
    drop(sequencer);
    let (sequencer, recovery) = scene.take_up();
    let expected = Recovery {
        next_seq: [(0, 6)].into(),
        torn_bytes: 0,
        records: 3,
        size: 6,
        unknown: vec![(7, 0, 2)],
        boot: Some(7),
    };
    assert_eq!(recovery, expected);
    assert_eq!((scene.entries().len(), fs::read_dir(scene.audit().join("wal")).unwrap().count()), (6, 0));
    drop(sequencer);
    // It stays unknown until that is recorded.
    let (mut sequencer, recovery) = scene.take_up();
    assert_eq!(recovery.unknown, [(7, 0, 2)]);
    let mut core = scene.core(8, 4, 0);
    core.write(&[Record::OutcomeUnknown(Unknown { boot: "7", shard: 0, seq: 2 })]);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    assert_eq!(scene.take_up().1.unknown, []);
}

#[test]
fn a_torn_batch_is_kept_beside_and_nothing_before_it_is_lost() {
    let scene = Scene::new();
    drop(scene.take_up());
    let mut core = scene.core(7, 0, 0);
    core.write(&[decision("{}")]);
    core.write(&[answer(0)]);
    let path = scene.audit().join("wal").join(SegmentName { boot: 7, shard: 0, segment: 0 }.file());
    let whole = fs::read(&path).unwrap();
    let first = 64 + 28 + (whole.len() - 64 - 2 * 28) - answer_bytes();
    // Every place would take a minute: each seventh, and those around the ends of head and batches.
    let ends = [64, first, whole.len()];
    let near = |cut: &usize| ends.iter().any(|end| cut.abs_diff(*end) < 2);
    for cut in (0..whole.len()).filter(|cut| cut % 7 == 0 || near(cut)) {
        let copy = Scene::new();
        let copied = |from: &str, to: &Path| {
            fs::create_dir_all(to.join(from)).unwrap();
            for entry in fs::read_dir(scene.audit().join(from)).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, to.join(from).join(path.file_name().unwrap())).unwrap();
            }
        };
        copied("keys", copy.audit());
        fs::create_dir(copy.audit().join("wal")).unwrap();
        fs::write(copy.audit().join("wal").join(path.file_name().unwrap()), &whole[..cut]).unwrap();
        let (_, recovery) = copy.take_up();
        let expected = if cut < first { 0 } else { 1 };
        assert_eq!(recovery.size, expected, "cut at {cut} of {}", whole.len());
        assert_eq!(recovery.torn_bytes > 0, cut > 64 && cut != first, "cut at {cut}");
        assert_eq!(
            copy.audit().join("wal").join(format!("{}.torn", path.file_name().unwrap().to_str().unwrap())).exists(),
            recovery.torn_bytes > 0
        );
    }
}

fn answer_bytes() -> usize {
    let mut bytes = Vec::new();
    encode::write(&mut bytes, 1, UnixMillis(0), &answer(0));
    bytes.len()
}

#[test]
fn what_may_have_been_signed_is_signed_again_and_nothing_else() {
    let scene = Scene::new();
    let (mut sequencer, _) = scene.take_up();
    let mut core = scene.core(7, 0, 0);
    core.write(&[decision("{}")]);
    core.take(&mut sequencer);
    let first = sequencer.publish().unwrap().unwrap();
    let (checkpoint, order) =
        (log_folder(scene.audit(), 0).join("checkpoint"), scene.audit().join(crate::order::ORDER_FILE));
    let (old_checkpoint, old_order) = (fs::read(&checkpoint).unwrap(), fs::read(&order).unwrap());
    core.write(&[answer(0)]);
    core.take(&mut sequencer);
    let second = sequencer.publish().unwrap().unwrap();
    drop(sequencer);
    // The crash came between the order and the signature.
    fs::write(&checkpoint, &old_checkpoint).unwrap();
    drop(scene.take_up());
    let key = scene.keys();
    let read = || Checkpoint::open(&fs::read_to_string(&checkpoint).unwrap(), key.signer.verifier()).unwrap();
    assert_eq!(read(), second);
    // Before the first signature of all.
    fs::remove_file(&checkpoint).unwrap();
    drop(scene.take_up());
    assert_eq!(read(), second);
    // Somebody put the order back.
    fs::write(&order, &old_order).unwrap();
    assert!(matches!(scene.refused(), OpenError::RolledBack { signed: 2, order: 1 }));
    fs::remove_file(&order).unwrap();
    assert!(matches!(scene.refused(), OpenError::NoOrder));
    assert_ne!(first, second);
}

#[test]
fn a_log_whose_files_were_changed_does_not_go_on() {
    let scene = Scene::new();
    let (mut sequencer, _) = scene.take_up();
    let mut core = scene.core(7, 0, 0);
    core.write(&[decision("{}"), answer(0), STOP]);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    drop(sequencer);
    let folder = log_folder(scene.audit(), 0);
    for file in ["tile/0/000.p/3", "tile/entries/000.p/3", "tile/entries/000.p/03", "checkpoint"] {
        let path = folder.join(file.replace("/03", "/3"));
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        // In one row it is shorter, in the next one byte of an entry is another.
        if file == "tile/entries/000.p/3" {
            changed.truncate(20);
        }
        fs::write(&path, changed).unwrap();
        let refused = scene.refused();
        assert!(
            matches!(refused, OpenError::OtherHead | OpenError::Damaged(_) | OpenError::Checkpoint(_)),
            "{file}: {refused}"
        );
        fs::write(&path, bytes).unwrap();
    }
    drop(scene.take_up());
}

#[test]
fn a_record_is_read_once_in_a_journal_or_in_the_log() {
    let scene = Scene::new();
    let mut reader = Reader::new(scene.audit());
    assert_eq!(reader.more().unwrap().len(), 0);
    let (mut sequencer, _) = scene.take_up();
    let mut reader = Reader::new(scene.audit());
    let mut core = scene.core(7, 0, 0);
    core.write(&[decision(r#"{"a":1}"#), answer(0)]);
    let lines = reader.more().unwrap();
    assert_eq!(
        lines.iter().map(|line| (line.name, line.entry)).collect::<Vec<_>>(),
        [((7, 0, 0), None), ((7, 0, 1), None)]
    );
    let early = lines[0].shown();
    assert!(early.contains(r#""arguments":{"a":1}"#), "{early}");
    core.take(&mut sequencer);
    core.write(&[STOP]);
    assert_eq!(reader.more().unwrap().iter().map(|line| line.name).collect::<Vec<_>>(), [(7, 0, 2)]);
    sequencer.publish().unwrap();
    assert_eq!(reader.more().unwrap().len(), 0);
    core.take(&mut sequencer);
    sequencer.publish().unwrap();
    assert_eq!(reader.more().unwrap().len(), 0);
    let lines = Reader::new(scene.audit()).more().unwrap();
    assert_eq!(lines.iter().map(|line| line.entry).collect::<Vec<_>>(), [Some((0, 0)), Some((0, 1)), Some((0, 2))]);
    assert!(lines[0].shown().contains(r#""arguments":{"a":1}"#));
}
