//! How the points of a sweep get to the scheduler: as few arrays as its limits allow, and never more of them under way at a
//! time than the sweep says.
//!
//! Slurm knows a limit for each array alone (`ArrayTaskThrottle`). So the sweep's is shared out: what an array may run, or
//! still runs, is its share, and the shares never come to more than the sweep's limit. What an array gives up is given on
//! only once it does not use it any more ([`Array::share`]); so a daemon that dies between two steps leaves points waiting,
//! and never too many running.

use crate::domain::ids::SubmissionId;

/// An array that the scheduler has, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub submission: SubmissionId,
    /// Points of it that are not over.
    pub live: u32,
    /// Those of them that have started.
    pub running: u32,
    /// How many it may run at once, as far as the scheduler was told; none for all.
    pub at_once: Option<u32>,
}

impl Array {
    /// The most that it can run at once from now on.
    fn share(&self) -> u32 {
        self.live.min(self.at_once.unwrap_or(u32::MAX)).max(self.running)
    }

    /// Whether it still runs more than it may since its limit was lowered.
    fn is_giving_up(&self) -> bool {
        self.at_once.is_some_and(|at_once| self.running > at_once)
    }
}

/// A point that may be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    pub point: u32,
    pub set: u32,
    /// The attempt that it is to be.
    pub attempt: u32,
}

/// What limits a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub max_parallel: Option<u32>,
    /// Indices of one array: 0 to one less.
    pub array_size: u32,
    /// Points of one array.
    pub tasks: u32,
    /// Arrays that are submitted together. What comes of one says whether there is room for the next.
    pub chunks: usize,
}

/// What is to be done, in this order. What is lowered is given to others only when it has come free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    pub lower: Vec<(SubmissionId, u32)>,
    pub submit: Vec<Chunk>,
    pub raise: Vec<(SubmissionId, u32)>,
}

/// An array that is to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub set: u32,
    pub attempt: u32,
    /// The point at index 0.
    pub first_point: u32,
    /// In order.
    pub points: Vec<u32>,
    pub at_once: Option<u32>,
}

/// What comes next. `arrays` are oldest first, `ready` in the order of the points. Points that were there before come before
/// those that never started: what they hold up is further on.
#[must_use]
pub fn next_steps(arrays: &[Array], ready: &[Ready], bounds: Bounds) -> Steps {
    let (again, fresh): (Vec<Ready>, Vec<Ready>) =
        ready.iter().partition(|ready| ready.attempt > 1);
    let mut left = bounds.max_parallel.map(|most| {
        most.saturating_sub(arrays.iter().map(Array::share).fold(0, u32::saturating_add))
    });
    let mut steps = Steps::default();
    let waiting = chunks(&again, &mut left, bounds, &mut steps.submit);
    if waiting > 0 {
        if left == Some(0) {
            steps.lower = lowered(arrays, waiting);
        }
    } else {
        steps.raise = raised(arrays, &mut left);
        chunks(&fresh, &mut left, bounds, &mut steps.submit);
    }
    steps
}

/// Cuts points into arrays as long as there is room for one to run; gives how many are left over.
fn chunks(ready: &[Ready], left: &mut Option<u32>, bounds: Bounds, chunks: &mut Vec<Chunk>) -> u32 {
    let mut rest: Vec<Ready> = ready.to_vec();
    while let Some(first) = rest.first().copied().filter(|_| *left != Some(0)) {
        if chunks.len() >= bounds.chunks {
            break;
        }
        let end = first.point.saturating_add(bounds.array_size.max(1));
        let mut points = Vec::new();
        rest.retain(|ready| {
            let is_alike = (ready.set, ready.attempt) == (first.set, first.attempt);
            let is_of_chunk = is_alike && ready.point < end && count(&points) < bounds.tasks.max(1);
            points.extend(is_of_chunk.then_some(ready.point));
            !is_of_chunk
        });
        let at_once = left.map(|left| left.min(count(&points)));
        *left = left.map(|left| left - at_once.unwrap_or(0));
        let Ready { set, attempt, point: first_point } = first;
        chunks.push(Chunk { set, attempt, first_point, points, at_once });
    }
    count(&rest)
}

fn count<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// Takes as much as is wanted from the array that may run the most; it keeps one. Nothing while one is still giving up.
fn lowered(arrays: &[Array], wanted: u32) -> Vec<(SubmissionId, u32)> {
    if arrays.iter().any(Array::is_giving_up) {
        return Vec::new();
    }
    let largest = arrays.iter().max_by_key(|array| array.share());
    let limit = largest.map(|array| (array, array.share().saturating_sub(wanted).max(1)));
    let lower = limit.filter(|(array, limit)| *limit < array.share());
    lower.map(|(array, limit)| (array.submission, limit)).into_iter().collect()
}

/// Gives what is left to arrays that can use it.
fn raised(arrays: &[Array], left: &mut Option<u32>) -> Vec<(SubmissionId, u32)> {
    let mut raised = Vec::new();
    for array in arrays {
        let (Some(at_once), Some(room)) = (array.at_once, left.as_mut()) else { continue };
        let more = array.live.saturating_sub(at_once.max(array.running)).min(*room);
        if more > 0 {
            *room -= more;
            raised.push((array.submission, at_once.max(array.running) + more));
        }
    }
    raised
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { max_parallel: Some(8), array_size: 10, tasks: 10, chunks: 9 };

    fn array(n: i64, live: u32, running: u32, at_once: u32) -> Array {
        Array { submission: SubmissionId(n), live, running, at_once: Some(at_once) }
    }

    fn ready(points: std::ops::Range<u32>, attempt: u32) -> Vec<Ready> {
        points.map(|point| Ready { point, set: 0, attempt }).collect()
    }

    fn told(steps: &Steps) -> Vec<String> {
        let lower = steps.lower.iter().map(|(id, limit)| format!("lower {id} to {limit}"));
        let submit = steps.submit.iter().map(|chunk| {
            let (from, count) = (chunk.first_point, chunk.points.len());
            let limit = chunk.at_once.map(|at_once| format!(" %{at_once}")).unwrap_or_default();
            format!("submit {count} from {from}{limit}")
        });
        let raise = steps.raise.iter().map(|(id, limit)| format!("raise {id} to {limit}"));
        lower.chain(submit).chain(raise).collect()
    }

    #[track_caller]
    fn check(arrays: &[Array], ready: &[Ready], bounds: Bounds, expected: &[&str]) {
        assert_eq!(told(&next_steps(arrays, ready, bounds)), expected);
    }

    #[test]
    fn points_are_as_few_arrays_as_they_can_be() {
        let free = Bounds { max_parallel: None, ..BOUNDS };
        check(
            &[],
            &ready(0..25, 1),
            free,
            &["submit 10 from 0", "submit 10 from 10", "submit 5 from 20"],
        );
        check(
            &[],
            &ready(0..25, 1),
            Bounds { tasks: 100, array_size: 1001, ..free },
            &["submit 25 from 0"],
        );
        // Indices are what is limited: a point far away is another array's.
        let far: Vec<Ready> = ready(0..2, 1).into_iter().chain(ready(10..11, 1)).collect();
        check(&[], &far, free, &["submit 2 from 0", "submit 1 from 10"]);
        let two = |point: u32| Ready { point, set: point % 2, attempt: 1 };
        let mixed: Vec<Ready> = (0..6).map(two).collect();
        check(&[], &mixed, free, &["submit 3 from 0", "submit 3 from 1"]);
    }

    #[test]
    fn the_next_array_gets_what_the_last_one_cannot_use_any_more() {
        check(&[], &ready(0..25, 1), BOUNDS, &["submit 10 from 0 %8"]);
        check(&[array(1, 10, 8, 8)], &ready(10..25, 1), BOUNDS, &[]);
        check(&[array(1, 5, 5, 8)], &ready(10..25, 1), BOUNDS, &["submit 10 from 10 %3"]);
        let two = [array(1, 2, 2, 8), array(2, 10, 3, 3)];
        check(&two, &ready(20..25, 1), BOUNDS, &["raise 2 to 6"]);
        // None of it is wanted.
        check(&[array(1, 2, 2, 8)], &[], BOUNDS, &[]);
    }

    #[test]
    fn a_point_that_comes_again_takes_its_place_from_the_others_once_it_is_free() {
        let full = [array(1, 900, 8, 8)];
        check(&full, &ready(3..4, 2), BOUNDS, &["lower 1 to 7"]);
        check(&[array(1, 900, 8, 7)], &ready(3..4, 2), BOUNDS, &[]);
        check(&[array(1, 900, 7, 7)], &ready(3..4, 2), BOUNDS, &["submit 1 from 3 %1"]);
        check(&[array(1, 900, 7, 7), array(2, 1, 1, 1)], &[], BOUNDS, &[]);
        check(&[array(1, 900, 7, 7)], &ready(910..911, 1), BOUNDS, &["raise 1 to 8"]);
        // One that may run one alone keeps it.
        let one = Bounds { max_parallel: Some(1), ..BOUNDS };
        check(&[array(1, 9, 1, 1)], &ready(3..4, 2), one, &[]);
    }

    /// One array as a scheduler has it.
    #[derive(Debug, Clone)]
    struct Real {
        id: i64,
        waiting: u32,
        running: u32,
        at_once: u32,
    }

    proptest! {
        /// A scheduler that starts whatever it may, points that end or come again at any time, and a daemon that may die
        /// before each step: never are more under way than the sweep allows, and in the end all were.
        #[test]
        fn never_too_many_run_and_all_run_in_the_end(
            most in 1..6_u32,
            points in 1..40_u32,
            array_size in 1..12_u32,
            turns in prop::collection::vec((0..8_usize, 0..5_u8, any::<bool>()), 0..120),
        ) {
            let bounds = Bounds { max_parallel: Some(most), array_size, tasks: array_size, chunks: 1 };
            let mut waiting = ready(0..points, 1);
            let mut arrays: Vec<Real> = Vec::new();
            let mut done = 0;
            let calm = std::iter::repeat_n((0, 0, false), 400);
            for (which, what, dies) in turns.into_iter().chain(calm) {
                let known: Vec<Array> = arrays
                    .iter()
                    .filter(|it| it.waiting + it.running > 0)
                    .map(|it| array(it.id, it.waiting + it.running, it.running, it.at_once))
                    .collect();
                let steps = next_steps(&known, &waiting, bounds);
                let allowed = if dies { which % 3 } else { usize::MAX };
                let mut taken = 0;
                let mut goes_on = || { taken += 1; taken <= allowed };
                for (id, limit) in steps.lower.iter().chain(&steps.raise) {
                    if goes_on() {
                        arrays.iter_mut().find(|it| it.id == id.0).unwrap().at_once = *limit;
                    }
                }
                for chunk in &steps.submit {
                    if goes_on() {
                        waiting.retain(|it| !(chunk.points.contains(&it.point) && it.attempt == chunk.attempt));
                        prop_assert!(chunk.points.iter().all(|it| it - chunk.first_point < array_size));
                        arrays.push(Real {
                            id: i64::try_from(arrays.len()).unwrap() + 1,
                            waiting: count(&chunk.points),
                            running: 0,
                            at_once: chunk.at_once.unwrap(),
                        });
                    }
                }
                for it in &mut arrays {
                    let start = it.waiting.min(it.at_once.saturating_sub(it.running));
                    it.waiting -= start;
                    it.running += start;
                }
                let running: u32 = arrays.iter().map(|it| it.running).sum();
                prop_assert!(running <= most, "{arrays:?}");
                if let Some(it) = arrays.iter_mut().filter(|it| it.running > 0).nth(which % most as usize) {
                    it.running -= 1;
                    match what {
                        // It is requeued, or comes again by itself.
                        1 => it.waiting += 1,
                        2 if done + 1 < points => waiting.push(Ready { point: done, set: 0, attempt: 2 }),
                        _ => done += 1,
                    }
                }
            }
            prop_assert!(waiting.is_empty() && arrays.iter().all(|it| it.waiting + it.running == 0));
        }
    }
}
