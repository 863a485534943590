//! Authentication of the caller.

use axum::http::{HeaderMap, header};
use nahook_control::{API_KEY_PREFIX, KeyEntry, KeyHash, KeyStore};
use nahook_core::Causes;
use nahook_core::admission::Caller;

use crate::ApiError;

/// The caller that the `Authorization` header identifies.
pub(super) async fn authenticate(
    keys: &dyn KeyStore,
    headers: &HeaderMap,
) -> Result<Caller, ApiError> {
    let key = bearer(headers)
        .filter(|key| key.starts_with(API_KEY_PREFIX))
        .ok_or_else(ApiError::unauthorized)?;
    match keys.api_key(&KeyHash::of(key)).await {
        Ok(Some(KeyEntry { disabled: true, .. })) => Err(ApiError::token_disabled()),
        Ok(Some(KeyEntry { identity, .. })) => Ok(identity),
        Ok(None) => Err(ApiError::unauthorized()),
        Err(error) => {
            tracing::error!(error = %Causes(&error), "key look-up failed");
            Err(ApiError::unavailable(
                "The key store is unavailable; nothing was queued",
            ))
        }
    }
}

/// The one bearer token: two `Authorization` headers leave open which is meant.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let name = header::AUTHORIZATION;
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer nhk_x", "bearer nhk_x", "BEARER   nhk_x "] {
            assert_eq!(bearer(&headers(&[value])), Some("nhk_x"), "{value}");
        }
    }

    #[test]
    fn anything_else_is_no_token() {
        for values in [
            &[][..],
            &[""],
            &["nhk_x"],
            &["Bearer"],
            &["Basic nhk_x"],
            &["Bearer\tnhk_x"],
            &["Bearer nhk_x", "Bearer nhk_y"],
        ] {
            assert_eq!(bearer(&headers(values)), None, "{values:?}");
        }
    }
}
