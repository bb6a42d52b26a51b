//! Document formats of drover in Git: specs in, recorded state out.
//!
//! This crate turns the bytes of a file into documents ([`parse_file`]), the files of a repository
//! into a [`Repository`] ([`assemble`]), mistakes into text ([`render`]), and recorded state into YAML
//! and back ([`record`]). It also reads the agent's own file ([`agent_config`]) and makes the edits of
//! `drover scale` and `drover suspend` ([`edit`]), and reads and writes [`operation`]s. It reads no file, knows no Git and no clock, and
//! compiles no policy: expressions are texts with places here.
//!
//! **Invariant:** a document with any mistake has no outcome, and a mistake never hides another
//! document. **Invariant:** whatever the input, parsing ends within the [`limits`], without a panic.

pub mod agent_config;
mod assemble;
mod declare;
mod decode;
mod diagnostic;
mod document;
pub mod edit;
mod formats;
pub mod limits;
pub mod operation;
pub mod record;
mod render;
mod schema;
mod tree;

pub use assemble::{BrokenDocument, Located, Repository, assemble};
pub use decode::closest;
pub use diagnostic::{Diagnostic, Severity};
pub use document::{
    API_VERSION, Document, FleetDoc, Glimpse, OrderedValue, ParsedDocument, ParsedFile,
    parse_document, parse_file, parse_ordered_value, parse_value, parse_value_of_yaml_1_1,
};
pub use formats::{FormatError, format_duration, format_time, parse_duration, parse_time};
pub use render::render;
pub use schema::{agent_schema, schema};
