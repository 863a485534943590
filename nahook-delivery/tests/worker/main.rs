//! The worker in paused time, over the in-memory back end and scripted endpoints.

mod outcomes;
mod support;
