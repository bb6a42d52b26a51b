//! The conformance suite: each sentence of the [`Provider`](crate::Provider) contract as a check.
