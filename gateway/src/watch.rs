//! Watches an agent while its call is under way. In: work. Out: the work's end, or that the agent has left. Never here: what leaving means.

use crate::downstream::Downstream;
use crate::worker::Core;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Calls that end sooner are not watched: watching costs an operation on the ring, and most calls are over before anyone could leave.
const PATIENCE: Duration = Duration::from_millis(200);

/// Does `work` unless the agent leaves first; then the work is dropped.
pub async fn unless_gone<T>(core: &Core, agent: &Downstream, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
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
