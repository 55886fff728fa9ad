//! The kernel layer, end to end: what is banned, greedy or late goes no further, what has proven an agent does, and a restart changes neither.
//!
//! Rows in a network of their own are privileged: they say so where they cannot run. The others run for everybody.

use aya::maps::{HashMap, Map, MapData};
use portcullis_ebpf_common::{Address, SourceKey};
use portcullis_tests::CEILING;
use portcullis_tests::client::Client;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::net::{self, Net};
use portcullis_tests::setup::{Setup, Tls};
use portcullis_tests::upstream::Upstream;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

/// As long as a connection is tried that ought to be dropped.
const REFUSED: Duration = Duration::from_millis(400);

/// Between two looks at something that only the clock brings about.
const LOOK: Duration = Duration::from_millis(50);

/// A gateway on the network's own address, with programs in front.
fn guarded(net: &Net, upstream: &Upstream, lines: &str) -> Gateway {
    let kernel = format!(
        "ebpf = \"require\"\ninterfaces = [\"{}\"]\npins = \"{}\"\n{lines}",
        net.interface(),
        net.pins().display()
    );
    Setup::open(upstream).tls(Tls::Optional).kernel(&kernel).at(net.ours()).start()
}

fn client(net: &Net, gateway: &Gateway, host: u8) -> Client {
    let socket = net.connect(host, gateway.address(), CEILING).expect("a connection");
    Client::over(socket, gateway.identity(None).as_ref()).expect("a handshake")
}

fn calls(gateway: &Gateway, client: &mut Client) {
    let answer = client.exchange(&gateway.call("reader", "loose", json!({"pad": "x".repeat(2_000)})));
    assert!(answer.is_result(), "{}", answer.text());
}

fn status(gateway: &Gateway) -> Value {
    gateway.control("GET", "/v1/kernel").1
}

fn packets(gateway: &Gateway, verdict: &str) -> u64 {
    status(gateway)["packets"][verdict].as_u64().expect("a counter")
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Bans as the gateway does: in the pinned map.
fn ban(net: &Net, source: IpAddr, lasts: Duration) {
    let IpAddr::V4(v4) = source else { panic!("IPv4") };
    let map = Map::from_map_data(MapData::from_pin(net.pins().join("BANS")).unwrap()).unwrap();
    let mut bans: HashMap<_, [u8; 16], u64> = map.try_into().unwrap();
    let until = monotonic_ns() + lasts.as_nanos() as u64;
    bans.insert(SourceKey::of(Address::from_v4(v4.octets())).0.0, until, 0).unwrap();
}

fn marks(net: &Net) -> Vec<[u8; 40]> {
    let map = Map::from_map_data(MapData::from_pin(net.pins().join("MARKS")).unwrap()).unwrap();
    let marks: HashMap<_, [u8; 40], u64> = map.try_into().unwrap();
    marks.keys().map(Result::unwrap).collect()
}

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < CEILING, "{what} does not come");
        std::thread::park_timeout(LOOK);
    }
}

#[test]
fn a_banned_source_is_refused_in_the_kernel_and_returns_by_itself() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let gateway = guarded(&net, &upstream, "");
    client(&net, &gateway, 3);
    ban(&net, net.host(3), Duration::from_secs(2));
    assert!(net.connect(3, gateway.address(), REFUSED).is_err(), "a banned source connects");
    calls(&gateway, &mut client(&net, &gateway, 2));
    assert!(packets(&gateway, "banned") > 0);
    assert!(gateway.metric("portcullis_kernel_packets_total") > 0.0);
    assert!(gateway.metric("portcullis_kernel_runs_total") >= 0.0);
    // Nobody lifts it.
    wait("the end of the ban", || net.connect(3, gateway.address(), REFUSED).is_ok());
    calls(&gateway, &mut client(&net, &gateway, 3));
}

#[test]
fn an_unproven_flow_is_cut_at_its_budget_and_a_proven_one_is_not() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let gateway = guarded(&net, &upstream, "budget = \"16 KiB\"\ndeadline = \"3s\"");
    let mut proven = client(&net, &gateway, 2);
    calls(&gateway, &mut proven);
    let mut greedy = client(&net, &gateway, 3);
    // A head that never ends, in pieces that the worker would take.
    let before = packets(&gateway, "greedy");
    greedy.send("POST /mcp/crm HTTP/1.1\r\n");
    for number in 0..40 {
        greedy.send(format!("X-{number}: {}\r\n", "a".repeat(1_000)));
    }
    wait("a packet beyond the budget", || packets(&gateway, "greedy") > before);
    // The worker closes the socket of the flow it hears nothing of any more.
    gateway.wait_metric("portcullis_unproven_cut_total", 1.0);
    (0..20).for_each(|_| calls(&gateway, &mut proven));
}

#[test]
fn an_unproven_flow_is_cut_at_its_deadline_and_a_proven_one_is_not() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let gateway = guarded(&net, &upstream, "deadline = \"1s\"");
    let mut proven = client(&net, &gateway, 2);
    calls(&gateway, &mut proven);
    // The worker closes the socket within a second of the deadline, so not every connection lives to send a packet that is late.
    let start = Instant::now();
    let mut strangers = 0.0;
    while packets(&gateway, "late") == 0 {
        assert!(start.elapsed() < CEILING, "no packet is late: {}", status(&gateway));
        let mut late = client(&net, &gateway, 3);
        strangers += 1.0;
        while late.try_send(b"X").is_ok() {
            std::thread::park_timeout(LOOK);
        }
        gateway.wait_metric("portcullis_unproven_cut_total", strangers);
    }
    calls(&gateway, &mut proven);
    // Suspended, it is a stranger again, and has as long as one.
    assert!(gateway.operate(&["agent", "suspend", "reader"]).status.success());
    gateway.wait_metric("portcullis_unproven_cut_total", strangers + 1.0);
    assert_eq!(marks(&net), Vec::<[u8; 40]>::new());
}

#[test]
fn a_restart_keeps_programs_bans_and_marks() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let mut gateway = guarded(&net, &upstream, "");
    let first = status(&gateway);
    assert_eq!(first["attached"][0]["way"], json!("native"), "{first}");
    assert_eq!((&first["attached"][0]["replaced"], &first["attached"][0]["pinned"]), (&json!(false), &json!(true)));
    let mut agent = client(&net, &gateway, 2);
    calls(&gateway, &mut agent);
    let marked = marks(&net);
    assert_eq!(marked.len(), 1);
    ban(&net, net.host(3), Duration::from_secs(600));
    gateway.kill();
    // While no gateway runs, the programs do.
    let address: SocketAddr = gateway.address();
    let mut stand_in = None;
    wait("the port", || TcpListener::bind(address).is_ok());
    stand_in.get_or_insert_with(|| TcpListener::bind(address).unwrap());
    assert!(net.connect(3, address, REFUSED).is_err(), "a banned source connects while no gateway runs");
    assert!(net.connect(2, address, CEILING).is_ok());
    drop(stand_in);
    let gateway = gateway.restart();
    assert_eq!(status(&gateway)["attached"][0]["replaced"], json!(true));
    assert_eq!(marks(&net), marked);
    assert!(net.connect(3, address, REFUSED).is_err(), "a banned source connects after a restart");
    // A mark goes with its connection.
    let mut agent = client(&net, &gateway, 2);
    calls(&gateway, &mut agent);
    assert_eq!(marks(&net).len(), 2);
    drop(agent);
    wait("the end of the mark", || marks(&net) == marked);
}

#[test]
fn what_a_stopped_gateway_left_is_detached_and_what_a_running_one_holds_is_not() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let mut gateway = guarded(&net, &upstream, "");
    ban(&net, net.host(3), Duration::from_secs(600));
    let refused = gateway.operate(&["kernel", "detach"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("stop the gateway first"), "{said}");
    gateway.kill();
    let done = gateway.operate(&["kernel", "detach"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "programs taken from 1 interface\n");
    assert!(!net.pins().exists());
    let address = gateway.address();
    wait("the port", || TcpListener::bind(address).is_ok());
    let _stand_in = TcpListener::bind(address).unwrap();
    assert!(net.connect(3, address, CEILING).is_ok(), "a ban outlives what carried it out");
}

#[test]
fn capabilities_are_given_up_and_another_gateway_cannot_take_the_programs() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let gateway = guarded(&net, &upstream, "");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    for task in tasks {
        let held = net::capabilities(&task.unwrap().path().join("status"));
        assert_eq!(held & net::NEEDED, 0, "{held:x}");
    }
    let kernel = format!("interfaces = [\"{}\"]\npins = \"{}\"", net.interface(), net.pins().display());
    let refused = Setup::open(&upstream).kernel(&kernel).refused();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("another gateway holds its programs there"), "{said}");
    calls(&gateway, &mut client(&net, &gateway, 2));
}

#[test]
fn trusted_sources_are_never_limited() {
    let Some(net) = Net::up() else { return };
    let upstream = Upstream::kind();
    let lines = format!("deadline = \"1s\"\ntrusted = [\"{}\"]", net.host(2));
    let gateway = guarded(&net, &upstream, &lines);
    ban(&net, net.host(2), Duration::from_secs(600));
    let mut balancer = client(&net, &gateway, 2);
    let mut stranger = client(&net, &gateway, 3);
    stranger.send("POST");
    stranger.closed();
    calls(&gateway, &mut balancer);
    assert!(packets(&gateway, "allowed") > 0);
}

#[test]
fn an_interface_that_is_not_there_is_said_and_refused_where_the_programs_are_required() {
    if !net::privileged() {
        println!("skipped: privileged: needs to load programs");
        return;
    }
    let upstream = Upstream::kind();
    let pins = tempfile::tempdir().unwrap();
    let lines = format!("interfaces = [\"none0\"]\npins = \"{}\"", pins.path().display());
    let gateway = Setup::open(&upstream).kernel(&lines).start();
    let missing = status(&gateway)["missing"][0]["cause"].as_str().unwrap().to_owned();
    assert!(missing.starts_with("eBPF programs: interface `none0` takes none"), "{missing}");
    let refused = Setup::open(&upstream).kernel(&format!("ebpf = \"require\"\n{lines}")).refused();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("`ebpf = \"require\"` cannot be met: eBPF programs: interface `none0`"), "{said}");
}

#[test]
fn without_privilege_the_start_says_what_is_missing_or_refuses() {
    let upstream = Upstream::kind();
    let bare = ["setpriv", "--bounding-set=-bpf,-net_admin,-perfmon,-sys_admin", "--inh-caps=-all"];
    let prefix: &[&str] = if net::privileged() { &bare } else { &[] };
    let lines = "interfaces = [\"eth0\"]\npins = \"none\"";
    let gateway = Setup::open(&upstream).kernel(lines).under(prefix).start();
    let page = gateway.operate(&["kernel", "status"]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    for name in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "enforced by workers"] {
        assert!(page.contains(name), "no {name} in\n{page}");
    }
    let refused = Setup::open(&upstream).kernel(&format!("ebpf = \"require\"\n{lines}")).under(prefix).refused();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("this process lacks CAP_BPF"), "{said}");
    assert!(said.contains("AmbientCapabilities=CAP_BPF"), "{said}");
}

#[test]
fn without_programs_the_workers_cut_what_proves_nothing() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).kernel("deadline = \"1s\"\nbudget = \"16 KiB\"").start();
    let mut proven = gateway.connect();
    calls(&gateway, &mut proven);
    // Nothing at all.
    gateway.connect().closed();
    // Requests that are answered, and prove nothing.
    let mut greedy = gateway.connect();
    let stranger = gateway.get("/healthz").field("X-Padding", &"x".repeat(4_000));
    let answered = (0..100).take_while(|_| greedy.status_of(&stranger) != 0).count();
    assert!((4..=5).contains(&answered), "{answered} requests of 4 KB within 16 KiB");
    (0..20).for_each(|_| calls(&gateway, &mut proven));
    assert!(gateway.operate(&["agent", "suspend", "reader"]).status.success());
    proven.closed();
}

#[test]
fn alone_the_status_says_what_a_start_would_find() {
    let upstream = Upstream::kind();
    let mut gateway = Setup::open(&upstream).kernel("ebpf = \"off\"\npins = \"none\"").start();
    let page = gateway.operate(&["kernel", "status"]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("ebpf = \"off\"") && !page.contains("missing"), "{page}");
    gateway.kill();
    let page = gateway.operate(&["kernel", "status"]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("no gateway answers") && page.contains("names no `interfaces`"), "{page}");
    assert!(page.contains("is in no bpf file system") && Path::new("/proc/self").exists(), "{page}");
}
