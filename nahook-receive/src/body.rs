//! Reading of a request's body within a limit.

use std::error::Error;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::VerifyError;

/// Reads `body`, up to `limit` bytes of it. A body that declares a larger size is refused without being read.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, VerifyError>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let too_large = VerifyError::BodyTooLarge { limit };
    if usize::try_from(body.size_hint().lower()).map_or(true, |size| size > limit) {
        return Err(too_large);
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large),
        Err(_) => Err(VerifyError::BodyUnreadable),
    }
}
