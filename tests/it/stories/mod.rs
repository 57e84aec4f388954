//! What people live through, with the real program.

mod kills;
mod lives;
