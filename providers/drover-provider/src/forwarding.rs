//! Providers that are another one but for something: what tests put between the agent and a provider to see, delay or
//! falsify single calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, ErrorClass, FleetName, Listing, ProviderRef, Survey};

use crate::{
    AdoptRequest, DestroyRequest, Manifest, OptionalMethod, Provider, ProviderError,
    ProvisionRequest, Provisioned, ReserveRequest, UpdateRequest,
};

/// Declares [`Forwarding`] and makes a provider of each. Both need every method once, in the same words.
macro_rules! forwarding {
    ($($method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// What differs from another provider: each method answers as [`inner`](Self::inner) does, unless it is overridden.
        /// [`Forward`] makes a provider of it.
        #[async_trait]
        pub trait Forwarding: Send + Sync + fmt::Debug {
            /// Returns the other provider.
            fn inner(&self) -> &dyn Provider;

            /// Stands before [`Provider::manifest`].
            fn manifest(&self) -> &Manifest {
                self.inner().manifest()
            }

            /// Stands before [`Provider::offers`].
            fn offers(&self) -> BTreeSet<OptionalMethod> {
                self.inner().offers()
            }

            $(
                #[doc = concat!("Stands before [`Provider::", stringify!($method), "`].")]
                async fn $method(&self, $($argument: $type),*) -> Result<$result, ProviderError> {
                    self.inner().$method($($argument),*).await
                }
            )*
        }

        #[async_trait]
        impl<F: Forwarding> Provider for Forward<F> {
            fn manifest(&self) -> &Manifest {
                self.0.manifest()
            }

            fn offers(&self) -> BTreeSet<OptionalMethod> {
                self.0.offers()
            }

            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$result, ProviderError> {
                    self.0.$method($($argument),*).await
                }
            )*
        }
    };
}

/// A provider that answers as its content says.
#[derive(Debug)]
pub struct Forward<F>(pub F);

impl<F> std::ops::Deref for Forward<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0
    }
}

forwarding! {
    list(fleet: &FleetName) -> Listing;
    provision(request: &ProvisionRequest) -> Provisioned;
    destroy(request: &DestroyRequest) -> ();
    reserve(request: &ReserveRequest) -> String;
    update(request: &UpdateRequest) -> ();
    release(fleet: &FleetName, instance: &ProviderRef) -> ();
    survey(tags: &BTreeMap<String, String>) -> Survey;
    adopt(request: &AdoptRequest) -> ();
    check(instance: &ProviderRef, command: &[String], timeout: Duration) -> CheckOutcome;
    health(instance: &ProviderRef, timeout: Duration) -> CheckOutcome;
    logs(instance: &ProviderRef, lines: usize) -> String;
}

/// A provider that has nothing and refuses every call, as [`Forwarding::inner`] of one that answers some.
#[derive(Debug, Clone)]
pub struct Refusing(pub Manifest);

impl Refusing {
    fn refuse<T>(method: &str) -> Result<T, ProviderError> {
        let message = format!("{method} is not answered here");
        Err(ProviderError::new(ErrorClass::Unknown, message))
    }
}

#[async_trait]
impl Provider for Refusing {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    async fn list(&self, _: &FleetName) -> Result<Listing, ProviderError> {
        Self::refuse("list")
    }

    async fn provision(&self, _: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        Self::refuse("provision")
    }

    async fn destroy(&self, _: &DestroyRequest) -> Result<(), ProviderError> {
        Self::refuse("destroy")
    }

    async fn release(&self, _: &FleetName, _: &ProviderRef) -> Result<(), ProviderError> {
        Self::refuse("release")
    }
}
