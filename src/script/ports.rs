//! The ports at which the ranks of an attempt may meet.

/// Where the ranks may meet, as the script counts: a first port and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) low: u32,
    pub(super) count: u32,
    /// How far a restart moves on: never by a whole round, and past the ports of the jobs that came next.
    pub(super) stride: u32,
    /// How many a local job tries.
    pub(super) tries: u32,
}

impl Ports {
    pub(super) fn new((low, high): (u32, u32)) -> Self {
        const STRIDE: u32 = 7919;
        const TRIES_MAX: u32 = 200;
        let count = high.saturating_sub(low) + 1;
        let stride = if STRIDE.is_multiple_of(count) { 1 } else { STRIDE };
        Self { low, count, stride, tries: count.min(TRIES_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_meets_at_another_port() {
        for (low, high) in [(20_000, 29_999), (20_000, 20_001), (20_000, 27_918), (1024, 65_535)] {
            let ports = Ports::new((low, high));
            assert_ne!(ports.stride % ports.count, 0, "{low}-{high}");
            assert_eq!(ports.low + ports.count - 1, high);
        }
    }
}
