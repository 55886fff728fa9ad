//! Measures each stage by itself, in the order a call meets them. A stage that grows slower shows here before it shows in a whole call.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis::http1::head::HeadLimits;
use portcullis::http1::request::RequestHead;
use portcullis_benches::{ALGORITHMS, CALL, NOW, Scene, body, events, head, list};
use portcullis_core::audit::capture::{CaptureRule, Content, Part};
use portcullis_core::audit::chain::{Position, Shard};
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

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const JSON_LIMITS: JsonLimits = JsonLimits { bytes_max: 16 << 20, depth_max: limits::JSON_DEPTH_MAX };
const SERVER: ServerIndex = ServerIndex(0);

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for stage in [heads, bodies, cached, verified, decided, recorded, filtered, split] {
        stage(&mut criterion);
    }
    criterion.final_summary();
}

fn heads(criterion: &mut Criterion) {
    let head = head(&Scene::new("EdDSA").token);
    let limits =
        HeadLimits { bytes_max: limits::HEAD_BYTES_MAX, fields_max: limits::HEADERS_MAX, body_bytes_max: 1 << 20 };
    criterion.bench_function("head", |bench| {
        bench.iter(|| RequestHead::parse(black_box(&head), &limits).unwrap().unwrap().length);
    });
}

/// Tape and duplicate check.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let mut scratch = Scratch::new();
    for bytes in [200, 2 << 10, 16 << 10, 64 << 10] {
        let body = body(bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bench| {
            bench.iter(|| json::read(&mut scratch, black_box(&body), &JSON_LIMITS).unwrap().root().len());
        });
    }
}

fn evidence(scene: &Scene) -> Evidence<'_> {
    Evidence { token: Some(&scene.token), certificate: None, source: SOURCE }
}

fn resource(scene: &Scene) -> &str {
    &scene.snapshot.server(SERVER).unwrap().resource
}

fn principal(scene: &Scene) -> Principal {
    authenticate(&scene.snapshot.registry, &scene.snapshot.issuers, evidence(scene), resource(scene), NOW).unwrap()
}

fn cached(criterion: &mut Criterion) {
    let scene = Scene::new("EdDSA");
    let mut cache = Cache::new(4096, ahash::RandomState::new());
    let shown = Shown { evidence: evidence(&scene), resource: resource(&scene), generation: 1, now: NOW };
    cache.keep(&shown, principal(&scene));
    criterion.bench_function("token/cached", |bench| bench.iter(|| cache.find(black_box(&shown)).unwrap()));
}

fn verified(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token/verified");
    for algorithm in ALGORITHMS {
        let scene = Scene::new(algorithm);
        group.bench_function(algorithm, |bench| bench.iter(|| principal(black_box(&scene))));
    }
}

fn decided(criterion: &mut Criterion) {
    let scene = Scene::new("EdDSA");
    let (principal, engine) = (principal(&scene), &scene.snapshot.engine);
    let mut scratch = Scratch::new();
    let document = json::read(&mut scratch, CALL, &JSON_LIMITS).unwrap();
    let arguments = document.root().pointer("/params/arguments");
    let facts = Facts { arguments, source: SOURCE, now: NOW };
    let mut group = criterion.benchmark_group("decide");
    for (name, tool) in [("unconditional", "bench_plain"), ("argument", "bench_echo")] {
        let action = Action::Tool(engine.tool(SERVER, tool).unwrap());
        group.bench_function(name, |bench| {
            bench.iter(|| engine.decide(&Who::from(black_box(&principal)), SERVER, action, &facts).unwrap());
        });
    }
}

fn part(content: Content<'_>) -> Part<'_> {
    Part { content, rule: CaptureRule::Full, redact: &[] }
}

/// Both records of a call, encoded, hashed and chained.
fn recorded(criterion: &mut Criterion) {
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
    let text = br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"quarterly figures: 1204 rows, 38 columns, no gaps, checked"}],"isError":false}}"#;
    let answer = Record::Result(Answer {
        decision_seq: 7,
        agent: "bench",
        server: "bench",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: part(Content::Whole(text)),
        obliged: Default::default(),
        objected: None,
        duration_us: 120,
    });
    let mut shard = Shard::resume("1800000000000", 0, &Position::default());
    let mut batch = Vec::with_capacity(64 << 10);
    let mut group = criterion.benchmark_group("record");
    for (name, record) in [("decision", &decision), ("result", &answer)] {
        batch.clear();
        shard.append(&mut batch, NOW, record);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                batch.clear();
                shard.append(&mut batch, NOW, black_box(record))
            });
        });
    }
}

/// Every second tool is taken out.
fn filtered(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    for tools in [10, 100] {
        let body = list(tools);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(tools), |bench| {
            bench.iter(|| {
                out.clear();
                let document = json::read(&mut scratch, black_box(&body), &JSON_LIMITS).unwrap();
                let mut seen = 0;
                let mut keep = |tool: Value<'_>, _: &[u8]| {
                    seen += 1;
                    let named = tool.get("name").and_then(Value::as_str).is_some();
                    if named && seen % 2 == 0 { Keep::Keep } else { Keep::Drop }
                };
                filter_list(&body, document.root(), "tools", &mut keep, &mut out).unwrap().dropped
            });
        });
    }
}

fn split(criterion: &mut Criterion) {
    let stream = events(100);
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("100 events", |bench| {
        bench.iter(|| {
            let (mut splitter, mut rest, mut count) = (Splitter::new(1 << 20), black_box(&*stream), 0);
            while let Some(length) = splitter.next_event(rest).unwrap() {
                rest = &rest[length..];
                count += 1;
            }
            count
        });
    });
}
