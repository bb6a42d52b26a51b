//! Git for drover: fetches the desired revision and commits the observed state.
