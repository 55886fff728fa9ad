//! Reads the segments of the audit log. In: a folder. Out: records by time, old ones once and new ones as they come. Never here: verification.

use crate::journal::recover::{SegmentName, segments};
use portcullis_core::audit::view::{self, Entry};
use portcullis_core::time::UnixMillis;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// One record and its line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Read.
    pub entry: Entry,
    /// As it stands in the log.
    pub raw: String,
}

impl Line {
    /// The record's name.
    pub fn id(&self) -> String {
        id(&self.entry)
    }
}

/// `BOOT-SHARD-SEQ`.
pub fn id(entry: &Entry) -> String {
    format!("{}-{}-{}", entry.boot, entry.shard, entry.seq)
}

/// Where reading of each segment goes on.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    offsets: BTreeMap<PathBuf, u64>,
    /// Lines that are no record of this version.
    pub unreadable: u64,
}

impl Reader {
    /// Nothing read yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), offsets: BTreeMap::new(), unreadable: 0 }
    }

    /// Where the log lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The records of the latest boots, at least `lines_min` of them if there are as many; older segments count as read.
    pub fn latest(&mut self, lines_min: usize) -> io::Result<Vec<Line>> {
        let mut found = Vec::new();
        let mut boot = None;
        for (name, path) in segments(&self.folder)?.into_iter().rev() {
            let older = boot.is_some_and(|boot| name.boot != boot);
            if older && found.len() >= lines_min {
                self.offsets.insert(path.clone(), path.metadata()?.len());
                continue;
            }
            boot = Some(name.boot);
            self.segment(&path, &mut found)?;
        }
        Ok(sorted(found))
    }

    /// Every record from an instant on, segment by segment, so that a long log needs no more memory than its largest segment.
    pub fn each(&mut self, from: UnixMillis, mut then: impl FnMut(Line)) -> io::Result<()> {
        for (_, path) in segments(&self.folder)? {
            let written = path.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            // A segment that was last written before the instant holds nothing after it.
            if i64::try_from(written.as_millis()).unwrap_or(i64::MAX) < from.0 {
                continue;
            }
            let mut found = Vec::new();
            self.segment(&path, &mut found)?;
            found.into_iter().filter(|line| line.entry.ts >= from.0).for_each(&mut then);
        }
        Ok(())
    }

    /// What was written since.
    pub fn more(&mut self) -> io::Result<Vec<Line>> {
        let mut found = Vec::new();
        for (_, path) in segments(&self.folder)? {
            self.segment(&path, &mut found)?;
        }
        Ok(sorted(found))
    }

    /// Every record of one boot, the latest where none is named.
    pub fn boot(&mut self, boot: Option<u64>) -> io::Result<Vec<Line>> {
        let all = segments(&self.folder)?;
        let boot = boot.or_else(|| all.last().map(|(name, _)| name.boot));
        let mut found = Vec::new();
        for (_, path) in all.into_iter().filter(|(name, _): &(SegmentName, PathBuf)| Some(name.boot) == boot) {
            self.segment(&path, &mut found)?;
        }
        Ok(sorted(found))
    }

    /// Whole lines only: the last may still be on its way.
    fn segment(&mut self, path: &Path, found: &mut Vec<Line>) -> io::Result<()> {
        let offset = self.offsets.entry(path.to_owned()).or_default();
        let mut file = File::open(path)?;
        if file.metadata()?.len() <= *offset {
            return Ok(());
        }
        file.seek(SeekFrom::Start(*offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        *offset += end as u64 + 1;
        for line in bytes.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
            let raw = String::from_utf8_lossy(line).into_owned();
            match view::parse(&raw) {
                Ok(entry) => found.push(Line { entry, raw }),
                Err(_) => self.unreadable += 1,
            }
        }
        Ok(())
    }
}

fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by_key(|line| (line.entry.ts, line.entry.shard, line.entry.seq));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::shard::segment_name;
    use portcullis_core::audit::chain::{Position, Shard};
    use portcullis_core::audit::record::{Record, Stop};
    use std::fs::OpenOptions;
    use std::io::Write;

    fn write(folder: &Path, boot: u64, shard: u16, times: &[i64]) -> PathBuf {
        let mut chain = Shard::resume(&boot.to_string(), shard, &Position::default());
        let mut bytes = Vec::new();
        for at in times {
            chain.append(&mut bytes, UnixMillis(*at), &Record::GatewayStopped(Stop { reason: "signal" }));
        }
        let path = folder.join(segment_name(boot, shard, 0));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn shards_are_merged_by_time_and_half_a_line_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, 0, &[1, 2]);
        write(folder.path(), 2, 0, &[10, 30]);
        let path = write(folder.path(), 2, 1, &[20]);
        let mut reader = Reader::new(folder.path());
        let latest = reader.latest(3).unwrap();
        assert_eq!(latest.iter().map(Line::id).collect::<Vec<_>>(), ["2-0-0", "2-1-0", "2-0-1"]);
        let line = std::fs::read(&path).unwrap();
        let (head, tail) = line.split_at(20);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(head).unwrap();
        assert_eq!(reader.more().unwrap().len(), 0);
        file.write_all(tail).unwrap();
        assert_eq!(reader.more().unwrap().len(), 1);
        assert_eq!(Reader::new(folder.path()).latest(5).unwrap().len(), 6);
        assert_eq!(Reader::new(folder.path()).boot(Some(1)).unwrap().len(), 2);
    }
}
