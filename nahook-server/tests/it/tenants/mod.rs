//! What strangers and other tenants do to a tenant.

mod pressure;
mod slots;
mod strangers;
