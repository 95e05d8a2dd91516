//! The known name that a misspelt one probably meant.

/// The candidate nearest to `name`, if any is near enough to be what was meant.
///
/// Case, `-` and `_` make no difference.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = fold(name);
    let far = name.chars().count().max(3) / 3;
    candidates
        .into_iter()
        .map(|candidate| {
            let folded = fold(candidate);
            let distance = strsim::damerau_levenshtein(&name, &folded);
            (distance, -strsim::jaro_winkler(&name, &folded), candidate)
        })
        .filter(|(distance, ..)| *distance <= far)
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(.., candidate)| candidate)
}

/// `did you mean "backup"?`, or else the hint given.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(name, candidates).map_or_else(|| otherwise.to_owned(), |found| format!("did you mean \"{found}\"?"))
}

/// One spelling for all spellings of a parameter's name: `createSnapshot`, `create-snapshot`, `create_snapshot`.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_nonsense_finds_none() {
        let names = ["backup", "backups", "volumes", "create_snapshot"];
        assert_eq!(nearest("backp", names), Some("backup"));
        assert_eq!(nearest("volume", names), Some("volumes"));
        assert_eq!(nearest("createSnapshto", names), Some("create_snapshot"));
        assert_eq!(nearest("xyzzy", names), None);
    }
}
