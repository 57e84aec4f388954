//! When Slurm may be asked: the administrator's floor, which nothing goes round.
//!
//! A bucket holds `poll_burst` calls and earns one back per `poll_interval`. While somebody waits for news, calls are
//! spent soon and then ever more slowly; while nothing changes the calls become rarer than they are earned, so that some
//! are there when they are needed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::SubmissionId;
use crate::domain::site::Cluster;

/// How a cluster may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub interval: SignedDuration,
    pub interval_max: SignedDuration,
    pub burst: u32,
}

/// At this age slurmctld has saved a job, which it does about every five seconds, and knows why it lets it wait.
pub(super) const SETTLED_SECONDS: u32 = 10;

/// Between two calls, however urgent.
const SOONEST: SignedDuration = SignedDuration::from_secs(1);

impl Pace {
    /// From the cluster's keys.
    pub fn of(settings: &Cluster) -> Self {
        const INTERVAL: SignedDuration = SignedDuration::from_secs(30);
        /// With those earned meanwhile no minute has more than four.
        const BURST: u32 = 3;
        /// Of the interval, when the site does not say how slow calls may become.
        const SLOWEST: i32 = 4;
        let duration = |seconds: u64| {
            SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)).max(SOONEST)
        };
        let said = |key: &Option<crate::domain::spec::Interval>| {
            key.as_ref().map(|interval| duration(interval.value.0))
        };
        let interval = said(&settings.poll_interval).unwrap_or(INTERVAL);
        let interval_max =
            said(&settings.poll_interval_max).unwrap_or(interval.saturating_mul(SLOWEST));
        let burst = settings.poll_burst.as_ref().map_or(BURST, |burst| burst.value.get());
        Self { interval, interval_max: interval_max.max(interval), burst }
    }
}

/// The state of one cluster's bucket.
#[derive(Debug, Clone)]
pub struct Poll {
    pace: Pace,
    tokens: u32,
    /// Since when the next token is being earned.
    earning_since: Option<Timestamp>,
    last: Option<Timestamp>,
    /// How long the next call waits after the last one: for somebody, and for nobody.
    eager_wait: SignedDuration,
    calm_wait: SignedDuration,
    eager: BTreeSet<SubmissionId>,
    /// Whether the queue is waited for: the calls for something else are rarer then.
    is_waited_for: bool,
    /// Since when a call for something else waits, and when it was last asked for.
    spare_waits: Option<(Timestamp, Timestamp)>,
}

impl Poll {
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            tokens: pace.burst,
            earning_since: None,
            last: None,
            eager_wait: SOONEST,
            calm_wait: pace.interval,
            eager: BTreeSet::new(),
            is_waited_for: false,
            spare_waits: None,
        }
    }

    /// Whether a job that was submitted then, and is not seen yet, need not be asked about.
    pub fn is_fresh(&self, submitted_at: Timestamp, now: Timestamp) -> bool {
        let settled = SignedDuration::from_secs(i64::from(SETTLED_SECONDS));
        let age = now.duration_since(submitted_at);
        // A clock that was set back makes nothing young.
        !age.is_negative() && age < settled.min(self.pace.interval)
    }

    /// Whether Slurm is to be asked now, given the submissions that somebody waits for. If so, the call is paid. As long as
    /// one is `provisional` the calls do not become rarer: what is forgotten has to be missed. To ask sooner would not help,
    /// since what is missed is believed only after it was missed for some time.
    pub fn is_due(
        &mut self,
        eager: BTreeSet<SubmissionId>,
        provisional: bool,
        now: Timestamp,
    ) -> bool {
        self.earn(now);
        if eager.difference(&self.eager).next().is_some() {
            self.eager_wait = SOONEST;
        }
        self.eager = eager;
        self.is_waited_for = provisional || !self.eager.is_empty();
        let calm_wait = if provisional { self.pace.interval } else { self.calm_wait };
        let wait = if self.eager.is_empty() { calm_wait } else { self.eager_wait.min(calm_wait) };
        let waited = self.last.is_none_or(|last| now.duration_since(last) >= wait || now < last);
        let left_over = u32::from(self.is_spare_overdue(now));
        if !waited || self.tokens <= left_over {
            return false;
        }
        self.tokens -= 1;
        self.last = Some(now);
        true
    }

    /// Takes a call for something else than the queue, if one is left. While somebody waits for the queue the last one is
    /// left for that; but not for ever.
    pub fn spare(&mut self, now: Timestamp) -> bool {
        self.earn(now);
        let since = self.spare_waits.map_or(now, |(since, _)| since);
        self.spare_waits = Some((since, now));
        let left_over = u32::from(self.is_waited_for && !self.is_spare_overdue(now));
        if self.tokens <= left_over {
            return false;
        }
        self.tokens -= 1;
        self.spare_waits = None;
        true
    }

    /// Whether a call for something else has waited for so long that the next one is left for it.
    fn is_spare_overdue(&mut self, now: Timestamp) -> bool {
        /// In intervals.
        const OVERDUE: i32 = 4;
        let is_recent = |at: &Timestamp| {
            let age = now.duration_since(*at);
            !age.is_negative() && age <= self.pace.interval
        };
        // Nobody asks for it any more.
        self.spare_waits = self.spare_waits.filter(|(_, asked_at)| is_recent(asked_at));
        let overdue = self.pace.interval.saturating_mul(OVERDUE);
        self.spare_waits.is_some_and(|(since, _)| now.duration_since(since) >= overdue)
    }

    /// What the call that was paid has brought.
    pub fn answered(&mut self, changed: bool) {
        if changed {
            self.eager_wait = SOONEST;
            self.calm_wait = self.pace.interval;
        } else {
            self.eager_wait = self.eager_wait.saturating_mul(2).min(self.pace.interval);
            self.calm_wait = self.calm_wait.saturating_mul(2).min(self.pace.interval_max);
        }
    }

    fn earn(&mut self, now: Timestamp) {
        let since = *self.earning_since.get_or_insert(now);
        if self.tokens >= self.pace.burst || now < since {
            self.earning_since = Some(now);
            return;
        }
        let interval = self.pace.interval.as_secs().max(1);
        let earned = now.duration_since(since).as_secs() / interval;
        let room = self.pace.burst - self.tokens;
        let earned_tokens = u32::try_from(earned).unwrap_or(u32::MAX).min(room);
        self.tokens += earned_tokens;
        let used = SignedDuration::from_secs(i64::from(earned_tokens).saturating_mul(interval));
        // A full bucket earns nothing.
        let is_full = self.tokens == self.pace.burst;
        self.earning_since = since.checked_add(used).ok().filter(|_| !is_full).or(Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(interval: i64, burst: u32) -> Pace {
        let seconds = SignedDuration::from_secs;
        Pace { interval: seconds(interval), interval_max: seconds(4 * interval), burst }
    }

    #[test]
    fn a_site_that_says_nothing_gets_the_documented_pace() {
        assert_eq!(Pace::of(&Cluster::default()), pace(30, 3));
    }

    /// Asks every second; gives the seconds at which Slurm is called.
    fn calls(
        poll: &mut Poll,
        seconds: std::ops::Range<i64>,
        eager: &[i64],
        changed: bool,
    ) -> Vec<i64> {
        let eager: BTreeSet<SubmissionId> = eager.iter().copied().map(SubmissionId).collect();
        seconds
            .filter(|second| {
                let now = Timestamp::from_second(*second).unwrap();
                let due = poll.is_due(eager.clone(), false, now);
                if due {
                    poll.answered(changed);
                }
                due
            })
            .collect()
    }

    #[test]
    fn calm_calls_come_at_the_interval_and_rarer_while_nothing_changes() {
        let mut poll = Poll::new(pace(30, 3));
        assert_eq!(calls(&mut poll, 0..100, &[], true), [0, 30, 60, 90]);
        assert_eq!(calls(&mut poll, 100..600, &[], false), [120, 180, 300, 420, 540]);
    }

    #[test]
    fn who_waits_is_answered_at_once_and_then_ever_more_slowly() {
        let mut poll = Poll::new(pace(30, 10));
        assert_eq!(calls(&mut poll, 0..60, &[1], false), [0, 2, 6, 14, 30]);
        // Another one, and at once; the first alone is no news.
        assert_eq!(calls(&mut poll, 60..62, &[1, 2], false), [60]);
        assert_eq!(calls(&mut poll, 62..63, &[2], false), [62]);
    }

    #[test]
    fn the_floor_holds_whatever_happens() {
        for burst in [1, 4, 10] {
            let mut poll = Poll::new(pace(30, burst));
            // Everything changes all the time, and somebody new waits every second.
            let mut called = 0;
            for second in 0..3_600 {
                let eager = BTreeSet::from([SubmissionId(second)]);
                if poll.is_due(eager, true, Timestamp::from_second(second).unwrap()) {
                    poll.answered(true);
                    called += 1;
                }
            }
            let most = i64::from(burst) + 3_600 / 30;
            assert!(called <= most && called >= most - 1, "{called} calls, {most} allowed");
        }
    }

    #[test]
    fn what_else_is_asked_is_paid_from_the_same_bucket() {
        let mut poll = Poll::new(pace(30, 2));
        let at = |second| Timestamp::from_second(second).unwrap();
        let spare: Vec<i64> = (0..100).filter(|second| poll.spare(at(*second))).collect();
        assert_eq!(spare, [0, 1, 30, 60, 90]);
        assert_eq!(calls(&mut poll, 100..200, &[], true), [120, 150, 180]);
    }

    #[test]
    fn the_queue_and_what_else_is_asked_do_not_starve_each_other() {
        for burst in [1, 3] {
            let mut poll = Poll::new(pace(30, burst));
            let (mut queue, mut others) = (Vec::new(), Vec::new());
            // Everything changes all the time, somebody new waits every second, and figures are wanted all the time.
            for second in 0..1_200 {
                let now = Timestamp::from_second(second).unwrap();
                if poll.is_due(BTreeSet::from([SubmissionId(second)]), true, now) {
                    poll.answered(true);
                    queue.push(second);
                }
                if poll.spare(now) {
                    others.push(second);
                }
            }
            let longest = |called: &[i64]| called.windows(2).map(|two| two[1] - two[0]).max();
            assert!(longest(&queue) <= Some(60), "{burst}: {queue:?}");
            assert!(longest(&others) <= Some(150) && others.len() >= 8, "{burst}: {others:?}");
            // Whoever has given up leaves nothing behind.
            let all: Vec<i64> = (1_000_000..1_000_400).collect();
            let after = calls(&mut poll, 10_000..10_400, &all, true).len();
            assert!(after >= 13, "{burst}: {after}");
        }
    }

    #[test]
    fn calls_do_not_become_rarer_while_a_job_may_be_forgotten_nor_urgent() {
        let mut poll = Poll::new(pace(30, 4));
        let mut called = Vec::new();
        for second in 0..200 {
            let now = Timestamp::from_second(second).unwrap();
            if poll.is_due(BTreeSet::new(), second < 100, now) {
                poll.answered(false);
                called.push(second);
            }
        }
        // By then it has long been calm.
        assert_eq!(called, [0, 30, 60, 90]);
    }

    #[test]
    fn by_default_no_minute_has_more_than_four_calls() {
        let mut poll = Poll::new(Pace::of(&Cluster::default()));
        // Whoever is quiet saves calls up; then everything changes all the time, and somebody new waits every second.
        let called: Vec<i64> = (0..1_200)
            .filter(|second| {
                let is_busy = second % 400 > 300;
                let eager = is_busy.then_some(SubmissionId(*second)).into_iter().collect();
                let due = poll.is_due(eager, is_busy, Timestamp::from_second(*second).unwrap());
                if due {
                    poll.answered(is_busy);
                }
                due
            })
            .collect();
        let shortest = called.windows(5).map(|five| five[4] - five[0]).min().unwrap();
        assert!(shortest >= 60, "five calls in {shortest} s: {called:?}");
    }

    #[test]
    fn a_bucket_fills_while_nothing_is_live_and_not_beyond() {
        let mut poll = Poll::new(pace(30, 3));
        let all: Vec<i64> = (0..50).collect();
        assert_eq!(calls(&mut poll, 0..20, &all, true), [0, 1, 2]);
        assert_eq!(calls(&mut poll, 100_000..100_020, &all, true), [100_000, 100_001, 100_002]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_calls() {
        let mut poll = Poll::new(pace(30, 3));
        assert_eq!(calls(&mut poll, 1_000..1_001, &[], true), [1_000]);
        assert_eq!(calls(&mut poll, 0..40, &[], true), [0, 30]);
    }
}
