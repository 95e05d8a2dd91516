//! Destinations (`vfs:///dir`, `s3://bucket@region/path`) and the URLs of backups.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::Name;
use crate::error::{Error, Result};

/// Where backups are kept, in the user's spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    /// Without the time.
    text: String,
    kind: DestinationKind,
    /// The time at which a bucket is looked at, in place of now.
    as_of: Option<Timestamp>,
}

/// The kinds of destination that Convoy knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum DestinationKind {
    /// A folder: local, or a mounted NFS share.
    Vfs {
        /// The absolute path.
        path: PathBuf,
    },
    /// A bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Empty if the URL names no region.
        region: String,
        /// The path in the bucket, without slashes at either end.
        path: String,
    },
    /// EBS: a snapshot is the backup, so there is no destination.
    Ebs { region: String },
}

impl Destination {
    /// Parses a destination.
    ///
    /// # Errors
    /// A usage error for a relative path, an unknown scheme, a missing bucket, or a query that is no
    /// `as-of=TIME` of a bucket.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some((rest, query)) = text.split_once('?')
            && let Some(time) = query.strip_prefix("as-of=")
        {
            return Self::parse(rest)?.at_time(past(time)?);
        }
        const FORMS: &str = "write vfs:///absolute/folder or s3://bucket@region/path";
        let wrong = |why: &str| {
            Err(Error::usage(format!("\"{text}\" is not a backup destination: {why}"))
                .with_hint(FORMS))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("it has no \"://\"");
        };
        if rest.contains(['?', '#']) || rest.contains(char::is_control) {
            return wrong("it may not contain \"?\", \"#\" or control characters");
        }
        let kind = match scheme {
            "vfs" => {
                if !rest.starts_with('/') {
                    return wrong("the folder must be absolute, with three slashes before it");
                }
                if Path::new(rest).components().any(|part| part == std::path::Component::ParentDir)
                {
                    return wrong("it may not contain \"..\"");
                }
                DestinationKind::Vfs { path: PathBuf::from(rest) }
            }
            "s3" => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (bucket, region) = host.split_once('@').unwrap_or((host, ""));
                if bucket.is_empty() {
                    return wrong("the bucket's name is missing");
                }
                if region.is_empty() {
                    return wrong("the region is missing");
                }
                DestinationKind::S3 {
                    bucket: bucket.into(),
                    region: region.into(),
                    path: path.trim_matches('/').into(),
                }
            }
            "ebs" => DestinationKind::Ebs { region: rest.trim_matches('/').into() },
            _ => return wrong(&format!("the scheme \"{scheme}\" is not known")),
        };
        Ok(Self { text: text.to_owned(), kind, as_of: None })
    }

    /// The destination as it was at a time.
    ///
    /// # Errors
    /// A usage error for a destination that is no bucket.
    pub(crate) fn at_time(self, time: Timestamp) -> Result<Self> {
        if self.is_s3() {
            return Ok(Self { as_of: Some(time), ..self });
        }
        let message = format!("\"{self}\" is known only as it is now: it is no bucket");
        Err(Error::usage(message)
            .with_hint("the server of a share may have snapshots of it; see docs/ransomware.md"))
    }

    /// The time at which it is looked at; `None`: now.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.as_of
    }

    pub(crate) fn kind(&self) -> &DestinationKind {
        &self.kind
    }

    /// The folder of a `vfs://` destination.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.kind {
            DestinationKind::Vfs { path } => Some(path),
            _ => None,
        }
    }

    /// Whether backups go to S3.
    pub(crate) fn is_s3(&self) -> bool {
        matches!(self.kind, DestinationKind::S3 { .. })
    }

    /// One spelling for all spellings of the same destination. Locks are named by it.
    pub(crate) fn key(&self) -> String {
        match &self.kind {
            DestinationKind::Vfs { path } => {
                let path =
                    std::fs::canonicalize(path).unwrap_or_else(|_| path.components().collect());
                format!("vfs://{}", path.display())
            }
            DestinationKind::S3 { bucket, path, .. } => {
                let time = self.as_of.map(|time| format!("?{AS_OF}={time}")).unwrap_or_default();
                format!("s3://{bucket}/{path}{time}")
            }
            DestinationKind::Ebs { region } => format!("ebs://{region}"),
        }
    }

    /// As [`Destination::key`], but with the region. Two destinations with the same address are
    /// reached in the same way.
    pub(crate) fn address(&self) -> String {
        match &self.kind {
            DestinationKind::S3 { region, .. } => format!("{} in {region}", self.key()),
            _ => self.key(),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.as_of.map_or(Ok(()), |time| write!(f, "?{AS_OF}={time}"))
    }
}

/// The part of a URL with the time at which a bucket is looked at.
const AS_OF: &str = "as-of";

/// Reads the time in a URL.
fn past(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|_| {
        Error::usage(format!("\"{AS_OF}={text}\" is no time"))
            .with_hint("write it as \"backups --as-of\" does, such as 2026-11-23T07:00:00Z")
    })
}

/// The URL of one backup: `vfs:///dir?backup=B&volume=V`,
/// `s3://bucket@region/path?backup=B&volume=V` or `ebs://region/snap-x`. One in a bucket as it was at a time
/// also has `&as-of=TIME`.
///
/// Two URLs name the same backup when volume and backup agree, however the destination is spelt:
/// compare with [`BackupUrl::same_backup`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum BackupUrl {
    /// A backup in Convoy's object store, or in the built-in daemon's repository.
    /// Its parts are names, so that none of them can bring in another part.
    Stored {
        destination: Destination,
        backup: Name,
        /// The volume's name.
        volume: Name,
    },
    /// An EBS snapshot.
    Ebs {
        region: String,
        /// The snapshot's id at AWS (`snap-..`).
        snapshot: String,
    },
}

impl BackupUrl {
    /// Parses a backup's URL. The parts are separated by `&`, or by what Go's JSON makes of it
    /// (`\u0026`, `u0026`).
    ///
    /// # Errors
    /// A usage error that says what is missing.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Err(Error::usage(format!("\"{text}\" is not the URL of a backup: {why}")).with_hint(
                "take one from \"convoy-backups backups\": vfs:///folder?backup=backup-..&volume=.. (quoted, because of the \"&\")",
            ))
        };
        if let Some(rest) = text.strip_prefix("ebs://") {
            return match rest.split_once('/') {
                Some((region, snapshot))
                    if !region.is_empty() && snapshot.len() > 1 && !snapshot.contains('/') =>
                {
                    Ok(Self::Ebs { region: region.into(), snapshot: snapshot.into() })
                }
                _ => wrong("write ebs://region/snap-..".into()),
            };
        }
        let Some((destination, query)) = text.split_once('?') else {
            return wrong("it names no backup".into());
        };
        let destination = match Destination::parse(destination) {
            Ok(destination) => destination,
            Err(error) => return wrong(error.message),
        };
        let (mut backup, mut volume, mut time) = (None, None, None);
        for part in query
            .replace("\\u0026", "&")
            .replace("u0026volume=", "&volume=")
            .replace("u0026backup=", "&backup=")
            .split('&')
        {
            if let Some((AS_OF, value)) = part.split_once('=') {
                match past(value) {
                    Ok(_) if time.is_some() => return wrong(format!("it has \"{AS_OF}=\" twice")),
                    Ok(read) => time = Some(read),
                    Err(error) => return wrong(error.message),
                }
                continue;
            }
            let (what, value, known) = match part.split_once('=') {
                Some((what @ "backup", value)) if !value.is_empty() => (what, value, &mut backup),
                Some((what @ "volume", value)) if !value.is_empty() => (what, value, &mut volume),
                _ => return wrong(format!("\"{part}\" is not expected in it")),
            };
            let name = match Name::parse(what, value) {
                Ok(name) => name,
                Err(error) => return wrong(error.message),
            };
            if known.replace(name).is_some() {
                return wrong(format!("it has \"{what}=\" twice"));
            }
        }
        let destination =
            match time.map_or(Ok(destination.clone()), |time| destination.at_time(time)) {
                Ok(destination) => destination,
                Err(error) => return wrong(error.message),
            };
        match (backup, volume) {
            (Some(backup), Some(volume)) => Ok(Self::Stored { destination, backup, volume }),
            (None, _) => {
                wrong("\"backup=\" is missing; was the \"?\" or \"&\" eaten by the shell?".into())
            }
            (_, None) => wrong("\"volume=\" is missing; was the \"&\" eaten by the shell?".into()),
        }
    }

    /// The URL of a backup at a destination.
    pub(crate) fn stored(destination: &Destination, backup: &Name, volume: &Name) -> Self {
        Self::Stored {
            destination: destination.clone(),
            backup: backup.clone(),
            volume: volume.clone(),
        }
    }

    /// The name of the backup's volume; `None` for EBS, whose URLs do not name it.
    pub(crate) fn volume(&self) -> Option<&str> {
        match self {
            Self::Stored { volume, .. } => Some(volume.as_str()),
            Self::Ebs { .. } => None,
        }
    }

    /// The backup's name, or for EBS the snapshot's id.
    pub(crate) fn backup(&self) -> &str {
        match self {
            Self::Stored { backup, .. } => backup.as_str(),
            Self::Ebs { snapshot, .. } => snapshot,
        }
    }

    /// Where the backup is.
    pub(crate) fn destination(&self) -> Destination {
        match self {
            Self::Stored { destination, .. } => destination.clone(),
            Self::Ebs { region, .. } => Destination {
                text: format!("ebs://{region}/"),
                kind: DestinationKind::Ebs { region: region.clone() },
                as_of: None,
            },
        }
    }

    /// The backup as it was at the time at which this destination is looked at, if that is one of the past
    /// and the URL says no time. It may be in another bucket.
    ///
    /// # Errors
    /// A usage error for a backup that is in no bucket: it is known only as it is now.
    pub(crate) fn at_time_of(self, at: &Destination) -> Result<Self> {
        match (self, at.as_of) {
            (Self::Stored { destination, backup, volume }, Some(time))
                if destination.as_of.is_none() =>
            {
                let destination = destination.at_time(time)?;
                Ok(Self::Stored { destination, backup, volume })
            }
            (url @ Self::Ebs { .. }, Some(time)) => {
                url.destination().at_time(time)?;
                Ok(url)
            }
            (url, _) => Ok(url),
        }
    }

    /// Whether both name the same backup of the same volume, however their destinations are spelt. As it
    /// was at a time, a backup is another one: what is known of one tells nothing of the other.
    pub(crate) fn same_backup(&self, other: &Self) -> bool {
        (self.backup(), self.volume(), self.time())
            == (other.backup(), other.volume(), other.time())
    }

    /// The time at which its bucket is looked at; `None`: now.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Stored { destination, .. } => destination.as_of,
            Self::Ebs { .. } => None,
        }
    }
}

impl fmt::Display for BackupUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { destination, backup, volume } => {
                write!(f, "{}?backup={backup}&volume={volume}", destination.text)?;
                destination.as_of.map_or(Ok(()), |time| write!(f, "&{AS_OF}={time}"))
            }
            Self::Ebs { region, snapshot } => write!(f, "ebs://{region}/{snapshot}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_backup_url_is_understood() {
        let plain = BackupUrl::parse("vfs:///backups?backup=backup-1a&volume=vol1").unwrap();
        for other in [
            "vfs:///backups?backup=backup-1a\\u0026volume=vol1",
            "vfs:///backups?backup=backup-1au0026volume=vol1",
            "vfs:///backups?volume=vol1&backup=backup-1a",
        ] {
            assert_eq!(BackupUrl::parse(other).unwrap(), plain, "{other}");
        }
        assert_eq!(plain.to_string(), "vfs:///backups?backup=backup-1a&volume=vol1");
        let spelt_otherwise =
            BackupUrl::parse("vfs:///backups/?backup=backup-1a&volume=vol1").unwrap();
        assert!(spelt_otherwise != plain && spelt_otherwise.same_backup(&plain));
        let ebs = BackupUrl::parse("ebs://us-east-1/snap-0f1").unwrap();
        assert_eq!((ebs.backup(), ebs.volume()), ("snap-0f1", None));
    }

    #[test]
    fn a_bucket_may_be_looked_at_as_it_was() {
        let text = "s3://b@r/x?backup=backup-1a&volume=vol1&as-of=2026-11-23T07:00:00Z";
        let past = BackupUrl::parse(text).unwrap();
        assert_eq!(past.to_string(), text);
        let at = past.destination();
        assert_eq!(at.to_string(), "s3://b@r/x?as-of=2026-11-23T07:00:00Z");
        assert_eq!(Destination::parse(&at.to_string()).unwrap(), at);
        let now = Destination::parse("s3://b@r/x").unwrap();
        assert!(at.key() != now.key() && at.address() != now.address());
        let url = BackupUrl::parse("s3://b@r/x?backup=backup-1a&volume=vol1").unwrap();
        assert_eq!(url.clone().at_time_of(&at).unwrap(), past);
        assert_eq!(url.clone().at_time_of(&now).unwrap(), url);
        assert!(!url.same_backup(&past) && past.same_backup(&past));
        let elsewhere = BackupUrl::parse("s3://b@r/y?backup=backup-1a&volume=vol1").unwrap();
        let elsewhere = elsewhere.at_time_of(&at).unwrap().to_string();
        assert_eq!(elsewhere, text.replace("b@r/x", "b@r/y"));
        for text in ["vfs:///x?backup=backup-1a&volume=vol1", "ebs://r/snap-1"] {
            let error = BackupUrl::parse(text).unwrap().at_time_of(&at).unwrap_err();
            assert!(error.message.contains("it is no bucket"), "{error}");
        }
        for (text, why) in [
            ("s3://b@r/x?as-of=monday", "\"as-of=monday\" is no time"),
            ("vfs:///x?as-of=2026-11-23T07:00:00Z", "it is no bucket"),
            ("s3://b@r/x?as=of", "\"?\""),
        ] {
            let error = Destination::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_wrong_backup_url_says_what_is_missing() {
        for (url, why) in [
            ("vfs:///backups", "names no backup"),
            ("vfs:///backups?backup=backup-1a", "volume="),
            ("vfs:///backups?volume=vol1", "backup="),
            ("ftp://x/y?backup=backup-1a&volume=vol1", "scheme"),
            ("vfs:///b?backup=../../x&volume=vol1", "'/'"),
            ("vfs:///b?backup=backup-1&backup=backup-2&volume=vol1", "\"backup=\" twice"),
            ("vfs:///b?backup=backup-1&volume=vol1\\u0026volume=vol2", "\"volume=\" twice"),
            ("vfs:///b?backup=backup-1&volume=vol1&host=b", "\"host=b\" is not expected"),
            ("ebs://snap-1", "ebs://region"),
            ("", "names no backup"),
        ] {
            let error = BackupUrl::parse(url).unwrap_err();
            assert!(error.message.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn destinations_are_absolute_and_of_a_known_scheme() {
        for (text, why) in [
            ("vfs://relative", "absolute"),
            ("vfs:///a/../b", "\"..\""),
            ("ftp://host/x", "\"ftp\""),
            ("/backups", "\"://\""),
            ("s3://@us-east-1/x", "bucket"),
            ("s3://bucket/x", "region"),
            ("vfs:///x?backup=1", "\"?\""),
        ] {
            let error = Destination::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
        let s3 = Destination::parse("s3://bkt@us-east-1/host1/").unwrap();
        assert!(s3.is_s3());
        assert_eq!(s3.key(), Destination::parse("s3://bkt@us-east-1/host1").unwrap().key());
        assert_eq!(s3.to_string(), "s3://bkt@us-east-1/host1/");
    }
}
