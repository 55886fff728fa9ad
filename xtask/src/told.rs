//! A failure whose words were printed already, so that the last line of a verb stays its last line.

use std::fmt;

/// Failed, and the output above says why.
#[derive(Debug)]
pub struct Told;

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("failed, see above")
    }
}

impl std::error::Error for Told {}
