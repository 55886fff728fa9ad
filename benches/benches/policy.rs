//! Measures decisions: hot and cold, from ten rules to a hundred thousand, and other policy engines beside ours on the same rules.
//!
//! `reading` is what a hot decision spends on the arguments, `read` what it spends once they are read (the look-up of agent and cell, the program, the
//! determining rules), `whole` is `Engine::decide`. Times are the thread's own, so that neighbours on the machine do not count. The other engines get their requests ready made and decide only.

mod cpu;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use cpu::CpuTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use portcullis_benches::NOW;
use portcullis_benches::grid::{FORBID, Grid, Sizes, covered, rule, tool_name};
use portcullis_core::limits;
use portcullis_core::policy::cell::Way;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::evaluate::Values;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::slots::{self, Made, Slots};
use portcullis_core::protocol::json::{self, JsonLimits, Scratch};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const JSON_LIMITS: JsonLimits = JsonLimits { bytes_max: 16 << 20, depth_max: limits::JSON_DEPTH_MAX };
const ARGUMENTS: &[u8] = br#"{"table": "orders", "limit": 100}"#;

/// Rules of our engine's runs; the largest stands over 100,000 agents × 10,000 tools.
const RULES: [usize; 4] = [10, 1_000, 10_000, 100_000];

/// Rules of the other engines' runs, which grow slow with them.
const RULES_BESIDE: [usize; 3] = [10, 1_000, 10_000];

/// Pairs of agent and tool of a cold run: more than any cache holds what they touch.
const PAIRS: usize = 1 << 18;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    for rules in RULES {
        ours(&mut criterion, rules);
    }
    cedars(&mut criterion);
    regos(&mut criterion);
    cels(&mut criterion);
    criterion.final_summary();
}

fn sizes(rules: usize) -> Sizes {
    match rules {
        100_000 => Sizes { rules, agents: 100_000, groups: 2_000, tools: 10_000 },
        rules => Sizes { rules, agents: rules.min(2_000), groups: rules.min(2_000), tools: rules.min(10_000) },
    }
}

fn ours(criterion: &mut Criterion<CpuTime>, rules: usize) {
    let begun = Instant::now();
    let grid = Grid::new(sizes(rules));
    let (classes, rows, cells) = grid.engine.sizes();
    println!(
        "policy: {rules} rules, {} agents, {} tools built in {:.1} s: {classes} classes, {rows} rows, {cells} cells, {} slow",
        grid.sizes.agents,
        grid.sizes.tools,
        begun.elapsed().as_secs_f64(),
        grid.engine.slow_cells()
    );
    let mut scratch = Scratch::new();
    let document = json::read(&mut scratch, ARGUMENTS, &JSON_LIMITS).unwrap();
    let facts = Facts { arguments: Some(document.root()), source: SOURCE, now: NOW };
    hot(&mut criterion.benchmark_group("policy/hot"), &grid, &facts);
    if rules >= 10_000 {
        cold(&mut criterion.benchmark_group("policy/cold"), &grid, &facts);
    }
}

fn hot(group: &mut BenchmarkGroup<'_, CpuTime>, grid: &Grid, facts: &Facts<'_>) {
    let rules = grid.sizes.rules;
    let (agent, tool) = grid.permitted(rules / 2, 0);
    let (who, (server, tool)) = (grid.who(agent), grid.tool(tool));
    assert_eq!(grid.engine.decide(&who, server, Action::Tool(tool), facts).unwrap().determining().total(), 1);
    group.bench_function(BenchmarkId::new("whole", rules), |bench| {
        bench.iter(|| grid.engine.decide(black_box(&who), server, Action::Tool(tool), facts).unwrap());
    });
    let (program, subjects) = grid.engine.program(&who, server, tool).unwrap();
    group.bench_function(BenchmarkId::new("reading", rules), |bench| {
        bench.iter(|| {
            let made = Made::default();
            let mut slots = Slots::new();
            slots::read(black_box(&program.plan), subjects, facts, &made, &mut slots).unwrap();
            black_box(&slots).len()
        });
    });
    let made = Made::default();
    let mut read = Slots::new();
    slots::read(&program.plan, subjects, facts, &made, &mut read).unwrap();
    group.bench_function(BenchmarkId::new("read", rules), |bench| {
        bench.iter(|| {
            let (program, _) = grid.engine.program(black_box(&who), server, tool).unwrap();
            let Way::Residuals(residuals) = &program.way else { panic!("the grid's rules have programs") };
            residuals.outcome(&Values::new(&read, who.claims)).unwrap()
        });
    });
}

/// Pairs in an order that no cache foresees: every permitted pair, and any pair at all.
fn cold(group: &mut BenchmarkGroup<'_, CpuTime>, grid: &Grid, facts: &Facts<'_>) {
    let mut state = 2026_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let Sizes { rules, agents, tools, .. } = grid.sizes;
    let permitted: Vec<_> = (0..PAIRS).map(|_| grid.permitted(below(rules), below(agents))).collect();
    let any: Vec<_> = (0..PAIRS).map(|_| (below(agents), below(tools))).collect();
    for (name, pairs) in [("permitted", permitted), ("any", any)] {
        let calls: Vec<_> = pairs.iter().map(|(agent, tool)| (grid.who(*agent), grid.tool(*tool))).collect();
        let mut next = calls.iter().cycle();
        group.bench_function(BenchmarkId::new(name, rules), |bench| {
            bench.iter(|| {
                let (who, (server, tool)) = next.next().unwrap();
                grid.engine.decide(black_box(who), *server, Action::Tool(*tool), facts).is_ok()
            });
        });
    }
}

fn uid(text: &str) -> EntityUid {
    text.parse().unwrap()
}

/// Cedar's authorizer over all rules, and over the two that our index leaves.
fn cedars(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("policy/cedar");
    for rules in RULES_BESIDE {
        let sizes = sizes(rules);
        let wanted = rules / 2;
        let whole: String = (0..rules).map(|number| rule(number, sizes)).chain([FORBID.to_owned()]).collect();
        let slice = rule(wanted, sizes) + FORBID;
        let entities = json_entities(wanted % sizes.groups);
        let tool = covered(wanted, sizes).1;
        let server = tool / 1_000;
        let context = serde_json::json!({"input": {"table": "orders", "limit": 100}});
        let request = Request::new(
            uid("Agent::\"a\""),
            uid(&format!("Action::\"s{server}.{}\"", tool_name(tool))),
            uid(&format!("Server::\"s{server}\"")),
            Context::from_json_value(context, None).unwrap(),
            None,
        )
        .unwrap();
        for (name, text) in [("whole", &whole), ("slice", &slice)] {
            let set: PolicySet = text.parse().unwrap();
            let authorizer = Authorizer::new();
            let allowed = authorizer.is_authorized(&request, &set, &entities).decision();
            assert_eq!(allowed, cedar_policy::Decision::Allow);
            group.bench_function(BenchmarkId::new(name, rules), |bench| {
                bench.iter(|| authorizer.is_authorized(black_box(&request), &set, &entities).decision());
            });
        }
    }
}

fn json_entities(group: usize) -> Entities {
    let parent = serde_json::json!({"type": "Group", "id": format!("group-{group}")});
    let agent = serde_json::json!([{"uid": {"type": "Agent", "id": "a"}, "attrs": {}, "parents": [parent]}]);
    Entities::from_json_value(agent, None).unwrap()
}

/// Rego in regorus' virtual machine: the rules as data that one rule looks up, and each written out.
fn regos(criterion: &mut Criterion<CpuTime>) {
    const LOOKED_UP: &str = r#"package p
        import rego.v1
        default allow := false
        allow if { input.table != "financials"; input.table in data.rules[input.group][input.tool] }"#;
    let mut group = criterion.benchmark_group("policy/regorus");
    for rules in RULES_BESIDE {
        let sizes = sizes(rules);
        let wanted = rules / 2;
        let mut data = serde_json::Map::new();
        let mut written = String::from("package p\nimport rego.v1\ndefault allow := false\n");
        for number in 0..rules {
            let (of, tool) = (format!("group-{}", number % sizes.groups), tool_name(covered(number, sizes).1));
            written += &format!(
                "allow if {{ input.group == \"{of}\"; input.tool == \"{tool}\"; input.table != \"financials\"; input.table in {{\"customers\", \"orders\"}} }}\n"
            );
            let tools = data.entry(of).or_insert_with(|| serde_json::json!({}));
            tools[&tool] = serde_json::json!(["customers", "orders"]);
        }
        let data = regorus::Value::from_json_str(&serde_json::json!({ "rules": data }).to_string()).unwrap();
        let input = serde_json::json!({"group": format!("group-{}", wanted % sizes.groups), "tool": tool_name(covered(wanted, sizes).1), "table": "orders"});
        let input = regorus::Value::from_json_str(&input.to_string()).unwrap();
        for (name, text) in [("looked up", LOOKED_UP), ("written out", &written)] {
            // Ten thousand rules written out exceed what its compiler takes.
            if name == "written out" && rules > 1_000 {
                continue;
            }
            let mut engine = regorus::Engine::new();
            engine.add_policy("p.rego".to_owned(), text.to_owned()).unwrap();
            engine.add_data(data.clone()).unwrap();
            let entry: regorus::Rc<str> = "data.p.allow".into();
            let compiled = engine.compile_with_entrypoint(&entry).unwrap();
            let program =
                regorus::languages::rego::compiler::Compiler::compile_from_policy(&compiled, &["data.p.allow"])
                    .unwrap();
            let mut machine = regorus::rvm::vm::RegoVM::new();
            machine.load_program(Arc::clone(&program));
            machine.set_data(data.clone()).unwrap();
            machine.set_input(input.clone());
            assert_eq!(machine.execute().unwrap(), regorus::Value::from(true));
            group.bench_function(BenchmarkId::new(name, rules), |bench| {
                bench.iter(|| {
                    machine.set_input(black_box(input.clone()));
                    machine.execute().unwrap()
                });
            });
        }
    }
}

/// One CEL expression a rule, tried in their order until one holds.
fn cels(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("policy/cel");
    for rules in RULES_BESIDE {
        let sizes = sizes(rules);
        let wanted = rules / 2;
        let programs: Vec<cel::Program> = (0..rules)
            .map(|number| {
                let (of, tool) = (number % sizes.groups, tool_name(covered(number, sizes).1));
                let text =
                    format!("group == \"group-{of}\" && tool == \"{tool}\" && table in [\"customers\", \"orders\"]");
                cel::Program::compile(&text).unwrap()
            })
            .collect();
        let mut context = cel::Context::default();
        context.add_variable_from_value("group", format!("group-{}", wanted % sizes.groups));
        context.add_variable_from_value("tool", tool_name(covered(wanted, sizes).1));
        context.add_variable_from_value("table", "orders".to_owned());
        let holds = |program: &cel::Program| matches!(program.execute(&context), Ok(cel::Value::Bool(true)));
        assert!(programs.iter().any(holds));
        group.bench_function(BenchmarkId::new("first match", rules), |bench| {
            bench.iter(|| black_box(&programs).iter().position(holds));
        });
    }
}
