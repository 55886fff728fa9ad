//! The shell of Portcullis. It may do IO; it must not decide.

pub mod http1;
