//! Waits for sockets. In: sockets with tokens. Out: tokens that are ready. Also pins the thread and reads its CPU time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Events taken in one turn.
const EVENTS_MAX: usize = 256;

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// The same, and room to write.
    ReadWrite,
}

/// A level-triggered epoll.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// A new epoll that watches nothing.
    ///
    /// # Errors
    /// When the kernel has no descriptor for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches `socket` and names it `token`. Closing the socket ends the watch.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Watches `socket` for something else.
    ///
    /// # Errors
    /// When it was not watched.
    pub fn modify(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Waits for events, at most `limit` where one is given, and puts their tokens into `ready`.
    ///
    /// # Errors
    /// When the kernel refuses; an interrupted wait is an empty one.
    pub fn wait(&mut self, limit: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), limit.as_ref()) {
            Ok(_count) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::OUT,
    }
}

/// Pins this thread to one CPU, counted from 0.
///
/// # Errors
/// When there is no such CPU, or we may not use it.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot be pinned to cpu {cpu}"))
}

/// CPU time this thread has used, in nanoseconds.
///
/// # Errors
/// When the kernel keeps no scheduler statistics.
pub fn cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .context("`/proc/thread-self/schedstat` cannot be read")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().context("`/proc/thread-self/schedstat` does not begin with a number")
}
