//! States how large a log is and what it holds. In: a signed text. Out: origin, size and head of a tree. Never here: clocks, files.
//!
//! C2SP tlog-checkpoint: a note of three lines. Extension lines are kept with the text that is signed and mean nothing here.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::note::{Note, NoteError, NoteSigner, Unproven, VerifierKey};
use crate::proof::Head;
use crate::tree::Hash;

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How large, and the head of its tree.
    pub head: Head,
}

impl Checkpoint {
    /// Reads the text of a note, without its signatures.
    ///
    /// # Errors
    /// When it is not of the form of a checkpoint.
    pub fn parse(text: &str) -> Result<Self, NotACheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(NotACheckpoint::Form)?.split('\n');
        let (Some(origin), Some(size), Some(hash)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NotACheckpoint::Form);
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(NotACheckpoint::Form);
        }
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size);
        let size = number.ok_or(NotACheckpoint::Size)?;
        let hash = STANDARD.decode(hash).ok().and_then(|hash| Hash::try_from(hash).ok()).ok_or(NotACheckpoint::Hash)?;
        Ok(Self { origin: origin.to_owned(), head: Head { size, hash } })
    }

    /// Reads a signed checkpoint of the log whose key this is.
    ///
    /// # Errors
    /// When it is no checkpoint, is not signed by the key, or is of another log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, Refused> {
        let note = Note::parse(note).map_err(Refused::Note)?;
        key.verify(&note).map_err(Refused::Unproven)?;
        let checkpoint = Self::parse(note.text()).map_err(Refused::Form)?;
        if checkpoint.origin != key.name() {
            return Err(Refused::OtherLog { origin: checkpoint.origin });
        }
        Ok(checkpoint)
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.head.size, STANDARD.encode(self.head.hash))
    }

    /// The note, signed by the log.
    pub fn sign(&self, signer: &NoteSigner) -> String {
        let text = self.text();
        let signature = signer.sign(&text, 0);
        format!("{text}\n{signature}")
    }
}

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotACheckpoint {
    /// Not three lines at least, or an empty one.
    Form,
    /// The second line is no number.
    Size,
    /// The third line is no hash.
    Hash,
}

impl fmt::Display for NotACheckpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Form => "it does not have the three lines of a checkpoint",
            Self::Size => "its second line is not the number of entries",
            Self::Hash => "its third line is not the base64 of a SHA-256 hash",
        })
    }
}

/// Why a checkpoint is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no note.
    Note(NoteError),
    /// The log did not sign it.
    Unproven(Unproven),
    /// What was signed is no checkpoint.
    Form(NotACheckpoint),
    /// It is of another log.
    OtherLog {
        /// Of which.
        origin: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(cause) => write!(out, "{cause}"),
            Self::Unproven(cause) => write!(out, "{cause}"),
            Self::Form(cause) => write!(out, "{cause}"),
            Self::OtherLog { origin } => write!(out, "it is a checkpoint of the log `{origin}`"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Kind;

    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn refused(text: &str, expected: NotACheckpoint) {
        assert_eq!(Checkpoint::parse(text), Err(expected), "given {text:?}");
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for text in ["", "\n", "a\n1\n", "a\n1", &format!("\n1\n{hash}\n"), &format!("a\n1\n{hash}\n\n")] {
            refused(text, NotACheckpoint::Form);
        }
        for size in ["", "01", "+1", "-1", "1 ", "18446744073709551616", "a"] {
            refused(&format!("a\n{size}\n{hash}\n"), NotACheckpoint::Size);
        }
        for hash in
            ["", "AAAA", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I", "CsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I="]
        {
            refused(&format!("a\n1\n{hash}\n"), NotACheckpoint::Hash);
        }
    }

    #[test]
    fn another_logs_checkpoint_is_refused_although_its_signature_holds() {
        let signer = NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap();
        let mut checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        let origin = checkpoint.origin.clone();
        assert_eq!(Checkpoint::open(&checkpoint.sign(&signer), signer.verifier()), Err(Refused::OtherLog { origin }));
        checkpoint.origin = "example.com/log".to_owned();
        assert_eq!(Checkpoint::open(&checkpoint.sign(&signer), signer.verifier()), Ok(checkpoint));
    }

    #[test]
    fn the_specifications_example_is_read_and_written_alike() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.head.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.text(), EXAMPLE);
        assert_eq!(Checkpoint::parse(&format!("{EXAMPLE}an extension\n")), Ok(checkpoint));
    }
}
