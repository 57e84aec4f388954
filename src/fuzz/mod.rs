//! Every parser of foreign text, fed with what nobody would write: recordings of real releases, what newer ones are
//! documented to print, and endless damage done to both.
//!
//! The damage follows from a seed, and the seed from the clock of nobody: a round is the same everywhere until
//! `TRAINYARD_FUZZ_SEED` says otherwise. `TRAINYARD_FUZZ_SECONDS=600` makes a round of each target as long as that. A
//! failure prints the target, the number of the input, and the input itself.

mod corpus;
mod growth;
mod mutate;
mod slurm;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use mutate::Random;

/// Inputs of one target in the everyday round.
const INPUTS: u64 = 3_000;

/// No input of the everyday size may take so long; the slowest takes a thousandth of it.
const INPUT_PATIENCE: Duration = Duration::from_secs(5);

#[expect(
    clippy::disallowed_methods,
    reason = "how long the campaign is, and where it begins, is told to the test itself"
)]
fn told(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Gives a target one damaged text after the other. The target ends the test where something is not as it must be.
fn round(target: &str, corpus: &[Vec<u8>], check: impl Fn(&[u8], &mut Random)) {
    assert!(!corpus.is_empty(), "{target} has nothing to begin with");
    let seconds = told("TRAINYARD_FUZZ_SECONDS").map(Duration::from_secs);
    let seed = told("TRAINYARD_FUZZ_SEED").unwrap_or(0x7472_6169_6e79_6172);
    let started = Instant::now();
    let mut number = 0;
    while seconds.map_or(number < INPUTS, |seconds| started.elapsed() < seconds) {
        // Each input has a generator of its own, so that it can be made again without those before it.
        let mut random = Random::new(seed.wrapping_add(number));
        let input = if number < corpus.len() as u64 {
            corpus[usize::try_from(number).expect("it is below a length")].clone()
        } else {
            mutate::damaged(corpus, &mut random)
        };
        let began = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| check(&input, &mut random)));
        let took = began.elapsed();
        if ended.is_err() || took > INPUT_PATIENCE {
            let shown: String = input.escape_ascii().take(4_000).map(char::from).collect();
            println!("{target}, seed {seed}, input {number}, {took:?}:\n{shown}");
        }
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
        assert!(took <= INPUT_PATIENCE, "{target}: input {number} took {took:?}");
        number += 1;
    }
    // Read by whoever runs the campaign.
    println!("{target}: {number} inputs in {:?}", started.elapsed());
}
