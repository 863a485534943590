//! The source of fresh randomness for ids.

use std::sync::Arc;

/// A source of random bits for identifiers: a component, so that a test can seed it.
pub trait IdSource: Send + Sync {
    /// 128 fresh random bits.
    fn random(&self) -> u128;
}

impl<T: IdSource + ?Sized> IdSource for Arc<T> {
    fn random(&self) -> u128 {
        T::random(self)
    }
}

/// The thread's cryptographic generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that draws ambient randomness"
    )]
    fn random(&self) -> u128 {
        rand::random()
    }
}
