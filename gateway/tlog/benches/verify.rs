//! How many records a core checks in a second: a log on disk, in the page cache, read and checked as `portcullis-verify log` does.

use std::fs;
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_tlog::chain::Chains;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::logs::{Before, Demands, Reading};
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::tree::{Hash, leaf_hash};
use portcullis_tlog::verify::Files;

const SIZE: u64 = 200_000;

/// Shards write in turns.
const SHARDS: u64 = 4;

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}

/// A decision of some 400 bytes, as the gateway spells one.
fn record(index: u64, prev: Option<&Hash>) -> Vec<u8> {
    let (shard, seq) = (index % SHARDS, index / SHARDS);
    let digits = prev.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let prev = digits.map(|digits| format!("\"prev\":\"{digits}\",")).unwrap_or_default();
    let commit = format!("{:064x}", index * 7919);
    let at = 1_795_428_000_000 + index;
    format!(
        "{{\"agent\":\"support-7\",\"arguments_bytes\":212,\"arguments_commit\":\"{commit}\",\"boot\":\"5f1c9a4be07d2386\",\"decision\":\"allow\",\
         \"event\":\"decision\",\"method\":\"tools/call\",{prev}\"request_id\":{index},\"rules\":[\"support.cedar:3\"],\"seq\":{seq},\
         \"server\":\"crm\",\"shard\":{shard},\"snapshot\":12,\"source\":\"10.1.2.3\",\"tool\":\"read_table\",\"ts\":{at},\"v\":2}}"
    )
    .into_bytes()
}

fn write(folder: &Path, signer: &NoteSigner) -> u64 {
    let (mut growth, mut last, mut bytes) = (Growth::default(), vec![None; SHARDS as usize], 0);
    for index in 0..SIZE {
        let last = &mut last[(index % SHARDS) as usize];
        let entry = record(index, last.as_ref());
        bytes += entry.len() as u64;
        *last = Some(leaf_hash(&entry));
        growth.append(&entry).unwrap();
    }
    for asset in growth.take() {
        let path = folder.join(asset.tile.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, asset.bytes).unwrap();
    }
    let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), head: growth.head() };
    fs::write(folder.join("checkpoint"), checkpoint.sign(signer)).unwrap();
    bytes / SIZE
}

fn verify(criterion: &mut Criterion) {
    let (folder, signer) =
        (tempfile::tempdir().unwrap(), NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap());
    let bytes = write(folder.path(), &signer);
    let files = Folder(folder.path().to_owned());
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(SIZE)).sample_size(10);
    group.bench_function(format!("a log of {SIZE} records of {bytes} bytes"), |bench| {
        bench.iter(|| {
            let mut reading = Reading::after(Before::Unknown);
            let found = reading.next(&files, signer.verifier(), &Demands::default(), |_| ()).unwrap();
            assert_eq!(found.told.records, SIZE);
        });
    });
    let (mut last, mut entries) = (vec![None; SHARDS as usize], Vec::new());
    for index in 0..1024 {
        let last = &mut last[(index % SHARDS) as usize];
        let entry = record(index, last.as_ref());
        let hash = leaf_hash(&entry);
        *last = Some(hash);
        entries.push((entry, hash));
    }
    group.throughput(Throughput::Elements(1024));
    group.bench_function("hashes of 1024 records", |bench| {
        bench.iter(|| {
            entries.iter().for_each(|(entry, _)| {
                black_box(leaf_hash(entry));
            })
        });
    });
    group.bench_function("chains of 1024 records", |bench| {
        bench.iter(|| {
            let mut chains = Chains::default();
            for (index, (entry, hash)) in (0..).zip(&entries) {
                chains.push(index, entry, hash).unwrap();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
