//! Makes and reads keys that sign tokens to try things out with. In: a name, or the text of a key file. Out: PEM and JWK texts, signatures. Never
//! here: files, keys that guard anything.

use crate::cli::Failure;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A fresh key, as files hold it.
pub struct Made {
    /// PKCS #8 in PEM (RFC 8410).
    pub private: String,
    /// The public half as a JWK set (RFC 8037).
    pub public: String,
}

/// A private key that signs tokens.
pub struct Signer {
    pair: Pair,
    /// The `kid` that its own file gives it; a PEM file gives none.
    pub id: Option<String>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// What stands before the seed of an Ed25519 key in the first version of PKCS #8 (RFC 8410 §7). The second version, which holds the public
/// half too, is one that many tools do not read.
pub const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Makes an Ed25519 key that key sets know as `id`.
///
/// # Errors
/// Where the system gives no randomness.
pub fn make(id: &str) -> Result<Made, Failure> {
    let broken = |_| Failure::new("no key could be made", "the system's source of randomness is broken");
    let mut seed = [0; 32];
    rand::fill(&mut seed).map_err(broken)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| broken(aws_lc_rs::error::Unspecified))?;
    let encoded = STANDARD.encode([PKCS8_HEAD.as_slice(), seed.as_slice()].concat());
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let private = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let mut public = Signer { pair: Pair::Ed25519(pair), id: None }.public();
    if let Some(members) = public.as_object_mut() {
        members.insert("use".into(), json!("sig"));
        members.insert("alg".into(), json!("EdDSA"));
        members.insert("kid".into(), json!(id));
    }
    Ok(Made { private, public: format!("{:#}\n", json!({"keys": [public]})) })
}

impl Signer {
    /// Reads a private key: PEM (PKCS #8 or SEC 1), or one JWK (RFC 7517). Ed25519 and P-256 are read.
    ///
    /// # Errors
    /// Cause and cure; `file` is how the operator names it.
    pub fn read(text: &str, file: &str) -> Result<Self, Failure> {
        let pair = if text.trim_start().starts_with('{') { jwk(text) } else { pem(text).map(|pair| (pair, None)) };
        let (pair, id) = pair.map_err(|why| {
            Failure::new(
                format!("`{file}` holds no key that signs tokens: {why}"),
                "`portcullis token key --out FOLDER` makes one; PEM and JWK of Ed25519 and P-256 are read",
            )
        })?;
        Ok(Self { pair, id })
    }

    /// `alg` of what it signs (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        }
    }

    /// Its public half as a JWK, the members that are the key and no others.
    pub fn public(&self) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())}),
            Pair::P256(pair) => {
                // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)})
            }
        }
    }

    /// Whether `jwk` is its public half.
    pub fn is(&self, jwk: &Value) -> bool {
        let own = self.public();
        own.as_object().is_some_and(|own| own.iter().all(|(name, value)| jwk.get(name) == Some(value)))
    }

    /// A token in compact form (RFC 7515 §3.1); none where the library gives no signature.
    pub fn token(&self, header: &Value, claims: &Value) -> Option<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?.as_ref().to_vec(),
        };
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn pem(text: &str) -> Result<Pair, &'static str> {
    const OTHER: &str = "it is no Ed25519 and no P-256 key";
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "it is no private key in PEM and no JWK")?;
    let p256 = |pair: Result<EcdsaKeyPair, _>| pair.map(Pair::P256).map_err(|_| OTHER);
    match &key {
        PrivateKeyDer::Pkcs8(der) => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()) {
            Ok(pair) => Ok(Pair::Ed25519(pair)),
            Err(_) => p256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())),
        },
        PrivateKeyDer::Sec1(der) => {
            p256(EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der()))
        }
        _ => Err(OTHER),
    }
}

fn jwk(text: &str) -> Result<(Pair, Option<String>), &'static str> {
    let jwk: Value = serde_json::from_str(text).map_err(|_| "it is no JSON")?;
    if jwk.get("keys").is_some() {
        return Err("it is a key set, and one key is needed");
    }
    let bytes = |name: &str| {
        let member = jwk.get(name).and_then(Value::as_str);
        member
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or("a member of the key is missing or no base64url")
    };
    if jwk.get("d").is_none() {
        return Err("it holds the public half alone");
    }
    let pair = match (jwk.get("kty").and_then(Value::as_str), jwk.get("crv").and_then(Value::as_str)) {
        (Some("OKP"), Some("Ed25519")) => {
            let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?);
            Pair::Ed25519(pair.map_err(|_| "its public half belongs to another key")?)
        }
        (Some("EC"), Some("P-256")) => {
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &bytes("d")?, &point);
            Pair::P256(pair.map_err(|_| "its public half belongs to another key")?)
        }
        (_, _) => return Err("it is no Ed25519 and no P-256 key"),
    };
    Ok((pair, jwk.get("kid").and_then(Value::as_str).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_private_key_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "it is no private key in PEM and no JWK"),
            ("hello", "it is no private key in PEM and no JWK"),
            ("{", "it is no JSON"),
            (r#"{"keys":[]}"#, "it is a key set, and one key is needed"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, "it holds the public half alone"),
            (r#"{"kty":"RSA","d":"AA"}"#, "it is no Ed25519 and no P-256 key"),
            (r#"{"kty":"OKP","crv":"Ed25519","d":"A A"}"#, "a member of the key is missing or no base64url"),
            (r#"{"kty":"OKP","crv":"Ed25519","d":"AA","x":"AA"}"#, "its public half belongs to another key"),
        ] {
            let failure = Signer::read(text, "k").err().unwrap();
            assert_eq!(failure.message, format!("`k` holds no key that signs tokens: {why}"), "{text}");
        }
    }

    #[test]
    fn a_key_that_was_made_is_read_again_as_the_same() {
        let made = make("try-1").unwrap_or_else(|failure| panic!("{failure:?}"));
        let set: Value = serde_json::from_str(&made.public).unwrap();
        let signer = Signer::read(&made.private, "k").ok().unwrap();
        assert!(signer.is(&set["keys"][0]) && set["keys"][0]["kid"] == json!("try-1"));
        let other = make("try-1").ok().unwrap();
        assert!(!Signer::read(&other.private, "k").ok().unwrap().is(&set["keys"][0]));
        // The same key as a JWK, as other tools write it.
        let der: rustls_pki_types::PrivatePkcs8KeyDer<'_> = PemObject::from_pem_slice(made.private.as_bytes()).unwrap();
        let seed = der.secret_pkcs8_der().strip_prefix(&PKCS8_HEAD[..]).unwrap();
        let mut jwk = signer.public();
        jwk["d"] = json!(URL_SAFE_NO_PAD.encode(seed));
        jwk["kid"] = json!("k-1");
        let again = Signer::read(&jwk.to_string(), "k").ok().unwrap();
        assert_eq!((again.id.as_deref(), again.public()), (Some("k-1"), signer.public()));
    }
}
