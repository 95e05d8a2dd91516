//! Notifies the service manager of the program's state by the protocol of sd_notify(3): each
//! message is a datagram to the socket that `NOTIFY_SOCKET` names. Without that variable, no
//! message is sent. A message that can't be sent is not an error.
//!
//! These few lines replace libsystemd, which would be the only system library that the binary
//! needs.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// The service manager kills the program after so long without a sign of life.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Connects to the service manager that started this process.
    pub(crate) fn of_this_process() -> Self {
        Self::find(|name| std::env::var_os(name))
    }

    fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let socket = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("the service manager can't be told that this runs: NOTIFY_SOCKET is {name:?}: {error}");
                None
            }
        });
        let number = |name| {
            variable(name).and_then(|text| text.to_str().and_then(|text| text.parse::<u64>().ok()))
        };
        // Without a process id, the watchdog is meant for any process that reads the variable.
        let is_ours =
            number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog =
            number("WATCHDOG_USEC").filter(|time| is_ours && *time > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Notifies that the program is ready. `status` is one line for people.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Notifies that the program is ending, and will have ended `within` this time. The service
    /// manager does not kill the program before.
    fn ending(&self, within: Duration) {
        self.tell(&format!(
            "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC={}",
            within.as_micros()
        ));
    }

    /// Runs the program's `work` to its end, with signs of life all the time. The service manager is
    /// notified of the end by [`Self::ending`]: when the program is told to end, or when the work has
    /// ended by itself.
    pub(crate) async fn during<T>(
        self,
        work: impl Future<Output = T>,
        cancellation: &CancellationToken,
        within: Duration,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let ended = tokio::select! {
            biased;
            () = cancellation.cancelled() => None,
            never = self.keep_alive() => match never {},
            output = &mut work => Some(output),
        };
        self.ending(within);
        if let Some(output) = ended {
            return output;
        }
        // Runs have time to end. The watchdog goes on until then.
        tokio::select! {
            never = self.keep_alive() => match never {},
            output = &mut work => output,
        }
    }

    /// Sends signs of life until dropped, twice as often as needed. They come from the runtime that
    /// does the work, so they stop if the runtime hangs.
    async fn keep_alive(&self) -> Infallible {
        let (Some(_), Some(watchdog)) = (&self.socket, self.watchdog) else {
            return std::future::pending().await;
        };
        let mut moments = tokio::time::interval(watchdog / 2);
        moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            moments.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            log::debug!("the service manager was not told: {error}");
        }
    }
}

/// Connects without blocking: a service manager that does not listen must not stop the program.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Replaces line breaks, because a line break would begin another message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &OsStr)]) -> ServiceManager {
        ServiceManager::find(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into())
        })
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn what_is_told_arrives_as_one_message_also_where_a_status_has_line_breaks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = found(&[("NOTIFY_SOCKET", path.as_os_str())]);
        manager.ready("2 entries\nWATCHDOG=trigger");
        assert_eq!(received(&socket), "READY=1\nSTATUS=2 entries WATCHDOG=trigger");
        manager.ending(Duration::from_secs(40));
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=40000000");
    }

    /// Also if the work ends in the same poll as the program is told to end.
    #[tokio::test]
    async fn an_end_is_told_before_it_is_over_however_fast_the_work_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let cancellation = CancellationToken::new();
        let work = async { cancellation.cancel() };
        let manager = found(&[("NOTIFY_SOCKET", path.as_os_str())]);
        manager.during(work, &cancellation, Duration::from_secs(40)).await;
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=40000000");
    }

    #[test]
    fn a_socket_without_a_file_is_told_too() {
        let name = format!("convoy-backups-test-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        found(&[("NOTIFY_SOCKET", OsStr::new(&format!("@{name}")))]).ready("here");
        assert_eq!(received(&socket), "READY=1\nSTATUS=here");
    }

    #[test]
    fn where_nobody_listens_nothing_happens() {
        found(&[]).ready("here");
        found(&[("NOTIFY_SOCKET", OsStr::new("/no/such/socket"))]).ready("here");
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_twice_as_often_as_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = found(&[
            ("NOTIFY_SOCKET", path.as_os_str()),
            ("WATCHDOG_USEC", OsStr::new("60000000")),
        ]);
        _ = tokio::time::timeout(Duration::from_secs(89), manager.keep_alive()).await;
        socket.set_nonblocking(true).unwrap();
        let count = std::iter::from_fn(|| socket.recv(&mut [0; 64]).ok()).count();
        assert_eq!(count, 3, "at 0, 30 and 60 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watchdog_of_another_process_gets_no_signs_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let other = OsString::from((std::process::id() + 1).to_string());
        let manager = found(&[
            ("NOTIFY_SOCKET", path.as_os_str()),
            ("WATCHDOG_USEC", OsStr::new("60000000")),
            ("WATCHDOG_PID", &other),
        ]);
        _ = tokio::time::timeout(Duration::from_secs(300), manager.keep_alive()).await;
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err());
    }
}
