//! A server works the same whatever becomes of its standard error and standard output.

mod commands;
mod fault;
mod log;
