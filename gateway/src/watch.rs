//! Watches an agent while its call is under way. In: work. Out: the work's end, or that the agent has left. Never here: what leaving means.

use crate::downstream::Downstream;
use crate::worker::Core;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Calls that end sooner are not watched: watching costs an operation on the ring, and most calls are over before anyone could leave.
const PATIENCE: Duration = Duration::from_millis(200);

/// What it means that an agent leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// What it asked for is not wanted any more.
    Cancels,
    /// Nothing: the work goes on.
    Ignored,
}

/// Does `work` unless the agent leaves first and that cancels; then whoever holds the work drops it. It is not taken by value: what waits
/// for it would hold room for it twice.
pub async fn unless_gone<T>(
    core: &Core,
    agent: &Downstream,
    leaving: Leaving,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    if leaving == Leaving::Ignored {
        return Some(work.await);
    }
    // What has arrived already needs neither timer nor watch.
    let begun = poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
    if let Poll::Ready(done) = begun.await {
        return Some(done);
    }
    tokio::select! {
        biased;
        done = &mut work => return Some(done),
        () = core.wheel.wait(PATIENCE) => {}
    }
    tokio::select! {
        biased;
        done = &mut work => Some(done),
        () = agent.gone() => None,
    }
}
