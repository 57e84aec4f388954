//! The same texts by way of the real program.
