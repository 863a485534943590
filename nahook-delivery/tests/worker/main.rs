//! The worker over the in-memory back end: in paused time with scripted endpoints, and in real time with real sockets.

#![cfg(test)]

mod bookkeeping;
mod changes;
mod faulty;
mod isolation;
mod lack;
mod model;
mod outcomes;
mod reasons;
mod restarts;
mod sockets;
mod stopping;
mod support;
