//! What is to be done about a schedule whose time has come.

use jiff::{SignedDuration, Timestamp};

use crate::domain::schedule::Calendar;

/// How late a time may be taken up. A daemon is there within a second; `serve --once` comes every few minutes.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// Missed times that are counted one by one.
const COUNTED_MAX: usize = 1_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The planned time that a run is submitted for: never more than one, the last of those that are due.
    pub fires: Option<Timestamp>,
    /// The others of those that are due.
    pub missed: Option<Missed>,
    /// When the schedule is due again; none where that does not come within four years.
    pub next: Option<Timestamp>,
}

/// Planned times for which nothing was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub count: usize,
    pub first: Timestamp,
    pub last: Timestamp,
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            1 => write!(f, "1 time"),
            COUNTED_MAX.. => write!(f, "{COUNTED_MAX} times or more, the last {}", self.last),
            count => write!(f, "{count} times, the last {}", self.last),
        }
    }
}

/// What is to be done about a schedule that was next due at a moment which is over.
pub fn due(calendar: &Calendar, catch_up: bool, (next_at, now): (Timestamp, Timestamp)) -> Due {
    let until_now = |first: Option<Timestamp>| {
        let first = first.filter(|first| *first <= now);
        let following = |last: &Timestamp| calendar.next(*last).filter(|next| *next <= now);
        std::iter::successors(first, following)
    };
    let mut all: Vec<Timestamp> = until_now(Some(next_at)).take(COUNTED_MAX).collect();
    if let Some(last) = all.last().filter(|_| all.len() == COUNTED_MAX) {
        // Of the rest only those count that may still be taken up.
        let recent = calendar.next((*last).max(now.saturating_sub(TOLERANCE).unwrap_or(now)));
        all.extend(until_now(recent));
    }
    let last = all.last().copied();
    let fires = last.filter(|last| catch_up || !is_late(*last, now));
    let missed = match fires {
        Some(_) => all.len() - 1,
        None => all.len(),
    };
    let missed = all.get(..missed).and_then(|missed| {
        let (first, last) = (*missed.first()?, *missed.last()?);
        Some(Missed { count: missed.len(), first, last })
    });
    Due { fires, missed, next: calendar.next(now.max(last.unwrap_or(now))) }
}

/// Whether a planned time is over for too long to be taken up.
pub fn is_late(planned: Timestamp, now: Timestamp) -> bool {
    now.duration_since(planned) > TOLERANCE
}

/// Whether the clock was set back so far, since the next time was worked out, that it was wrong before: then it is worked out
/// again. After a smaller step what was fired is waited out.
pub fn was_set_back(as_of: Timestamp, now: Timestamp) -> bool {
    const CORRECTION: SignedDuration = SignedDuration::from_hours(3);
    as_of.duration_since(now) > CORRECTION
}
