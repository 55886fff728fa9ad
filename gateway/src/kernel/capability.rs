//! Knows the capabilities that attaching needs, and gives them up. In: this thread. Out: what is missing. Never here: user ids.

use super::Missing;
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities};
use std::io;

/// What loading and attaching needs, its name, and for what.
const NEEDED: [(CapabilitySet, &str, &str); 3] = [
    (CapabilitySet::BPF, "CAP_BPF", "to load programs"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "to attach them to an interface"),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "to load those that read packets"),
];

/// What of it this process lacks.
pub fn missing() -> Vec<Missing> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let lacking = NEEDED.iter().filter(|(needed, _, _)| !held.contains(*needed));
    let told = |(_, name, why): &(CapabilitySet, &str, &str)| {
        let name_lower = name.to_lowercase();
        Missing::new(
            format!("eBPF programs: this process lacks {name} {why}"),
            format!("write `AmbientCapabilities={name}` into the unit, or `setcap {name_lower}+ep` on the program"),
        )
    };
    lacking.map(told).collect()
}

/// Gives them up, for this thread and those it starts, with CAP_SYS_ADMIN, which implies them: whoever took the process over could
/// else put programs of his own into the kernel.
pub fn give_up() -> io::Result<()> {
    let given = NEEDED.iter().fold(CapabilitySet::SYS_ADMIN, |all, (needed, _, _)| all | *needed);
    for one in given.iter() {
        // Only whoever holds CAP_SETPCAP may, and only then does it matter: a program run by root would get them back.
        let _not_ours = remove_capability_from_bounding_set(one);
    }
    let mut sets = capabilities(None)?;
    sets.effective &= !given;
    sets.permitted &= !given;
    sets.inheritable &= !given;
    Ok(set_capabilities(None, sets)?)
}
