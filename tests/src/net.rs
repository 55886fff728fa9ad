//! A network of its own. In: nothing. Out: a pair of interfaces, of which one stands in a namespace, and a bpf file system. Never here: gateways.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::fd::AsFd as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

/// One end of a cable here, the other in a namespace; both gone when dropped.
pub struct Net {
    name: String,
    subnet: u8,
    run: u8,
    pins: tempfile::TempDir,
}

impl Net {
    /// None where this process may neither make networks nor load programs.
    pub fn up() -> Option<Self> {
        if !privileged() {
            println!("skipped: privileged: not run without CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN");
            return None;
        }
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let subnet = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = 100 + u8::try_from(std::process::id() % 150).unwrap_or(0);
        let net = Self { name: format!("pc{run}x{subnet}"), subnet, run, pins: tempfile::tempdir().expect("a folder") };
        let (name, ours, theirs) = (&net.name, net.interface(), format!("{}b", net.name));
        net.ip(&["netns", "add", name]);
        net.ip(&["link", "add", &ours, "type", "veth", "peer", "name", &theirs, "netns", name]);
        net.ip(&["addr", "add", &format!("{}/24", net.ours()), "dev", &ours]);
        net.ip(&["link", "set", &ours, "up"]);
        for host in [2, 3] {
            net.ip(&["-n", name, "addr", "add", &format!("{}/24", net.host(host)), "dev", &theirs]);
        }
        net.ip(&["-n", name, "link", "set", &theirs, "up"]);
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(net.pins.path()).output().expect("`mount`");
        assert!(mounted.status.success(), "{mounted:?}");
        Some(net)
    }

    /// The interface on our side.
    pub fn interface(&self) -> String {
        format!("{}a", self.name)
    }

    /// Our address.
    pub fn ours(&self) -> IpAddr {
        self.host(1)
    }

    /// An address in the namespace: 2 or 3.
    pub fn host(&self, number: u8) -> IpAddr {
        Ipv4Addr::new(10, self.run, self.subnet, number).into()
    }

    /// Where a gateway may pin.
    pub fn pins(&self) -> PathBuf {
        self.pins.path().join("portcullis")
    }

    /// A connection from the namespace's host `number`, within `patience`.
    ///
    /// # Errors
    /// What the kernel says; a time out where nothing answers.
    pub fn connect(&self, number: u8, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        let space = File::open(Path::new("/run/netns").join(&self.name))?;
        let from = SocketAddr::from((self.host(number), 0));
        // A thread's namespace is its own; the socket stays where it was made.
        let connecting = std::thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&from.into())?;
            socket.connect_timeout(&to.into(), patience)?;
            Ok(TcpStream::from(socket))
        });
        connecting.join().expect("a thread")
    }

    fn ip(&self, words: &[&str]) {
        let done = Command::new("ip").args(words).output().expect("`ip`");
        assert!(done.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["link", "del", &self.interface()]).output();
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).output();
        let _gone = Command::new("umount").arg("-l").arg(self.pins.path()).output();
    }
}

/// CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN (linux/capability.h).
pub const NEEDED: u64 = 1 << 39 | 1 << 12 | 1 << 38 | 1 << 21;

/// The capabilities in effect in a thread, by its `status` under `/proc`.
pub fn capabilities(status: &Path) -> u64 {
    let status = fs::read_to_string(status).expect("a status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(effective.trim(), 16).expect("a number")
}

/// Whether this process has them.
pub fn privileged() -> bool {
    capabilities(Path::new("/proc/self/status")) & NEEDED == NEEDED
}
