//! Document formats of drover in Git: specs in, recorded state out.
