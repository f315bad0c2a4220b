//! The control thread's own ports: bound before anything is served, each failure one line that names the port and its key.

use std::net::{SocketAddr, TcpListener};

use crate::config::file::FileConfig;

/// One bound port.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
}

impl Port {
    fn bind(address: SocketAddr, what: &str, key: &str) -> Result<Self, String> {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map(|listener| Self { listener }).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
                std::io::ErrorKind::PermissionDenied => "not allowed (ports below 1024 need privileges)".to_owned(),
                std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
                _ => error.to_string(),
            };
            format!("cannot listen on {address} for {what}: {why}; {key} in the configuration file changes it")
        })
    }

    /// Where it listens: of port 0, the one that the kernel chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The listener for the runtime. Must be called inside it.
    pub(super) fn into_tokio(self) -> Result<tokio::net::TcpListener, String> {
        tokio::net::TcpListener::from_std(self.listener).map_err(|error| format!("cannot use a bound port: {error}"))
    }
}

/// All of them; `None` is one that the file does not want.
#[derive(Debug, Default)]
pub struct Ports {
    /// The Admin API.
    pub admin: Option<Port>,
    /// The Control API.
    pub control: Option<Port>,
    /// `/status`.
    pub status: Option<Port>,
    /// Prometheus.
    pub metrics: Option<Port>,
}

impl Ports {
    /// Binds every port that the file wants.
    ///
    /// # Errors
    /// One line for each port that could not be bound.
    pub fn bind(config: &FileConfig) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut bind = |address: Option<SocketAddr>, what, key| {
            address.and_then(|address| Port::bind(address, what, key).map_err(|error| errors.push(error)).ok())
        };
        let admin = config.admin.enabled.then_some(config.admin.listen);
        let ports = Self {
            admin: bind(admin, "the Admin API", "deployment.admin.admin_listen"),
            control: bind(config.control, "the Control API", "apisix.control"),
            status: bind(config.status, "the status server", "apisix.status"),
            metrics: bind(
                config.prometheus.as_ref().map(|prometheus| prometheus.listen),
                "metrics",
                "plugin_attr.prometheus.export_addr",
            ),
        };
        if errors.is_empty() { Ok(ports) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_key_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Port::bind(address, "the Admin API", "deployment.admin.admin_listen").unwrap_err();
        assert_eq!(
            error,
            format!(
                "cannot listen on {address} for the Admin API: the port is taken; deployment.admin.admin_listen in the \
                 configuration file changes it"
            )
        );
    }
}
