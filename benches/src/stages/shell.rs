//! The stages that need a connection, which lies in memory: one request on it, read and waiting for its judgement.

use std::future::Future;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use portcullis::case::Case;
use portcullis::connection::Line;
use portcullis::counters::Counters;
use portcullis::downstream::{Downstream, Parked};
use portcullis::journal::Journal;
use portcullis::journal::syncer::{Doorbell, Synced};
use portcullis::judge::{self, Plan};
use portcullis::kernel::Kernel;
use portcullis::meters::Meters;
use portcullis::relay::Way;
use portcullis::session::{Owners, Sessions};
use portcullis::shared::{Life, Shared};
use portcullis::transport::Transport;
use portcullis::upstream::request::{self, Judged, Outgoing, Verb};
use portcullis::worker::{Core, CoreSnapshot};
use portcullis::{headers, identify, own, records, screen};
use portcullis_audit::disk::RealDisk;
use portcullis_audit::keys::{WrappingKey, fresh_key};
use portcullis_audit::wal::{Home, ShardFile};
use portcullis_core::audit::capture::Content;
use portcullis_core::audit::record::Outcome;
use portcullis_ring::memory::{self, Far};

use super::pure::{SERVER, SOURCE};
use crate::stage::Stage;
use crate::{ANSWER, CALL, NOW, Scene, request};

/// The start of the process, in Unix milliseconds; it names records.
const BOOT: u64 = 1_800_000_000_000;

/// Records before the first: numbers of one length take the same time to write.
const RECORDS_BEFORE: u64 = 1_000_000;

/// A core as a worker makes it, on this thread, which connects in memory from here on.
pub fn core(scene: &Scene) -> Rc<Core> {
    memory::begin(NOW.0);
    let folder = tempfile::tempdir().unwrap();
    let core = Core::new(0, shared(scene, folder.path()), journal(scene, folder.path()));
    // Opened files live on; nothing else of it is looked at again.
    drop(folder);
    core
}

fn shared(scene: &Scene, folder: &Path) -> Arc<Shared> {
    let settings = &scene.snapshot.settings;
    let shared = Shared {
        sessions: Sessions::new(settings.limits.sessions_max, settings.timeouts.session_idle),
        owners: Owners::new(settings.limits.owners_max),
        meters: Meters::take_up(folder).unwrap(),
        boot: BOOT,
        snapshot: Arc::new(ArcSwap::new(scene.snapshot.clone())),
        tls: ArcSwap::default(),
        upstream_tls: ArcSwap::default(),
        addresses: Default::default(),
        in_flight: Default::default(),
        counters: vec![Arc::new(Counters::default())],
        life: Life::default(),
        beside: Default::default(),
        kernel: Arc::new(Kernel::without(settings.kernel.clone(), Vec::new())),
    };
    let url = &scene.snapshot.server(SERVER).unwrap().settings.url;
    shared.addresses.insert((url.host.clone(), url.port), Arc::from([(SOURCE, url.port).into()]));
    Arc::new(shared)
}

fn journal(scene: &Scene, folder: &Path) -> Journal {
    let audit = &scene.snapshot.settings.audit;
    let synced = Arc::new(Synced::new(audit.durability, u64::MAX, Arc::new(Doorbell::default())));
    let key = Arc::new(WrappingKey::new(fresh_key().unwrap()));
    let home = Home { disk: Arc::new(RealDisk), folder: folder.to_owned(), key, segment_bytes_max: u64::MAX };
    let file = ShardFile::create(&home, BOOT, 0, synced.owed.clone()).unwrap();
    Journal::new(file, RECORDS_BEFORE, audit.durability, synced)
}

/// One request on a connection, and what the stages before have found out about it.
struct Desk {
    core: Rc<Core>,
    snapshot: CoreSnapshot,
    agent: Downstream,
    case: Case,
    plan: Plan,
    _far: Far,
}

impl Desk {
    fn new(scene: &Scene) -> Self {
        let core = core(scene);
        let snapshot = core.snapshot();
        let (limits, timeouts) = (&snapshot.settings.limits, &snapshot.settings.timeouts);
        let (socket, far) = memory::accepted().unwrap();
        let (deadline, line) = (core.wheel.cut_at(&socket, timeouts.head), Rc::new(Line::new(socket.clone(), 0)));
        let parked = Parked { transport: Transport::Plain(socket), deadline, source: SOURCE, certificate: None };
        let mut agent = Downstream::wake(&core, &line, parked);
        far.send(&request(&scene.token, CALL));
        now(agent.next(&core, limits, timeouts)).unwrap();
        now(judge::read(&snapshot, &mut agent)).unwrap();
        let mut case = Case::begin(&core, SOURCE);
        let principal = identify::principal(&core, &snapshot, SERVER, &agent, case.enter(SERVER)).unwrap();
        let judged = judge::message(&core, &snapshot, &principal, &agent, &mut case).unwrap();
        let plan = judged.plan;
        core.journal.write_batch();
        Self { core, snapshot, agent, case, plan, _far: far }
    }

    fn way(&self) -> Way<'_> {
        Way {
            core: &self.core,
            snapshot: &self.snapshot,
            server: SERVER,
            case: &self.case,
            plan: &self.plan,
            obliged: &self.case.obliged,
            subject: None,
        }
    }
}

/// What needs no waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a stage waits although everything is there"),
    }
}

/// Where the request leads and what it says of its form; who sent it, by a token that is known.
pub fn before_judgement(scene: &Scene) -> Vec<Stage> {
    let (one, other) = (Desk::new(scene), Desk::new(scene));
    let entrance = move || {
        headers::check(black_box(&one.agent)).unwrap();
        own::entrance(&one.snapshot, black_box(&one.agent)).unwrap()
    };
    let identified = move || {
        let mut case = Case::begin(&other.core, SOURCE);
        let principal = identify::principal(&other.core, &other.snapshot, SERVER, &other.agent, case.enter(SERVER));
        identify::place(&other.core, &other.snapshot, &principal.unwrap()).unwrap()
    };
    vec![Stage::new("entrance", entrance), Stage::new("identify", identified)]
}

/// The body read and judged, its decision recorded; then the request that the upstream sees.
pub fn judgement(scene: &Scene) -> Vec<Stage> {
    let (desk, forwarding) = (Desk::new(scene), Desk::new(scene));
    let judged = move || {
        let principal = desk.case.principal.as_ref().unwrap();
        let mut case = Case::begin(&desk.core, SOURCE);
        let judged = judge::message(&desk.core, &desk.snapshot, principal, &desk.agent, case.enter(SERVER)).unwrap();
        desk.core.journal.write_batch();
        judged.plan
    };
    let mut out = Vec::with_capacity(4 << 10);
    let forwarded = move || {
        out.clear();
        let server = &forwarding.snapshot.server(SERVER).unwrap().settings;
        let (judged, body) = (Judged::of(&forwarding.plan), forwarding.agent.body());
        let outgoing = Outgoing { verb: Verb::Post, server, credential: None, session: None, judged, body };
        request::write(&mut out, outgoing, black_box(&forwarding.agent));
        out.len()
    };
    vec![Stage::new("judge", judged), Stage::new("forward", forwarded)]
}

/// The result screened; and screened and recorded, since the record is made of what the screening has read.
pub fn after_judgement(scene: &Scene) -> Vec<Stage> {
    let (screening, recording) = (Desk::new(scene), Desk::new(scene));
    let mut changed = Vec::new();
    let screened = move || {
        changed.clear();
        screen::whole(&screening.way(), &screening.agent, black_box(ANSWER), &mut changed).unwrap().is_error
    };
    let mut unchanged = Vec::new();
    let recorded = move || {
        let way = recording.way();
        let screened = screen::whole(&way, &recording.agent, black_box(ANSWER), &mut unchanged).unwrap();
        let content = screened.read.map_or(Content::Whole(ANSWER), Content::Read);
        let entered = records::result(&way, 200, Outcome::Complete, content);
        recording.core.journal.write_batch();
        now(entered.recorded()).unwrap().sequence()
    };
    vec![Stage::new("screen", screened), Stage::new("result", recorded)]
}
