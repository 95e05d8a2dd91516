//! Which of many items to keep, and why.
