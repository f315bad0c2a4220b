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
    pub fn parse(_text: &str) -> Result<Self, String> {
        todo!()
    }

    /// True if `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, _address: IpAddr) -> bool {
        todo!()
    }
}
