//! The limits within which every script runs.

/// The most steps of a script, in all its threads together. They are about ten seconds of pure
/// computing. A run over 1,000 volumes takes about a million.
pub(super) const MAX_OPERATIONS: u64 = 500_000_000;
/// The deepest nesting of calls.
pub(super) const MAX_CALL_LEVELS: usize = 64;
/// The deepest nesting of expressions.
pub(super) const MAX_EXPRESSION_DEPTH: usize = 64;
/// The most bytes of text in one value, nested values included. The snapshots of thousands of
/// volumes fit. The limit is per value, so one function can hold this times [`MAX_VARIABLES`].
pub(super) const MAX_STRING_BYTES: usize = 16 << 20;
/// The most elements of one array, nested arrays included.
pub(super) const MAX_ARRAY_ELEMENTS: usize = 200_000;
/// The most entries of one map, nested maps included.
pub(super) const MAX_MAP_ENTRIES: usize = 1_000_000;
/// The most variables alive at once in one function.
pub(super) const MAX_VARIABLES: usize = 200;
/// The most functions that a script can define.
pub(super) const MAX_FUNCTIONS: usize = 500;
/// The most files that a run can import.
pub(super) const MAX_MODULES: usize = 50;
/// The most threads of all `parallel` calls of one run together, besides the run's own thread.
pub(super) const MAX_THREADS: usize = 16;
/// The stack of a thread that runs scripts, in bytes. It is enough for the deepest calls of the
/// deepest expressions, and for arrays nested as deep as allowed. Only the used part takes memory.
pub(super) const STACK_BYTES: usize = 128 << 20;
