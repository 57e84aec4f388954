//! The state × event table, walked row by row, and stories through `decide`.
