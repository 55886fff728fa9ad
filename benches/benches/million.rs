//! What the index of a log of a million records takes, and how soon it answers: each report, and queries of every kind, beside the bound of a second; and
//! how SQLite goes about each statement, which is by an index or a key.

use std::fs;
use std::time::{Duration, Instant};

use portcullis_audit::index::query::Query;
use portcullis_audit::index::tally::Days;
use portcullis_audit::index::{FILE, Index};
use portcullis_audit::logs::{self, Numbered};
use portcullis_audit::report::{Ask, Report, Span, report, stats};
use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::tree::{Edge, leaf_hash};

const RECORDS: u64 = 1_000_000;

/// An answer is to come within this.
const BOUND: Duration = Duration::from_secs(1);

/// A log begins here, and a hundred calls come a second.
const BEGUN: i64 = 1_795_428_000_000;

/// One of `n`, the first ones far more often than the last.
fn often(chance: &mut u64, n: u64) -> u64 {
    let share = (next(chance) % 1_000_000) as f64 / 1_000_000.0;
    (share.powi(3) * n as f64) as u64
}

/// SplitMix64.
fn next(chance: &mut u64) -> u64 {
    *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*chance ^ (*chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Entries as eight cores write them: a result comes some calls after its decision.
struct Traffic {
    chance: u64,
    ts: i64,
    seq: [u64; 8],
    due: std::collections::VecDeque<(usize, u64, String, String)>,
}

impl Traffic {
    fn name(&mut self, shard: usize) -> String {
        let seq = self.seq[shard];
        self.seq[shard] += 1;
        format!(r#""prev":"{:064x}","seq":{seq},"shard":{shard}"#, next(&mut self.chance))
    }

    fn entry(&mut self) -> Vec<u8> {
        let chance = next(&mut self.chance);
        self.ts += (chance % 10) as i64;
        let late = self.due.len() as u64 > chance % 40;
        if let Some((shard, of, agent, server)) = self.due.pop_front_if(|_| late) {
            let (chance, name) = (next(&mut self.chance), self.name(shard));
            let outcome = if chance % 50 == 0 { "error" } else { "complete" };
            return format!(
                r#"{{"agent":"{agent}","boot":"1795428000000","decision_seq":{of},"duration_us":{},"event":"result","outcome":"{outcome}",{name},"result_bytes":{},"result_commit":"{chance:064x}","server":"{server}","status":200,"ts":{},"v":2}}"#,
                chance % 20_000, chance % 9_000, self.ts,
            )
            .into_bytes();
        }
        self.decision(chance)
    }

    fn decision(&mut self, chance: u64) -> Vec<u8> {
        let (shard, name) = ((chance % 8) as usize, self.name((chance % 8) as usize));
        // An agent uses a few of all tools.
        let which = often(&mut self.chance, 200);
        let (tool, account) = ((which * 7 + often(&mut self.chance, 8)) % 60, often(&mut self.chance, 5_000));
        let (agent, server) = (format!("agent-{which:03}"), ["crm", "erp", "pg"][(tool % 3) as usize]);
        let denied = chance.is_multiple_of(33);
        let (decision, cause, rules) = match denied {
            true => ("deny", r#""cause":"no_rule","#, String::new()),
            false => ("allow", "", format!(r#""support.cedar:{}""#, tool % 20)),
        };
        if !denied && !chance.is_multiple_of(5_003) {
            self.due.push_back((shard, self.seq[shard] - 1, agent.clone(), server.to_owned()));
        }
        format!(
            r#"{{"account":"acct-{account}","agent":"{agent}","arguments_bytes":{},"arguments_commit":"{chance:064x}","boot":"1795428000000",{cause}"decision":"{decision}","event":"decision","issuer":"https://idp.example/","jti":"{chance:032x}","method":"tools/call",{name},"request_id":{},"revision":"2026-07-28","rules":[{rules}],"server":"{server}","session":"{chance:032x}","snapshot":12,"snapshot_hash":"{:064x}","source":"10.0.{}.{}","tool":"tool_{tool:02}","ts":{},"user":"user-{}","v":2}}"#,
            chance % 900, chance % 1_000, 7, chance % 4, chance % 250, self.ts, often(&mut self.chance, 400),
        )
        .into_bytes()
    }
}

/// A log of as many entries, signed; how many bytes they are.
fn write(folder: &std::path::Path) -> usize {
    let mut traffic = Traffic { chance: 7, ts: BEGUN, seq: [0; 8], due: Default::default() };
    let (mut growth, mut bytes, log) = (Growth::default(), 0, folder.join("logs/0000"));
    for _ in 0..RECORDS {
        let entry = traffic.entry();
        bytes += entry.len();
        growth.append(&entry).expect("it is short enough");
    }
    for asset in growth.take() {
        let path = log.join(asset.tile.path());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, asset.bytes).expect("a tile");
    }
    let signer = NoteSigner::new("bench.example/audit", Kind::Signature, &[7; 32]).expect("a name");
    let checkpoint = Checkpoint { origin: "bench.example/audit".to_owned(), head: growth.head() };
    fs::write(log.join("log.pub"), format!("{}\n", signer.verifier())).expect("a key");
    fs::write(log.join("checkpoint"), checkpoint.sign(&signer)).expect("a checkpoint");
    bytes
}

fn timed<T>(what: &str, ask: impl Fn() -> T, size: impl Fn(&T) -> usize) {
    let first = Instant::now();
    let answer = ask();
    let first = first.elapsed();
    let best = (0..3).map(|_| {
        let begun = Instant::now();
        ask();
        begun.elapsed()
    });
    let best = best.min().unwrap_or_default();
    let holds = if first < BOUND { "HOLDS" } else { "FAILS" };
    println!("{what:44} {:>7} rows  first {first:>10.2?}  best {best:>10.2?}  < {BOUND:?}: {holds}", size(&answer));
}

fn main() {
    // On the disk that holds what is built, as a folder for passing files may lie in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let bytes = write(folder.path());
    let logs = logs::open(folder.path()).expect("a log");
    made(folder.path(), &logs, bytes);
    let index = Index::open(folder.path()).expect("an index");
    asked(&index, &logs);
    for (name, steps) in index.plans().expect("a plan") {
        println!("{name:16} {}", steps.join("; "));
    }
}

/// Makes the index several times, beside what reading and hashing alone take.
fn made(folder: &std::path::Path, logs: &[Numbered], bytes: usize) {
    let log = &logs.first().expect("a log").log;
    let read = || log.entries(0).map(|entry| entry.expect("an entry").1.len()).sum::<usize>();
    // Once, so that the files are in memory.
    assert_eq!(read(), bytes);
    let begun = Instant::now();
    read();
    let reading = begun.elapsed();
    let begun = Instant::now();
    let mut edge = Edge::default();
    log.entries(0).for_each(|entry| edge.push(leaf_hash(&entry.expect("an entry").1)));
    let hashing = begun.elapsed().saturating_sub(reading);
    for own in [None, None, Some(0)] {
        for suffix in ["", "-wal", "-shm"] {
            // The first time there is none.
            let _gone = fs::remove_file(folder.join(format!("{FILE}{suffix}")));
        }
        let mut index = Index::open(folder).expect("an index");
        own.into_iter().for_each(|own| index.believe(own));
        let begun = Instant::now();
        let caught = index.catch_up(logs, &mut |_| {}).expect("the log is what was signed");
        let took = begun.elapsed();
        assert_eq!(caught.entries, RECORDS);
        let calls: u64 = index.tallies(Days::of(None, None)).expect("counts").iter().map(|tally| tally.count.n).sum();
        let each = |span: Duration| span.as_secs_f64() * 1e6 / calls as f64;
        drop(index);
        let size = fs::metadata(folder.join(FILE)).expect("a file").len();
        println!(
            "{calls} calls, {} B of entries each, {}: {took:.2?}, {:.2} us a call (reading alone {:.2}, hashing alone {:.2}), {} B a call in the file",
            bytes as u64 / calls,
            if own.is_some() { "own entries indexed" } else { "indexed" },
            each(took),
            each(reading),
            each(hashing),
            size / calls,
        );
    }
}

fn asked(index: &Index, logs: &[Numbered]) {
    let any = || Query { limit: 50, ..Query::default() };
    let text = |text: &str| Some(text.to_owned());
    let later = UnixMillis(BEGUN + 2_000_000);
    let queries = [
        ("all", any()),
        ("agent (frequent)", Query { agent: text("agent-000"), ..any() }),
        ("agent (rare)", Query { agent: text("agent-199"), ..any() }),
        ("agent (none)", Query { agent: text("agent-xxx"), ..any() }),
        ("user", Query { user: text("user-7"), ..any() }),
        ("tool", Query { tool: text("pg.tool_59"), ..any() }),
        ("server", Query { server: text("pg"), ..any() }),
        ("account", Query { account: text("acct-4999"), ..any() }),
        ("decision", Query { decision: text("deny"), ..any() }),
        ("rule", Query { rule: text("support.cedar:19"), ..any() }),
        ("event", Query { event: text("decision"), ..any() }),
        ("outcome", Query { outcome: text("error"), ..any() }),
        ("cause", Query { cause: text("no_rule"), ..any() }),
        ("a span of time", Query { from: Some(later), to: Some(UnixMillis(later.0 + 1_000)), ..any() }),
        (
            "agent, tool, decision, account: in no call",
            Query {
                agent: text("agent-000"),
                tool: text("crm.tool_00"),
                decision: text("deny"),
                account: text("acct-4999"),
                rule: text("support.cedar:0"),
                ..any()
            },
        ),
        (
            "agent and decision, until a time",
            Query { agent: text("agent-000"), decision: text("deny"), to: Some(later), ..any() },
        ),
        ("the greatest page", Query { limit: 10_000, ..any() }),
    ];
    for (what, query) in &queries {
        timed(what, || index.query(query).expect("a page"), |page| page.calls.len());
    }
    let span = Span { from: None, to: None, limit: 1_000 };
    for ask in [Ask::Account("acct-0".into()), Ask::Denials, Ask::Access, Ask::Changes, Ask::Unknown] {
        timed(&format!("report {}", ask.name()), || report(index, &ask, &span).expect("a report"), Report::rows);
    }
    timed("stats", || stats(index, &span).expect("figures"), |stats| stats.tables.len());
    let find = || index.find(logs, ("1795428000000", 3, 60_000)).expect("an answer");
    timed("where a record stands", find, |found| found.iter().count());
}
