//! Decides who may speak on the control socket. In: the peer's credentials as the kernel tells them. Out: the caller, or nothing.
//! Never here: what the caller asks.

use crate::history::By;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::net::UnixStream;

/// Who is at the other end of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user.
    pub uid: u32,
}

impl Caller {
    /// As records name who asked for something.
    pub fn actor(self) -> String {
        By { uid: self.uid }.actor()
    }
}

/// Whom the socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The gateway's own user.
    pub uid: u32,
    /// The group of the socket file.
    pub gid: u32,
}

impl Circle {
    /// Root, our own user and the group of the socket at `path`.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self { uid: rustix::process::geteuid().as_raw(), gid: fs::metadata(path)?.gid() })
    }

    /// The caller at the other end, if it belongs to the circle.
    pub fn admit(self, stream: &UnixStream) -> Option<Caller> {
        let peer = stream.peer_cred().ok()?;
        let further = peer.pid().map(supplementary_groups).unwrap_or_default();
        self.holds(peer.uid(), peer.gid(), &further).then_some(Caller { uid: peer.uid() })
    }

    fn holds(self, uid: u32, gid: u32, further: &[u32]) -> bool {
        uid == 0 || uid == self.uid || gid == self.gid || further.contains(&self.gid)
    }
}

/// The kernel tells the peer's first group alone; the others stand in its status. A peer that is gone has none.
fn supplementary_groups(pid: i32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    groups_line(&status)
}

fn groups_line(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.into_iter().flat_map(str::split_whitespace).filter_map(|gid| gid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_gateway_itself_and_its_group_are_served() {
        let circle = Circle { uid: 990, gid: 991 };
        let rows: [(u32, u32, &[u32], bool); 6] = [
            (1000, 1000, &[], false),
            (1000, 1000, &[27, 100], false),
            (0, 0, &[], true),
            (990, 1000, &[], true),
            (1000, 991, &[], true),
            (1000, 1000, &[27, 991], true),
        ];
        for (uid, gid, further, expected) in rows {
            assert_eq!(circle.holds(uid, gid, further), expected, "{uid} {gid} {further:?}");
        }
    }

    #[test]
    fn supplementary_groups_are_read_from_the_status_of_a_process() {
        assert_eq!(groups_line("Name:\tx\nGroups:\t27 991 \nNStgid:\t1\n"), [27, 991]);
        assert_eq!(groups_line("Name:\tx\n"), [] as [u32; 0]);
        assert_eq!(supplementary_groups(-1), [] as [u32; 0]);
    }
}
