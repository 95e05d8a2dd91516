//! What a word of the command line names: `VOLUME[@WHEN][:PATH]`.

use jiff::Zoned;

use crate::{
    convoy::{Name, chosen::Wanted},
    error::{Error, Result},
    time_words::{self, Day},
};

/// How such a word is written, for help.
pub(super) const FORM: &str = "VOLUME[@WHEN][:PATH]";
/// What it means, for help.
pub(super) const MEANING: &str = "the volume's newest good backup; with @WHEN, that of a time (\"wiki@yesterday 18:00\", wiki@2h, wiki@2026-11-23) or the one whose id begins so (wiki@7ec99f88); and a path in it";

/// A backup of a volume, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) volume: Name,
    pub(super) wanted: Wanted,
    /// Empty for the volume's own folder.
    pub(super) path: String,
}

impl Target {
    /// # Errors
    /// A usage error for a word that names no volume, or no time.
    pub(super) fn parse(word: &str, now: &Zoned) -> Result<Self> {
        let end = word.find(['@', ':']).unwrap_or(word.len());
        let (volume, rest) = word.split_at(end);
        let volume = Name::volume(volume).map_err(|error| {
            error.with_hint(format!("write {FORM}, such as wiki@yesterday:etc"))
        })?;
        let (wanted, path) = match rest.strip_prefix('@') {
            None => (Wanted::default(), rest.strip_prefix(':').unwrap_or_default()),
            Some(rest) => when(rest, now)?,
        };
        Ok(Self { volume, wanted, path: path.trim_matches('/').to_owned() })
    }
}

/// A time or an id, and the path behind it. Times have colons in them: the longest beginning that is one
/// counts.
fn when<'a>(text: &'a str, now: &Zoned) -> Result<(Wanted, &'a str)> {
    let colons = text.match_indices(':').map(|(at, _)| at);
    let mut ends: Vec<_> = colons.chain([text.len()]).collect();
    ends.reverse();
    let path = |end: usize| text.get(end + 1..).unwrap_or_default();
    for end in &ends {
        let (when, _) = text.split_at(*end);
        // A time that is still to come is none of a file's name.
        if when.starts_with("backup-") || time_words::parse(when, now, Day::Begin).is_err() {
            continue;
        }
        let at = time_words::parse(when, now, Day::End)?;
        return Ok((Wanted { at: Some(at), id: None }, path(*end)));
    }
    let end = ends.last().copied().unwrap_or(text.len());
    let (id, _) = text.split_at(end);
    let digits = id.strip_prefix("backup-").unwrap_or(id);
    let is_id = digits.len() >= 4 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    if is_id {
        return Ok((Wanted { at: None, id: Some(id.to_owned()) }, path(end)));
    }
    Err(Error::usage(format!("\"@{id}\" is neither a time nor the id of a backup")).with_hint(
        "write a time (\"wiki@yesterday 18:00\", wiki@2h, wiki@2026-11-23), or four digits of an id at least, as \"backups\" lists them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(word: &str) -> (String, String, String) {
        let now: Zoned = "2026-11-23T12:00:00+00:00[UTC]".parse().unwrap();
        let target = Target::parse(word, &now).unwrap_or_else(|error| panic!("{word}: {error}"));
        let at = target.wanted.at.map(|at| at.to_string());
        let when = at.or(target.wanted.id).unwrap_or_default();
        (target.volume.to_string(), when, target.path)
    }

    #[test]
    fn a_word_names_a_volume_a_time_or_a_backup_and_a_path() {
        for (word, volume, when, path) in [
            ("wiki", "wiki", "", ""),
            ("wiki:etc/app.conf", "wiki", "", "etc/app.conf"),
            ("wiki:/etc/", "wiki", "", "etc"),
            ("wiki:a:b@c", "wiki", "", "a:b@c"),
            ("wiki@yesterday 18:00", "wiki", "2026-11-22T18:00:59.999999999Z", ""),
            ("wiki@yesterday 18:00:etc", "wiki", "2026-11-22T18:00:59.999999999Z", "etc"),
            ("wiki@09:00", "wiki", "2026-11-23T09:00:59.999999999Z", ""),
            ("wiki@2026-11-20:etc", "wiki", "2026-11-20T23:59:59.999999999Z", "etc"),
            ("wiki@2026-11-20T18:00:00Z:etc", "wiki", "2026-11-20T18:00:00Z", "etc"),
            ("wiki@2h ago:x", "wiki", "2026-11-23T10:00:00Z", "x"),
            ("wiki@7ec99f88:etc", "wiki", "7ec99f88", "etc"),
            ("wiki@7ec99f88", "wiki", "7ec99f88", ""),
            ("wiki@backup-7ec9:18:00", "wiki", "backup-7ec9", "18:00"),
        ] {
            assert_eq!(parsed(word), (volume.into(), when.into(), path.into()), "{word}");
        }
    }

    #[test]
    fn a_word_that_names_no_volume_or_no_time_is_refused() {
        let now: Zoned = "2026-11-23T12:00:00+00:00[UTC]".parse().unwrap();
        for word in [
            "",
            "@now",
            ":etc",
            "wiki@",
            "wiki@never",
            "wiki@never:etc",
            "wiki@7ec",
            "wiki@18:00",
            "../x",
        ] {
            assert_eq!(Target::parse(word, &now).unwrap_err().exit_code(), 2, "{word}");
        }
    }
}
