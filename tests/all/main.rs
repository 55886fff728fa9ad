//! What Portcullis promises, proven through its binary: one file a subject, one row a case.

mod framing;
mod replies;
mod slow;
mod routes;
mod handshakes;
mod identity;
mod messages;
mod eras;
mod policy;
mod operate;
mod prove;
mod facts;
mod obligations;
mod results;
mod sessions;
mod ids;
mod streams;
mod long;
mod idle;
mod hostile;
mod audit;
mod faults;
mod outbound;
mod readme;
mod newcomer;
mod tokens;
