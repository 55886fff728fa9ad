//! Makes certificates, keys and tokens for demo, tests and bench. In: names and claims. Out: PEM, JSON Web Keys, signed tokens.
//! Never here: keys that guard anything; each run makes its own and none is kept.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use serde::Serialize;
use serde_json::{Value, json};

/// A certificate authority of one run.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate alone; its authority is [`Ca::pem`].
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl Ca {
    /// A new authority with a P-256 key; `name` is its common name.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key)? })
    }

    /// The authority's own certificate, PEM: what the other side trusts.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server known by `names`, DNS names or IP addresses.
    ///
    /// # Errors
    /// When a name is no DNS name.
    pub fn server(&self, names: &[&str]) -> Result<Certified> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.certify(CertificateParams::new(names)?, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client known by a SPIFFE id, such as `spiffe://example.org/agent/reader`.
    ///
    /// # Errors
    /// When the id is not ASCII.
    pub fn client(&self, spiffe: &str) -> Result<Certified> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(spiffe.try_into()?));
        self.certify(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn certify(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Certified> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Signs tokens as an identity provider would.
pub struct TokenSigner {
    algorithm: Algorithm,
    key: EncodingKey,
    key_id: String,
    jwk: Value,
}

impl TokenSigner {
    /// A new Ed25519 key (RFC 8037).
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_eddsa() -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ED25519)?;
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key_raw()) });
        Ok(Self::new(
            Algorithm::EdDSA,
            "EdDSA",
            EncodingKey::from_ed_der(pair.serialized_der()),
            public,
            pair.public_key_raw(),
        ))
    }

    /// A new P-256 key (RFC 7518 §3.4).
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_es256() -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
        let (x, y) = pair
            .public_key_raw()
            .split_first()
            .and_then(|(_, point)| point.split_at_checked(32))
            .context("a P-256 point is shorter than 65 bytes")?;
        let public = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        Ok(Self::new(Algorithm::ES256, "ES256", EncodingKey::from_ec_der(pair.serialized_der()), public, x))
    }

    /// A new RSA key of 2048 bits (RFC 7518 §3.3).
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_rs256() -> Result<Self> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let (modulus, exponent) = rsa_public(pair.public_key_raw()).context("the RSA public key is no RSAPublicKey")?;
        let private = pkcs1(pair.serialized_der()).context("the RSA private key is no PKCS #8")?;
        let public = json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) });
        Ok(Self::new(Algorithm::RS256, "RS256", EncodingKey::from_rsa_der(private), public, modulus))
    }

    fn new(algorithm: Algorithm, name: &str, key: EncodingKey, mut jwk: Value, public: &[u8]) -> Self {
        // The key is fresh, so the front of its public half names it well enough.
        let key_id = encode(public.get(..12).unwrap_or(public));
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(key_id));
            members.insert("alg".to_owned(), json!(name));
            members.insert("use".to_owned(), json!("sig"));
        }
        Self { algorithm, key, key_id, jwk }
    }

    /// The `kid` of this key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half as a JSON Web Key.
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// The public half as a key set of one (RFC 7517 §5); [`jwks_json`] makes larger ones.
    pub fn jwks_json(&self) -> String {
        jwks_json(&[self])
    }

    /// An access token with these claims, `typ` `at+jwt` (RFC 9068 §2.1).
    ///
    /// # Errors
    /// When the claims are no JSON object.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String> {
        self.sign_typed("at+jwt", claims)
    }

    /// The same with another `typ`.
    ///
    /// # Errors
    /// When the claims are no JSON object.
    pub fn sign_typed(&self, token_type: &str, claims: &impl Serialize) -> Result<String> {
        self.signed(Some(token_type), claims)
    }

    /// The same without any `typ`, as Okta writes them.
    ///
    /// # Errors
    /// When the claims are no JSON object.
    pub fn sign_untyped(&self, claims: &impl Serialize) -> Result<String> {
        self.signed(None, claims)
    }

    fn signed(&self, token_type: Option<&str>, claims: &impl Serialize) -> Result<String> {
        let mut header = Header::new(self.algorithm);
        header.typ = token_type.map(str::to_owned);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).context("the token cannot be signed")
    }
}

/// A JSON Web Key Set of these signers' public halves.
pub fn jwks_json(signers: &[&TokenSigner]) -> String {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({ "keys": keys }).to_string()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The content of the first DER element and what follows it; lengths of up to four bytes.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // 0x80, the indefinite length, is no DER.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// RSAPrivateKey out of PKCS #8 (RFC 5958 §2): version, algorithm, and the key in an octet string.
fn pkcs1(pkcs8: &[u8]) -> Option<&[u8]> {
    let (whole, _) = element(pkcs8)?;
    let (_version, rest) = element(whole)?;
    let (_algorithm, rest) = element(rest)?;
    Some(element(rest)?.0)
}

/// Modulus and exponent out of RSAPublicKey (RFC 8017 §A.1.1), without the zero that keeps a DER integer positive.
fn rsa_public(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, _) = element(der)?;
    let (modulus, rest) = element(whole)?;
    let (exponent, _) = element(rest)?;
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent.strip_prefix(&[0]).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    /// The claims of `token` as a verifier reads them that holds `keys` and takes `algorithm` only.
    fn verify(keys: &str, algorithm: Algorithm, token: &str) -> Option<BTreeMap<String, Value>> {
        let set: JwkSet = serde_json::from_str(keys).unwrap();
        let kid = jsonwebtoken::decode_header(token).unwrap().kid?;
        let key = DecodingKey::from_jwk(set.find(&kid)?).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["https://edge.example/mcp/crm"]);
        Some(jsonwebtoken::decode(token, &key, &validation).ok()?.claims)
    }

    fn claims() -> Value {
        json!({ "aud": "https://edge.example/mcp/crm", "exp": 4_000_000_000_u64, "client_id": "reader" })
    }

    #[test]
    fn a_token_of_another_key_does_not_verify() {
        let (mine, other) = (TokenSigner::new_eddsa().unwrap(), TokenSigner::new_eddsa().unwrap());
        let token = other.sign(&claims()).unwrap();
        assert_eq!(verify(&mine.jwks_json(), Algorithm::EdDSA, &token), None);
    }

    #[test]
    fn a_token_of_every_algorithm_verifies_against_the_published_keys() {
        let rows = [
            (Algorithm::EdDSA, TokenSigner::new_eddsa().unwrap()),
            (Algorithm::ES256, TokenSigner::new_es256().unwrap()),
            (Algorithm::RS256, TokenSigner::new_rs256().unwrap()),
        ];
        let keys = jwks_json(&rows.each_ref().map(|(_, signer)| signer));
        for (algorithm, signer) in &rows {
            let token = signer.sign(&claims()).unwrap();
            let read = verify(&keys, *algorithm, &token).unwrap();
            assert_eq!(read.get("client_id"), Some(&json!("reader")), "a token signed with {algorithm:?}");
            assert_eq!(jsonwebtoken::decode_header(&token).unwrap().typ.as_deref(), Some("at+jwt"));
        }
    }

    #[test]
    fn certificates_carry_the_names_they_were_asked_for() {
        let ca = Ca::new("agents of a test").unwrap();
        let der = |pem: &str| {
            let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
            base64::engine::general_purpose::STANDARD.decode(text).unwrap()
        };
        let holds = |certified: &Certified, name: &[u8]| {
            der(&certified.certificate).windows(name.len()).any(|part| part == name)
        };
        assert!(holds(&ca.client("spiffe://example.org/agent/reader").unwrap(), b"spiffe://example.org/agent/reader"));
        assert!(holds(&ca.server(&["edge.example", "127.0.0.1"]).unwrap(), b"edge.example"));
        assert!(ca.pem().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(ca.client("spiffe://example.org/ä").is_err(), "a name that is not ASCII is refused");
    }
}
