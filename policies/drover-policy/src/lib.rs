//! CEL policies of drover: compile, check, bind facts, evaluate to typed decisions.
