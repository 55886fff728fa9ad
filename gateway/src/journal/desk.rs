//! Hands orders that change what is kept to the sequencing thread. In: an order. Out: what came of it, later. Never here: waiting, records.
//!
//! The sequencing thread alone touches the log, so it carries orders out, one at a time. Before values are erased every worker has left the segment
//! that may hold them, and all of it is in the log: then those segments can be destroyed with the values.

use crate::journal::syncer::{Doorbell, Synced};
use portcullis_audit::keeping::{Done, Erasure, Flight, Hold, Refused};
use portcullis_audit::sequencer::{Fault, Sequencer};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Orders that may wait: operators are few, and each waits for its own.
const ORDERS_MAX: usize = 64;

/// A worker that takes longer to leave its segment hangs, or its disk does.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// Between two looks at whether the segments are left, where nothing rings before.
const LOOK: Duration = Duration::from_millis(20);

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Destroy values.
    Erase(Erasure),
    /// Hold calls.
    Place(Hold),
    /// Lift a hold: its name, who, why.
    Lift(String, String, String),
    /// Forget what was recorded.
    Recorded(Vec<Done>),
    /// Tell what is to be recorded.
    Tell,
}

impl Order {
    /// Does it; how many values are gone.
    pub fn carry_out(self, sequencer: &mut Sequencer, flight: Flight) -> Result<usize, Refused> {
        match self {
            Self::Erase(erasure) => sequencer.erase_calls(erasure, flight),
            Self::Place(hold) => sequencer.place(hold).map(|()| 0),
            Self::Lift(name, actor, reason) => sequencer.lift(&name, &actor, &reason).map(|()| 0),
            Self::Recorded(done) => sequencer.recorded(&done).map(|()| 0).map_err(Refused::from),
            Self::Tell => Ok(0),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Values that are gone.
    pub erased: usize,
    /// What is to be recorded now.
    pub unrecorded: Vec<Done>,
}

type Reply = oneshot::Sender<Result<Outcome, Refused>>;

/// Where orders wait.
pub struct Desk {
    orders: Mutex<VecDeque<(Order, Reply)>>,
    bell: Arc<Doorbell>,
}

impl Desk {
    /// Of the thread behind `bell`.
    pub fn new(bell: Arc<Doorbell>) -> Self {
        Self { orders: Mutex::default(), bell }
    }

    /// Hands an order in; nothing where too many wait or the thread ends.
    pub async fn done(&self, order: Order) -> Option<Result<Outcome, Refused>> {
        let (reply, answer) = oneshot::channel();
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            if orders.len() >= ORDERS_MAX || self.bell.is_stopping() {
                return None;
            }
            orders.push_back((order, reply));
        }
        self.bell.ring();
        answer.await.ok()
    }

    /// Takes the next order; those that still wait when the thread ends are let go unanswered.
    pub fn next(&self) -> Option<(Order, Reply)> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Nobody carries orders out any more.
    pub fn close(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The order that is being carried out.
pub struct Work {
    order: Order,
    reply: Reply,
    /// Segments that are to be left before: the shard and the segment.
    awaited: Vec<(Arc<Synced>, u32)>,
    begun: Instant,
}

impl Work {
    /// Begins: the workers are asked to leave their segments where that is needed.
    pub fn begin((order, reply): (Order, Reply), shards: &[Arc<Synced>]) -> Self {
        let awaited = match &order {
            // The control plane's shard, the last, holds no values, so its segment may stay.
            Order::Erase(_) => leave(shards.split_last().map_or(&[], |(_, workers)| workers)),
            Order::Place(_) | Order::Lift(..) | Order::Recorded(_) | Order::Tell => Vec::new(),
        };
        Self { order, reply, awaited, begun: Instant::now() }
    }

    /// When it is to be looked at again.
    pub fn due(&self) -> Instant {
        Instant::now() + LOOK
    }

    /// Whether it can be done, or never will be.
    pub fn is_ready(&self) -> bool {
        self.is_left() || self.begun.elapsed() >= LEAVE_MAX
    }

    fn is_left(&self) -> bool {
        self.awaited.iter().all(|(shard, segment)| shard.owed.durable().segment > *segment)
    }

    /// Does it, after a round took all that the disk holds.
    pub fn finish(self, taken: Result<(), Fault>, sequencer: &mut Sequencer) {
        let is_left = self.is_left();
        let Self { order, reply, .. } = self;
        let done = taken.map_err(Refused::from).and_then(|()| match is_left {
            true => order.carry_out(sequencer, Flight::Possible),
            false => {
                let why = "a worker does not leave its segment of the journal; nothing was erased";
                Err(Fault::from(io::Error::other(why)).into())
            }
        });
        let told = done.and_then(|erased| Ok(Outcome { erased, unrecorded: sequencer.unrecorded()? }));
        // Whoever asked may be gone: what was decided is done and recorded all the same.
        drop(reply.send(told));
    }
}

fn leave(workers: &[Arc<Synced>]) -> Vec<(Arc<Synced>, u32)> {
    let mut awaited = Vec::new();
    for shard in workers {
        if let Some(segment) = shard.owed.occupied() {
            shard.leave();
            awaited.push((shard.clone(), segment));
        }
    }
    awaited
}
