//! Runs through the database: what is recorded is what is read.

mod lives;
mod opening;
mod world;
