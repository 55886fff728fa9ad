//! Makes what agents prove themselves with. In: claims, names. Out: tokens, certificates. Never here: anything that guards something real.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use serde_json::{Value, json};
use xtask::keys::{Ca, Certified, TokenSigner, jwks_json};

/// The issuer's name in the configuration and its `iss`.
pub const ISSUER: &str = "https://idp.test";

/// The keys of one run: RSA alone takes a second to make.
pub struct Keys {
    /// EdDSA, used where a test does not care.
    pub eddsa: TokenSigner,
    /// ES256.
    pub es256: TokenSigner,
    /// RS256.
    pub rs256: TokenSigner,
    /// In nobody's key set.
    pub foreign: TokenSigner,
}

/// The keys of this run.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        eddsa: TokenSigner::new_eddsa().expect("a key"),
        es256: TokenSigner::new_es256().expect("a key"),
        rs256: TokenSigner::new_rs256().expect("a key"),
        foreign: TokenSigner::new_eddsa().expect("a key"),
    })
}

/// The issuer's published key set.
pub fn key_set() -> String {
    let keys = keys();
    jwks_json(&[&keys.eddsa, &keys.es256, &keys.rs256])
}

/// The authority of agents' and gateways' certificates, and one that nobody trusts.
pub struct Authorities {
    /// Trusted by both sides.
    pub ours: Ca,
    /// Trusted by nobody.
    pub foreign: Ca,
    /// The gateway's own certificate.
    pub gateway: Certified,
}

/// The authorities of this run.
pub fn authorities() -> &'static Authorities {
    static AUTHORITIES: OnceLock<Authorities> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let ours = Ca::new("test authority").expect("an authority");
        let gateway = ours.server(&[GATEWAY_NAME]).expect("a certificate");
        Authorities { foreign: Ca::new("foreign authority").expect("an authority"), gateway, ours }
    })
}

/// The DNS name in the gateway's certificate.
pub const GATEWAY_NAME: &str = "gateway.test";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// The claims of a token that is good for `audience` for the next hour.
pub fn claims(agent: &str, audience: &str) -> Value {
    json!({"iss": ISSUER, "sub": agent, "client_id": agent, "aud": audience, "iat": now(), "exp": now() + 3600, "jti": format!("jti-of-{agent}")})
}

/// `claims` with some members replaced; null removes one.
pub fn changed(mut claims: Value, changes: Value) -> Value {
    let members = claims.as_object_mut().expect("claims are an object");
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// A client certificate that [`Ca::client`] does not make.
pub struct ClientCertificate<'c> {
    /// Its names.
    pub names: Vec<SanType>,
    /// What it is for; a client's is `ClientAuth`.
    pub usage: ExtendedKeyUsagePurpose,
    /// The years between which it holds.
    pub years: (i32, i32),
    /// Its common name, which nobody must believe.
    pub common_name: &'c str,
}

impl ClientCertificate<'_> {
    /// Signed by [`odd_authority`], which the gateway trusts as well.
    pub fn sign(self) -> Certified {
        let mut params = CertificateParams::default();
        params.subject_alt_names = self.names;
        params.not_before = date_time_ymd(self.years.0, 1, 1);
        params.not_after = date_time_ymd(self.years.1, 1, 1);
        params.distinguished_name.push(DnType::CommonName, self.common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params.signed_by(&key, odd_authority()).expect("a certificate");
        Certified { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A second trusted authority, which signs whatever a test asks for.
pub fn odd_authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static ODD: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    ODD.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "odd authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("an authority")
    })
}
