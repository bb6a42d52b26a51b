//! Executor of drover: carries out plan steps through providers and keeps the journal.
