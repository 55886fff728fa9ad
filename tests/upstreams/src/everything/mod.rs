//! Answers everything the MCP conformance suite asks a server. In: requests of every revision since 2025-03-26.
//! Out: the documented answers, results that only a diagnostic could want, and real side effects (tasks, changes).
//! Never here: HTTP, and any trust in what a client sends back (`requestState` is sealed).
#![expect(deprecated, reason = "roots, sampling and logging are deprecated and still part of every revision")]

pub mod calling;
pub mod catalogue;
pub mod content;
pub mod diagnostics;
pub mod documents;
pub mod interactive;
pub mod jobs;
pub mod mrtr;
pub mod sessions;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, CompleteRequestParams,
    CompleteResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, RequestStateCodec,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, RoleServer, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;
use tokio::sync::{broadcast, watch};

use crate::everything::calling::{Call, level_rank};

/// What all sessions and requests of one server share.
pub struct Shared {
    pub(crate) tasks: TaskManager,
    pub(crate) seal: RequestStateCodec,
    pub(crate) changes: broadcast::Sender<Change>,
    /// Labels of the calls whose cancellation reached this server.
    pub(crate) cancelled: watch::Sender<BTreeSet<String>>,
    /// Which optional tool and prompt exist at the moment.
    pub(crate) extras: Mutex<Extras>,
    sessions: Mutex<Vec<Session>>,
}

/// The optional entries that the diagnostics add and remove.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extras {
    /// Whether `test_dynamic_tool` is listed.
    pub tool: bool,
    /// Whether `test_dynamic_prompt` is listed.
    pub prompt: bool,
}

/// Something a client may listen for.
#[derive(Debug, Clone)]
pub enum Change {
    /// The tools changed.
    Tools,
    /// The prompts changed.
    Prompts,
    /// One resource changed.
    Resource(String),
}

struct Session {
    peer: Peer<RoleServer>,
    watched: Arc<Mutex<BTreeSet<String>>>,
}

impl Shared {
    /// A server with fresh sealing keys and no tasks.
    pub fn new() -> anyhow::Result<Self> {
        let mut key = [0; RequestStateCodec::MIN_KEY_LENGTH];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self {
            tasks: TaskManager::new(),
            seal: RequestStateCodec::try_new(key.to_vec())?,
            changes: broadcast::channel(CHANGES_PENDING_MAX).0,
            cancelled: watch::channel(BTreeSet::new()).0,
            extras: Mutex::default(),
            sessions: Mutex::default(),
        })
    }

    /// Tells every stream and every legacy session that may want to know.
    pub(crate) async fn publish(&self, change: Change) {
        // Nobody listening is no fault.
        let _ = self.changes.send(change.clone());
        let peers: Vec<Peer<RoleServer>> = {
            let mut sessions = locked(&self.sessions);
            sessions.retain(|session| !session.peer.is_transport_closed());
            let wants = |session: &&Session| match &change {
                Change::Tools | Change::Prompts => true,
                Change::Resource(uri) => locked(&session.watched).contains(uri),
            };
            sessions.iter().filter(wants).map(|session| session.peer.clone()).collect()
        };
        for peer in peers {
            // A session that left meanwhile has nobody to tell.
            let _ = match &change {
                Change::Tools => peer.notify_tool_list_changed().await,
                Change::Prompts => peer.notify_prompt_list_changed().await,
                Change::Resource(uri) => {
                    peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri.clone())).await
                }
            };
        }
    }
}

/// The handler of one legacy session, or of one modern request.
pub struct Everything {
    pub(crate) shared: Arc<Shared>,
    /// The level set by `logging/setLevel`; all levels until then.
    level: Mutex<Option<LoggingLevel>>,
    watched: Arc<Mutex<BTreeSet<String>>>,
    /// Opened before the subscription is acknowledged, so that no change between the two is lost.
    opened: Mutex<Option<broadcast::Receiver<Change>>>,
}

impl Everything {
    /// A handler over the state that all handlers share.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, level: Mutex::default(), watched: Arc::default(), opened: Mutex::default() }
    }

    /// Whether a log message of `level` may be sent in answer to this request: modern clients ask per request,
    /// legacy ones by `logging/setLevel`.
    pub(crate) fn logs(&self, context: &RequestContext<RoleServer>, level: LoggingLevel) -> bool {
        let asked = context.meta.log_level();
        match (is_modern(context), asked) {
            (true, None) => false,
            (true, Some(least)) => level_rank(&level) >= level_rank(&least),
            (false, _) => locked(&self.level).as_ref().is_none_or(|least| level_rank(&level) >= level_rank(least)),
        }
    }
}

impl ServerHandler for Everything {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_tasks()
            .build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("portcullis-everything", env!("CARGO_PKG_VERSION"));
        info.instructions = Some("Test fixtures; every tool says in its description what it answers.".to_owned());
        info
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        locked(&self.shared.sessions).push(Session { peer: context.peer, watched: self.watched.clone() });
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let result = ListToolsResult::with_all_items(catalogue::listed(*locked(&self.shared.extras))?);
        // Public on purpose: a gateway that filters must not pass this on.
        Ok(if is_modern(&context) { result.with_ttl_ms(60_000).with_cache_scope(CacheScope::Public) } else { result })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        catalogue::listed(*locked(&self.shared.extras)).ok()?.into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        calling::call(Call::new(self, request, context)).await
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(documents::prompts(*locked(&self.shared.extras))?))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        documents::prompt(request, &context)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        documents::complete(request)
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(documents::resources()?))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(documents::templates()?))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        documents::read(&request.uri)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        locked(&self.watched).insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        locked(&self.watched).remove(&request.uri);
        Ok(())
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *locked(&self.level) = Some(request.level);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        *locked(&self.opened) = Some(self.shared.changes.subscribe());
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let opened = locked(&self.opened).take();
        let mut changes = opened.unwrap_or_else(|| self.shared.changes.subscribe());
        loop {
            let change = tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sink = subscription.sink();
            // What the client did not ask for is refused by the sink and goes nowhere.
            let _ = match change {
                Ok(Change::Tools) => sink.notify_tool_list_changed().await,
                Ok(Change::Prompts) => sink.notify_prompt_list_changed().await,
                Ok(Change::Resource(uri)) => sink.notify_resource_updated(uri).await,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.shared.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.tasks.cancel_task(&request.task_id)
    }
}

/// Whether the request speaks 2026-07-28 or later; revisions are dates, so they compare as text.
pub(crate) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// The guarded value; a panic elsewhere left it whole, since every change to it is one assignment.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `-32021`, naming the capability the client must declare.
pub(crate) fn missing(capabilities: ClientCapabilities) -> ErrorData {
    ErrorData::missing_required_client_capability(capabilities)
}

/// `-32602`, as for every unknown name.
pub(crate) fn unknown(kind: &str, name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("unknown {kind}: {name}"), Some(json!({"name": name})))
}

/// A listener that is this far behind has lost interest; list changes are idempotent.
const CHANGES_PENDING_MAX: usize = 64;
