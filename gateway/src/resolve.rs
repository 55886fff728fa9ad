//! Finds where upstream names point. In: the servers of a snapshot. Out: addresses that workers read. Never here: connections.
//!
//! On the control plane: a worker never waits for a name server. A name that stops resolving keeps its last addresses, loudly.

use crate::shared::Shared;
use portcullis_core::config::snapshot::Snapshot;
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often names are asked for again: most records live 60 s and more.
const INTERVAL: Duration = Duration::from_secs(30);

/// One look-up; the system's resolver tries two servers twice within it.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Addresses kept of one name; a connection tries two.
const ADDRESSES_MAX: usize = 16;

type Key = (Box<str>, u16);

/// A name that does not resolve, and why.
#[derive(Debug)]
pub struct Unresolved {
    /// The upstream's host name.
    pub host: Box<str>,
    /// What the resolver said.
    pub error: io::Error,
}

/// Resolves what no earlier snapshot has named, so that a new upstream can be reached as soon as it is served.
pub async fn resolve_new(shared: &Shared, snapshot: &Snapshot) -> Vec<Unresolved> {
    let new = keys(snapshot).into_iter().filter(|key| !shared.addresses.contains_key(key));
    resolve(shared, new.collect()).await
}

/// Resolves every upstream of `snapshot` at once and stores what was found.
pub async fn refresh(shared: &Shared, snapshot: &Snapshot) -> Vec<Unresolved> {
    resolve(shared, keys(snapshot)).await
}

async fn resolve(shared: &Shared, keys: HashSet<Key>) -> Vec<Unresolved> {
    let mut lookups = JoinSet::new();
    for key in keys {
        lookups.spawn(async move {
            let found = lookup(&key).await;
            (key, found)
        });
    }
    let mut failed = Vec::new();
    while let Some(done) = lookups.join_next().await {
        match done {
            Ok((key, Ok(addresses))) => {
                shared.addresses.insert(key, addresses);
            }
            Ok(((host, _), Err(error))) => failed.push(Unresolved { host, error }),
            Err(error) => tracing::error!(%error, "a name look-up ended early"),
        }
    }
    failed
}

/// Resolves again and again, and forgets what no configuration has named for a whole interval.
pub async fn refresh_forever(shared: Arc<Shared>) {
    let mut named: HashSet<Key> = HashSet::new();
    let mut silent: HashSet<Box<str>> = HashSet::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let snapshot = shared.snapshot.load_full();
        let failed = refresh(&shared, &snapshot).await;
        for Unresolved { host, error } in &failed {
            // Once a change, not once a round: a dead name server must not fill the log.
            if silent.insert(host.clone()) {
                tracing::warn!(%host, %error, "an upstream's name no longer resolves; its last addresses stay in use");
            }
        }
        silent.retain(|host| failed.iter().any(|unresolved| unresolved.host == *host));
        let now = keys(&snapshot);
        shared.addresses.retain(|key, _| now.contains(key) || named.contains(key));
        named = now;
    }
}

fn keys(snapshot: &Snapshot) -> HashSet<Key> {
    snapshot.routes().map(|(_, route)| (route.settings.url.host.clone(), route.settings.url.port)).collect()
}

/// The addresses of one upstream, in the order the system prefers them (RFC 6724).
pub async fn lookup(key: &Key) -> io::Result<Arc<[SocketAddr]>> {
    let (host, port) = (&*key.0, key.1);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Arc::from([SocketAddr::new(address, port)]));
    }
    let found = tokio::time::timeout(LOOKUP_MAX, tokio::net::lookup_host((host, port)));
    let found = found.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.take(ADDRESSES_MAX) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_taken_as_it_is_and_a_name_is_looked_up() {
        assert_eq!(
            lookup(&("::1".into(), 9000)).await.unwrap().to_vec(),
            ["[::1]:9000".parse::<SocketAddr>().unwrap()]
        );
        assert!(lookup(&("localhost".into(), 9000)).await.unwrap().iter().all(|address| address.ip().is_loopback()));
    }
}
