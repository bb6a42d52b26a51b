//! Simulator of drover: virtual clock, simulated fleet, seeded faults.
