//! Secrets of a simulated fleet: every one can be read, and none is. What instances have in their environment makes no
//! difference to a rollout, and whoever simulates one need not be allowed to know it.

use drover_model::SecretRef;
use drover_provider::{SecretError, SecretSource, SecretText};

/// A source that has something for every reference.
#[derive(Debug, Clone, Copy)]
pub(super) struct PretendedSecrets;

impl SecretSource for PretendedSecrets {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        Ok(SecretText::new(format!("(what {reference} has)")))
    }
}
