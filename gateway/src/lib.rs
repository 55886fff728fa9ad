//! The shell of Portcullis. It may do IO; it must not decide.

pub mod transport;
pub mod tls;
pub mod http1;
