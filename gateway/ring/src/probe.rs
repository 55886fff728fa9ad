//! Tells whether this kernel lets us work. In: nothing. Out: nothing, or cause and cure. Never here: a fallback.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why io_uring cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What is in the way: lower case, no full stop.
    pub cause: String,
    /// What the operator can do about it.
    pub cure: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.cause, self.cure)
    }
}

impl std::error::Error for Unavailable {}

/// Sets up a small ring with the very flags that [`run`](crate::run) uses and asks it for every operation we submit.
///
/// A kernel that does not know a setup flag refuses the ring, so success means that `COOP_TASKRUN` is in effect, without
/// which a proxied request costs a third more.
pub fn probe() -> Result<(), Unavailable> {
    let ring: IoUring = IoUring::builder()
        .setup_coop_taskrun()
        .setup_single_issuer()
        .build(PROBE_ENTRIES)
        .map_err(|error| explain(&error, disabled_by_sysctl().as_deref()))?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known).map_err(|error| explain(&error, disabled_by_sysctl().as_deref()))?;
    for (name, code) in NEEDED {
        if !known.is_supported(code) {
            return Err(Unavailable {
                cause: format!("the kernel's io_uring has no `{name}` operation"),
                cure: OLD_KERNEL_CURE.to_owned(),
            });
        }
    }
    Ok(())
}

/// Cause and cure for an error of io_uring_setup(2); `sysctl` is the text of `kernel.io_uring_disabled`, if it exists.
fn explain(error: &io::Error, sysctl: Option<&str>) -> Unavailable {
    let (cause, cure) = match (error.raw_os_error(), sysctl) {
        (Some(libc::EPERM), Some("2")) => (
            "io_uring is switched off for everyone by `kernel.io_uring_disabled = 2`".to_owned(),
            "set it with `sysctl kernel.io_uring_disabled=0`",
        ),
        (Some(libc::EPERM), Some("1")) => (
            "io_uring is reserved for one group by `kernel.io_uring_disabled = 1`".to_owned(),
            "add this user to the group named by `sysctl kernel.io_uring_group`, or set `kernel.io_uring_disabled=0`",
        ),
        (Some(libc::EPERM | libc::EACCES), _) => (
            "io_uring is forbidden to this process, most likely by the container's seccomp profile".to_owned(),
            "allow `io_uring_setup`, `io_uring_enter` and `io_uring_register` in the seccomp profile",
        ),
        (Some(libc::ENOSYS), _) => (
            "this kernel has no io_uring, or a seccomp profile hides it".to_owned(),
            "run on Linux 6.1 or newer, and allow `io_uring_setup`, `io_uring_enter` and `io_uring_register` in the seccomp profile",
        ),
        (Some(libc::EINVAL), _) => {
            ("this kernel's io_uring lacks cooperative task running".to_owned(), OLD_KERNEL_CURE)
        }
        (Some(libc::ENOMEM), _) => (
            "the kernel has no memory for the ring within this process's limits".to_owned(),
            "raise the locked-memory limit (`ulimit -l`, `LimitMEMLOCK=`) or the memory limit of the container",
        ),
        (Some(libc::EMFILE | libc::ENFILE), _) => (
            "no file descriptor is left for the ring".to_owned(),
            "raise the open-files limit (`ulimit -n`, `LimitNOFILE=`)",
        ),
        (Some(_) | None, _) => (format!("the kernel refuses a ring: {error}"), "run on Linux 6.1 or newer"),
    };
    Unavailable { cause, cure: cure.to_owned() }
}

fn disabled_by_sysctl() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok().map(|text| text.trim().to_owned())
}

const PROBE_ENTRIES: u32 = 8;
const OLD_KERNEL_CURE: &str = "run on Linux 6.1 or newer";
const NEEDED: [(&str, u8); 7] = [
    ("accept", opcode::Accept::CODE),
    ("connect", opcode::Connect::CODE),
    ("recv", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("poll", opcode::PollAdd::CODE),
    ("cancel", opcode::AsyncCancel2::CODE),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errno: i32, sysctl: Option<&str>, cause: &str, cure: &str) {
        let got = explain(&io::Error::from_raw_os_error(errno), sysctl);
        assert!(got.cause.contains(cause), "errno {errno}: expected `{cause}` in `{}`", got.cause);
        assert!(got.cure.contains(cure), "errno {errno}: expected `{cure}` in `{}`", got.cure);
        assert!(!got.to_string().ends_with('.'));
    }

    #[test]
    fn every_refusal_of_the_kernel_names_its_cure() {
        check(libc::EPERM, Some("2"), "kernel.io_uring_disabled = 2", "sysctl kernel.io_uring_disabled=0");
        check(libc::EPERM, Some("1"), "one group", "kernel.io_uring_group");
        check(libc::EPERM, Some("0"), "seccomp", "io_uring_enter");
        check(libc::EPERM, None, "seccomp", "io_uring_enter");
        check(libc::ENOSYS, None, "no io_uring", "Linux 6.1");
        check(libc::EINVAL, None, "cooperative", "Linux 6.1");
        check(libc::ENOMEM, None, "memory", "LimitMEMLOCK");
        check(libc::EMFILE, None, "file descriptor", "LimitNOFILE");
        check(libc::EIO, None, "refuses a ring", "Linux 6.1");
    }

    #[test]
    fn this_kernel_has_all_we_need() {
        assert_eq!(probe(), Ok(()));
    }
}
