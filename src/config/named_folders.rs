//! Folders with the names that they have as volumes: `website=/srv/website,mail=/var/mail`.

use std::path::{Component, Path, PathBuf};

use crate::{
    convoy::Name,
    error::{Error, Result},
};

/// Folders of the system's own, in which nothing is kept.
const NEVER: [&str; 4] = ["/proc", "/sys", "/dev", "/run/docker"];

const HINT: &str =
    "write NAME=/folder, such as website=/srv/website; several with commas between them";

/// Reads the list. What only the host can tell (whether a folder is there) is not looked at.
pub(super) fn parse(text: &str) -> Result<Vec<(String, PathBuf)>> {
    read(text).map_err(|error| if error.hint.is_some() { error } else { error.with_hint(HINT) })
}

fn read(text: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, path) = entry
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("\"{entry}\" is not NAME=/folder")))?;
        let name = Name::volume(name.trim())?.to_string();
        let path = folder(path.trim())?;
        for (other, there) in &found {
            let wrong = if *other == name {
                format!("two folders have the name \"{name}\"")
            } else if *there == path {
                format!("\"{}\" has two names, \"{other}\" and \"{name}\"", path.display())
            } else if there.starts_with(&path) || path.starts_with(there) {
                format!("\"{}\" and \"{}\" are in one another", there.display(), path.display())
            } else {
                continue;
            };
            return Err(Error::usage(wrong));
        }
        found.push((name, path));
    }
    Ok(found)
}

fn folder(text: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Err(Error::usage(format!("\"{text}\" {why}")));
    let path = Path::new(text);
    if !path.is_absolute() {
        return wrong("is not an absolute path");
    }
    if text.split('/').any(|part| part == "..") {
        return wrong("has \"..\" in it");
    }
    let path: PathBuf = path.components().collect();
    if path.components().all(|part| part == Component::RootDir) {
        return wrong(
            "is the whole host: name the folders that matter, each with a name of its own",
        );
    }
    if NEVER.iter().any(|never| path.starts_with(never)) {
        return wrong("is the system's own; nothing is kept there");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_with_their_names() {
        let found = parse("website=/srv/website/, mail=/var/./mail,").unwrap();
        let expected = [("website", "/srv/website"), ("mail", "/var/mail")];
        assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), PathBuf::from(path))));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, why) in [
            ("/srv/website", "is not NAME=/folder"),
            ("a b=/srv", "is not a volume name"),
            ("web=srv", "not an absolute path"),
            ("web=", "not an absolute path"),
            ("web=/srv/../etc", "has \"..\" in it"),
            ("web=/", "the whole host"),
            ("web=//./", "the whole host"),
            ("web=/proc", "the system's own"),
            ("web=/sys/fs", "the system's own"),
            ("web=/srv,web=/etc", "two folders have the name \"web\""),
            ("web=/srv,www=/srv/", "has two names, \"web\" and \"www\""),
            ("web=/srv,www=/srv/www", "are in one another"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
        assert!(parse("web=/srv/web,www=/srv/web2").is_ok());
    }
}
