//! Hostile text through every text field of specs and site files: each value is refused at its place, or comes out byte
//! for byte, adds nothing and changes nothing else.

mod fields;
pub(crate) mod payloads;
mod runs;
mod sbatch;
mod scripts;
mod sweeps;
mod world;
