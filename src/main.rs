//! The program. On this branch only the hidden verb that supervises a local job.

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use trainyard::local::{SUPERVISOR_VERB, supervise};
use trainyard::ports::Clock;

/// The machine's clock and random numbers.
struct MachineClock;

impl Clock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random_bits(&self) -> u128 {
        let half = || u128::from(getrandom::u64().unwrap_or_default());
        half() << 64 | half()
    }
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [verb, spool] if verb == SUPERVISOR_VERB => {
            let code = supervise(Path::new(spool), &MachineClock);
            u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        _ => ExitCode::from(2),
    }
}
