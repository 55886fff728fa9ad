//! Starts the "crm" server of the demo on a real SQLite file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use portcullis_upstreams::crm::{Crm, store::Store};
use portcullis_upstreams::serve::{HttpOptions, serve};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

/// A customer database with tools to read, to write and to run SQL.
#[derive(Debug, Parser)]
#[command(name = "crm")]
struct Arguments {
    /// The SQLite file; made with sample tables where there is none.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    #[command(flatten)]
    http: HttpOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let file = &arguments.database;
    let store = Store::open(file).with_context(|| format!("cannot open the database `{}`", file.display()))?;
    let crm = Crm::new(store);
    serve(arguments.http, Arc::new(LocalSessionManager::default()), move || crm.clone()).await
}
