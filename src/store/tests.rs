//! Runs through the database: what is recorded is what is read.

mod accounts;
mod arrays;
mod bad_nodes;
mod ledger;
mod lives;
mod opening;
mod points;
mod schedules;
mod told;
pub(super) mod world;
