//! When a training counts as hung, for the part of the script that watches it.

use crate::domain::checkpoint::layout;
use crate::domain::resolved::Resolved;
use crate::domain::units::Seconds;

pub(super) struct Watchdog {
    pub(super) seconds: u64,
    pub(super) words: Seconds,
    /// Between two looks.
    pub(super) tick_seconds: u64,
    /// How long what every process waits for may be looked at before they are asked to end.
    pub(super) look_seconds: u64,
    /// How long they may take then.
    pub(super) kill_wait_seconds: u64,
    pub(super) depth_max: u32,
}

impl Watchdog {
    pub(super) fn of(resolved: &Resolved) -> Option<Self> {
        const LOOKS: u64 = 20;
        const TICK_SECONDS_MAX: u64 = 60;
        const LOOK_SECONDS: u64 = 15;
        let words = resolved.failure.no_progress_timeout?;
        Some(Self {
            seconds: words.0,
            words,
            tick_seconds: (words.0 / LOOKS).clamp(1, TICK_SECONDS_MAX),
            look_seconds: LOOK_SECONDS,
            kill_wait_seconds: resolved.script.kill_wait.0,
            depth_max: layout::DEPTH_MAX,
        })
    }
}
