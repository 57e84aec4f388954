//! What holds after any events in any order, as far as a scheduler, a script and people can bring them about.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::domain::bad_nodes::{Avoided, Unwell};
use crate::domain::ids::{RunId, SubmissionId, Token};
use crate::domain::inbox::{ScriptEvent, ScriptEventKind, ScriptReason};
use crate::domain::run::tests::{job, policy, script, sighting, t, token};
use crate::domain::run::{
    Answer, Decision, Digest, Event, JobEnd, Look, Phase, Policy, Reason, Revocation, Run, Seen,
    Sighting, State, Wish, WishKind, decide, step,
};

/// What a random pass is made from; it is fitted to the run when the pass comes, so that most of it is about its job.
#[derive(Debug, Clone)]
enum Happening {
    Admitted,
    CalledAgain,
    Prepared,
    OwnStop(bool),
    Seen(Draft),
}

#[derive(Debug, Clone)]
struct Draft {
    answer: Option<u8>,
    look: LookDraft,
    /// Accounting tells how earlier starts ended.
    is_accounted: bool,
    script: Vec<ScriptDraft>,
    marker: Option<i32>,
    revocation: Option<bool>,
    wish: Option<WishKind>,
}

#[derive(Debug, Clone)]
enum LookDraft {
    NotAsked,
    Silence,
    Absent,
    Job { phase: Phase, restart: i8, is_stray: bool, ended_at: Option<i64> },
}

#[derive(Debug, Clone)]
struct ScriptDraft {
    kind: ScriptEventKind,
    exit_code: i32,
    reason: Option<ScriptReason>,
    restart: i8,
    is_stray: bool,
}

fn phases() -> impl Strategy<Value = Phase> {
    let ends = prop_oneof![
        3 => Just(JobEnd::Preempted),
        2 => Just(JobEnd::Completed),
        2 => Just(JobEnd::Failed),
        1 => Just(JobEnd::Cancelled),
        1 => Just(JobEnd::NodeFailure),
        1 => Just(JobEnd::TimeLimit),
    ];
    let ended = (ends, option::of(prop_oneof![Just(0), Just(1), Just(75)]), option::of(0..16));
    prop_oneof![
        3 => Just(Phase::Waiting { why: None }),
        4 => Just(Phase::Running),
        2 => ended.prop_map(|(end, exit_code, signal)| Phase::Ended { end, exit_code, signal }),
        1 => Just(Phase::Unknown),
    ]
}

fn looks() -> impl Strategy<Value = LookDraft> {
    let restarts = prop_oneof![6 => Just(0_i8), 2 => Just(1), 1 => Just(2), 1 => Just(-1)];
    let job = (phases(), restarts, prop::bool::weighted(0.05), option::of(0..2_000_i64)).prop_map(
        |(phase, restart, is_stray, ended_at)| LookDraft::Job {
            phase,
            restart,
            is_stray,
            ended_at,
        },
    );
    prop_oneof![
        2 => Just(LookDraft::NotAsked),
        1 => Just(LookDraft::Silence),
        3 => Just(LookDraft::Absent),
        5 => job,
    ]
}

fn scripts() -> impl Strategy<Value = ScriptDraft> {
    use ScriptEventKind::{DataChanged, Ended, Launched, Started, Unknown, Warned};
    let kinds = prop_oneof![
        Just(Started),
        Just(Launched),
        Just(DataChanged),
        Just(Warned),
        Just(Ended),
        Just(Unknown)
    ];
    let reasons = prop_oneof![
        Just(ScriptReason::Superseded),
        Just(ScriptReason::LaunchFailed),
        Just(ScriptReason::DataChanged),
    ];
    (kinds, 0..3, option::weighted(0.2, reasons), -1..=1_i8, prop::bool::weighted(0.1)).prop_map(
        |(kind, exit_code, reason, restart, is_stray)| ScriptDraft {
            kind,
            exit_code,
            reason,
            restart,
            is_stray,
        },
    )
}

fn happenings() -> impl Strategy<Value = Happening> {
    let wishes = prop_oneof![Just(WishKind::Cancel), Just(WishKind::Resume)];
    let draft =
        (
            option::weighted(0.4, 0..6_u8),
            looks(),
            any::<bool>(),
            vec(scripts(), 0..2),
            option::weighted(0.2, 0..2),
            option::weighted(0.3, any::<bool>()),
            option::weighted(0.1, wishes),
        )
            .prop_map(|(answer, look, is_accounted, script, marker, revocation, wish)| {
                Draft { answer, look, is_accounted, script, marker, revocation, wish }
            });
    prop_oneof![
        3 => Just(Happening::Admitted),
        1 => Just(Happening::CalledAgain),
        1 => Just(Happening::Prepared),
        1 => any::<bool>().prop_map(Happening::OwnStop),
        12 => draft.prop_map(Happening::Seen),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    (0..4_u32, any::<bool>()).prop_map(|(max_restarts, hung)| Policy {
        max_restarts,
        restart_on: [Reason::Preempted, Reason::NodeFailure]
            .into_iter()
            .chain(hung.then_some(Reason::Hung))
            .collect(),
        ..policy()
    })
}

/// The token that a happening is about.
fn token_of(run: &Run, is_stray: bool) -> Token {
    let known = run.submission.as_ref().filter(|_| !is_stray);
    known.map_or(token(999), |submission| submission.token.clone())
}

fn restart_of(run: &Run, by: i8) -> u32 {
    run.known_restart().saturating_add_signed(by.into())
}

fn look_of(run: &Run, draft: &LookDraft) -> Look {
    match draft {
        LookDraft::NotAsked => Look::NotAsked,
        LookDraft::Silence => Look::Silence { who: "squeue".into() },
        LookDraft::Absent => Look::Absent,
        LookDraft::Job { phase, restart, is_stray, ended_at } => Look::Job(Box::new(Sighting {
            token: token_of(run, *is_stray),
            restart: restart_of(run, *restart),
            ended_at: ended_at.map(t),
            ..*sighting(phase.clone())
        })),
    }
}

fn seen_of(run: &Run, draft: &Draft) -> Seen {
    let message = || "words".to_owned();
    let event = |draft: &ScriptDraft| ScriptEvent {
        token: token_of(run, draft.is_stray),
        restart: restart_of(run, draft.restart),
        exit_code: Some(draft.exit_code),
        reason: draft.reason,
        ..script(draft.kind)
    };
    let look = look_of(run, &draft.look);
    let restart = if let Look::Job(job) = &look { job.restart } else { 0 };
    let start = |restart| Sighting { restart, ..*super::ended(JobEnd::Requeued, 0) };
    let starts = (run.known_restart()..restart).filter(|_| draft.is_accounted);
    Seen {
        saved: None,
        unwell_nodes: Unwell::new(),
        hardware: std::collections::BTreeMap::new(),
        preparation: None,
        earlier: starts.map(start).collect(),
        twins: Vec::new(),
        orphaned: draft.answer == Some(5),
        answer: draft.answer.map(|answer| match answer {
            0 => Answer::Acknowledged { job: job(7), notices: message() },
            1 => Answer::Refused { message: message(), for_now: true },
            2 => Answer::Refused { message: message(), for_now: false },
            3 => Answer::Unreachable { message: message() },
            _ => Answer::Lost { message: message() },
        }),
        look,
        script: draft.script.iter().map(event).collect(),
        marker: draft.marker.map(super::script_ended),
        revocation: draft
            .revocation
            .map(|won| if won { Revocation::Won } else { Revocation::ClaimedBy(job(7)) }),
        wishes: draft
            .wish
            .map(|kind| Wish { id: 1, kind, by: "anna".into(), at: t(0) })
            .into_iter()
            .collect(),
    }
}

/// What is counted over a run's life, to be held against its own numbers.
#[derive(Debug, Default)]
struct Count {
    admitted: u32,
    /// What allows another submission beside a restart.
    vanished: u32,
    refused: u32,
    resumed: u32,
}

impl Count {
    fn add(&mut self, before: &Run, decision: &Decision) {
        let said = |text: &str| {
            let lines = decision.notes.iter().filter(|note| note.message.contains(text));
            u32::try_from(lines.count()).expect("few")
        };
        self.admitted += said("pending → submitting");
        self.vanished += said("it is submitted again");
        self.resumed += said("resumed by");
        let was_submitting = matches!(before.state, State::Submitting { .. });
        self.refused += if was_submitting { said("submitting → pending: words") } else { 0 };
    }

    fn check(&self, run: &Run) -> Result<(), TestCaseError> {
        let allowed = 1 + run.restarts + self.vanished + self.refused + self.resumed;
        prop_assert!(self.admitted <= allowed, "{self:?} {run:#?}");
        Ok(())
    }
}

/// What one decision must never do.
fn check(before: &Run, decision: &Decision, policy: &Policy) -> Result<(), TestCaseError> {
    let Decision { run, closed, acts: _, notes } = decision;
    prop_assert!(run.attempts >= before.attempts && run.restarts >= before.restarts);
    let noted = |kind: &str| notes.iter().any(|note| note.kind == kind);
    if before.state.is_final() && !noted("reopened") {
        prop_assert_eq!(run, before, "only a wish to resume leaves a final state");
    }
    if before.state.as_str() != run.state.as_str() {
        let last = notes.iter().rfind(|note| note.kind == "state").map(|note| &note.message);
        let end = format!("→ {}", run.state.as_str());
        prop_assert!(last.is_some_and(|last| last.contains(&end)), "{:?}", notes);
    }
    let is_stopped = matches!(run.state, State::Stopping { .. } | State::Final { .. });
    if run.restarts > before.restarts && run.restarts > policy.max_restarts {
        let may_go_on = is_stopped || noted("reopened");
        prop_assert!(may_go_on, "one restart too many: {:#?}", run);
    }
    // What is over costs nothing more: an attempt that started has an end, whether it was requeued, lost or closed.
    let over = run.attempt.iter().filter(|_| run.state.is_final()).chain(closed);
    for attempt in over {
        prop_assert!(attempt.started_at.is_none() || attempt.ended_at.is_some(), "{:#?}", attempt);
    }
    // One attempt at a time, each closed before the next, numbered as its script numbers itself.
    let numbers: Vec<u32> = closed.iter().chain(&run.attempt).map(|attempt| attempt.n).collect();
    prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
    let (was, is) = (before.attempt.as_ref(), run.attempt.as_ref());
    if let Some(was) = was.filter(|was| is.is_none_or(|is| is.n != was.n)) {
        prop_assert!(closed.iter().any(|closed| closed.n == was.n), "attempt {} is gone", was.n);
    }
    if let (Some(submission), Some(attempt)) = (run.submission.as_ref(), run.open_attempt()) {
        prop_assert_eq!(attempt.n, submission.attempt_base + attempt.restart);
    }
    prop_assert!(run.stale.is_none() || run.awaits_job());
    let text = serde_json::to_string(run).expect("a run is JSON");
    prop_assert_eq!(&serde_json::from_str::<Run>(&text).expect("it reads back"), run);
    Ok(())
}

/// A digest that stands for a sighting as the scheduler's own does.
fn digest(look: Look) -> Look {
    let Look::Job(sighting) = look else { return look };
    let mut hasher = DefaultHasher::new();
    format!("{sighting:?}").hash(&mut hasher);
    Look::Job(Box::new(Sighting { digest: Some(Digest(hasher.finish())), ..*sighting }))
}

/// What the scheduler showed last is no news as long as the run says so, whatever has happened since.
fn check_shown(run: &Run, last: &Look, policy: &Policy, at: i64) -> Result<(), TestCaseError> {
    if let Look::Job(sighting) = last
        && run.shown().is_some_and(|shown| sighting.digest == Some(shown))
    {
        let seen = Seen { look: last.clone(), ..Seen::default() };
        prop_assert_eq!(&decide(run, &seen, policy, t(at)), &Decision::stay(run));
    }
    Ok(())
}

/// Seen again a moment later, the same answer of the scheduler is no news.
fn check_again(
    decision: &Decision,
    look: &Look,
    policy: &Policy,
    at: i64,
) -> Result<(), TestCaseError> {
    let seen = Seen { look: look.clone(), ..Seen::default() };
    let once = decide(&decision.run, &seen, policy, t(at));
    let twice = decide(&once.run, &seen, policy, t(at));
    prop_assert_eq!(&twice.run, &once.run);
    prop_assert_eq!(&twice.closed, &Vec::new());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_stays_sound_whatever_is_seen(
        policy in policies(),
        preparing in any::<bool>(),
        life in vec((happenings(), 0..400_i64), 1..60),
    ) {
        let mut run = Run::accepted(RunId(42));
        if preparing {
            run.state = State::Preparing;
        }
        let (mut count, mut at, mut submissions) = (Count::default(), 0, 0);
        let mut last = Look::NotAsked;
        for (happening, wait) in &life {
            at += wait;
            let mut look = Look::NotAsked;
            let decision = match happening {
                Happening::Admitted => {
                    submissions += 1;
                    let event = Event::Admitted {
                        submission: SubmissionId(submissions),
                        token: token(submissions.unsigned_abs().into()),
                        cluster: "main".into(),
                        avoided: Avoided::default(),
                    };
                    step(&run, &event, &policy, t(at))
                }
                Happening::CalledAgain => step(&run, &Event::CalledAgain, &policy, t(at)),
                Happening::Prepared => step(&run, &Event::Prepared, &policy, t(at)),
                Happening::OwnStop(hung) => {
                    let reason = if *hung { Reason::Hung } else { Reason::BudgetExhausted };
                    let event = Event::OwnStop { reason, message: "a rule".into() };
                    step(&run, &event, &policy, t(at))
                }
                Happening::Seen(draft) => {
                    let seen = seen_of(&run, draft);
                    let seen = Seen { look: digest(seen.look), ..seen };
                    look = seen.look.clone();
                    decide(&run, &seen, &policy, t(at))
                }
            };
            check(&run, &decision, &policy)?;
            check_again(&decision, &look, &policy, at)?;
            count.add(&run, &decision);
            run = decision.run;
            count.check(&run)?;
            if matches!(look, Look::Job(_)) {
                last = look;
            }
            check_shown(&run, &last, &policy, at)?;
            let silence = Event::Silence { who: "sacct".into() };
            let silent = step(&run, &silence, &policy, t(at));
            prop_assert_eq!(&silent.run.state, &run.state, "silence is not news");
            prop_assert_eq!(&silent.run.attempt, &run.attempt);
            prop_assert!(silent.acts.is_empty() && silent.notes.is_empty());
        }
    }
}
