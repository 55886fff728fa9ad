//! What a configuration must not say, row by row, with the very words an operator reads.

use super::*;

#[test]
fn a_key_nobody_knows_is_refused() {
    check("[listne]\n", &["p.toml:8: unknown key `listne` in the file; did you mean `listen`?"]);
    check(
        "[listen]\nadress = \"127.0.0.1:1\"\n",
        &["p.toml:9: unknown key `adress` in `[listen]`; did you mean `address`?"],
    );
    check("[control]\nzebra = 1\n", &["p.toml:9: unknown key `zebra` in `[control]`; it knows `socket`"]);
    check(
        "[log]\nworkers = 2\n",
        &[
            "p.toml:9: unknown key `workers` in `[log]`; `workers` belongs to the top of the file, above the first `[table]`",
        ],
    );
    check(
        "[tool.crm.read]\ngroups = []\n",
        &[
            "p.toml:8: unknown key `read` in `[tool.crm]`; quote the name: `[tool.\"crm.read\"]`",
            "p.toml:8: tool `crm` does not say on which server; write `[tool.\"SERVER.crm\"]`",
        ],
    );
    check(
        "[listen]\ntls = { certificate = \"a\", key = \"b\", keyy = \"c\" }\n",
        &["p.toml:9: unknown key `keyy` in `[listen.tls]`; did you mean `key`?"],
    );
}

#[test]
fn a_key_of_a_later_version_is_refused_and_not_skipped() {
    let credential = |inner: &str| format!("[server.pg]\nurl = \"https://pg/mcp\"\ncredential = {{ {inner} }}\n");
    let cure = "write a `header` and a `value` with `{secret:NAME}`";
    for key in ["mint", "exchange", "vault"] {
        let expected =
            format!("p.toml:10: `{key}` in `[server.pg.credential]` is not supported by this version; {cure}");
        check(&credential(&format!("{key} = \"x\"")), &[&expected]);
    }
    check(
        "[audit]\nkeep = \"6 years\"\n",
        &["p.toml:9: `keep` in `[audit]` is not supported by this version; remove it; the log is kept whole"],
    );
    check(
        "[listen]\nhttp3 = true\n",
        &[
            "p.toml:9: `http3` in `[listen]` is not supported by this version; remove it; agents are served over HTTP/1.1",
        ],
    );
}

#[test]
fn a_kernel_layer_that_could_not_be_meant_is_refused() {
    check(
        "[kernel]\nebpf = \"require\"\n",
        &[
            "p.toml:9: `ebpf = \"require\"` has no interface to attach to; name those that agents come in by, like `interfaces = [\"eth0\"]`",
        ],
    );
    check(
        "[kernel]\ninterfaces = [\"\", \"eth0/1\", \"sixteen-letters-\", \"lo\", \"lo\"]\n",
        &[
            "p.toml:9: `` is no name of an interface; write 1–15 characters as `ip link` shows them",
            "p.toml:9: `eth0/1` is no name of an interface; write 1–15 characters as `ip link` shows them",
            "p.toml:9: `sixteen-letters-` is no name of an interface; write 1–15 characters as `ip link` shows them",
            "p.toml:9: interface `lo` is named twice; name it once",
        ],
    );
    check(
        "[kernel]\ndeadline = \"1ms\"\nbudget = \"1 KiB\"\nconnects = 0\n",
        &[
            "p.toml:9: `1ms` is below the least `kernel.deadline` can be; write 1s to 10m",
            "p.toml:10: `1 KiB` is below the least `kernel.budget` can be; write 16 KiB to 64 MiB",
            "p.toml:11: `0` is below the least `kernel.connects` can be; write 1 to 1000000",
        ],
    );
    check(
        "[kernel]\ntrusted = [\"lb\", \"10.0.0.1/8\", \"10.0.0.0/33\"]\n",
        &[
            "p.toml:9: `lb` is not a network; write `10.0.0.0/8` or one address",
            "p.toml:9: `10.0.0.1/8` is not a network; did you mean `10.0.0.0/8`?",
            "p.toml:9: `10.0.0.0/33` is not a network; the prefix is at most 32 for IPv4 and 128 for IPv6",
        ],
    );
}

#[test]
fn a_word_nobody_knows_is_refused() {
    check(
        "[audit]\ndurability = \"bached\"\n",
        &["p.toml:9: `audit.durability` knows no `bached`; did you mean `batched`?"],
    );
    check("[audit]\nindex = \"of\"\n", &["p.toml:9: `audit.index` knows no `of`; did you mean `off`?"]);
    check("[log]\nformat = \"xml\"\n", &["p.toml:9: `log.format` knows no `xml`; write `auto` or `human` or `json`"]);
    let engine = |word: &str| findings(&format!("io = \"{word}\"\n{LEAST}"));
    assert_eq!(
        engine("epoll"),
        ["p.toml:1: `io = \"epoll\"` is not supported by this version; write `io = \"uring\"`, or leave it out"]
    );
    assert_eq!(engine("uringg"), ["p.toml:1: `io` knows no `uringg`; did you mean `uring`?"]);
    let plaintext = "[listen]\naddress = \"10.0.0.1:80\"\nplaintext = \"yes\"\n";
    check(
        plaintext,
        &[
            "p.toml:9: `10.0.0.1:80` would be served to the network without TLS; set `tls = { certificate = \"…\", key = \"…\" }`, or `plaintext = \"trusted-network\"` where you vouch for the network",
            "p.toml:10: `listen.plaintext` knows no `yes`; write `trusted-network`",
        ],
    );
}

#[test]
fn a_value_of_another_kind_is_refused() {
    check(
        "[timeouts]\nhead = 30\n",
        &["p.toml:9: `timeouts.head` must be a text, not a whole number; write it like `\"30s\"`"],
    );
    check(
        "[limits]\nheaders = \"64\"\n",
        &["p.toml:9: `limits.headers` must be a whole number, not a text; write it like `64`"],
    );
    check(
        "[limits]\nbody = true\n",
        &["p.toml:9: `limits.body` must be a text, not a true or false; write it like `\"64 KiB\"`"],
    );
    check(
        "[listen]\nhosts = \"a:1\"\n",
        &["p.toml:9: `listen.hosts` must be a list, not a text; write it like `[\"…\"]`"],
    );
    check(
        "[listen]\nhosts = [\n  \"a:1\",\n  7 ]\n",
        &["p.toml:11: `listen.hosts` must be a text, not a whole number; write it like `\"…\"`"],
    );
    check("[listen]\ntls = \"edge.pem\"\n", &["p.toml:9: `listen.tls` must be a table, not a text; write a table"]);
    check(
        "[limits]\nheaders = 99999999999999999999\n",
        &["p.toml:9: `99999999999999999999` is larger than any count; write a smaller number"],
    );
}

#[test]
fn a_missing_key_is_refused() {
    check(
        "[server.pg]\n",
        &["p.toml:8: `[server.pg]` has no `url`; write it like `url = \"http://127.0.0.1:9000/mcp\"`"],
    );
    check(
        "[server.pg]\nurll = \"http://127.0.0.1:1\"\n",
        &["p.toml:9: unknown key `urll` in `[server.pg]`; did you mean `url`?"],
    );
    check(
        "[identity.entra]\nissuer = \"https://login.example.com\"\n",
        &[
            "p.toml:8: `[identity.entra]` has no `keys`, and fetching them from the issuer is not supported by this version; save its key set to a file and write `keys = \"NAME.jwks.json\"`",
        ],
    );
    check(
        "[listen]\ntls = { certificate = \"a.pem\" }\n",
        &["p.toml:9: `[listen.tls]` has no `key`; write `key = \"…\"`"],
    );
    check(
        "[listen]\ntls = { key = \"a.pem\" }\n",
        &["p.toml:9: `[listen.tls]` has no `certificate`; write `certificate = \"…\"`"],
    );
    check(
        "[identity.entra]\nkeys = \"e.json\"\n",
        &[
            "p.toml:8: `[identity.entra]` has no `issuer`; write it like `issuer = \"https://example.okta.com/oauth2/aus1\"`",
        ],
    );
    check("[metrics]\n", &["p.toml:8: `[metrics]` has no `address`; write it like `address = \"127.0.0.1:9464\"`"]);
    check(
        "[server.pg]\nurl = \"https://pg/mcp\"\ncredential = { value = \"{secret:a}\" }\n",
        &[
            "p.toml:10: `[server.pg.credential]` has no `header`; write it like `header = \"authorization\"`",
            "p.toml:10: a credential names a secret, but there is no file of secrets; write `secrets = \"secrets.toml\"` at the top of the file",
        ],
    );
    check(
        "[server.pg]\nurl = \"https://pg/mcp\"\ncredential = { header = \"x-key\" }\n",
        &["p.toml:10: `[server.pg.credential]` has no `value`; write it like `value = \"Bearer {secret:crm}\"`"],
    );
    assert_eq!(
        findings(""),
        ["p.toml: no server is named, so there is nothing to guard; write `[server.NAME]` with a `url`"]
    );
}

#[test]
fn a_bound_beyond_its_ceiling_is_refused() {
    check(
        "[limits]\nhead = \"1 MiB\"\n",
        &["p.toml:9: `1 MiB` is above the most `limits.head` can be; write 1 KiB to 16 KiB"],
    );
    check("[limits]\nheaders = 65\n", &["p.toml:9: `65` is above the most `limits.headers` can be; write 1 to 64"]);
    check(
        "[limits]\njson_depth = 0\n",
        &["p.toml:9: `0` is below the least `limits.json_depth` can be; write 1 to 64"],
    );
    check(
        "[limits]\nsessions = -1\n",
        &["p.toml:9: `-1` is below the least `limits.sessions` can be; write 1 to 4194304"],
    );
    check(
        "[limits]\nresult_buffer = \"32 KiB\"\n",
        &[
            "p.toml:9: unknown key `result_buffer` in `[limits]`; it knows `head`, `headers`, `body`, `json_depth`, `connections`, `agent_concurrency`, `result`, `event`, `sessions`, `owners`",
        ],
    );
    check(
        "[timeouts]\nconnect = \"2m\"\n",
        &["p.toml:9: `2m` is above the most `timeouts.connect` can be; write 10ms to 1m"],
    );
    check(
        "[timeouts]\ntotal = \"30s\"\n",
        &[
            "p.toml:9: `timeouts.first_byte` (1m) is longer than `timeouts.total` (30s); shorten the one or lengthen the other",
        ],
    );
    check(
        "[timeouts]\nhead = \"30\"\n",
        &[
            "p.toml:9: `30` has no unit; write a number with `ms`, `s`, `m`, `h` or `d`, such as `\"30s\"` or `\"1h 30m\"`",
        ],
    );
    check(
        "[limits]\nbody = \"1 MB\"\n",
        &[
            "p.toml:9: `MB` in `1 MB` is no unit of size; write a number with `B`, `KiB`, `MiB` or `GiB`, such as `\"64 KiB\"`",
        ],
    );
    check("[policy]\nkeep = 0\n", &["p.toml:9: `0` is below the least `policy.keep` can be; write 1 to 10000"]);
    assert_eq!(
        findings(&format!("workers = 0\n{LEAST}")),
        ["p.toml:1: `0` is below the least `workers` can be; write 1 to 1024"]
    );
    check(
        "[timeouts]\nupstream_idle = \"1m\"\n",
        &[
            "p.toml:9: warning: Node and uvicorn close a connection after 5 s of silence, and a call that meets the close is lost; keep `upstream_idle` at `4s` unless every upstream keeps connections longer",
        ],
    );
}

#[test]
fn an_address_agents_cannot_know_is_refused() {
    let cure = "write both, such as `127.0.0.1:8080` or `[::1]:8080`";
    for text in [":8443", "8443", "localhost:8443", "127.0.0.1"] {
        check(
            &format!("[listen]\naddress = \"{text}\"\n"),
            &[&format!("p.toml:9: `{text}` is no IP address with a port; {cure}")],
        );
    }
    check(
        "[listen]\naddress = \"127.0.0.1:0\"\n",
        &[&format!("p.toml:9: `127.0.0.1:0` has no port of its own, and agents must know it; {cure}")],
    );
    let tls = "tls = { certificate = \"a\", key = \"b\" }\n";
    check(
        &format!("[listen]\naddress = \"0.0.0.0:443\"\n{tls}"),
        &[
            "p.toml:9: `0.0.0.0:443` is every address of this machine, so agents need a name to know it by; set `public_url`, such as `https://edge.example.com:8443`",
        ],
    );
    check(
        &format!("[listen]\n{tls}public_url = \"http://edge.example.com\"\n"),
        &["p.toml:10: `public_url` says `http`, but `tls` is set; write `https`"],
    );
    let cure = "write scheme, host and port only, such as `https://edge.example.com:8443`";
    check(
        "[listen]\npublic_url = \"https://edge.example.com/x\"\n",
        &[&format!("p.toml:9: `public_url` `https://edge.example.com/x` holds a path; {cure}")],
    );
    check(
        "[listen]\npublic_url = \"edge\"\n",
        &[&format!("p.toml:9: `public_url` `edge` does not start with `https://` or `http://`; {cure}")],
    );
}

#[test]
fn a_listener_open_to_strangers_is_refused() {
    check(
        "[listen]\naddress = \"[::ffff:10.0.0.1]:80\"\n",
        &[
            "p.toml:9: `[::ffff:10.0.0.1]:80` would be served to the network without TLS; set `tls = { certificate = \"…\", key = \"…\" }`, or `plaintext = \"trusted-network\"` where you vouch for the network",
        ],
    );
    check(
        "[listen]\nplaintext = \"trusted-network\"\ntls = { certificate = \"a\", key = \"b\" }\n",
        &["p.toml:9: `plaintext` says nothing where `tls` is set; remove one of the two"],
    );
    check(
        "[listen]\ntls = { certificate = \"a\", key = \"b\", client_certificate = \"required\" }\n",
        &[
            "p.toml:9: `client_certificate` says nothing without `client_ca`; name the authorities of agents' certificates in `client_ca`",
        ],
    );
    check(
        "[listen]\nhosts = [\"*\"]\n",
        &["p.toml:9: `*` in `hosts` would let any web page in by DNS rebinding; name each host"],
    );
    check(
        "[listen]\nhosts = [\"a/b\"]\n",
        &[
            "p.toml:9: `a/b` in `hosts` holds a host that is neither a name nor an address; write a host with its port, such as `edge.example.com:8443`",
        ],
    );
    let cure = "write scheme and host only, such as `https://app.example.com`";
    check(
        "[listen]\norigins = [\"null\"]\n",
        &[&format!("p.toml:9: `null` in `origins` would let any web page in; {cure}")],
    );
    check(
        "[listen]\norigins = [\"https://a/b\"]\n",
        &[&format!("p.toml:9: `https://a/b` in `origins` holds a path; {cure}")],
    );
    check(
        "[listen]\norigins = [\"a\"]\n",
        &[&format!("p.toml:9: `a` in `origins` does not start with `https://` or `http://`; {cure}")],
    );
    check(
        "[metrics]\naddress = \"10.0.0.1:9464\"\n",
        &[
            "p.toml:9: warning: metrics are served to the network at `10.0.0.1:9464`, without TLS and to anybody; write a loopback address, such as `127.0.0.1:9464`",
        ],
    );
}

#[test]
fn a_path_that_is_none_is_refused() {
    check("[policy]\nfolder = \"\"\n", &["p.toml:9: `` is no path; write the name of a file or folder"]);
    check(
        "[policy]\nfolder = \"~/rules\"\n",
        &["p.toml:9: `~/rules` would need a shell to mean a path; write the path itself"],
    );
    check(
        "[policy]\nfolder = \"https://x/y\"\n",
        &["p.toml:9: `https://x/y` is a URL, not a path; save it to a file and name the file"],
    );
    let long = "x".repeat(200);
    check(
        &format!("[control]\nsocket = \"/{long}\"\n"),
        &["p.toml:9: the path of the control socket has 201 bytes; Linux takes 107; choose a shorter path"],
    );
    check(
        "[audit]\ndurability = \"best-effort\"\n",
        &[
            "p.toml:9: warning: with `best-effort` a failing audit log does not stop calls; write `durability = \"batched\"` unless that is what you want",
        ],
    );
}

#[test]
fn a_witness_that_could_not_be_asked_is_refused() {
    let with = |witness: &str| format!("[audit]\nwitnesses = [{{ {witness} }}]\n");
    check(
        &with("name = \"a\", url = \"https://w\""),
        &["p.toml:9: `[audit.witnesses]` has no `key`; write it like `key = \"witness.example.com+1a2b3c4d+BKx0…\"`"],
    );
    check(
        &with("name = \"a\", url = \"https://w\", key = \"k\""),
        &[
            "p.toml:9: the key of witness `a` is not of the form `NAME+ID+KEY`; write what `portcullis witness` tells when it starts",
        ],
    );
    check(
        &with("name = \"a\", url = \"https://w?x\", key = \"w+0+A\""),
        &["p.toml:9: `url` holds a query; write it like `http://127.0.0.1:9000/mcp`; secrets go into a `credential`"],
    );
    check(
        &with("name = \"a\", url = \"http://w\", key = \"w+0+A\""),
        &["p.toml:9: warning: witness `a` is reached without TLS; write `https` unless the way to it is trusted"],
    );
    check(
        &with(
            "name = \"a\", url = \"https://w\", key = \"w+0+A\" }, { name = \"a\", url = \"https://v\", key = \"v+0+A\"",
        ),
        &["p.toml:9: two witnesses are called `a`; give each a name of its own"],
    );
}

#[test]
fn text_that_is_no_toml_is_refused_at_its_line() {
    let found = findings("[listen\naddress = \"x\"\n");
    assert!(found[0].starts_with("p.toml:1: "), "got {found:?}");
    let found = findings("[listen]\naddress = \"a\"\naddress = \"b\"\n");
    assert_eq!(found, ["p.toml:3: duplicate key; remove one of the two"]);
}

#[test]
fn ten_mistakes_are_ten_findings() {
    let text = "\
workers = 0
io = \"epoll\"
[listen]
adress = \"127.0.0.1:1\"
hosts = [\"*\"]
[server.CRM]
url = \"ftp://crm\"
mode = \"enforced\"
[identity.okta]
issuer = \"https://idp.example.com\"
keys = \"k.json\"
algorithms = [\"HS256\"]
[audit]
keep = \"6 years\"
[timeouts]
head = \"10\"
[kernel]
ebpf = \"require\"
";
    let lines: Vec<String> =
        findings(text).iter().map(|finding| finding.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "4", "5", "6", "7", "8", "12", "14", "16", "18"]);
}

#[test]
fn sql_that_cannot_be_read_is_refused() {
    let tool = |sql: &str| format!("[tool.\"crm.q\"]\nsql = {{ {sql} }}\n");
    check(
        &tool("dialect = \"postgres\""),
        &["p.toml:9: `[tool.crm.q.sql]` has no `argument`; write it like `argument = \"/sql\"`"],
    );
    check(&tool("argument = \"/sql\""), &["p.toml:9: `[tool.crm.q.sql]` has no `dialect`; write `dialect = \"…\"`"]);
    check(
        &tool("argument = \"/sql\", dialect = \"postgresql\""),
        &["p.toml:9: `tool.\"crm.q\".sql.dialect` knows no `postgresql`; did you mean `postgres`?"],
    );
    check(
        &tool("argument = \"sql\", dialect = \"sqlite\", schema = \"a.b\", functions = [\"f()\"]"),
        &[
            "p.toml:9: `a.b` is no name of a schema; write letters, digits and `_`",
            "p.toml:9: `f()` is no name of a function; write letters, digits and `_`",
            "p.toml:9: pointer `sql` does not start with a slash; write `/sql`",
        ],
    );
}
