//! `--queue nats://…`: deliveries go over JetStream, and everything else is as it is without.

mod credentials;
mod delivering;
mod outage;
mod starting;
