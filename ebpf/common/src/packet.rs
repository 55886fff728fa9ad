//! Reads a packet's headers. In: bytes by their offset. Out: the flow it belongs to, or why it cannot be told. Never here: verdicts.
//!
//! What an attacker gains if this reads otherwise than the host's own stack does: packets that are counted for another flow, or for none.
//! So whatever the stack would accept for a port of ours is either read here or has a name of its own.

use crate::Address;

/// Where the bytes come from: a packet in the kernel, or a slice in tests.
pub trait Bytes {
    /// `N` bytes from `offset` on, or nothing where the packet ends before.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

/// A packet for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// IP protocol number: TCP or UDP.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// TCP flags; zero for UDP.
    pub flags: u8,
    /// Whether it brings bytes beyond its header.
    pub payload: bool,
    /// Whether more of it comes in fragments.
    pub fragmented: bool,
}

impl Segment {
    /// A SYN that opens a connection: SYN without ACK, RST or FIN.
    pub const fn opens(&self) -> bool {
        self.protocol == TCP && self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// FIN or RST and nothing else to say: it ends a connection and costs nothing.
    pub const fn ends(&self) -> bool {
        self.protocol == TCP && self.flags & (RST | FIN) != 0 && self.flags & SYN == 0 && !self.payload
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// TCP or UDP.
    Segment(Segment),
    /// Another protocol, or a fragment that is not the first: it reaches no port without the first.
    Other,
    /// Cut short within its transport header; the stack drops it.
    Short,
    /// More extension headers than [`EXTENSIONS_MAX`].
    Tangled,
}

/// A packet of IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: Address,
    /// Where it goes.
    pub destination: Address,
    /// What it carries.
    pub carried: Carried,
}

/// RFC 8200 §4.1 names six kinds, each once but one, which may come twice.
pub const EXTENSIONS_MAX: u32 = 7;

/// VLAN tags that are walked: one of the provider and one of the customer (IEEE 802.1ad).
pub const TAGS_MAX: u32 = 2;

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const ETHERNET: u32 = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Reads an Ethernet frame; nothing where it is neither IPv4 nor IPv6 or ends within that header.
#[inline(always)]
pub fn read<B: Bytes>(bytes: &B) -> Option<Packet> {
    let mut offset = ETHERNET;
    let mut kind = u16::from_be_bytes(bytes.read::<2>(12)?);
    for _ in 0..TAGS_MAX {
        if kind == TAGS[0] || kind == TAGS[1] {
            kind = u16::from_be_bytes(bytes.read::<2>(offset + 2)?);
            offset += 4;
        }
    }
    match kind {
        IPV4 => v4(bytes, offset),
        IPV6 => v6(bytes, offset),
        _ => None,
    }
}

#[inline(always)]
fn v4<B: Bytes>(bytes: &B, offset: u32) -> Option<Packet> {
    let head: [u8; 20] = bytes.read(offset)?;
    let length = u32::from(head[0] & 0x0f) * 4;
    if head[0] >> 4 != 4 || length < 20 {
        return None;
    }
    let end = offset + u32::from(u16::from_be_bytes([head[2], head[3]]));
    let fragment = u16::from_be_bytes([head[6], head[7]]);
    let carried = if fragment & 0x1fff != 0 {
        Carried::Other
    } else {
        transport(bytes, &Place { protocol: head[9], offset: offset + length, end, fragmented: fragment & 0x2000 != 0 })
    };
    let source = Address::from_v4([head[12], head[13], head[14], head[15]]);
    let destination = Address::from_v4([head[16], head[17], head[18], head[19]]);
    Some(Packet { source, destination, carried })
}

#[inline(always)]
fn v6<B: Bytes>(bytes: &B, start: u32) -> Option<Packet> {
    let head: [u8; 8] = bytes.read(start)?;
    let source = Address(bytes.read(start + 8)?);
    let destination = Address(bytes.read(start + 24)?);
    if head[0] >> 4 != 6 {
        return None;
    }
    let offset = start + 40;
    let end = offset + u32::from(u16::from_be_bytes([head[4], head[5]]));
    let carried = behind(bytes, Place { protocol: head[6], offset, end, fragmented: false });
    Some(Packet { source, destination, carried })
}

/// Where the transport header is looked for.
struct Place {
    protocol: u8,
    offset: u32,
    end: u32,
    fragmented: bool,
}

/// What stands behind the extension headers of IPv6 (RFC 8200 §4).
#[inline(always)]
fn behind<B: Bytes>(bytes: &B, mut place: Place) -> Carried {
    for _ in 0..EXTENSIONS_MAX {
        let length = match place.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT => {
                let Some([next, length, high, low]) = bytes.read::<4>(place.offset) else { return Carried::Short };
                let kind = place.protocol;
                place.protocol = next;
                if kind == FRAGMENT {
                    if u16::from_be_bytes([high, low]) >> 3 != 0 {
                        return Carried::Other;
                    }
                    place.fragmented |= low & 1 != 0;
                    8
                } else if kind == AUTHENTICATION {
                    (u32::from(length) + 2) * 4
                } else {
                    (u32::from(length) + 1) * 8
                }
            }
            _ => return transport(bytes, &place),
        };
        place.offset += length;
    }
    match place.protocol {
        HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | FRAGMENT => Carried::Tangled,
        _ => transport(bytes, &place),
    }
}

#[inline(always)]
fn transport<B: Bytes>(bytes: &B, place: &Place) -> Carried {
    let (ports, flags, length) = match place.protocol {
        TCP => {
            let Some(head) = bytes.read::<14>(place.offset) else { return Carried::Short };
            ([head[0], head[1], head[2], head[3]], head[13], u32::from(head[12] >> 4) * 4)
        }
        UDP => {
            let Some(head) = bytes.read::<4>(place.offset) else { return Carried::Short };
            (head, 0, 8)
        }
        _ => return Carried::Other,
    };
    Carried::Segment(Segment {
        protocol: place.protocol,
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        flags,
        // The frame may be padded beyond its packet, so the IP header says where it ends.
        payload: place.end != place.offset + length,
        fragmented: place.fragmented,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bytes for [u8] {
        fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
            self.get(offset as usize..)?.first_chunk().copied()
        }
    }

    impl Bytes for Vec<u8> {
        fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
            self.as_slice().read(offset)
        }
    }

    fn tcp(flags: u8, payload: usize) -> Vec<u8> {
        let mut head = vec![0x9c, 0x40, 0x20, 0xfb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
        head.resize(20 + payload, 0xaa);
        head
    }

    fn frame(kinds: &[u16], rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for (index, kind) in kinds.iter().enumerate() {
            frame.extend(kind.to_be_bytes());
            if index + 1 < kinds.len() {
                frame.extend([0, 7]);
            }
        }
        frame.extend(rest);
        frame
    }

    fn ipv4(words: u8, fragment: u16, inner: &[u8]) -> Vec<u8> {
        let length = u16::from(words) * 4 + u16::try_from(inner.len()).unwrap();
        let mut head = vec![0x40 | words, 0];
        head.extend(length.to_be_bytes());
        head.extend([0, 1]);
        head.extend(fragment.to_be_bytes());
        head.extend([64, TCP, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        head.resize(usize::from(words) * 4, 1);
        head.extend(inner);
        head
    }

    fn ipv6(next: u8, inner: &[u8]) -> Vec<u8> {
        let mut head = vec![0x60, 0, 0, 0];
        head.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
        head.extend([next, 64]);
        head.extend([0xfd; 16]);
        head.extend([0xfe; 16]);
        head.extend(inner);
        head
    }

    /// `kinds` as (own number, length byte), each naming the next, before a TCP header.
    fn extended(kinds: &[(u8, u8)]) -> Vec<u8> {
        let mut inner = Vec::new();
        for (index, (kind, length)) in kinds.iter().enumerate() {
            inner.push(kinds.get(index + 1).map_or(TCP, |(next, _)| *next));
            let bytes = match *kind {
                FRAGMENT => 8,
                AUTHENTICATION => (usize::from(*length) + 2) * 4,
                _ => (usize::from(*length) + 1) * 8,
            };
            inner.push(*length);
            inner.resize(inner.len() + bytes - 2, 0);
        }
        inner.extend(tcp(SYN, 0));
        ipv6(kinds.first().map_or(TCP, |(kind, _)| *kind), &inner)
    }

    fn carried(frame: &[u8]) -> Option<Carried> {
        read(&frame.to_vec()).map(|packet| packet.carried)
    }

    fn segment(flags: u8, payload: bool, fragmented: bool) -> Option<Carried> {
        let (source_port, destination_port) = (40_000, 8443);
        Some(Carried::Segment(Segment { protocol: TCP, source_port, destination_port, flags, payload, fragmented }))
    }

    #[test]
    fn a_segment_is_found_behind_whatever_may_stand_before_it() {
        let syn = segment(SYN, false, false);
        let rows = [
            ("IPv4", frame(&[IPV4], &ipv4(5, 0, &tcp(SYN, 0))), syn),
            ("IPv4 with 40 bytes of options", frame(&[IPV4], &ipv4(15, 0, &tcp(SYN, 0))), syn),
            ("one tag", frame(&[0x8100, IPV4], &ipv4(5, 0, &tcp(SYN, 0))), syn),
            ("two tags", frame(&[0x88a8, 0x8100, IPV6], &ipv6(TCP, &tcp(SYN, 0))), syn),
            ("IPv6", frame(&[IPV6], &ipv6(TCP, &tcp(SYN, 0))), syn),
            ("hop by hop", frame(&[IPV6], &extended(&[(HOP_BY_HOP, 0)])), syn),
            ("the longest destination options", frame(&[IPV6], &extended(&[(DESTINATION, 255)])), syn),
            ("an authentication header", frame(&[IPV6], &extended(&[(AUTHENTICATION, 4)])), syn),
            ("a fragment that is whole", frame(&[IPV6], &extended(&[(FRAGMENT, 0)])), syn),
            ("seven headers", frame(&[IPV6], &extended(&[(DESTINATION, 0); 7])), syn),
            ("payload", frame(&[IPV4], &ipv4(5, 0, &tcp(ACK, 9))), segment(ACK, true, false)),
            ("a first fragment", frame(&[IPV4], &ipv4(5, 0x2000, &tcp(ACK, 9))), segment(ACK, true, true)),
            (
                "a bare FIN, padded",
                [frame(&[IPV4], &ipv4(5, 0, &tcp(FIN, 0))), vec![0; 6]].concat(),
                segment(FIN, false, false),
            ),
        ];
        for (name, frame, expected) in rows {
            assert_eq!(carried(&frame), expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_told_has_a_name_and_nothing_panics_however_short_it_is() {
        let rows = [
            ("ARP", frame(&[0x0806], &[0; 40]), None),
            ("three tags", frame(&[0x88a8, 0x8100, 0x8100, IPV4], &ipv4(5, 0, &tcp(SYN, 0))), None),
            ("an IPv4 header of 16 bytes", frame(&[IPV4], &[&[0x44], &[0; 39][..]].concat()), None),
            ("version 6 as IPv4", frame(&[IPV4], &[&[0x65], &[0; 39][..]].concat()), None),
            ("a later fragment", frame(&[IPV4], &ipv4(5, 1, &tcp(SYN, 0))), Some(Carried::Other)),
            ("eight headers", frame(&[IPV6], &extended(&[(DESTINATION, 0); 8])), Some(Carried::Tangled)),
            ("TCP cut short", frame(&[IPV4], &ipv4(5, 0, &tcp(SYN, 0)[..13])), Some(Carried::Short)),
        ];
        for (name, frame, expected) in rows {
            assert_eq!(carried(&frame), expected, "{name}");
        }
        let whole = frame(&[0x8100, IPV6], &extended(&[(HOP_BY_HOP, 1), (FRAGMENT, 0), (AUTHENTICATION, 1)]));
        for length in 0..whole.len() {
            carried(&whole[..length]);
        }
    }

    #[test]
    fn what_opens_and_what_ends_a_connection_is_known_by_its_flags() {
        let with = |flags, payload| Segment {
            protocol: TCP,
            source_port: 1,
            destination_port: 2,
            flags,
            payload,
            fragmented: false,
        };
        assert!(with(SYN, true).opens() && with(SYN | 0xc0, false).opens());
        assert!(!with(SYN | ACK, false).opens() && !with(SYN | FIN, false).opens() && !with(SYN | RST, false).opens());
        assert!(with(FIN | ACK, false).ends() && with(RST, false).ends());
        assert!(!with(FIN | ACK, true).ends(), "bytes in a FIN count like others");
        assert!(!with(SYN | FIN, false).ends());
    }
}
