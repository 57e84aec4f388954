//! Integration tests: the real program and real processes, one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod local;
