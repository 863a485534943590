//! The pages over a store in memory, request by request.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot arrange what it needs has failed"
)]

mod backlogs;
mod budgets;
mod contents;
mod crowds;
mod lists;
mod live;
mod looks;
mod refusals;
mod search;
mod sessions;
mod shop;
mod sizes;
