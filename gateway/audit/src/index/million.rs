//! Measures the index on a log of a million records. Run by hand, optimised:
//! `cargo test --profile differential -p portcullis-audit million -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use portcullis_core::time::UnixMillis;
use serde_json::{Value, json};

use super::query::Query;
use super::sample::Folder;
use super::*;
use crate::report::{Ask, Span, report, stats};

const RECORDS: u64 = 1_000_000;

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
    println!("{what:44} {:>7} rows  first {first:>10.2?}  best {best:>10.2?}", size(&answer));
    assert!(first < Duration::from_secs(1), "{what} took {first:?}");
}

#[test]
#[ignore = "takes a minute, and has to be optimised to say anything"]
fn a_million_records_are_indexed_and_asked() {
    let mut folder = Folder::new();
    let mut traffic = Traffic { chance: 7, ts: BEGUN, seq: [0; 8], due: Default::default() };
    let entries: Vec<Vec<u8>> = (0..RECORDS).map(|_| traffic.entry()).collect();
    let bytes: usize = entries.iter().map(Vec::len).sum();
    folder.write(&entries);
    drop(entries);
    let logs = folder.logs();
    // Once, so that the files are in memory; then what of the time is reading and hashing.
    let read = || logs[0].log.entries(0).map(|entry| entry.unwrap().1.len()).sum::<usize>();
    assert_eq!(read(), bytes);
    let begun = Instant::now();
    read();
    let reading = begun.elapsed();
    let begun = Instant::now();
    let mut edge = Edge::default();
    logs[0].log.entries(0).for_each(|entry| edge.push(leaf_hash(&entry.unwrap().1)));
    let hashing = begun.elapsed() - reading;
    for turn in 0..3 {
        let mut index = Index::open(folder.path()).unwrap();
        let begun = Instant::now();
        let caught = index.reindex(&logs, &mut |_| {}).unwrap();
        let took = begun.elapsed();
        assert_eq!(caught.entries, RECORDS);
        let calls: u64 =
            index.tallies(super::tally::Days::of(None, None)).unwrap().iter().map(|tally| tally.count.n).sum();
        let each = |span: Duration| span.as_secs_f64() * 1e6 / calls as f64;
        drop(index);
        let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
        println!(
            "turn {turn}: {calls} calls, {} B of entries each, indexed in {took:.2?}: {:.2} us a call (reading {:.2}, hashing {:.2}), {} B a call in the file",
            bytes as u64 / calls,
            each(took),
            each(reading),
            each(hashing),
            size / calls,
        );
    }
    ask(&folder);
}

fn ask(folder: &Folder) {
    let index = Index::open(folder.path()).unwrap();
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
        timed(what, || index.query(query).unwrap(), |page| page.calls.len());
    }
    let span = Span { from: None, to: None, limit: 1_000 };
    for ask in [Ask::Account("acct-0".into()), Ask::Denials, Ask::Access, Ask::Changes, Ask::Unknown] {
        timed(&format!("report {}", ask.name()), || report(&index, &ask, &span).unwrap(), crate::report::Report::rows);
    }
    timed("stats", || stats(&index, &span).unwrap(), |stats| stats.tables.len());
    let denied: Value = json!(stats(&index, &span).unwrap().figures["denied"]);
    println!("denied: {denied}");
    let logs = folder.logs();
    let find = || index.find(&logs, ("1795428000000", 3, 60_000)).unwrap();
    timed("where a record stands", find, |found| found.iter().count());
}
