//! "Did you mean": the known name nearest to one that is not known.

/// The candidate nearest to `name`, if one is near enough: at most a third of the letters differ (a
/// swap of two neighbours counts as one), or the candidate begins with `name`. Case, `-` and `_`
/// make no difference. Of equally near candidates, the one with the longest common beginning wins.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = fold(name);
    let length = name.chars().count();
    if length == 0 || length > 200 {
        return None;
    }
    let near = |candidate: &'a str| {
        let other = fold(candidate);
        let near_enough = (length.max(other.chars().count()) / 3).max(1);
        let mut distance = strsim::osa_distance(&name, &other);
        if distance > near_enough && length >= 3 && other.starts_with(&name) {
            distance = near_enough;
        }
        // One wrong letter is near, unless it is the only letter.
        let meant = distance <= near_enough && distance < length;
        meant.then(|| (distance, -strsim::jaro_winkler(&name, &other), candidate))
    };
    let found = candidates
        .into_iter()
        .filter_map(near)
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    found.map(|(.., candidate)| candidate)
}

/// The hint for a name that is not known: `did you mean "backup"?`.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean \"{candidate}\"?"))
}

/// The hint of [`did_you_mean`], or another hint if no candidate is near.
pub(crate) fn did_you_mean_or<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    did_you_mean(name, candidates).unwrap_or_else(|| otherwise.to_owned())
}

/// One spelling for all spellings of a name: `createSnapshot`, `create-snapshot`,
/// `create_snapshot`.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS: [&str; 8] =
        ["snapshot", "backup", "backups", "volumes", "create", "restore", "remove", "prune"];

    #[test]
    fn the_name_that_was_meant_is_found() {
        for (typed, meant) in [
            ("backp", "backup"),
            ("bakcup", "backup"),
            ("backupss", "backups"),
            ("Volume", "volumes"),
            ("snap", "snapshot"),
            ("restroe", "restore"),
            ("purne", "prune"),
            ("create_", "create"),
        ] {
            assert_eq!(nearest(typed, SCRIPTS), Some(meant), "{typed}");
        }
        assert_eq!(
            nearest("createSnapshot", ["volume", "create_snapshot"]),
            Some("create_snapshot")
        );
        assert_eq!(nearest("keep-dayly", ["keep_daily", "keep_hourly"]), Some("keep_daily"));
        assert_eq!(did_you_mean("volme", ["volume"]).unwrap(), "did you mean \"volume\"?");
    }

    #[test]
    fn what_is_not_near_is_not_suggested() {
        for typed in ["", "x", "deploy", "zzzzzz", "vo", "b", "é".repeat(5_000).as_str()] {
            assert_eq!(nearest(typed, SCRIPTS), None, "{typed}");
        }
        assert_eq!(nearest("backup", []), None);
        assert_eq!(nearest("a", ["b", "c"]), None);
    }
}
