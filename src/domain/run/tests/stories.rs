//! Whole lives of a run, as the daemon lives them: everything that is seen in one pass, then the next pass.

use std::fmt::Write as _;

use crate::domain::ids::RunId;
use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::tests::{
    admitted, end, ended, job, policy, restarted, running, script, script_ended, t, token, waiting,
};
use crate::domain::run::{
    Act, Answer, Decision, JobEnd, Look, Reason, Run, Seen, Sighting, Wish, WishKind, decide, step,
};

/// A run, and everything that was written into its history or ordered for it.
struct Story {
    run: Run,
    told: String,
}

impl Story {
    fn new() -> Self {
        Self { run: Run::accepted(RunId(42)), told: String::new() }
    }

    fn admitted(&mut self, at: i64, n: i64) {
        let decision = step(&self.run, &admitted(n), &policy(), t(at));
        self.tell(at, decision);
    }

    fn sees(&mut self, at: i64, seen: &Seen) {
        let decision = decide(&self.run, seen, &policy(), t(at));
        self.tell(at, decision);
    }

    fn tell(&mut self, at: i64, decision: Decision) {
        let Decision { run, closed, acts, notes } = decision;
        for note in notes {
            writeln!(self.told, "{at:>4} {}: {}", note.kind, note.message).expect("memory");
        }
        for attempt in closed {
            let (n, state) = (attempt.n, attempt.state.as_str());
            writeln!(self.told, "{at:>4} attempt {n} is {state}").expect("memory");
        }
        for Act::Cancel { job, grace, .. } in acts {
            let how = if grace { "with grace" } else { "now" };
            writeln!(self.told, "{at:>4} cancel {job} {how}").expect("memory");
        }
        self.run = run;
    }

    /// Submitted as job 7 and queued by second 30.
    fn queued() -> Self {
        let mut story = Self::new();
        story.admitted(0, 1);
        story.sees(1, &answer(Answer::Acknowledged { job: job(7), notices: String::new() }));
        story.sees(30, &look(waiting()));
        story
    }
}

fn answer(answer: Answer) -> Seen {
    Seen { answer: Some(answer), ..Seen::default() }
}

fn look(sighting: Box<Sighting>) -> Seen {
    Seen { look: Look::Job(sighting), ..Seen::default() }
}

fn told(event: ScriptEvent) -> Seen {
    Seen { script: vec![event], ..Seen::default() }
}

fn absent() -> Seen {
    Seen { look: Look::Absent, ..Seen::default() }
}

fn wish(kind: WishKind) -> Seen {
    let wish = Wish { id: 1, kind, by: "anna".into(), at: t(0) };
    Seen { wishes: vec![wish], ..Seen::default() }
}

/// Another submission's job, at its first start.
fn second(mut sighting: Box<Sighting>) -> Box<Sighting> {
    (sighting.job, sighting.token) = (job(8), token(2));
    sighting
}

#[test]
fn a_normal_life() {
    let mut story = Story::queued();
    story.sees(42, &told(script(ScriptEventKind::Started)));
    story.sees(60, &look(running()));
    story.sees(95, &told(script_ended(0)));
    story.sees(120, &look(ended(JobEnd::Completed, 0)));
    story.sees(150, &absent());
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     42 state: queued → running
     95 state: running → finishing
    120 state: finishing → completed
    ");
    let attempt = story.run.attempt.expect("an attempt");
    assert_eq!((attempt.started_at, attempt.ended_at), (Some(t(10)), Some(t(100))));
    assert_eq!((attempt.exit_code, attempt.self_reported), (Some(0), false));
}

#[test]
fn a_training_that_fails() {
    let mut story = Story::queued();
    story.sees(60, &look(running()));
    story.sees(90, &look(ended(JobEnd::Failed, 3)));
    insta::assert_snapshot!(story.told, @"
     0 state: pending → submitting
     1 state: submitting → queued
    60 state: queued → running
    90 state: running → failed: the training ended with exit code 3
    ");
}

#[test]
fn cancelled_while_it_waits_in_the_queue() {
    let mut story = Story::queued();
    story.sees(40, &wish(WishKind::Cancel));
    story.sees(60, &look(ended(JobEnd::Cancelled, 0)));
    insta::assert_snapshot!(story.told, @"
     0 state: pending → submitting
     1 state: submitting → queued
    40 state: queued → stopping: cancelled by anna
    40 cancel main:7 now
    60 state: stopping → cancelled: cancelled by anna
    ");
    assert_eq!(story.run.attempt.map(|attempt| attempt.state.as_str()), Some("cancelled"));
}

#[test]
fn cancelled_while_it_runs_and_deaf_to_it() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    story.sees(41, &told(script(ScriptEventKind::Launched)));
    story.sees(50, &wish(WishKind::Cancel));
    story.sees(60, &look(running()));
    story.sees(80, &look(running()));
    story.sees(90, &wish(WishKind::Cancel));
    story.sees(95, &told(script_ended(143)));
    story.sees(120, &look(ended(JobEnd::Cancelled, 0)));
    story.sees(125, &wish(WishKind::Cancel));
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     40 state: queued → running
     50 state: running → stopping: cancelled by anna
     50 cancel main:7 with grace
     80 cancel main:7 now
     90 wish: cancelled by anna
     90 cancel main:7 now
    120 state: stopping → cancelled: cancelled by anna
    125 wish: a wish to cancel came while the run is cancelled
    ");
}

#[test]
fn ended_before_it_was_cancelled() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    let both = Seen { look: Look::Job(ended(JobEnd::Completed, 0)), ..wish(WishKind::Cancel) };
    story.sees(120, &both);
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     40 state: queued → running
    120 state: running → completed
    120 wish: a wish to cancel came while the run is completed
    ");
}

#[test]
fn over_its_time_limit() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    let mut over = ended(JobEnd::TimeLimit, 0);
    over.granted.time_limit_seconds = Some(60);
    story.sees(110, &look(over));
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     40 state: queued → running
    110 state: running → failed: the job reached its time limit of 1m
    ");
}

#[test]
fn forgotten_by_the_scheduler_but_not_by_its_marker() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    story.sees(100, &absent());
    story.sees(130, &Seen { look: Look::Silence { who: "squeue".into() }, ..Seen::default() });
    story.sees(9_000, &Seen { marker: Some(script_ended(0)), ..absent() });
    insta::assert_snapshot!(story.told, @"
       0 state: pending → submitting
       1 state: submitting → queued
      40 state: queued → running
     100 doubt: the scheduler does not know job main:7 any more
    9000 self_reported: the scheduler has no record: what the script said at its end decides
    9000 state: running → completed
    ");
    let attempt = story.run.attempt.clone().expect("an attempt");
    assert_eq!((attempt.self_reported, attempt.ended_at), (true, Some(t(90))));
    assert_eq!(end(&story.run).1, None);
}

#[test]
fn lost_without_a_word() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    story.sees(100, &absent());
    story.sees(399, &absent());
    story.sees(400, &absent());
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     40 state: queued → running
    100 doubt: the scheduler does not know job main:7 any more
    400 state: running → failed: the job vanished: the scheduler has no record of it, nor did its script leave one
    ");
}

#[test]
fn preempted_twice_and_completed() {
    let mut story = Story::queued();
    story.sees(40, &look(running()));
    // Once requeued by the scheduler, under the same job id …
    story.sees(210, &look(restarted(waiting(), 1)));
    story.sees(330, &look(restarted(running(), 1)));
    // … and once not, so that Trainyard submits again.
    story.sees(400, &look(restarted(ended(JobEnd::Preempted, 0), 1)));
    story.sees(430, &Seen::default());
    story.sees(460, &Seen::default());
    story.admitted(461, 2);
    story.sees(462, &answer(Answer::Acknowledged { job: job(8), notices: String::new() }));
    story.sees(490, &look(second(running())));
    story.sees(900, &look(second(ended(JobEnd::Completed, 0))));
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
      1 state: submitting → queued
     40 state: queued → running
    210 restart: the scheduler started job main:7 again
    210 state: running → queued
    210 attempt 1 is requeued
    330 state: queued → running
    400 restart: the job was preempted; this is restart 2 of at most 3
    400 state: running → backoff
    460 state: backoff → pending
    461 state: pending → submitting
    461 attempt 2 is failed
    462 state: submitting → queued
    490 state: queued → running
    900 state: running → completed
    ");
    assert_eq!((story.run.attempts, story.run.restarts), (3, 2));
}

#[test]
fn an_answer_that_was_lost_and_a_job_that_was_never_there() {
    let mut story = Story::new();
    story.admitted(0, 1);
    story.sees(180, &answer(Answer::Lost { message: "no answer within 180 s".into() }));
    story.sees(210, &absent());
    story.sees(270, &absent());
    let won = Seen { revocation: Some(crate::domain::run::Revocation::Won), ..absent() };
    story.sees(271, &won);
    story.admitted(272, 2);
    story.sees(273, &answer(Answer::Acknowledged { job: job(8), notices: String::new() }));
    insta::assert_snapshot!(story.told, @"
      0 state: pending → submitting
    180 doubt: the answer to the submission was lost: no answer within 180 s
    271 doubt: no job of that submission exists or can ever train: it is submitted again
    271 state: submitting → pending
    272 state: pending → submitting
    273 state: submitting → queued
    ");
}

#[test]
fn refused_for_now_then_for_good() {
    let mut story = Story::new();
    story.admitted(0, 1);
    let refused =
        |message: &str, for_now| answer(Answer::Refused { message: message.into(), for_now });
    story.sees(1, &refused("sbatch: error: QOSMaxSubmitJobPerUserLimit", true));
    story.admitted(60, 2);
    story.sees(61, &refused("sbatch: error: invalid account", false));
    insta::assert_snapshot!(story.told, @"
     0 state: pending → submitting
     1 state: submitting → pending: sbatch: error: QOSMaxSubmitJobPerUserLimit
    60 state: pending → submitting
    61 state: submitting → failed: sbatch: error: invalid account
    ");
    assert_eq!(end(&story.run).1, Some(Reason::Rejected));
}
