//! The kernel layer. In: what was typed. Out: what it is to do. Never here: what the kernel can.

use super::Scene;
use super::bounds::Bound;
use crate::config::at::At;
use crate::config::settings::{Ebpf, Kernel};
use crate::config::typed::{self, EbpfText};
use crate::identity::network::Network;

/// `IFNAMSIZ` of linux/if.h with its closing zero.
const INTERFACE_BYTES_MAX: usize = 15;

/// An edge host has a handful; each takes a look at every start.
const INTERFACES_MAX: usize = 16;

/// Half of the kernel's map of allowed prefixes.
const TRUSTED_MAX: usize = 512;

pub(super) fn kernel(typed: Option<&typed::Kernel>, scene: &mut Scene<'_, '_>) -> Kernel {
    let none = typed::Kernel::default();
    let typed = typed.unwrap_or(&none);
    let interfaces = interfaces(typed.interfaces.as_deref().unwrap_or_default(), scene);
    let ebpf = match typed.ebpf.as_ref().map(|word| (word.at(), *word.value())) {
        None | Some((_, EbpfText::Auto)) => Ebpf::Auto,
        Some((_, EbpfText::Off)) => Ebpf::Off,
        Some((at, EbpfText::Require)) => {
            if typed.interfaces.is_none() {
                scene.findings.refuse(
                    at,
                    "`ebpf = \"require\"` has no interface to attach to",
                    "name those that agents come in by, like `interfaces = [\"eth0\"]`",
                );
            }
            Ebpf::Require
        }
    };
    let deadline = Bound { name: "kernel.deadline", least: 1_000, default: 30_000, most: 600_000 };
    // A handshake with client certificates and a head take 10 KiB; 64 KiB may be on their way before the head is read.
    let budget = Bound { name: "kernel.budget", least: 16 << 10, default: 256 << 10, most: 64 << 20 };
    let connects = Bound { name: "kernel.connects", least: 1, default: 1_000, most: 1_000_000 };
    Kernel {
        ebpf,
        interfaces,
        deadline: scene.span(typed.deadline.as_ref(), &deadline),
        budget_bytes: scene.size(typed.budget.as_ref(), &budget),
        connects_per_second: scene.count(typed.connects.as_ref(), &connects),
        trusted: trusted(typed.trusted.as_deref().unwrap_or_default(), scene),
        pins: scene.path(typed.pins.as_ref(), "/sys/fs/bpf/portcullis"),
    }
}

fn interfaces(typed: &[At<String>], scene: &mut Scene<'_, '_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for name in typed {
        let text = name.value().as_str();
        let fits = !text.is_empty() && text.len() <= INTERFACE_BYTES_MAX && text != "." && text != "..";
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':')) {
            let cure = format!("write 1–{INTERFACE_BYTES_MAX} characters as `ip link` shows them");
            scene.findings.refuse(name.at(), format!("`{}` is no name of an interface", text.escape_debug()), cure);
        } else if names.iter().any(|known| **known == *text) {
            scene.findings.refuse(name.at(), format!("interface `{text}` is named twice"), "name it once");
        } else if names.len() == INTERFACES_MAX {
            scene.findings.refuse(name.at(), format!("more than {INTERFACES_MAX} interfaces"), "name fewer");
            break;
        } else {
            names.push(text.into());
        }
    }
    names
}

fn trusted(typed: &[At<String>], scene: &mut Scene<'_, '_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in typed {
        let cure = match Network::parse(text.value()) {
            Ok(_) if networks.len() == TRUSTED_MAX => {
                scene.findings.refuse(text.at(), format!("more than {TRUSTED_MAX} trusted networks"), "name fewer");
                break;
            }
            Ok(network) => {
                if network.prefix() == 0 {
                    scene.findings.warn(
                        text.at(),
                        format!("`{network}` trusts every source, so that none is limited"),
                        "name load balancers and NATs alone",
                    );
                }
                networks.push(network);
                continue;
            }
            Err(error) => error.cure(),
        };
        scene.findings.refuse(text.at(), format!("`{}` is not a network", text.value().escape_debug()), cure);
    }
    networks
}
