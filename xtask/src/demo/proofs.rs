//! Proves what no single line shows. In: the scene after the tour. Out: a line a proof, and how many failed.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::demo::lines::{Face, Tone};
use crate::demo::log;
use crate::demo::scene::Scene;
use crate::place;

/// A request as the server behind the gateway received it.
#[derive(Deserialize)]
struct Received {
    headers: Vec<(String, String)>,
    body: String,
}

/// Prints every proof; gives the number of those that failed.
pub fn show(scene: &Scene, face: &Face) -> Result<u32> {
    println!("\n{}", face.paint(Tone::Head, "What holds beyond single calls"));
    let proofs = [tokens_stay_out(scene), credential_stays_in(scene), no_way_around(scene), log_verifies(scene)];
    let mut broken = 0;
    for proof in proofs {
        let (tone, word, words) = match proof {
            Ok(words) => (Tone::Allow, "HOLDS", words),
            Err(cause) => (Tone::Wrong, "BROKEN", format!("{cause:#}")),
        };
        broken += u32::from(matches!(tone, Tone::Wrong));
        println!("{}  {words}", face.paint(tone, word));
    }
    Ok(broken)
}

/// Each request that crm received carried the gateway's credential, and no agent's token anywhere.
fn tokens_stay_out(scene: &Scene) -> Result<String> {
    let text = fs::read_to_string(scene.folder.join("crm-requests.jsonl"))?;
    let tokens = [&scene.tokens.support, &scene.tokens.expired, &scene.tokens.stranger];
    let credential = format!("Bearer {}", scene.credential);
    let mut count = 0;
    for line in text.lines() {
        let received: Received = serde_json::from_str(line)?;
        let values = || received.headers.iter().map(|(_, value)| value);
        let leaked = tokens.iter().any(|token| values().chain([&received.body]).any(|text| text.contains(&***token)));
        anyhow::ensure!(!leaked, "a token of an agent reached crm");
        let own = received.headers.iter().filter(|(name, _)| name == "authorization").map(|(_, value)| value);
        anyhow::ensure!(own.eq([&credential]), "a request reached crm without the gateway's credential");
        count += 1;
    }
    anyhow::ensure!(count > 0, "crm received nothing");
    Ok(format!("all {count} requests that reached crm carried the gateway's credential, and none an agent's token"))
}

/// What agents saw, the records and the gateway's own words hold neither the credential nor a token.
fn credential_stays_in(scene: &Scene) -> Result<String> {
    let mut texts = vec![("an agent", scene.agents.seen.clone())];
    texts.push(("the gateway's log", fs::read_to_string(scene.folder.join("gateway.log"))?));
    let records = log::all(&scene.portcullis, &scene.configuration())?;
    anyhow::ensure!(!records.is_empty(), "nothing is recorded");
    texts.push(("a record", records.concat()));
    for file in place::files(&scene.folder.join("audit")) {
        match fs::read(&file) {
            // The log goes on: files of its are replaced and taken away.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            bytes => texts.push(("the audit log", String::from_utf8_lossy(&bytes?).into_owned())),
        }
    }
    let secrets = [&scene.credential, &scene.tokens.support, &scene.tokens.expired, &scene.tokens.stranger];
    for (place, text) in &texts {
        anyhow::ensure!(!secrets.iter().any(|secret| text.contains(&***secret)), "{place} saw a secret");
    }
    Ok("no agent, no record and no line of the gateway's log holds crm's credential or a token".to_owned())
}

/// crm answers nobody who comes without the gateway.
fn no_way_around(scene: &Scene) -> Result<String> {
    let authority = scene.crm_url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut stream = TcpStream::connect(authority).context("crm cannot be reached")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        scene.tokens.support
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    anyhow::ensure!(status == "401", "crm answered {status} to an agent that went around the gateway");
    Ok("support-bot going to crm directly, around the gateway, is answered 401".to_owned())
}

/// The log is whole, as the verifier finds that knows its key and nothing of the gateway.
fn log_verifies(scene: &Scene) -> Result<String> {
    let (log, records) = (scene.folder.join("audit/logs/0000"), log::all(&scene.portcullis, &scene.configuration())?);
    log::wait_signed(&log, records.len())?;
    let said = log::verify(&scene.verifier, &log)?;
    Ok(format!("portcullis-verify computed every hash of the signed log anew: {said}"))
}

/// On loopback.
const ANSWER_MAX: Duration = Duration::from_secs(5);
