//! `portcullis audit proof`: proves a record to whoever has the log's key. In: the record's name or its place. Out: a `.tlog-proof`, and the bytes it
//! is about. Never here: finding it.

use super::indexed;
use crate::cli::{End, Failure, Outcome, Ways, audit, say};
use crate::logged::Unanswered;
use crate::logged::entries::Entry;
use clap::Args;
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
pub fn proof(asked: &Proof, ways: &Ways) -> Outcome {
    let open = || {
        indexed::open(ways).map_err(|Failure { message, help }| Unanswered {
            fault: crate::logged::Fault::Log,
            message,
            help: help.unwrap_or_default(),
        })
    };
    let found = Entry::find(&audit::folder(ways)?, &asked.id, open)?;
    indexed::record(ways, &found.reading("proof", &asked.id))?;
    for (file, bytes) in [(&asked.output, found.proof.as_bytes()), (&asked.entry, found.bytes.as_slice())] {
        let Some(file) = file else { continue };
        std::fs::write(file, bytes).map_err(|cause| {
            Failure::new(format!("`{}` cannot be written: {cause}", file.display()), "name another file")
        })?;
    }
    let key = found.log.log.folder().join("log.pub");
    if ways.json {
        say::json(&found.shown(&asked.id));
        return Ok(End::Done);
    }
    let Some(file) = &asked.output else {
        say::line(found.proof.trim_end());
        return Ok(End::Done);
    };
    let (at, origin) = (found.place, &found.log.log.checkpoint().origin);
    say::line(&format!("{} proves the entry {at} of {origin}", file.display()));
    let entry = asked.entry.as_deref().unwrap_or(Path::new("ENTRY")).display();
    say::note(&format!(
        "checked by: portcullis-verify entry --key {} --proof {} {entry}",
        key.display(),
        file.display()
    ));
    Ok(End::Done)
}
