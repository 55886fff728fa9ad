//! Loads `admit` and attaches it. In: the committed object, settings, pins. Out: a layer that judges packets. Never here: marks.

use super::pins::Pins;
use super::{Missing, capability};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions, TcAttachType};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, Program, ProgramError, SchedClassifier, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use portcullis_core::config::settings::{Kernel as Wish, Settings};
use portcullis_ebpf_common::{Address, Verdict, port_key};
use std::error::Error;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The committed object; `cargo xtask ebpf check` proves that it is what the sources build.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/prebuilt/portcullis.bpf.o"));

/// IPPROTO_TCP.
pub const TCP: u8 = 6;

/// How a program is attached, the earliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// XDP in the driver.
    Native,
    /// XDP in the kernel's stack.
    Generic,
    /// The traffic control hook, behind the allocation of the packet.
    Tcx,
}

impl Way {
    /// In the order they are tried.
    pub const ALL: [Self; 3] = [Self::Native, Self::Generic, Self::Tcx];

    /// Its word in the status and in names of pins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
        }
    }
}

/// One interface with a program in front.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name.
    pub interface: Box<str>,
    /// How.
    pub way: Way,
    /// Whether it took the place of an earlier start's program, without a gap.
    pub replaced: bool,
    /// Why no earlier way was taken.
    pub refused: Vec<String>,
}

/// Programs in the kernel, and the maps they judge by.
pub struct Layer {
    /// What is attached how.
    pub attached: Vec<Attached>,
    /// Whether links and maps outlive this process.
    pub pinned: bool,
    ports: Mutex<HashMap<MapData, u32, u32>>,
    counters: PerCpuArray<MapData, u64>,
    marks: OwnedFd,
    flows: OwnedFd,
    /// Keeps the programs, and the links that are not pinned.
    ebpf: Mutex<Ebpf>,
}

impl Layer {
    /// Loads, fills the maps, attaches to every interface; all of it or nothing.
    pub fn attach(settings: &Settings, pins: Option<&Pins>) -> Result<Self, Vec<Missing>> {
        let lacking = capability::missing();
        if !lacking.is_empty() {
            return Err(lacking);
        }
        let mut ebpf = load(pins).map_err(|cause| {
            vec![Missing::new(
                format!("eBPF programs: the kernel does not load them: {cause}"),
                "use Linux 5.19 or later with CONFIG_BPF_SYSCALL and BTF, outside of a sandbox that forbids bpf(2)",
            )]
        })?;
        // First what they judge by, then the programs: between the two every connection would be a stranger's.
        let filled = fill(&mut ebpf, &settings.kernel, settings.listen.address.port());
        let maps = filled
            .and_then(|ports| Ok((ports, counters(&mut ebpf)?, handle(&ebpf, "MARKS")?, handle(&ebpf, "FLOWS")?)));
        let (ports, counters, marks, flows) = maps.map_err(|cause| {
            vec![Missing::new(
                format!("eBPF programs: their maps cannot be filled: {cause}"),
                "look into the kernel's log",
            )]
        })?;
        let mut attached = Vec::new();
        for interface in &settings.kernel.interfaces {
            let one = attach(&mut ebpf, interface, pins).map_err(|cause| {
                vec![Missing::new(
                    format!("eBPF programs: interface `{interface}` takes none: {cause}"),
                    "name an interface that `ip link` shows and that no other XDP program holds",
                )]
            })?;
            attached.push(one);
        }
        if let Some(Err(error)) = pins.map(|pins| pins.keep_only(&settings.kernel.interfaces)) {
            tracing::warn!(%error, "programs of an earlier start stay on interfaces that are no longer named");
        }
        let ports = Mutex::new(ports);
        Ok(Self { attached, pinned: pins.is_some(), ports, counters, marks, flows, ebpf: Mutex::new(ebpf) })
    }

    /// Has the programs guard a TCP port.
    pub fn protect(&self, port: u16) -> Result<(), String> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.insert(port_key(TCP, port), 1, 0).map_err(|error| chain(&error))
    }

    /// Packets by verdict, over all cores, since the maps were made.
    pub fn counters(&self) -> Vec<(Verdict, u64)> {
        let sum = |verdict: Verdict| {
            let cores = self.counters.get(&verdict.slot(), 0);
            cores.map_or(0, |cores| cores.iter().fold(0_u64, |sum, one| sum.wrapping_add(*one)))
        };
        Verdict::ALL.into_iter().map(|verdict| (verdict, sum(verdict))).collect()
    }

    /// A core's own handles of the marks and of the flows that have none.
    pub fn tables(&self) -> Result<(MapData, MapData), String> {
        let open = |fd: &OwnedFd| {
            let fd = fd.try_clone().map_err(|error| error.to_string())?;
            MapData::from_fd(fd).map_err(|error| chain(&error))
        };
        Ok((open(&self.marks)?, open(&self.flows)?))
    }

    /// Runs of each program and the nanoseconds they took, as the kernel counts them (`sysctl kernel.bpf_stats_enabled=1`).
    pub fn runs(&self) -> Vec<(String, u64, u64)> {
        let ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(name, program): (&str, &Program)| {
            let info = program.info().ok()?;
            Some((name.to_owned(), info.run_count(), u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX)))
        };
        ebpf.programs().filter_map(told).collect()
    }
}

fn load(pins: Option<&Pins>) -> Result<Ebpf, String> {
    let mut loader = EbpfLoader::new();
    for (name, path) in pins.map(Pins::maps).unwrap_or_default() {
        loader.map_pin_path(name, path);
    }
    let mut ebpf = loader.load(OBJECT).map_err(|error| chain(&error))?;
    // Before any map is taken out: until they are loaded, programs name their maps by numbers of descriptors, and a map that was taken and
    // dropped would leave its number to another.
    xdp(&mut ebpf)?;
    tcx(&mut ebpf)?;
    Ok(ebpf)
}

fn taken(ebpf: &mut Ebpf, name: &str) -> Result<Map, String> {
    ebpf.take_map(name).ok_or_else(|| format!("the object has no map `{name}`"))
}

fn handle(ebpf: &Ebpf, name: &str) -> Result<OwnedFd, String> {
    match ebpf.map(name) {
        Some(Map::LruHashMap(map)) => map.fd().as_fd().try_clone_to_owned().map_err(|error| error.to_string()),
        Some(_) | None => Err(format!("the object has no map `{name}`")),
    }
}

fn counters(ebpf: &mut Ebpf) -> Result<PerCpuArray<MapData, u64>, String> {
    taken(ebpf, "COUNTERS")?.try_into().map_err(|error: MapError| chain(&error))
}

/// Limits, trusted networks and the port; the map of ports, for one that is known later.
fn fill(ebpf: &mut Ebpf, wish: &Wish, port: u16) -> Result<HashMap<MapData, u32, u32>, String> {
    let told = |error: MapError| chain(&error);
    let mut limits: Array<_, [u64; 4]> = taken(ebpf, "LIMITS")?.try_into().map_err(told)?;
    let deadline_ns = u64::try_from(wish.deadline.as_nanos()).unwrap_or(u64::MAX);
    let connects = wish.connects_per_second;
    limits.set(0, [connects, connects.saturating_mul(2), deadline_ns, wish.budget_bytes], 0).map_err(told)?;
    let mut allowed: LpmTrie<_, [u8; 16], u32> = taken(ebpf, "ALLOWED")?.try_into().map_err(told)?;
    for network in &wish.trusted {
        let bits = if network.address().is_ipv4() { 96 } else { 0 } + u32::from(network.prefix());
        allowed.insert(&Key::new(bits, address(network.address()).0), 1, 0).map_err(told)?;
    }
    let mut ports: HashMap<_, u32, u32> = taken(ebpf, "PORTS")?.try_into().map_err(told)?;
    if port != 0 {
        ports.insert(port_key(TCP, port), 1, 0).map_err(told)?;
    }
    Ok(ports)
}

/// An address as the programs write it: IPv4 mapped into IPv6.
pub fn address(ip: IpAddr) -> Address {
    match ip.to_canonical() {
        IpAddr::V4(v4) => Address::from_v4(v4.octets()),
        IpAddr::V6(v6) => Address(v6.octets()),
    }
}

fn attach(ebpf: &mut Ebpf, interface: &str, pins: Option<&Pins>) -> Result<Attached, String> {
    let mut refused = Vec::new();
    let attached = |way, replaced, refused| Attached { interface: interface.into(), way, replaced, refused };
    // What an earlier start attached is replaced where it is: no packet passes between the old program and the new.
    for way in Way::ALL {
        let Some(path) = pins.map(|pins| pins.link(interface, way.as_str())).filter(|path| path.exists()) else {
            continue;
        };
        match replace(ebpf, way, &path) {
            Ok(()) => return Ok(attached(way, true, refused)),
            // The interface it was on is gone, and one of the same name has come: the link leads nowhere.
            Err(cause) => {
                tracing::warn!(interface, way = way.as_str(), %cause, "an earlier start's program cannot be replaced; it is attached anew");
                std::fs::remove_file(&path).map_err(|error| error.to_string())?;
            }
        }
    }
    for way in Way::ALL {
        match anew(ebpf, interface, way, pins) {
            Ok(()) => return Ok(attached(way, false, refused)),
            Err(cause) => refused.push(format!("{}: {cause}", way.as_str())),
        }
    }
    Err(refused.join("; "))
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    loaded(ebpf, "admit", Xdp::load)
}

fn tcx(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, String> {
    loaded(ebpf, "admit_tc", SchedClassifier::load)
}

/// A program of the object, in the kernel.
fn loaded<'e, P>(
    ebpf: &'e mut Ebpf,
    name: &str,
    load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<&'e mut P, String>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| format!("the object has no program `{name}`"))?;
    let program: &mut P = program.try_into().map_err(|error: ProgramError| chain(&error))?;
    match load(program) {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(chain(&error)),
    }
}

fn replace(ebpf: &mut Ebpf, way: Way, path: &Path) -> Result<(), String> {
    let link = FdLink::from(PinnedLink::from_pin(path).map_err(|error| chain(&error))?);
    match way {
        Way::Native | Way::Generic => {
            let link = XdpLink::try_from(link).map_err(|error| chain(&error))?;
            xdp(ebpf)?.attach_to_link(link).map(drop).map_err(|error| chain(&error))
        }
        Way::Tcx => {
            let link = SchedClassifierLink::try_from(link).map_err(|error| chain(&error))?;
            tcx(ebpf)?.attach_to_link(link).map(drop).map_err(|error| chain(&error))
        }
    }
}

fn anew(ebpf: &mut Ebpf, interface: &str, way: Way, pins: Option<&Pins>) -> Result<(), String> {
    let mode = match way {
        Way::Native => XdpMode::Driver,
        Way::Generic => XdpMode::Skb,
        Way::Tcx => return anew_tcx(ebpf, interface, pins),
    };
    let program = xdp(ebpf)?;
    let id = program.attach(interface, mode).map_err(|error| chain(&error))?;
    let Some(pins) = pins else { return Ok(()) };
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    pin(link, &pins.link(interface, way.as_str()))
}

fn anew_tcx(ebpf: &mut Ebpf, interface: &str, pins: Option<&Pins>) -> Result<(), String> {
    let program = tcx(ebpf)?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(interface, TcAttachType::Ingress, options).map_err(|error| chain(&error))?;
    let Some(pins) = pins else { return Ok(()) };
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    pin(link, &pins.link(interface, Way::Tcx.as_str()))
}

/// Has a link outlive this process.
fn pin<L>(link: L, path: &Path) -> Result<(), String>
where
    FdLink: TryFrom<L, Error = LinkError>,
{
    let link = FdLink::try_from(link).map_err(|error| chain(&error))?;
    link.pin(path).map(drop).map_err(|error| chain(&error))
}

/// Lines of the verifier's account that are told.
const ACCOUNT_LINES_MAX: usize = 4;

/// An error and what it came from.
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    // The verifier's own account is thousands of lines, and its last ones say why.
    let mut lines = words.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let last: Vec<&str> = lines.rev().take(ACCOUNT_LINES_MAX).collect();
    last.iter().rev().fold(first.to_owned(), |told, line| format!("{told} / {}", line.trim()))
}
