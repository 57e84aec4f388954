//! How long starts have waited: what may be expected of the next one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A start that came, and how long it waited for it: from when the job could have started, so without the time for which
/// Slurm holds a job back that it requeued.
#[derive(Debug, Clone, PartialEq)]
pub struct Waited {
    pub class: String,
    pub nodes: u32,
    /// When it began to wait.
    pub since: Timestamp,
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

/// What is expected, and of which starts that is the experience.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    #[serde(flatten)]
    pub waits: Waits,
    /// In words.
    pub basis: String,
}

/// What the past says of a start of a class, of that many nodes, that begins to wait now: the starts that are most like it,
/// as long as there are enough of them.
pub fn expected(past: &[Waited], (class, nodes): (&str, u32), now: Timestamp) -> Option<Expected> {
    /// Fewer say too little of nine of ten.
    const ENOUGH: u64 = 10;
    let of_class = |waited: &&Waited| waited.class == class;
    let of_size = |waited: &&Waited| size(waited.nodes) == size(nodes);
    let of_hour = |waited: &&Waited| is_near_in_week(waited.since, now);
    let class_alone = || past.iter().filter(of_class);
    let enough = |waits: &Waits| waits.count >= ENOUGH;
    let (least, most) = (size(nodes), size(nodes).saturating_mul(2) - 1);
    let nodes = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    let like = Waits::of(class_alone().filter(of_size).filter(of_hour)).filter(enough);
    if let Some(waits) = like {
        let basis =
            format!("starts of class `{class}` with {nodes} nodes around this hour of the week");
        return Some(Expected { waits, basis });
    }
    if let Some(waits) = Waits::of(class_alone().filter(of_size)).filter(enough) {
        return Some(Expected {
            waits,
            basis: format!("starts of class `{class}` with {nodes} nodes"),
        });
    }
    Waits::of(class_alone())
        .map(|waits| Expected { waits, basis: format!("starts of class `{class}`") })
}

/// Sizes that are taken together: 1, 2 to 3, 4 to 7, 8 to 15, …
fn size(nodes: u32) -> u32 {
    1 << nodes.max(1).ilog2()
}

/// Whether two moments are at most two hours apart in the week.
fn is_near_in_week(one: Timestamp, other: Timestamp) -> bool {
    const WEEK: i64 = 7 * 24 * 60 * 60;
    const NEAR: SignedDuration = SignedDuration::from_hours(2);
    let apart = (one.as_second() - other.as_second()).rem_euclid(WEEK);
    apart.min(WEEK - apart) <= NEAR.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60;
    const WEEK: i64 = 7 * 24 * HOUR;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn waited(class: &str, nodes: u32, since: i64, seconds: f64) -> Waited {
        Waited { class: class.into(), nodes, since: at(since), seconds }
    }

    #[test]
    fn half_and_nine_of_ten_are_the_nearest_ranks() {
        let check = |seconds: &[f64], expected: Option<(u64, f64, f64)>| {
            let past: Vec<Waited> =
                seconds.iter().map(|seconds| waited("a", 1, 0, *seconds)).collect();
            let waits = Waits::of(past.iter());
            let told = waits.map(|waits| (waits.count, waits.median_seconds, waits.p90_seconds));
            assert_eq!(told, expected, "{seconds:?}");
        };
        check(&[], None);
        check(&[7.0], Some((1, 7.0, 7.0)));
        check(&[9.0, 1.0], Some((2, 1.0, 9.0)));
        check(&[5.0, 4.0, 3.0, 2.0, 1.0, 6.0, 7.0, 8.0, 9.0, 100.0], Some((10, 5.0, 9.0)));
    }

    #[test]
    fn the_starts_that_are_most_like_it_count_where_there_are_enough() {
        let mut past: Vec<Waited> = Vec::new();
        past.extend((0..10).map(|n| waited("a", 4, -n * WEEK + HOUR, 60.0)));
        past.extend((0..10).map(|n| waited("a", 7, -n * WEEK + 80 * HOUR, 600.0)));
        past.extend((0..20).map(|n| waited("a", 1, -n, 6000.0)));
        past.push(waited("b", 4, 0, 1.0));
        let check = |class: &str, nodes: u32, second: i64, expected: Option<(u64, f64, &str)>| {
            let found = super::expected(&past, (class, nodes), at(second));
            let told = found
                .as_ref()
                .map(|it| (it.waits.count, it.waits.median_seconds, it.basis.as_str()));
            assert_eq!(told, expected);
        };
        let hour = "starts of class `a` with 4 to 7 nodes around this hour of the week";
        check("a", 5, 0, Some((10, 60.0, hour)));
        check("a", 5, WEEK + 80 * HOUR, Some((10, 600.0, hour)));
        let size = "starts of class `a` with 4 to 7 nodes";
        check("a", 5, 40 * HOUR, Some((20, 60.0, size)));
        check("a", 64, 0, Some((40, 600.0, "starts of class `a`")));
        check("b", 4, 0, Some((1, 1.0, "starts of class `b`")));
        check("c", 4, 0, None);
    }
}
