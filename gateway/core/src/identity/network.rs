//! Tells whether an address lies in a network. In: CIDR text, addresses. Out: yes or no. Never here: names, lookups.

use std::net::IpAddr;

/// A range of addresses that share a prefix (RFC 4632 §3.1). An IPv4 address seen through an IPv6 socket counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor an address, `/` and a prefix length.
    Syntax,
    /// The prefix is longer than the address.
    Prefix,
    /// Bits beyond the prefix are set; this network was probably meant.
    HostBits(Network),
}

impl NetworkError {
    /// What to write instead.
    pub fn cure(&self) -> String {
        match self {
            Self::Syntax => "write `10.0.0.0/8` or one address".into(),
            Self::Prefix => "the prefix is at most 32 for IPv4 and 128 for IPv6".into(),
            Self::HostBits(meant) => format!("did you mean `{meant}`?"),
        }
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        // An IPv4 network written in IPv6 would match nothing, for addresses are compared in their own family.
        if address.to_canonical() != address {
            return Err(NetworkError::Syntax);
        }
        let (bits, width) = number(address);
        let prefix = match prefix {
            None => width,
            // `parse` takes a sign and leading zeros, which nobody means.
            Some(digits) if digits.starts_with(['+', '0']) && digits != "0" => return Err(NetworkError::Syntax),
            Some(digits) => digits.parse().map_err(|_| NetworkError::Syntax)?,
        };
        if prefix > width {
            return Err(NetworkError::Prefix);
        }
        let kept = bits & mask(width, prefix);
        if kept != bits {
            let address = match address {
                IpAddr::V4(_) => IpAddr::V4(u32::try_from(kept).unwrap_or_default().into()),
                IpAddr::V6(_) => IpAddr::V6(kept.into()),
            };
            return Err(NetworkError::HostBits(Self { address, prefix }));
        }
        Ok(Self { address, prefix })
    }

    /// Its lowest address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, width) = number(self.address);
        let (other, other_width) = number(address.to_canonical());
        width == other_width && (own ^ other) & mask(width, self.prefix) == 0
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

/// The top `prefix` of `width` bits.
fn mask(width: u8, prefix: u8) -> u128 {
    let all = u128::MAX.checked_shr(128 - u32::from(width)).unwrap_or_default();
    let host = all.checked_shr(u32::from(prefix)).unwrap_or_default();
    all & !host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "a/8",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/104",
            " 10.0.0.0/8",
        ] {
            assert_eq!(Network::parse(text), Err(NetworkError::Syntax), "{text}");
        }
        assert_eq!(Network::parse("10.0.0.0/33"), Err(NetworkError::Prefix));
        assert_eq!(Network::parse("::/129"), Err(NetworkError::Prefix));
        for (text, meant) in [("10.1.0.0/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32")] {
            assert_eq!(Network::parse(text), Err(NetworkError::HostBits(Network::parse(meant).unwrap())), "{text}");
        }
    }

    #[test]
    fn an_address_lies_in_its_own_networks_only() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "::ffff:10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::a00:1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "2001:db9::", true),
        ] {
            assert_eq!(
                Network::parse(network).unwrap().contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }
}
