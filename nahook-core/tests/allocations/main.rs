//! The allocation budget. A test binary of its own, because linking the counter replaces the allocator.

#[cfg(test)]
mod budget;
