//! Writes a line for a syslog server, in the form of RFC 5424, or for the local socket.
//!
//! The local socket gets the form of `syslog(3)`: rsyslog and systemd-journald understand no other
//! form there (tried with rsyslog 8.2302: of an RFC 5424 message, the program's name became `1`).
//!
//! The text has no byte order mark: rsyslog would keep it as part of the text, and RFC 5424 allows
//! UTF-8 without it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use log::Level;
use syslog::{Facility, Formatter5424, Severity};

use super::server::Server;
use crate::logging::line::{Line, microseconds};

/// The application's name in messages.
const APPLICATION: &str = "convoy-backups";

/// The id of the structured data. 32473 is the number that IANA keeps for examples: the project has
/// no number of its own.
const STRUCTURED_DATA: &str = "convoy-backups@32473";

/// The longest datagram that every receiver should accept (RFC 5426), in bytes.
const LONGEST_DATAGRAM: usize = 2048;

/// The longest message that rsyslog and journald accept whole, in bytes.
const LONGEST_MESSAGE: usize = 8192;

/// Writes messages for one server.
#[derive(Debug, Clone)]
pub(super) struct Format {
    header: Formatter5424,
    local: bool,
    longest: usize,
}

impl Format {
    /// The format for this server, from this host.
    pub(super) fn new(server: &Server, host: &str) -> Self {
        let header = Formatter5424 {
            facility: Facility::LOG_DAEMON,
            hostname: Some(word(host, 255)),
            process: APPLICATION.to_owned(),
            pid: std::process::id(),
        };
        let longest =
            if matches!(server, Server::Udp(..)) { LONGEST_DATAGRAM } else { LONGEST_MESSAGE };
        Self { header, local: matches!(server, Server::Unix(_)), longest }
    }

    /// One message, cut to the length that the server accepts, without characters that would end it
    /// early.
    pub(super) fn message(&self, line: &Line) -> String {
        let mut message = if self.local { self.local(line) } else { self.rfc5424(line) };
        if message.len() > self.longest {
            const CUT: &str = "...";
            message.truncate(message.floor_char_boundary(self.longest - CUT.len()));
            message.push_str(CUT);
        }
        message
    }

    /// `<27>1 TIME HOST convoy-backups PID SCRIPT [convoy-backups@32473 run="ID"] text`. The
    /// function of the crate `syslog` for it would use the time of sending, and numbers as message
    /// ids.
    fn rfc5424(&self, line: &Line) -> String {
        let id = if line.is_script { word(&line.target, 32) } else { "-".to_owned() };
        let data = line.run.iter().map(|run| {
            (
                STRUCTURED_DATA.to_owned(),
                BTreeMap::from([("run".to_owned(), crate::text::escape(run).into_owned())]),
            )
        });
        format!(
            "<{}>1 {} {} {} {} {} {} {}",
            self.priority(line.level),
            microseconds(line.time),
            self.header.hostname.as_deref().unwrap_or("-"),
            self.header.process,
            self.header.pid,
            id,
            self.header.format_5424_structured_data(data.collect()),
            line.prefixed()
        )
    }

    /// `<27>Nov 23 07:00:48 convoy-backups[PID]: text`, in local time, like `syslog(3)`.
    fn local(&self, line: &Line) -> String {
        let time = line.time.to_zoned(TimeZone::system()).strftime("%b %e %H:%M:%S").to_string();
        let (process, pid) = (&self.header.process, self.header.pid);
        format!("<{}>{time} {process}[{pid}]: {}", self.priority(line.level), line.prefixed())
    }

    fn priority(&self, level: Level) -> u8 {
        let severity = match level {
            Level::Error => Severity::LOG_ERR,
            Level::Warn => Severity::LOG_WARNING,
            Level::Info => Severity::LOG_INFO,
            Level::Debug | Level::Trace => Severity::LOG_DEBUG,
        };
        self.header.facility as u8 | severity as u8
    }
}

/// A field of the header: visible ASCII, cut to `longest` characters, `-` if empty.
fn word(text: &str, longest: usize) -> String {
    let word: String =
        text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(longest).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: &str, run: Option<&str>, message: &str) -> Line {
        Line {
            time: "2026-11-23T07:00:48.1234569Z".parse().unwrap(),
            level: Level::Error,
            target: target.to_owned(),
            is_script: !target.contains("::"),
            run: run.map(str::to_owned),
            message: message.to_owned(),
        }
    }

    fn format(server: Server, host: &str) -> Format {
        let mut format = Format::new(&server, host);
        format.header.pid = 42;
        format
    }

    fn udp() -> Format {
        format(Server::Udp("host".into(), 514), "host1")
    }

    #[test]
    fn a_message_is_as_rfc_5424_wants_it() {
        assert_eq!(
            udp().message(&line("backup", Some("r1"), "vol1 é failed")),
            "<27>1 2026-11-23T07:00:48.123456Z host1 convoy-backups 42 backup [convoy-backups@32473 run=\"r1\"] backup [r1]: vol1 é failed"
        );
        assert_eq!(
            udp().message(&line("convoy::client", None, "text")),
            "<27>1 2026-11-23T07:00:48.123456Z host1 convoy-backups 42 - - convoy::client: text"
        );
    }

    #[test]
    fn a_message_is_one_line_and_one_frame_whatever_a_volume_is_called() {
        let message = udp().message(&line(
            "my script\n",
            Some("a\"]\\b\n"),
            "x\n<27>1 forged\r\0\u{2028}end",
        ));
        assert!(!message.contains(crate::text::acts), "{message:?}");
        assert!(message.contains(
            " my_script_ [convoy-backups@32473 run=\"a\\\"\\]\\\\b\\\\n\"] my script\\n ["
        ));
        assert!(message.ends_with("x\\n<27>1 forged\\r\\u{0}\\u{2028}end"), "{message}");
        let odd = format(Server::Tcp("host".into(), 1), "höst 1").message(&line("", None, ""));
        assert!(odd.contains("Z h_st_1 convoy-backups 42 - - "), "{odd}");
    }

    #[test]
    fn a_message_is_cut_to_what_the_server_takes_and_not_inside_a_character() {
        for (server, longest) in [
            (Server::Udp("h".into(), 1), 2048),
            (Server::Tcp("h".into(), 1), 8192),
            (Server::Unix("/s".into()), 8192),
        ] {
            let message = format(server, "h").message(&line("backup", None, &"漢".repeat(5000)));
            assert!(
                (longest - 2..=longest).contains(&message.len()) && message.ends_with("漢..."),
                "{longest}"
            );
        }
    }

    #[test]
    fn the_local_socket_gets_the_form_of_syslog_3() {
        let message = format(Server::Unix("/dev/log".into()), "h").message(&line(
            "backup",
            Some("r1"),
            "text",
        ));
        assert!(
            message.starts_with("<27>Nov ")
                && message.ends_with(" convoy-backups[42]: backup [r1]: text")
        );
    }

    #[test]
    fn levels_are_severities() {
        for (level, priority) in [
            (Level::Error, 27),
            (Level::Warn, 28),
            (Level::Info, 30),
            (Level::Debug, 31),
            (Level::Trace, 31),
        ] {
            assert_eq!(udp().priority(level), priority);
        }
    }
}
