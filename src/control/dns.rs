//! Asks DNS for a name's addresses, and for how long they are good. The hosts file comes first; where DNS knows nothing, the system may
//! (mDNS, a directory), unless the configuration names its DNS servers. hickory does the asking; what it read of `/etc` is read again for
//! each lookup, so that a change there is seen. See `resolver` for what is kept.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::xfer::Protocol;

/// Seconds for which addresses are good that come without a time of their own: from the hosts file, or from the system.
pub const REFRESH_S: u64 = 30;
/// Seconds for which an answer is good at least, whatever it says itself.
pub const VALID_LEAST_S: u64 = 1;
/// Seconds for which it is good at most.
pub const VALID_MOST_S: u64 = 3_600;
/// From so long a time on it is hickory's way to say that there is none (a day).
const TIMELESS: Duration = Duration::from_secs(86_400 - 1);
/// A server is asked so often before the lookup has failed.
const ATTEMPTS: u32 = 2;

/// Where names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `apisix.dns_resolver`; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// `apisix.dns_resolver_valid`: how long every answer is good, in place of what it says.
    pub valid: Option<Duration>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Addresses, in no order.
    pub addresses: Vec<IpAddr>,
    /// How long they are good.
    pub valid: Duration,
}

impl Dns {
    /// Looks a name up within `timeout`: DNS has half of it where the system may be asked afterwards.
    ///
    /// # Errors
    /// Why there is no address, in hickory's or the system's words.
    pub async fn look_up(&self, host: &str, timeout: Duration) -> Result<Found, String> {
        let patience = || format!("no answer within {} ms", timeout.as_millis());
        let is_last = !self.servers.is_empty();
        let share = if is_last { timeout } else { timeout / 2 };
        let asked = tokio::time::timeout(share, self.ask(host, share)).await;
        let asked = asked.unwrap_or_else(|_| Err(patience()));
        if asked.is_ok() || is_last {
            return asked;
        }
        match tokio::time::timeout(share, tokio::net::lookup_host((host, 0))).await {
            Ok(Ok(found)) => Ok(Found {
                addresses: found.map(|address| address.ip()).collect(),
                valid: self.valid.unwrap_or(Duration::from_secs(REFRESH_S)),
            }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(patience()),
        }
    }

    async fn ask(&self, host: &str, timeout: Duration) -> Result<Found, String> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?
        } else {
            let mut config = ResolverConfig::new();
            for server in &self.servers {
                config.add_name_server(NameServerConfig::new(*server, Protocol::Udp));
                config.add_name_server(NameServerConfig::new(*server, Protocol::Tcp));
            }
            TokioResolver::builder_with_config(config, TokioConnectionProvider::default())
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Always;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        (options.timeout, options.attempts) = (timeout / ATTEMPTS, ATTEMPTS as usize);
        let found = builder.build().lookup_ip(host).await.map_err(|error| error.to_string())?;
        let said = found.valid_until().saturating_duration_since(Instant::now());
        Ok(Found { addresses: found.iter().collect(), valid: self.valid.unwrap_or_else(|| bounded(said)) })
    }
}

/// The time of an answer, within our bounds.
fn bounded(said: Duration) -> Duration {
    if said >= TIMELESS {
        return Duration::from_secs(REFRESH_S);
    }
    said.clamp(Duration::from_secs(VALID_LEAST_S), Duration::from_secs(VALID_MOST_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_bounded_and_none_is_half_a_minute() {
        let seconds = |said| bounded(Duration::from_secs(said)).as_secs();
        assert_eq!([0, 1, 7, 3_600, 7_200, 86_400].map(seconds), [1, 1, 7, 3_600, 3_600, 30]);
    }

    #[tokio::test]
    async fn the_hosts_file_is_asked_first() {
        let nobody = Dns { servers: vec!["127.0.0.1:1".parse().expect("an address")], valid: None };
        let found = nobody.look_up("localhost", Duration::from_millis(500)).await.expect("localhost stands in it");
        assert!(found.addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{found:?}");
        assert_eq!(found.valid, Duration::from_secs(REFRESH_S));
    }
}
