//! TLS toward upstreams: a call, and the credential with it, goes only to whom the configuration trusts.

use portcullis_tests::front;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::secrets::{ClientCertificate, authorities, odd_authority};
use portcullis_tests::setup::{OPEN, Setup, put};
use portcullis_tests::upstream::Upstream;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::json;
use xtask::keys::Certified;

const SECRET: &str = "sk-lent-to-the-true-server-only";

/// A gateway that trusts `ca` for `https://host:…`, where `certificate` is shown before `upstream`.
fn gateway(upstream: &Upstream, host: &str, ca: Option<&str>, certificate: &Certified) -> Gateway {
    let port = front::tls(upstream.address(), certificate).port();
    at(&format!("https://{host}:{port}/mcp"), ca)
}

fn at(url: &str, ca: Option<&str>) -> Gateway {
    let folder = tempfile::tempdir().unwrap().keep();
    let file = folder.join("servers-ca.pem");
    let mut extra = "credential = { header = \"authorization\", value = \"Bearer {secret:crm}\" }".to_owned();
    if let Some(ca) = ca {
        put(&folder, "servers-ca.pem", ca);
        extra = format!("{extra}\nca = \"{}\"", file.display());
    }
    let setup = Setup::new().server_at("crm", url, &extra).catalogue("crm", &mcp::tools()).policy(OPEN);
    setup.secret("crm", SECRET).start()
}

fn named(host: &str) -> Certified {
    authorities().ours.server(&[host]).unwrap()
}

fn odd(usage: ExtendedKeyUsagePurpose, years: (i32, i32)) -> Certified {
    let names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    ClientCertificate { names, usage, years, common_name: "localhost" }.sign()
}

#[test]
fn a_server_that_cannot_prove_itself_gets_no_call_and_no_credential() {
    let (ours, odd_ca) = (authorities().ours.pem(), odd_authority().pem());
    let foreign = authorities().foreign.server(&["localhost"]).unwrap();
    let nameless = ClientCertificate {
        names: Vec::new(),
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        years: (2020, 2090),
        common_name: "localhost",
    };
    let rows = [
        ("another authority's", "localhost", Some(&ours), foreign),
        ("another name's", "localhost", Some(&ours), named("elsewhere.test")),
        ("another address's", "127.0.0.1", Some(&ours), named("127.0.0.2")),
        ("a name's, where an address is asked for", "127.0.0.1", Some(&ours), named("localhost")),
        ("expired", "localhost", Some(&odd_ca), odd(ExtendedKeyUsagePurpose::ServerAuth, (2020, 2021))),
        ("of the future", "localhost", Some(&odd_ca), odd(ExtendedKeyUsagePurpose::ServerAuth, (2080, 2090))),
        ("a client's", "localhost", Some(&odd_ca), odd(ExtendedKeyUsagePurpose::ClientAuth, (2020, 2090))),
        ("named by its CN alone", "localhost", Some(&odd_ca), nameless.sign()),
        ("ours, where the host's own authorities count", "localhost", None, named("localhost")),
    ];
    for (what, host, ca, certificate) in rows {
        let upstream = Upstream::kind();
        let gateway = gateway(&upstream, host, ca.map(String::as_str), &certificate);
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({})));
        assert_eq!((answer.status(), answer.code()), (502, -33502), "a certificate that is {what}: {}", answer.text());
        gateway.refusal("upstream_untrusted");
        assert_eq!(upstream.requests().len(), 0, "{what}");
        assert!(!gateway.log().contains(SECRET), "{what}");
    }
}

#[test]
fn a_server_that_speaks_no_tls_where_tls_is_configured_gets_no_call() {
    let upstream = Upstream::kind();
    let url = format!("https://localhost:{}/mcp", upstream.address().port());
    let gateway = at(&url, Some(&authorities().ours.pem()));
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({})));
    assert_eq!((answer.status(), answer.code()), (502, -33502), "{}", answer.text());
    gateway.refusal("upstream_untrusted");
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_server_that_proves_itself_is_served_over_one_kept_connection() {
    for host in ["localhost", "127.0.0.1"] {
        let upstream = Upstream::kind();
        let gateway = gateway(&upstream, host, Some(&authorities().ours.pem()), &named(host));
        let mut client = gateway.connect();
        for _ in 0..5 {
            let answer = client.exchange(&gateway.call("reader", "loose", json!({"note": "x".repeat(40_000)})));
            assert!(answer.is_result(), "{host}: {}", answer.text());
        }
        let calls = upstream.of_method("tools/call");
        assert_eq!(calls.len(), 5, "{host}");
        for call in calls {
            assert_eq!(call.head.field("authorization"), Some(format!("Bearer {SECRET}").as_str()), "{host}");
        }
        assert_eq!(gateway.metric("portcullis_upstream_connects_total"), 1.0, "{host}");
    }
}
