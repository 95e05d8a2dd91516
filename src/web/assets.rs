//! The dashboard's files: embedded, so that they are of the same version as the API they speak to.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    },
    reply::Response,
};

/// A file of the dashboard.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its path.
    pub path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal $kind:ident),* $(,)?) => {
        [$(Asset { path: concat!("/assets/", $name), content_type: $kind, bytes: include_bytes!(concat!("assets/", $name)) }),*]
    };
}

const INDEX: Asset = Asset { path: "/", content_type: HTML, bytes: include_bytes!("assets/index.html") };

const ASSETS: [Asset; 20] = assets![
    "api.js" SCRIPT, "app.js" SCRIPT, "chart.js" SCRIPT, "dom.js" SCRIPT, "format.js" SCRIPT, "icon.svg" IMAGE,
    "live.js" SCRIPT, "overview.js" SCRIPT, "parts.js" SCRIPT, "progress.js" SCRIPT, "restore.js" SCRIPT, "rhai.js" SCRIPT,
    "run.js" SCRIPT, "runs.js" SCRIPT, "schedule.js" SCRIPT, "script.js" SCRIPT, "scripts.js" SCRIPT, "style.css" STYLE,
    "theme.js" SCRIPT, "volume.js" SCRIPT,
];

/// The file at this path.
pub fn find(path: &str) -> Option<&'static Asset> {
    if path == "/" {
        return Some(&INDEX);
    }
    ASSETS.iter().find(|asset| asset.path == path)
}

/// A word that changes with any of the files: a browser asks whether it has them still.
fn tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let mut digest = Sha256::new();
        for asset in ASSETS.iter().chain([&INDEX]) {
            digest.update(asset.path);
            digest.update(asset.bytes);
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digest}\"")
    })
}

/// The answer with this file; `known` is what a browser says it has.
pub fn answer(asset: &Asset, known: Option<&HeaderValue>) -> Response {
    let is_known = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| one.trim() == tag()));
    let mut response = if is_known {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(asset.bytes.into())
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(tag()) {
        headers.insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them together are to be no more than this, in bytes.
    const MOST: usize = 150_000;

    #[test]
    fn all_files_are_embedded_and_small_and_what_they_name_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        let mut known: Vec<&str> = ASSETS.iter().map(|asset| asset.path.strip_prefix("/assets/").unwrap()).collect();
        known.push("index.html");
        known.sort_unstable();
        assert_eq!(there, known);
        let size: usize = ASSETS.iter().chain([&INDEX]).map(|asset| asset.bytes.len()).sum();
        assert!(size < MOST, "{size} bytes");
        for asset in ASSETS.iter().chain([&INDEX]) {
            let text = String::from_utf8_lossy(asset.bytes);
            assert!(
                !text.contains("http://") || asset.content_type == IMAGE || text.contains("www.w3.org"),
                "{}",
                asset.path
            );
            for (_, rest) in text.match_indices("/assets/").map(|(at, word)| (at, &text[at + word.len()..])) {
                let name: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect();
                assert!(name.is_empty() || known.contains(&name.as_str()), "{}: {name}", asset.path);
            }
        }
    }
}
