//! Provider and flavor traits of drover, their contract, and the conformance suite.
