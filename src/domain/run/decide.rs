//! From everything seen in one pass to one decision.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::JobKey;
use crate::domain::inbox::ScriptEvent;
use crate::domain::run::decision::Decision;
use crate::domain::run::nodes::name_failed;
use crate::domain::run::policy::Policy;
use crate::domain::run::seen::{
    Answer, Event, Look, Phase, Preparation, Revocation, Seen, Sighting, WishKind,
};
use crate::domain::run::state::{Run, State};
use crate::domain::run::step::step;
use crate::domain::units::Seconds;

/// Decides what happens to `run` next. Pure and total.
///
/// The order matters: what the scheduler and the script said comes before what people want, so that a run that had
/// ended before it was cancelled keeps its end.
#[must_use]
pub fn decide(run: &Run, seen: &Seen, policy: &Policy, now: Timestamp) -> Decision {
    let mut total = Decision::stay(run);
    let apply = |total: &mut Decision, event: Event| {
        let Decision { run, closed, acts, notes } = step(&total.run, &event, policy, now);
        total.run = run;
        total.closed.extend(closed);
        total.acts.extend(acts);
        total.notes.extend(notes);
    };
    let (told, unseen) = told(run, seen);
    for event in told {
        apply(&mut total, event);
    }
    for event in looked(&total.run, (seen, &unseen), policy, now) {
        apply(&mut total, event);
    }
    // Where it is not clear whose job the one beside them is, none of them is known to be in the way.
    let is_unclear = match &seen.look {
        Look::Job(sighting) => may_be_another(&total.run, sighting),
        Look::Silence { .. } => true,
        Look::NotAsked | Look::Absent => false,
    };
    for twin in seen.twins.iter().filter(|_| !is_unclear) {
        apply(&mut total, Event::Twin(Box::new(twin.clone())));
    }
    for wish in &seen.wishes {
        let by = wish.by.clone();
        apply(
            &mut total,
            match wish.kind {
                WishKind::Cancel => Event::Cancel { by },
                WishKind::Resume => Event::Resume { by, from: None },
            },
        );
    }
    if total.run.is_due(policy, now) {
        apply(&mut total, Event::TimerDue);
    }
    name_hardware(name_failed(total, run, &seen.unwell_nodes), seen)
}

/// Says what the nodes of the attempts are that are shown on them for the first time.
fn name_hardware(mut decision: Decision, seen: &Seen) -> Decision {
    for attempt in decision.closed.iter_mut().chain(&mut decision.run.attempt) {
        if let Some(hardware) = seen.hardware.get(&attempt.nodes) {
            attempt.hardware.get_or_insert_with(|| hardware.clone());
        }
    }
    decision
}

/// What was told about the run, in the order it must have happened; and what its script said in starts that the scheduler
/// tells of only now.
fn told(run: &Run, seen: &Seen) -> (Vec<Event>, Vec<ScriptEvent>) {
    let mut events = Vec::new();
    match &seen.preparation {
        Some(Preparation::Built) => events.push(Event::Prepared),
        Some(Preparation::Failed { message }) => {
            events.push(Event::PreparationFailed { message: message.clone() });
        }
        None => {}
    }
    if seen.orphaned {
        events.push(Event::Orphaned);
    }
    match &seen.answer {
        Some(Answer::Acknowledged { job, notices }) => {
            events.push(Event::Acknowledged { job: job.clone(), notices: notices.clone() });
        }
        Some(Answer::Refused { message, for_now }) => {
            events.push(Event::Refused { message: message.clone(), for_now: *for_now });
        }
        Some(Answer::Unreachable { message }) => {
            events.push(Event::Unreachable { message: message.clone() });
        }
        Some(Answer::Lost { message }) => {
            events.push(Event::AnswerLost { message: message.clone() });
        }
        None => {}
    }
    match &seen.revocation {
        Some(Revocation::Won) => events.push(Event::Revoked),
        Some(Revocation::ClaimedBy(job)) => events.push(Event::ClaimedBy(job.clone())),
        None => {}
    }
    let grown = match &seen.look {
        Look::Job(sighting) => Some(sighting).filter(|it| it.restart > run.known_restart()),
        Look::NotAsked | Look::Silence { .. } | Look::Absent => None,
    };
    let is_unseen = |event: &ScriptEvent| {
        grown.is_some_and(|it| it.job == event.job && event.restart > run.known_restart())
    };
    let (unseen, heard): (Vec<_>, Vec<_>) = seen.script.iter().cloned().partition(is_unseen);
    events.extend(heard.into_iter().map(Event::Script));
    events.extend(seen.saved.iter().cloned().map(Event::Saved));
    (events, unseen)
}

/// What the scheduler's answer comes to for this run.
fn looked(
    run: &Run,
    (seen, unseen): (&Seen, &[ScriptEvent]),
    policy: &Policy,
    now: Timestamp,
) -> Vec<Event> {
    match &seen.look {
        Look::NotAsked => vec![],
        Look::Silence { who } => vec![Event::Silence { who: who.clone() }],
        Look::Absent => {
            // Only a job that is waited for can be missed.
            let awaited = run.attempt.as_ref().filter(|_| run.awaits_job());
            let since = awaited.and_then(|attempt| attempt.absent_since);
            let past = since.is_some_and(|since| after(since, grace(run, policy)) <= now);
            let marker = seen.marker.clone();
            vec![if past { Event::AbsentPastGrace { marker } } else { Event::Absent }]
        }
        Look::Job(sighting) if is_another(run, sighting, seen) => vec![Event::Absent],
        Look::Job(sighting) if may_be_another(run, sighting) => vec![],
        Look::Job(sighting) => shown(run, sighting, (seen, unseen)),
    }
}

/// The run's job is shown.
fn shown(run: &Run, sighting: &Sighting, (seen, unseen): (&Seen, &[ScriptEvent])) -> Vec<Event> {
    let is_said =
        |marker: &&ScriptEvent| marker.job == sighting.job && marker.restart >= sighting.restart;
    let said = seen.marker.as_ref().filter(is_said);
    // Accounting may lack the record of a start, and count the ones that came after it one too few.
    let restart = said.map_or(sighting.restart, |marker| marker.restart);
    let sighting = Sighting { restart, ..sighting.clone() };
    let (own, told): (Vec<_>, Vec<_>) =
        unseen.iter().cloned().partition(|event| event.restart == restart);
    let mut said: Vec<Event> = own.into_iter().chain(said.cloned()).map(Event::Script).collect();
    let grew = |now: Sighting| Event::RestartGrew {
        now: Box::new(now),
        earlier: seen.earlier.clone(),
        told,
    };
    match restart.cmp(&run.known_restart()) {
        Ordering::Greater if said.is_empty() => vec![grew(sighting)],
        // What its script said in that start is heard before the scheduler is, so the start comes first.
        Ordering::Greater => {
            let mut events = vec![grew(Sighting { phase: Phase::Running, ..sighting.clone() })];
            events.append(&mut said);
            events.push(Event::Found(Box::new(sighting)));
            events
        }
        Ordering::Equal => {
            said.push(Event::Found(Box::new(sighting)));
            said
        }
        // An older record of a job that was requeued since is no news.
        Ordering::Less => vec![],
    }
}

/// Whether the job that is shown is not the run's, as the claim or the script have just told, and not known to live: then
/// how it ended is no news of the run's own, which is not shown.
fn is_another(run: &Run, sighting: &Sighting, seen: &Seen) -> bool {
    let known = run.submission.as_ref().and_then(|submission| submission.job.as_ref());
    let is_missed =
        |known: &JobKey| *known != sighting.job && seen.twins.iter().all(|t| t.job != *known);
    known.is_some_and(is_missed) && matches!(sighting.phase, Phase::Ended { .. } | Phase::Unknown)
}

/// Whether only a word that nobody knows is shown of another job than the run's: it may live or not, and nothing is concluded.
fn may_be_another(run: &Run, sighting: &Sighting) -> bool {
    let known = run.submission.as_ref().and_then(|submission| submission.job.as_ref());
    known.is_some_and(|known| *known != sighting.job) && sighting.phase == Phase::Unknown
}

/// How long good answers may not know the run's job. One that slurmctld may never have saved is asked for as a lost answer
/// is: twice. If it had started, nodes are told to end it as soon as they report to a slurmctld that does not know it, which
/// is what they do first; they are left time for that.
fn grace(run: &Run, policy: &Policy) -> Seconds {
    const NODES_HAVE_REPORTED: Seconds = Seconds(60);
    let twice = Seconds(policy.in_doubt_wait.0.saturating_mul(2));
    match run.state {
        State::Queued { .. } if run.is_provisional() => policy.in_doubt_wait,
        State::Running | State::Finishing if run.is_provisional() => {
            policy.absent_grace.min(twice.max(NODES_HAVE_REPORTED))
        }
        State::Preparing
        | State::Pending { .. }
        | State::Submitting { .. }
        | State::Queued { .. }
        | State::Running
        | State::Finishing
        | State::Evaluating
        | State::Stopping { .. }
        | State::Backoff { .. }
        | State::Final { .. } => policy.absent_grace,
    }
}

/// The moment `wait` after `at`.
pub(super) fn after(at: Timestamp, wait: Seconds) -> Timestamp {
    let wait = SignedDuration::from_secs(i64::try_from(wait.0).unwrap_or(i64::MAX));
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
