//! Every limit of the language, in one place. None can be raised by a repository: an expression
//! that runs into one says so, and says what to do instead.

/// Longest source of one expression in bytes. The parser needs more stack the longer its input is,
/// and 10,000 nested brackets fit in a few times this.
pub(crate) const SOURCE_BYTES_MAX: usize = 4096;

/// Most nodes of one parsed expression, macros expanded. Dense text has about one node in two bytes.
pub(crate) const NODES_MAX: usize = 3000;

/// Deepest nesting of one parsed expression, left-associative chains (`a + b + c`) counted. The
/// evaluator recurses once per level; 2 MiB of stack carry 1,000 levels in a release build, so
/// [`STACK_BYTES`] carry this many with a wide margin.
pub(crate) const DEPTH_MAX: usize = 200;

/// Most loops inside each other (`all`, `exists`, `map`, `filter`). Two cover every use known to
/// us; the third leaves room, and the budget stops it over many instances.
pub(crate) const LOOPS_NESTED_MAX: usize = 3;

/// Most elements of one list or map literal.
pub(crate) const LITERAL_ELEMENTS_MAX: usize = 256;

/// Longest text literal in bytes.
pub(crate) const LITERAL_BYTES_MAX: usize = 1024;

/// Most steps of one evaluation of one expression: about one per node evaluated in a loop, more for
/// growing values. A filter over 100,000 instances with a simple condition takes some 1,200,000. A
/// million steps take about a tenth of a second.
pub(crate) const EXPRESSION_STEPS_MAX: u64 = 1_500_000;

/// Most steps of all expressions of one binding in one pass over one group. Each binding has its own
/// budget, so that a new policy cannot break another one.
pub(crate) const BINDING_STEPS_MAX: u64 = 10_000_000;

/// Longest text that `+` may make, in bytes. Lists need no such limit: copying them is charged for.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Most regular expressions that one expression has as literals: each is compiled when it is loaded.
pub(crate) const PATTERNS_MAX: usize = 32;

/// Most steps of all calls of constants of one expression that are tried when it is loaded, to see
/// whether they fail. What is not tried fails when it is evaluated.
pub(crate) const CONSTANT_STEPS_MAX: u64 = 20_000;

/// Most mistakes told about one expression: a slip at the front can cause hundreds.
pub(crate) const MISTAKES_MAX: usize = 20;

/// How many bytes of text count as one step.
pub(crate) const BYTES_PER_STEP: usize = 16;

/// How many steps an element of a list counts as, where values are kept or added: it is copied about
/// that often on its way.
pub(crate) const STEPS_PER_ELEMENT: u64 = 4;

/// How many steps an entry of a map counts as: it is hashed, too.
pub(crate) const STEPS_PER_ENTRY: u64 = 16;

/// How many times its weight comparing a value counts as: an instance is compared field by field.
pub(crate) const STEPS_PER_COMPARISON: u64 = 16;

/// How many times its weight sorting a list counts as: as many comparisons of each element as the
/// longest list that can be made needs.
pub(crate) const STEPS_PER_SORTED: u64 = 16;

/// Largest compiled regular expression in bytes, and the size of its cache while matching.
pub(crate) const REGEX_BYTES_MAX: usize = 128 * 1024;

/// Steps that compiling a regular expression counts as: compiling the largest takes a millisecond.
pub(crate) const REGEX_STEPS: u64 = 10_000;

/// Steps that asking for a window of time counts as: the days of years may have to be gone through.
pub(crate) const WINDOW_STEPS: u64 = 500;

/// Steps that asking a calendar counts as: its days are gone through.
pub(crate) const CALENDAR_STEPS: u64 = 100;

/// Longest text of a URL in bytes.
pub(crate) const URL_BYTES_MAX: usize = 2048;

/// Longest text of a version in bytes.
pub(crate) const VERSION_BYTES_MAX: usize = 256;

/// Most compiled regular expressions kept during one call.
pub(crate) const REGEX_CACHE_MAX: usize = 32;

/// Stack of the thread that compiles and evaluates, in bytes. Only what is touched is backed by
/// memory. 16 MiB carry the deepest parse of [`SOURCE_BYTES_MAX`] in a release build; frames of a
/// debug build are some three times as large.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Most variables, conditions and rules of one policy, each.
pub(crate) const CLAUSES_MAX: usize = 64;

/// Most rows of a policy's test table.
pub(crate) const TESTS_MAX: usize = 256;

/// Most values that a verdict carries, and the longest of them in characters.
pub(crate) const VALUES_MAX: usize = 16;
/// See [`VALUES_MAX`].
pub(crate) const VALUE_CHARS_MAX: usize = 120;

/// Longest text of an evaluation error in characters.
pub(crate) const ERROR_CHARS_MAX: usize = 300;

/// How soon a decision that reads the clock is asked again, in seconds, when it reads more than
/// the hour or the date.
pub(crate) const REVIEW_SECONDS: i64 = 60;

/// The same for a decision that reads only the hour or the date: every zone's offset is a multiple
/// of a quarter of an hour.
pub(crate) const REVIEW_COARSE_SECONDS: i64 = 15 * 60;
