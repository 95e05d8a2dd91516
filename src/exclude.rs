//! Which files of which volumes are left out of backups: patterns as restic's `--exclude` has them, files
//! that mark a folder, and other file systems. Nothing here looks at a disk.

mod pattern;

use std::{collections::BTreeMap, sync::Arc};

use pattern::Pattern;

use crate::error::{Error, Result};

/// The label of a volume of Docker's own with its patterns.
pub(crate) const EXCLUDE_LABEL: &str = "convoy-backups.exclude";
/// What a `CACHEDIR.TAG` begins with, by https://bford.info/cachedir/.
const CACHE_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

pub(crate) const HINT: &str = "write patterns as for restic's --exclude, with commas between them, such as *.tmp,/cache; [NAME] before those of one volume; docs/excludes.md";

/// Patterns for all volumes, and for single ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Patterns {
    all: Vec<Pattern>,
    /// By the name of the volume.
    of: BTreeMap<String, Vec<Pattern>>,
}

impl Patterns {
    /// Reads patterns with commas between them. Those behind `[NAME]` are for the volume of that name, and
    /// those behind `[*]` for all again.
    ///
    /// # Errors
    /// If one makes no sense.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut found = Self::default();
        let mut volume: Option<&str> = None;
        for item in items(text) {
            let section = item.strip_prefix('[').and_then(|item| item.strip_suffix(']'));
            match section.filter(|name| !name.contains(['[', ']'])) {
                Some("*") => volume = None,
                Some("") => return Err(Error::usage("\"[]\" names no volume").with_hint(HINT)),
                Some(name) => volume = Some(name),
                None => {
                    let pattern = Pattern::parse(item).map_err(|error| error.with_hint(HINT))?;
                    match volume {
                        None => found.all.push(pattern),
                        Some(name) => found.of.entry(name.to_owned()).or_default().push(pattern),
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The items of a list with commas or line ends between them. Lines that begin with `#` are comments. A
/// comma behind a backslash belongs to a pattern, in which it stands for itself.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let parts = lines.flat_map(|line| {
        let mut is_escaped = false;
        line.split(move |letter| {
            let is_end = letter == ',' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        })
    });
    parts.map(str::trim).filter(|item| !item.is_empty())
}

/// A list on one line.
pub(crate) fn in_one_line(text: &str) -> String {
    items(text).collect::<Vec<_>>().join(",")
}

/// A text with one item a line, as a list with commas. Lines that begin with `#` are comments.
pub(crate) fn of_lines(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let escaped = |line: &str| {
        let (mut item, mut is_escaped) = (String::new(), false);
        for letter in line.chars() {
            if letter == ',' && !is_escaped {
                item.push('\\');
            }
            is_escaped = letter == '\\' && !is_escaped;
            item.push(letter);
        }
        item
    };
    lines.map(escaped).collect::<Vec<_>>().join(",")
}

/// A file that marks its folder as one whose content is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) name: String,
    /// What the file begins with; empty: anything.
    pub(crate) header: String,
}

impl Marker {
    /// A marker as `FILE` or `FILE:HEADER`; `None` if the file's name is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, header) = text.split_once(':').unwrap_or((text, ""));
        let is_name =
            !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
        is_name.then(|| Self { name: name.to_owned(), header: header.to_owned() })
    }

    /// The marker of folders of caches.
    pub(crate) fn of_caches() -> Self {
        Self { name: "CACHEDIR.TAG".to_owned(), header: CACHE_SIGNATURE.to_owned() }
    }
}

/// A pattern of names or paths that are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pattern: Pattern,
    ignores_case: bool,
}

impl Sought {
    /// A pattern as of `--exclude`.
    ///
    /// # Errors
    /// If it makes no sense.
    pub(crate) fn parse(text: &str, ignores_case: bool) -> Result<Self> {
        let pattern = if ignores_case { text.to_lowercase() } else { text.to_owned() };
        let pattern = Pattern::parse(&pattern).map_err(|error| {
            error.with_hint(
                "write a name or a path with *, ? and **, such as \"*.conf\" or \"etc/**/*.conf\"",
            )
        })?;
        if pattern.takes_back {
            return Err(Error::usage(format!("the pattern \"{text}\" looks for nothing"))
                .with_hint("leave out the \"!\""));
        }
        Ok(Self { pattern, ignores_case })
    }

    /// Whether it is what is looked for itself, and not only in a folder that is.
    pub(crate) fn is(&self, path: &[&str]) -> bool {
        let lower: Vec<_> = match self.ignores_case {
            true => path.iter().map(|name| name.to_lowercase()).collect(),
            false => Vec::new(),
        };
        let names = lower.iter().map(String::as_bytes);
        let names: Vec<_> = match self.ignores_case {
            true => names.collect(),
            false => path.iter().map(|name| name.as_bytes()).collect(),
        };
        self.pattern.is_of(&names)
    }
}

/// What is left out of all volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Excludes {
    pub(crate) patterns: Patterns,
    pub(crate) markers: Vec<Marker>,
    /// Whether what is mounted in a volume is left out.
    pub(crate) one_file_system: bool,
}

/// What is left out of one volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeExcludes {
    patterns: Vec<Pattern>,
    pub(crate) markers: Vec<Marker>,
    pub(crate) one_file_system: bool,
}

impl Excludes {
    /// What is left out of a volume with these labels; `None`: nothing.
    ///
    /// # Errors
    /// If the volume's label makes no sense.
    pub(crate) fn of_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Arc<VolumeExcludes>>> {
        let mut patterns = self.patterns.all.clone();
        patterns.extend(self.patterns.of.get(name).into_iter().flatten().cloned());
        for item in labels.get(EXCLUDE_LABEL).into_iter().flat_map(|text| items(text)) {
            patterns.push(Pattern::parse(item).map_err(|error| {
                let of = format_args!("the label {EXCLUDE_LABEL} of volume \"{name}\"");
                error.context(of).with_hint(
                    "a volume keeps its labels: make it anew with a correct one, or without it, and name the patterns in BKUP_EXCLUDE; docs/excludes.md",
                )
            })?);
        }
        let (markers, one_file_system) = (self.markers.clone(), self.one_file_system);
        let excludes = VolumeExcludes { patterns, markers, one_file_system };
        Ok((excludes != VolumeExcludes::default()).then(|| Arc::new(excludes)))
    }
}

impl VolumeExcludes {
    /// Whether the patterns leave out the file or folder of this path in the volume. A later pattern with
    /// `!` takes back what earlier ones leave out; but what is in a folder that is left out is never
    /// looked at.
    pub(crate) fn leaves_out(&self, path: &[&[u8]]) -> bool {
        self.patterns.iter().fold(false, |is_out, pattern| match pattern.takes_back {
            // What changes nothing is not matched.
            true => is_out && !pattern.matches(path),
            false => is_out || pattern.matches(path),
        })
    }

    /// Whether there are patterns.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_found_at_any_depth_by_the_end_of_its_path() {
        for (pattern, found, not_found) in [
            (
                "log*",
                &["var/log/logrotate.log", "logs/log.txt", "logs", "var/log"][..],
                &["logs/a"][..],
            ),
            ("data", &["data", "data/x/data"], &["data/x", "mydata"]),
            ("etc/**", &["etc/a", "etc/a/b", "x/etc/a"], &["etc", "x/etc"]),
            ("/etc/**", &["etc/a", "etc/a/b"], &["etc", "x/etc/a"]),
            ("/etc/*.conf", &["etc/a.conf"], &["x/etc/a.conf", "etc/a.conf/b"]),
            ("etc/**/*.conf", &["etc/a.conf", "x/etc/a/b/c.conf"], &["a.conf", "etc/a.conf/b"]),
            ("a/b", &["a/b", "x/a/b", "a/b/a/b"], &["a/b/c", "b"]),
            ("**/x", &["x", "a/b/x"], &["x/a"]),
            ("*", &["a", "a/b"], &[]),
        ] {
            let sought = Sought::parse(pattern, false).unwrap();
            let is = |path: &&str| sought.is(&path.split('/').collect::<Vec<_>>());
            for path in found {
                assert!(is(path), "{pattern} {path}");
            }
            for path in not_found {
                assert!(!is(path), "{pattern} {path}");
            }
        }
        assert!(Sought::parse("ÄB*", true).unwrap().is(&["x", "äbc"]));
        assert!(Sought::parse("!x", false).is_err());
    }

    fn left_out(patterns: &str, volume: &str, path: &str) -> bool {
        let patterns = Patterns::parse(patterns).unwrap();
        let excludes = Excludes { patterns, ..Excludes::default() };
        let of = excludes.of_volume(volume, &BTreeMap::new()).unwrap();
        let parts: Vec<_> = path.split('/').map(str::as_bytes).collect();
        of.is_some_and(|of| of.leaves_out(&parts))
    }

    #[test]
    fn patterns_are_for_all_volumes_or_for_one() {
        let text = "*.tmp\n# a comment, with a comma\n\n[db]\n/pg_wal\n/log\n[*]\nlast";
        for (volume, path, is_out) in [
            ("db", "x.tmp", true),
            ("db", "pg_wal", true),
            ("db", "log", true),
            ("other", "dir/x.tmp", true),
            ("other", "pg_wal", false),
            ("other", "dir/last", true),
            ("db", "a comment", false),
            ("db", "with a comma", false),
        ] {
            assert_eq!(left_out(text, volume, path), is_out, "{volume} {path}");
            assert_eq!(left_out(&in_one_line(text), volume, path), is_out, "{volume} {path}");
            assert_eq!(left_out(&of_lines(text), volume, path), is_out, "{volume} {path}");
        }
        assert!(!left_out("", "db", "x"));
        let of_rcs = of_lines("*,v\n*.tmp");
        assert_eq!(of_rcs, "*\\,v,*.tmp");
        for (path, is_out) in [("file,v", true), ("x.tmp", true), ("file", false), ("v", false)] {
            assert_eq!(left_out(&of_rcs, "db", path), is_out, "{path}");
        }
        assert!(left_out(&in_one_line("/pg_wal, /log"), "db", "log"));
        assert!(Patterns::parse("[]").is_err());
    }

    #[test]
    fn a_later_pattern_takes_back_what_earlier_ones_leave_out() {
        for (patterns, path, is_out) in [
            ("*,!keep", "keep", false),
            ("*,!keep", "keep/inside", false),
            ("*,!keep", "other", true),
            ("!keep,*", "keep", true),
            ("*.log,!important.log", "dir/important.log", false),
            ("*.log,!important.log,/dir/*", "dir/important.log", true),
        ] {
            assert_eq!(left_out(patterns, "v", path), is_out, "{patterns} {path}");
        }
    }

    #[test]
    fn the_label_of_a_volume_has_patterns_of_its_own_and_an_odd_one_is_an_error() {
        let labels = |text: &str| BTreeMap::from([(EXCLUDE_LABEL.to_owned(), text.to_owned())]);
        let none = Excludes::default();
        assert_eq!(none.of_volume("v", &BTreeMap::new()).unwrap(), None);
        let of = none.of_volume("v", &labels("/cache, *.tmp")).unwrap().unwrap();
        assert!(of.leaves_out(&[b"cache"]) && of.leaves_out(&[b"d", b"x.tmp"]));
        let error = none.of_volume("v", &labels("[a-")).unwrap_err();
        assert!(
            error.message.contains("the label convoy-backups.exclude of volume \"v\""),
            "{error}"
        );
    }

    #[test]
    fn a_marker_is_a_name_and_perhaps_what_the_file_begins_with() {
        let parsed = Marker::parse("CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55");
        assert_eq!(parsed, Some(Marker::of_caches()));
        assert_eq!(Marker::parse(".nobackup").unwrap().header, "");
        for wrong in ["", ":x", "a/b", ".."] {
            assert_eq!(Marker::parse(wrong), None, "{wrong}");
        }
    }
}
