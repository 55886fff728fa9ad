//! What exports promise, over logs on disk.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use portcullis_tlog::tree::leaf_hash;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::calls::{Answer, Calls, Item, Released, WINDOW_ENTRIES};
use super::endpoint::Endpoint;
use super::jsonl::Jsonl;
use super::ocsf::Ocsf;
use super::otlp::Otlp;
use super::protobuf::{Field, fields};
use super::sample::{Records, START, write};
use super::source::{Position, Source, SourceError};
use super::syslog::Syslog;
use super::{Fault, NoValues, OpenCalls, Put, Sink, Span, Summary, Values, calls, leaves};

/// A folder with these logs, opened.
fn logs(logs: &[&[Vec<u8>]]) -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), logs);
    let source = Source::open(folder.path()).unwrap();
    (folder, source)
}

fn at(log: u32, index: u64) -> Position {
    Position { log, index }
}

/// What a sink was given, in a word each.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    reached: Option<Position>,
}

impl Sink for Words {
    fn put(&mut self, item: &Item, _values: &mut dyn Values) -> Result<Put, Fault> {
        let answer = match &item.answer {
            Answer::NotExpected => "alone".to_owned(),
            Answer::Given(end) => format!("given {}", end.leaf.at),
            Answer::Unknown(end) => format!("unknown {}", end.leaf.at),
            Answer::Open { released: Released::Nothing } => "open".to_owned(),
            Answer::Open { released: Released::Some } => "partly".to_owned(),
        };
        self.words.push(format!("{} {} {answer}", item.first.leaf.at, item.first.entry.event));
        Ok(Put::Taken)
    }

    fn reached(&mut self, at: Position) -> Result<(), Fault> {
        self.reached = Some(at);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn delivered(&self) -> Option<Position> {
        self.reached
    }
}

fn words(source: &Source, span: Span) -> (Vec<String>, Summary) {
    let mut sink = Words::default();
    let summary = calls(source, &span, &mut sink, &mut NoValues, &mut |_| {}).unwrap();
    (sink.words, summary)
}

#[test]
fn a_folder_without_a_log_to_believe_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Source::open(folder.path()), Err(SourceError::NoLog)));
    write(folder.path(), &[&[b"{}".to_vec()]]);
    std::fs::write(folder.path().join("logs/0000/log.pub"), "x").unwrap();
    assert!(matches!(Source::open(folder.path()), Err(SourceError::Key { .. })));
    write(folder.path(), &[&[b"{}".to_vec()]]);
    let checkpoint = folder.path().join("logs/0000/checkpoint");
    let forged = std::fs::read_to_string(&checkpoint).unwrap().replace("\n1\n", "\n2\n");
    std::fs::write(&checkpoint, forged).unwrap();
    assert!(matches!(Source::open(folder.path()), Err(SourceError::Refused { log: 0, .. })));
}

#[test]
fn a_place_is_read_as_it_is_written() {
    for (text, expected) in [
        ("", None),
        ("x", None),
        ("1/", None),
        ("/1", None),
        ("+1", None),
        ("1/2/3", None),
        ("7", Some(at(3, 7))),
        ("0/7", Some(at(0, 7))),
    ] {
        assert_eq!(Position::parse(text, 3), expected, "given {text:?}");
    }
    assert_eq!(at(1, 2).to_string(), "1/2");
}

#[test]
fn calls_are_paired_whatever_stands_between() {
    let mut records = Records::default();
    let first = records.allow(0);
    records.deny(1);
    let second = records.allow(1);
    records.end(1, second, "result.begun");
    records.end(0, first, "result");
    records.end(1, second, "result.ended");
    let lost = records.allow(0);
    records.end(0, lost, "outcome.unknown");
    records.end(0, 99, "result");
    let open = records.allow(1);
    records.end(1, open, "result.begun");
    let (_folder, source) = logs(&[&records.leaves]);
    let (given, summary) = words(&source, Span::default());
    let settled = [
        "0/1 decision alone",
        "0/0 decision given 0/4",
        "0/2 decision given 0/5",
        "0/6 decision unknown 0/7",
        "0/8 result alone",
    ];
    assert_eq!(given, settled);
    assert_eq!((summary.records, summary.under_way, summary.delivered), (5, 1, Some(at(0, 10))));
    let (given, summary) = words(&source, Span { open: OpenCalls::Give, ..Span::default() });
    assert_eq!(given.last().map(String::as_str), Some("0/9 decision partly"));
    assert_eq!((given.len(), summary.under_way), (6, 1));
}

#[test]
fn exports_that_follow_each_other_give_everything_once_wherever_they_are_cut() {
    let mut records = Records::default();
    let mut waiting: Vec<(usize, u64)> = Vec::new();
    for step in 0..40 {
        let shard = step % 2;
        match step * 7 % 5 {
            0 | 3 => waiting.push((shard, records.allow(shard))),
            1 => {
                records.deny(shard);
            }
            _ => {
                if !waiting.is_empty() {
                    let (shard, seq) = waiting.remove(step % waiting.len());
                    records.end(shard, seq, "result");
                }
            }
        }
    }
    let (older, newer) = records.leaves.split_at(17);
    let (_folder, source) = logs(&[older, newer]);
    let whole = words(&source, Span::default()).0;
    assert!(whole.len() > 10, "{whole:?}");
    for cut in 0..source.size() {
        let after = source.entries(cut).next().unwrap().unwrap().at;
        // What the first export saw is what lay before: the log as it was then.
        let mut sink = Words::default();
        let mut until = Calls::new(&source);
        for (ordinal, leaf) in (0..=cut).zip(source.entries(0)) {
            let leaf = leaf.unwrap();
            if leaf.is_record() {
                let entry = serde_json::from_slice(&leaf.bytes).unwrap();
                until.push(ordinal, leaf, entry).unwrap().iter().for_each(|item| drop(sink.put(item, &mut NoValues)));
            }
        }
        let (rest, summary) = words(&source, Span { after: Some(after), ..Span::default() });
        assert_eq!([sink.words, rest].concat(), whole, "cut after {after}");
        assert_eq!(summary.delivered.is_some(), cut + 1 < source.size());
    }
}

#[test]
fn a_decision_waits_no_longer_than_the_window_and_is_given_once_all_the_same() {
    let mut records = Records::default();
    let late = records.allow(0);
    let just = records.allow(1);
    while (records.leaves.len() as u64) < WINDOW_ENTRIES {
        records.deny(0);
    }
    records.deny(1);
    // One entry beyond the window, and the last one within it.
    records.leaves.swap_remove(5);
    records.end(1, just, "result");
    records.end(0, late, "result");
    let (_folder, source) = logs(&[&records.leaves]);
    let (given, summary) = words(&source, Span::default());
    let end = records.leaves.len() as u64 - 1;
    let tail: Vec<&str> = given.iter().rev().take(3).map(String::as_str).collect();
    let expected =
        [format!("0/{end} result alone"), format!("0/1 decision given 0/{}", end - 1), "0/0 decision open".to_owned()];
    assert_eq!(tail, expected);
    assert_eq!(summary.under_way, 0);
    let (rest, _) = words(&source, Span { after: Some(at(0, end - 2)), ..Span::default() });
    assert_eq!(rest, expected.iter().rev().cloned().collect::<Vec<_>>());
    let (rest, _) = words(&source, Span { after: Some(at(0, end - 1)), ..Span::default() });
    assert_eq!(rest, [format!("0/{end} result alone")]);
}

#[test]
fn decisions_beyond_the_memory_for_them_are_read_again() {
    let mut records = Records::default();
    let decisions: Vec<u64> = (0..8).map(|_| records.allow(0)).collect();
    for seq in decisions {
        records.end(0, seq, "result");
    }
    let (_folder, source) = logs(&[&records.leaves]);
    let mut calls = Calls::within(&source, 700);
    let mut given = Vec::new();
    for (ordinal, leaf) in (0..).zip(source.entries(0)) {
        let leaf = leaf.unwrap();
        let entry = serde_json::from_slice(&leaf.bytes).unwrap();
        given.extend(calls.push(ordinal, leaf, entry).unwrap());
    }
    assert_eq!(given.len(), 8);
    for (item, leaf) in given.iter().zip(&records.leaves) {
        assert_eq!(&item.first.leaf.bytes, leaf);
    }
}

#[test]
fn a_span_of_time_takes_calls_by_their_decision() {
    let mut records = Records::default();
    let first = records.allow(0);
    let second = records.allow(0);
    records.end(0, first, "result");
    records.end(0, second, "result");
    records.deny(0);
    let (_folder, source) = logs(&[&records.leaves]);
    let span = |from, until| Span { from, until, ..Span::default() };
    assert_eq!(words(&source, span(Some(START + 1), Some(START + 4))).0, ["0/1 decision given 0/3"]);
    assert_eq!(words(&source, span(None, Some(START))).0, [""; 0]);
    assert_eq!(words(&source, span(Some(START + 4), None)).0, ["0/4 decision alone"]);
}

struct Known(BTreeMap<Position, &'static str>);

impl Values for Known {
    fn of(&mut self, at: Position) -> std::io::Result<Option<String>> {
        Ok(self.0.get(&at).map(|&value| value.to_owned()))
    }
}

#[test]
fn a_line_holds_the_leaf_byte_for_byte_and_a_value_beside_it() {
    let mut records = Records::default();
    records.call(0);
    records.deny(0);
    let (older, newer) = records.leaves.split_at(2);
    let (_folder, source) = logs(&[older, newer]);
    let mut known = Known(BTreeMap::from([(at(0, 0), "{\"a\":\n1}"), (at(0, 1), "[1,")]));
    let mut out = Vec::new();
    let mut jsonl = Jsonl::new(&source, &mut out, &mut known);
    let summary = leaves(&source, &Span::default(), &mut jsonl, &mut |_| {}).unwrap();
    assert_eq!((summary.records, summary.delivered), (4, Some(at(1, 1))));
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let leaf = String::from_utf8(records.leaves[0].clone()).unwrap();
    assert_eq!(lines[0], format!(r#"{{"log":"example.com/log0","index":0,"leaf":{leaf},"value":{{"a": 1}}}}"#));
    assert!(lines[1].ends_with(r#","value":"[1,"}"#), "{}", lines[1]);
    let read: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read[2]["note"].as_str(), Some(source.parts()[0].log.note()));
    assert_eq!((&read[3]["index"], &read[3]["log"]), (&json!(1), &json!("example.com/log1")));
    assert_eq!(read[3].get("value"), None);
    let mut known = Known(BTreeMap::new());
    let (mut out, span) = (Vec::new(), Span { from: Some(START + 2), after: Some(at(0, 1)), ..Span::default() });
    let mut jsonl = Jsonl::new(&source, &mut out, &mut known);
    assert_eq!(leaves(&source, &span, &mut jsonl, &mut |_| {}).unwrap().records, 1);
}

/// The OCSF events of a log.
fn events(source: &Source, values: &mut dyn Values) -> (Vec<Value>, Summary) {
    let mut out = Vec::new();
    let mut sink = Ocsf::new(source, &mut out);
    let summary = calls(source, &Span::default(), &mut sink, values, &mut |_| {}).unwrap();
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), summary)
}

#[test]
fn an_event_carries_the_leaves_and_what_vouches_for_them() {
    let mut records = Records::default();
    records.add(0, "gateway.started", &[("version", "1".into())]);
    records.call(0);
    records.deny(0);
    let (_folder, source) = logs(&[&records.leaves]);
    let mut known =
        Known(BTreeMap::from([(at(0, 1), r#"{"table":"customers"}"#), (at(0, 2), "12345678901234567890123")]));
    let (events, summary) = events(&source, &mut known);
    assert_eq!((summary.records, summary.no_place), (2, 1));
    let event = &events[0];
    let raw: Vec<&str> = event["raw_data"].as_str().unwrap().split('\n').collect();
    let list = event["attestation_list"].as_array().unwrap();
    assert_eq!((raw.len(), list.len()), (2, 2));
    for (leaf, attestation) in raw.iter().zip(list) {
        let hash = super::item::hex(&leaf_hash(leaf.as_bytes()));
        assert_eq!(attestation["fingerprint"]["value"], json!(hash));
        assert_eq!(attestation["chain_uid"], json!("example.com/log0"));
    }
    assert_eq!(list[1]["prev_event"]["fingerprint"]["value"], list[0]["fingerprint"]["value"]);
    assert_eq!(list[1]["prev_event"]["uid"], event["metadata"]["uid"]);
    // The denied call's record stands behind the result's, which the first event holds.
    let previous = &events[1]["attestation_list"][0]["prev_event"];
    assert_eq!((&previous["uid"], &previous["type_uid"]), (&event["metadata"]["uid"], &json!(600_399)));
    assert_eq!(event["unmapped"]["checkpoints"]["example.com/log0"].as_str(), Some(source.parts()[0].log.note()));
    assert_eq!(event["api"]["request"]["data"], json!({"table": "customers"}));
    assert_eq!(event["api"]["response"]["data"], json!("12345678901234567890123"));
    let facts = |event: &Value| {
        let number = |name: &str| event[name].as_u64().unwrap_or(u64::MAX);
        [
            number("activity_id"),
            number("status_id"),
            number("action_id"),
            number("disposition_id"),
            number("severity_id"),
        ]
    };
    assert_eq!(facts(event), [99, 1, 1, 1, 1]);
    assert_eq!(facts(&events[1]), [2, 2, 2, 2, 3]);
}

#[test]
fn a_message_of_syslog_is_escaped_and_counted() {
    let mut records = Records::default();
    records.deny(0);
    records.call(1);
    let (_folder, source) = logs(&[&records.leaves]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    let receiver = thread::spawn(move || {
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    let mut sink = Syslog::new(&source, &endpoint, None, "gate way").unwrap();
    let summary = calls(&source, &Span::default(), &mut sink, &mut NoValues, &mut |_| {}).unwrap();
    assert_eq!((summary.records, summary.delivered), (2, Some(at(0, 2))));
    let text = receiver.join().unwrap();
    let (length, rest) = text.split_once(' ').unwrap();
    let (first, second) = rest.split_at(length.parse().unwrap());
    assert!(
        first.starts_with(
            "<108>1 2026-11-23T10:00:00.000Z gateway portcullis b0 decision [portcullis@32473 id=\"b0-0-0\""
        ),
        "{first}"
    );
    assert!(first.contains(r#" uri="file:///x\"\]\\u{a}" "#), "{first}");
    assert!(first.contains("] \u{feff}2026-11-23T10:00:00.000Z DENY recon-17 crm resources/read"), "{first}");
    let (length, rest) = second.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), rest.len());
    assert!(rest.starts_with("<110>1 ") && rest.contains(r#" outcome="complete" status="200""#), "{rest}");

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("udp://{}", socket.local_addr().unwrap())).unwrap();
    let mut sink = Syslog::new(&source, &endpoint, None, "h").unwrap();
    calls(&source, &Span::default(), &mut sink, &mut NoValues, &mut |_| {}).unwrap();
    let mut buffer = [0; 65_536];
    for event in ["decision", "decision"] {
        let bytes = socket.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..bytes]).unwrap();
        assert!(message.contains(&format!("b0 {event} [")), "{message}");
    }
}

/// Answers posts as told, one after the other, over as few connections as the client makes; what was posted.
fn collector(listener: TcpListener, answers: Vec<&'static str>) -> thread::JoinHandle<Vec<(usize, Vec<u8>)>> {
    thread::spawn(move || {
        let (mut posted, mut answers, mut connections) = (Vec::new(), answers.into_iter(), 0);
        while answers.len() > 0 {
            let mut stream = listener.accept().unwrap().0;
            connections += 1;
            while let Some(body) = request(&mut stream) {
                posted.push((connections, body));
                let Some(answer) = answers.next() else { break };
                if answer.is_empty() {
                    break;
                }
                stream.write_all(answer.as_bytes()).unwrap();
                if answers.len() == 0 {
                    break;
                }
            }
        }
        posted
    })
}

fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nx-key: 1\r\n") && head.contains("\r\ncontent-type: application/x-protobuf\r\n"),
        "{head}"
    );
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(body)
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What posting a log came to.
struct Posted {
    result: Result<Summary, super::Broken>,
    turned_down: u64,
    posts: Vec<(usize, Vec<u8>)>,
    waits: Vec<u64>,
}

/// Posts the log to a collector that answers so.
fn posted(source: &Source, answers: Vec<&'static str>) -> Posted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let collector = collector(listener, answers);
    let mut waits = Vec::new();
    let mut pause = |wait: Duration| waits.push(wait.as_secs());
    let mut sink = Otlp::new(source, &endpoint, None, &["x-key: 1".to_owned()], &mut pause);
    let result = calls(source, &Span::default(), &mut sink, &mut NoValues, &mut |_| {});
    let turned_down = sink.turned_down;
    drop(sink);
    Posted { result, turned_down, posts: collector.join().unwrap(), waits }
}

#[test]
fn a_receiver_that_refuses_ends_the_export_where_it_stood() {
    let mut records = Records::default();
    for _ in 0..600 {
        records.call(0);
    }
    let (_folder, source) = logs(&[&records.leaves]);
    let answers = vec![TAKEN, "HTTP/1.1 400 no\r\ncontent-length: 7\r\n\r\nbad\nkey"];
    let Posted { result, waits, .. } = posted(&source, answers);
    let broken = result.unwrap_err();
    assert_eq!(broken.done.delivered, Some(at(0, 1023)));
    assert!(matches!(&broken.fault, Fault::Refused { status: 400, words } if words == "bad key"), "{}", broken.fault);
    assert_eq!(waits, [0; 0]);
    let Posted { result, waits, .. } = posted(&source, vec!["SSH-2.0-other\r\n"]);
    assert!(matches!(result.unwrap_err().fault, Fault::Peer(_)));
    assert_eq!(waits, [0; 0]);
    let busy = vec!["HTTP/1.1 429 x\r\ncontent-length: 0\r\n\r\n"; 9];
    let Posted { result, posts, waits, .. } = posted(&source, busy);
    assert!(matches!(result.unwrap_err().fault, Fault::Busy { status: Some(429), tries: 9 }));
    assert_eq!((posts.len(), waits), (9, vec![1, 2, 4, 8, 16, 32, 60, 60]));
}

#[test]
fn a_busy_receiver_is_asked_again_when_it_says_and_gets_every_record() {
    let mut records = Records::default();
    for _ in 0..600 {
        records.call(0);
    }
    let (_folder, source) = logs(&[&records.leaves]);
    let answers = vec![
        "HTTP/1.1 503 x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 x\r\nretry-after: 9999\r\ncontent-length: 0\r\n\r\n",
        TAKEN,
        // The connection is gone instead of an answer.
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\x0a\x02\x08\x03",
    ];
    let Posted { result, turned_down, posts, waits } = posted(&source, answers);
    let summary = result.unwrap();
    assert_eq!((summary.records, summary.delivered, turned_down), (600, Some(at(0, 1199)), 3));
    assert_eq!(waits, [7, 60]);
    let connections: Vec<usize> = posts.iter().map(|(connection, _)| *connection).collect();
    assert_eq!(connections, [1, 1, 1, 1, 2]);
    assert!(posts[0].1 == posts[2].1 && posts[3].1 == posts[4].1);
    let counts: Vec<usize> = [&posts[2], &posts[4]].map(|(_, body)| records_in(body)).to_vec();
    assert_eq!(counts, [512, 88]);
}

fn records_in(body: &[u8]) -> usize {
    let inner = |message: &[u8], wanted: u32| -> Vec<Vec<u8>> {
        let found = fields(message).filter_map(|field| match field {
            (number, Field::Bytes(bytes)) if number == wanted => Some(bytes.to_vec()),
            _ => None,
        });
        found.collect()
    };
    inner(&inner(&inner(body, 1)[0], 2)[0], 2).len()
}
