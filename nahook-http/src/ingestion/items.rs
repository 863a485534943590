//! The answer to a batch.

use axum::http::StatusCode;
use nahook_core::{Receipt, Sent};

use crate::ApiError;
use crate::wire::{write_receipt_fields, write_sent_fields, write_string};

/// Answer to each item, by its place.
pub(super) struct Items(Vec<Option<Answer>>);

enum Answer {
    Refused(ApiError),
    Sent(Sent),
    Triggered(Receipt),
}

impl Items {
    pub(super) fn new(len: usize) -> Self {
        Self((0..len).map(|_| None).collect())
    }

    pub(super) fn refused(&mut self, place: usize, error: ApiError) {
        self.put(place, Answer::Refused(error));
    }

    pub(super) fn sent(&mut self, place: usize, sent: Sent) {
        self.put(place, Answer::Sent(sent));
    }

    pub(super) fn triggered(&mut self, place: usize, receipt: Receipt) {
        self.put(place, Answer::Triggered(receipt));
    }

    fn put(&mut self, place: usize, answer: Answer) {
        if let Some(slot) = self.0.get_mut(place) {
            *slot = Some(answer);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Number of items that were refused.
    pub(super) fn refusals(&self) -> usize {
        let is_refused =
            |item: &&Option<Answer>| !matches!(item, Some(Answer::Sent(_) | Answer::Triggered(_)));
        self.0.iter().filter(is_refused).count()
    }

    /// 202 and the items if all went well, 207 if any did not (contract, section 1).
    pub(super) fn into_answer(self) -> (StatusCode, Vec<u8>) {
        let status = if self.refusals() == 0 {
            StatusCode::ACCEPTED
        } else {
            StatusCode::MULTI_STATUS
        };
        let mut json = Vec::with_capacity(64 + 160 * self.0.len());
        json.extend_from_slice(b"{\"items\":[");
        for (index, answer) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(format!("{{\"index\":{index},").as_bytes());
            match answer {
                Some(Answer::Sent(sent)) => write_sent_fields(sent, &mut json),
                Some(Answer::Triggered(receipt)) => write_receipt_fields(receipt, &mut json),
                Some(Answer::Refused(error)) => write_error(error, &mut json),
                None => write_error(&ApiError::internal(), &mut json),
            }
            json.push(b'}');
        }
        json.extend_from_slice(b"]}");
        (status, json)
    }
}

fn write_error(error: &ApiError, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"error\":{\"code\":");
    write_string(error.code(), out);
    out.extend_from_slice(b",\"message\":");
    write_string(error.message(), out);
    out.push(b'}');
}
