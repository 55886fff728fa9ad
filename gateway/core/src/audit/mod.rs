//! Records what happened. In: facts of a request. Out: chained JSON lines. Never here: files, clocks, secrets.

pub mod capture;
