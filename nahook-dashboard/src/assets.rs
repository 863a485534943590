//! Assets: in the binary, each under a name that changes with its contents.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nahook_control::KeyHash;

use crate::brand::Brand;
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
        let style = format!("{STYLE}{}", brand.style());
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

    /// Answers with the asset of that name. Browsers may keep it for good.
    pub(crate) fn answer(&self, name: &str) -> Response {
        let mut all = [&self.style, &self.script, &self.icon].into_iter();
        let Some(asset) = all.find(|asset| asset.name == name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
        let headers = [
            (header::CONTENT_TYPE, asset.content_type.clone()),
            (header::CACHE_CONTROL, for_good),
        ];
        (headers, asset.body.clone()).into_response()
    }
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, body: String) -> Self {
        let hash = hex(&KeyHash::of(&body).as_bytes()[..8]);
        Self {
            name: format!("{name}-{hash}.{extension}"),
            content_type: HeaderValue::from_static(content_type),
            body: body.into(),
        }
    }
}
