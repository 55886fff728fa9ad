//! Stays up to be played with. In: the scene after the tour. Out: what to type, then every call as it is recorded, until Ctrl-C.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::demo::lines::{Face, Tone};
use crate::demo::scene::{Scene, shown};
use crate::demo::stop::{Stop, Waited};
use crate::process::Running;

/// Says how to try it, shows the audit log live, and waits for Ctrl-C.
pub fn stay(scene: &mut Scene, face: &Face, stop: &Stop) -> Result<()> {
    scene.agents.close();
    instruct(scene, face)?;
    let mut tail = Command::new(&scene.portcullis);
    tail.args(["audit", "tail", "--follow", "--number", "0", "--config", "portcullis.toml"]);
    let _tail = Running::start("portcullis audit tail", tail.current_dir(&scene.folder).stdin(Stdio::null()))?;
    while stop.wait(LOOK) == Waited::Passed {
        if let Err(ended) = scene.check() {
            // Ctrl-C reaches everything that runs here, and the others may be quicker.
            if stop.wait(LOOK) == Waited::Passed {
                return Err(ended);
            }
            break;
        }
    }
    println!("\nended");
    Ok(())
}

fn instruct(scene: &Scene, face: &Face) -> Result<()> {
    let in_folder = |name: &str| shown(&scene.folder.join(name));
    let (ca, url, call) = (in_folder("ca.pem"), &scene.url, in_folder("call"));
    let head = |words: &str| println!("\n{}", face.paint(Tone::Head, words));
    head("Try it from another terminal, in this folder");
    println!("  {call} support-bot read_table '{{\"table\":\"customers\"}}'");
    println!("  {call} support-bot read_table '{{\"table\":\"financials\"}}'");
    println!("  {call} finance-bot run_sql '{{\"sql\":\"select name, city from customers\"}}'");
    head("The same with nothing but curl");
    println!("  curl --cacert {ca} {url} \\");
    println!("    --header \"authorization: Bearer $(cat {})\" \\", in_folder("support-bot.token"));
    println!("    --header 'content-type: application/json' --header 'accept: application/json, text/event-stream' \\");
    println!("    --header 'mcp-protocol-version: 2026-07-28' --header 'mcp-method: tools/list' \\");
    println!("    --data '{LIST}'");
    head(&format!("An MCP client: this configuration, also in {}", in_folder("mcp.json")));
    for line in fs::read_to_string(scene.folder.join("mcp.json"))?.lines() {
        println!("  {line}");
    }
    println!(
        "  Clients on Node trust the demo's authority with NODE_EXTRA_CA_CERTS={}",
        scene.folder.join("ca.pem").display()
    );
    head("Change something");
    println!("  edit {}, then", in_folder("policies/support.cedar"));
    println!("  {}", scene.typed("policy apply"));
    println!("  {}", scene.typed("agent suspend finance-bot"));
    println!("  {}", scene.typed("status"));
    head("Every call from now on appears here; Ctrl-C ends everything");
    Ok(())
}

/// How often the scene is looked after.
const LOOK: Duration = Duration::from_millis(500);

/// The shortest whole request of MCP 2026-07-28.
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"curl","version":"1"}}}}"#;
