//! The whole of a call without a kernel: the very task that serves a connection, polled as the ring would, over bytes in memory.
//!
//! What it leaves out is the ring's own bookkeeping and the scheduler's: an operation's way into the ring and back, a wake-up, a system call.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use portcullis::connection::{self, Line, Woken};
use portcullis::worker::Core;
use portcullis_ring::memory::{self, Far};

use super::pure::SOURCE;
use super::shell;
use crate::stage::Stage;
use crate::{CALL, Scene, reply, request};

/// A call waits for its decision's record, its reply and its result's record.
const POLLS_MAX: usize = 8;

/// An agent's connection, its gateway and its upstream.
struct Call {
    core: Rc<Core>,
    serving: Pin<Box<dyn Future<Output = ()>>>,
    agent: Far,
    upstream: Option<Far>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Call {
    fn new(scene: &Scene, body: &[u8]) -> Self {
        let core = shell::core(scene);
        let (socket, agent) = memory::accepted().unwrap();
        // The wait for readiness before is the ring's.
        let woken = Woken::accepted(&core, &Rc::new(Line::new(socket, 0)), SOURCE);
        let serving = Box::pin(async move { drop(connection::wake(woken).await) });
        Self { core, serving, agent, upstream: None, request: request(&scene.token, body), reply: reply() }
    }

    /// One request, one answer; what `look` sees in it.
    fn once<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> T {
        self.agent.send(&self.request);
        for _ in 0..POLLS_MAX {
            let ended = self.serving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(ended.is_pending(), "the connection ended");
            if self.agent.waiting() > 0 {
                return self.agent.take(look);
            }
            self.core.journal.write_batch();
            if self.upstream.is_none() {
                self.upstream = memory::connected();
            }
            if let Some(upstream) = self.upstream.as_ref().filter(|upstream| upstream.waiting() > 0) {
                upstream.take(|_| ());
                upstream.send(&self.reply);
            }
        }
        panic!("no answer came");
    }

    /// The call as a stage, once it is sure what it is answered.
    fn stage(mut self, name: &str, answer: &str) -> Stage {
        let told = self.once(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(told.contains(answer), "{name} is answered: {told}");
        Stage::new(name, move || self.once(<[u8]>::len))
    }
}

/// A call that an argument's value permits, one that is permitted whatever it says, and one that is refused.
pub fn whole(scene: &Scene) -> Vec<Stage> {
    let text = std::str::from_utf8(CALL).unwrap();
    let refused = text.replace("q3.csv", "q9.csv");
    vec![
        Call::new(scene, CALL).stage("call", "quarterly figures"),
        Call::new(scene, refused.as_bytes()).stage("call/refused", "\"error\""),
    ]
}
