//! Tokens to try things out with, and tokens of providers that do not write `at+jwt`: what counts, and what is refused with a cure.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::gateway::{Gateway, binary};
use portcullis_tests::secrets::{changed, claims, keys};
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::Request;
use serde_json::{Value, json};

fn run(folder: &Path, words: &[&str]) -> Output {
    Command::new(binary()).args(words).current_dir(folder).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// It ends with 2, and says all of this.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(2), "{}", said(output));
    assert!(output.stdout.is_empty(), "a refusal prints nothing that could be taken for a token: {}", said(output));
    for part in parts {
        assert!(said(output).contains(part), "no `{part}` in {}", said(output));
    }
}

fn shown(gateway: &Gateway, token: &str) -> Request {
    gateway.call("reader", "loose", json!({})).set("Authorization", &format!("Bearer {token}"))
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// A gateway whose issuer signs with a key of `token key`.
fn with_own_key(setup: Setup) -> Gateway {
    let gateway = setup.start();
    let made = gateway.operate(&["token", "key", "--out", "keys", "--name", "idp"]);
    assert!(made.status.success(), "{}", said(&made));
    fs::copy(gateway.folder().join("keys/idp.jwks.json"), gateway.folder().join("idp.jwks.json")).unwrap();
    let applied = gateway.operate(&["policy", "apply"]);
    assert!(applied.status.success(), "{}", said(&applied));
    gateway
}

#[test]
fn a_minted_token_is_one_that_the_gateway_takes() {
    let upstream = Upstream::kind();
    let gateway = with_own_key(Setup::open(&upstream));
    let minted = gateway.operate(&["token", "mint", "--agent", "reader"]);
    assert!(minted.status.success(), "{}", said(&minted));
    let token = out(&minted);
    assert!(gateway.answer(&shown(&gateway, &token)).is_result());
    assert_eq!(gateway.record(|record| record["event"] == "decision")["agent"], json!("reader"));
    let (head, body) = (part(&token, 0), part(&token, 1));
    assert_eq!(head, json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "idp-1"}));
    assert_eq!((&body["aud"], &body["client_id"]), (&json!(gateway.resource("crm")), &json!("reader")));
    assert_eq!(body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(), 600);
    assert!(
        String::from_utf8_lossy(&minted.stderr).contains("for trying out: agent `reader` at http://"),
        "{}",
        said(&minted)
    );
    // It is another agent's where another is named, and says what it is asked to say.
    let json = gateway.operate(&["token", "mint", "--agent", "writer", "--for", "30s", "--claim", "level=3", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["claims"]["client_id"], &json["claims"]["level"]), (&json!("writer"), &json!(3)));
    assert!(gateway.answer(&shown(&gateway, json["token"].as_str().unwrap())).is_result());
    // For another audience it is refused there and nowhere else.
    let other = out(&gateway.operate(&["token", "mint", "--agent", "reader", "--audience", "https://elsewhere.test"]));
    assert_eq!(gateway.answer(&shown(&gateway, &other)).status(), 401);
    gateway.refusal("token_audience");
    gateway.operate(&["agent", "suspend", "reader"]);
    let note = gateway.operate(&["token", "mint", "--agent", "reader"]);
    assert!(note.status.success() && said(&note).contains("warning: agent `reader` is suspended"), "{}", said(&note));
}

#[test]
fn a_token_that_would_be_refused_is_not_minted() {
    let upstream = Upstream::kind();
    let setup = Setup::open(&upstream).server("pg", &upstream, "");
    let setup = setup.agent_table("spire", "certificates = [\"dns:spire.test\"]");
    let gateway = with_own_key(setup.agent_table("subject", "tokens = [{ issuer = \"idp\", sub = \"eve\" }]"));
    let mint = |words: &[&str]| gateway.operate(&[&["token", "mint"], words].concat());
    fs::write(gateway.folder().join("keys/public.jwk"), r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#).unwrap();
    fs::set_permissions(gateway.folder().join("keys/public.jwk"), fs::Permissions::from_mode(0o600)).unwrap();
    gateway.operate(&["token", "key", "--out", "keys", "--name", "other"]);
    gateway.operate(&["token", "key", "--out", "keys", "--name", "open"]);
    fs::set_permissions(gateway.folder().join("keys/open.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    for (words, parts) in [
        (&["--agent", "raeder", "--server", "crm"][..], &["no agent `raeder`", "did you mean `reader`?"][..]),
        (&["--agent", "spire", "--server", "crm"], &["no token of any issuer proves agent `spire`", "bind it in "]),
        (&["--agent", "reader"], &["there are several", "name one with `--server`: crm, pg"]),
        (&["--agent", "reader", "--server", "cmr"], &["no server is called `cmr`", "did you mean `crm`?"]),
        (
            &["--agent", "reader", "--server", "crm", "--issuer", "okta"],
            &["no token of issuer `okta` proves agent `reader`"],
        ),
        (
            &["--agent", "reader", "--server", "crm", "--key", "none.pem"],
            &["none.pem: the file does not exist", "portcullis token key"],
        ),
        (
            &["--agent", "reader", "--server", "crm", "--key", "keys/other.pem"],
            &["is not in ", "the gateway would refuse the token", "\"kty\":\"OKP\""],
        ),
        (
            &["--agent", "reader", "--server", "crm", "--key", "keys/open.pem"],
            &["its mode 0644 lets others at them", "chmod 0600"],
        ),
        (&["--agent", "reader", "--server", "crm", "--key", "keys/public.jwk"], &["holds the public half alone"]),
        (&["--agent", "reader", "--server", "crm", "--for", "2d"], &["`2d` is no lifetime", "`1s` to `24h`"]),
        (&["--agent", "reader", "--server", "crm", "--for", "10"], &["`10` has no unit", "`--for 10m`"]),
        (&["--agent", "reader", "--server", "crm", "--claim", "level"], &["`level` is no claim", "--claim NAME=VALUE"]),
    ] {
        refused(&mint(words), parts);
    }
    // An agent that is bound by its subject is named there.
    let token = out(&mint(&["--agent", "subject", "--server", "pg"]));
    assert_eq!((&part(&token, 1)["sub"], part(&token, 1).get("client_id")), (&json!("eve"), None));
    let request = gateway.modern("reader", "pg", &portcullis_tests::mcp::modern("tools/list", json!({})));
    assert_eq!(gateway.answer(&request.set("Authorization", &format!("Bearer {token}"))).status(), 200);
}

#[test]
fn keys_are_made_once_and_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["token", "key", "--out", "deep/keys"]);
    assert!(made.status.success(), "{}", said(&made));
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("deep/keys/example.pem"), mode("deep/keys/example.jwks.json")), (0o600, 0o644));
    let private = fs::read(folder.path().join("deep/keys/example.pem")).unwrap();
    refused(
        &run(folder.path(), &["token", "key", "--out", "deep/keys"]),
        &["example.pem` exists", "nothing is ever overwritten"],
    );
    fs::remove_file(folder.path().join("deep/keys/example.jwks.json")).unwrap();
    refused(&run(folder.path(), &["token", "key", "--out", "deep/keys"]), &["example.pem` exists"]);
    assert_eq!(fs::read(folder.path().join("deep/keys/example.pem")).unwrap(), private);
    refused(&run(folder.path(), &["token", "key", "--out", ".", "--name", "../x"]), &["`../x` is no name of a file"]);
    // Without any configuration everything is said on the command line.
    let words = [
        "token",
        "mint",
        "--issuer",
        "https://me.test",
        "--audience",
        "https://you.test",
        "--key",
        "deep/keys/example.pem",
        "--agent",
        "bot",
    ];
    let token = out(&run(folder.path(), &words));
    let body = part(&token, 1);
    assert_eq!(
        (&body["iss"], &body["aud"], &body["client_id"]),
        (&json!("https://me.test"), &json!("https://you.test"), &json!("bot"))
    );
    refused(&run(folder.path(), &words[..6]), &["--agent"]);
    refused(
        &run(folder.path(), &["token", "mint", "--agent", "bot"]),
        &["portcullis.toml: the file does not exist", "`--issuer URL`, `--audience` and `--key`"],
    );
}

/// What the README says of this issuer, but for where it is.
fn of_readme(name: &str) -> String {
    let readme = include_str!("../../README.md");
    let block =
        readme.split("```").find(|block| block.contains("[identity.entra]")).expect("a block with both issuers");
    let table = block.split("[identity.").find(|table| table.starts_with(name)).expect("the issuer");
    let lines = table.lines().skip(1).filter(|line| !line.starts_with("issuer") && !line.starts_with("keys"));
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// Claims as Okta and Entra ID put them, without what is ours.
fn provider(claim: &str, audience: &str) -> Value {
    let common = json!({"client_id": null, "aud": audience, "ver": 1, "scp": ["crm.read"]});
    changed(changed(claims("reader", "x"), common), json!({claim: "reader"}))
}

#[test]
fn tokens_as_okta_and_entra_write_them_count_where_the_readmes_words_stand() {
    let upstream = Upstream::kind();
    for (name, claim, audience) in
        [("okta", "cid", "api://portcullis"), ("entra", "azp", "66666666-7777-8888-9999-000000000000")]
    {
        let gateway = Setup::open(&upstream).identity(&of_readme(name)).start();
        let good = provider(claim, audience);
        let token = match name {
            "okta" => keys().rs256.sign_untyped(&good),
            _ => keys().rs256.sign_typed("JWT", &good),
        };
        assert!(gateway.answer(&shown(&gateway, &token.unwrap())).is_result(), "{name}");
        // What browsers hold of the same issuer, signed with the same key, never counts.
        for (changes, cause) in [
            (json!({"nonce": "n-1"}), "token_is_no_access_token"),
            (json!({"at_hash": "x"}), "token_is_no_access_token"),
            (json!({"aud": "reader"}), "token_is_no_access_token"),
            (json!({claim: null, "client_id": audience}), "token_is_no_access_token"),
            (json!({"token_use": "id"}), "token_is_no_access_token"),
            (json!({"aud": "0oaclient", claim: null}), "token_audience"),
            (json!({claim: null}), "token_claim_missing"),
            (json!({claim: null, "sub": "reader"}), "token_claim_missing"),
        ] {
            let token = keys().rs256.sign_typed("JWT", &changed(good.clone(), changes.clone())).unwrap();
            // Each core writes its own file, so the latest record need not stand last.
            let refusals = || {
                let all = gateway.events("refusal");
                (all.len(), all.iter().filter(|record| record["cause"] == json!(cause)).count())
            };
            let before = refusals();
            assert_eq!(gateway.answer(&shown(&gateway, &token)).status(), 401, "{name} {changes}");
            assert_eq!(refusals(), (before.0 + 1, before.1 + 1), "{name} {changes}: {cause}");
        }
        let logout = keys().rs256.sign_typed("logout+jwt", &good).unwrap();
        assert_eq!(gateway.answer(&shown(&gateway, &logout)).status(), 401);
        gateway.refusal("token_type");
    }
    // Nobody who did not ask for it gets it.
    let gateway = Setup::open(&upstream).start();
    let token = keys().rs256.sign_untyped(&claims("reader", &gateway.resource("crm"))).unwrap();
    assert_eq!(gateway.answer(&shown(&gateway, &token)).status(), 401);
    gateway.refusal("token_type");
}
