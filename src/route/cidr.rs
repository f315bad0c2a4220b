//! Address ranges, as `remote_addrs`, `ipmatch` and `allow_admin` write them.

use std::net::IpAddr;

/// An address, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix_bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `127.0.0.1`, `::1`, `fe80::/10`. Bits behind the prefix are ignored.
    ///
    /// # Errors
    /// `invalid ip address: <text>`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid ip address: {text}");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.unwrap_or(most);
        if prefix_bits > most { Err(invalid()) } else { Ok(Self { address, prefix_bits }) }
    }

    /// True if `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let free = width - u32::from(self.prefix_bits);
            own.checked_shr(free).unwrap_or(0) == other.checked_shr(free).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(u128::from(own.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fec0::1", false),
            ("127.0.0.0/24", "::ffff:127.0.0.1", true),
        ];
        for (range, address, expected) in cases {
            assert_eq!(
                Cidr::parse(range).unwrap().contains(address.parse().unwrap()),
                expected,
                "{address} in {range}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "a", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.1/", "10.0.0.1/x"] {
            assert_eq!(Cidr::parse(text), Err(format!("invalid ip address: {text}")));
        }
    }
}
