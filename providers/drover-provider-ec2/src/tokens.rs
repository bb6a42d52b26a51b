//! What each token was used for. EC2 compares what comes with a token within a zone only, so that a token that comes
//! with another zone would make a second instance.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use drover_model::Token;
use drover_provider::{ProvisionRequest, fingerprint, is_repeated};

/// Most tokens that are remembered, some hundred bytes each; beyond that all are forgotten.
const TOKENS_MAX: usize = 16_384;

/// The fingerprint that each token came with, as long as this program runs.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<Token, String>>);

impl Tokens {
    /// Returns whether a call is the first one with its token, or one that repeats it.
    pub(crate) fn admit(&self, request: &ProvisionRequest) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = seen.get(&request.token) {
            return is_repeated(request, asked);
        }
        if seen.len() >= TOKENS_MAX {
            seen.clear();
        }
        seen.insert(request.token.clone(), fingerprint(request));
        true
    }
}
