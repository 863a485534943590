//! What strangers and other tenants do to a tenant.

mod slots;
mod strangers;
