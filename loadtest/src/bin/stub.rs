//! The stub upstream: one thread, fixed answers, counts at `GET /stats`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use clap::Parser;
use portcullis_loadtest::{poll, socket, stub::Stub};

/// A fast upstream that answers MCP over HTTP/1.1 with fixed results.
#[derive(Parser)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// CPU to stay on
    #[arg(long)]
    cpu: Option<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(cpu) = args.cpu {
        poll::pin(cpu)?;
    }
    socket::raise_limit()?;
    let stub = Stub::listen(SocketAddr::new(args.address, args.port))?;
    println!("listening on {}", stub.address()?);
    stub.serve()
}
