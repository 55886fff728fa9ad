//! The load generator: one thread, closed or open loop, a JSON report on standard output.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use portcullis_loadtest::load::Load;
use portcullis_loadtest::poll;
use portcullis_loadtest::schedule::Pace;

/// Sends one HTTP/1.1 request over and over and reports what came back.
#[derive(Parser)]
struct Args {
    /// Address to connect to
    #[arg(long)]
    address: SocketAddr,
    /// Path to POST to
    #[arg(long, default_value = "/mcp")]
    path: String,
    /// A header, `Name: value`; may be given again. Host and Content-Length are added
    #[arg(long = "header")]
    headers: Vec<String>,
    /// File that holds the body
    #[arg(long)]
    body: PathBuf,
    /// Connections kept open
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that, not measured
    #[arg(long, default_value_t = 0.5)]
    warm_seconds: f64,
    /// Requests a second whatever the answers do; without it each connection sends as soon as it is answered
    #[arg(long)]
    rate: Option<f64>,
    /// CPU to stay on
    #[arg(long)]
    cpu: Option<usize>,
    /// After warming up print `warm` and wait for a line on standard input
    #[arg(long)]
    gate: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let pace = match args.rate {
        Some(rate) if rate > 0.0 => Pace::Open { per_second: rate },
        Some(rate) => bail!("`--rate {rate}` is not above zero"),
        None => Pace::Closed,
    };
    if let Some(cpu) = args.cpu {
        poll::pin(cpu)?;
    }
    let mut load = Load::open(args.address, request(&args)?, args.connections)?;
    if args.warm_seconds > 0.0 {
        load.run(pace, Duration::from_secs_f64(args.warm_seconds))?;
    }
    if args.gate {
        println!("warm");
        std::io::stdin().read_line(&mut String::new())?;
    }
    let report = load.run(pace, Duration::from_secs_f64(args.seconds))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn request(args: &Args) -> Result<Vec<u8>> {
    let body = fs::read(&args.body).with_context(|| format!("`{}` cannot be read", args.body.display()))?;
    let mut out = Vec::new();
    write!(out, "POST {} HTTP/1.1\r\nHost: {}\r\n", args.path, args.address)?;
    for header in &args.headers {
        write!(out, "{header}\r\n")?;
    }
    write!(out, "Content-Length: {}\r\n\r\n", body.len())?;
    out.extend_from_slice(&body);
    Ok(out)
}
