//! Provider types that are the simulated one but for something.

use std::fmt;
use std::sync::Arc;

use drover_model::{ProviderName, ProviderType, Value};
use drover_provider::{Forward, Forwarding, Manifest, Provider, ProviderError, ProviderFactory};
use drover_provider_sim::SimFactory;

/// What stands before a simulated provider, with the manifest of its type.
type Wrap<F> = Box<dyn Fn(Arc<dyn Provider>, Manifest) -> F + Send + Sync>;

/// Makes providers of a type of its own.
pub(crate) struct Wrapped<F> {
    manifest: Manifest,
    inner: Arc<SimFactory>,
    wrap: Wrap<F>,
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("type_", &self.manifest.type_)
            .finish_non_exhaustive()
    }
}

impl<F: Forwarding + 'static> Wrapped<F> {
    pub(crate) fn new(
        type_: &str,
        inner: &Arc<SimFactory>,
        wrap: impl Fn(Arc<dyn Provider>, Manifest) -> F + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            manifest: Manifest {
                type_: ProviderType::parse(type_).unwrap(),
                ..inner.manifest().clone()
            },
            inner: Arc::clone(inner),
            wrap: Box::new(wrap),
        })
    }
}

impl<F: Forwarding + 'static> ProviderFactory for Wrapped<F> {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let inner = self.inner.open(name, settings)?;
        let wrapped = (self.wrap)(inner, self.manifest.clone());
        Ok(Arc::new(Forward(wrapped)))
    }
}
