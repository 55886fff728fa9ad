//! Puts the programs of `ebpf/` in front of the listeners. In: settings, the capabilities of this process. Out: what is attached, or what is
//! missing for it. Never here: how a packet is judged.
//!
//! It is put up before the first thread starts, because capabilities are a thread's own: what is given up here, no thread has.

pub mod attach;
pub mod capability;
pub mod clock;
pub mod marks;
pub mod pins;
pub mod report;

use self::attach::Layer;
use self::pins::Pins;
use crate::startup::StartFailure;
use portcullis_core::config::settings::{Ebpf, Kernel as Wish, Settings};
use std::net::IpAddr;

/// What an operator would want and does not have, and what gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is not there.
    pub cause: String,
    /// What gives it.
    pub cure: String,
}

impl Missing {
    /// With its cure.
    pub fn new(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cause: cause.into(), cure: cure.into() }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}; {}", self.cause, self.cure)
    }
}

/// The kernel layer as it stands.
pub struct Kernel {
    /// What was asked for.
    pub wish: Wish,
    /// What is attached.
    pub layer: Option<Layer>,
    /// What is not, and why.
    pub missing: Vec<Missing>,
    /// Held, so that no other gateway takes these programs for its own.
    _pins: Option<Pins>,
}

impl Kernel {
    /// Loads and attaches, as far as settings, kernel and capabilities allow, and gives the capabilities up.
    pub fn start(settings: &Settings) -> Result<Self, StartFailure> {
        let started = Self::put_up(settings);
        // Whatever came of it: nothing that follows needs them.
        capability::give_up().map_err(|error| {
            let cure = "start without CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or let this process drop them";
            StartFailure::System("the capabilities of this process".into(), error, cure)
        })?;
        started
    }

    /// Nothing is attached, because of what is missing.
    pub fn without(wish: Wish, missing: Vec<Missing>) -> Self {
        Self { wish, layer: None, missing, _pins: None }
    }

    fn put_up(settings: &Settings) -> Result<Self, StartFailure> {
        let wish = settings.kernel.clone();
        let mut missing = Vec::new();
        let pins = Pins::take(&wish.pins).map_err(failed)?;
        let wanted = match wish.ebpf {
            Ebpf::Off => false,
            Ebpf::Auto | Ebpf::Require => !wish.interfaces.is_empty(),
        };
        if !wanted {
            // Programs of an earlier start would cut every connection at its deadline: nobody would mark any.
            pins::withdraw(&wish.pins).map_err(failed)?;
            if wish.ebpf == Ebpf::Auto {
                missing.push(Missing::new(
                    "eBPF programs: `[kernel]` names no `interfaces`; connections that prove nothing are bounded by the workers alone",
                    "name those that agents come in by, or write `ebpf = \"off\"`",
                ));
            }
            return Ok(Self::without(wish, missing));
        }
        match Layer::attach(settings, pins.as_ref()) {
            Ok(layer) => {
                if pins.is_none() {
                    missing.push(pins::unpinned(&wish.pins));
                }
                Ok(Self { wish, layer: Some(layer), missing, _pins: pins })
            }
            Err(why) if wish.ebpf == Ebpf::Require => {
                let causes: Vec<&str> = why.iter().map(|missing| &*missing.cause).collect();
                let cures: Vec<&str> = why.iter().map(|missing| &*missing.cure).collect();
                Err(StartFailure::Kernel(
                    format!("`ebpf = \"require\"` cannot be met: {}", causes.join("; ")),
                    cures.join("; "),
                ))
            }
            Err(why) => {
                pins::withdraw(&wish.pins).map_err(failed)?;
                missing.extend(why);
                Ok(Self::without(wish, missing))
            }
        }
    }

    /// Has the programs guard the port that the workers listen on.
    pub fn protect(&self, port: u16) -> Result<(), StartFailure> {
        let done = self.layer.as_ref().map_or(Ok(()), |layer| layer.protect(port));
        done.map_err(|cause| failed(Missing::new(cause, "look for the reason in the kernel's log")))
    }

    /// Whether `source` is a load balancer or a NAT: many stand behind it, so that nothing is held against it.
    pub fn trusts(&self, source: IpAddr) -> bool {
        self.wish.trusted.iter().any(|network| network.contains(source))
    }
}

fn failed(missing: Missing) -> StartFailure {
    StartFailure::Kernel(missing.cause, missing.cure)
}
