//! The machine, tried: the table cell by cell, the rules that need more than one event, whole lives, and what must
//! hold after any sequence of events.

mod accounted;
mod calls;
mod doubt;
mod jobs;
mod nodes;
mod progress;
mod properties;
mod restarts;
mod scripts;
mod stories;
mod table;
mod timers;
mod warned;

use jiff::{SignedDuration, Timestamp};

use crate::domain::bad_nodes::Avoided;
use crate::domain::ids::{JobKey, RunId, SubmissionId, Token};
use crate::domain::inbox::{ScriptEvent, ScriptEventKind};
use crate::domain::run::{
    Decision, Event, Granted, JobEnd, Phase, Policy, Reason, Run, Sighting, State, step,
};
use crate::domain::units::Seconds;

/// Some moment, and `seconds` after it.
fn t(seconds: i64) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_secs(seconds)
}

fn token(n: u128) -> Token {
    Token::from_bits(n)
}

fn job(n: u64) -> JobKey {
    JobKey { cluster: "main".into(), job: n, array_task: None }
}

/// Restarts are allowed three times, for what the scheduler does to a job and for exit code 75.
fn policy() -> Policy {
    Policy {
        max_restarts: 3,
        restart_on: vec![Reason::Preempted, Reason::NodeFailure],
        restart_exit_codes: vec![75],
        warn_before_end: Seconds(30),
        resume: None,
        backoff: Seconds(60),
        in_doubt_wait: Seconds(60),
        absent_grace: Seconds(300),
        stop_patience: Seconds(30),
        refused_wait: Seconds(60),
        unreachable_wait: Seconds(10),
        settled_after: Seconds(10),
    }
}

fn sighting(phase: Phase) -> Box<Sighting> {
    let (word, ended_at) = match &phase {
        Phase::Waiting { .. } => ("PENDING", None),
        Phase::Running => ("RUNNING", None),
        Phase::Ended { .. } => ("ENDED", Some(t(100))),
        Phase::Unknown => ("EXPEDITING", None),
    };
    let started_at = matches!(phase, Phase::Running | Phase::Ended { .. }).then(|| t(10));
    Box::new(Sighting {
        job: job(7),
        token: token(1),
        phase,
        word: word.into(),
        restart: 0,
        submitted_at: Some(t(-60)),
        eligible_at: Some(t(2)),
        started_at,
        ended_at,
        nodes: if started_at.is_some() { vec!["n1".into()] } else { Vec::new() },
        granted: Granted::default(),
        elapsed_seconds: None,
        digest: None,
    })
}

fn waiting() -> Box<Sighting> {
    sighting(Phase::Waiting { why: None })
}

fn running() -> Box<Sighting> {
    sighting(Phase::Running)
}

fn ended(end: JobEnd, exit_code: i32) -> Box<Sighting> {
    sighting(Phase::Ended { end, exit_code: Some(exit_code), signal: None })
}

/// The same job, started again by the scheduler.
fn restarted(mut sighting: Box<Sighting>, restart: u32) -> Box<Sighting> {
    sighting.restart = restart;
    sighting.submitted_at = Some(t(200));
    sighting
}

/// The scheduler shows a job under a greater restart count, and nobody tells how it ended before.
fn grew(now: Box<Sighting>) -> Event {
    Event::RestartGrew { now, earlier: Vec::new(), told: Vec::new() }
}

fn script(kind: ScriptEventKind) -> ScriptEvent {
    ScriptEvent {
        token: token(1),
        job: job(7),
        index: 0,
        attempt: 1,
        restart: 0,
        event: kind,
        at: t(20).as_second(),
        host: "n1".into(),
        exit_code: None,
        reason: None,
        message: String::new(),
        resumed_from_step: None,
    }
}

fn script_ended(exit_code: i32) -> ScriptEvent {
    ScriptEvent {
        exit_code: Some(exit_code),
        at: t(90).as_second(),
        ..script(ScriptEventKind::Ended)
    }
}

fn admitted(n: i64) -> Event {
    let token = token(u128::try_from(n).expect("small"));
    let avoided = Avoided::default();
    Event::Admitted { submission: SubmissionId(n), token, cluster: "main".into(), avoided }
}

fn acknowledged() -> Event {
    Event::Acknowledged { job: job(7), notices: String::new() }
}

fn cancel() -> Event {
    Event::Cancel { by: "anna".into() }
}

/// A run that went through these events, one a second.
fn after(events: &[Event]) -> Run {
    let mut run = Run::accepted(RunId(42));
    for (second, event) in (0..).zip(events) {
        run = step(&run, event, &policy(), t(second)).run;
    }
    run
}

/// A run in the state, as an ordinary life brings it there.
fn run_in(state: &str) -> Run {
    let submitted = [admitted(1), acknowledged(), Event::Found(waiting())];
    let with = |more: &[Event]| {
        let events: Vec<Event> = submitted.iter().chain(more).cloned().collect();
        after(&events)
    };
    let started = || Event::Found(running());
    let launched = || Event::Script(script(ScriptEventKind::Launched));
    let run = match state {
        "preparing" => Run { state: State::Preparing, ..Run::accepted(RunId(42)) },
        "pending" => after(&[]),
        "submitting" => after(&[admitted(1)]),
        "queued" => with(&[]),
        "running" => with(&[started(), launched()]),
        "finishing" => with(&[started(), launched(), Event::Script(script_ended(0))]),
        "evaluating" => Run { state: State::Evaluating, ..with(&[started()]) },
        "stopping" => with(&[started(), launched(), cancel()]),
        "backoff" => with(&[started(), Event::Found(ended(JobEnd::Preempted, 0))]),
        "completed" => with(&[started(), Event::Found(ended(JobEnd::Completed, 0))]),
        "failed" => with(&[started(), Event::Found(ended(JobEnd::Failed, 3))]),
        "cancelled" => with(&[started(), Event::Found(ended(JobEnd::Cancelled, 0))]),
        other => panic!("no state is called {other}"),
    };
    assert_eq!(run.state.as_str(), state);
    run
}

fn notes(decision: &Decision, kind: &str) -> Vec<String> {
    let of_kind = decision.notes.iter().filter(|note| note.kind == kind);
    of_kind.map(|note| note.message.clone()).collect()
}

#[track_caller]
fn end(run: &Run) -> (&'static str, Option<Reason>, &str) {
    let State::Final { end } = &run.state else { panic!("the run is {}", run.state.as_str()) };
    (end.ending.as_str(), end.reason, end.message.as_str())
}
