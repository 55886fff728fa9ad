//! What the audit log takes: how many records a second are spelt, hashed and treed on one core; how many a disk holds for certain by group commit; how
//! long one waits in `strict`, beside what the same disk takes for the same bytes in the same run; how many rows the index takes. How many records
//! `portcullis-verify` checks: `cargo bench -p portcullis-tlog verify`.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use portcullis::control::ledger::Ledger;
use portcullis::journal::syncer::{self, Doorbell, Synced};
use portcullis_audit::disk::RealDisk;
use portcullis_audit::index::Index;
use portcullis_audit::keys::{Keys, WrappingKey, fresh_key};
use portcullis_audit::logs;
use portcullis_audit::recovery;
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, Owed, ShardFile};
use portcullis_core::audit::capture::{Content, Part};
use portcullis_core::audit::encode;
use portcullis_core::audit::field::Fields;
use portcullis_core::audit::leaf::{self, Commits};
use portcullis_core::audit::record::{Answer, Caller, Decision, Judged, Outcome, Record, Subject, Verdict};
use portcullis_core::audit::values::{Opening, Which};
use portcullis_core::config::settings::{CaptureRule, Durability};
use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::tree::Hash;

const ARGUMENTS: &[u8] = br#"{"table":"customers","columns":["name","city"],"limit":50}"#;

/// Records of one `fdatasync`: what two busy cores gather while one is under way.
const GROUP: u64 = 4096;

/// A call: its decision and its end.
fn call(seq: u64) -> [Record<'static>; 2] {
    let part = Part { content: Content::Whole(ARGUMENTS), rule: CaptureRule::Full, redact: &[] };
    let caller = Caller {
        agent: "recon-17",
        user: None,
        account: Some("acct-4711"),
        issuer: Some("https://idp.example.com"),
        token_id: Some("8f14e45f-ceea-467f-a34e-0a1b2c3d4e5f"),
        certificate: None,
    };
    let rules: &[&str] = &["support.cedar:3"];
    let judged = Judged { verdict: Verdict::Allow, cause: None, rules, snapshot: 12, snapshot_hash: "sha256:c0ffee" };
    let decision = Decision {
        caller,
        source: Some([10, 1, 2, 3].into()),
        server: "crm",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("read_table"),
        arguments: part,
        judged,
        obligations: &[],
        request_id: Some(b"17"),
    };
    let answer = Answer {
        decision_seq: seq,
        agent: "recon-17",
        server: "crm",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: Part { content: Content::Whole(portcullis_benches::ANSWER), ..part },
        obliged: Default::default(),
        objected: None,
        duration_us: 1_200,
    };
    [Record::Decision(decision), Record::Result(answer)]
}

/// Records as a core enters them, from `seq` on.
fn fields(batch: &mut Vec<u8>, seq: u64, records: u64) {
    for call_seq in (seq..seq + records).step_by(2) {
        for (record, seq) in call(call_seq).iter().zip(call_seq..) {
            encode::write(batch, seq, UnixMillis(1_795_428_000_000 + seq as i64), record);
        }
    }
}

/// Whether values are committed to here, or their commitments are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Committing {
    Given,
    Here,
}

/// Entries of all that a batch holds, in a tree; what each is goes to `then`.
fn treed(batch: &[u8], growth: &mut Growth, committing: Committing, mut then: impl FnMut(&[u8])) {
    let given = Opening::of_json(Which::Arguments, ARGUMENTS, || [7; 16]).commit();
    let (mut rest, mut entry, mut prev): (&[u8], Vec<u8>, Option<Hash>) = (batch, Vec::with_capacity(4096), None);
    while let Some((fields, after)) = Fields::split(rest) {
        let commit = match committing {
            Committing::Given => given,
            Committing::Here => Opening::of_json(Which::Arguments, ARGUMENTS, || [7; 16]).commit(),
        };
        let commits = Commits { arguments: Some(commit), ..Commits::default() };
        entry.clear();
        let place = leaf::Place { boot: "1795428000000", shard: 0, prev: prev.as_ref() };
        leaf::write(&mut entry, &fields, &place, &commits);
        prev = growth.append_hashed(&entry).ok().map(|(_, hash)| hash);
        then(&entry);
        rest = after;
    }
}

fn spelling(criterion: &mut Criterion) {
    const RECORDS: u64 = 16_384;
    let mut group = criterion.benchmark_group("audit");
    group.throughput(Throughput::Elements(RECORDS));
    let cases = [
        ("record, entry, hash, tree", Committing::Given),
        ("the same, and what commits to its values", Committing::Here),
    ];
    for (name, committing) in cases {
        group.bench_function(name, |bench| {
            let mut batch = Vec::with_capacity(1 << 24);
            bench.iter(|| {
                batch.clear();
                fields(&mut batch, 0, RECORDS);
                let mut growth = Growth::default();
                treed(&batch, &mut growth, committing, |_| ());
                black_box(growth.head())
            });
        });
    }
    group.finish();
}

fn home(folder: &Path) -> Home {
    let key = Arc::new(WrappingKey::new(fresh_key().expect("randomness")));
    Home { disk: Arc::new(RealDisk), folder: folder.to_owned(), key, segment_bytes_max: 64 << 20 }
}

/// Records that the disk holds for certain, in a second: spelt, sealed, written and synced.
fn durable(folder: &Path) {
    const SPAN: Duration = Duration::from_secs(5);
    let owed: Arc<Owed> = Arc::default();
    let mut file = ShardFile::create(&home(folder), 1, 0, owed.clone()).expect("a segment");
    let (begun, mut records) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        let mut batch = vec![0; FRAME_HEAD_BYTES];
        fields(&mut batch, records, GROUP);
        file.append(&mut batch).expect("the disk has room");
        owed.sync().expect("the disk holds it");
        records += GROUP;
    }
    let rate = records as f64 / begun.elapsed().as_secs_f64();
    judge(&format!("{rate:.0} records a second durable, {GROUP} a group commit"), rate >= 200_000.0, "≥ 200,000");
}

/// What an acknowledgement takes in `strict`, through the syncing thread, in turns with what the disk takes for as many bytes by itself.
fn strict(folder: &Path) {
    const TURNS: usize = 3_000;
    let doorbell = Arc::new(Doorbell::default());
    let synced = Arc::new(Synced::new(Durability::Strict, u64::MAX, doorbell.clone()));
    let file = ShardFile::create(&home(folder), 2, 0, synced.owed.clone()).expect("a segment");
    let ledger = Ledger::new(file, 0, synced.clone());
    let (bell, at) = (doorbell.clone(), folder.to_owned());
    let syncing = std::thread::spawn(move || {
        syncer::run(&bell, &[synced], (Durability::Strict, &at), &Doorbell::default());
    });
    let runtime = portcullis::cli::client::runtime().unwrap_or_else(|_| panic!("no runtime"));
    let raw = fs::File::create_new(folder.join("raw")).expect("a file");
    let mut batch = Vec::new();
    fields(&mut batch, 0, 2);
    let (mut ours, mut theirs) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for turn in 0..TURNS as u64 {
        let begun = Instant::now();
        raw.write_all_at(&batch, turn * batch.len() as u64).expect("the disk has room");
        raw.sync_data().expect("the disk holds it");
        theirs.push(begun.elapsed());
        let begun = Instant::now();
        let recorded = runtime.block_on(ledger.record_all(UnixMillis(1), &call(turn)));
        assert!(recorded.is_ok(), "the disk holds it");
        ours.push(begun.elapsed());
    }
    doorbell.stop();
    syncing.join().expect("the syncing thread ends");
    let ([p50, p99], [disk_p50, disk_p99]) = (percentiles(ours), percentiles(theirs));
    let words = format!(
        "strict: acknowledged in p50 {p50:.2?}, p99 {p99:.2?}; the disk alone p50 {disk_p50:.2?}, p99 {disk_p99:.2?}"
    );
    judge(&words, p99 <= disk_p99 * 2 + Duration::from_millis(1), "p99 ≤ 2 × the disk's own + 1 ms");
}

fn percentiles(mut all: Vec<Duration>) -> [Duration; 2] {
    all.sort_unstable();
    [0.5, 0.99].map(|share| all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default())
}

/// What the log takes of a record beside the path: made into an entry, its values sealed apart, hashed and treed (`take`); brought to the disk, ordered and
/// signed (`publish`), as many records at a time as a busy core gives in a second.
fn sequenced(folder: &Path) {
    const SECONDS: u64 = 4;
    const RECORDS: u64 = 80_000;
    const BATCH: u64 = 64;
    let keys = Keys::take_up(&folder.join("keys"), "bench.example/audit").expect("keys");
    let home = Home { key: keys.values.clone(), ..home(&folder.join("wal")) };
    let (mut sequencer, _) = recovery::take_up(Arc::new(RealDisk), folder, keys).expect("a log");
    let owed: Arc<Owed> = Arc::default();
    let mut file = ShardFile::create(&home, 1, 0, owed.clone()).expect("a segment");
    let (mut taking, mut publishing, mut seq) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..SECONDS {
        for _ in 0..RECORDS / BATCH {
            let mut batch = vec![0; FRAME_HEAD_BYTES];
            fields(&mut batch, seq, BATCH);
            file.append(&mut batch).expect("the disk has room");
            seq += BATCH;
        }
        owed.sync().expect("the disk holds it");
        let begun = of_this_thread();
        sequencer.take(1, 0, &owed).expect("what was written");
        let taken = of_this_thread();
        sequencer.publish().expect("the disk has room");
        taking += taken - begun;
        publishing += of_this_thread() - taken;
    }
    let each = |span: Duration| span.as_secs_f64() * 1e6 / seq as f64;
    println!("audit: {:.2} us a record to sequence, {:.2} us to publish", each(taking), each(publishing));
}

/// CPU time that the calling thread has used.
fn of_this_thread() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Rows that the index takes in a second: entries read, hashed and held against the signed head.
fn indexed(folder: &Path) {
    const RECORDS: u64 = 262_144;
    let mut growth = Growth::default();
    let mut batch = Vec::new();
    fields(&mut batch, 0, RECORDS);
    treed(&batch, &mut growth, Committing::Given, |_| ());
    let signer = NoteSigner::new("bench.example/audit", Kind::Signature, &[7; 32]).expect("a name");
    let log = folder.join("logs/0000");
    for asset in growth.take() {
        let path = log.join(asset.tile.path());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, asset.bytes).expect("a tile");
    }
    let checkpoint = Checkpoint { origin: "bench.example/audit".to_owned(), head: growth.head() };
    fs::write(log.join("log.pub"), format!("{}\n", signer.verifier())).expect("a key");
    fs::write(log.join("checkpoint"), checkpoint.sign(&signer)).expect("a checkpoint");
    let logs = logs::open(folder).expect("a log");
    let mut index = Index::open(folder).expect("an index");
    let begun = Instant::now();
    let caught = index.catch_up(&logs, &mut |_| {}).expect("the log is what was signed");
    let took = begun.elapsed();
    let calls = caught.entries / 2;
    println!(
        "audit: {:.0} entries a second into the index, {:.2} us a call, a row a call",
        caught.entries as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / calls as f64
    );
}

fn judge(words: &str, holds: bool, goal: &str) {
    println!("audit: {words} ({goal}: {})", if holds { "HOLDS" } else { "FAILS" });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    spelling(&mut criterion);
    // On the disk that holds what is built, as a folder for passing files may lie in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    durable(folder.path());
    strict(folder.path());
    let fresh = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    sequenced(fresh().path());
    indexed(folder.path());
    criterion.final_summary();
}
