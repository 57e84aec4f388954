//! Deliberately broken deciders: each breaks a promise, and the simulator has to find out.
//!
//! A simulator that finds nothing wrong with these would find nothing wrong with the real one either.

use jiff::Timestamp;

use trainyard::domain::run::{
    Act, Call, Decision, JobEnd, Look, Phase, Policy, Revocation, Run, Seen, State, decide,
};

use crate::sim::campaign::{histories, report};
use crate::sim::core::Decide;
use crate::sim::truth::Rule;

/// A broken decider that is not found out within so many lives never will be.
const LIVES_MAX: u64 = 30_000;

/// Silence is taken for absence.
fn silence_is_absence(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut seen = seen.clone();
    if matches!(seen.look, Look::Silence { .. }) {
        seen.look = Look::Absent;
    }
    decide(run, &seen, policy, now)
}

/// What vanished is submitted again without its claim being taken first.
fn claims_are_left_alone(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let decision = decide(run, seen, policy, now);
    let is_revoking = decision.run.submission.as_ref().is_some_and(|known| known.revoking);
    let waits = matches!(decision.run.state, State::Submitting { .. } | State::Queued { .. });
    if !is_revoking || !waits {
        return decision;
    }
    let seen = Seen { revocation: Some(Revocation::Won), ..Seen::default() };
    let mut after = decide(&decision.run, &seen, policy, now);
    after.closed.splice(0..0, decision.closed);
    after.notes.splice(0..0, decision.notes);
    after
}

/// An older record of a job that was started again is taken for news.
fn older_records_are_news(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut seen = seen.clone();
    // What accounting has of earlier starts is heard as if it told of the job.
    if let Some(earlier) = seen.earlier.pop() {
        seen.look = Look::Job(Box::new(earlier));
    }
    if let Look::Job(job) = &mut seen.look {
        job.restart = job.restart.max(run.known_restart());
    }
    decide(run, &seen, policy, now)
}

/// A word that nobody knows is taken for an end.
fn unknown_words_are_ends(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut seen = seen.clone();
    if let Look::Job(job) = &mut seen.look
        && job.phase == Phase::Unknown
    {
        job.phase = Phase::Ended { end: JobEnd::Failed, exit_code: None, signal: None };
    }
    decide(run, &seen, policy, now)
}

/// An end that a late sighting leaves again.
fn ends_are_left(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut decision = decide(run, seen, policy, now);
    // Who resumes a run is forgotten.
    decision.notes.retain(|note| note.kind != "reopened");
    decision
}

/// The scheduler may restart a job, and we a run, as often as it comes.
fn restarts_have_no_limit(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    decide(run, seen, &Policy { max_restarts: 99, ..policy.clone() }, now)
}

/// Nobody looks at what a run has saved.
fn progress_is_ignored(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    decide(run, seen, &Policy { resume: None, ..policy.clone() }, now)
}

/// What is to be cancelled is mixed up.
fn others_are_cancelled(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut decision = decide(run, seen, policy, now);
    for Act::Cancel { job, .. } in &mut decision.acts {
        job.job += 1;
    }
    decision
}

/// A lost answer is a no.
fn lost_is_refused(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut decision = decide(run, seen, policy, now);
    if matches!(decision.run.state, State::Submitting { call: Call::InDoubt(_) }) {
        decision.run.state = State::Pending { why: None, not_before: None };
        decision.run.submission = None;
    }
    decision
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "how soon it is caught is read by whoever runs it")]
fn check(broken: Decide, expected: &[Rule]) {
    let tally = histories(7 << 32, 1, LIVES_MAX, (broken, 1));
    let Some((seed, rule)) = tally.found.first() else {
        panic!("nothing was found in {} lives", tally.lives)
    };
    println!("{rule:?} with seed {seed} after {} lives", tally.lives);
    println!("{}", report(&tally, broken));
    assert!(expected.contains(rule), "{rule:?}");
}

#[test]
fn silence_taken_for_absence_is_caught() {
    check(silence_is_absence, &[Rule::SilenceDecided]);
}

#[test]
fn a_resubmission_without_the_claim_is_caught() {
    check(claims_are_left_alone, &[Rule::TwoTrainings, Rule::TrainedAgain, Rule::OverWhileAlive]);
}

#[test]
fn an_older_record_taken_for_news_is_caught() {
    check(older_records_are_news, &[Rule::OverWhileAlive, Rule::TwoTrainings, Rule::AttemptOrder]);
}

#[test]
fn an_unknown_word_taken_for_an_end_is_caught() {
    check(unknown_words_are_ends, &[Rule::OverWhileAlive, Rule::TwoTrainings, Rule::WrongEnd]);
}

#[test]
fn a_final_state_left_without_a_word_is_caught() {
    check(ends_are_left, &[Rule::LeftItsEnd]);
}

#[test]
fn restarts_beyond_the_policy_are_caught() {
    check(restarts_have_no_limit, &[Rule::TooManyRestarts]);
}

#[test]
fn a_run_that_comes_back_although_it_gets_nowhere_is_caught() {
    check(progress_is_ignored, &[Rule::GetsNowhere]);
}

#[test]
fn a_lost_answer_taken_for_a_no_is_caught() {
    check(lost_is_refused, &[Rule::TwoTrainings, Rule::TrainedAgain, Rule::TooManyRestarts]);
}

#[test]
fn a_cancel_of_a_job_that_never_was_the_runs_is_caught() {
    check(others_are_cancelled, &[Rule::StrangerCancelled]);
}
