//! Promises of recovery, on real files.

use super::*;
use crate::journal::shard::segment_name;
use portcullis_core::audit::capture::{CaptureRule, Content, Part};
use portcullis_core::audit::chain::{Shard, Why};
use portcullis_core::audit::record::{Answer, Caller, Decision, Judged, Outcome, Record, Stop, Subject, Verdict};
use portcullis_core::time::UnixMillis;

const NOTHING: Part<'static> = Part { content: Content::Absent, rule: CaptureRule::None, redact: &[] };

fn decision() -> Record<'static> {
    let caller = Caller { agent: "bot", user: None, account: None, issuer: None, token_id: None, certificate: None };
    let judged = Judged { verdict: Verdict::Allow, cause: None, rules: &[], snapshot: 1, snapshot_hash: "aa" };
    Record::Decision(Decision {
        caller,
        source: None,
        server: "crm",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("read_table"),
        arguments: NOTHING,
        judged,
        obligations: &[],
        request_id: None,
    })
}

fn answer(decision_seq: u64) -> Record<'static> {
    Record::Result(Answer {
        decision_seq,
        agent: "bot",
        server: "crm",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: NOTHING,
        obliged: Default::default(),
        objected: None,
        duration_us: 1,
    })
}

/// One boot of one shard: so many answered calls, then so many that are not, each record in a write of its own.
fn boot(folder: &Path, boot: u64, shard: u16, from: &Position, calls: (u64, u64)) -> (PathBuf, Position) {
    let mut chain = Shard::resume(&boot.to_string(), shard, from);
    let mut bytes = Vec::new();
    let mut write = |at, record: &Record<'_>| {
        let mut one = Vec::new();
        let seq = chain.append(&mut one, UnixMillis(at), record);
        chain.seal(&one);
        bytes.extend(one);
        seq
    };
    for _ in 0..calls.0 {
        let seq = write(1, &decision());
        write(2, &answer(seq));
    }
    for _ in 0..calls.1 {
        write(3, &decision());
    }
    let path = folder.join(segment_name(boot, shard, 0));
    fs::write(&path, bytes).unwrap();
    (path, chain.position())
}

#[test]
fn a_torn_tail_is_cut_off_wherever_the_crash_struck_and_no_whole_record_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = boot(folder.path(), 1, 0, &Position::default(), (1, 1));
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in last..whole.len() {
        let _ = fs::remove_file(folder.path().join(HEADS_FILE));
        let mut torn_file = path.clone().into_os_string();
        torn_file.push(".torn");
        let _ = fs::remove_file(&torn_file);
        fs::write(&path, &whole[..length]).unwrap();
        let found = recover(folder.path()).unwrap();
        assert_eq!(found.torn_bytes, (length - last) as u64, "crash after {length} bytes");
        assert_eq!(fs::read(&path).unwrap(), whole[..last]);
        assert_eq!(fs::read(&torn_file).unwrap_or_default(), whole[last..length]);
        assert_eq!((found.records, found.unknown.len(), found.damaged.len()), (2, 0, 0));
    }
}

#[test]
fn a_call_that_was_let_pass_and_never_ended_is_named() {
    let folder = tempfile::tempdir().unwrap();
    boot(folder.path(), 1_700_000_000_000, 3, &Position::default(), (2, 2));
    let found = recover(folder.path()).unwrap();
    assert_eq!(found.unknown, ["1700000000000-3-4", "1700000000000-3-5"]);
    assert_eq!(found.boot, Some(1_700_000_000_000));
}

#[test]
fn the_chain_goes_on_over_boots_and_what_was_checked_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, end) = boot(folder.path(), 1, 0, &Position::default(), (3, 0));
    let found = recover(folder.path()).unwrap();
    assert_eq!((found.positions[&0], found.records), (end, 6));
    boot(folder.path(), 2, 0, &end, (1, 0));
    fs::remove_file(first).unwrap();
    let found = recover(folder.path()).unwrap();
    assert_eq!((found.records, found.damaged.len(), found.boot), (2, 0, Some(2)));
}

#[test]
fn segments_removed_for_their_age_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (first, end) = boot(folder.path(), 1, 0, &Position::default(), (3, 0));
    let (_, end) = boot(folder.path(), 2, 0, &end, (1, 0));
    fs::remove_file(first).unwrap();
    let found = recover(folder.path()).unwrap();
    assert_eq!((found.positions[&0], found.damaged.len()), (end, 0));
}

#[test]
fn a_changed_record_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = boot(folder.path(), 1, 0, &Position::default(), (2, 0));
    let changed = String::from_utf8(fs::read(&path).unwrap()).unwrap().replacen("bot", "b0t", 1);
    fs::write(&path, &changed).unwrap();
    let found = recover(folder.path()).unwrap();
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(found.damaged[0].1, Broken { line: 2, why: Why::OtherPredecessor });
    assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    assert_eq!(found.torn_bytes, 0);
}

#[test]
fn a_folder_has_one_writer_and_strange_files_in_it_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let held = lock(folder.path()).unwrap();
    assert_eq!(lock(folder.path()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(held);
    assert!(lock(folder.path()).is_ok());
    for name in ["notes.txt", "1-2.jsonl", "a-b-c.jsonl", "0000000000001-000-00000.jsonl.torn"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    assert_eq!(segments(folder.path()).unwrap(), []);
    let stopped = Record::GatewayStopped(Stop { reason: "signal" });
    let mut bytes = Vec::new();
    Shard::resume("1", 0, &Position::default()).append(&mut bytes, UnixMillis(1), &stopped);
    fs::write(folder.path().join(segment_name(1, 0, 0)), bytes).unwrap();
    assert_eq!(recover(folder.path()).unwrap().records, 1);
}
