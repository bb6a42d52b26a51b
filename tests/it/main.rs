//! End-to-end tests: the real binary, real repositories, real processes. Everything is on loopback,
//! in folders of its own, and ends with its test.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has nothing better to do than to say so"
)]

mod agent;
mod asked;
mod attached;
mod attacks;
mod audit;
mod audit_claims;
mod cli;
mod conform;
mod crash;
mod decisions;
mod demo;
mod docker;
mod docs;
mod edit;
#[path = "../../providers/drover-provider-docker/tests/support/engine.rs"]
#[allow(dead_code, reason = "the provider's own tests use more of it")]
mod engine;
mod etcd;
mod failed_launch;
mod flavors;
#[path = "../../agent/drover-git/tests/support/git_daemon.rs"]
mod git_daemon;
mod groups;
#[path = "../../agent/drover-git/tests/support/http_backend.rs"]
mod http_backend;
mod import_aws;
mod import_infrakit;
mod infrakit;
mod metrics;
mod notify;
mod plugin;
mod plugins_started;
mod policy;
mod pr;
mod prometheus;
mod refused_by_file;
#[path = "../../providers/drover-provider-docker/tests/support/registry.rs"]
#[allow(dead_code, reason = "the provider's own tests use more of it")]
mod registry;
mod reliability;
mod remote;
mod removals;
mod secrets;
mod serve;
mod signed;
mod simulate;
#[path = "../../agent/drover-git/tests/support/ssh_server.rs"]
mod ssh_server;
mod state_branch;
mod support;
mod take_over;
mod tidy;
mod validate;
mod webhook;
