//! The machine's own clock and random numbers.

use jiff::Timestamp;

use crate::ports::Clock;

/// Real time, real randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock adapter")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Random bits of the kernel. Without them the time is used: a token needs to be unique, not secret.
    fn random_bits(&self) -> u128 {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => u128::from_le_bytes(bytes),
            Err(_) => {
                self.now().as_nanosecond().cast_unsigned() ^ (u128::from(std::process::id()) << 64)
            }
        }
    }
}
