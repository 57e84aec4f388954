//! How long starts have waited.

use serde::{Deserialize, Serialize};

/// A start that came, and how long it waited for it: from when the job could have started, so without the time for which
/// Slurm holds a job back that it requeued.
#[derive(Debug, Clone, PartialEq)]
pub struct Waited {
    pub class: String,
    pub seconds: f64,
}

/// What waits came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// How many there were.
    pub count: u64,
    /// Half of them were shorter.
    pub median_seconds: f64,
    /// Nine of ten were shorter.
    pub p90_seconds: f64,
}

impl Waits {
    /// None of none.
    pub fn of<'a>(waited: impl Iterator<Item = &'a Waited>) -> Option<Self> {
        let mut seconds: Vec<f64> = waited.map(|waited| waited.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        Some(Self {
            count: u64::try_from(seconds.len()).ok()?,
            median_seconds: rank(&seconds, 50)?,
            p90_seconds: rank(&seconds, 90)?,
        })
    }
}

/// The smallest of sorted values that so many of a hundred are no larger than: the nearest rank.
fn rank(sorted: &[f64], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_nine_of_ten_are_the_nearest_ranks() {
        let check = |seconds: &[f64], expected: Option<(u64, f64, f64)>| {
            let past: Vec<Waited> = seconds
                .iter()
                .map(|seconds| Waited { class: "a".into(), seconds: *seconds })
                .collect();
            let waits = Waits::of(past.iter());
            let told = waits.map(|waits| (waits.count, waits.median_seconds, waits.p90_seconds));
            assert_eq!(told, expected, "{seconds:?}");
        };
        check(&[], None);
        check(&[7.0], Some((1, 7.0, 7.0)));
        check(&[9.0, 1.0], Some((2, 1.0, 9.0)));
        check(&[5.0, 4.0, 3.0, 2.0, 1.0, 6.0, 7.0, 8.0, 9.0, 100.0], Some((10, 5.0, 9.0)));
    }
}
