//! The kernel programs, run by the kernel itself on packets made here (BPF_PROG_TEST_RUN): a row is what it is, the packet, and the verdict. No
//! interface is touched. Privileged: without CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON the rows say so and are not run.

mod frame;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::{SchedClassifier, SkReuseport, TestRun as _, TestRunOptions, Xdp};
use frame::{ACK, FIN, Frame, PSH, RST, SYN};
use portcullis_ebpf_common::{Address, FlowKey, Verdict, port_key};
use std::path::Path;

/// What the rows are judged by: three SYNs at once, 10 s to authenticate, 2,000 bytes until then.
const LIMITS: [u64; 4] = [1, 3, 10_000_000_000, 2_000];

/// A moment just after the machine's start: older than every limit.
const LONG_AGO: u64 = 1;

/// The two ways `admit` is attached.
#[derive(Clone, Copy, Debug)]
enum Way {
    Xdp,
    Tcx,
}

/// The programs, loaded, with maps of their own.
struct Programs(Ebpf);

impl Programs {
    /// Loaded anew, or nothing where this user may not.
    fn load() -> Option<Self> {
        if !privileged() {
            eprintln!("privileged: not run without CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
            return None;
        }
        let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/prebuilt/portcullis.bpf.o");
        let mut ebpf = Ebpf::load(&std::fs::read(object).unwrap()).unwrap();
        let xdp: &mut Xdp = ebpf.program_mut("admit").unwrap().try_into().unwrap();
        xdp.load().unwrap();
        let tcx: &mut SchedClassifier = ebpf.program_mut("admit_tc").unwrap().try_into().unwrap();
        tcx.load().unwrap();
        let mut programs = Self(ebpf);
        programs.limit(LIMITS);
        let mut ports: HashMap<_, u32, u32> = programs.map("PORTS").try_into().unwrap();
        for protocol in [6, 17] {
            ports.insert(port_key(protocol, 8443), 1, 0).unwrap();
        }
        for (map, prefix, length) in [
            ("DENIED", [10, 66, 0, 0], 96 + 16),
            ("ALLOWED", [10, 66, 7, 0], 96 + 24),
            ("ALLOWED", [10, 77, 0, 1], 128),
        ] {
            let mut trie: LpmTrie<_, [u8; 16], u32> = programs.map(map).try_into().unwrap();
            trie.insert(&Key::new(length, Address::from_v4(prefix).0), 1, 0).unwrap();
        }
        let mut denied: LpmTrie<_, [u8; 16], u32> = programs.map("DENIED").try_into().unwrap();
        denied.insert(&Key::new(32, frame::v6([0xfd66, 0, 0, 0, 0, 0, 0, 0]).0), 1, 0).unwrap();
        Some(programs)
    }

    fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.0.map_mut(name).unwrap()
    }

    fn limit(&mut self, limits: [u64; 4]) {
        let mut map: Array<_, [u64; 4]> = self.map("LIMITS").try_into().unwrap();
        map.set(0, limits, 0).unwrap();
    }

    fn ban(&mut self, source: Address, until_ns: u64) {
        let mut map: HashMap<_, [u8; 16], u64> = self.map("BANS").try_into().unwrap();
        map.insert(portcullis_ebpf_common::SourceKey::of(source).0.0, until_ns, 0).unwrap();
    }

    fn mark(&mut self, flow: &FlowKey) {
        let mut map: HashMap<_, [u8; 40], u64> = self.map("MARKS").try_into().unwrap();
        map.insert(flow.bytes(), 1, 0).unwrap();
    }

    /// Makes `flow` one that began at `first_ns`, with so many bytes and packets.
    fn known(&mut self, flow: &FlowKey, first_ns: u64, bytes: u64, packets: u64) {
        let mut map: HashMap<_, [u8; 40], [u64; 4]> = self.map("FLOWS").try_into().unwrap();
        map.insert(flow.bytes(), [first_ns, bytes, packets, 0], 0).unwrap();
    }

    fn counters(&mut self) -> Vec<u64> {
        let map: PerCpuArray<_, u64> = (&*self.map("COUNTERS")).try_into().unwrap();
        Verdict::ALL.iter().map(|verdict| map.get(&verdict.slot(), 0).unwrap().iter().sum()).collect()
    }

    /// What the program decided on the packet: by its counter, which has to agree with what it returned.
    fn judge(&mut self, way: Way, packet: &[u8]) -> Verdict {
        let before = self.counters();
        let options = || TestRunOptions { data_in: Some(packet), repeat: 1, ..Default::default() };
        let (returned, drop) = match way {
            Way::Xdp => {
                let program: &mut Xdp = self.0.program_mut("admit").unwrap().try_into().unwrap();
                (program.test_run(options()).unwrap().return_value, 1)
            }
            Way::Tcx => {
                let program: &mut SchedClassifier = self.0.program_mut("admit_tc").unwrap().try_into().unwrap();
                (program.test_run(options()).unwrap().return_value, 2)
            }
        };
        let after = self.counters();
        let moved: Vec<Verdict> = Verdict::ALL
            .into_iter()
            .zip(before.iter().zip(&after))
            .filter(|(_, (b, a))| a != b)
            .map(|(v, _)| v)
            .collect();
        let [verdict] = moved[..] else { panic!("one packet, one counter, and not {moved:?}") };
        assert_eq!(returned == drop, verdict.drops(), "{way:?} returned {returned} and counted {verdict:?}");
        verdict
    }
}

/// Whether this process may load programs: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are in effect (linux/capability.h).
fn privileged() -> bool {
    const NEEDED: u64 = 1 << 39 | 1 << 12 | 1 << 38;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & NEEDED == NEEDED
}

/// A source that no other row uses.
fn source(number: u8) -> [u8; 4] {
    [10, 1, 0, number]
}

/// Both ways.
const BOTH: &[Way] = &[Way::Xdp, Way::Tcx];

/// The rows' programs have no past.
fn check(ways: &[Way], rows: &[(&str, Vec<u8>, Verdict)]) {
    let Some(mut programs) = Programs::load() else { return };
    for (name, packet, expected) in rows {
        for &way in ways {
            let got = programs.judge(way, packet);
            assert_eq!(got, *expected, "given {name}, when {way:?} sees it");
        }
    }
}

#[test]
fn packets_that_are_whole_are_told_apart_by_where_they_come_from_and_go() {
    let v6 = |last| Frame::v6([0xfd77, 0, 0, 0, 0, 0, 0, last]);
    check(
        BOTH,
        &[
            ("a SYN for our port", Frame::v4(source(1)).flags(SYN).bytes(), Verdict::Young),
            ("a SYN with ECN bits", Frame::v4(source(2)).flags(SYN | 0xc0).bytes(), Verdict::Young),
            ("a SYN with data (TCP fast open)", Frame::v4(source(3)).flags(SYN).payload(100).bytes(), Verdict::Young),
            ("data for our port", Frame::v4(source(4)).flags(ACK | PSH).payload(100).bytes(), Verdict::Young),
            ("a bare ACK", Frame::v4(source(5)).flags(ACK).bytes(), Verdict::Young),
            ("no flag at all", Frame::v4(source(6)).flags(0).bytes(), Verdict::Young),
            ("every flag at once", Frame::v4(source(7)).flags(0xff).bytes(), Verdict::Young),
            ("a bare RST", Frame::v4(source(8)).flags(RST).bytes(), Verdict::Young),
            ("a bare FIN", Frame::v4(source(9)).flags(FIN | ACK).bytes(), Verdict::Young),
            ("another port", Frame::v4(source(10)).flags(SYN).to(22).bytes(), Verdict::Foreign),
            (
                "our port as its source alone",
                Frame::v4(source(11)).flags(ACK).from(8443).to(40_000).bytes(),
                Verdict::Foreign,
            ),
            ("port 0", Frame::v4(source(12)).flags(SYN).to(0).bytes(), Verdict::Foreign),
            ("UDP for our port", Frame::v4(source(13)).udp().payload(50).bytes(), Verdict::Young),
            ("UDP for another", Frame::v4(source(14)).udp().to(53).bytes(), Verdict::Foreign),
            ("ICMP", Frame::v4(source(15)).protocol(1).bytes(), Verdict::Foreign),
            ("SCTP to our port's number", Frame::v4(source(16)).protocol(132).bytes(), Verdict::Foreign),
            ("IPv6: a SYN", v6(1).flags(SYN).bytes(), Verdict::Young),
            ("IPv6: another port", v6(2).flags(SYN).to(22).bytes(), Verdict::Foreign),
            ("IPv6: UDP", v6(3).udp().bytes(), Verdict::Young),
            ("IPv6: ICMP", v6(4).protocol(58).bytes(), Verdict::Foreign),
            ("IPv6: no next header", v6(5).protocol(59).bytes(), Verdict::Foreign),
            ("a denied source", Frame::v4([10, 66, 1, 1]).flags(SYN).bytes(), Verdict::Denied),
            ("a denied source, another port", Frame::v4([10, 66, 1, 1]).flags(SYN).to(22).bytes(), Verdict::Denied),
            ("a denied source, ICMP", Frame::v4([10, 66, 1, 1]).protocol(1).bytes(), Verdict::Denied),
            ("a denied source, RST", Frame::v4([10, 66, 1, 1]).flags(RST).bytes(), Verdict::Denied),
            (
                "a denied source, a later fragment",
                Frame::v4([10, 66, 1, 1]).fragment(8, false).bytes(),
                Verdict::Denied,
            ),
            (
                "an allowed source within a denied prefix",
                Frame::v4([10, 66, 7, 1]).flags(SYN).bytes(),
                Verdict::Allowed,
            ),
            (
                "the last address of the allowed prefix",
                Frame::v4([10, 66, 7, 255]).flags(ACK).bytes(),
                Verdict::Allowed,
            ),
            ("the first behind it", Frame::v4([10, 66, 8, 0]).flags(ACK).bytes(), Verdict::Denied),
            ("the last before the denied prefix", Frame::v4([10, 65, 255, 255]).flags(SYN).bytes(), Verdict::Young),
            ("a denied IPv6 prefix", Frame::v6([0xfd66, 0, 1, 0, 0, 0, 0, 9]).flags(SYN).bytes(), Verdict::Denied),
            ("its neighbour", Frame::v6([0xfd66, 1, 0, 0, 0, 0, 0, 9]).flags(SYN).bytes(), Verdict::Young),
            ("ARP", Frame::v4(source(17)).kind(0x0806).bytes(), Verdict::Unread),
            ("an unknown kind", Frame::v4(source(18)).kind(0x88cc).bytes(), Verdict::Unread),
        ],
    );
}

#[test]
fn headers_before_the_transport_are_walked_and_hide_nothing() {
    let v4 = |number| Frame::v4([10, 2, 0, number]).flags(SYN);
    let v6 = |last| Frame::v6([0xfd78, 0, 0, last, 0, 0, 0, 1]).flags(SYN);
    let denied = || Frame::v4([10, 66, 1, 1]).flags(SYN);
    check(
        BOTH,
        &[
            ("one VLAN tag", v4(1).tag(0x8100).bytes(), Verdict::Young),
            ("two VLAN tags", v4(2).tag(0x88a8).tag(0x8100).bytes(), Verdict::Young),
            ("three VLAN tags", v4(3).tag(0x88a8).tag(0x8100).tag(0x8100).bytes(), Verdict::Unread),
            ("a denied source behind a tag", denied().tag(0x8100).bytes(), Verdict::Denied),
            ("a denied source behind two tags", denied().tag(0x88a8).tag(0x8100).bytes(), Verdict::Denied),
            ("a tag and another port", v4(4).tag(0x8100).to(22).bytes(), Verdict::Foreign),
            ("IPv6 behind a tag", v6(1).tag(0x8100).bytes(), Verdict::Young),
            ("a tag and nothing behind it", v4(5).tag(0x8100).cut(17).bytes(), Verdict::Unread),
            ("IPv4 with one word of options", v4(6).options(1).bytes(), Verdict::Young),
            ("IPv4 with ten words of options", v4(7).options(10).bytes(), Verdict::Young),
            ("options and another port", v4(8).options(10).to(22).bytes(), Verdict::Foreign),
            ("options and a tag", v4(9).options(3).tag(0x8100).bytes(), Verdict::Young),
            ("a denied source with options", denied().options(10).bytes(), Verdict::Denied),
            ("IPv6: hop-by-hop options", v6(2).extension(0, 0).bytes(), Verdict::Young),
            ("IPv6: routing", v6(3).extension(43, 2).bytes(), Verdict::Young),
            ("IPv6: destination options", v6(4).extension(60, 0).bytes(), Verdict::Young),
            ("IPv6: destination options of 1,000 bytes", v6(5).extension(60, 124).bytes(), Verdict::Young),
            ("IPv6: an authentication header", v6(6).extension(51, 4).bytes(), Verdict::Young),
            ("IPv6: hop-by-hop and destination", v6(7).extension(0, 0).extension(60, 1).bytes(), Verdict::Young),
            ("IPv6: options and another port", v6(8).extension(60, 0).to(22).bytes(), Verdict::Foreign),
            ("IPv6: seven headers", (0..7).fold(v6(9), |frame, _| frame.extension(60, 0)).bytes(), Verdict::Young),
            ("IPv6: eight headers", (0..8).fold(v6(10), |frame, _| frame.extension(60, 0)).bytes(), Verdict::Tangled),
            ("IPv6: twelve headers", (0..12).fold(v6(11), |frame, _| frame.extension(60, 0)).bytes(), Verdict::Tangled),
            ("IPv6: encrypted", v6(12).protocol(50).bytes(), Verdict::Foreign),
            ("a first fragment for our port", v4(10).fragment(0, true).bytes(), Verdict::Fragmented),
            ("a first fragment for another", v4(11).fragment(0, true).to(22).bytes(), Verdict::Foreign),
            ("a later fragment", v4(12).fragment(8, true).bytes(), Verdict::Foreign),
            ("the last fragment", v4(13).fragment(8, false).bytes(), Verdict::Foreign),
            ("don't-fragment is no fragment", v4(14).bytes(), Verdict::Young),
            ("a first fragment of UDP", v4(15).udp().fragment(0, true).bytes(), Verdict::Fragmented),
            ("IPv6: a first fragment", v6(13).fragment(0, true).bytes(), Verdict::Fragmented),
            ("IPv6: a later fragment", v6(14).fragment(1, true).bytes(), Verdict::Foreign),
            ("IPv6: a fragment that is whole", v6(15).fragment(0, false).bytes(), Verdict::Young),
            (
                "IPv6: a first fragment behind options",
                v6(16).fragment(0, true).extension(60, 0).bytes(),
                Verdict::Fragmented,
            ),
        ],
    );
}

#[test]
fn packets_that_are_cut_short_or_wrong_pass_unread_and_the_stack_drops_them() {
    let v4 = || Frame::v4([10, 3, 0, 1]).flags(ACK);
    let v6 = || Frame::v6([0xfd79, 0, 0, 0, 0, 0, 0, 1]).flags(ACK);
    // The kernel runs no skb whose IP header is cut: the stack would not have made it one.
    check(
        &[Way::Xdp],
        &[
            ("IPv4: its kind and one byte", v4().cut(15).bytes(), Verdict::Unread),
            ("IPv4: half a header", v4().cut(24).bytes(), Verdict::Unread),
            ("IPv4: a header less a byte", v4().cut(33).bytes(), Verdict::Unread),
            ("IPv6: half a header", v6().cut(34).bytes(), Verdict::Unread),
            ("IPv6: a header less a byte", v6().cut(53).bytes(), Verdict::Unread),
        ],
    );
    check(
        BOTH,
        &[
            ("IPv4: no transport", v4().cut(34).bytes(), Verdict::Unread),
            ("TCP: its ports alone", v4().cut(38).bytes(), Verdict::Unread),
            ("TCP: all up to its flags", v4().cut(47).bytes(), Verdict::Unread),
            ("TCP: its flags are the last", v4().cut(48).bytes(), Verdict::Young),
            ("UDP: three bytes", v4().udp().cut(37).bytes(), Verdict::Unread),
            ("IPv6: no transport", v6().cut(54).bytes(), Verdict::Unread),
            ("IPv6: half an extension header", v6().extension(60, 0).cut(56).bytes(), Verdict::Unread),
            ("IPv6: an extension beyond the end", v6().extension(60, 9).cut(64).bytes(), Verdict::Unread),
            ("IPv4: a header of 16 bytes", v4().first_byte(0x44).bytes(), Verdict::Unread),
            ("IPv4: a header of none", v4().first_byte(0x40).bytes(), Verdict::Unread),
            ("IPv4: version 6", v4().first_byte(0x65).bytes(), Verdict::Unread),
            ("IPv6: version 4", v6().first_byte(0x40).bytes(), Verdict::Unread),
        ],
    );
}

#[test]
fn a_flow_that_proves_nothing_is_dropped_at_its_limits_and_a_marked_one_is_not() {
    let Some(mut programs) = Programs::load() else { return };
    for (number, way) in [(1, Way::Xdp), (2, Way::Tcx)] {
        let from = |port: u16| Frame::v4([10, 4, 0, number]).from(port);
        let flow = |port: u16| from(port).flow();
        programs.known(&flow(1), LONG_AGO, 0, 2);
        programs.known(&flow(2), LONG_AGO, 0, 2);
        programs.mark(&flow(2));
        programs.known(&flow(3), LONG_AGO, 0, 1);
        programs.known(&flow(4), u64::MAX - 1, 1_900, 2);
        programs.known(&flow(5), LONG_AGO, 9_999, 2);
        programs.limit([0, 0, LIMITS[2], LIMITS[3]]);
        let rows = [
            ("a late flow's data", from(1).flags(ACK).payload(9), Verdict::Late),
            ("its bare ACK", from(1).flags(ACK), Verdict::Late),
            ("its bare FIN", from(1).flags(FIN | ACK), Verdict::Young),
            ("its bare RST", from(1).flags(RST), Verdict::Young),
            ("a FIN that brings data", from(1).flags(FIN | ACK).payload(9), Verdict::Late),
            ("a late flow from another port", from(9).flags(ACK), Verdict::Young),
            ("a late flow that is marked", from(2).flags(ACK).payload(1_400), Verdict::Authenticated),
            ("a SYN into it", from(2).flags(SYN), Verdict::Young),
            ("it stays marked", from(2).flags(ACK), Verdict::Authenticated),
            ("a SYN where nothing but one came", from(3).flags(SYN), Verdict::Young),
            ("it has a new clock", from(3).flags(ACK), Verdict::Young),
            ("more than the budget, late or not", from(5).flags(ACK), Verdict::Late),
        ];
        for (name, frame, expected) in rows {
            assert_eq!(programs.judge(way, &frame.bytes()), expected, "given {name}, when {way:?} sees it");
        }
        programs.limit([0, 0, 0, LIMITS[3]]);
        let rows = [
            ("without a deadline", from(1).flags(ACK).payload(9), Verdict::Young),
            ("up to the budget", from(6).flags(ACK).payload(1_946), Verdict::Young),
            ("a byte beyond it", from(6).flags(ACK), Verdict::Greedy),
            ("a flow near its budget", from(4).flags(ACK).payload(100), Verdict::Greedy),
            ("a SYN does not give it another", from(6).flags(SYN), Verdict::Young),
            ("it is still beyond", from(6).flags(ACK), Verdict::Greedy),
            ("its bare FIN beyond the budget", from(6).flags(FIN | ACK), Verdict::Young),
        ];
        for (name, frame, expected) in rows {
            assert_eq!(programs.judge(way, &frame.bytes()), expected, "given {name}, when {way:?} sees it");
        }
        programs.limit([0; 4]);
        assert_eq!(programs.judge(way, &from(6).flags(ACK).bytes()), Verdict::Young, "without any limit");
    }
}

#[test]
fn a_banned_source_is_dropped_until_its_ban_ends_unless_it_is_allowed() {
    let Some(mut programs) = Programs::load() else { return };
    programs.ban(Address::from_v4([10, 5, 0, 1]), u64::MAX);
    programs.ban(Address::from_v4([10, 5, 0, 2]), LONG_AGO);
    programs.ban(Address::from_v4([10, 77, 0, 1]), u64::MAX);
    programs.ban(frame::v6([0xfd7a, 0, 0, 1, 0, 0, 0, 1]), u64::MAX);
    let rows = [
        ("a banned source's SYN", Frame::v4([10, 5, 0, 1]).flags(SYN), Verdict::Banned),
        ("its data", Frame::v4([10, 5, 0, 1]).flags(ACK).payload(9), Verdict::Banned),
        ("its RST", Frame::v4([10, 5, 0, 1]).flags(RST), Verdict::Banned),
        ("its UDP", Frame::v4([10, 5, 0, 1]).udp(), Verdict::Banned),
        ("its packets for another port", Frame::v4([10, 5, 0, 1]).flags(SYN).to(22), Verdict::Banned),
        ("its fragments", Frame::v4([10, 5, 0, 1]).fragment(8, true), Verdict::Banned),
        ("its packets behind a tag", Frame::v4([10, 5, 0, 1]).flags(SYN).tag(0x8100), Verdict::Banned),
        ("a ban that has ended", Frame::v4([10, 5, 0, 2]).flags(ACK), Verdict::Young),
        ("its neighbour", Frame::v4([10, 5, 0, 3]).flags(ACK), Verdict::Young),
        ("a banned balancer that is allowed", Frame::v4([10, 77, 0, 1]).flags(SYN), Verdict::Allowed),
        ("another host of a banned /64", Frame::v6([0xfd7a, 0, 0, 1, 0, 0, 0, 2]).flags(SYN), Verdict::Banned),
        ("the /64 beside it", Frame::v6([0xfd7a, 0, 0, 2, 0, 0, 0, 1]).flags(ACK), Verdict::Young),
    ];
    for (name, frame, expected) in rows {
        for way in [Way::Xdp, Way::Tcx] {
            assert_eq!(programs.judge(way, &frame.bytes()), expected, "given {name}, when {way:?} sees it");
        }
    }
}

#[test]
fn a_source_gets_its_burst_of_syns_and_another_source_does_not_pay_for_it() {
    let Some(mut programs) = Programs::load() else { return };
    for (number, way) in [(1, Way::Xdp), (2, Way::Tcx)] {
        programs.limit([1, 3, 0, 0]);
        let syn = |host: u8, port: u16| Frame::v4([10, 6, host, number]).flags(SYN).from(port).bytes();
        let got: Vec<Verdict> = (1..=5).map(|port| programs.judge(way, &syn(1, port))).collect();
        let (young, limited) = (Verdict::Young, Verdict::SynLimited);
        assert_eq!(got, [young, young, young, limited, limited], "{way:?}");
        assert_eq!(programs.judge(way, &syn(2, 1)), young, "another source, {way:?}");
        let data = Frame::v4([10, 6, 1, number]).flags(ACK).from(1).bytes();
        assert_eq!(programs.judge(way, &data), young, "what is under way goes on, {way:?}");
        programs.limit([0, 0, 0, 0]);
        assert_eq!(programs.judge(way, &syn(1, 9)), young, "without a limit, {way:?}");
    }
}

#[test]
fn the_kernel_admits_every_program_of_the_object() {
    let Some(mut programs) = Programs::load() else { return };
    for name in ["empty", "spread"] {
        let program: &mut Xdp = programs.0.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["steer_tcp", "steer_quic"] {
        let program: &mut SkReuseport = programs.0.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(programs.0.programs().count(), 6, "a program that is not loaded here");
}
