//! Passes a long result on without reading it, where its tool says so. In: a reply whose beginning has been read. Out: the same bytes,
//! released as they come, the last of them once the end is recorded. Never here: who may be answered so without being asked.
//!
//! The bytes go from socket to socket through a pipe of the kernel and are never in this process. What is and is not checked of them stands in
//! `ARCHITECTURE.md`, under "Results that pass unread".

use crate::digest::Digest;
use crate::downstream::{Downstream, Head};
use crate::judge::Expect;
use crate::records;
use crate::relay::Way;
use crate::screen::oblige;
use crate::session::spells_same;
use crate::stream::{self, LOOK, Stop};
use crate::upstream::connection::Reply;
use crate::watch;
use portcullis_core::audit::capture::CaptureRule;
use portcullis_core::audit::record::Outcome;
use portcullis_core::config::settings::Inspect;
use portcullis_core::filter::envelope;
use portcullis_core::protocol::method::Method;
use portcullis_core::refusal::{Refusal, UpstreamFailure};
use portcullis_core::time::UnixMillis;
use portcullis_ring::{Moved, Pipe};
use std::cell::{Cell, RefCell};
use std::pin::pin;

/// Shorter results are read whole in any case: it costs little, and what asks for something or tells of a failure is short.
const UNREAD_BYTES_MIN: u64 = 32 * 1024;

/// Shorter ones are copied, which costs less than four more system calls: measured.
const SPLICED_BYTES_MIN: u64 = 128 * 1024;

/// What a pipe holds. With less the sockets are asked more often, with more the pages leave the processor's caches.
const PIPE_BYTES: usize = 256 * 1024;

/// Pipes of one core in use at once; results beyond are read whole, so that the kernel never holds more than 16 MiB for them.
const PIPES_MAX: usize = 64;

/// Pipes kept while unused.
const SPARE_MAX: usize = 8;

/// Moved at one go before others have their turn.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a peer marked as urgent (RFC 9293 §3.8.5) are readable and cannot be moved, so a socket with one is ready for ever. Readiness may
/// be old news a few times; more often than this in a row it is that.
const FRUITLESS_MAX: u32 = 16;

/// The pipes of one core.
#[derive(Default)]
pub struct Pipes {
    spare: RefCell<Vec<Pipe>>,
    used: Cell<usize>,
}

impl Pipes {
    /// A pipe of its own, empty, unless too many are in use or the kernel has none.
    fn take(&self) -> Option<Lent<'_>> {
        if self.used.get() >= PIPES_MAX {
            return None;
        }
        let pipe = self.spare.borrow_mut().pop().or_else(|| Pipe::new(PIPE_BYTES).ok())?;
        self.used.set(self.used.get() + 1);
        Some(Lent { pipes: self, pipe: Some(pipe) })
    }
}

/// A pipe in use. Given back empty; one that still holds bytes is closed with them, or the next answer would begin with the end of this one.
struct Lent<'p> {
    pipes: &'p Pipes,
    pipe: Option<Pipe>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pipes.used.set(self.pipes.used.get() - 1);
        let mut spare = self.pipes.spare.borrow_mut();
        if let Some(pipe) = self.pipe.take()
            && pipe.held() == 0
            && spare.len() < SPARE_MAX
        {
            spare.push(pipe);
        }
    }
}

/// How much of a reply has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of it.
    Whole,
    /// That it begins as a result.
    Beginning,
}

/// Only the beginning where its tool says so, nothing is kept of it, and nothing is to be judged or narrowed.
pub fn demand(way: &Way<'_>, reply: &Reply) -> Demand {
    if may_pass(way, reply) { Demand::Beginning } else { Demand::Whole }
}

fn may_pass(way: &Way<'_>, reply: &Reply) -> bool {
    let Some((route, tool)) = way.snapshot.server(way.server).zip(way.case.tool) else { return false };
    let kept = match route.capture(Some(tool)).result {
        CaptureRule::Full | CaptureRule::Digest => true,
        CaptureRule::Size | CaptureRule::None => false,
    };
    route.inspect(tool) == Inspect::Envelope
        && !kept
        && route.settings.credential.is_none()
        && way.plan.method == Some(Method::ToolsCall)
        && way.plan.expect == Expect::Result
        && !oblige::is_on(way)
        && reply.head.status == 200
        && reply.length().is_some_and(|length| length >= UNREAD_BYTES_MIN)
}

/// Whether `head` begins the result that the agent waits for.
pub fn begins(way: &Way<'_>, agent: &Downstream, head: &[u8]) -> bool {
    let asked = way.case.raw_id(agent).unwrap_or_default();
    envelope::answered(head).and_then(|id| head.get(id)).is_some_and(|id| spells_same(id, asked))
}

/// What became of a reply that may pass.
pub enum Passed {
    /// It was answered, or broken off.
    Done,
    /// It has to go the other way.
    Not(Reply),
}

/// Passes the reply on, if both ends are plain, it is long enough, and it begins as it must.
pub async fn pass(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply) -> Result<Passed, Refusal> {
    let length = reply.length().unwrap_or(0);
    if length < SPLICED_BYTES_MIN || length > way.snapshot.settings.limits.result_bytes_max as u64 {
        return Ok(Passed::Not(reply));
    }
    if agent.plain().is_none() || reply.plain().is_none() {
        return Ok(Passed::Not(reply));
    }
    let read = {
        let reading = pin!(reply.beginning(envelope::ENVELOPE_BYTES_MAX));
        watch::unless_gone(way.core, agent, way.leaving(), reading).await
    };
    read.unwrap_or(Err(UpstreamFailure::Cancelled)).map_err(Refusal::Upstream)?;
    let Some(mut lent) = way.core.pipes.take() else { return Ok(Passed::Not(reply)) };
    let Some(begun) = reply.take_beginning(way.core, |head| begins(way, agent, head)) else {
        return Ok(Passed::Not(reply));
    };
    let recorded = records::result_begun(way).recorded().await.map_err(Refusal::Journal)?;
    let timeouts = &way.snapshot.settings.timeouts;
    let begun_bytes = begun.len() as u64;
    let mut passing = Passing { sent: 0, left: length - begun_bytes, reviewed: way.core.now(), fruitless: 0 };
    let fields = agent.cors();
    let head = Head { status: 200, content_type: Some("application/json"), length, fields: &fields };
    let stop = match (agent.begin_long(way.core, recorded, &head, begun, timeouts).await, &mut lent.pipe) {
        (Ok(()), Some(pipe)) => {
            passing.sent = begun_bytes;
            passing.run(way, agent, &mut reply, pipe).await
        }
        (Err(_), _) | (_, None) => Err(Stop::Gone),
    };
    let stop = match (stop, &mut lent.pipe) {
        // All but the last bytes are out, and those are here.
        (Ok(()), Some(pipe)) => {
            passing.end(way, agent, pipe).await;
            None
        }
        (Err(stop), _) => Some(stop),
        (Ok(()), None) => Some(Stop::Gone),
    };
    match stop {
        None => {
            reply.passed();
            reply.finish(way.core);
        }
        Some(stop) => passing.stop(way, agent, stop).await,
    }
    Ok(Passed::Done)
}

/// How far a result has got.
struct Passing {
    /// Bytes of it that were handed to the agent's socket.
    sent: u64,
    /// Bytes of it that have not come yet.
    left: u64,
    /// When the grant was last looked at; a transfer that never waits is looked at as often as one that does.
    reviewed: UnixMillis,
    /// How often in a row the upstream's socket was readable and nothing could be moved from it.
    fruitless: u32,
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Awaited {
    Upstream,
    Agent,
}

impl Passing {
    /// Moves until all has come; what came last is still in the pipe then.
    async fn run(
        &mut self,
        way: &Way<'_>,
        agent: &mut Downstream,
        reply: &mut Reply,
        pipe: &mut Pipe,
    ) -> Result<(), Stop> {
        let mut turn = 0;
        loop {
            if self.reviewed.after(LOOK) <= way.core.now() {
                self.reviewed = way.core.now();
                stream::review(way).map_or(Ok(()), Err)?;
            }
            let (Some(from), Some(to)) = (reply.plain(), agent.plain()) else { return Err(Stop::Gone) };
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
            match pipe.fill(from, wanted).map_err(|_| Stop::Failed(reply.failure()))? {
                Moved::Bytes(count) => {
                    self.left = self.left.saturating_sub(count as u64);
                    turn += count;
                    self.fruitless = 0;
                }
                Moved::NotReady if pipe.held() == 0 => {
                    self.fruitless += 1;
                    if self.fruitless > FRUITLESS_MAX {
                        return Err(Stop::Failed(reply.failure()));
                    }
                    wait(way, agent, reply, Awaited::Upstream).await?;
                    continue;
                }
                Moved::NotReady => {}
                // Less than it said; the agent must see that something is missing.
                Moved::End => return Err(Stop::Failed(reply.failure())),
            }
            if self.left == 0 {
                // The last bytes are let go of only to whom they are still due.
                return stream::review(way).map_or(Ok(()), Err);
            }
            if self.drain(pipe, to)? == Moved::NotReady {
                agent.limit_writing(&way.snapshot.settings.timeouts);
                wait(way, agent, reply, Awaited::Agent).await?;
                agent.lift_deadline();
            }
            if turn > TURN_BYTES_MAX {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn drain(&mut self, pipe: &mut Pipe, to: &portcullis_ring::Socket) -> Result<Moved, Stop> {
        let moved = pipe.drain(to).map_err(|_| Stop::Gone)?;
        if let Moved::Bytes(count) = moved {
            self.sent += count as u64;
        }
        Ok(moved)
    }

    /// Records the end, then lets go of the last bytes (law 5).
    async fn end(&mut self, way: &Way<'_>, agent: &mut Downstream, pipe: &mut Pipe) {
        let length = self.sent + pipe.held() as u64;
        let entered = records::result_ended(way, Outcome::Passed, length, &Digest::none());
        let Ok(recorded) = entered.recorded().await else {
            agent.break_off();
            return;
        };
        // An agent that left before the end has nothing to be told; the record stands.
        let _gone = agent.end_long(recorded, pipe, &way.snapshot.settings.timeouts).await;
    }

    /// Records why it ended early. Its length was told, so the connection must not look as if it were whole.
    async fn stop(&self, way: &Way<'_>, agent: &mut Downstream, stop: Stop) {
        let outcome = stop.outcome();
        let entered = records::result_ended(way, outcome, self.sent, &Digest::none());
        let _recorded = entered.recorded().await;
        agent.break_off();
    }
}

/// Waits for one end to be ready, and meanwhile keeps the grant under review and an eye on the agent.
async fn wait(way: &Way<'_>, agent: &Downstream, reply: &Reply, awaited: Awaited) -> Result<(), Stop> {
    let (Some(from), Some(to)) = (reply.plain(), agent.plain()) else { return Err(Stop::Gone) };
    let mut ready = match awaited {
        Awaited::Upstream => from.readable(),
        Awaited::Agent => to.writable(),
    };
    let mut silent = false;
    loop {
        // Most waits are short; only a long one is worth watching the agent.
        let left = async { if silent { agent.gone().await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            // Whatever is wrong with a socket is found when it is used.
            _ready = &mut ready => return Ok(()),
            () = left => return Err(Stop::Gone),
            () = way.core.wheel.wait(LOOK) => silent = true,
        }
        if let Some(stop) = stream::review(way) {
            return Err(stop);
        }
    }
}
