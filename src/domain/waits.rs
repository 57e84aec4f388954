//! How long starts have waited, and what may be expected of the next one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::keys::choice;

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

choice! {
    /// How like it the starts were that an expectation rests on.
    pub enum Alike {
        /// Of its class and size, around this hour of the week.
        Hour = "hour",
        /// Of its class and size.
        Size = "size",
        /// Of its class.
        Class = "class",
    }
    later {}
}

/// How long a start is expected to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Of the starts that it rests on.
    pub waits: Waits,
    pub alike: Alike,
    /// Which starts those were, in words.
    pub basis: String,
}

/// What the past says of a start of a class, on that many nodes, that begins to wait now: the starts that are most like it,
/// as long as there are enough of them; of its class any number will do.
pub fn expected(past: &[Waited], (class, nodes): (&str, u32), now: Timestamp) -> Option<Expected> {
    /// Of fewer the ninth of ten is one of the last two.
    const ENOUGH: u64 = 10;
    let of_class: Vec<&Waited> = past.iter().filter(|waited| waited.class == class).collect();
    let of_size = |waited: &&&Waited| size(waited.nodes) == size(nodes);
    let of_hour = |waited: &&&Waited| is_near_in_week(waited.since, now);
    let all = || of_class.iter();
    let enough = |waits: &Waits| waits.count >= ENOUGH;
    let of = |waits: Waits, alike| Expected { waits, alike, basis: basis(class, nodes, alike) };
    let hour = Waits::of(all().filter(of_size).filter(of_hour).copied()).filter(enough);
    let size = || Waits::of(all().filter(of_size).copied()).filter(enough);
    hour.map(|waits| of(waits, Alike::Hour))
        .or_else(|| size().map(|waits| of(waits, Alike::Size)))
        .or_else(|| Waits::of(all().copied()).map(|waits| of(waits, Alike::Class)))
}

fn basis(class: &str, nodes: u32, alike: Alike) -> String {
    let least = size(nodes);
    let sizes = match least.saturating_mul(2) - 1 {
        1 => "1 node".to_owned(),
        most => format!("{least} to {most} nodes"),
    };
    match alike {
        Alike::Hour => format!("class `{class}`, {sizes}, around this hour of the week"),
        Alike::Size => format!("class `{class}`, {sizes}, at any time"),
        Alike::Class => format!("class `{class}`, of any size, at any time"),
    }
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
        let check = |class: &str, nodes: u32, second: i64, told: Option<(u64, f64, &str)>| {
            let found = expected(&past, (class, nodes), at(second));
            let found = found
                .as_ref()
                .map(|it| (it.waits.count, it.waits.median_seconds, it.basis.as_str()));
            assert_eq!(found, told);
        };
        let hour = "class `a`, 4 to 7 nodes, around this hour of the week";
        check("a", 5, 0, Some((10, 60.0, hour)));
        check("a", 5, WEEK + 80 * HOUR, Some((10, 600.0, hour)));
        // Across the end of the week.
        check("a", 5, WEEK - HOUR, Some((10, 60.0, hour)));
        check("a", 5, WEEK - HOUR - 1, Some((20, 60.0, "class `a`, 4 to 7 nodes, at any time")));
        check("a", 1, 40 * HOUR, Some((20, 6000.0, "class `a`, 1 node, at any time")));
        check("a", 64, 0, Some((40, 600.0, "class `a`, of any size, at any time")));
        check("b", 4, 0, Some((1, 1.0, "class `b`, of any size, at any time")));
        check("c", 4, 0, None);
    }
}
