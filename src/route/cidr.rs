//! Address ranges, as `remote_addrs`, `ipmatch` and `allow_admin` write them.

use std::net::IpAddr;

/// An address, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The network's bits, all others zero.
    network: u128,
    /// Bits that count, of 128.
    mask: u128,
    is_v4: bool,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `127.0.0.1`, `::1`, `fe80::/10`. Bits behind the prefix are ignored. IPv4 mapped into IPv6 counts as IPv4.
    ///
    /// # Errors
    /// `invalid ip address: <text>`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid ip address: {text}");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = match prefix {
            Some(prefix) if !prefix.starts_with('+') => prefix.parse().map_err(|_| invalid())?,
            Some(_) => return Err(invalid()),
            None => width,
        };
        if prefix > width {
            return Err(invalid());
        }
        let (address, prefix) = match address.to_canonical() {
            IpAddr::V4(v4) if address.is_ipv6() && prefix >= 96 => (IpAddr::V4(v4), prefix - 96),
            _ => (address, prefix),
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let mask = u128::MAX.checked_shl(width - prefix).unwrap_or(0);
        Ok(Self { network: bits(address) & mask, mask, is_v4: address.is_ipv4() })
    }

    /// True if `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_v4 && bits(address) & self.mask == self.network
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// An address out of text, as variables hold it.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(range: &str, address: &str) -> bool {
        Cidr::parse(range).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_hold_what_shares_their_prefix() {
        assert!(inside("10.0.0.0/8", "10.255.1.2"));
        assert!(!inside("10.0.0.0/8", "11.0.0.0"));
        assert!(inside("127.0.0.1/24", "127.0.0.200"), "bits behind the prefix are ignored");
        assert!(inside("0.0.0.0/0", "255.255.255.255"));
        assert!(inside("10.1.2.3", "10.1.2.3") && !inside("10.1.2.3", "10.1.2.4"));
        assert!(inside("fe80::/10", "febf::1") && !inside("fe80::/10", "fec0::1"));
        assert!(inside("::1", "::1") && !inside("::1", "::2"));
        assert!(inside("::/0", "1::"));
    }

    #[test]
    fn families_do_not_mix_but_mapped_addresses_are_ipv4() {
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(!inside("::/0", "1.2.3.4"));
        assert!(!inside("0.0.0.1", "::1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(inside("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!inside("::ffff:10.0.0.0/104", "11.1.2.3"));
    }

    #[test]
    fn what_is_no_range_is_refused_by_name() {
        for text in
            ["", "x", "1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/-1", "1.2.3.4/8/8", "[::1]"]
        {
            assert_eq!(Cidr::parse(text), Err(format!("invalid ip address: {text}")));
        }
    }
}
