//! Which of several jobs is the run's.

use crate::domain::run::tests::{
    cancel, ended, job, policy, run_in, running, sighting, t, token, waiting,
};
use crate::domain::run::{
    Act, Claim, Decision, Event, JobEnd, Look, Phase, Revocation, Seen, Sighting, are_of_others,
    decide, has_others, is_end_of_anybody, sort_out, step, unheard_end,
};

fn of(n: u64, second: i64, sighting: &Sighting) -> Sighting {
    Sighting { job: job(n), submitted_at: Some(t(second)), ..sighting.clone() }
}

/// The run's job and the others, by number.
#[track_caller]
fn check(sightings: &[Sighting], owner: Option<u64>, expected: u64, twins: &[u64]) {
    let mut seen = Seen::default();
    sort_out(sightings.to_vec(), owner.map(job).as_ref(), Some(&job(8)), &mut seen);
    let Look::Job(kept) = &seen.look else { panic!("{seen:?}") };
    let others: Vec<u64> = seen.twins.iter().map(|twin| twin.job.job).collect();
    assert_eq!((kept.job.job, others.as_slice()), (expected, twins));
}

#[test]
fn the_owner_of_the_claim_is_kept_then_who_runs_then_the_oldest() {
    let (waits, runs) = (waiting(), running());
    let over = ended(JobEnd::Completed, 0);
    check(&[of(7, 1, &waits)], None, 7, &[]);
    check(&[of(7, 1, &waits), of(8, 2, &waits)], None, 7, &[8]);
    check(&[of(7, 2, &waits), of(8, 1, &waits)], None, 8, &[7]);
    check(&[of(7, 1, &waits), of(8, 2, &runs)], None, 8, &[7]);
    check(&[of(7, 1, &runs), of(8, 2, &waits), of(9, 3, &runs)], Some(9), 9, &[7, 8]);
    check(&[of(7, 1, &over), of(8, 2, &runs)], Some(7), 7, &[8]);
    check(&[of(7, 1, &over), of(8, 2, &waits)], None, 8, &[7]);
    check(&[of(7, 1, &over), of(8, 2, &over)], None, 8, &[7]);
    check(&[of(7, 1, &over), of(9, 2, &over)], None, 7, &[9]);
    let unknown = sighting(Phase::Unknown);
    check(&[of(7, 1, &unknown), of(8, 2, &unknown)], None, 8, &[7]);
    check(&[of(7, 1, &unknown), of(8, 2, &over)], None, 7, &[8]);
    check(&[of(8, 1, &over), of(9, 2, &unknown)], None, 9, &[8]);
}

#[test]
fn where_the_owner_of_the_claim_is_not_shown_all_that_is_shown_is_beside_it() {
    let (waits, over) = (waiting(), ended(JobEnd::Failed, 77));
    assert!(!has_others(&[of(8, 1, &waits)], Some(&job(8))));
    assert!(has_others(&[of(9, 1, &waits)], Some(&job(8))), "its own may have left the queue");
    assert!(has_others(&[of(8, 1, &waits)], None), "whose it is nobody knows");
    // Its own end alone may be that of a job without the claim, beside one that nobody has seen.
    for (claim, expected) in [(Claim::Owned, false), (Claim::Unrivalled, true)] {
        assert_eq!(is_end_of_anybody(&[of(8, 1, &over)], claim), expected);
        assert!(!is_end_of_anybody(&[of(8, 1, &waits)], claim));
    }
    let mut seen = Seen::default();
    sort_out(vec![of(9, 1, &waits), of(10, 2, &over)], Some(&job(7)), None, &mut seen);
    assert_eq!((&seen.look, seen.twins.len()), (&Look::Absent, 2));
    assert_eq!(seen.revocation, Some(Revocation::ClaimedBy(job(7))));
    for state in ["submitting", "queued"] {
        let decision = decide(&run_in(state), &seen, &policy(), t(9));
        assert_eq!(decision.run.state.as_str(), "running", "{state}");
        assert_eq!(decision.run.submission.unwrap().job, Some(job(7)), "{state}");
        let cancel = Act::Cancel { job: job(9), token: token(1), grace: false };
        assert_eq!(decision.acts, vec![cancel], "{state}");
    }
    // Nor does another one stay the run's that was taken for it.
    for state in ["running", "finishing"] {
        let seen = Seen { revocation: Some(Revocation::ClaimedBy(job(8))), ..seen.clone() };
        let run = decide(&run_in(state), &seen, &policy(), t(9)).run;
        assert_eq!((run.state.as_str(), run.submission.unwrap().job), ("running", Some(job(8))));
        let attempt = run.attempt.unwrap();
        assert_eq!((attempt.job, attempt.script_end, attempt.nodes), (job(8), None, vec![]));
    }
}

#[test]
fn the_end_of_another_job_is_no_news_of_the_runs_own() {
    let (over, runs) = (ended(JobEnd::Cancelled, 0), running());
    let others = |known: Option<u64>, sightings: &[Sighting]| {
        are_of_others(sightings, known.map(job).as_ref())
    };
    assert!(others(Some(7), &[of(8, 1, &over)]));
    assert!(others(Some(7), &[of(8, 1, &over), of(9, 1, &over)]));
    assert!(!others(Some(7), &[of(8, 1, &over), of(7, 1, &over)]), "it is there");
    assert!(!others(Some(7), &[of(8, 1, &runs)]), "it may be the one that trains");
    assert!(!others(None, &[of(8, 1, &over)]), "nobody knew of any");
}

#[test]
fn starts_of_one_job_are_no_twins() {
    let start = |restart| Sighting { restart, ..*ended(JobEnd::Requeued, 0) };
    let mut seen = Seen::default();
    sort_out(
        vec![start(1), Sighting { restart: 2, ..*running() }, start(0)],
        None,
        None,
        &mut seen,
    );
    let restarts: Vec<u32> = seen.earlier.iter().map(|start| start.restart).collect();
    assert_eq!((restarts.as_slice(), seen.twins.len()), ([0, 1].as_slice(), 0));
    assert!(matches!(&seen.look, Look::Job(now) if now.restart == 2));
    let mut nothing = Seen::default();
    sort_out(Vec::new(), None, None, &mut nothing);
    assert_eq!(nothing, Seen::default());
}

#[test]
fn a_second_job_of_a_submission_is_cancelled_and_the_first_one_stays() {
    let twin = Sighting { job: job(8), ..*waiting() };
    let seen = Seen { look: Look::Job(running()), twins: vec![twin], ..Seen::default() };
    let decision = decide(&run_in("queued"), &seen, &policy(), t(9));
    assert_eq!(decision.acts, vec![Act::Cancel { job: job(8), token: token(1), grace: false }]);
    assert_eq!(decision.run.state.as_str(), "running");
    // One that runs may take the claim in this moment. If it does not, it goes by itself.
    let twin = Sighting { job: job(8), ..*running() };
    let rivals = Seen { look: Look::Job(running()), twins: vec![twin.clone()], ..Seen::default() };
    let both = decide(&run_in("queued"), &rivals, &policy(), t(9));
    assert_eq!((both.acts, both.run.is_contested()), (vec![], true));
    // It is in the way of a run that is to stop, and where another one is known to have the claim.
    let stopping = step(&both.run, &cancel(), &policy(), t(10)).run;
    let second = Event::Twin(Box::new(twin));
    assert_eq!(step(&stopping, &second, &policy(), t(11)).acts, decision.acts);
    let queued = step(&run_in("queued"), &Event::ClaimedBy(job(7)), &policy(), t(9)).run;
    assert_eq!(step(&queued, &second, &policy(), t(11)).acts, decision.acts);
    // The run's own job is over, and nobody can tell whether the other one lives: nothing is concluded.
    let unclear = Seen {
        look: Look::Job(Box::new(Sighting { job: job(8), ..*sighting(Phase::Unknown) })),
        twins: vec![*ended(JobEnd::Failed, 77)],
        ..Seen::default()
    };
    let run = run_in("queued");
    assert_eq!(decide(&run, &unclear, &policy(), t(9)), Decision::stay(&run));
    // Nor is the run's own cancelled, which waits beside one that may own the claim.
    let unclear = Seen { twins: vec![*waiting()], ..unclear };
    assert_eq!(decide(&run, &unclear, &policy(), t(9)), Decision::stay(&run));
    // Nor is one in the way while it cannot be told which of them the run's is.
    let look = Look::Silence { who: "the run root".into() };
    let silent = Seen { look, twins: vec![*waiting()], ..Seen::default() };
    assert_eq!(decide(&run, &silent, &policy(), t(9)).acts, vec![]);
    // Nor is anything done about one that is over, or of which only a word is shown that nobody knows.
    for phase in [ended(JobEnd::Cancelled, 0), sighting(Phase::Unknown)] {
        let seen = Seen { twins: vec![Sighting { job: job(8), ..*phase }], ..seen.clone() };
        assert_eq!(decide(&decision.run, &seen, &policy(), t(10)).acts, vec![]);
    }
}

#[test]
fn an_end_that_was_not_heard_is_that_of_the_job_which_is_shown() {
    let cut =
        |of: u64| Look::Job(Box::new(Sighting { job: job(of), ..*ended(JobEnd::NodeFailure, 0) }));
    let finishing = run_in("finishing");
    assert_eq!(unheard_end(&finishing, &cut(7)), None);
    // Job 7 has only said that it gave way to this one.
    assert_eq!(unheard_end(&finishing, &cut(8)), Some(1));
    assert_eq!(unheard_end(&run_in("running"), &cut(7)), Some(1));
    for look in [Look::Absent, Look::Job(ended(JobEnd::Failed, 1)), Look::Job(running())] {
        assert_eq!(unheard_end(&run_in("running"), &look), None, "{look:?}");
    }
    for over in ["completed", "stopping"] {
        assert_eq!(unheard_end(&run_in(over), &cut(7)), None, "{over}");
    }
}
