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
use crate::error::{Error, Result};

/// scrypt's parameters in new key files: those of 32 MiB in OWASP's Password Storage Cheat Sheet,
/// which counts them as no weaker than the library's N = 2^17 and P = 1.
const N: u32 = 1 << 15;
const R: u32 = 8;
const P: u32 = 3;

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

/// The master key of the repository, by the first key file that the password opens. `None` if that
/// is none of those that can be read: the library tells why.
pub(super) fn master_key(backend: &Backend, password: &str) -> Option<MasterKey> {
    let keys = backend.files(FileType::Key).ok()?;
    keys.iter().find_map(|(id, _)| {
        let file: KeyFile =
            serde_json::from_slice(&backend.read_file(FileType::Key, id).ok()?).ok()?;
        let by_password = by_password(&file, password)?;
        let (nonce, locked) = file.data.split_at_checked(NONCE)?;
        let cipher = Aes256CtrPoly1305Aes::new(Key::from_slice(&by_password));
        let content = cipher.decrypt(Nonce::from_slice(nonce), locked).ok()?;
        serde_json::from_slice(&content).ok()
    })
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
}
