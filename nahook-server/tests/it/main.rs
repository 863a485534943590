//! The real program from the outside, each test with servers of its own. What has to be alone with the machine, or is asked
//! for by its name, is beside this.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod back_ends_that_fail;
mod broken_outputs;
mod command_line;
mod delivery;
mod http_edges;
mod nats_queue;
mod pooler;
mod published_client;
mod readiness;
mod roles;
mod stalls;
mod tenants;
mod test_event;
mod trigger_page;
mod two_servers;
