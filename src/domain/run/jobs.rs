//! From everything that a scheduler shows of one submission to what is seen of its run: the run's job, the starts of it
//! that are over, and jobs that are in the way.

use crate::domain::ids::JobKey;
use crate::domain::run::claim::Claim;
use crate::domain::run::seen::{Look, Phase, Revocation, Seen, Sighting};
use crate::domain::run::state::{Run, State};

/// Whether another job than the run's is among these, or it is not known which one that is. Then who owns the claim decides,
/// and has to be looked up.
pub fn has_others(sightings: &[Sighting], known: Option<&JobKey>) -> bool {
    sightings.iter().any(|sighting| known != Some(&sighting.job))
}

/// Whether the run's job is over, and nobody has said that it was the owner of the claim: that may be a job which was never
/// seen. Then, too, it has to be looked up.
pub fn is_end_of_anybody(sightings: &[Sighting], claim: Claim) -> bool {
    claim != Claim::Owned
        && sightings.iter().any(|sighting| matches!(sighting.phase, Phase::Ended { .. }))
}

/// Whether none of these is the run's job, and none is known to live: then that job is what is missed. The others were
/// cancelled by us, or gave way.
pub fn are_of_others(sightings: &[Sighting], known: Option<&JobKey>) -> bool {
    let is_others = |sighting: &Sighting| {
        known.is_some_and(|known| *known != sighting.job) && is_not_known_to_live(&sighting.phase)
    };
    sightings.iter().all(is_others)
}

/// The attempt whose job was ended from outside, as the look shows, while its script was not heard to end: it may have done
/// so before, and its exit marker has to be looked up.
pub fn unheard_end(run: &Run, look: &Look) -> Option<u32> {
    let Look::Job(sighting) = look else { return None };
    let Phase::Ended { end, .. } = sighting.phase else { return None };
    let n = run.submission.as_ref()?.attempt_base.checked_add(sighting.restart)?;
    let attempt = run.attempt.as_ref().filter(|attempt| attempt.n == n);
    // What was heard may be that another job of the submission gave way to this one, or of a start before.
    let told = attempt.and_then(|attempt| attempt.script_end.as_ref());
    let is_heard = told.is_some_and(|told| told.job == sighting.job && told.exit_code == Some(0));
    let is_wished = matches!(run.state, State::Stopping { .. });
    let decides = run.state.depends_on_scheduler() && !is_wished && !is_heard;
    (end.is_from_outside() && decides).then_some(n)
}

/// Puts the sightings of one submission into `seen`. The run's job is the one that owns the claim, else one that runs, else
/// the oldest that waits, else the one that was the run's: `known`. `owner` is the owner where it was looked up; if it is not
/// shown, it is what is missed, and all that is shown is beside it.
pub fn sort_out(
    mut sightings: Vec<Sighting>,
    owner: Option<&JobKey>,
    known: Option<&JobKey>,
    seen: &mut Seen,
) {
    if let Some(owner) = owner.filter(|owner| sightings.iter().all(|shown| shown.job != **owner)) {
        seen.look = Look::Absent;
        seen.revocation = Some(Revocation::ClaimedBy(owner.clone()));
        seen.twins = sightings;
        return;
    }
    sightings.sort_by_key(|sighting| {
        (
            owner != Some(&sighting.job),
            standing(&sighting.phase),
            // Where none is known to live, the others were cancelled by us.
            is_not_known_to_live(&sighting.phase) && known != Some(&sighting.job),
            sighting.submitted_at,
            sighting.job.clone(),
        )
    });
    let Some(job) = sightings.first().map(|first| first.job.clone()) else { return };
    let (mut starts, twins): (Vec<_>, Vec<_>) =
        sightings.into_iter().partition(|sighting| sighting.job == job);
    starts.sort_by_key(|start| start.restart);
    if let Some(newest) = starts.pop() {
        seen.look = Look::Job(Box::new(newest));
    }
    seen.earlier = starts;
    seen.twins = twins;
}

fn standing(phase: &Phase) -> u8 {
    match phase {
        Phase::Running => 0,
        Phase::Waiting { .. } => 1,
        // It may live: nothing is concluded from another's end beside it.
        Phase::Unknown => 2,
        Phase::Ended { .. } => 3,
    }
}

fn is_not_known_to_live(phase: &Phase) -> bool {
    matches!(phase, Phase::Unknown | Phase::Ended { .. })
}
