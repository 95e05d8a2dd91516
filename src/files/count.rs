//! How many files a folder has.

use std::{fs, io, path::Path};

/// The number of what is in the folder and below it, without the folders. Links are not followed.
///
/// # Errors
/// If the folder, or one in it, can't be read.
pub(crate) fn count_files(folder: &Path) -> io::Result<u64> {
    let mut count = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_are_counted_and_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        assert_eq!(count_files(folder.path()).unwrap(), 0);
        fs::write(path("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path(), path("a/link")).unwrap();
        assert_eq!(count_files(folder.path()).unwrap(), 2);
        assert!(count_files(&path("missing")).is_err());
    }
}
