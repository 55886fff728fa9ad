//! The stages that need bytes alone.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use portcullis::http1::head::HeadLimits;
use portcullis::http1::last::Last;
use portcullis::http1::request::RequestHead;
use portcullis::http1::response::{Asked, ResponseHead};
use portcullis::http1::write::{self, HeadWriter};
use portcullis_core::audit::capture::{CaptureRule, Content, Part};
use portcullis_core::audit::encode;
use portcullis_core::audit::record::{Answer, Caller, Decision, Judged, Outcome, Record, Subject, Verdict};
use portcullis_core::filter::list::filter_list;
use portcullis_core::filter::splice::Keep;
use portcullis_core::identity::cache::{Cache, Shown};
use portcullis_core::identity::principal::{Evidence, Principal, authenticate};
use portcullis_core::limits;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::json::{self, JsonLimits, Scratch, Value};
use portcullis_core::protocol::sse::Splitter;

use crate::stage::Stage;
use crate::{ALGORITHMS, ANSWER, CALL, NOW, Scene, body, events, list, reply};

/// Where every call comes from.
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The one server.
pub const SERVER: ServerIndex = ServerIndex(0);

const JSON_LIMITS: JsonLimits = JsonLimits { bytes_max: 16 << 20, depth_max: limits::JSON_DEPTH_MAX };
const HEAD_LIMITS: HeadLimits =
    HeadLimits { bytes_max: limits::HEAD_BYTES_MAX, fields_max: limits::HEADERS_MAX, body_bytes_max: 1 << 20 };

/// The head of a request.
pub fn head(scene: &Scene) -> Stage {
    let head = crate::head(&scene.token);
    let bytes = head.len();
    let parse = move || RequestHead::parse(black_box(&head), &HEAD_LIMITS).unwrap().unwrap().length;
    Stage::new("head", parse).of_bytes(bytes)
}

/// The same behind another of its connection whose body is longer.
pub fn head_behind_another(scene: &Scene) -> Stage {
    let head = crate::head(&scene.token);
    let length = head.windows(LENGTH.len()).position(|bytes| bytes.eq_ignore_ascii_case(LENGTH)).unwrap();
    let mut other = head.clone();
    other.insert(length + LENGTH.len(), b'1');
    let (mut last, mut turn) = (Last::<RequestHead>::default(), false);
    let bytes = head.len();
    let read = move || {
        turn = !turn;
        let head = if turn { &head } else { &other };
        last.read(black_box(head), &HEAD_LIMITS).unwrap().unwrap().length
    };
    Stage::new("head/behind another", read).of_bytes(bytes)
}

const LENGTH: &[u8] = b"content-length: ";

fn evidence(scene: &Scene) -> Evidence<'_> {
    Evidence { token: Some(&scene.token), certificate: None, source: SOURCE }
}

fn resource(scene: &Scene) -> &str {
    &scene.snapshot.server(SERVER).unwrap().resource
}

fn principal(scene: &Scene) -> Principal {
    authenticate(&scene.snapshot.registry, &scene.snapshot.issuers, evidence(scene), resource(scene), NOW).unwrap()
}

/// A token that was seen before, and tokens that were not.
pub fn tokens(scene: &'static Scene) -> Vec<Stage> {
    let mut cache = Cache::new(4096, ahash::RandomState::with_seeds(1, 2, 3, 4));
    let shown = Shown { evidence: evidence(scene), resource: resource(scene), generation: 1, now: NOW };
    cache.keep(&shown, principal(scene));
    let mut stages = vec![Stage::new("token/cached", move || cache.find(black_box(&shown)).unwrap())];
    stages.extend(ALGORITHMS.map(|algorithm| {
        let scene = Scene::new(algorithm);
        Stage::new(&format!("token/verified/{algorithm}"), move || principal(black_box(&scene))).may_allocate()
    }));
    stages
}

/// Tape and duplicate check.
pub fn bodies() -> Vec<Stage> {
    let stage = |bytes: usize| {
        let (mut scratch, body) = (Scratch::new(), body(bytes));
        let length = body.len();
        let read = move || json::read(&mut scratch, black_box(&body), &JSON_LIMITS).unwrap().root().len();
        Stage::new(&format!("body/{bytes}"), read).of_bytes(length)
    };
    [200, 2 << 10, 16 << 10, 64 << 10].map(stage).into()
}

/// A rule that permits whatever the arguments are, and one that reads an argument.
pub fn decisions(scene: &'static Scene) -> Vec<Stage> {
    let engine = &scene.snapshot.engine;
    let principal: &'static Principal = Box::leak(Box::new(principal(scene)));
    let scratch: &'static mut Scratch = Box::leak(Box::new(Scratch::new()));
    let document: &'static _ = Box::leak(Box::new(json::read(scratch, CALL, &JSON_LIMITS).unwrap()));
    let facts = Facts { arguments: document.root().pointer("/params/arguments"), source: SOURCE, now: NOW };
    let facts: &'static Facts<'static> = Box::leak(Box::new(facts));
    let stage = |(name, tool)| {
        let action = Action::Tool(engine.tool(SERVER, tool).unwrap());
        Stage::new(name, move || engine.decide(&Who::from(black_box(principal)), SERVER, action, facts).unwrap())
    };
    [("decide/unconditional", "bench_plain"), ("decide/argument", "bench_echo")].map(stage).into()
}

fn part(content: Content<'_>) -> Part<'_> {
    Part { content, rule: CaptureRule::Full, redact: &[] }
}

/// The record of a decision: encoded, and chained as a write of its own.
pub fn decision_record() -> Stage {
    let caller = Caller {
        agent: "bench",
        user: None,
        account: None,
        issuer: Some("bench"),
        token_id: Some("b1"),
        certificate: None,
    };
    let hash = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let judged =
        Judged { verdict: Verdict::Allow, cause: None, rules: &["bench.cedar:2"], snapshot: 1, snapshot_hash: hash };
    let decision = Record::Decision(Decision {
        caller,
        source: Some(SOURCE),
        server: "bench",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("bench_echo"),
        arguments: part(Content::Whole(br#"{"path":"/srv/reports/q3.csv","limit":100}"#)),
        judged,
        obligations: &[],
        request_id: Some(b"1"),
    });
    recorded("record/decision", decision)
}

/// The record of a result.
pub fn result_record() -> Stage {
    let answer = Record::Result(Answer {
        decision_seq: 7,
        agent: "bench",
        server: "bench",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: part(Content::Whole(ANSWER)),
        obliged: Default::default(),
        objected: None,
        duration_us: 120,
    });
    recorded("record/result", answer)
}

fn recorded(name: &str, record: Record<'static>) -> Stage {
    let mut batch = Vec::with_capacity(64 << 10);
    encode::write(&mut batch, 7, NOW, &record);
    let bytes = batch.len();
    let append = move || {
        batch.clear();
        encode::write(&mut batch, 7, NOW, black_box(&record));
        batch.len()
    };
    Stage::new(name, append).of_bytes(bytes)
}

/// The head of the upstream's answer, read.
pub fn reply_head() -> Stage {
    let reply = reply();
    let parse = move || ResponseHead::parse(black_box(&reply), Asked::Other, &HEAD_LIMITS).unwrap().unwrap().length;
    Stage::new("reply-head", parse)
}

/// The head of our own answer, written.
pub fn answer_head() -> Stage {
    let (date, mut out) = (write::date(NOW), Vec::with_capacity(1 << 10));
    let written = move || {
        out.clear();
        let mut head = HeadWriter::response(&mut out, 200);
        head.field(b"Date", black_box(&date)).field(b"Content-Type", b"application/json");
        head.number(b"Content-Length", black_box(ANSWER.len() as u64)).lines(b"");
        head.finish()
    };
    Stage::new("answer-head", written)
}

/// Lists of which every second tool is taken out, and a stream split into its events.
pub fn lists() -> Vec<Stage> {
    let mut stages: Vec<Stage> = [10, 100].map(filtered).into();
    let stream = events(100);
    let bytes = stream.len();
    let split = move || {
        let (mut splitter, mut rest, mut count) = (Splitter::new(1 << 20), black_box(&*stream), 0);
        while let Some(length) = splitter.next_event(rest).unwrap() {
            rest = &rest[length..];
            count += 1;
        }
        count
    };
    stages.push(Stage::new("sse/100 events", split).of_bytes(bytes));
    stages
}

fn filtered(tools: usize) -> Stage {
    let (mut scratch, mut out, body) = (Scratch::new(), Vec::new(), list(tools));
    let bytes = body.len();
    let filter = move || {
        out.clear();
        let document = json::read(&mut scratch, black_box(&body), &JSON_LIMITS).unwrap();
        let mut seen = 0;
        let mut keep = |tool: Value<'_>, _: &[u8]| {
            seen += 1;
            let named = tool.get("name").and_then(Value::as_str).is_some();
            if named && seen % 2 == 0 { Keep::Keep } else { Keep::Drop }
        };
        filter_list(&body, document.root(), "tools", &mut keep, &mut out).unwrap().dropped
    };
    Stage::new(&format!("list/{tools}"), filter).of_bytes(bytes)
}
