//! What people live through, with the real program.

mod code;
mod first_run;
mod kills;
mod lives;
