//! What people live through, with the real program.

mod budgets;
mod code;
mod cron;
mod data;
mod drivers;
mod first_run;
mod from_script;
mod halving;
mod kills;
mod lives;
mod open_sweeps;
mod points;
pub(crate) mod requirements;
mod retention;
mod schedules;
pub(crate) mod secrets;
mod site;
mod sweeps;
mod torch;
mod usage;
mod warnings;
mod watching;
