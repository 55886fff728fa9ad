//! Offers a small customer database as MCP tools. In: tool calls. Out: rows, or a tool error in words.
//! Never here: authorization. Whoever reaches this server may do everything; that is what the gateway is for.

pub mod store;

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Map, Value, json};

use crate::crm::store::{Store, StoreError};
use crate::shape::{Answer, failure, object_schema, shape, structured, text_argument};

/// The handler of one session or request over the one database.
#[derive(Clone)]
pub struct Crm {
    store: Arc<Mutex<Store>>,
}

impl Crm {
    /// Serves the given database.
    pub fn new(store: Store) -> Self {
        Self { store: Arc::new(Mutex::new(store)) }
    }
}

impl ServerHandler for Crm {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("crm", env!("CARGO_PKG_VERSION"));
        info.instructions = Some("Customer records: tables customers, orders and financials.".to_owned());
        info
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()?))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().ok()?.into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let store = self.store.clone();
        let arguments = request.arguments.unwrap_or_default();
        let work = move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            call(&mut store, &request.name, &arguments)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| ErrorData::internal_error(error.to_string(), None))?
    }
}

fn call(store: &mut Store, tool: &str, arguments: &Map<String, Value>) -> Answer {
    let answered = match tool {
        "read_table" => {
            let limit = arguments.get("limit").and_then(Value::as_u64).unwrap_or(LIMIT_DEFAULT);
            store.read_table(text_argument(arguments, "table")?, limit.clamp(1, LIMIT_MAX))
        }
        "write_table" => {
            let row = arguments.get("row").and_then(Value::as_object);
            let row = row.ok_or_else(|| ErrorData::invalid_params("argument `row` must be an object", None))?;
            store.write_table(text_argument(arguments, "table")?, row)
        }
        "run_sql" => store.run_sql(text_argument(arguments, "sql")?, LIMIT_MAX),
        name => return Err(ErrorData::invalid_params(format!("unknown tool: {name}"), None)),
    };
    match answered {
        Ok(value) => structured(value),
        Err(StoreError(words)) => failure(words),
    }
}

fn tools() -> Result<Vec<Tool>, ErrorData> {
    let table = json!({"type": "string", "description": "Name of the table: customers, orders or financials"});
    let limit = json!({"type": "integer", "description": "Most rows to return", "minimum": 1, "maximum": LIMIT_MAX});
    let row = json!({"type": "object", "description": "Value of each column; columns left out get their default",
        "additionalProperties": {"type": ["string", "number", "integer", "boolean", "null"]}});
    let sql = json!({"type": "string", "description": "One SQL statement in SQLite's dialect"});
    shape(json!([
        {"name": "read_table", "description": "Returns the rows of a table, oldest first",
            "inputSchema": object_schema(json!({"table": table, "limit": limit}), &["table"]),
            "annotations": {"readOnlyHint": true, "openWorldHint": false}},
        {"name": "write_table", "description": "Adds one row to a table and returns its id",
            "inputSchema": object_schema(json!({"table": table, "row": row}), &["table", "row"]),
            "annotations": {"readOnlyHint": false, "destructiveHint": false, "openWorldHint": false}},
        {"name": "run_sql", "description": "Runs one SQL statement and returns its rows, or how many rows it changed",
            "inputSchema": object_schema(json!({"sql": sql}), &["sql"]),
            "annotations": {"readOnlyHint": false, "destructiveHint": true, "openWorldHint": false}},
    ]))
}

/// Rows returned where the call does not say how many.
const LIMIT_DEFAULT: u64 = 100;

/// Rows returned at most: 1,000 rows of this database stay below 256 KiB.
const LIMIT_MAX: u64 = 1_000;
