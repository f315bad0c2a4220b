//! Listening sockets that a supervisor holds (systemd's socket activation, sd_listen_fds(3)): a restart, or another binary, then goes by without a
//! refused connection, because what comes meanwhile waits in the kernel's queue. Which socket is for what is decided here; `io` takes them over.

use std::net::{SocketAddr, TcpListener};

use crate::io::listener;

/// The sockets that were handed to this process; none without a supervisor. To be called once, early.
///
/// # Errors
/// What was handed over cannot be used.
pub fn handed_over() -> Result<Vec<TcpListener>, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let count = count(std::process::id(), variable("LISTEN_PID").as_deref(), variable("LISTEN_FDS").as_deref())?;
    listener::inherited(count).map_err(|error| {
        format!("LISTEN_FDS: {count} sockets were to be handed over, and one of them cannot be used: {error} (systemd: ListenStream= with an address and port)")
    })
}

/// How many descriptors are for the process `own`.
fn count(own: u32, pid: Option<&str>, fds: Option<&str>) -> Result<usize, String> {
    match (pid, fds) {
        // Meant for a parent of this process: sd_listen_fds(3) leaves them alone too.
        (Some(pid), Some(fds)) if pid.parse() == Ok(own) => {
            fds.parse().map_err(|_| format!("LISTEN_FDS is '{fds}', not a number of sockets"))
        }
        _ => Ok(0),
    }
}

/// Every core's sockets, in the order of `addresses`: all cores accept on the same ones.
///
/// # Errors
/// A line for every address that no socket is for, and for every socket that is for none.
pub fn share(
    handed: Vec<TcpListener>,
    addresses: &[SocketAddr],
    cores: usize,
) -> Result<Vec<Vec<TcpListener>>, Vec<String>> {
    let mut left: Vec<(SocketAddr, TcpListener)> =
        handed.into_iter().filter_map(|socket| Some((socket.local_addr().ok()?, socket))).collect();
    let (mut ordered, mut problems) = (Vec::new(), Vec::new());
    for address in addresses {
        match left.iter().position(|(bound, _)| bound == address) {
            Some(place) => ordered.push(left.remove(place).1),
            None => problems.push(format!(
                "no socket was handed over for {address} (apisix.node_listen and the supervisor's sockets must be the same; systemd: \
                 ListenStream={address})"
            )),
        }
    }
    let unasked = left
        .iter()
        .map(|(bound, _)| format!("a socket was handed over for {bound}, which apisix.node_listen does not name"));
    problems.extend(unasked);
    if !problems.is_empty() {
        return Err(problems);
    }
    let all = || ordered.iter().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>();
    let shared: Result<Vec<_>, _> = (0..cores).map(|_| all()).collect();
    shared.map_err(|error| vec![format!("a socket that was handed over cannot be shared among the cores: {error}")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_only_if_they_are_meant_for_this_process() {
        assert_eq!(count(7, Some("7"), Some("2")), Ok(2));
        assert_eq!(count(7, Some("8"), Some("2")), Ok(0));
        assert_eq!(count(7, None, Some("2")), Ok(0));
        assert_eq!(count(7, Some("7"), None), Ok(0));
        assert!(count(7, Some("7"), Some("two")).is_err());
    }

    #[test]
    fn each_core_gets_every_socket_and_what_does_not_fit_is_said() {
        let sockets = || [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [one, other] = sockets();
        let addresses = [other.local_addr().unwrap(), one.local_addr().unwrap()];
        let shared = share(vec![one, other], &addresses, 3).unwrap();
        assert_eq!(shared.len(), 3);
        for core in &shared {
            let bound: Vec<_> = core.iter().map(|socket| socket.local_addr().unwrap()).collect();
            assert_eq!(bound, addresses);
        }
        let [one, other] = sockets();
        let asked = [one.local_addr().unwrap(), ([127, 0, 0, 1], 1).into()];
        let said = share(vec![one, other], &asked, 1).unwrap_err();
        assert_eq!(said.len(), 2);
        assert!(said[0].contains("127.0.0.1:1") && said[1].contains("does not name"), "{said:?}");
    }
}
