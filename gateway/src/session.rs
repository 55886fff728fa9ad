//! Remembers who owns what a server handed out. In: ids seen in answers. Out: the owner, or nothing. Never here: IO.
//!
//! Legacy MCP sessions, tasks, `requestState` values and server requests are all names that anyone could send; each is bound to the
//! principal it was given to, and another principal's use of it looks like a name that never existed. Bounded, expiring, failing closed.

use crate::judge::Expect;
use dashmap::DashMap;
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::oblige::Obligations;
use portcullis_core::protocol::method::Method;
use portcullis_core::protocol::revision::Revision;
use portcullis_core::time::UnixMillis;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Server requests that may wait for an agent's answer in one session; the oldest is forgotten, its answer then refused.
const SERVER_REQUESTS_MAX: usize = 256;

/// Answers that may come on a resumed stream of one session; of more, the oldest is no longer let through.
const OWED_MAX: usize = 256;

/// Random bytes of a session id: 192 bits, MCP asks for a secure random value.
const SESSION_ID_BYTES: usize = 24;

/// Who may use a thing: the agent and, where its token named one, the user it acts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    agent: Box<str>,
    user: Option<Box<str>>,
}

impl Owner {
    /// The owner that `principal` is.
    pub fn of(principal: &Principal) -> Self {
        Self { agent: principal.agent().into(), user: principal.user().map(Into::into) }
    }

    /// Whether `principal` is this owner.
    pub fn is(&self, principal: &Principal) -> bool {
        *self.agent == *principal.agent() && self.user.as_deref() == principal.user()
    }
}

/// One legacy MCP session: our own id toward the agent, the upstream's toward the server.
pub struct Session {
    /// What the agent sends as `Mcp-Session-Id`.
    pub id: Box<str>,
    /// What the upstream sent and expects; never shown to the agent.
    pub upstream_id: Box<str>,
    /// The server it was opened on; an id of one route is unknown on another.
    pub server: Box<str>,
    /// The revision that `initialize` settled.
    pub revision: Revision,
    owner: Owner,
    used: AtomicI64,
    /// Whether a call in it obliged to narrow its result.
    pub obliged: AtomicBool,
    asked: Mutex<VecDeque<Box<[u8]>>>,
    owed: Mutex<VecDeque<Owed>>,
    under_way: Mutex<Vec<PlainId>>,
}

/// A request of a session that is under way: its id is taken until this is dropped.
pub struct UnderWay {
    session: Arc<Session>,
    id: PlainId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.session.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| *other != self.id);
    }
}

/// A JSON-RPC id as the least careful server tells it from others: some keep the text of a number and that number under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PlainId {
    Number(i64),
    Text(Box<str>),
}

impl PlainId {
    fn of(raw: &[u8]) -> Option<Self> {
        if !raw.starts_with(b"\"") {
            return std::str::from_utf8(raw).ok()?.parse().ok().map(Self::Number);
        }
        let text: String = serde_json::from_slice(raw).ok()?;
        Some(text.parse().map_or_else(|_| Self::Text(text.into()), Self::Number))
    }
}

/// A request whose answer has not reached the agent on its own stream and may come on a resumed one.
#[derive(Clone, Debug)]
pub struct Owed {
    /// The raw JSON-RPC id.
    pub id: Box<[u8]>,
    /// What the answer is to be.
    pub expect: Expect,
    /// The method.
    pub method: Option<Method>,
    /// What it was about.
    pub subject: Box<str>,
    /// What its decision obliged to.
    pub obliged: Obligations,
    /// The version of the rules that decided it.
    pub version: u64,
    /// All that any of those rules obliged to on its tool.
    pub obligations: Obligations,
}

impl Session {
    /// Begins a request under this raw id. None where another request under it is under way or still owed its answer: servers keep one stream for an
    /// id, so the earlier one's answer would come on the later one's and be screened as that (MCP 2025-11-25: an id must not have been used before).
    pub fn begin(self: &Arc<Self>, raw_id: &[u8]) -> Option<UnderWay> {
        let id = PlainId::of(raw_id)?;
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.contains(&id) || owed.iter().any(|owed| PlainId::of(&owed.id).as_ref() == Some(&id)) {
            return None;
        }
        under_way.push(id.clone());
        Some(UnderWay { session: Arc::clone(self), id })
    }

    /// The upstream asked the agent something under this raw id; the agent's answer may pass once.
    pub fn asked(&self, raw_id: &[u8]) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() == SERVER_REQUESTS_MAX {
            asked.pop_front();
        }
        asked.push_back(raw_id.into());
    }

    /// The agent still waits for the answer to this request.
    pub fn owe(&self, owed: Owed) {
        let mut all = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !spells_same(&other.id, &owed.id));
        if all.len() == OWED_MAX {
            all.pop_front();
        }
        all.push_back(owed);
    }

    /// The request that an answer under this raw id belongs to; it is answered by that.
    pub fn settle(&self, raw_id: &[u8]) -> Option<Owed> {
        let mut all = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|owed| spells_same(&owed.id, raw_id))?;
        all.remove(found)
    }

    /// Whether an answer under this raw id was asked for; it is used up by that.
    pub fn answers(&self, raw_id: &[u8]) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = asked.iter().position(|id| spells_same(id, raw_id));
        found.and_then(|at| asked.remove(at)).is_some()
    }
}

/// Whether two raw JSON-RPC ids are one: writers may escape the same text differently.
pub fn spells_same(one: &[u8], other: &[u8]) -> bool {
    let text = |raw: &[u8]| raw.starts_with(b"\"").then(|| serde_json::from_slice::<String>(raw).ok()).flatten();
    one == other || text(one).is_some_and(|one| text(other) == Some(one))
}

/// How much of a shared table each agent holds, so that one cannot shut the others out.
struct Shares {
    held: DashMap<Box<str>, usize, ahash::RandomState>,
    share_max: usize,
}

impl Shares {
    /// An agent may hold a quarter of the table.
    fn of(table_max: usize) -> Self {
        Self { held: DashMap::default(), share_max: (table_max / 4).max(1) }
    }

    fn take(&self, agent: &str) -> bool {
        let mut held = self.held.entry(agent.into()).or_default();
        let free = *held < self.share_max;
        *held += usize::from(free);
        free
    }

    fn give(&self, agent: &str) {
        if let Some(mut held) = self.held.get_mut(agent) {
            *held = held.saturating_sub(1);
        }
    }
}

/// Every open session, shared between cores.
pub struct Sessions {
    by_id: DashMap<Box<str>, Arc<Session>, ahash::RandomState>,
    shares: Shares,
    sessions_max: usize,
    idle_max: Duration,
}

/// Why no session could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFailure {
    /// The bound is reached even after the expired ones were swept out.
    TooMany,
    /// The system's random source failed.
    NoRandomness,
}

impl Sessions {
    /// An empty table with its bounds.
    pub fn new(sessions_max: usize, idle_max: Duration) -> Self {
        Self { by_id: DashMap::default(), shares: Shares::of(sessions_max), sessions_max, idle_max }
    }

    /// Binds an upstream's session to the principal that opened it, under a fresh id of our own.
    pub fn open(
        &self,
        principal: &Principal,
        server: &str,
        upstream_id: &str,
        revision: Revision,
        now: UnixMillis,
    ) -> Result<Arc<Session>, SessionFailure> {
        if self.by_id.len() >= self.sessions_max {
            self.sweep(now);
            if self.by_id.len() >= self.sessions_max {
                return Err(SessionFailure::TooMany);
            }
        }
        if !self.shares.take(principal.agent()) {
            self.sweep(now);
            if !self.shares.take(principal.agent()) {
                return Err(SessionFailure::TooMany);
            }
        }
        let session = Arc::new(Session {
            id: fresh_id().ok_or(SessionFailure::NoRandomness)?,
            upstream_id: upstream_id.into(),
            server: server.into(),
            revision,
            owner: Owner::of(principal),
            used: AtomicI64::new(now.0),
            obliged: AtomicBool::new(false),
            asked: Mutex::default(),
            owed: Mutex::default(),
            under_way: Mutex::default(),
        });
        self.by_id.insert(session.id.clone(), session.clone());
        Ok(session)
    }

    /// The session under `id`, if it is this principal's on this server and has not gone stale. Anything else looks the same: absent.
    pub fn find(&self, id: &str, principal: &Principal, server: &str, now: UnixMillis) -> Option<Arc<Session>> {
        let session = self.by_id.get(id)?.clone();
        let fresh = UnixMillis(session.used.load(Ordering::Relaxed)).after(self.idle_max) > now;
        if !fresh || !session.owner.is(principal) || *session.server != *server {
            return None;
        }
        session.used.store(now.0, Ordering::Relaxed);
        Some(session)
    }

    /// Forgets a session that its owner ended or its upstream no longer knows.
    pub fn close(&self, id: &str) {
        if let Some((_, session)) = self.by_id.remove(id) {
            self.shares.give(&session.owner.agent);
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Drops what nobody used for the idle bound.
    pub fn sweep(&self, now: UnixMillis) {
        self.by_id.retain(|_, session| {
            let fresh = UnixMillis(session.used.load(Ordering::Relaxed)).after(self.idle_max) > now;
            if !fresh {
                self.shares.give(&session.owner.agent);
            }
            fresh
        });
    }
}

fn fresh_id() -> Option<Box<str>> {
    use std::fmt::Write;
    let mut bytes = [0u8; SESSION_ID_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let mut text = String::with_capacity(2 * SESSION_ID_BYTES);
    for byte in bytes {
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text.into())
}

/// What kind of handed-out name an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handed {
    /// A task id.
    Task,
    /// A `requestState` value, bound to the call it came from.
    RequestState,
}

/// The owner of a handed-out name, and what it was handed out for.
#[derive(Clone, Debug)]
pub struct Holding {
    owner: Owner,
    /// The tool whose call made the task; the method and subject a `requestState` belongs to.
    pub subject: Box<str>,
    /// The raw arguments of that call, where rules over its result may read them.
    pub arguments: Option<Box<[u8]>>,
    expires: UnixMillis,
}

/// Owners of tasks and of `requestState` values, shared between cores. Keys are digests, so a long value costs no more than a short one.
pub struct Owners {
    by_name: DashMap<(Handed, [u8; 32]), Holding, ahash::RandomState>,
    shares: Shares,
    owners_max: usize,
}

impl Owners {
    /// An empty table with its bound.
    pub fn new(owners_max: usize) -> Self {
        Self { by_name: DashMap::default(), shares: Shares::of(owners_max), owners_max }
    }

    /// Binds `name`, as `server` handed it out, to `principal` until `expires`. False when the table is full: then the name is nobody's.
    pub fn bind(&self, kind: Handed, server: &str, name: &str, holding: Holding, now: UnixMillis) -> bool {
        if self.by_name.len() >= self.owners_max {
            self.sweep(now);
            if self.by_name.len() >= self.owners_max {
                return false;
            }
        }
        let key = (kind, digest(server, name));
        // A name that another principal holds is not taken over: a server that hands one name to two callers would mix them up.
        if self.by_name.get(&key).is_some_and(|held| held.owner != holding.owner && held.expires > now) {
            return false;
        }
        let agent = holding.owner.agent.clone();
        if !self.shares.take(&agent) {
            self.sweep(now);
            if !self.shares.take(&agent) {
                return false;
            }
        }
        if let Some(before) = self.by_name.insert(key, holding) {
            self.shares.give(&before.owner.agent);
        }
        true
    }

    fn sweep(&self, now: UnixMillis) {
        self.by_name.retain(|_, held| {
            let fresh = held.expires > now;
            if !fresh {
                self.shares.give(&held.owner.agent);
            }
            fresh
        });
    }

    /// What `principal` holds under `name`, if it does.
    pub fn find(
        &self,
        kind: Handed,
        server: &str,
        name: &str,
        principal: &Principal,
        now: UnixMillis,
    ) -> Option<Holding> {
        let held = self.by_name.get(&(kind, digest(server, name)))?;
        (held.owner.is(principal) && held.expires > now).then(|| held.clone())
    }
}

impl Holding {
    /// A holding of `principal` for `subject`.
    pub fn new(principal: &Principal, subject: &str, expires: UnixMillis) -> Self {
        Self { owner: Owner::of(principal), subject: subject.into(), arguments: None, expires }
    }
}

fn digest(server: &str, name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(server.len() as u64).to_le_bytes());
    hasher.update(server.as_bytes());
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}
