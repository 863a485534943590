//! The edges of the wire, byte by byte: what clients do that a server must bear (contract, sections 1 and 5).

mod bodies;
mod checks;
mod clients;
mod large;
mod routes;
mod wire;
