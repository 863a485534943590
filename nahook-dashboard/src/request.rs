//! Parts of a request that are read before there is a page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::{Extensions, HeaderMap, StatusCode};

use crate::error::PageError;
use crate::form::Fields;

/// Largest form in bytes that is read of a stranger: a token or a code.
const STRANGERS_FORM_LEN_MAX: usize = 4 * 1024;

/// Refuses forms that another site has sent.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), PageError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(forged());
    }
    if let Some(origin) = text("origin") {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none() || authority != text("host") {
            return Err(forged());
        }
    }
    Ok(())
}

pub(crate) fn forged() -> PageError {
    PageError::new(
        StatusCode::FORBIDDEN,
        "This form was not sent from the page that it belongs to, or its session has ended. Nothing was changed.",
    )
}

/// Reads the form of a visitor who has not signed in.
pub(crate) async fn read_strangers_form(body: Body) -> Result<Fields, PageError> {
    let bytes = axum::body::to_bytes(body, STRANGERS_FORM_LEN_MAX).await;
    let bytes = bytes.map_err(|_| {
        PageError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The form is too long or did not arrive whole",
        )
    })?;
    Ok(Fields::parse(&bytes))
}

/// The path that the site is nested at: what is before the path within it.
pub(crate) fn base_of(extensions: &Extensions, inner: &str) -> Arc<str> {
    let original = extensions.get::<OriginalUri>();
    let original = original.map_or("", |uri| uri.path());
    let base = original.strip_suffix(inner).unwrap_or(original);
    base.trim_end_matches('/').into()
}
