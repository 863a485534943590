//! Answers of operations that succeed.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::openapi::Components;

/// An answer of one status.
pub(super) trait Answer: Send {
    /// Its status.
    const STATUS: StatusCode;
    /// True if the answer is as long as the store has rows.
    const IS_LIST: bool = false;

    /// The schema of its body, if it has one.
    fn schema(components: &mut Components) -> Option<Value>;

    /// Its body as JSON, if it has one.
    fn into_json(self) -> Result<Option<Vec<u8>>, serde_json::Error>;
}

/// Makes answers of one row, each with its status.
macro_rules! of_one_row {
    ($($(#[$doc:meta])* $name:ident $status:ident;)+) => {$(
        $(#[$doc])*
        pub(super) struct $name<T>(pub(super) T);

        impl<T: Serialize + ToSchema + Send> Answer for $name<T> {
            const STATUS: StatusCode = StatusCode::$status;

            fn schema(components: &mut Components) -> Option<Value> {
                Some(components.reference::<T>())
            }

            fn into_json(self) -> Result<Option<Vec<u8>>, serde_json::Error> {
                serde_json::to_vec(&self.0).map(Some)
            }
        }
    )+};
}

of_one_row! {
    /// 200 with what was asked for.
    Found OK;
    /// 201 with what was made.
    Made CREATED;
    /// 202 with what will be done.
    Accepted ACCEPTED;
}

/// 200 with a bare list.
pub(super) struct Listed<T>(pub(super) Vec<T>);

/// 204, nothing to say.
pub(super) struct Gone;

impl<T: Serialize + ToSchema + Send> Answer for Listed<T> {
    const STATUS: StatusCode = StatusCode::OK;
    const IS_LIST: bool = true;

    fn schema(components: &mut Components) -> Option<Value> {
        Some(json!({ "type": "array", "items": components.reference::<T>() }))
    }

    fn into_json(self) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let mut json = vec![b'['];
        // Each row is dropped when it was written.
        for (place, row) in self.0.into_iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &row)?;
        }
        json.push(b']');
        Ok(Some(json))
    }
}

impl Answer for Gone {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;

    fn schema(_: &mut Components) -> Option<Value> {
        None
    }

    fn into_json(self) -> Result<Option<Vec<u8>>, serde_json::Error> {
        Ok(None)
    }
}
