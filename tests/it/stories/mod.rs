//! What people live through, with the real program.

mod code;
mod data;
mod first_run;
mod from_script;
mod kills;
mod lives;
mod requirements;
pub(crate) mod secrets;
