//! The provider types of this build.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use drover_loop::{Allowed, Registry};
use drover_model::Timestamp;
use drover_provider::{Clock, ProviderFactory};
use drover_provider_process::{ProcessFactory, ShimProgram};
use drover_provider_sim::SimFactory;

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Makes every provider type of this build. Nothing is touched until one is opened; processes are
/// kept in `process_dir`.
pub(crate) fn factories(process_dir: &Path) -> Vec<Arc<dyn ProviderFactory>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    vec![
        Arc::new(ProcessFactory::new(
            process_dir.to_owned(),
            shim(),
            clock.clone(),
        )),
        Arc::new(SimFactory::new(clock)),
    ]
}

/// The hidden subcommand of this very program.
///
/// `/proc/self/exe` would name a replaced binary as `... (deleted)`: then the name that it was
/// started by is as good as any.
fn shim() -> ShimProgram {
    let program = std::env::current_exe().unwrap_or_else(|_| "drover".into());
    ShimProgram {
        program,
        args: vec!["shim".into()],
    }
}

/// Returns every type, allowed, for checks that open nothing.
pub(crate) fn registry() -> Registry {
    let factories = factories(Path::new("/nonexistent"));
    let types: BTreeSet<_> = factories
        .iter()
        .map(|factory| factory.manifest().type_.clone())
        .collect();
    Registry::new(factories, Allowed::Only(types))
}
