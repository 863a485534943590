//! The ports: what the engine, the front ends and the worker ask of a back end.
//!
//! The ports that every trigger calls come twice: a typed trait, written by adapters with plain `async fn`, and an
//! object-safe twin (`Dyn…`) that every adapter has for free, so that a back end can be chosen at run time. `&T`, `Box<T>`,
//! `Arc<T>` and the twin's trait object are adapters themselves.
//!
//! Three rules hold for all of them:
//! * **Dropping a port's future cancels it.** Ports take no deadline; who calls has one, and drops.
//! * **No default methods**, so that no wrapper can forget one.
//! * **Clones of an adapter are handles** to the same state.

mod publisher;
mod subscriptions;

pub use self::publisher::{DeliveryPublisher, DynDeliveryPublisher};
pub use self::subscriptions::{
    DynSubscriptionStore, EndpointState, Subscribers, SubscriptionStore,
};

/// Gives a port its object-safe twin and makes pointers to adapters adapters.
macro_rules! erase {
    (
        $(#[$doc:meta])*
        $port:ident as $twin:ident {
            $(fn $method:ident / $erased:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)? ;)+
        }
    ) => {
        $(#[$doc])*
        #[async_trait::async_trait]
        pub trait $twin: Send + Sync {
            $(
                #[doc = concat!("[`", stringify!($port), "::", stringify!($method), "`], boxed.")]
                async fn $erased(&self, $($arg: $ty),*) $(-> $ret)?;
            )+
        }

        #[async_trait::async_trait]
        impl<T: $port> $twin for T {
            $(
                async fn $erased(&self, $($arg: $ty),*) $(-> $ret)? {
                    $port::$method(self, $($arg),*).await
                }
            )+
        }

        #[deny(clippy::missing_trait_methods)]
        impl $port for dyn $twin + '_ {
            $(
                async fn $method(&self, $($arg: $ty),*) $(-> $ret)? {
                    self.$erased($($arg),*).await
                }
            )+
        }

        $crate::ports::forward!($port { $(fn $method($($arg: $ty),*) $(-> $ret)?;)+ } for &T);
        $crate::ports::forward!($port { $(fn $method($($arg: $ty),*) $(-> $ret)?;)+ } for Box<T>);
        $crate::ports::forward!($port { $(fn $method($($arg: $ty),*) $(-> $ret)?;)+ } for std::sync::Arc<T>);
    };
}

/// Makes one kind of pointer to an adapter an adapter.
macro_rules! forward {
    ($port:ident { $(fn $method:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)?;)+ } for $pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl<T: $port + ?Sized> $port for $pointer {
            $(
                async fn $method(&self, $($arg: $ty),*) $(-> $ret)? {
                    (**self).$method($($arg),*).await
                }
            )+
        }
    };
}

pub(crate) use {erase, forward};
