//! Every limit on what a repository may contain. They bound the memory and the time that hostile or
//! mistaken files can cost, and are far above what people write.

use std::time::Duration;

/// Most bytes in one file: about 1,800 groups of the size that people write.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Most documents in one file.
pub const DOCUMENTS_MAX: usize = 1_000;

/// Most nodes (scalars, lists and maps, aliases expanded) in one file. A large group has 150.
pub const NODES_MAX: usize = 100_000;

/// Deepest nesting of lists and maps, aliases expanded. Groups need 8; 64 leaves room for provider
/// properties and keeps recursion over a tree far from the end of any stack.
pub const DEPTH_MAX: usize = 64;

/// Most characters of a key, as YAML has it.
pub const KEY_LENGTH_MAX: usize = 1024;

/// Most aliases (`*name`) in one file.
pub const ALIASES_MAX: usize = 100;

/// Most bytes of decoded scalars in one file, aliases expanded: so 100 aliases of one large text
/// cost no more than four files.
pub const TEXT_BYTES_MAX: usize = 4 * FILE_BYTES_MAX;

/// Most mistakes reported for one document; what comes after them is counted, not shown.
pub const DIAGNOSTICS_MAX: usize = 100;

/// Most bytes of a recorded state: 10,000 instances take about 4 MiB.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most nodes of a recorded state: 10,000 instances take about 200,000.
pub const RECORD_NODES_MAX: usize = 4_000_000;

/// Most instances of one group. The planner is measured up to this size.
pub const GROUP_SIZE_MAX: u32 = 10_000;

/// Most bytes of one CEL expression.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;

/// Most entries of any list in a document: checks, flavors, init lines, rules, test rows.
pub const LIST_LENGTH_MAX: usize = 1_000;

/// Most approvals that a change may need: more people than any team asks.
pub const APPROVALS_MAX: u32 = 20;

/// Most characters of a message, a reason or another line for people.
pub const MESSAGE_LENGTH_MAX: usize = 1_000;

/// Longest duration where nothing else is said: 30 days.
pub const DURATION_MAX: Duration = Duration::from_hours(720);
