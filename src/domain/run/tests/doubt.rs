//! Lost answers: nothing is submitted twice while its first job could train, and nothing waits for ever.

use jiff::SignedDuration;

use crate::domain::run::policy::VANISHED_MAX;
use crate::domain::run::tests::{
    acknowledged, admitted, after, cancel, end, ended, job, notes, policy, run_in, running,
    script_ended, sighting, t, token, waiting,
};
use crate::domain::run::{
    Act, AttemptState, Event, JobEnd, Look, Phase, Policy, Reason, Revocation, Run, Seen, Sighting,
    State, decide, step,
};
use crate::domain::units::Seconds;

fn in_doubt() -> Run {
    after(&[admitted(1), Event::AnswerLost { message: "Socket timed out".into() }])
}

fn absent() -> Seen {
    Seen { look: Look::Absent, ..Seen::default() }
}

fn is_revoking(run: &Run) -> bool {
    run.submission.as_ref().is_some_and(|submission| submission.revoking)
}

/// Absences at these seconds, and whether the claim is to be revoked after them.
#[track_caller]
fn check_rounds(seconds: &[i64], revokes: bool) {
    let seen = |run: Run, at: &i64| decide(&run, &absent(), &policy(), t(*at)).run;
    let run = seconds.iter().fold(in_doubt(), seen);
    assert_eq!(is_revoking(&run), revokes, "absences at {seconds:?}");
    assert_eq!(run.state.as_str(), "submitting", "only the claim settles it");
}

#[test]
fn two_rounds_far_enough_apart_settle_that_nobody_knows_the_job() {
    check_rounds(&[], false);
    check_rounds(&[10], false);
    check_rounds(&[10, 20, 30, 69], false);
    check_rounds(&[10, 70], true);
    check_rounds(&[10, 400], true);
}

#[test]
fn without_a_lost_answer_absence_says_nothing_about_a_submission() {
    let run = decide(&run_in("submitting"), &absent(), &policy(), t(10)).run;
    let run = decide(&run, &absent(), &policy(), t(9_999)).run;
    assert!(!is_revoking(&run), "sbatch is still under way");
}

#[test]
fn a_revoked_submission_is_made_again_under_a_new_token_until_it_vanished_too_often() {
    let mut run = Run::accepted(crate::domain::ids::RunId(42));
    for n in 1..=i64::from(VANISHED_MAX) + 1 {
        assert_eq!(run.state.as_str(), "pending", "submission {n}");
        run = step(&run, &admitted(n), &policy(), t(n)).run;
        let lost = Event::AnswerLost { message: "killed".into() };
        run = step(&run, &lost, &policy(), t(n)).run;
        run = step(&run, &Event::Revoked, &policy(), t(n)).run;
        assert_eq!(run.submission, None);
    }
    let message = "4 submissions vanished, one after the other";
    assert_eq!(end(&run), ("failed", Some(Reason::LaunchFailed), message));
    assert_eq!((run.attempts, run.restarts), (0, 0), "no start, no restart");
}

#[test]
fn a_start_forgives_what_vanished_before() {
    let run = Run { vanished: 2, ..run_in("queued") };
    assert_eq!(step(&run, &Event::Found(waiting()), &policy(), t(9)).run.vanished, 2);
    assert_eq!(step(&run, &Event::Found(running()), &policy(), t(9)).run.vanished, 0);
}

#[test]
fn a_job_in_sight_settles_the_doubt_and_keeps_its_claim() {
    let doubtful =
        [10, 70].iter().fold(in_doubt(), |run, at| decide(&run, &absent(), &policy(), t(*at)).run);
    for (found, state) in [(waiting(), "queued"), (running(), "running")] {
        let run = step(&doubtful, &Event::Found(found), &policy(), t(71)).run;
        assert_eq!((run.state.as_str(), is_revoking(&run)), (state, false));
        assert_eq!(run.attempt.map(|attempt| (attempt.n, attempt.job)), Some((1, job(7))));
    }
    // A queued job that was missing and is back keeps its place too.
    let missing = Event::AbsentPastGrace { marker: None };
    let run = step(&run_in("queued"), &missing, &policy(), t(500)).run;
    assert!(is_revoking(&run));
    assert!(!is_revoking(&step(&run, &Event::Found(waiting()), &policy(), t(501)).run));
}

fn is_provisional(run: &Run) -> bool {
    run.submission.as_ref().is_some_and(|submission| submission.provisional)
}

/// A sighting of a job that was submitted at `t(0)`.
fn young(mut sighting: Box<Sighting>) -> Box<Sighting> {
    sighting.submitted_at = Some(t(0));
    sighting
}

#[test]
fn a_job_is_provisional_until_slurmctld_must_have_saved_it() {
    let acked = after(&[admitted(1), acknowledged()]);
    assert!(is_provisional(&acked));
    let seen_at =
        |second, sighting| step(&acked, &Event::Found(sighting), &policy(), t(second)).run;
    assert!(is_provisional(&seen_at(9, young(waiting()))));
    assert!(is_provisional(&seen_at(9, young(running()))));
    assert!(!is_provisional(&seen_at(10, young(waiting()))));
    assert!(!is_provisional(&seen_at(10, young(sighting(Phase::Unknown)))));
    assert!(!is_provisional(&seen_at(3, young(ended(JobEnd::Completed, 0)))), "it is over");
    // What the script says, slurmctld need not know.
    for event in [Event::Script(script_ended(0)), Event::ClaimedBy(job(7))] {
        let run = step(&acked, &event, &policy(), t(99)).run;
        assert!(is_provisional(&run), "{event:?}");
    }
    let silent = step(&acked, &Event::Silence { who: "squeue".into() }, &policy(), t(9)).run;
    assert!(is_provisional(&silent));
    // Seen before sbatch could say so: one attempt.
    let seen = after(&[admitted(1), Event::Found(young(sighting(Phase::Unknown))), acknowledged()]);
    assert_eq!((seen.attempts, is_provisional(&seen)), (1, true));
}

#[test]
fn a_start_that_slurmctld_forgot_is_a_lost_attempt_and_is_made_up_for() {
    let acked = after(&[admitted(1), acknowledged()]);
    let run = step(&acked, &Event::Found(young(running())), &policy(), t(2)).run;
    let run = decide(&run, &absent(), &policy(), t(5)).run;
    let kept = decide(&run, &absent(), &policy(), t(124));
    assert_eq!(kept.run.state.as_str(), "running", "within the grace");
    let given_up = decide(&run, &absent(), &policy(), t(125));
    assert_eq!(given_up.run.state.as_str(), "pending");
    let [lost] = given_up.closed.as_slice() else { panic!("the attempt is closed") };
    assert_eq!((lost.reason, lost.ended_at), (Some(Reason::Lost), Some(t(10))), "{lost:#?}");
    assert_eq!((given_up.run.vanished, given_up.run.restarts), (1, 0), "it counts as no restart");
    // Its script said how it ended: that decides.
    let marker = Seen { marker: Some(script_ended(0)), ..absent() };
    assert_eq!(decide(&run, &marker, &policy(), t(125)).run.state.as_str(), "completed");
    // Nodes have a minute to end what their slurmctld does not know, and a site that says less is believed.
    let impatient = Policy { in_doubt_wait: Seconds(5), ..policy() };
    let hasty = Policy { absent_grace: Seconds(9), ..impatient.clone() };
    for (policy, least) in [(impatient, 60_i64), (hasty, 9)] {
        let at = |second: i64| decide(&run, &absent(), &policy, t(5 + second)).run.state;
        assert_eq!((at(least - 1).as_str(), at(least).as_str()), ("running", "pending"));
    }
    // One that slurmctld must have saved was lost in another way.
    let settled = step(&run, &Event::Found(young(running())), &policy(), t(60)).run;
    let gone = decide(&settled, &absent(), &policy(), t(70)).run;
    let gone = decide(&gone, &absent(), &policy(), t(370)).run;
    let message =
        "the job vanished: the scheduler has no record of it, nor did its script leave one";
    assert_eq!(end(&gone), ("failed", Some(Reason::Lost), message));
}

#[test]
fn the_first_absence_of_a_job_is_told_and_the_next_ones_are_not() {
    for state in ["queued", "running", "finishing"] {
        let missed = decide(&run_in(state), &absent(), &policy(), t(110));
        let told = "the scheduler does not know job main:7 any more";
        assert_eq!(notes(&missed, "doubt"), vec![told.to_owned()], "{state}");
        assert_eq!(missed.run.state.as_str(), state);
        assert_eq!(decide(&missed.run, &absent(), &policy(), t(120)).notes, vec![], "{state}");
        // It was back in between.
        let back = step(&missed.run, &Event::Found(running()), &policy(), t(120)).run;
        assert_eq!(notes(&decide(&back, &absent(), &policy(), t(130)), "doubt").len(), 1);
    }
}

#[test]
fn a_start_that_slurmctld_forgot_and_calls_cancelled_ended_as_its_script_said() {
    // Back from before the job started, slurmctld hears of its end: it was cancelled, in no time.
    let mut forgotten = ended(JobEnd::Cancelled, 0);
    (forgotten.started_at, forgotten.ended_at) = (Some(t(93)), Some(t(93)));
    let found = |run: &Run, sighting: &Sighting| {
        step(run, &Event::Found(Box::new(sighting.clone())), &policy(), t(100))
    };
    let told = found(&run_in("finishing"), &forgotten);
    assert_eq!((end(&told.run), notes(&told, "self_reported").len()), (("completed", None, ""), 1));
    let attempt = told.run.attempt.expect("an attempt");
    assert_eq!((attempt.started_at, attempt.ended_at), (Some(t(10)), Some(t(90))));
    let broke = after(&[admitted(1), acknowledged(), Event::Script(script_ended(3))]);
    let message = "the training ended with exit code 3";
    assert_eq!(end(&found(&broke, &forgotten).run), ("failed", Some(Reason::ExitCode), message));
    // Whom somebody did cancel: while it ran, in the second of its start, and before anything was told.
    let mut at_once = forgotten.clone();
    (at_once.started_at, at_once.ended_at) = (Some(t(90)), Some(t(90)));
    for (state, sighting) in [
        ("finishing", *ended(JobEnd::Cancelled, 0)),
        ("finishing", *at_once),
        ("running", *forgotten),
    ] {
        assert_eq!(found(&run_in(state), &sighting).run.state.as_str(), "cancelled", "{state}");
    }
}

#[test]
fn an_accepted_job_that_vanished_is_submitted_again_only_when_its_claim_is_ours() {
    // Twice unknown to good answers, as after a lost answer.
    let acked = after(&[admitted(1), acknowledged()]);
    let run = decide(&acked, &absent(), &policy(), t(10)).run;
    let run = decide(&run, &absent(), &policy(), t(69)).run;
    assert!(!is_revoking(&run), "too soon");
    let run = decide(&run, &absent(), &policy(), t(70)).run;
    assert!(is_revoking(&run));
    // One that slurmctld must have saved is missed for longer.
    let settled = run_in("queued");
    let missed = decide(&settled, &absent(), &policy(), t(10)).run;
    assert!(!is_revoking(&decide(&missed, &absent(), &policy(), t(309)).run));
    assert!(is_revoking(&decide(&missed, &absent(), &policy(), t(310)).run));
    let won = Seen { revocation: Some(Revocation::Won), ..Seen::default() };
    let decision = decide(&run, &won, &policy(), t(311));
    assert_eq!(decision.run.state.as_str(), "pending");
    let [old] = decision.closed.as_slice() else { panic!("the attempt is closed") };
    assert_eq!((old.state, old.reason), (AttemptState::Failed, Some(Reason::Lost)));
    assert_eq!((decision.run.vanished, decision.run.restarts), (1, 0));
}

#[test]
fn a_job_that_owns_the_claim_did_start_and_then_its_marker_decides() {
    let claimed = Seen {
        revocation: Some(Revocation::ClaimedBy(job(9))),
        look: Look::Absent,
        ..Seen::default()
    };
    let run = decide(&in_doubt(), &claimed, &policy(), t(100)).run;
    assert_eq!((run.state.as_str(), run.attempts, run.vanished), ("running", 1, 0));
    assert_eq!(run.attempt.as_ref().map(|attempt| attempt.job.clone()), Some(job(9)));
    let run = decide(&run, &absent(), &policy(), t(219)).run;
    assert_eq!(run.state.as_str(), "running", "absence has its grace");
    let lost = decide(&run, &absent(), &policy(), t(220));
    assert_eq!((lost.run.state.as_str(), lost.run.restarts), ("pending", 0), "submitted again");
    assert_eq!(lost.closed[0].reason, Some(Reason::Lost));
    let with_marker = Seen { marker: Some(script_ended(0)), ..absent() };
    let told = decide(&run, &with_marker, &policy(), t(400)).run;
    assert_eq!(end(&told), ("completed", None, ""));
    assert!(told.attempt.is_some_and(|attempt| attempt.self_reported));
}

#[test]
fn a_job_that_found_its_claim_taken_never_ends_the_run() {
    use crate::domain::inbox::ScriptReason::Superseded;
    let mut superseded = script_ended(1);
    superseded.reason = Some(Superseded);
    for state in ["submitting", "queued", "running"] {
        let before = run_in(state);
        let run = step(&before, &Event::Script(superseded.clone()), &policy(), t(95)).run;
        assert_eq!((run.state.as_str(), is_revoking(&run)), ("queued", true), "{state}");
        // Whatever the scheduler then says of that job, the claim decides.
        for found in [ended(JobEnd::Failed, 1), running()] {
            let same = step(&run, &Event::Found(found), &policy(), t(99)).run;
            assert_eq!((same.state.as_str(), is_revoking(&same)), ("queued", true), "{state}");
        }
        let ours = step(&run, &Event::Revoked, &policy(), t(99));
        assert_eq!(ours.run.state.as_str(), "pending");
        assert_eq!(ours.closed[0].reason, Some(Reason::Superseded));
        let theirs = step(&run, &Event::ClaimedBy(job(8)), &policy(), t(99)).run;
        let attempt = theirs.attempt.clone().expect("an attempt");
        assert_eq!((theirs.state.as_str(), attempt.job), ("running", job(8)));
        assert_eq!(attempt.script_end, None, "the other job's word is not this one's");
    }
    // Told in one pass: how the other job ended is not how the owner's training did.
    let run = step(&run_in("running"), &Event::Script(superseded.clone()), &policy(), t(95)).run;
    let both = Seen {
        revocation: Some(Revocation::ClaimedBy(job(8))),
        look: Look::Job(ended(JobEnd::Failed, 1)),
        ..Seen::default()
    };
    assert_eq!(decide(&run, &both, &policy(), t(99)).run.state.as_str(), "running");
    let heard = Seen {
        script: vec![script_ended(0)],
        look: Look::Job(Box::new(Sighting { job: job(8), ..*ended(JobEnd::Failed, 1) })),
        ..Seen::default()
    };
    assert_eq!(decide(&in_doubt(), &heard, &policy(), t(99)).run.state.as_str(), "finishing");
    // The owner is found beside the one that gave way: its end is the run's, and nothing is left to settle.
    let gave_way =
        step(&run_in("queued"), &Event::Script(superseded.clone()), &policy(), t(95)).run;
    let both = Seen {
        look: Look::Job(Box::new(Sighting { job: job(8), ..*ended(JobEnd::Preempted, 0) })),
        twins: vec![*ended(JobEnd::Failed, 1)],
        revocation: Some(Revocation::ClaimedBy(job(8))),
        ..Seen::default()
    };
    let settled = decide(&gave_way, &both, &policy(), t(99)).run;
    assert_eq!((settled.state.as_str(), is_revoking(&settled)), ("backoff", false));
    // A wish is stronger.
    let stopping = step(&run_in("stopping"), &Event::Script(superseded), &policy(), t(95)).run;
    let run = step(&stopping, &Event::Found(ended(JobEnd::Failed, 1)), &policy(), t(99)).run;
    assert_eq!(run.state.as_str(), "cancelled");
}

#[test]
fn a_cancelled_doubt_is_settled_by_its_claim() {
    let doubtful = step(&in_doubt(), &cancel(), &policy(), t(10));
    assert_eq!(doubtful.acts, vec![], "there is no job to name");
    let run = doubtful.run;
    assert_eq!((run.state.as_str(), is_revoking(&run)), ("stopping", true));
    assert_eq!(step(&run, &Event::Revoked, &policy(), t(11)).run.state.as_str(), "cancelled");
    // It did start, if not yet its training: it is ended, and its absence is counted.
    let claimed = step(&run, &Event::ClaimedBy(job(7)), &policy(), t(11));
    assert_eq!(claimed.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
    assert_eq!((claimed.run.state.as_str(), claimed.run.attempts), ("stopping", 1));
    let gone = decide(&claimed.run, &absent(), &policy(), t(12)).run;
    let gone = decide(&gone, &absent(), &policy(), t(12 + 300)).run;
    assert_eq!(gone.state.as_str(), "cancelled", "it does not stop for ever");
    let unknown = step(&run, &Event::Found(sighting(Phase::Unknown)), &policy(), t(11));
    assert_eq!(unknown.acts, vec![], "it may be a late record of an id that is another's by now");
    // It is found in the queue: there is somebody to cancel at last.
    for found in [waiting(), running()] {
        let found = step(&run, &Event::Found(found), &policy(), t(11));
        assert_eq!(found.acts, vec![Act::Cancel { job: job(7), token: token(1), grace: false }]);
        assert_eq!(found.run.state.as_str(), "stopping");
    }
}

#[test]
fn a_job_of_an_earlier_submission_is_cancelled_whenever_it_is_met() {
    for state in ["submitting", "queued", "running", "finishing", "backoff", "completed"] {
        let before = run_in(state);
        let mut stray = running();
        (stray.token, stray.job) = (token(99), job(99));
        let decision = step(&before, &Event::Found(stray.clone()), &policy(), t(9));
        assert_eq!(
            decision.acts,
            vec![Act::Cancel { job: job(99), token: token(99), grace: false }],
            "{state}"
        );
        assert_eq!(decision.run, before, "{state}");
        stray.phase = Phase::Ended { end: JobEnd::Completed, exit_code: Some(0), signal: None };
        let decision = step(&before, &Event::Found(stray), &policy(), t(9));
        assert_eq!((decision.acts.len(), decision.run), (0, before), "{state}: it is over");
    }
}

#[test]
fn silence_is_remembered_while_an_answer_matters_and_no_longer() {
    let silence = Event::Silence { who: "squeue".into() };
    let run = step(&run_in("running"), &silence, &policy(), t(50)).run;
    let run = step(&run, &silence, &policy(), t(60)).run;
    assert_eq!(run.stale.as_ref().map(|stale| stale.since), Some(t(50)));
    assert_eq!(step(&run, &Event::Found(running()), &policy(), t(70)).run.stale, None);
    assert_eq!(step(&run, &Event::Absent, &policy(), t(70)).run.stale, None);
    // While nobody answers, the id alone says nothing of whose the job is.
    let unheard = step(&run, &cancel(), &policy(), t(65));
    assert_eq!((unheard.run.state.as_str(), unheard.acts), ("stopping", vec![]));
    // A run that is over, or waits for nobody, is not stale.
    let submitting = step(&run_in("submitting"), &silence, &policy(), t(50)).run;
    let refused = Event::Refused { message: "no".into(), for_now: false };
    assert_eq!(step(&submitting, &refused, &policy(), t(51)).run.stale, None);
    let stopping = step(&submitting, &cancel(), &policy(), t(51)).run;
    assert!(stopping.stale.is_some(), "it still waits for an answer");
    assert_eq!(step(&stopping, &Event::Revoked, &policy(), t(52)).run.stale, None);
}

#[test]
fn a_lost_run_that_may_come_back_is_not_missed_again() {
    let policy = Policy { restart_on: vec![Reason::Lost], ..policy() };
    let gone = Event::AbsentPastGrace { marker: None };
    let run = step(&run_in("running"), &Event::Absent, &policy, t(10)).run;
    let run = step(&run, &gone, &policy, t(400)).run;
    assert_eq!(run.state.as_str(), "backoff");
    assert_eq!(decide(&run, &absent(), &policy, t(401)).notes, vec![]);
}

#[test]
fn only_what_is_waited_for_can_be_missed() {
    for state in ["preparing", "pending", "backoff", "completed", "failed", "cancelled"] {
        let mut run = run_in(state);
        for hours in 0..3 {
            let now = t(0) + SignedDuration::from_hours(hours);
            let before = run.clone();
            let decision = decide(&run, &absent(), &policy(), now);
            assert_eq!(notes(&decision, "impossible"), Vec::<String>::new(), "{state}");
            run = decision.run;
            let may_wake = matches!(before.state, State::Backoff { .. });
            assert!(may_wake || run == before, "{state}");
        }
    }
}
