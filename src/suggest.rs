//! "Did you mean": the known name nearest to one that is not known.

/// The candidate nearest to `name`, where one is near enough to have been meant: at most a third of the letters
/// differ (a swap of two neighbours counts as one), or `name` is its beginning. Case, `-` and `_` make no difference. Of
/// equally near ones the first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    if name.is_empty() || name.len() > 200 {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = folded(candidate);
        let near_enough = (name.len().max(other.len()) / 3).max(1);
        let mut distance = distance(&name, &other);
        if distance > near_enough && name.len() >= 3 && other.starts_with(&name) {
            distance = near_enough;
        }
        // One letter may be wrong, but not the only one.
        let meant = distance <= near_enough && distance < name.len();
        if meant && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The hint for a name that is not known: `did you mean "backup"?`.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean \"{candidate}\"?"))
}

fn folded(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).map(|letter| if letter == '-' { '_' } else { letter }).collect()
}

/// The Damerau-Levenshtein distance (optimal string alignment): letters added, left out, changed, or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS: [&str; 8] = ["snapshot", "backup", "backups", "volumes", "create", "restore", "remove", "prune"];

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
        assert_eq!(nearest("createSnapshot", ["volume", "create_snapshot"]), Some("create_snapshot"));
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

    #[test]
    fn a_swap_of_neighbours_is_one_difference() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("ab", "ba", 1), ("abcd", "acbd", 1), ("kitten", "sitting", 3)]
        {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(a), &letters(b)), expected, "{a} {b}");
            assert_eq!(distance(&letters(b), &letters(a)), expected, "{b} {a}");
        }
    }
}
