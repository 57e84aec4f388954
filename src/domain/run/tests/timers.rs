//! Timers under a clock that is set back and forth.

use jiff::SignedDuration;

use crate::domain::run::policy::REFUSED_WAITS_MAX;
use crate::domain::run::tests::{acknowledged, admitted, after, ended, policy, run_in, t};
use crate::domain::run::timers::has_come;
use crate::domain::run::{Call, Event, JobEnd, Run, Seen, State, decide, step};
use crate::domain::units::Seconds;

/// When a timer that was set at 1,000 s for `wait` seconds is due, told at these moments.
#[track_caller]
fn check(what: &str, wait: i64, is_due: impl Fn(i64) -> bool) {
    for (now, expected) in [
        (1_000, false),
        (1_000 + wait - 1, false),
        (1_000 + wait, true),
        (5_000 + wait, true),
        // The clock was set back: by an hour, and by a little.
        (1_000 - 3_600, true),
        (1_000 - 6, true),
        (1_000 - 5, false),
    ] {
        assert_eq!(is_due(now), expected, "{what} at {now}, {wait} s");
    }
}

fn at_1000(run: &Run, event: &Event) -> Run {
    step(run, event, &policy(), t(1_000)).run
}

#[test]
fn no_timer_waits_for_a_clock_that_was_set_back() {
    check("a moment", 60, |now| has_come(t(1_060), Seconds(60), t(now)));
    let preempted = Event::Found(ended(JobEnd::Preempted, 0));
    let backoff = at_1000(&run_in("running"), &preempted);
    assert_eq!(backoff.state.as_str(), "backoff");
    check("backoff", 60, |now| backoff.is_due(&policy(), t(now)));
    let stopping = at_1000(&run_in("running"), &Event::Cancel { by: "anna".into() });
    check("escalation", 30, |now| stopping.is_due(&policy(), t(now)));
    let away = Event::Unreachable { message: "connect failure".into() };
    let unreachable = at_1000(&run_in("submitting"), &away);
    check("a call", 10, |now| {
        let State::Submitting { call: Call::Unreachable(unreachable) } = &unreachable.state else {
            panic!("{unreachable:#?}")
        };
        unreachable.is_due(&policy(), t(now))
    });
}

#[test]
fn the_wait_after_a_refusal_is_cut_when_it_is_longer_than_the_longest() {
    let refused = Event::Refused { message: "QOSMaxSubmitJobPerUserLimit".into(), for_now: true };
    let longest = 60 * i64::try_from(REFUSED_WAITS_MAX).unwrap();
    let mut run = at_1000(&run_in("submitting"), &refused);
    assert!(run.is_held_off(&policy(), t(1_059)) && !run.is_held_off(&policy(), t(1_060)));
    for _ in 0..6 {
        run = step(&run, &admitted(2), &policy(), t(1_000)).run;
        run = at_1000(&run, &refused);
    }
    check("a refusal", longest, |now| !run.is_held_off(&policy(), t(now)));
}

#[test]
fn what_is_due_is_done_also_when_the_clock_was_set_back() {
    let preempted = Event::Found(ended(JobEnd::Preempted, 0));
    let backoff = at_1000(&after(&[admitted(1), acknowledged()]), &preempted);
    let hour_ago = t(1_000).saturating_sub(SignedDuration::from_hours(1)).unwrap();
    let decision = decide(&backoff, &Seen::default(), &policy(), hour_ago);
    assert_eq!(decision.run.state.as_str(), "pending");
}
