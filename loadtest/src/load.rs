//! Generates load and measures it. In: who speaks, where, at which pace. Out: counts and latencies.

use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::connection::{Connection, Scratch};
use crate::message::Subject;
use crate::poll::{self, Poll};
use crate::reply::Outcome;
use crate::report::{Report, Tally};
use crate::schedule::{Pace, Schedule};
use crate::wire::Target;

/// Answers may come this long after the last request; what has not come by then is lost.
const DRAIN: Duration = Duration::from_secs(5);

/// Broken connections are opened anew; a server that breaks more of them than this does not serve.
const BREAKS_MAX: u64 = 1000;

/// The generator with its connections.
pub struct Load {
    pub(crate) target: Target,
    pub(crate) poll: Poll,
    pub(crate) scratch: Scratch,
    pub(crate) slots: Vec<Slot>,
    idle: Vec<usize>,
    /// Calls after which a connection is closed; the next call opens a new one.
    calls_max: u32,
    forbidden: Spread,
}

/// A place for one connection.
pub struct Slot {
    /// The connection, while there is one.
    pub connection: Option<Connection>,
    /// What is on its way.
    pub request: Rc<[u8]>,
    subject: Subject,
    pub(crate) busy: bool,
    /// What it sends.
    pub permitted: Rc<[u8]>,
    /// What it sends where the plan wants a refusal.
    pub forbidden: Rc<[u8]>,
}

/// Picks so many of a thousand, evenly.
struct Spread {
    per_thousand: u32,
    owed: u32,
}

impl Spread {
    fn pick(&mut self) -> Subject {
        self.owed += self.per_thousand;
        if self.owed < 1000 {
            return Subject::Permitted;
        }
        self.owed -= 1000;
        Subject::Forbidden
    }
}

impl Slot {
    /// A slot without a connection that sends this.
    pub fn new(permitted: Rc<[u8]>, forbidden: Rc<[u8]>) -> Self {
        let request = Rc::clone(&permitted);
        Self { connection: None, request, subject: Subject::Permitted, busy: false, permitted, forbidden }
    }
}

/// What a load does beside calling.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Calls after which a connection is closed; `u32::MAX`: never.
    pub calls_max: u32,
    /// Calls of a thousand that the rule forbids.
    pub refused_per_thousand: u16,
}

impl Default for Manner {
    fn default() -> Self {
        Self { calls_max: u32::MAX, refused_per_thousand: 0 }
    }
}

struct Phase {
    schedule: Schedule,
    tally: Tally,
}

impl Load {
    /// A load that has not connected yet.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn new(target: Target, slots: Vec<Slot>, manner: Manner) -> Result<Self> {
        // Connections are made without waiting for them, so that this is the only place to say it in clear words.
        TcpStream::connect(target.address).with_context(|| format!("`{}` cannot be connected to", target.address))?;
        Ok(Self {
            target,
            poll: Poll::new()?,
            scratch: Scratch::default(),
            idle: (0..slots.len()).collect(),
            slots,
            calls_max: manner.calls_max,
            forbidden: Spread { per_thousand: u32::from(manner.refused_per_thousand), owed: 0 },
        })
    }

    /// Opens `connections` connections on which the same request is sent; nothing more is known of it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(target: Target, request: &Rc<[u8]>, connections: usize) -> Result<Self> {
        let slots = (0..connections).map(|_| Slot::new(Rc::clone(request), Rc::clone(request))).collect();
        let mut load = Self::new(target, slots, Manner::default())?;
        load.connect_all()?;
        Ok(load)
    }

    /// Opens what is not open.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect_all(&mut self) -> Result<()> {
        (0..self.slots.len()).try_for_each(|index| {
            self.connect(index).with_context(|| format!("`{}` cannot be connected to", self.target.address))
        })
    }

    pub(crate) fn connect(&mut self, index: usize) -> Result<()> {
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        if slot.connection.is_none() {
            slot.connection = Some(Connection::open(&self.target, u64::try_from(index)?, &self.poll)?);
        }
        Ok(())
    }

    /// Runs one phase and waits for its last answers.
    ///
    /// # Errors
    /// When the server breaks connections again and again, or the kernel refuses.
    pub fn run(&mut self, pace: Pace, length: Duration) -> Result<Report> {
        let cpu = poll::cpu_ns()?;
        let start = Instant::now();
        let mut phase = Phase { schedule: Schedule::new(pace, start, length), tally: Tally::new()? };
        let mut ready = Vec::new();
        let mut now = start;
        loop {
            while let Some(intended) = self.idle.last().and_then(|_| phase.schedule.due(now)) {
                if let Some(index) = self.idle.pop() {
                    self.send(index, intended, &mut phase)?;
                }
            }
            let all_idle = self.idle.len() == self.slots.len();
            if phase.schedule.over(now) && all_idle || now > phase.schedule.end() + DRAIN {
                break;
            }
            let over = phase.schedule.over(now) || self.idle.is_empty();
            let limit = if over { DRAIN } else { phase.schedule.rest(now) };
            self.poll.wait(Some(limit), &mut ready)?;
            for token in &ready {
                now = Instant::now();
                self.turn(usize::try_from(*token)?, now, &mut phase)?;
            }
            now = Instant::now();
        }
        let took = start.elapsed();
        self.give_up_the_late(&mut phase)?;
        let mut report = phase.tally.report(took, phase.schedule.unsent(), poll::cpu_ns()? - cpu);
        report.connections = self.slots.len();
        Ok(report)
    }

    fn send(&mut self, index: usize, intended: Instant, phase: &mut Phase) -> Result<()> {
        let subject = self.forbidden.pick();
        let opened = self.connect(index);
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        slot.busy = true;
        slot.subject = subject;
        slot.request = Rc::clone(if subject == Subject::Forbidden { &slot.forbidden } else { &slot.permitted });
        let sent = match &mut slot.connection {
            Some(connection) if opened.is_ok() => connection.send(&slot.request, intended, &self.poll).is_ok(),
            Some(_) | None => false,
        };
        if sent { Ok(()) } else { self.drop_broken(index, phase) }
    }

    /// A connection is ready: counts what came, and sends the next request at once where one is due.
    fn turn(&mut self, index: usize, now: Instant, phase: &mut Phase) -> Result<()> {
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        let Some(connection) = &mut slot.connection else { return Ok(()) };
        let outcome = connection.turn(&slot.request, &mut self.scratch, &self.poll);
        match outcome {
            Outcome::Waiting => return Ok(()),
            Outcome::Broken => return self.drop_broken(index, phase),
            // Nobody asked.
            Outcome::Good | Outcome::RpcError | Outcome::Refused(_) if !slot.busy => {
                return self.drop_broken(index, phase);
            }
            Outcome::Good | Outcome::RpcError | Outcome::Refused(_) => {}
        }
        slot.busy = false;
        phase.tally.answer(outcome, slot.subject, now.saturating_duration_since(connection.intended));
        phase.tally.handshakes += u64::from(connection.answered == 1);
        if connection.answered >= self.calls_max
            && let Some(connection) = slot.connection.take()
        {
            connection.close();
        }
        match phase.schedule.due(now) {
            Some(intended) => self.send(index, intended, phase),
            None => {
                self.idle.push(index);
                Ok(())
            }
        }
    }

    /// Drops a broken connection; the next request opens another. An idle connection that the server closed breaks no request.
    fn drop_broken(&mut self, index: usize, phase: &mut Phase) -> Result<()> {
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        slot.connection = None;
        if slot.busy {
            slot.busy = false;
            phase.tally.broken += 1;
            self.idle.push(index);
        }
        if phase.tally.broken > BREAKS_MAX {
            bail!("`{}` broke {} connections", self.target.address, phase.tally.broken);
        }
        Ok(())
    }

    /// A request still on its way is lost; its connection is dropped, so that its answer cannot count in the next phase.
    fn give_up_the_late(&mut self, phase: &mut Phase) -> Result<()> {
        (0..self.slots.len()).try_for_each(|index| match self.slots.get(index) {
            Some(slot) if slot.busy => self.drop_broken(index, phase),
            Some(_) | None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests;
