//! Simulates a disk that forgets. In: what the log does with files, a plan of faults. Out: the same answers as a file system; after a crash, what one
//! could have kept. Never here: what files mean.
//!
//! Bytes are certain once their file is synced, names once their folder is (POSIX.1-2024, fsync). A failed sync drops what it was to write, as Linux does.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use oorandom::Rand64;
use portcullis_audit::disk::{Disk, DiskFile};

use crate::blows::Faults;
use crate::survivors::{Change, Cut, Inode, Style};

/// A disk; whoever holds a clone or one of its files sees the same one.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Folder,
    File(usize),
}

/// What somebody else does while a file is being synced, once its bytes are on the disk.
struct Meanwhile(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Meanwhile")
    }
}

#[derive(Clone, Debug)]
struct State {
    files: Vec<Inode>,
    names: BTreeMap<String, Node>,
    kept: BTreeMap<String, Node>,
    /// What each name stood for since its folder was synced, in order.
    changed: BTreeMap<String, Vec<Option<Node>>>,
    chance: Rand64,
    faults: Faults,
    operations: u64,
    syncs: u64,
    reads: u64,
    ended: bool,
    fired: bool,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    /// Everything that was ever written into files called `checkpoint…`.
    shown: Vec<Vec<u8>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let names = BTreeMap::from([("/".to_owned(), Node::Folder)]);
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            kept: names.clone(),
            names,
            changed: BTreeMap::new(),
            chance: Rand64::new(u128::from(seed)),
            faults: Faults::default(),
            operations: 0,
            syncs: 0,
            reads: 0,
            ended: false,
            fired: false,
            meanwhile: Arc::default(),
            shown: Vec::new(),
        })))
    }

    /// A disk of its own in the same state, without faults.
    pub fn copied(&self) -> Self {
        let copy = Self(Arc::new(Mutex::new(self.state().clone())));
        copy.arm(Faults::default());
        let mut state = copy.state();
        (state.shown, state.meanwhile) = (Vec::new(), Arc::default());
        drop(state);
        copy
    }

    /// Faults from now on.
    pub fn arm(&self, faults: Faults) {
        let mut state = self.state();
        (state.faults, state.fired) = (faults, false);
        (state.operations, state.syncs, state.reads) = (0, 0, 0);
    }

    /// There is space again, and nothing fails any more; what ends the disk stays.
    pub fn lift(&self) {
        let mut state = self.state();
        state.faults = Faults { ends_at: state.faults.ends_at, ..Faults::default() };
    }

    /// Something that happens during the next sync of a file, after what that brings to the disk.
    pub fn during_sync(&self, happens: impl FnOnce() + Send + 'static) {
        *self.state().meanwhile.lock().unwrap() = Some(Meanwhile(Box::new(happens)));
    }

    /// Whether everything has stopped.
    pub fn ended(&self) -> bool {
        self.state().ended
    }

    /// Whether a fault was met.
    pub fn fired(&self) -> bool {
        self.state().fired
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Everything that was ever written into files called `checkpoint…` since the last call.
    pub fn shown(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state().shown)
    }

    /// The disk as the next start meets it.
    pub fn restarted(&self, cut: Cut) -> Self {
        let mut state = self.state().clone();
        match cut {
            Cut::Kill => {
                for file in state.files.iter_mut().filter(|file| file.diverged) {
                    // Pages that a failed sync called clean may be dropped from memory at any time.
                    if state.chance.rand_range(0..2) == 0 {
                        file.read = Arc::new(file.with_all());
                        file.diverged = false;
                    }
                }
            }
            Cut::Power => state.cut_power(),
        }
        (state.ended, state.faults, state.meanwhile) = (false, Faults::default(), Arc::default());
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn file(&self, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), id })
    }
}

impl State {
    /// Counts an operation; an error where it is one that fails.
    fn step(&mut self) -> io::Result<()> {
        if self.ended {
            return Err(gone());
        }
        self.operations += 1;
        if self.faults.ends_at.is_some_and(|at| self.operations >= at) {
            self.ended = true;
            return Err(gone());
        }
        if self.faults.refuses.is_some_and(|(from, to)| (from..to).contains(&self.operations)) {
            self.fired = true;
            return Err(refused());
        }
        Ok(())
    }

    fn look(&mut self) -> io::Result<()> {
        if self.ended {
            return Err(gone());
        }
        self.reads += 1;
        if self.faults.read_fails == Some(self.reads) {
            self.fired = true;
            return Err(refused());
        }
        Ok(())
    }

    fn full(&self) -> bool {
        self.faults.full_from.is_some_and(|from| self.operations >= from)
    }

    /// No space, where what is to be done needs some, `one_in` times.
    fn space(&mut self, one_in: u64) -> io::Result<()> {
        if self.full() && self.chance.rand_range(0..one_in) == 0 {
            self.fired = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn name(&mut self, path: &str, node: Option<Node>) {
        match node {
            Some(node) => self.names.insert(path.to_owned(), node),
            None => self.names.remove(path),
        };
        self.changed.entry(path.to_owned()).or_default().push(node);
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        self.names
            .range(prefix.clone()..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&prefix))
            .collect()
    }

    fn in_folder(&self, path: &str) -> io::Result<()> {
        match self.names.get(above(path)) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn write(&mut self, id: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        if self.ended {
            return Err(gone());
        }
        if let Err(cause) = self.step() {
            // What was being written has got through in part.
            let written = self.chance.rand_range(0..bytes.len() as u64 + 1) as usize;
            self.put(id, offset, &bytes[..written]);
            return Err(cause);
        }
        let fits = self.files[id].read.len().saturating_sub(offset).min(bytes.len());
        if fits < bytes.len() && self.full() {
            let written = fits + self.chance.rand_range(0..(bytes.len() - fits) as u64 + 1) as usize;
            self.put(id, offset, &bytes[..written]);
            if written < bytes.len() {
                self.fired = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        self.put(id, offset, bytes);
        Ok(())
    }

    fn put(&mut self, id: usize, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let change = Change::Write(offset, bytes.to_vec());
        change.apply(Arc::make_mut(&mut self.files[id].read));
        self.files[id].changes.push(change);
        if self.files[id].shown {
            self.shown.push(bytes.to_vec());
        }
    }

    /// Counts a sync; an error where it fails.
    fn sync(&mut self) -> io::Result<()> {
        self.step()?;
        self.syncs += 1;
        if self.faults.sync_fails == Some(self.syncs) {
            self.fired = true;
            return Err(refused());
        }
        Ok(())
    }

    fn sync_file(&mut self, id: usize) -> io::Result<()> {
        let synced = self.sync();
        let ended = self.ended;
        let file = &mut self.files[id];
        match synced {
            Ok(()) if !file.diverged => file.kept = file.read.clone(),
            Ok(()) => {
                file.kept = Arc::new(file.with_all());
                file.diverged = file.kept != file.read;
            }
            Err(cause) => {
                if !ended {
                    file.kept = Arc::new(file.survivors(Style::of(&mut self.chance), &mut self.chance));
                    file.changes.clear();
                    file.diverged = true;
                }
                return Err(cause);
            }
        }
        file.changes.clear();
        Ok(())
    }

    fn cut_power(&mut self) {
        let style = Style::of(&mut self.chance);
        for (path, states) in std::mem::take(&mut self.changed) {
            let chosen = style.one_of(states.len(), &mut self.chance);
            match chosen.map(|at| states[at]) {
                // As it was before all of them.
                None => {}
                Some(Some(node)) => drop(self.kept.insert(path, node)),
                Some(None) => drop(self.kept.remove(&path)),
            }
        }
        // What lies in a folder that is gone is gone; parents come before what lies in them.
        let mut names: BTreeMap<String, Node> = BTreeMap::new();
        for (path, node) in std::mem::take(&mut self.kept) {
            if path == "/" || names.get(above(&path)) == Some(&Node::Folder) {
                names.insert(path, node);
            }
        }
        let mut files = Vec::new();
        for node in names.values_mut() {
            let Node::File(id) = node else { continue };
            let file = &self.files[*id];
            let kept = Arc::new(file.survivors(Style::of(&mut self.chance), &mut self.chance));
            *id = files.len();
            files.push(Inode { read: kept.clone(), kept, shown: file.shown, ..Inode::default() });
        }
        (self.files, self.kept, self.names) = (files, names.clone(), names);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn above(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((above, _)) => above,
    }
}

fn gone() -> io::Error {
    io::Error::other("everything has stopped")
}

fn refused() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let path = text(path);
        let mut state = self.state();
        state.step()?;
        state.in_folder(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.space(2)?;
        let shown = path.rsplit('/').next().is_some_and(|name| name.starts_with("checkpoint"));
        state.files.push(Inode { shown, ..Inode::default() });
        let id = state.files.len() - 1;
        state.name(path, Some(Node::File(id)));
        Ok(self.file(id))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.look()?;
        let id = state.find(text(path))?;
        Ok(self.file(id))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.look()?;
        let start = text(folder).trim_end_matches('/').len() + 1;
        let below = state.below(text(folder));
        Ok(below.iter().map(|path| path[start..].to_owned()).filter(|name| !name.contains('/')).collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = text(folder);
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(folder) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.in_folder(folder)?;
        state.space(2)?;
        state.name(folder, Some(Node::Folder));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let id = state.find(text(from))?;
        state.in_folder(text(to))?;
        state.space(5)?;
        state.name(text(from), None);
        state.name(text(to), Some(Node::File(id)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.find(text(path))?;
        state.name(text(path), None);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.names.get(text(path)) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for name in state.below(text(path)).iter().rev() {
            state.name(name, None);
        }
        state.name(text(path), None);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.sync()?;
        if state.names.get(text(folder)) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let changed: Vec<String> = state.changed.keys().filter(|path| above(path) == text(folder)).cloned().collect();
        for path in changed {
            state.changed.remove(&path);
            match state.names.get(&path).copied() {
                Some(node) => state.kept.insert(path, node),
                None => state.kept.remove(&path),
            };
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.state().write(self.id, offset, bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.look()?;
        let there = state.files[self.id].read.get(offset as usize..).unwrap_or_default();
        let read = there.len().min(into.len());
        into[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.state().look()?;
        Ok(self.disk.state().files[self.id].read.len() as u64)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let file = &mut state.files[self.id];
        Change::Cut(length as usize).apply(Arc::make_mut(&mut file.read));
        file.changes.push(Change::Cut(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.disk.state().sync_file(self.id);
        let meanwhile = self.disk.state().meanwhile.lock().unwrap().take();
        if let Some(Meanwhile(happens)) = meanwhile {
            happens();
        }
        synced
    }
}
