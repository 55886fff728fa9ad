//! Reads the keys an issuer signs with. In: the text of a JWK set (RFC 7517). Out: prepared keys, each bound to one algorithm. Never here: fetching.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::strict::{self, Json, Members, StrictError, member};
use crate::limits::KEY_ID_BYTES_MAX;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

/// A signature algorithm we verify. Symmetric ones and `none` are not in it, so no configuration can allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: `EdDSA` (RFC 8037), also spelt `Ed25519` (RFC 9864).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
}

impl Algorithm {
    /// The algorithm of this `alg` value; the comparison is exact, for `nONE` is a known attack.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    /// The `alg` value as configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

/// One verification key, bound to the one algorithm it may be used with.
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    prepared: DecodingKey,
}

impl Key {
    /// The algorithm this key verifies, whatever a token's header says.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` over `message` is this key's.
    pub(crate) fn signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        // The provider is named here, so that a second backend switched on elsewhere in the build cannot make the choice fail.
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.jose(), &self.prepared)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

/// Why a set has no key for a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMiss {
    /// No key has this `kid`.
    Unknown,
    /// The header names no `kid`, and not exactly one key fits its algorithm.
    Unnamed,
    /// The key of this `kid` is bound to another algorithm.
    Algorithm,
}

/// The keys of one issuer.
pub struct KeySet {
    keys: Vec<Key>,
    generation: [u8; 32],
    warnings: Diagnostics,
}

/// Bytes of a key set's text; 64 RSA-4096 keys with certificate chains stay below.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// Keys in one set: issuers publish 2 to 6.
pub const KEYS_MAX: usize = 64;

impl KeySet {
    /// Reads a JWK set. `file` is the name the operator knows it by. Keys of kinds we do not use are skipped with a warning;
    /// a private or symmetric key, a repeated `kid` or a malformed key refuses the whole set.
    pub fn parse(json: &str, file: &str) -> Result<Self, Diagnostics> {
        let whole = |message: String| vec![Diagnostic::error(file, None, message)];
        if json.len() > KEY_SET_BYTES_MAX {
            return Err(whole(format!("key set of {} bytes; at most {KEY_SET_BYTES_MAX} are read", json.len())));
        }
        let members = strict::object(json.as_bytes()).map_err(|fault| vec![syntax(fault, file)])?;
        let Some(Json::List(list)) = member(&members, "keys") else {
            return Err(whole("not a JWK set: no list `keys`".into()));
        };
        if list.len() > KEYS_MAX {
            return Err(whole(format!("key set of {} keys; at most {KEYS_MAX} are read", list.len())));
        }
        let mut set =
            Self { keys: Vec::new(), generation: *blake3::hash(json.as_bytes()).as_bytes(), warnings: Vec::new() };
        let mut errors = Diagnostics::new();
        let mut named: Vec<&str> = Vec::new();
        for (index, json) in list.iter().enumerate() {
            let label = format!("key {}", index + 1);
            match read_key(json, &mut named) {
                Ok(key) => set.keys.push(key),
                Err(Fault::Skip(why)) => {
                    set.warnings.push(Diagnostic::warning(file, None, format!("{label} is skipped: {why}")));
                }
                Err(Fault::Refuse(why, cure)) => {
                    errors.push(Diagnostic::error(file, None, format!("{label}: {why}")).help(cure));
                }
            }
        }
        if errors.is_empty() && set.keys.is_empty() {
            errors.push(
                Diagnostic::error(file, None, "key set has no key that can verify a token")
                    .help("keys of kind Ed25519, P-256 or RSA of 2048 bits and more are used"),
            );
        }
        if errors.is_empty() { Ok(set) } else { Err(errors) }
    }

    /// What was skipped, for the operator.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The digest of the text the set was read from: two sets of one generation hold the same keys.
    pub fn generation(&self) -> &[u8; 32] {
        &self.generation
    }

    /// The keys, in their order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key a header asks for. The `kid` is compared as opaque text; the algorithm must be the one the key is bound to.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, KeyMiss> {
        let Some(id) = id else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (None, _) | (Some(_), Some(_)) => Err(KeyMiss::Unnamed),
            };
        };
        let key = self.keys.iter().find(|key| key.id.as_deref() == Some(id)).ok_or(KeyMiss::Unknown)?;
        if key.algorithm == algorithm { Ok(key) } else { Err(KeyMiss::Algorithm) }
    }
}

/// What becomes of a key that is not used.
enum Fault {
    Skip(String),
    Refuse(String, &'static str),
}

fn syntax(fault: StrictError, file: &str) -> Diagnostic {
    match fault {
        StrictError::Syntax { line } => Diagnostic::error(
            file,
            u32::try_from(line).ok().filter(|line| *line > 0),
            "not the JSON object of a JWK set",
        ),
        StrictError::Duplicate => Diagnostic::error(file, None, "an object names a member twice"),
        StrictError::TooDeep => Diagnostic::error(file, None, "nested deeper than a JWK set is"),
        StrictError::TooWide => Diagnostic::error(file, None, "an object has more members than a key has"),
    }
}

/// Members that only a private key has (RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

fn read_key<'j>(json: &'j Json, named: &mut Vec<&'j str>) -> Result<Key, Fault> {
    let Json::Object(members) = json else { return Err(refuse("not an object", "a key is a JSON object")) };
    let id = text(members, "kid")?;
    if let Some(id) = id {
        if id.len() > KEY_ID_BYTES_MAX {
            return Err(refuse("its `kid` is longer than 128 bytes", "ask the issuer for shorter key ids"));
        }
        if named.contains(&id) {
            // RFC 7517 §4.5: "different keys within the JWK Set SHOULD use distinct "kid" values"; which of two is meant would be a guess.
            return Err(Fault::Refuse(format!("`kid` `{id}` is used twice"), "keep one key of each `kid`"));
        }
        named.push(id);
    }
    let kind = text(members, "kty")?.ok_or_else(|| refuse("no `kty`", "every key names its kind (RFC 7517 §4.1)"))?;
    if kind == "oct" || member(members, "k").is_some() {
        return Err(refuse(
            "a symmetric key",
            "whoever verifies with it could also sign; use the issuer's public keys",
        ));
    }
    if PRIVATE_MEMBERS.iter().any(|name| member(members, name).is_some()) {
        return Err(refuse(
            "holds a private key",
            "publish only the public part, and replace the key: whoever read this file could sign tokens",
        ));
    }
    let curve = text(members, "crv")?;
    let algorithm = match (kind, curve) {
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("RSA", _) => Algorithm::Rs256,
        (kind, Some(curve)) => return Err(Fault::Skip(format!("kind `{kind}` with curve `{curve}` is not used"))),
        (kind, None) => return Err(Fault::Skip(format!("kind `{kind}` is not used"))),
    };
    check_purpose(members, algorithm)?;
    let prepared = match algorithm {
        Algorithm::EdDsa => read_ed25519(members)?,
        Algorithm::Es256 => read_p256(members)?,
        Algorithm::Rs256 => read_rsa(members)?,
    };
    Ok(Key { id: id.map(Into::into), algorithm, prepared })
}

/// `use`, `key_ops` and `alg` (RFC 7517 §4.2–4.4) must allow verifying with this very algorithm.
fn check_purpose(members: &Members, algorithm: Algorithm) -> Result<(), Fault> {
    if let Some(purpose) = text(members, "use")?.filter(|purpose| *purpose != "sig") {
        return Err(Fault::Skip(format!("its `use` is `{purpose}`")));
    }
    match member(members, "key_ops") {
        None => {}
        Some(Json::List(deeds)) if deeds.contains(&Json::Text("verify".into())) => {}
        Some(Json::List(_)) => return Err(Fault::Skip("its `key_ops` lacks `verify`".into())),
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::Text(_) | Json::Object(_)) => {
            return Err(refuse("`key_ops` is not a list", "see RFC 7517 §4.3"));
        }
    }
    match text(members, "alg")? {
        Some(name) if Algorithm::parse(name) != Some(algorithm) => {
            Err(Fault::Skip(format!("its `alg` `{name}` is not used")))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_ed25519(members: &Members) -> Result<DecodingKey, Fault> {
    let x = bytes(members, "x")?;
    if x.len() != 32 || UnparsedPublicKey::new(&ED25519, &x).parse().is_err() {
        return Err(refuse("`x` is not an Ed25519 public key", "it is 32 bytes in base64url"));
    }
    Ok(DecodingKey::from_ed_der(&x))
}

fn read_p256(members: &Members) -> Result<DecodingKey, Fault> {
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    // A point off the curve lets an attacker choose its group, so it is refused at load and not at the first token.
    if x.len() != 32 || y.len() != 32 || UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).parse().is_err() {
        return Err(refuse("`x` and `y` are not a point on P-256", "each is 32 bytes in base64url"));
    }
    Ok(DecodingKey::from_ec_der(&point))
}

fn read_rsa(members: &Members) -> Result<DecodingKey, Fault> {
    let (n, e) = (magnitude(bytes(members, "n")?), magnitude(bytes(members, "e")?));
    let top = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = (n.len() * 8).saturating_sub(top);
    if !(2048..=8192).contains(&bits) {
        return Err(Fault::Refuse(format!("an RSA key of {bits} bits"), "RSA keys of 2048 to 8192 bits are used"));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let parsed = RsaPublicKeyComponents { n: &n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
    // An exponent of 1 makes every message its own signature; wider than 33 bits no library verifies.
    if !odd(&n) || !odd(&e) || e.as_slice() == [1] || e.len() > 5 || parsed.is_err() {
        return Err(refuse("`n` and `e` are not an RSA public key", "`n` is odd, `e` is odd and from 3 to 2^33"));
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn refuse(why: &str, cure: &'static str) -> Fault {
    Fault::Refuse(why.into(), cure)
}

fn text<'j>(members: &'j Members, name: &'static str) -> Result<Option<&'j str>, Fault> {
    match member(members, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::List(_) | Json::Object(_)) => {
            Err(Fault::Refuse(format!("`{name}` is not a string"), "see RFC 7517 §4"))
        }
    }
}

fn bytes(members: &Members, name: &'static str) -> Result<Vec<u8>, Fault> {
    let text = text(members, name)?.ok_or_else(|| Fault::Refuse(format!("no `{name}`"), "see RFC 7518 §6"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Refuse(format!("`{name}` is not base64url"), "see RFC 7518 §2"))
}

/// A big-endian number without the leading zeros some issuers write (RFC 7518 §2, Base64urlUInt).
fn magnitude(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests;
