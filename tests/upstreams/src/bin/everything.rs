//! Starts the "everything" server: every fixture the MCP conformance suite asks a server for.

use std::sync::Arc;

use clap::Parser;
use portcullis_upstreams::everything::{Everything, Shared, sessions::Sessions};
use portcullis_upstreams::serve::{HttpOptions, serve};

/// Every tool, resource and prompt that the MCP conformance suite calls, in every revision.
#[derive(Debug, Parser)]
#[command(name = "everything")]
struct Arguments {
    #[command(flatten)]
    http: HttpOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let shared = Arc::new(Shared::new()?);
    serve(arguments.http, Arc::new(Sessions::default()), move || Everything::new(shared.clone())).await
}
