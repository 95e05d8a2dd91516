//! Key files: the master key of a repository, locked with the password. The library's own take 128
//! MiB of memory at each start of a process; these take 32, as restic's do.

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, aead::Aead as _};
use bytes::Bytes;
use rustic_core::{
    FileType, Id,
    repofile::{KeyFile, MasterKey},
};
use sha2::{Digest as _, Sha256};

use super::{Backend, cipher::NONCE};
use crate::error::{Error, ErrorKind, Result};

/// scrypt's parameters in new key files: those of 32 MiB in OWASP's Password Storage Cheat Sheet,
/// which counts them as no weaker than the library's N = 2^17 and P = 1.
const N: u32 = 1 << 15;
const R: u32 = 8;
const P: u32 = 3;

/// The largest key file that is read, in bytes. One has less than a thousand.
const LARGEST_FILE: u32 = 64 << 10;
/// So much memory may scrypt take, in bytes: twice as much as with the library's parameters, four times
/// as much as with restic's.
const MOST_MEMORY: u64 = 256 << 20;
/// So much may scrypt compute, in bytes that it mixes: that takes a few seconds.
const MOST_WORK: u64 = 2 << 30;

/// The name and the content of a key file with which this password opens the repository.
///
/// # Errors
/// If the system has no random numbers, or if the library or the cipher fails.
pub(super) fn key_file(key: &MasterKey, password: &str) -> Result<(Id, Bytes)> {
    let failed = |why: String| Error::internal(format!("cannot make the repository's key: {why}"));
    let mut salt = vec![0; 64];
    let mut nonce = [0; 16];
    for random in [&mut salt[..], &mut nonce[..]] {
        getrandom::fill(random).map_err(|error| failed(error.to_string()))?;
    }
    let (hostname, username, created) = (None, None, None);
    let (kdf, data) = ("scrypt".to_owned(), Vec::new());
    let mut file = KeyFile { hostname, username, created, kdf, n: N, r: R, p: P, data, salt };
    let by_password = by_password(&file, password);
    let by_password = by_password.ok_or_else(|| failed("scrypt failed".to_owned()))?;
    let content = serde_json::to_vec(key).map_err(|error| failed(error.to_string()))?;
    let locked = Aes256CtrPoly1305Aes::new(Key::from_slice(&by_password))
        .encrypt(Nonce::from_slice(&nonce), &content[..])
        .map_err(|error| failed(error.to_string()))?;
    file.data = [&nonce[..], &locked].concat();
    let content = serde_json::to_vec(&file).map_err(|error| failed(error.to_string()))?;
    let name: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let id = name.parse::<Id>().map_err(|error| failed(error.to_string()))?;
    Ok((id, content.into()))
}

/// The master key of the repository, by the first key file that the password opens. Everyone who can
/// write there can write key files, so one that would take very much memory or time is passed over, and
/// named. Of several that it opens, one counts that `fits`.
///
/// # Errors
/// If no key file can be read. [`ErrorKind::Repository`] if the password opens none of them.
pub(super) fn master_key(
    backend: &Backend,
    password: &str,
    fits: &dyn Fn(&MasterKey) -> bool,
) -> Result<MasterKey> {
    let (mut passed_over, mut unread, mut first) = (Vec::new(), None, None);
    let files = backend.files(FileType::Key)?;
    let (is_empty, is_only) = (files.is_empty(), files.len() == 1);
    for (id, length) in files {
        match try_open(backend, (&id, length), password) {
            Ok(Some(key)) if is_only || fits(&key) => {
                backend.take_failure();
                return Ok(key);
            }
            Ok(Some(key)) => _ = first.get_or_insert(key),
            Ok(None) => {}
            Err(error) => {
                let name = format!("{}/keys/{}", backend.location(), id.to_hex().as_str());
                log::warn!("the key file \"{name}\" is passed over: {error}");
                passed_over.push(name);
                if error.kind != ErrorKind::Repository {
                    unread.get_or_insert(error);
                }
            }
        }
    }
    backend.take_failure();
    if let Some(key) = first {
        return Ok(key);
    }
    let location = backend.location();
    if is_empty {
        let message = format!("the repository at \"{location}\" has no key files");
        return Err(Error::new(ErrorKind::Repository, message)
            .with_hint("put the folder \"keys\" back from a copy; nothing was changed"));
    }
    Err(unread.unwrap_or_else(|| wrong_password(&location, &passed_over)))
}

/// The master key in this key file, which has this length in bytes; `None` if another password opens
/// it.
///
/// # Errors
/// [`ErrorKind::Repository`] if it can't be one of a repository; another kind if the storage fails.
fn try_open(
    backend: &Backend,
    (id, length): (&Id, u32),
    password: &str,
) -> Result<Option<MasterKey>> {
    let refused = |why: String| Error::new(ErrorKind::Repository, why);
    if length > LARGEST_FILE {
        return Err(refused(format!("it has {length} bytes")));
    }
    let content = backend.read_file(FileType::Key, id)?;
    let file: KeyFile = serde_json::from_slice(&content)
        .map_err(|error| refused(format!("it is no key file: {error}")))?;
    if file.kdf != "scrypt" {
        return Err(refused(format!("it is made by \"{}\", which is not known", file.kdf)));
    }
    are_bounded(&file).map_err(refused)?;
    let opened = || {
        let by_password = by_password(&file, password)?;
        let (nonce, locked) = file.data.split_at_checked(NONCE)?;
        let cipher = Aes256CtrPoly1305Aes::new(Key::from_slice(&by_password));
        let content = cipher.decrypt(Nonce::from_slice(nonce), locked).ok()?;
        serde_json::from_slice(&content).ok()
    };
    Ok(opened())
}

/// Whether scrypt can be asked to compute with the parameters of a key file.
///
/// # Errors
/// Why not.
fn are_bounded(file: &KeyFile) -> std::result::Result<(), String> {
    let (n, r, p) = (u64::from(file.n), u64::from(file.r), u64::from(file.p));
    let block = r.saturating_mul(128);
    let (memory, work) = (block.saturating_mul(n), block.saturating_mul(n).saturating_mul(p));
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(format!("scrypt knows no parameters N {n}, r {r}, p {p}"));
    }
    if memory.saturating_add(block.saturating_mul(p)) > MOST_MEMORY || work > MOST_WORK {
        return Err(format!("its parameters N {n}, r {r}, p {p} are out of all proportion"));
    }
    Ok(())
}

fn wrong_password(location: &str, passed_over: &[String]) -> Error {
    let mut message = format!("the password does not open the repository at \"{location}\"");
    if !passed_over.is_empty() {
        message.push_str(&format!("; passed over as no key files: {}", passed_over.join(", ")));
    }
    Error::new(ErrorKind::Repository, message)
        .with_hint("set BKUP_REPOSITORY_PASSWORD to the password that the repository was made with")
}

/// What the password makes with the parameters of a key file.
fn by_password(file: &KeyFile, password: &str) -> Option<Vec<u8>> {
    let (encrypt, k, r) = file.kdf_key(&password).ok()?.to_keys();
    Some([encrypt, k, r].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_opens_a_key_file_with_its_password_only() {
        let key = MasterKey::new();
        let (id, content) = key_file(&key, "secret").unwrap();
        let name: String = Sha256::digest(&content).iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(id.to_hex().as_str(), name);
        let file: KeyFile = serde_json::from_slice(&content).unwrap();
        let opened = file.key_from_password(&"secret").unwrap().to_keys();
        assert_eq!(opened, (key.encrypt, key.mac.k, key.mac.r));
        assert!(file.key_from_password(&"another").is_err());
        assert!(128 * file.n * file.r <= 32 << 20, "bytes of memory");
    }

    #[test]
    fn a_key_file_that_would_take_all_memory_is_passed_over_and_named() {
        let scratch = tempfile::tempdir().unwrap();
        let backend = || Backend::in_folder(scratch.path(), "host1");
        let (key, keys) = (MasterKey::new(), scratch.path().join("keys"));
        let (_, content) = key_file(&key, "secret").unwrap();
        let file: serde_json::Value = serde_json::from_slice(&content).unwrap();
        std::fs::create_dir(&keys).unwrap();
        let put = |first: char, content: &[u8]| {
            let name: String = std::iter::repeat_n(first, 64).collect();
            std::fs::write(keys.join(&name), content).unwrap();
            name
        };
        let forged = [(0, 8, 1), (3, 8, 1), (1 << 31, 8, 1), (1 << 15, 1 << 20, 1)];
        let forged = forged.into_iter().chain([(1 << 15, 8, 1 << 20), (2, 1 << 10, 1 << 30)]);
        let mut named: Vec<_> = forged
            .zip('0'..)
            .map(|((n, r, p), first)| {
                let mut file = file.clone();
                (file["N"], file["r"], file["p"]) = (n.into(), r.into(), p.into());
                put(first, file.to_string().as_bytes())
            })
            .collect();
        named.push(put('e', b"{\"no\": \"key\"}"));
        named.push(put('f', &vec![b' '; 100_000]));
        let master_key = |password| master_key(&backend(), password, &|_| true);
        let error = master_key("secret").unwrap_err();
        assert!(named.iter().all(|name| error.message.contains(name.as_str())), "{error}");
        put('9', &content);
        let opened = master_key("secret").unwrap();
        assert_eq!(opened.encrypt, key.encrypt);
        let error = master_key("another").unwrap_err();
        assert!(error.message.starts_with("the password does not open"), "{error}");
    }
}
