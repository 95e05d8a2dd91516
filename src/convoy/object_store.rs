//! Where Convoy keeps backups at a destination.

/// Convoy's folder at a destination.
pub(crate) const FOLDER: &str = "convoy-objectstore";

/// The folder with the backups of a volume, at a destination.
pub(crate) fn volume_folder(volume: &str) -> String {
    format!("{FOLDER}/{}", volume_folder_within(volume))
}

/// The folder with the backups of a volume, within [`FOLDER`]. Names shorter than four characters are
/// padded with `!`.
pub(crate) fn volume_folder_within(volume: &str) -> String {
    let padded: Vec<char> = format!("{volume:!<4}").chars().collect();
    let part = |from: usize, to: usize| padded[from..to].iter().collect::<String>();
    let [first, second, name] = [part(0, 2), part(2, 4), part(0, padded.len())];
    format!("volumes/{first}/{second}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_padded() {
        for (volume, folder) in [
            ("vol1", "vo/l1/vol1"),
            ("db", "db/!!/db!!"),
            ("abc", "ab/c!/abc!"),
            ("data-1", "da/ta/data-1"),
        ] {
            assert_eq!(volume_folder(volume), format!("convoy-objectstore/volumes/{folder}"));
        }
    }
}
