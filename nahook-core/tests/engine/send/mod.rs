//! The same steps of what is sent to single endpoints, alone and in a batch.

mod accounting;
mod deadline;
mod steps;
