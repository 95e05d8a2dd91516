//! The limits within which every script runs.

/// Steps of a script, all its threads together: some ten seconds of pure computing, where a run
/// over 1,000 volumes takes about a million.
pub(super) const MAX_OPERATIONS: u64 = 500_000_000;
/// Functions inside functions.
pub(super) const MAX_CALL_LEVELS: usize = 64;
/// Expressions inside expressions.
pub(super) const MAX_EXPRESSION_DEPTH: usize = 64;
/// Bytes of text in one value, nested ones counted: the snapshots of thousands of volumes fit.
/// Values are limited each, not together, so that this times [`MAX_VARIABLES`] is what one function
/// can hold.
pub(super) const MAX_STRING_BYTES: usize = 16 << 20;
/// Elements of one array, nested ones counted.
pub(super) const MAX_ARRAY_ELEMENTS: usize = 200_000;
/// Entries of one map, nested ones counted.
pub(super) const MAX_MAP_ENTRIES: usize = 1_000_000;
/// Variables alive at once in one function.
pub(super) const MAX_VARIABLES: usize = 200;
/// Functions that a script defines.
pub(super) const MAX_FUNCTIONS: usize = 500;
/// Files that a run imports.
pub(super) const MAX_MODULES: usize = 50;
/// Threads that the `parallel` calls of one run have together, besides its own.
pub(super) const MAX_THREADS: usize = 16;
/// The stack of a thread that runs a script: enough for the deepest calls of the deepest
/// expressions, and for arrays nested as deep as they may be. Only what is used of it is memory.
pub(super) const STACK_BYTES: usize = 128 << 20;
