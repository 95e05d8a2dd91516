//! TLS: the certificate and its key, read at the start, and again when their files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::TlsFiles,
    error::{Error, Result},
    sync::lock,
};

/// Identifies the content of both files without reading it: device, inode, size, and the time of
/// the last change (seconds and nanoseconds).
type Stamp = [(u64, u64, u64, i64, i64); 2];

/// The certificate in force.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<(Arc<ServerConfig>, Stamp)>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A configuration error that names the file and what is wrong with it.
    pub(super) fn new(files: &TlsFiles) -> Result<Self> {
        // The stamp is taken before the files are read, so a change in between is noticed later.
        let stamp = stamp(files);
        Ok(Self { files: files.clone(), current: Mutex::new((load(files)?, stamp)) })
    }

    /// The acceptor for the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        lock(&self.current).0.clone().into()
    }

    /// Reads the files again if they have changed. If they can't be used, one warning is logged,
    /// and the old certificate stays in force.
    pub(super) fn refresh(&self) {
        let new = stamp(&self.files);
        if lock(&self.current).1 == new {
            return;
        }
        let loaded = load(&self.files);
        let mut current = lock(&self.current);
        current.1 = new;
        match loaded {
            Ok(config) => {
                current.0 = config;
                log::info!("the TLS certificate was read again");
            }
            Err(error) => log::warn!("the TLS certificate stays the old one: {error}"),
        }
    }
}

/// The stamp of both files. A file that can't be read has a stamp that no real file has.
fn stamp(files: &TlsFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        fs::metadata(path).map_or((0, 0, 0, 0, 0), |there| {
            // The time of status change also covers a change of permissions, which alone may make a
            // file readable.
            (there.dev(), there.ino(), there.size(), there.ctime(), there.ctime_nsec())
        })
    })
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let wrong = |why: String, hint: &str| Error::configuration(why).with_hint(hint);
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let certificates = read("BKUP_API_TLS_CERTIFICATE", &files.certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificates)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| {
            wrong(
                format!("BKUP_API_TLS_CERTIFICATE: \"{certificate}\" is not PEM: {error}"),
                "it is a text file with BEGIN CERTIFICATE in it",
            )
        })?;
    if chain.is_empty() {
        return Err(wrong(
            format!("BKUP_API_TLS_CERTIFICATE: there is no certificate in \"{certificate}\""),
            "it is a text file with BEGIN CERTIFICATE in it: the server's own first, then its chain",
        ));
    }
    let private = PrivateKeyDer::from_pem_slice(&read("BKUP_API_TLS_KEY", &files.key)?).map_err(|error| {
        let why = match error {
            pem::Error::NoItemsFound => "there is no private key in it that can be used".to_owned(),
            error => format!("it is not PEM: {error}"),
        };
        wrong(
            format!("BKUP_API_TLS_KEY: \"{key}\": {why}"),
            "it is a text file with BEGIN PRIVATE KEY in it (or RSA or EC); one with a passphrase can't be used",
        )
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong(
                format!("the key in \"{key}\" is not that of the certificate in \"{certificate}\""),
                "BKUP_API_TLS_CERTIFICATE and BKUP_API_TLS_KEY go together; the server's own certificate comes first in its file",
            ),
            error => wrong(
                format!("\"{certificate}\" and \"{key}\" can't be used for TLS: {error}"),
                "take an RSA, ECDSA or Ed25519 key and its certificate",
            ),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "give the path of a PEM file",
        };
        Error::configuration(format!("{name}: \"{}\" can't be read: {error}", path.display()))
            .with_hint(hint)
    })
}
