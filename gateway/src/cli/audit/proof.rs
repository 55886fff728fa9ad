//! `portcullis audit proof`: proves a record to whoever has the log's key. In: the record's name or its place. Out: a `.tlog-proof`, and the bytes it
//! is about. Never here: trust in what is on the disk; the proof is checked before it is given.

use super::indexed::{self, Opened, Reading, Recorder};
use crate::cli::{End, Failure, Outcome, Ways, say};
use clap::Args;
use portcullis_audit::index::Place;
use portcullis_audit::logs::{self, Numbered};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Of which record, and where to.
#[derive(Args, Clone, Debug)]
pub struct Proof {
    /// The record: BOOT-SHARD-SEQ, SHARD-SEQ of the latest boot, its index in the newest log as in @17, or in another as in 0000@17
    pub id: String,
    /// Write the proof to this file instead of showing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the record to this file, byte by byte as the proof is about it
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
}

/// Runs the verb.
pub fn proof(asked: &Proof, ways: &Ways, recorder: Recorder<'_>) -> Outcome {
    let (folder, logs, place) = match Place::parse(&asked.id) {
        Some(place) => {
            let (folder, logs) = indexed::signed(ways)?;
            (folder, logs, place)
        }
        None => {
            let opened = indexed::open(ways)?;
            let place = named(&opened, &asked.id)?;
            (opened.folder, opened.logs, place)
        }
    };
    let log = logs.iter().rfind(|log| place.log.is_none_or(|number| number == log.number));
    let log = log.filter(|log| place.index < log.log.size()).ok_or_else(|| {
        Failure::new(
            format!("the signed log has no place `{place}`"),
            "`portcullis audit query` shows the places of records; one that was just made is signed within a second",
        )
    })?;
    let (proof, entry) = proven(log, place.index, &folder)?;
    recorder(&Reading { what: format!("proof {}", asked.id), count: 1 })?;
    for (file, bytes) in [(&asked.output, proof.as_bytes()), (&asked.entry, entry.as_slice())] {
        let Some(file) = file else { continue };
        std::fs::write(file, bytes).map_err(|cause| {
            Failure::new(format!("`{}` cannot be written: {cause}", file.display()), "name another file")
        })?;
    }
    let key = log.log.folder().join("log.pub");
    if ways.json {
        let text = String::from_utf8_lossy(&entry);
        say::json(&json!({
            "id": asked.id, "log": log.number, "index": place.index, "checkpoint": indexed::told(log.log.checkpoint()),
            "proof": proof, "entry": text, "key": log.key.to_string(),
        }));
        return Ok(End::Done);
    }
    let Some(file) = &asked.output else {
        say::line(proof.trim_end());
        return Ok(End::Done);
    };
    let at = Place { log: Some(log.number), index: place.index };
    say::line(&format!("{} proves the entry {at} of {}", file.display(), log.log.checkpoint().origin));
    let entry = asked.entry.as_deref().unwrap_or(Path::new("ENTRY")).display();
    say::note(&format!(
        "checked by: portcullis-verify entry --key {} --proof {} {entry}",
        key.display(),
        file.display()
    ));
    Ok(End::Done)
}

/// The place of a record that is called by its name.
fn named(opened: &Opened, id: &str) -> Result<Place, Failure> {
    let told = |cause| indexed::failure(&opened.folder, &cause);
    let wanted = super::parse(id).ok_or_else(|| {
        let help = "name it as `portcullis audit query` does, such as 1795428000000-0-17, or by its index, such as @17";
        Failure::new(format!("`{id}` names no record"), help)
    })?;
    let boot = match wanted.boot {
        Some(boot) => Some(boot.to_string()),
        None => opened.index.latest_boot().map_err(told)?,
    };
    let name = (boot.as_deref().unwrap_or_default(), u64::from(wanted.shard), wanted.seq);
    opened.index.find(&opened.logs, name).map_err(told)?.ok_or_else(|| {
        Failure::new(
            format!("no record `{id}` in the signed log"),
            "`portcullis audit query` shows those there are; one that was just made is signed within a second",
        )
    })
}

/// The proof and the entry, after the one was held against the other.
fn proven(log: &Numbered, index: u64, folder: &Path) -> Result<(String, Vec<u8>), Failure> {
    let unreadable = |cause: std::io::Error| {
        let name = logs::name(log.number);
        let message = format!("the log `{name}` in `{}` cannot be read: {cause}", folder.display());
        Failure::new(
            message,
            "read it as root or as the gateway's user; `portcullis-verify log` tells what is wrong with it",
        )
    };
    let evidence = log.log.evidence(index).map_err(unreadable)?;
    let entry = log.log.entry(index).map_err(unreadable)?;
    let (Some(evidence), Some(entry)) = (evidence, entry) else {
        return Err(Failure::new(
            format!("the log has no entry {index}"),
            "`portcullis audit query` shows the places of records",
        ));
    };
    evidence.check(&entry, &log.key).map_err(|cause| {
        Failure::new(
            format!("the entry {index} is not what was signed: {cause}"),
            "`portcullis-verify log` names the first entry that is not",
        )
    })?;
    Ok((evidence.to_string(), entry))
}
