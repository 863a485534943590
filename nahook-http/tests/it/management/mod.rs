//! The management routes over a back end in memory.

mod applications;
mod audit;
mod deliveries;
mod document;
mod endpoints;
mod events;
mod faults;
mod observability;
mod operators;
mod read_only;
mod rules;
mod secrets;
mod support;
mod tenants;
mod test_event;
