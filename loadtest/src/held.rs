//! Asks all connections the same in turn, and holds them in between. In: a load, a question. Out: counts and latencies, a report. Here
//! are the kinds of load in which nothing happens for most of the time, and the opening of sessions.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::connection::Connection;
use crate::load::{Load, Slot};
use crate::message::Subject;
use crate::poll;
use crate::reply::Outcome;
use crate::report::{Report, Tally};

/// Questions on their way at once, so that no backlog of a listener is full (nginx has 511 places) and no queue measures itself.
const WINDOW: usize = 64;

/// So long nothing may happen before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked.
pub struct Question<'q> {
    /// What a slot sends.
    pub request: &'q dyn Fn(&Slot) -> Rc<[u8]>,
    /// What answers it.
    pub answer: Answer,
}

/// What answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A whole response of this outcome.
    Whole(Outcome),
    /// A stream that has begun, with at least so many events.
    Stream(u64),
}

impl Answer {
    /// What a turn of a connection amounts to.
    fn judge(self, outcome: Outcome, connection: &Connection) -> Outcome {
        match self {
            Self::Whole(wanted) if outcome == wanted => Outcome::Good,
            // What was to be another outcome is none.
            Self::Whole(wanted) if outcome == Outcome::Good && wanted != Outcome::Good => Outcome::RpcError,
            Self::Whole(_) => outcome,
            Self::Stream(events) if connection.events().is_some_and(|come| come >= events) => Outcome::Good,
            // A stream that ended at once is none.
            Self::Stream(_) if outcome == Outcome::Good => Outcome::RpcError,
            Self::Stream(_) => outcome,
        }
    }
}

/// Which connections are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All; what is not connected is connected first.
    All,
    /// Those that are connected; the others count as broken.
    Connected,
}

impl Load {
    /// Asks each slot once, a few at a time, and counts the answers.
    ///
    /// # Errors
    /// When the kernel refuses; what goes wrong with a connection is counted.
    pub fn ask(&mut self, whom: Whom, question: &Question<'_>, tally: &mut Tally) -> Result<()> {
        let (mut next, mut open) = (0, 0);
        let (mut ready, mut progress) = (Vec::new(), Instant::now());
        loop {
            while open < WINDOW && next < self.slots.len() {
                match self.begin(next, whom, question)? {
                    true => open += 1,
                    false => tally.broken += 1,
                }
                next += 1;
            }
            if open == 0 && next == self.slots.len() {
                return Ok(());
            }
            self.poll.wait(Some(PATIENCE), &mut ready)?;
            for token in &ready {
                if self.hear(usize::try_from(*token)?, question.answer, tally)? {
                    open -= 1;
                    progress = Instant::now();
                }
            }
            if progress.elapsed() >= PATIENCE {
                self.give_up(tally);
                open = 0;
            }
        }
    }

    /// Whether the question is on its way.
    fn begin(&mut self, index: usize, whom: Whom, question: &Question<'_>) -> Result<bool> {
        let now = Instant::now();
        if whom == Whom::All && self.connect(index).is_err() {
            return Ok(false);
        }
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        slot.request = (question.request)(slot);
        let Some(connection) = &mut slot.connection else { return Ok(false) };
        slot.busy = connection.send(&slot.request, now, &self.poll).is_ok();
        if !slot.busy {
            slot.connection = None;
        }
        Ok(slot.busy)
    }

    /// Whether this ended a question.
    fn hear(&mut self, index: usize, answer: Answer, tally: &mut Tally) -> Result<bool> {
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        let Some(connection) = &mut slot.connection else { return Ok(false) };
        let outcome = connection.turn(&slot.request, &mut self.scratch, &self.poll);
        let was_busy = slot.busy;
        let judged = if was_busy { answer.judge(outcome, connection) } else { outcome };
        match judged {
            Outcome::Waiting => return Ok(false),
            Outcome::Broken => {
                tally.broken += u64::from(was_busy);
                slot.connection = None;
            }
            Outcome::Good | Outcome::RpcError | Outcome::Refused(_) if was_busy => {
                tally.answer(judged, Subject::Permitted, connection.intended.elapsed());
                tally.handshakes += u64::from(connection.answered == 1);
            }
            // Nobody asked.
            Outcome::Good | Outcome::RpcError | Outcome::Refused(_) => slot.connection = None,
        }
        slot.busy = false;
        Ok(was_busy)
    }

    fn give_up(&mut self, tally: &mut Tally) {
        for slot in self.slots.iter_mut().filter(|slot| slot.busy) {
            slot.busy = false;
            slot.connection = None;
            tally.broken += 1;
        }
    }

    /// Connections that are there.
    pub fn held(&self) -> usize {
        self.slots.iter().filter(|slot| slot.connection.is_some()).count()
    }

    /// Asks every held connection for one call and reports; those that are gone count as broken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ask_held(&mut self) -> Result<Report> {
        let (cpu, start, mut tally) = (poll::cpu_ns()?, Instant::now(), Tally::new()?);
        let question = Question { request: &|slot| Rc::clone(&slot.permitted), answer: Answer::Whole(Outcome::Good) };
        self.ask(Whom::Connected, &question, &mut tally)?;
        self.reported(&tally, start, cpu)
    }

    /// Wakes the streams by a call over `waker`, waits until each was told something, and reports. Times count from the call.
    ///
    /// # Errors
    /// When the call that wakes fails, or the kernel refuses.
    pub fn tell_streams(&mut self, waker: &mut Self) -> Result<Report> {
        let (cpu, mut tally) = (poll::cpu_ns()?, Tally::new()?);
        self.drain_news()?;
        let heard: Vec<u64> = self.slots.iter().map(news).collect();
        let start = Instant::now();
        let mut woken = Tally::new()?;
        let question = Question { request: &|slot| Rc::clone(&slot.permitted), answer: Answer::Whole(Outcome::Good) };
        waker.ask(Whom::All, &question, &mut woken)?;
        if let Some(failure) = woken.failure() {
            bail!("the call that wakes the streams failed: {failure}");
        }
        let mut missing: Vec<bool> = self.slots.iter().map(|slot| slot.connection.is_some()).collect();
        let mut left = self.held();
        tally.broken += u64::try_from(self.slots.len() - left)?;
        let (mut ready, mut progress) = (Vec::new(), start);
        while left > 0 {
            self.poll.wait(Some(PATIENCE), &mut ready)?;
            if progress.elapsed() >= PATIENCE {
                tally.broken += u64::try_from(left)?;
                break;
            }
            for token in &ready {
                let index = usize::try_from(*token)?;
                let broken = !self.listen(index)?;
                let told = self.slots.get(index).map(news) > heard.get(index).copied();
                let Some(missing) = missing.get_mut(index).filter(|missing| **missing) else { continue };
                if told {
                    tally.answer(Outcome::Good, Subject::Permitted, start.elapsed());
                } else if broken {
                    tally.broken += 1;
                } else {
                    continue;
                }
                *missing = false;
                left -= 1;
                progress = Instant::now();
            }
        }
        self.reported(&tally, start, cpu)
    }

    /// Reads what came on the streams while they were held: comments that keep them alive, streams that ended.
    fn drain_news(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poll.wait(Some(Duration::ZERO), &mut ready)?;
            if ready.is_empty() {
                return Ok(());
            }
            for token in &ready {
                self.listen(usize::try_from(*token)?)?;
            }
        }
    }

    /// Reads on; whether the stream goes on.
    fn listen(&mut self, index: usize) -> Result<bool> {
        let Some(slot) = self.slots.get_mut(index) else { bail!("no connection {index}") };
        let Some(connection) = &mut slot.connection else { return Ok(false) };
        let goes_on = connection.turn(&slot.request, &mut self.scratch, &self.poll) == Outcome::Waiting;
        if !goes_on {
            slot.connection = None;
        }
        Ok(goes_on)
    }

    fn reported(&self, tally: &Tally, start: Instant, cpu_ns: u64) -> Result<Report> {
        let mut report = tally.report(start.elapsed(), 0, poll::cpu_ns()? - cpu_ns);
        report.connections = self.slots.len();
        Ok(report)
    }
}

/// Events that a slot's stream has brought.
fn news(slot: &Slot) -> u64 {
    slot.connection.as_ref().and_then(Connection::events).unwrap_or_default()
}
