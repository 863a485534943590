//! Assets: in the binary, each under a name that changes with its contents.

use std::io::Write as _;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use nahook_control::KeyHash;

use crate::brand::{Accent, Brand};
use crate::text::hex;

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/app.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// An asset, and the name that pages refer to it by.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) name: String,
    content_type: HeaderValue,
    body: Bytes,
    gzip: Bytes,
}

/// The assets of one site.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) style: Asset,
    pub(crate) script: Asset,
    pub(crate) icon: Asset,
}

impl Assets {
    pub(crate) fn new(brand: &Brand) -> Self {
        let accent = brand.accent.as_ref().map(Accent::style);
        let style = format!("{STYLE}{}", accent.unwrap_or_default());
        Self {
            style: Asset::new("style", "css", "text/css; charset=utf-8", style),
            script: Asset::new(
                "app",
                "js",
                "text/javascript; charset=utf-8",
                SCRIPT.to_owned(),
            ),
            icon: Asset::new("icon", "svg", "image/svg+xml", ICON.to_owned()),
        }
    }

    /// Answers with the asset of that name, compressed for whoever takes that. Browsers may keep it for good.
    ///
    /// Pages are not compressed: they hold the token of their forms beside texts of others, and their length would tell of it.
    pub(crate) fn answer(&self, name: &str, asked: &HeaderMap) -> Response {
        let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
        if let Some(accent) = Accent::of_sheet(name) {
            let headers = [
                (header::CONTENT_TYPE, self.style.content_type.clone()),
                (header::CACHE_CONTROL, for_good),
            ];
            return (headers, accent.style()).into_response();
        }
        let mut all = [&self.style, &self.script, &self.icon].into_iter();
        let Some(asset) = all.find(|asset| asset.name == name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let headers = [
            (header::CONTENT_TYPE, asset.content_type.clone()),
            (header::CACHE_CONTROL, for_good),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if takes_gzip(asked) {
            let encoding = HeaderValue::from_static("gzip");
            let encoding = [(header::CONTENT_ENCODING, encoding)];
            return (headers, encoding, asset.gzip.clone()).into_response();
        }
        (headers, asset.body.clone()).into_response()
    }
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, body: String) -> Self {
        let hash = hex(&KeyHash::of(&body).as_bytes()[..8]);
        Self {
            name: format!("{name}-{hash}.{extension}"),
            content_type: HeaderValue::from_static(content_type),
            gzip: gzip(body.as_bytes()).into(),
            body: body.into(),
        }
    }
}

/// Returns true if the browser takes answers in gzip.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next() == Some("gzip");
        is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for (asked, takes) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("deflate, gzip ; q=0", false),
            ("gzip;q=0.000", false),
            ("x-gzip", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(asked);
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(takes_gzip(&headers), takes, "{asked}");
        }
    }

    #[test]
    fn assets_are_small() {
        let assets = Assets::new(&Brand::default());
        let all = [&assets.style, &assets.script, &assets.icon];
        let sent: usize = all.iter().map(|asset| asset.gzip.len()).sum();
        assert!(sent < 8_000, "{sent} bytes");
    }
}
