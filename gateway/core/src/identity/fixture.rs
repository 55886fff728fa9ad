//! Makes real keys, tokens and certificates for tests. In: header and claims as text. Out: signed tokens. Never here: product code.

use crate::identity::certificate::CertificateNames;
use crate::identity::issuer::{Audience, Issuer, Issuers};
use crate::identity::keys::{Algorithm, KeySet};
use crate::identity::registry::Registry;
use crate::time::UnixMillis;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::OnceLock;
use std::time::Duration;

pub const NOW_SECONDS: i64 = 1_800_000_000;
pub const NOW: UnixMillis = UnixMillis(NOW_SECONDS * 1000);
pub const RESOURCE: &str = "https://gw.example/mcp/crm";
/// 2030-01-01T00:00:00Z.
pub const CERTIFICATE_END: UnixMillis = UnixMillis(1_893_456_000_000);

pub enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn ed25519() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub fn p256() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// The members of its JWK without the braces.
    pub fn jwk(&self) -> String {
        match self {
            Self::Ed(pair) => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, b64(pair.public_key())),
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                format!(r#""kty":"EC","crv":"P-256","x":"{}","y":"{}""#, b64(&point[1..33]), b64(&point[33..]))
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{}","e":"{}""#, b64(n), b64(e))
            }
        }
    }

    pub fn sign(&self, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
        }
    }

    pub fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.sign(&signed));
        format!("{signed}.{signature}")
    }
}

/// The keys `ed`, `ec` and `rsa` of the issuer `okta`.
pub fn signers() -> &'static [(&'static str, Signer); 3] {
    static SIGNERS: OnceLock<[(&str, Signer); 3]> = OnceLock::new();
    SIGNERS.get_or_init(|| [("ed", Signer::ed25519()), ("ec", Signer::p256()), ("rsa", Signer::rsa())])
}

pub fn jwks() -> String {
    let keys: Vec<String> = signers().iter().map(|(id, key)| format!(r#"{{"kid":"{id}",{}}}"#, key.jwk())).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

pub fn issuer() -> Issuer {
    Issuer {
        name: "okta".into(),
        issuer: "https://idp.example".into(),
        keys: KeySet::parse(&jwks(), "okta.jwks.json").unwrap(),
        algorithms: vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256],
        audience: Audience::RouteResource,
        agent_claims: vec!["client_id".into(), "azp".into(), "sub".into()],
        user_claim: Some("user".into()),
        account_claim: Some("account".into()),
        token_types: vec!["at+jwt".into()],
        clock_skew: Duration::from_secs(30),
    }
}

pub fn issuers() -> Issuers {
    Issuers::new(vec![issuer()]).unwrap()
}

pub const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#;

/// Valid claims, some of them changed: the JSON text to put there, or nothing to leave the claim out.
pub fn claims(changes: &[(&str, &str)]) -> String {
    let mut members: Vec<(&str, String)> = vec![
        ("iss", r#""https://idp.example""#.into()),
        ("aud", format!("\"{RESOURCE}\"")),
        ("sub", r#""user-1""#.into()),
        ("client_id", r#""client-1""#.into()),
        ("iat", (NOW_SECONDS - 10).to_string()),
        ("exp", (NOW_SECONDS + 300).to_string()),
    ];
    for (name, json) in changes {
        members.retain(|(known, _)| known != name);
        if !json.is_empty() {
            members.push((name, (*json).into()));
        }
    }
    let members: Vec<String> = members.into_iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

/// A valid token with changed claims.
pub fn token(changes: &[(&str, &str)]) -> String {
    signers()[0].1.token(HEADER, &claims(changes))
}

pub fn registry(toml: &str) -> Registry {
    Registry::parse(toml, "agents.toml").unwrap_or_else(|findings| panic!("{findings:?}"))
}

/// A certificate in DER with these alternative names: the tag of a GeneralName (RFC 5280 §4.2.1.6) and its bytes, legal or not.
pub fn certificate(names: &[(u8, &[u8])]) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "recon-17");
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    if !names.is_empty() {
        let list: Vec<u8> = names.iter().flat_map(|(tag, bytes)| der(0x80 | tag, bytes)).collect();
        let content = der(0x30, &list);
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
    }
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

pub fn certificate_of(spiffe: &str) -> CertificateNames {
    CertificateNames::from_der(&certificate(&[(6, spiffe.as_bytes())])).unwrap()
}

fn der(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(bytes.len()) {
        Ok(short @ 0..=127) => vec![short],
        Ok(byte) => vec![0x81, byte],
        Err(_) => [&[0x82], u16::try_from(bytes.len()).unwrap().to_be_bytes().as_slice()].concat(),
    };
    [&[tag], length.as_slice(), bytes].concat()
}
