//! What strangers and other tenants do to a tenant.

mod budgets;
mod encryption;
mod files;
mod pressure;
mod slots;
mod strangers;
