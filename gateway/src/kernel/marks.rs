//! Tells the programs which flows have proven an agent. In: a connection. Out: an entry of the kernel's map. Never here: proofs.
//!
//! Two system calls when a connection proves an agent, and two when it ends; none on the way of a call.

use super::attach::{TCP, address, chain};
use super::{Kernel, clock};
use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};
use portcullis_ebpf_common::{FlowKey, RESTART_NS};
use portcullis_ring::Socket;
use std::cell::RefCell;
use std::time::Duration;

type Stamps = HashMap<MapData, [u8; 40], u64>;
type Flows = HashMap<MapData, [u8; 40], [u64; 4]>;

/// One core's handle of the marks; nothing where no program reads any.
#[derive(Default)]
pub struct Marks(Option<RefCell<(Stamps, Flows)>>);

impl Marks {
    /// Opened for one core.
    pub fn of(kernel: &Kernel) -> Self {
        let Some(layer) = &kernel.layer else { return Self(None) };
        let opened = layer.tables().and_then(|(marks, flows)| Ok((table(marks)?, table(flows)?)));
        match opened {
            Ok(tables) => Self(Some(RefCell::new(tables))),
            Err(cause) => {
                tracing::error!(%cause, "connections cannot be marked, and the kernel will cut each at its deadline; restart with `ebpf = \"off\"`");
                Self(None)
            }
        }
    }

    /// Marks the flow of `socket`; its key, to take the mark away by.
    pub fn enter(&self, socket: &Socket) -> Option<Box<FlowKey>> {
        let tables = self.0.as_ref()?;
        let (peer, own) = (socket.peer_address().ok()?, socket.local_address().ok()?);
        let flow = FlowKey::new(address(peer.ip()), peer.port(), address(own.ip()), own.port(), TCP);
        let entered = tables.borrow_mut().0.insert(flow.bytes(), clock::now_ns(), 0);
        if let Err(error) = entered {
            tracing::warn!(cause = %chain(&error), "a connection could not be marked; the kernel will cut it at its deadline");
        }
        Some(Box::new(flow))
    }

    /// Takes the mark away. The flow's clock starts anew with its next packet, so that the last ones of a connection that ends still pass.
    pub fn withdraw(&self, flow: &FlowKey) {
        let Some(tables) = &self.0 else { return };
        let (stamps, flows) = &mut *tables.borrow_mut();
        // Either may have gone by itself: both maps forget what was not used for longest.
        let _gone = flows.remove(&flow.bytes());
        let _gone = stamps.remove(&flow.bytes());
    }
}

/// How long marks of an earlier process are left: its sockets may still have bytes on their way.
pub const LEFT_OVER: Duration = Duration::from_nanos(RESTART_NS);

/// Takes away the marks that were made before `before_ns`; how many. Whoever came to have the ports of such a flow would pass as proven.
pub fn sweep(kernel: &Kernel, before_ns: u64) -> usize {
    let Some(layer) = &kernel.layer else { return 0 };
    let Ok((marks, _)) = layer.tables() else { return 0 };
    let Ok(mut stamps) = table::<u64>(marks) else { return 0 };
    let old: Vec<[u8; 40]> =
        stamps.iter().filter_map(Result::ok).filter(|(_, stamp)| *stamp < before_ns).map(|(flow, _)| flow).collect();
    old.iter().filter(|flow| stamps.remove(*flow).is_ok()).count()
}

fn table<V: Pod>(map: MapData) -> Result<HashMap<MapData, [u8; 40], V>, String> {
    let map = Map::from_map_data(map).map_err(|error| chain(&error))?;
    map.try_into().map_err(|error: MapError| chain(&error))
}
