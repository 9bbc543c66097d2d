//! What a service manager is told of pgweir's life, by the protocol of sd_notify(3): a datagram of
//! `NAME=value` lines to the socket that the environment names. Without one, nobody is told.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::gateway::{Gateway, Phase};

/// How often the status line is brought up to date.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// Whoever started pgweir and wants to hear of it.
#[derive(Debug, Clone)]
pub struct Manager {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// It restarts a service of which it has not heard for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` for this process.
    #[must_use]
    pub fn from_environment() -> Self {
        let is_ours =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        Self::new(env::var_os("NOTIFY_SOCKET"), env::var("WATCHDOG_USEC").ok().filter(|_| is_ours))
    }

    fn new(socket: Option<OsString>, watchdog: Option<String>) -> Self {
        let socket = socket.and_then(|name| match connect(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the service manager is not told");
                None
            }
        });
        let watchdog = watchdog.and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
        Self { socket, watchdog: watchdog.filter(|period| !period.is_zero()) }
    }

    /// It serves, or serves again as configured anew.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration. The time tells this reload from an earlier one.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reading its configuration"
        ));
    }

    /// It has begun to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Draining");
    }

    fn tell(&self, text: &str) {
        // Nobody there any more, or too busy to listen: that is theirs to know.
        if let Some((socket, address)) = self.socket.as_deref() {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }

    /// Says every so often that pgweir is alive, and how it stands. Run it where clients are served: if
    /// that hangs, nothing is said, and the manager acts.
    pub async fn keep_told(self, gateway: Arc<Gateway>) {
        if self.socket.is_none() {
            return;
        }
        let pace = self.watchdog.map_or(STATUS_PERIOD, |period| STATUS_PERIOD.min(period / 2));
        loop {
            tokio::time::sleep(pace).await;
            let status = status(&gateway);
            match self.watchdog {
                Some(_) => self.tell(&format!("WATCHDOG=1\nSTATUS={status}")),
                None => self.tell(&format!("STATUS={status}")),
            }
        }
    }
}

/// A line for `systemctl status`.
pub(crate) fn status(gateway: &Gateway) -> String {
    let clients = gateway.client_count();
    let what = match *gateway.phase().borrow() {
        Phase::Serving => "Serving",
        Phase::Draining => "Draining",
        Phase::Stopping => "Ending",
    };
    let now = gateway.now();
    let missing: Vec<&str> = now
        .clusters()
        .filter(|(_, cluster)| cluster.topology().primary.is_none())
        .map(|(name, _)| name)
        .collect();
    let lack = match missing.as_slice() {
        [] => String::new(),
        names => format!("; no primary in {}", names.join(", ")),
    };
    format!("{what}, {clients} clients{lack}")
}

/// `@` stands for the zero byte that a name outside the file system begins with.
fn connect(name: &OsStr) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard at a socket of this address when a manager there is told all there is to tell.
    fn heard(address: &SocketAddr, name: OsString) -> Vec<String> {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let manager = Manager::new(Some(name), Some("1000".to_owned()));
        assert_eq!(manager.watchdog, Some(Duration::from_millis(1)));
        manager.ready("Serving");
        manager.reloading();
        manager.stopping();
        let hear = || {
            let mut bytes = [0; 256];
            let count = socket.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        (0..3).map(|_| hear()).collect()
    }

    #[test]
    fn a_manager_is_told_by_datagrams_in_the_file_system_or_outside() {
        let directory = std::env::temp_dir().join(format!("pgweir-notify-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        let abstract_name = format!("pgweir-test-{}", std::process::id());
        let sockets = [
            (SocketAddr::from_pathname(&path).unwrap(), path.into_os_string()),
            (
                SocketAddr::from_abstract_name(abstract_name.as_bytes()).unwrap(),
                format!("@{abstract_name}").into(),
            ),
        ];
        for (address, name) in sockets {
            let heard = heard(&address, name);
            assert_eq!(heard[0], "READY=1\nSTATUS=Serving");
            let (reloading, rest) = heard[1].split_once("\nMONOTONIC_USEC=").unwrap();
            assert_eq!(reloading, "RELOADING=1");
            let micros: u64 = rest.split('\n').next().unwrap().parse().unwrap();
            assert!(micros > 0, "{micros}");
            assert_eq!(heard[2], "STOPPING=1\nSTATUS=Draining");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        for name in [None, Some("/nowhere/at/all".into()), Some("".into())] {
            let manager = Manager::new(name, Some("0".to_owned()));
            assert_eq!(manager.watchdog, None);
            manager.ready("x");
        }
    }
}
