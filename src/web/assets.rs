//! The dashboard's files. They are embedded, so that only the binary needs to be installed.
//!
//! The files are static and hold nothing private, so they are served without a token. `/` is
//! [`PAGE`], `/assets/NAME` is found by [`find`]. [`POLICY`] is their Content-Security-Policy.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG},
    },
    reply::Response,
};

/// The Content-Security-Policy of the dashboard: only its own files and its own server, no inline
/// script or style.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The name of the one page.
pub(crate) const PAGE: &str = "index.html";

/// A file of the dashboard.
#[derive(Debug)]
pub(crate) struct Asset {
    /// The name behind `/assets/`.
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
    /// The `ETag` with its quotes: the first half of the SHA-256 of the bytes, in hexadecimal.
    pub(crate) etag: String,
}

impl Asset {
    /// The file, or 304 if the browser still has it. `known` is the request's `If-None-Match`.
    pub(super) fn answer(&'static self, known: Option<&HeaderValue>) -> Response {
        let is_known = known
            .and_then(|known| known.to_str().ok())
            .is_some_and(|known| known.split(',').any(|tag| tag.trim() == self.etag));
        let mut response =
            if is_known { Response::default() } else { Response::new(self.bytes.into()) };
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        // The browser keeps the file and asks each time. So a page never works with files of an
        // older version of the program.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&self.etag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_bytes!(concat!("assets/", $name)))),*] };
}

/// All files, by name.
const FILES: &[(&str, &[u8])] = files![
    "api.js",
    "app.js",
    "chart.js",
    "dom.js",
    "early.js",
    "format.js",
    "icon.svg",
    "index.html",
    "live.js",
    "overview.js",
    "parts.js",
    "progress.js",
    "restore.js",
    "rhai.js",
    "run.js",
    "runs.js",
    "schedule.js",
    "script.js",
    "scripts.js",
    "style.css",
    "volume.js",
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|&(name, bytes)| Asset {
            name,
            content_type: content_type(name),
            bytes,
            etag: etag(bytes),
        })
        .collect()
});

/// All files, sorted by name.
#[cfg(test)]
pub(crate) fn all() -> &'static [Asset] {
    &ASSETS
}

/// Finds a file by its name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    let index = ASSETS.binary_search_by(|asset| asset.name.cmp(name)).ok()?;
    ASSETS.get(index)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let half: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{half}\"")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The most that all files together may have, in bytes.
    const MOST: usize = 150_000;

    fn text(asset: &Asset) -> &'static str {
        std::str::from_utf8(asset.bytes).unwrap()
    }

    /// The parts of the text between `before` and `after`, each on one line.
    fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
        text.split(before)
            .skip(1)
            .filter_map(move |rest| rest.split_once(after))
            .map(|(part, _)| part)
    }

    #[test]
    fn the_files_are_small_in_all() {
        let size: usize = all().iter().map(|asset| asset.bytes.len()).sum();
        assert!(size < MOST, "{size} bytes are more than {MOST}");
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_table_which_is_sorted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
        let there: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let table: Vec<&str> = all().iter().map(|asset| asset.name).collect();
        assert!(table.is_sorted(), "{table:?}");
        assert_eq!(there, table.iter().map(|name| (*name).to_owned()).collect());
        assert!(all().iter().all(|asset| asset.content_type != "application/octet-stream"));
    }

    #[test]
    fn all_that_the_files_refer_to_is_there() {
        for asset in all() {
            for name in between(text(asset), "\"/assets/", '"') {
                assert!(find(name).is_some(), "{} refers to /assets/{name}", asset.name);
            }
            for name in between(text(asset), "from \"./", '"').chain(between(
                text(asset),
                "import(\"./",
                '"',
            )) {
                assert!(find(name).is_some(), "{} imports {name}", asset.name);
            }
        }
    }

    #[test]
    fn every_name_that_is_imported_is_exported() {
        for asset in all() {
            for (names, rest) in text(asset)
                .split("import { ")
                .skip(1)
                .filter_map(|rest| rest.split_once(" } from \"./"))
            {
                let from = find(rest.split_once('"').unwrap().0).unwrap();
                for name in names.split(", ") {
                    let is_exported = ["function", "async function", "const", "let", "class"]
                        .iter()
                        .any(|kind| {
                            between(text(from), &format!("export {kind} "), '\n').any(|line| {
                                line.strip_prefix(name).is_some_and(|rest| {
                                    !rest.starts_with(|c: char| c.is_alphanumeric())
                                })
                            })
                        });
                    assert!(
                        is_exported,
                        "{} imports {name}, which {} does not export",
                        asset.name, from.name
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere_or_read_as_markup() {
        let page = text(find(PAGE).unwrap());
        assert!(
            POLICY.contains("require-trusted-types-for 'script'; trusted-types 'none'"),
            "{POLICY}"
        );
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains("<script>"),
            "inline"
        );
        for asset in all() {
            let text = text(asset);
            let markup = [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ];
            for word in markup.into_iter().chain(["trustedTypes"]) {
                assert!(!text.contains(word), "{} has {word}", asset.name);
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{} points elsewhere",
                asset.name
            );
        }
    }

    #[test]
    fn a_changed_file_has_another_etag_and_an_unknown_name_has_no_file() {
        assert_ne!(etag(b"a"), etag(b"b"));
        assert_eq!(etag(b"a"), "\"ca978112ca1bbdcafac231b39a23dc4d\"");
        assert!(find("../assets.rs").is_none() && find("").is_none());
    }
}
