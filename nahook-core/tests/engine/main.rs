//! The engine's steps, one by one, over ports that a test scripts: scope, size, admit, look up, publish, account.

#[cfg(test)]
mod accounting;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod deadline;
#[cfg(test)]
mod defaults;
#[cfg(test)]
mod own_timeout;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod send;
#[cfg(test)]
mod standing;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod values;
