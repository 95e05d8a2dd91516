//! How Docker's socket and the names of its volumes are written.

use std::path::PathBuf;

use super::{choice::Choice, daemon_choice::LONGEST_SOCKET};
use crate::engine::{Binds, Policy};

/// The setting `BKUP_DOCKER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DockerSocket {
    /// `DOCKER_HOST`, else the usual socket where there is one.
    Auto,
    Off,
    At(PathBuf),
}

impl DockerSocket {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "off" => Some(Self::Off),
            _ => socket(text).map(Self::At),
        }
    }
}

impl Choice for Policy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("labelled", Self::Labelled)];
}

impl Choice for Binds {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("labelled", Self::Labelled), ("project", Self::Project)];
}

/// `unix:///socket`.
pub(super) fn socket(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("unix://").filter(|path| path.starts_with('/'))?;
    (path.len() > 1 && path.len() <= LONGEST_SOCKET).then(|| PathBuf::from(path))
}

/// A volume's name with `*` for any characters.
pub(super) fn pattern(text: &str) -> Option<String> {
    let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || "_.-*".contains(letter);
    (!text.is_empty() && text.chars().all(is_of_a_name)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_given_as_docker_writes_it() {
        assert_eq!(
            DockerSocket::parse("unix:///run/d.sock"),
            Some(DockerSocket::At("/run/d.sock".into()))
        );
        assert_eq!(DockerSocket::parse("off"), Some(DockerSocket::Off));
        for wrong in
            ["", "/run/d.sock", "unix://", "unix:///", "unix://run", "tcp://host:2375", "on"]
        {
            assert_eq!(DockerSocket::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pattern_has_the_characters_of_names_and_stars() {
        assert!(["shop_*", "*", "a.b-c"].iter().all(|text| pattern(text).is_some()));
        assert!(["", "a b", "a/b", "[ab]"].iter().all(|text| pattern(text).is_none()));
    }
}
