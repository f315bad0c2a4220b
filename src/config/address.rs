//! `host:port` as people write it. Names are not resolved here.

/// Takes `host`, `host:port`, `[v6]` or `[v6]:port` apart: the host with its brackets, and the port's text. A name with several
/// colons and no brackets is an IPv6 address without a port.
pub fn split(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && (host.ends_with(']') || !host.contains(':')) => {
            (host, Some(port))
        }
        _ => (address, None),
    }
}

/// The path in `unix:/path`: a socket of this machine.
pub fn unix_path(node: &str) -> Option<&str> {
    node.strip_prefix("unix:").filter(|path| path.starts_with('/'))
}

/// A host without the brackets of IPv6.
pub fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        for (address, host, port) in [
            ("a", "a", None),
            ("a:80", "a", Some("80")),
            ("[::1]", "[::1]", None),
            ("[::1]:80", "[::1]", Some("80")),
            ("::1", "::1", None),
            ("a:", "a", Some("")),
        ] {
            assert_eq!(split(address), (host, port), "{address}");
        }
        assert_eq!(unix_path("unix:/run/a:b.sock"), Some("/run/a:b.sock"));
        assert!(unix_path("unix:80").is_none() && unix_path("a:80").is_none());
        assert_eq!(without_brackets("[::1]"), "::1");
        assert_eq!(without_brackets("a"), "a");
    }
}
