//! Keeps a value out of sight. In: a secret. Out: the secret, only where it is asked for by name. Never here: Debug, Clone, Display.

use zeroize::Zeroize;

/// A value that is never printed, never copied and zeroed when dropped.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in; the caller's copy, if any, is the caller's to wipe.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place an auditor reads.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
