//! What is uploaded: bytes in memory, or a file that is read while it is sent.
//!
//! The signature of a request names the SHA-256 of its body. Where that is known, it is not computed
//! again, and the service refuses what has another one.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    primitives::{ByteStream, FsBuilder, SdkBody},
};
use aws_sigv4::http_request::SignableBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};

use super::failure::cause;
use crate::error::{Error, ErrorKind, Result};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// So many bytes of a file are in memory at a time.
const PIECE: usize = 256 << 10;

/// The body of a request, and its SHA-256, which its signature names.
pub(super) struct Upload {
    pub(super) body: ByteStream,
    pub(super) hash: Hash,
}

impl Upload {
    pub(super) fn of(content: Bytes, hash: Hash) -> Self {
        Self { body: content.into(), hash }
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.body.size_hint().1.unwrap_or_default()
    }

    /// A file, and the check of what is read of it: an upload of something else breaks off before its
    /// end.
    ///
    /// # Errors
    /// If there is no such file.
    pub(super) async fn of_file(file: &Path, hash: Hash) -> Result<(Self, Check)> {
        let check = Check::default();
        Ok((Self::of_file_again(file, hash, &check).await?, check))
    }

    /// As [`Upload::of_file`], with the check of another upload of it.
    ///
    /// # Errors
    /// If there is no such file.
    pub(super) async fn of_file_again(file: &Path, hash: Hash, check: &Check) -> Result<Self> {
        let read = FsBuilder::new().path(file).buffer_size(PIECE).build().await;
        let read = read.map_err(|error| {
            let message = format!("cannot read \"{}\": {}", file.display(), cause(&error));
            Error::new(ErrorKind::Io, message)
        });
        let body = read?.into_inner();
        let size = body.content_length().unwrap_or_default();
        if size == 0 && Sha256::digest([])[..] != hash {
            // No piece of it will be asked for.
            check.fail();
        }
        let of_body = check.clone();
        let checked = move |body| {
            let (check, hasher) = (of_body.clone(), Sha256::new());
            SdkBody::from_body_1_x(Checked { body, left: size, hasher, hash, check })
        };
        let body = ByteStream::new(body.map(checked));
        Ok(Self { body, hash })
    }
}

/// Whether what was read of a file was not what it should be.
#[derive(Debug, Clone, Default)]
pub(super) struct Check(Arc<AtomicBool>);

impl Check {
    fn fail(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body that ends with an error, and before its last bytes, if it is not what it should be.
struct Checked {
    body: SdkBody,
    /// In bytes.
    left: u64,
    hasher: Sha256,
    hash: Hash,
    check: Check,
}

impl Body for Checked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &next
            && let Some(piece) = frame.data_ref()
        {
            self.hasher.update(piece);
            self.left = self.left.saturating_sub(piece.len() as u64);
            if self.left == 0 && self.hasher.finalize_reset()[..] != self.hash {
                self.check.fail();
                return Poll::Ready(Some(Err("the file is not what was written".into())));
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Has a request signed with the hash of its body, which is known already.
#[derive(Debug)]
pub(super) struct KnownHash(pub(super) Hash);

impl Intercept for KnownHash {
    fn name(&self) -> &'static str {
        "KnownHash"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let Some(mut signing) = config.load::<SigV4OperationSigningConfig>().cloned() else {
            // A request without a signature.
            return Ok(());
        };
        let digits = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        signing.signing_options.payload_override = Some(SignableBody::Precomputed(digits));
        config.interceptor_state().store_put(signing);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// What is sent of a file whose content should have this hash, and whether the check failed.
    async fn sent(content: &[u8], hash: Hash) -> (std::result::Result<Bytes, String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pack");
        std::fs::write(&file, content).unwrap();
        let (upload, check) = Upload::of_file(&file, hash).await.unwrap();
        // Each attempt reads the file anew.
        let body = upload.body.into_inner();
        let again = body.try_clone().unwrap();
        again.collect().await.ok();
        let sent = body.collect().await.map(http_body_util::Collected::to_bytes);
        (sent.map_err(|error| error.to_string()), check.has_failed())
    }

    #[tokio::test]
    async fn a_file_that_is_not_what_was_written_is_not_sent_to_its_end() {
        let mut content = vec![7; 3 * PIECE + 5];
        let hash = Sha256::digest(&content).into();
        let (whole, has_failed) = sent(&content, hash).await;
        assert!(whole.unwrap() == content && !has_failed);
        content[100] ^= 1;
        for content in [&content[..], &content[..PIECE]] {
            let (broken, has_failed) = sent(content, hash).await;
            assert!(broken.unwrap_err().contains("not what was written") && has_failed);
        }
        assert!(sent(b"", hash).await.1, "nothing is left of it");
    }
}
