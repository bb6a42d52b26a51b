//! Simulated provider of drover: in-memory instances with seeded faults.
