//! Runs the customer database of the demo: an MCP server on a real SQLite file. In: nothing. Out: where it listens. Never here: the gateway.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::built;

/// The server; it ends, and its database is removed, when it is dropped.
pub struct Crm {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Crm {
    /// Starts it on sample tables and waits until it listens.
    pub fn start() -> Self {
        static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
        let program =
            PROGRAM.get_or_init(|| built("portcullis-upstreams", "crm")).as_deref().expect("the server builds");
        let folder = tempfile::Builder::new().prefix("crm-").tempdir().expect("a folder");
        let mut command = Command::new(program);
        command.arg("--database").arg(folder.path().join("crm.sqlite")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let url =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the server says {line:?}")).to_owned();
        Self { child, url, _folder: folder }
    }

    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its tools, as far as tests call them.
    pub fn tools() -> Vec<Value> {
        let tool = |name: &str, argument: &str| {
            let text = json!({"type": "string"});
            json!({"name": name, "description": name, "inputSchema": {"type": "object", "properties": {argument: text}, "required": [argument]}})
        };
        vec![tool("read_table", "table"), tool("run_sql", "sql")]
    }
}

impl Drop for Crm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
