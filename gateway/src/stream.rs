//! Relays an event stream, event by event. In: an upstream's stream. Out: each event as it comes, the last one only once it is recorded.
//! Never here: what an event means, which is `screen`'s.
//!
//! `result.begun` is in the log before the first byte goes out; the final answer is held until `result.ended` is (law 5). An answer that
//! comes before anything else was sent needs no begin: it is recorded as a whole.

use crate::counters::Gauge;
use crate::digest::Digest;
use crate::downstream::Downstream;
use crate::judge::Expect;
use crate::records;
use crate::relay::{self, Way};
use crate::screen::{self, Verdict, live};
use crate::upstream::connection::{Piece, Reply};
use crate::worker::Core;
use portcullis_core::audit::capture::Content;
use portcullis_core::audit::record::Outcome;
use portcullis_core::protocol::sse::Splitter;
use portcullis_core::refusal::{Refusal, UpstreamFailure};
use portcullis_core::time::UnixMillis;
use std::pin::{Pin, pin};
use std::time::Duration;

/// A comment, which clients ignore and proxies count as life.
const KEEP_ALIVE: &[u8] = b": \n\n";

/// Room for most events.
const BUFFER_BYTES: usize = 4096;

/// How often an open stream is looked after: revoked grants, ended tokens, silence.
pub const LOOK: Duration = Duration::from_millis(500);

/// Why a stream stops before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The agent left.
    Gone,
    /// The upstream ended it without an answer: legal for legacy streams, which are resumed by GET.
    Ended,
    /// The upstream failed.
    Failed(UpstreamFailure),
    /// The grant, the agent or its token ended meanwhile.
    Revoked,
    /// The call took longer than any may.
    Overdue,
    /// The gateway stops.
    Draining,
}

impl Stop {
    /// How the record says it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Gone | Self::Draining => Outcome::Cancelled,
            Self::Ended => Outcome::Complete,
            Self::Failed(_) | Self::Overdue => Outcome::UpstreamFailed,
            Self::Revoked => Outcome::Revoked,
        }
    }
}

struct Open {
    splitter: Splitter,
    /// Decoded bytes not yet relayed.
    arrived: Vec<u8>,
    /// Events ready to go out.
    ready: Vec<u8>,
    begun: bool,
    agent_gone: bool,
    relayed_bytes: u64,
    digest: Digest,
    silent_since: UnixMillis,
    /// When the grant was last looked at; a busy stream is looked at as often as a silent one.
    reviewed: UnixMillis,
}

/// Relays until the answer, the end, or a reason to stop.
pub async fn relay(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply) -> Result<(), Refusal> {
    let _open = way.core.counters.hold(Gauge::StreamsOpen);
    let session = reply.session_id.take();
    reply.lift_deadline();
    let mut open = Open {
        splitter: Splitter::new(way.snapshot.settings.limits.event_bytes_max),
        arrived: way.core.buffers.take(BUFFER_BYTES),
        ready: way.core.buffers.take(BUFFER_BYTES),
        begun: false,
        agent_gone: false,
        relayed_bytes: 0,
        digest: Digest::of(way),
        silent_since: way.core.now(),
        reviewed: way.core.now(),
    };
    let mut ended = false;
    let end = loop {
        match open.take_events(way, agent)? {
            Taken::Answer(answer) => break Ok(answer),
            Taken::AllRelayed => {}
            Taken::Failed(failure) => break Err(Stop::Failed(failure)),
        }
        if let Some(stop) = open.review(way) {
            break Err(stop);
        }
        if let Err(stop) = open.send_ready(way, agent).await? {
            break Err(stop);
        }
        if ended {
            break Err(Stop::Ended);
        }
        match open.read(way, agent, &mut reply).await? {
            Ok(Piece::More) => {}
            // The last bytes may have come with the end.
            Ok(Piece::End) => ended = true,
            Err(stop) => break Err(stop),
        }
    };
    match end {
        Ok(answer) => {
            let session = relay::open_session(way, session, answer.revision)?;
            open.finish(way, agent, reply, answer, session.as_deref()).await
        }
        Err(stop) => open.stop(way, agent, reply, stop).await,
    }
}

/// What taking the arrived events brought.
enum Taken {
    /// The answer to the request, ready to be released.
    Answer(screen::Answered),
    /// Nothing more to do until more arrives.
    AllRelayed,
    /// The upstream sent what cannot be relayed.
    Failed(UpstreamFailure),
}

impl Open {
    /// Screens every whole event that has arrived, until the answer.
    fn take_events(&mut self, way: &Way<'_>, agent: &Downstream) -> Result<Taken, Refusal> {
        if self.ready.capacity() == 0 {
            self.ready = way.core.buffers.take(BUFFER_BYTES);
        }
        let mut taken = 0;
        let outcome = loop {
            let rest = self.arrived.get(taken..).unwrap_or_default();
            let length = match self.splitter.next_event(rest) {
                Ok(Some(length)) => length,
                Ok(None) => break Taken::AllRelayed,
                Err(_) => break Taken::Failed(UpstreamFailure::TooLarge),
            };
            let event = rest.get(..length).unwrap_or_default();
            taken += length;
            match screen::event(way, agent, event, &mut self.ready) {
                Ok(Verdict::Relayed) => {}
                Ok(Verdict::Answer(answer)) => break Taken::Answer(answer),
                Err(failure) => break Taken::Failed(failure),
            }
        };
        self.arrived.drain(..taken);
        Ok(outcome)
    }

    /// Sends what is ready; the first time only after `result.begun` is in the log.
    async fn send_ready(&mut self, way: &Way<'_>, agent: &mut Downstream) -> Result<Result<(), Stop>, Refusal> {
        if self.ready.is_empty() {
            return Ok(Ok(()));
        }
        // What opens a session cannot begin before its answer is known; what comes before the answer waits, within bounds.
        if way.plan.expect == Expect::Initialize {
            let bound = way.snapshot.settings.limits.event_bytes_max;
            let fits = self.ready.len() <= bound;
            return Ok(if fits { Ok(()) } else { Err(Stop::Failed(UpstreamFailure::TooLarge)) });
        }
        // What the server asks of the agent is in the log before the agent hears of it.
        way.core.journal.caught_up().recorded().await.map_err(Refusal::Journal)?;
        if !self.begun {
            let recorded = records::result_begun(way).recorded().await.map_err(Refusal::Journal)?;
            agent.begin_stream(way.core, recorded, &fields(agent, None), &way.snapshot.settings.timeouts).await;
            self.begun = true;
        }
        self.count();
        self.silent_since = way.core.now();
        let sent = agent.send_events(way.core, &self.ready, &way.snapshot.settings.timeouts).await;
        self.ready.clear();
        Ok(if sent.is_err() { self.agent_left(way, agent) } else { Ok(()) })
    }

    /// Looks whether the stream may go on, if it was not looked at just now.
    fn review(&mut self, way: &Way<'_>) -> Option<Stop> {
        let now = way.core.now();
        if self.reviewed.after(LOOK) > now {
            return None;
        }
        self.reviewed = now;
        review(way)
    }

    fn count(&mut self) {
        self.relayed_bytes += self.ready.len() as u64;
        self.digest.update(&self.ready);
    }

    /// Leaving cancels a modern call and ends a listening stream; a legacy call goes on (MCP 2025-11-25, Streamable HTTP).
    fn agent_left(&mut self, way: &Way<'_>, agent: &Downstream) -> Result<(), Stop> {
        self.agent_gone = true;
        if way.is_modern() || way.is_listening() {
            return Err(Stop::Gone);
        }
        // The agent may resume by GET, where the answer then comes.
        screen::owe(way, agent);
        Ok(())
    }

    /// Reads on, and meanwhile keeps the agent's end alive and the grant under review.
    async fn read(
        &mut self,
        way: &Way<'_>,
        agent: &mut Downstream,
        reply: &mut Reply,
    ) -> Result<Result<Piece, Stop>, Refusal> {
        if let Some(stop) = self.wait(way, agent, reply).await? {
            return Ok(Err(stop));
        }
        if self.arrived.capacity() == 0 {
            self.arrived = way.core.buffers.take(BUFFER_BYTES);
        }
        Ok(reply.piece(&mut self.arrived).await.map_err(Stop::Failed))
    }

    /// Waits until the upstream has sent more, and holds no buffer meanwhile.
    async fn wait(
        &mut self,
        way: &Way<'_>,
        agent: &mut Downstream,
        reply: &mut Reply,
    ) -> Result<Option<Stop>, Refusal> {
        for buffer in [&mut self.arrived, &mut self.ready] {
            if buffer.is_empty() {
                way.core.buffers.give(std::mem::take(buffer));
            }
        }
        agent.shed();
        let mut arrives = pin!(reply.arrives(way.core));
        loop {
            let left = async { if self.agent_gone { std::future::pending().await } else { agent.gone().await } };
            let event = tokio::select! {
                biased;
                () = &mut arrives => return Ok(None),
                () = left => Watched::Left,
                () = way.core.wheel.wait(LOOK) => Watched::Tick,
            };
            let stop = match event {
                Watched::Left => {
                    self.agent_gone = true;
                    if !way.is_modern() && !way.is_listening() {
                        screen::owe(way, agent);
                    }
                    (way.is_modern() || way.is_listening()).then_some(Stop::Gone)
                }
                Watched::Tick => review(way),
            };
            if stop.is_some() {
                return Ok(stop);
            }
            let silence = self.silent_since.after(way.snapshot.settings.timeouts.stream_keep_alive) <= way.core.now();
            if silence && !self.agent_gone && (self.begun || way.is_listening()) {
                if !self.begun {
                    let recorded = records::result_begun(way).recorded().await.map_err(Refusal::Journal)?;
                    agent.begin_stream(way.core, recorded, &fields(agent, None), &way.snapshot.settings.timeouts).await;
                    self.begun = true;
                }
                self.silent_since = way.core.now();
                if agent.send_events(way.core, KEEP_ALIVE, &way.snapshot.settings.timeouts).await.is_err() {
                    self.agent_gone = true;
                    if way.is_modern() || way.is_listening() {
                        return Ok(Some(Stop::Gone));
                    }
                    screen::owe(way, agent);
                }
            }
        }
    }

    /// Records the answer, then releases it and ends the stream.
    async fn finish(
        &mut self,
        way: &Way<'_>,
        agent: &mut Downstream,
        reply: Reply,
        answer: screen::Answered,
        session: Option<&crate::session::Session>,
    ) -> Result<(), Refusal> {
        let timeouts = &way.snapshot.settings.timeouts;
        let outcome = match (answer.is_withheld, answer.is_error) {
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Error,
            (false, false) => Outcome::Complete,
        };
        self.count();
        let entered = if self.begun {
            records::result_ended(way, outcome, self.relayed_bytes, &self.digest)
        } else {
            records::result(way, 200, outcome, Content::Whole(&answer.json))
        };
        let recorded = entered.recorded().await.map_err(Refusal::Journal)?;
        if !self.begun {
            let fields = fields(agent, session.map(|session| &*session.id));
            agent.begin_stream(way.core, recorded, &fields, timeouts).await;
        }
        // An agent that has left has nothing to be told; the record says what would have been.
        let _gone = agent.send_events(way.core, &self.ready, timeouts).await;
        let _gone = agent.end_stream(timeouts).await;
        way.core.buffers.give(std::mem::take(&mut self.ready));
        let core = way.core.clone();
        // The agent need not wait until the upstream has ended its stream as well.
        let rest = std::mem::take(&mut self.arrived);
        portcullis_ring::spawn(async move { drain(&core, rest, reply).await });
        Ok(())
    }

    /// Ends a stream that brought no answer.
    async fn stop(&self, way: &Way<'_>, agent: &mut Downstream, reply: Reply, stop: Stop) -> Result<(), Refusal> {
        if stop == Stop::Ended {
            if !way.is_listening() {
                screen::owe(way, agent);
            }
            reply.finish(way.core);
        } else {
            drop(reply);
        }
        if !self.begun {
            return match stop {
                Stop::Failed(failure) => Err(Refusal::Upstream(failure)),
                Stop::Overdue => Err(Refusal::Upstream(UpstreamFailure::TimedOut)),
                Stop::Gone => Err(Refusal::Upstream(UpstreamFailure::Cancelled)),
                Stop::Ended | Stop::Revoked | Stop::Draining => Err(Refusal::Upstream(UpstreamFailure::Broken)),
            };
        }
        let outcome = stop.outcome();
        let recorded = records::result_ended(way, outcome, self.relayed_bytes, &self.digest).recorded().await;
        let orderly = matches!(stop, Stop::Ended | Stop::Draining | Stop::Revoked) && recorded.is_ok();
        if orderly {
            let _gone = agent.end_stream(&way.snapshot.settings.timeouts).await;
        } else {
            // No final chunk: the agent must see that something is missing.
            agent.break_off();
        }
        Ok(())
    }
}

/// Behind the answer nothing may follow; what does costs the upstream its connection.
async fn drain(core: &Core, mut rest: Vec<u8>, mut reply: Reply) {
    reply.extend_deadline(LOOK);
    rest.clear();
    if reply.whole(&mut rest, 1024).await.is_ok() {
        reply.finish(core);
    }
    core.buffers.give(rest);
}

enum Watched {
    Left,
    Tick,
}

/// Whether what is being released may go on: the call's own time, the principal's proof, the live snapshot's word, the gateway's life.
pub fn review(way: &Way<'_>) -> Option<Stop> {
    let now = way.core.now();
    if way.core.shared.life.grace_is_over(now) {
        return Some(Stop::Draining);
    }
    if way.case.principal.as_ref().and_then(|principal| principal.expires()).is_some_and(|end| now >= end) {
        return Some(Stop::Revoked);
    }
    if !way.is_listening() && way.case.at.after(way.snapshot.settings.timeouts.total) <= now {
        return Some(Stop::Overdue);
    }
    let same = way.core.snapshot().version == way.snapshot.version;
    (!same && !live::still_granted(way)).then_some(Stop::Revoked)
}

/// Runs `releasing` to its end, unless what is being released may not go on meanwhile; then whoever holds it drops it.
pub async fn unless_stopped<T>(way: &Way<'_>, mut releasing: Pin<&mut impl Future<Output = T>>) -> Result<T, Stop> {
    loop {
        tokio::select! {
            biased;
            released = &mut releasing => return Ok(released),
            () = way.core.wheel.wait(LOOK) => {}
        }
        review(way).map_or(Ok(()), Err)?;
    }
}

/// The fields of an event stream: no cache, no proxy's buffer in between.
fn fields(agent: &Downstream, session: Option<&str>) -> Vec<u8> {
    let mut fields = agent.cors();
    records::field(&mut fields, "Cache-Control", "no-cache, no-transform");
    records::field(&mut fields, "X-Accel-Buffering", "no");
    if let Some(session) = session {
        records::field(&mut fields, "Mcp-Session-Id", session);
    }
    fields
}
