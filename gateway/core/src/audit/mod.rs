//! Records what happened. In: facts of a request. Out: what a core writes down of them; what becomes of it in the log. Never here: files, clocks,
//! chance, secrets.
//!
//! A record is written down as fields (`field`, `record`, `encode`), quickly and once. Of these the log's entry is spelt as canonical JSON (`leaf`), which holds
//! commitments to what was asked and answered and not the values themselves (`values`). What an agent or an upstream wrote stands in an entry only
//! as an escaped string.

pub mod field;
pub mod capture;
pub mod leaf;
mod skeleton;
pub mod parting;
pub mod values;
pub mod record;
pub mod encode;
pub mod view;
