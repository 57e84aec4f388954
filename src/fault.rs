//! Named places at which a fault test ends this process without a word: between a record and the act that it orders.
//!
//! Only a program that was built with the feature `faults` has them, and only where `TRAINYARD_FAULT` names one;
//! otherwise [`point`] is nothing. `tests/faults/run points` goes through all of them.

#[cfg(feature = "faults")]
static ARMED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// The process ends when it first comes to the place of this name.
#[cfg(feature = "faults")]
pub fn arm(name: String) {
    // A second name would come too late.
    drop(ARMED.set(name));
}

/// A place at which the process may end.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    if ARMED.get().is_some_and(|armed| armed == name) {
        // Whoever started it looks for the signal; nothing is written, as nothing is when a machine fails.
        kill(Pid::this(), Signal::SIGKILL).ok();
    }
}

/// A place at which the process may end; nothing in a program without the feature.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn point(_name: &str) {}
