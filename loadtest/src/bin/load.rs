//! The load generator: one thread, closed or open loop, a JSON report on standard output.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use portcullis_loadtest::load::Load;
use portcullis_loadtest::message::Place;
use portcullis_loadtest::plan::{self, Plan};
use portcullis_loadtest::play::{self, Stage};
use portcullis_loadtest::report::Report;
use portcullis_loadtest::schedule::Pace;
use portcullis_loadtest::tls::{Files, Security};
use portcullis_loadtest::wire::Target;
use portcullis_loadtest::{poll, socket};

/// Carries out a plan, or sends one HTTP/1.1 request over and over, and reports what came back.
#[derive(Parser)]
struct Args {
    /// Address to connect to
    #[arg(long)]
    address: SocketAddr,
    /// Path to POST to
    #[arg(long, default_value = "/mcp")]
    path: String,
    /// Plan to carry out, a file of `loadtest/plans`
    #[arg(long, conflicts_with_all = ["body", "headers"])]
    plan: Option<PathBuf>,
    /// File of bearer tokens, one a line; connections take them in turn
    #[arg(long, requires = "plan")]
    token_file: Option<PathBuf>,
    /// Authorities of the server's certificate, PEM; with it TLS 1.3 is spoken to `localhost`
    #[arg(long, requires_all = ["certificate", "key"])]
    ca: Option<PathBuf>,
    /// Certificate to show, PEM, leaf first
    #[arg(long, requires = "ca")]
    certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "ca")]
    key: Option<PathBuf>,
    /// Without a plan: a header, `Name: value`; may be given again. Host and Content-Length are added
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Without a plan: file that holds the body
    #[arg(long, required_unless_present = "plan")]
    body: Option<PathBuf>,
    /// Connections, instead of as many as the plan says; 64 without a plan
    #[arg(long)]
    connections: Option<u32>,
    /// Seconds measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that, not measured
    #[arg(long, default_value_t = 0.5)]
    warm_seconds: f64,
    /// Requests a second whatever the answers do; without it as the plan says, or each connection sends as soon as it is answered
    #[arg(long)]
    rate: Option<f64>,
    /// CPU to stay on
    #[arg(long)]
    cpu: Option<usize>,
    /// When ready print `warm`, or `held` and a number, and wait for a line on standard input
    #[arg(long)]
    gate: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(cpu) = args.cpu {
        poll::pin(cpu)?;
    }
    socket::raise_limit()?;
    let report = match &args.plan {
        Some(plan) => carry_out(plan, &args)?,
        None => repeat(&args)?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn carry_out(path: &Path, args: &Args) -> Result<Report> {
    let mut plan = Plan::read(path)?;
    plan.connections = args.connections.unwrap_or(plan.connections);
    let security = security(args)?;
    match (plan.transport, &security) {
        (plan::Transport::Mtls, None) => {
            bail!("`{}` is about TLS; add `--ca`, `--certificate` and `--key`", path.display())
        }
        (plan::Transport::Cleartext, Some(_)) => bail!("`{}` is about cleartext; leave `--ca` out", path.display()),
        (plan::Transport::Mtls, Some(_)) | (plan::Transport::Cleartext, None) => {}
    }
    let pace = match (rate(args)?, plan.pace) {
        (Some(pace), _) => pace,
        (None, plan::Pace::Closed) => Pace::Closed,
        (None, plan::Pace::PerSecond(per_second)) => Pace::Open { per_second },
        (None, plan::Pace::OfSaturation(share)) => {
            bail!("`{}` is paced at {share} of a saturation; measure that, and add `--rate`", path.display())
        }
    };
    let stage = Stage {
        target: Target { address: args.address, security },
        place: Place { address: args.address, path: args.path.clone() },
        tokens: tokens(args.token_file.as_deref())?,
        pace,
        warm: Duration::from_secs_f64(args.warm_seconds),
        length: Duration::from_secs_f64(args.seconds),
    };
    play::play(&plan, &stage, &mut |word| gate(args, word))
}

fn repeat(args: &Args) -> Result<Report> {
    let pace = rate(args)?.unwrap_or(Pace::Closed);
    let target = Target { address: args.address, security: security(args)? };
    let connections = usize::try_from(args.connections.unwrap_or(64))?;
    let mut load = Load::open(target, &request(args)?, connections)?;
    if args.warm_seconds > 0.0 {
        load.run(pace, Duration::from_secs_f64(args.warm_seconds))?;
    }
    gate(args, "warm")?;
    load.run(pace, Duration::from_secs_f64(args.seconds))
}

fn gate(args: &Args, word: &str) -> Result<()> {
    if args.gate {
        println!("{word}");
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

fn rate(args: &Args) -> Result<Option<Pace>> {
    match args.rate {
        Some(per_second) if per_second > 0.0 => Ok(Some(Pace::Open { per_second })),
        Some(rate) => bail!("`--rate {rate}` is not above zero"),
        None => Ok(None),
    }
}

fn security(args: &Args) -> Result<Option<Security>> {
    match (&args.ca, &args.certificate, &args.key) {
        (Some(ca), Some(certificate), Some(key)) => Security::read(&Files { ca, certificate, key }).map(Some),
        _ => Ok(None),
    }
}

fn tokens(path: Option<&Path>) -> Result<Vec<Rc<str>>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Rc::from).collect())
}

fn request(args: &Args) -> Result<Rc<[u8]>> {
    let Some(path) = &args.body else { bail!("neither `--plan` nor `--body` is given") };
    let body = fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let mut out = format!("POST {} HTTP/1.1\r\nHost: {}\r\n", args.path, args.address).into_bytes();
    for header in &args.headers {
        out.extend_from_slice(format!("{header}\r\n").as_bytes());
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    Ok(out.into())
}
