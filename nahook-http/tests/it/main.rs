//! The routes over back ends in memory, and the server over real sockets. What needs a process of its own is beside this.
#![cfg(test)]

mod ingestion;
mod logging;
mod management;
