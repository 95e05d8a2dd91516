//! The socket file. At no moment can another user connect to it, and it never replaces the socket
//! of a running daemon.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{SocketAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use crate::error::{Error, ErrorKind, Result};

/// A socket file of this process. Dropping it removes the file, unless another file has replaced
/// it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and inode of the file.
    identity: (u64, u64),
}

/// Listens on `path`. Only this user may use the socket (mode 0600). Missing parent folders are
/// created.
///
/// # Errors
/// - A configuration error if the path holds something else.
/// - `Busy` if a daemon listens there.
/// - `Io` for any other failure.
pub(super) fn listen(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    let failed = |what: &str, error: &io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::InvalidInput => {
                "a socket's path may have about 100 bytes: choose a shorter one"
            }
            io::ErrorKind::PermissionDenied => {
                "run as a user that may write there, or choose another path"
            }
            _ => "choose another path for the socket",
        };
        Error::io(format!("cannot {what} \"{shown}\""), error).with_hint(hint)
    };
    // The temporary name may be short enough for a socket while `path`, to which clients connect,
    // is too long.
    SocketAddr::from_pathname(path).map_err(|error| failed("listen on the socket", &error))?;
    refuse_what_is_in_use(path)?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| failed("make the folder of the socket", &error))?;
    // The socket is bound under a temporary name, gets its mode, and is then renamed. So no client
    // can connect before the mode is set, and a dead socket is replaced in one step. The temporary
    // name is short because the path of a socket has a length limit.
    let temporary = folder.join(format!(".{:x}", std::process::id()));
    let bind = || -> io::Result<(UnixListener, (u64, u64))> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
        let made = fs::symlink_metadata(&temporary)?;
        fs::rename(&temporary, path)?;
        listener.set_nonblocking(true)?;
        Ok((listener, (made.dev(), made.ino())))
    };
    match bind() {
        Ok((listener, identity)) => Ok((listener, SocketFile { path: path.to_owned(), identity })),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(failed("listen on the socket", &error))
        }
    }
}

/// Accepts a free path, or a socket on which no process listens.
fn refuse_what_is_in_use(path: &Path) -> Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("cannot look at \"{shown}\""), &error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::configuration(format!("\"{shown}\" exists and is not a socket"))
                .with_hint("choose another path for the socket, or move what lies there away"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(format!("cannot find out who listens on \"{shown}\""), &error)),
        Ok(_) => Err(Error::new(ErrorKind::Busy, format!("another daemon listens on \"{shown}\""))
            .with_hint("stop it first, or choose another path for the socket")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove the socket \"{}\": {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_belongs_to_its_user_alone_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/convoy.sock");
        let (_listener, file) = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "the temporary name is gone"
        );
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("convoy.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = listen(&path).unwrap();
        let error = listen(&path).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(UnixStream::connect(&path).is_ok(), "the refused one has not disturbed it");
        // Another process's socket has replaced ours. It must not be removed.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "precious").unwrap();
        assert_eq!(listen(&path).unwrap_err().kind, ErrorKind::Configuration);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(listen(&link).unwrap_err().kind, ErrorKind::Configuration);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let error = listen(&folder.path().join("x".repeat(150))).unwrap_err();
        assert!(
            error.kind == ErrorKind::Io && error.hint.unwrap().contains("choose"),
            "{}",
            error.message
        );
    }
}
