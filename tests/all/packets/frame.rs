//! Makes Ethernet frames. In: what is peculiar about one. Out: its bytes; addresses and ports are ours unless said otherwise.

use portcullis_ebpf_common::{Address, FlowKey};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// An IPv6 address.
pub fn v6(parts: [u16; 8]) -> Address {
    Address(std::net::Ipv6Addr::from(parts).octets())
}

/// A frame in the making: to port 8443 of 10.0.0.1 or fd00::1, by TCP.
#[derive(Clone)]
pub struct Frame {
    source: Address,
    is_v4: bool,
    ports: (u16, u16),
    flags: u8,
    protocol: u8,
    payload: usize,
    tags: Vec<u16>,
    kind: Option<u16>,
    options: u8,
    /// Numbers and length bytes of extension headers, in order.
    extensions: Vec<(u8, u8)>,
    /// Offset in units of 8 bytes, and whether more come.
    fragment: Option<(u16, bool)>,
    cut: Option<usize>,
    first_byte: Option<u8>,
}

impl Frame {
    pub fn v4(source: [u8; 4]) -> Self {
        Self::new(Address::from_v4(source), true)
    }

    pub fn v6(source: [u16; 8]) -> Self {
        Self::new(v6(source), false)
    }

    fn new(source: Address, is_v4: bool) -> Self {
        Self {
            source,
            is_v4,
            ports: (40_000, 8443),
            flags: 0,
            protocol: 6,
            payload: 0,
            tags: Vec::new(),
            kind: None,
            options: 0,
            extensions: Vec::new(),
            fragment: None,
            cut: None,
            first_byte: None,
        }
    }

    pub fn from(mut self, port: u16) -> Self {
        self.ports.0 = port;
        self
    }

    pub fn to(mut self, port: u16) -> Self {
        self.ports.1 = port;
        self
    }

    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub fn udp(self) -> Self {
        self.protocol(17)
    }

    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    pub fn tag(mut self, kind: u16) -> Self {
        self.tags.push(kind);
        self
    }

    /// Another kind than IP.
    pub fn kind(mut self, kind: u16) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Words of IPv4 options.
    pub fn options(mut self, words: u8) -> Self {
        self.options = words;
        self
    }

    /// An IPv6 extension header.
    pub fn extension(mut self, number: u8, length: u8) -> Self {
        self.extensions.push((number, length));
        self
    }

    /// A fragment at an offset in units of 8 bytes.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// So many bytes of the frame and no more.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Another version and header length than it has.
    pub fn first_byte(mut self, byte: u8) -> Self {
        self.first_byte = Some(byte);
        self
    }

    /// The flow it belongs to.
    pub fn flow(&self) -> FlowKey {
        let destination = if self.is_v4 { Address::from_v4(OURS_V4) } else { v6(OURS_V6) };
        FlowKey::new(self.source, self.ports.0, destination, self.ports.1, self.protocol)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![2; 12];
        for tag in &self.tags {
            out.extend(tag.to_be_bytes());
            out.extend([0, 7]);
        }
        let kind = self.kind.unwrap_or(if self.is_v4 { 0x0800 } else { 0x86dd });
        out.extend(kind.to_be_bytes());
        let start = out.len();
        out.extend(if self.is_v4 { self.ipv4() } else { self.ipv6() });
        if let Some(byte) = self.first_byte {
            out[start] = byte;
        }
        out.truncate(self.cut.unwrap_or(usize::MAX));
        out
    }

    fn transport(&self) -> Vec<u8> {
        let mut out = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        match self.protocol {
            17 => out.extend([0, u8::try_from(8 + self.payload).unwrap_or(0), 0, 0]),
            _ => out.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]),
        }
        out.resize(out.len() + self.payload, 0xaa);
        out
    }

    fn ipv4(&self) -> Vec<u8> {
        let inner = self.transport();
        let words = 5 + self.options;
        let length = u16::from(words) * 4 + u16::try_from(inner.len()).unwrap();
        let (offset, more) = self.fragment.unwrap_or((0, false));
        // Don't-fragment, unless it is one.
        let fragment = offset | if more { 0x2000 } else { 0 } | if self.fragment.is_none() { 0x4000 } else { 0 };
        let mut out = vec![0x40 | words, 0];
        out.extend(length.to_be_bytes());
        out.extend([0, 1]);
        out.extend(fragment.to_be_bytes());
        out.extend([64, self.protocol, 0, 0]);
        out.extend(&self.source.0[12..]);
        out.extend(OURS_V4);
        // Options that do nothing (RFC 791 §3.1).
        out.resize(usize::from(words) * 4, 1);
        out.extend(inner);
        out
    }

    fn ipv6(&self) -> Vec<u8> {
        let mut headers = self.extensions.clone();
        headers.extend(self.fragment.map(|_| (44, 0)));
        let next = |index: usize| headers.get(index).map_or(self.protocol, |(number, _)| *number);
        let mut inner = Vec::new();
        for (index, (number, length)) in headers.iter().enumerate() {
            let begun = inner.len();
            inner.extend([next(index + 1), *length]);
            let bytes = match number {
                44 => {
                    let (offset, more) = self.fragment.unwrap_or_default();
                    inner.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    8
                }
                51 => (usize::from(*length) + 2) * 4,
                _ => (usize::from(*length) + 1) * 8,
            };
            inner.resize(begun + bytes, 0);
        }
        inner.extend(self.transport());
        let mut out = vec![0x60, 0, 0, 0];
        out.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
        out.extend([next(0), 64]);
        out.extend(self.source.0);
        out.extend(v6(OURS_V6).0);
        out.extend(inner);
        out
    }
}

const OURS_V4: [u8; 4] = [10, 0, 0, 1];
const OURS_V6: [u16; 8] = [0xfd00, 0, 0, 0, 0, 0, 0, 1];
