//! Holds the keys of the log. In: a folder of keys, bytes. Out: bytes that only a key opens; the signer of checkpoints. Never here: what is sealed.
//!
//! Two long-lived keys: `log.key` signs checkpoints, `values.key` guards the keys under which values and journals are sealed. Each journal segment has a
//! key of its own, wrapped (AES-256 key wrap, RFC 3394); each value one that is made of 32 random bytes, its origin, by AES-256 under a key that is
//! derived of `values.key`: two blocks instead of the 48 of a wrap. Both are kept beside what they open, so that destroying those bytes destroys it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_tlog::note::{Kind, NoteSigner};
use zeroize::Zeroizing;

/// The key of one thing that is sealed.
pub type Key = Zeroizing<[u8; 32]>;

/// That key, wrapped.
pub type WrappedKey = [u8; 40];

/// What a seal adds.
pub const TAG_BYTES: usize = 16;

/// A fresh key.
///
/// # Errors
/// When the system gives no random bytes.
pub fn fresh_key() -> io::Result<Key> {
    let mut key = Key::default();
    random(&mut *key)?;
    Ok(key)
}

/// Random bytes.
///
/// # Errors
/// When the system gives none.
pub fn random(into: &mut [u8]) -> io::Result<()> {
    rand::fill(into).map_err(|_| io::Error::other("the system gives no random bytes"))
}

/// What a value's key is made of, 32 random bytes.
pub type Origin = [u8; 32];

/// The key that guards the others.
pub struct WrappingKey {
    key: Key,
    /// Makes values' keys of their origins; none where the library has no such cipher, and then no value is sealed.
    origins: Option<EncryptingKey>,
}

/// Derives what makes values' keys: what wraps never does anything else.
const ORIGINS: &[u8] = b"portcullis: keys of values";

impl WrappingKey {
    /// From its bytes.
    pub fn new(key: Key) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), ORIGINS);
        let origins = UnboundCipherKey::new(&cipher::AES_256, derived.as_ref()).and_then(EncryptingKey::ecb).ok();
        Self { key, origins }
    }

    /// The key that is made of an origin. Random origins are different blocks, so their images under a keyed permutation tell nothing of each other.
    ///
    /// # Errors
    /// When the library has no such cipher.
    pub fn of_origin(&self, origin: &Origin) -> io::Result<Key> {
        let mut key = Key::new(*origin);
        let origins = self.origins.as_ref().ok_or_else(broken)?;
        origins.encrypt(&mut *key).map_err(|_| broken())?;
        Ok(key)
    }

    /// Wraps a key.
    ///
    /// # Errors
    /// Never with keys of this length.
    pub fn wrap(&self, key: &Key) -> io::Result<WrappedKey> {
        let mut wrapped = [0; 40];
        let kek = AesKek::new(&AES_256, &*self.key).map_err(|_| broken())?;
        kek.wrap(&**key, &mut wrapped).map_err(|_| broken())?;
        Ok(wrapped)
    }

    /// The key again; none where it was wrapped by another, changed or destroyed.
    pub fn open(&self, wrapped: &WrappedKey) -> Option<Key> {
        let mut key = Key::default();
        let kek = AesKek::new(&AES_256, &*self.key).ok()?;
        KeyWrap::unwrap(kek, wrapped, &mut *key).ok()?;
        Some(key)
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WrappingKey")
    }
}

fn broken() -> io::Error {
    io::Error::other("a key cannot be used")
}

/// Seals bytes under one key (AES-256-GCM). A number is used once.
pub struct Seal(LessSafeKey);

impl Seal {
    /// With a key.
    ///
    /// # Errors
    /// Never with keys of this length.
    pub fn new(key: &Key) -> io::Result<Self> {
        UnboundKey::new(&AES_256_GCM, &**key).map(|key| Self(LessSafeKey::new(key))).map_err(|_| broken())
    }

    /// Encrypts in place; the tag.
    ///
    /// # Errors
    /// When there are more bytes than one seal takes, 64 GiB.
    pub fn seal(&self, number: u64, about: &[u8], bytes: &mut [u8]) -> io::Result<[u8; TAG_BYTES]> {
        let tag = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(about), bytes).map_err(|_| broken())?;
        tag.as_ref().try_into().map_err(|_| broken())
    }

    /// Decrypts in place what ends with its tag; none where anything of it was changed.
    pub fn open<'b>(&self, number: u64, about: &[u8], sealed: &'b mut [u8]) -> Option<&'b [u8]> {
        self.0.open_in_place(nonce(number), Aad::from(about), sealed).ok().map(|bytes| &*bytes)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Seal")
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    if let Some(place) = nonce.last_chunk_mut() {
        *place = number.to_be_bytes();
    }
    Nonce::assume_unique_for_key(nonce)
}

/// The keys of a log.
pub struct Keys {
    /// Signs checkpoints.
    pub signer: NoteSigner,
    /// Wraps the keys of values and journals.
    pub values: Arc<WrappingKey>,
}

impl Keys {
    /// Takes up the keys in `folder`; makes them where there are none yet, the signer under the name `origin`.
    ///
    /// # Errors
    /// When they cannot be read or made, are none, or others may read them.
    pub fn take_up(folder: &Path, origin: &str) -> Result<Self, KeyFailure> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|cause| KeyFailure::System(folder.to_owned(), cause))?;
        let path = folder.join(SIGNING_KEY);
        let signing = match read_private(&path)? {
            Some(text) => text,
            None => {
                let seed = fresh_key().map_err(|cause| KeyFailure::System(path.clone(), cause))?;
                let signer =
                    NoteSigner::new(origin, Kind::Signature, &seed).map_err(|_| KeyFailure::Origin(origin.into()))?;
                let kept = Zeroizing::new([&[1], seed.as_slice()].concat());
                let id = signer.verifier().to_string();
                let id = id.split('+').nth(1).unwrap_or_default().to_owned();
                create_private(&path, &format!("PRIVATE+KEY+{origin}+{id}+{}\n", STANDARD.encode(&*kept)))?
            }
        };
        let signer = parse_signer(&signing).ok_or(KeyFailure::NotAKey(path))?;
        let values = Arc::new(Self::values(folder)?);
        // Whoever made them may have ended before their names were on the disk, and nothing is signed with a key that can be lost.
        sync_names(folder).map_err(|cause| KeyFailure::System(folder.to_owned(), cause))?;
        Ok(Self { signer, values })
    }

    /// The key of the values alone, which reading needs; it is never made here.
    ///
    /// # Errors
    /// As [`Keys::take_up`].
    pub fn values_of(folder: &Path) -> Result<WrappingKey, KeyFailure> {
        let path = folder.join(VALUES_KEY);
        match read_private(&path)? {
            Some(text) => parse_wrapping(&text).ok_or(KeyFailure::NotAKey(path)),
            None => Err(KeyFailure::System(path, io::ErrorKind::NotFound.into())),
        }
    }

    fn values(folder: &Path) -> Result<WrappingKey, KeyFailure> {
        let path = folder.join(VALUES_KEY);
        let text = match read_private(&path)? {
            Some(text) => text,
            None => {
                let key = fresh_key().map_err(|cause| KeyFailure::System(path.clone(), cause))?;
                create_private(&path, &format!("{}\n", STANDARD.encode(*key)))?
            }
        };
        parse_wrapping(&text).ok_or(KeyFailure::NotAKey(path))
    }
}

/// Signs checkpoints, in the form that signed notes have in Go.
const SIGNING_KEY: &str = "log.key";

/// Wraps other keys, in base64.
const VALUES_KEY: &str = "values.key";

fn parse_wrapping(text: &str) -> Option<WrappingKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    Some(WrappingKey::new(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
}

fn parse_signer(text: &str) -> Option<NoteSigner> {
    let mut parts = text.trim().strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
    let (name, _id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(STANDARD.decode(key).ok()?);
    let (1, seed) = key.split_first()? else { return None };
    NoteSigner::new(name, Kind::Signature, seed.try_into().ok()?).ok()
}

fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFailure> {
    let system = |cause| KeyFailure::System(path.to_owned(), cause);
    let about = match fs::metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about.map_err(system)?,
    };
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFailure::Exposed(path.to_owned(), mode));
    }
    Ok(Some(Zeroizing::new(fs::read_to_string(path).map_err(system)?)))
}

/// The names in a folder, its own, and that of the folder it lies in; what lies above need not be ours to open.
fn sync_names(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()?;
    let above = [folder.parent(), folder.parent().and_then(Path::parent)];
    for above in above.into_iter().flatten().filter(|above| !above.as_os_str().is_empty()) {
        match fs::File::open(above) {
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

/// Writes a key that does not exist yet, to the disk before it is used; whoever is interrupted leaves no half of one.
fn create_private(path: &Path, text: &str) -> Result<Zeroizing<String>, KeyFailure> {
    let write = || {
        let staged = path.with_extension("new");
        match fs::remove_file(&staged) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(|cause| KeyFailure::System(path.to_owned(), cause))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Why a key cannot be used.
#[derive(Debug)]
pub enum KeyFailure {
    /// The system refuses it.
    System(PathBuf, io::Error),
    /// The file holds none.
    NotAKey(PathBuf),
    /// Others may read it: its mode.
    Exposed(PathBuf, u32),
    /// No log can have this name.
    Origin(String),
}

impl fmt::Display for KeyFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(path, cause) => write!(out, "`{}`: {cause}", path.display()),
            Self::NotAKey(path) => write!(out, "`{}` holds no key", path.display()),
            Self::Exposed(path, mode) => {
                write!(out, "`{}` is a secret, and its mode {mode:04o} lets others at it", path.display())
            }
            Self::Origin(name) => write!(out, "`{name}` cannot name a log: it must be without spaces and `+`"),
        }
    }
}

impl std::error::Error for KeyFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = Keys::take_up(&path, "edge-1/audit").unwrap().signer.verifier().to_string();
        assert_eq!(Keys::take_up(&path, "other").unwrap().signer.verifier().to_string(), first);
        fs::set_permissions(path.join(VALUES_KEY), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Keys::take_up(&path, "x").err().unwrap().to_string().contains("mode 0640 lets others at it"));
        fs::set_permissions(path.join(VALUES_KEY), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path.join(SIGNING_KEY), "PRIVATE+KEY+a+b").unwrap();
        assert!(Keys::take_up(&path, "x").err().unwrap().to_string().ends_with("log.key` holds no key"));
    }

    #[test]
    fn what_was_changed_or_whose_key_is_gone_does_not_open() {
        let wrapping = WrappingKey::new(fresh_key().unwrap());
        let key = fresh_key().unwrap();
        let wrapped = wrapping.wrap(&key).unwrap();
        assert_eq!(wrapping.open(&wrapped), Some(key.clone()));
        assert_eq!(wrapping.open(&[0; 40]), None);
        assert_eq!(WrappingKey::new(fresh_key().unwrap()).open(&wrapped), None);
        let made = wrapping.of_origin(&[7; 32]).unwrap();
        assert_eq!(wrapping.of_origin(&[7; 32]).unwrap(), made);
        assert_ne!(wrapping.of_origin(&[8; 32]).unwrap(), made);
        assert_ne!(WrappingKey::new(fresh_key().unwrap()).of_origin(&[7; 32]).unwrap(), made);
        let seal = Seal::new(&key).unwrap();
        let mut bytes = b"values".to_vec();
        let tag = seal.seal(7, b"about", &mut bytes).unwrap();
        bytes.extend(tag);
        assert_eq!(seal.open(7, b"about", &mut bytes.clone()), Some(&b"values"[..]));
        assert_eq!(seal.open(8, b"about", &mut bytes.clone()), None);
        assert_eq!(seal.open(7, b"other", &mut bytes.clone()), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(7, b"about", &mut changed), None);
        }
    }
}
