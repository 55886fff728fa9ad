//! Reads, signs and checks notes. In: a text, keys. Out: signature lines, or whose signatures hold. Never here: what the text means, clocks.
//!
//! C2SP signed-note: a text, an empty line, a line for each signature. Ed25519 alone: a log's own signatures (type 1) and witnesses'
//! cosignatures with their time (type 4, C2SP tlog-cosignature). Signatures of other types are passed over, as the specification wants.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};

use crate::tree::sha256;

/// Signature lines that a note may have. The specification asks for 16 at least.
const SIGNATURES_MAX: usize = 64;

/// Bytes of a note at most; a checkpoint with every signature it may have has fewer.
const NOTE_BYTES_MAX: usize = 256 * 1024;

/// A note whose form is right. Nothing of it is to be believed before a key says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'n> {
    text: &'n str,
    signatures: Vec<Line<'n>>,
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line<'n> {
    name: &'n str,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl<'n> Note<'n> {
    /// Takes a note apart.
    ///
    /// # Errors
    /// When it is no note.
    pub fn parse(note: &'n str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        if note.chars().any(|character| character < ' ' && character != '\n') {
            return Err(NoteError::ControlCharacter);
        }
        let split = note.rfind("\n\n").and_then(|end| note.split_at_checked(end + 1));
        let (text, rest) = split.ok_or(NoteError::NoSignatures)?;
        let lines =
            rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n')).ok_or(NoteError::NoSignatures)?;
        let signatures: Vec<Line<'n>> = lines
            .split('\n')
            .map(|line| Line::parse(line).ok_or(NoteError::NotASignature))
            .collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        Ok(Self { text, signatures })
    }

    /// What is signed, its last newline with it.
    pub fn text(&self) -> &'n str {
        self.text
    }
}

impl<'n> Line<'n> {
    fn parse(line: &'n str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        (is_name(name) && !signature.is_empty()).then(|| Self { name, id: *id, signature: signature.to_vec() })
    }

    fn spelt(&self) -> String {
        format!("— {} {}\n", self.name, STANDARD.encode([self.id.as_slice(), self.signature.as_slice()].concat()))
    }
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The text itself: what a log does.
    Signature,
    /// The text and when it was seen: what a witness does.
    Cosignature,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Signature => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn of(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Signature),
            0x04 => Ok(Self::Cosignature),
            _ => Err(KeyError::UnknownKind),
        }
    }

    fn message(self, text: &str, at: u64) -> String {
        match self {
            Self::Signature => text.to_owned(),
            Self::Cosignature => format!("cosignature/v1\ntime {at}\n{text}"),
        }
    }
}

/// A key that checks signatures. As text: `NAME+ID+KEY`, the form that other tools of signed notes take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When the text is no key of a kind that is known here, or its ID is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::NotAKey);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::NotAKey)?;
        let (kind, key) = bytes.split_first().ok_or(KeyError::NotAKey)?;
        let kind = Kind::of(*kind)?;
        let key = <&[u8; 32]>::try_from(key).ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
        let key = Self { name: name.to_owned(), kind, key: key.ok_or(KeyError::NotAKey)? };
        if !is_name(name) || key.id_text() != id {
            return Err(KeyError::OtherId);
        }
        Ok(key)
    }

    /// Whose key it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether another is the same key, under whatever name.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// This key's signature lines of a note, whether they hold or not.
    pub fn lines(&self, note: &Note<'_>) -> String {
        let id = self.id();
        let own = note.signatures.iter().filter(|line| line.name == self.name && line.id == id);
        own.map(Line::spelt).collect()
    }

    /// Checks this key's signature of a note; the time that a witness gave in seconds since 1970, 0 for a log's own.
    ///
    /// # Errors
    /// When the note has none of this key, or one that does not hold.
    pub fn verify(&self, note: &Note<'_>) -> Result<u64, Unproven> {
        let mut seen = Err(Unproven::NotSigned);
        let id = self.id();
        for line in note.signatures.iter().filter(|line| line.name == self.name && line.id == id) {
            let (at, signature) = match self.kind {
                Kind::Signature => (0, line.signature.as_slice()),
                Kind::Cosignature => {
                    let (at, signature) = line.signature.split_first_chunk::<8>().ok_or(Unproven::Forged)?;
                    (u64::from_be_bytes(*at), signature)
                }
            };
            let signature = Ed25519::from_slice(signature).map_err(|_| Unproven::Forged)?;
            let message = self.kind.message(note.text, at);
            self.key.verify_strict(message.as_bytes(), &signature).map_err(|_| Unproven::Forged)?;
            seen = Ok(at);
        }
        seen
    }

    fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[self.kind.byte()], self.key.as_bytes()]);
        let [a, b, c, d, ..] = hash;
        [a, b, c, d]
    }

    fn id_text(&self) -> String {
        self.id().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.byte()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(out, "{}+{}+{}", self.name, self.id_text(), STANDARD.encode(bytes))
    }
}

/// A key that signs. It has no text and no `Debug`: it leaves this process by nobody's oversight.
pub struct NoteSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl NoteSigner {
    /// From the 32 bytes of an Ed25519 key (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// When the name is empty, or has a space or a plus.
    pub fn new(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::NotAName);
        }
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey { name: name.to_owned(), kind, key: key.verifying_key() };
        Ok(Self { key, verifier })
    }

    /// Reads a private key, as [`NoteSigner::spell`] spells one.
    ///
    /// # Errors
    /// When it is none, or its ID is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(KeyError::NotPrivate)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::NotPrivate);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::NotPrivate)?;
        let (kind, seed) = bytes.split_first().ok_or(KeyError::NotPrivate)?;
        let seed = <&[u8; 32]>::try_from(seed).map_err(|_| KeyError::NotPrivate)?;
        let signer = Self::new(name, Kind::of(*kind)?, seed)?;
        if signer.verifier.id_text() == id { Ok(signer) } else { Err(KeyError::OtherId) }
    }

    /// The text of a private key: what only its owner may read.
    ///
    /// # Errors
    /// As [`NoteSigner::new`].
    pub fn spell(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<String, KeyError> {
        let id = Self::new(name, kind, seed)?.verifier.id_text();
        let bytes = [[kind.byte()].as_slice(), seed].concat();
        Ok(format!("{PRIVATE}{name}+{id}+{}\n", STANDARD.encode(bytes)))
    }

    /// The key by which others check.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature line for `text`; `at`, in seconds since 1970, is what a witness adds and a log leaves out.
    pub fn sign(&self, text: &str, at: u64) -> String {
        let kind = self.verifier.kind;
        let signature = self.key.sign(kind.message(text, at).as_bytes());
        let mut bytes = self.verifier.id().to_vec();
        match kind {
            Kind::Signature => {}
            Kind::Cosignature => bytes.extend_from_slice(&at.to_be_bytes()),
        }
        bytes.extend_from_slice(&signature.to_bytes());
        format!("— {} {}\n", self.verifier.name, STANDARD.encode(bytes))
    }
}

/// What a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Key names: not empty, no space, no plus.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+')
}

/// Why something is no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// It is longer than any note.
    TooLong,
    /// It holds a control character beside newlines.
    ControlCharacter,
    /// No empty line with signatures after it.
    NoSignatures,
    /// A line that should be a signature is none.
    NotASignature,
    /// It has more than anybody needs.
    TooManySignatures,
}

impl fmt::Display for NoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TooLong => "the note is too long",
            Self::ControlCharacter => "the note holds a control character",
            Self::NoSignatures => "the note has no signatures after an empty line",
            Self::NotASignature => "a line after the note's text is no signature",
            Self::TooManySignatures => "the note has too many signatures",
        })
    }
}

impl std::error::Error for NoteError {}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It is not of the form `NAME+ID+KEY`.
    NotAKey,
    /// It is not of the form `PRIVATE+KEY+NAME+ID+KEY`.
    NotPrivate,
    /// It is no Ed25519 key.
    UnknownKind,
    /// The ID is not that of this name and key.
    OtherId,
    /// The name is empty, or has a space or a plus.
    NotAName,
}

impl fmt::Display for KeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotAKey => "the key is not of the form `NAME+ID+KEY`",
            Self::NotPrivate => "the key is not of the form `PRIVATE+KEY+NAME+ID+KEY`",
            Self::UnknownKind => "the key is none for Ed25519 signatures",
            Self::OtherId => {
                "the ID within the key is not that of its name and key; a part of it was changed or left out"
            }
            Self::NotAName => "the name is empty, or has a space or a plus",
        })
    }
}

impl std::error::Error for KeyError {}

/// Why a note is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// No signature of this key.
    NotSigned,
    /// A signature of this key that does not hold.
    Forged,
}

impl fmt::Display for Unproven {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotSigned => "it is not signed by this key",
            Self::Forged => "its signature does not hold",
        })
    }
}

impl std::error::Error for Unproven {}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
