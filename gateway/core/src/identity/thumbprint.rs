//! Names a certificate by its digest. In: DER, or the text of a claim. Out: 32 bytes to compare. Never here: trust in a certificate.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The SHA-256 digest of a certificate in DER: `x5t#S256` of RFC 8705 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of the certificate whose DER these bytes are.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 43 base64url characters of the claim; any other spelling is none.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The 43 characters of base64url, as the claim carries them.
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_a_thumbprint_is_read() {
        let print = Thumbprint::of(b"certificate");
        let text = print.to_text();
        for wrong in ["", "AAAA", &text[1..], &format!("{text}="), &format!("{text}A"), &format!(" {text}")] {
            assert_eq!(Thumbprint::parse(wrong), None, "{wrong}");
        }
        assert_eq!(text.len(), 43);
        assert_eq!(Thumbprint::parse(&text), Some(print));
        assert_ne!(Thumbprint::of(b"another"), print);
    }
}
