//! What people live through, with the real program.

mod first_run;
mod kills;
mod lives;
