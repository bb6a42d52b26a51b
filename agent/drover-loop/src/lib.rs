//! The reconcile pass of drover, over traits for clock, source, recorder, journal and provider.
