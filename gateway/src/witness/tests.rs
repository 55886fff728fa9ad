//! A log, witnesses over loopback, and what each of them then believes.

use crate::witness::ask::{Round, Tally, Witnessing};
use crate::witness::client::Target;
use crate::witness::door;
use crate::witness::service::Service;
use crate::witness::store::Store;
use portcullis_core::config::settings::witness::Witness;
use portcullis_core::config::settings::{UpstreamTls, UpstreamUrl};
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::logs::WITNESSED;
use portcullis_tlog::note::{Kind, NoteSigner, VerifierKey};
use portcullis_tlog::policy::Policy;
use portcullis_tlog::witness::Request;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use tokio::net::TcpListener;

fn signer() -> NoteSigner {
    NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap()
}

fn witness(number: u8) -> NoteSigner {
    NoteSigner::new(&format!("example.com/w{number}"), Kind::Cosignature, &[100 + number; 32]).unwrap()
}

/// Writes a log of so many entries over whatever is there; another `history` has other entries.
fn write(folder: &Path, size: u64, history: &str) -> String {
    let mut growth = Growth::default();
    (0..size).for_each(|index| assert!(growth.append(format!("{history} {index}").as_bytes()).is_ok()));
    for asset in growth.take() {
        let path = folder.join(asset.tile.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, asset.bytes).unwrap();
    }
    let note = Checkpoint { origin: "example.com/log".to_owned(), head: growth.head() }.sign(&signer());
    fs::write(folder.join("checkpoint"), &note).unwrap();
    note
}

fn service(state: &Path, number: u8) -> std::io::Result<Service> {
    let signer = witness(number);
    let store = Store::open(state, signer.verifier())?;
    Service::new(signer, vec![self::signer().verifier().clone()], store)
}

/// A witness behind a port of its own, until the runtime of the test ends.
async fn served(state: &Path, number: u8) -> Witness {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Arc::new(service(state, number).unwrap());
    tokio::spawn(door::open(listener, service, std::future::pending()));
    at(address, number)
}

fn at(address: SocketAddr, number: u8) -> Witness {
    let url = UpstreamUrl {
        tls: UpstreamTls::Plain,
        host: address.ip().to_string().into(),
        port: address.port(),
        path: "/w/add-checkpoint".into(),
        authority: address.to_string().into(),
    };
    let (name, key) = (format!("w{number}").into(), witness(number).verifier().to_string().into());
    Witness { name, url, key }
}

fn round(folder: &Path, witnesses: &[&Witness]) -> (Round, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let targets = witnesses.iter().map(|witness| Target::new(witness).unwrap()).collect();
    (Round::new(folder.to_owned(), signer().verifier().clone(), targets, tally.clone()), tally)
}

/// The size that lies in `checkpoint.witnessed`, and by how many of these it was cosigned.
fn seen(folder: &Path, numbers: &[u8]) -> (u64, usize) {
    let note = fs::read_to_string(folder.join(WITNESSED)).unwrap();
    let keys: Vec<VerifierKey> = numbers.iter().map(|number| witness(*number).verifier().clone()).collect();
    let each = keys.into_iter().map(|key| Policy::all_of(vec![key]).check(&note, signer().verifier()).is_ok());
    let size = Checkpoint::open(&note, signer().verifier()).unwrap().head.size;
    (size, each.filter(|seen| *seen).count())
}

fn tallied(tally: &Tally) -> [u64; 3] {
    [&tally.cosigned, &tally.failed, &tally.forked].map(|count| count.load(Ordering::Relaxed))
}

#[test]
fn a_witness_remembers_what_it_cosigned_and_cosigns_nothing_where_it_cannot() {
    let (state, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let ask = |old, checkpoint| Request { old, proof: vec![], checkpoint }.to_string();
    let first = service(state.path(), 1).unwrap();
    let (note, fork) = (write(log.path(), 9, "entry"), write(log.path(), 9, "another"));
    assert_eq!(service(state.path(), 1).err().unwrap().kind(), ErrorKind::ResourceBusy);
    assert_eq!(first.add(b"\xff", 5).status, 400);
    assert_eq!(first.add(b"old 0\n", 5).status, 400);
    let answer = first.add(ask(0, note.clone()).as_bytes(), 5);
    assert_eq!(answer.status, 200);
    drop(first);
    let again = service(state.path(), 1).unwrap();
    for (old, checkpoint, status, body) in
        [(0, &note, 409, "9\n"), (8, &fork, 409, "9\n"), (9, &fork, 409, "9\n"), (9, &note, 200, "")]
    {
        let answer = again.add(ask(old, checkpoint.clone()).as_bytes(), 6);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(status == 200 || (answer.body == body && answer.kind == "text/x.tlog.size"), "{answer:?}");
    }
    // What cannot be read is not taken for nothing.
    let kept = state.path().join("example%2ecom%2flog.checkpoint");
    let good = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, good.replace("\n9\n", "\n8\n")).unwrap();
    assert_eq!(again.add(ask(0, note).as_bytes(), 7).status, 500);
    drop(again);
    assert_eq!(service(state.path(), 1).err().unwrap().kind(), ErrorKind::InvalidData);
    fs::write(&kept, good).unwrap();
    assert_eq!(service(state.path(), 2).err().unwrap().kind(), ErrorKind::InvalidData, "another witness's");
}

#[tokio::test]
async fn a_log_that_grows_is_cosigned_by_all_and_one_that_is_gone_is_missed_only_for_a_while() {
    let (states, log) = ([TempDir::new().unwrap(), TempDir::new().unwrap()], TempDir::new().unwrap());
    let (one, two) = (served(states[0].path(), 1).await, served(states[1].path(), 2).await);
    write(log.path(), 300, "entry");
    let (mut asking, tally) = round(log.path(), &[&one, &two]);
    asking.round().await;
    assert_eq!((seen(log.path(), &[1, 2]), tallied(&tally)), ((300, 2), [2, 0, 0]));
    asking.round().await;
    assert_eq!(tallied(&tally), [2, 0, 0], "nothing new, nothing asked");
    write(log.path(), 1000, "entry");
    asking.round().await;
    assert_eq!((seen(log.path(), &[1, 2]), tallied(&tally)), ((1000, 2), [4, 0, 0]));
    // Who knows nothing of it is told where to begin.
    fs::remove_file(log.path().join(WITNESSED)).unwrap();
    write(log.path(), 1001, "entry");
    let (mut asking, tally) = round(log.path(), &[&one, &two]);
    asking.round().await;
    assert_eq!((seen(log.path(), &[1, 2]), tallied(&tally)), ((1001, 2), [2, 0, 0]));
    // A port that nobody listens on: what both saw stays, until it is too old to wait for the other.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    write(log.path(), 1002, "entry");
    let (mut asking, tally) = round(log.path(), &[&one, &at(gone, 2)]);
    asking.round().await;
    assert_eq!((seen(log.path(), &[1, 2]), tallied(&tally)), ((1001, 2), [1, 1, 0]));
    asking.is_old();
    asking.round().await;
    assert_eq!((seen(log.path(), &[1, 2]), tallied(&tally)), ((1002, 1), [2, 1, 0]));
}

#[tokio::test]
async fn a_log_that_was_rolled_back_or_forked_is_told_loudly_and_not_cosigned() {
    for (size, history) in [(250, "entry"), (300, "another"), (700, "another"), (0, "entry")] {
        let (state, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let one = served(state.path(), 1).await;
        write(log.path(), 300, "entry");
        round(log.path(), &[&one]).0.round().await;
        assert_eq!(seen(log.path(), &[1]), (300, 1));
        let before = fs::read(log.path().join(WITNESSED)).unwrap();
        for remembered in [true, false] {
            if !remembered {
                fs::remove_file(log.path().join(WITNESSED)).unwrap();
            }
            write(log.path(), size, history);
            let (mut asking, tally) = round(log.path(), &[&one]);
            asking.round().await;
            assert_eq!(tallied(&tally), [0, 0, 1], "{size} of {history}, remembered: {remembered}");
            assert_eq!(fs::read(log.path().join(WITNESSED)).ok(), remembered.then(|| before.clone()));
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_key_is_not_kept() {
    let (state, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut one = served(state.path(), 1).await;
    one.key = witness(2).verifier().to_string().into();
    write(log.path(), 5, "entry");
    let (mut asking, tally) = round(log.path(), &[&one]);
    asking.round().await;
    assert_eq!(tallied(&tally), [0, 1, 0]);
    assert!(!log.path().join(WITNESSED).exists());
    one.key = signer().verifier().to_string().into();
    assert!(Target::new(&one).unwrap_err().contains("that of a log"));
}

#[test]
fn the_thread_asks_a_last_time_before_it_ends() {
    let (state, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let folder = state.path().to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tell.send(served(&folder, 1).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let one = told.recv().unwrap();
    write(log.path(), 5, "entry");
    let witnessing = Witnessing::start(log.path().to_owned(), signer().verifier().clone(), &[one]).unwrap();
    write(log.path(), 6, "entry");
    witnessing.stop();
    assert_eq!(seen(log.path(), &[1]), (6, 1));
}
