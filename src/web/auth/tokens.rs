//! The tokens of the API: configured, or made once and kept in the data folder.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::role::Role;
use crate::{
    config::{Secret, wrong_with_token},
    error::{Error, Result},
    files::write_whole,
};

/// How many random bytes a generated token has.
const TOKEN_BYTES: usize = 32;
/// The largest token file that is read, in bytes.
const MOST_FILE_BYTES: u64 = 4_096;

/// The path of the file with the generated token.
pub(crate) fn token_file(data_dir: &Path) -> PathBuf {
    data_dir.join("api-token")
}

/// The SHA-256 of a token. Comparing digests takes the same time for tokens of any length.
pub(super) type TokenDigest = [u8; 32];

/// The tokens that this server accepts.
#[derive(Debug)]
pub(super) struct Tokens {
    full: Secret,
    read: Option<Secret>,
}

impl Tokens {
    /// Finds the configured tokens. Without a configured token for the full role, that token is
    /// read from the data folder, or made there.
    ///
    /// # Errors
    /// A configuration error if that file can't be used, or if both tokens are the same: the token
    /// for reading would allow everything.
    pub(super) fn find(
        full: Option<&Secret>,
        read: Option<&Secret>,
        data_dir: &Path,
    ) -> Result<Self> {
        let full = match full {
            Some(full) => full.clone(),
            None => read_or_make(data_dir)?,
        };
        if read.is_some_and(|read| read.expose() == full.expose()) {
            let file = token_file(data_dir);
            return Err(Error::configuration(format!(
                "BKUP_API_READ_TOKEN is the full token, that of \"{}\"",
                file.display()
            ))
            .with_hint("give it a text of its own: what shows it may only look; or remove the file, so that another full token is made"));
        }
        Ok(Self { full, read: read.cloned() })
    }

    /// The role of the token with this digest. The time this takes does not depend on the token.
    pub(super) fn role(&self, given: &TokenDigest) -> Option<Role> {
        let same = |token: &Secret| digest(token.expose().as_bytes()).ct_eq(given);
        let full = same(&self.full);
        let read = self.read.as_ref().map_or(Choice::from(0), same);
        if full.into() {
            Some(Role::Full)
        } else if read.into() {
            Some(Role::Read)
        } else {
            None
        }
    }

    /// The token of this role.
    pub(super) fn of(&self, role: Role) -> Option<&Secret> {
        match role {
            Role::Full => Some(&self.full),
            Role::Read => self.read.as_ref(),
        }
    }
}

pub(super) fn digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

/// Reads the token in the data folder, or makes it.
fn read_or_make(data_dir: &Path) -> Result<Secret> {
    let path = token_file(data_dir);
    let shown = path.display();
    let wrong = |why: String, hint: &str| Error::configuration(why).with_hint(hint);
    let mut file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(&path),
        Err(error) => {
            return Err(wrong(
                format!("the API's token \"{shown}\" can't be read: {error}"),
                "let this user read it, or set BKUP_API_TOKEN",
            ));
        }
    };
    let mut text = String::new();
    let read = file.metadata().and_then(|metadata| {
        file.by_ref().take(MOST_FILE_BYTES).read_to_string(&mut text)?;
        Ok(metadata.permissions().mode())
    });
    let mode = read.map_err(|error| {
        wrong(
            format!("the API's token \"{shown}\" can't be read: {error}"),
            "remove the file, so that a new one is made, or set BKUP_API_TOKEN",
        )
    })?;
    if mode & 0o077 != 0 {
        return Err(wrong(
            format!(
                "others than its owner may use the API's token \"{shown}\" (mode {:03o})",
                mode & 0o777
            ),
            "remove the file, so that a new token is made, or \"chmod 600\" it if nobody can have read it",
        ));
    }
    let token = text.trim();
    match wrong_with_token(token) {
        None => {
            log::info!("the API's token is in \"{shown}\"");
            Ok(Secret::new(token))
        }
        Some(why) => Err(wrong(
            format!("the API's token in \"{shown}\" {why}"),
            "remove the file, so that a new one is made",
        )),
    }
}

fn make(path: &Path) -> Result<Secret> {
    let shown = path.display();
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(|error| {
        Error::configuration(format!("the system gives no random numbers: {error}"))
            .with_hint("set BKUP_API_TOKEN")
    })?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| write_whole(path, format!("{token}\n").as_bytes()))
        .map_err(|error| {
            Error::configuration(format!("the API's token can't be written to \"{shown}\": {error}"))
                .with_hint("let this user write to the data folder, set BKUP_API_TOKEN, or BKUP_API_LISTEN=off")
        })?;
    log::info!("BKUP_API_TOKEN is not set: a token for the API was made, and is in \"{shown}\"");
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(data_dir: &Path) -> Result<Tokens> {
        Tokens::find(None, None, data_dir)
    }

    #[test]
    fn a_token_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        let first = found(&data).unwrap();
        let path = token_file(&data);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.trim().len(), text.trim()), (64, first.full.expose()));
        assert_eq!(found(&data).unwrap().full.expose(), first.full.expose());
        let other = found(&folder.path().join("other")).unwrap();
        assert_ne!(other.full.expose(), first.full.expose());
    }

    #[test]
    fn a_token_that_others_can_read_or_that_is_none_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        found(folder.path()).unwrap();
        let path = token_file(folder.path());
        let token = fs::read_to_string(&path).unwrap();
        for mode in [0o644, 0o640, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = found(folder.path()).unwrap_err();
            assert!(
                error.exit_code() == 2 && error.message.contains(&format!("{mode:o}")),
                "{error}"
            );
            assert!(
                !format!("{error:?}").contains(token.trim())
                    && error.hint.unwrap().contains("chmod")
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "hunter2", "two words that are long enough"] {
            fs::write(&path, text).unwrap();
            let error = found(folder.path()).unwrap_err();
            assert!(
                error.exit_code() == 2 && (text.is_empty() || !error.message.contains(text)),
                "{error}"
            );
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(found(folder.path()).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_token_that_was_made_is_none_for_looking() {
        let folder = tempfile::tempdir().unwrap();
        let made = found(folder.path()).unwrap().full;
        let error = Tokens::find(None, Some(&made), folder.path()).unwrap_err();
        assert!(error.exit_code() == 2 && error.message.contains("api-token"), "{error}");
        assert!(error.hint.as_ref().unwrap().contains("text of its own"));
        assert!(!format!("{error:?}").contains(made.expose()));
        Tokens::find(None, Some(&Secret::new("read-read-read-read")), folder.path()).unwrap();
    }

    #[test]
    fn a_token_is_good_for_its_role_only() {
        let secret = |text: &str| Secret::new(text);
        let tokens = Tokens::find(
            Some(&secret("full-full-full-full")),
            Some(&secret("read-read-read-read")),
            Path::new("/nowhere"),
        )
        .unwrap();
        let role = |token: &str| tokens.role(&digest(token.as_bytes()));
        assert_eq!(role("full-full-full-full"), Some(Role::Full));
        assert_eq!(role("read-read-read-read"), Some(Role::Read));
        for wrong in ["", "full-full-full-ful", "full-full-full-fullx", "FULL-FULL-FULL-FULL"] {
            assert_eq!(role(wrong), None, "{wrong}");
        }
    }
}
