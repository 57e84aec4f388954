//! Whether an answer of squeue can be whole. slurmctld shows a job until `MinJobAge` after its end, so a job that it had a
//! moment ago and does not show now bears witness that something is missing, whatever the exit code says.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::domain::ids::Token;
use crate::domain::run::{Phase, Sighting};
use crate::domain::units::Seconds;
use crate::ports::Asked;
use crate::slurm::poll::SETTLED_SECONDS;

/// A job that was there before is believed to be gone after this all the same: slurmctld may have lost its memory.
const BELIEVED_MAX: Seconds = Seconds(15 * 60);

/// What slurmctld's default is, where it does not say for how long it remembers.
const REMEMBERED: Seconds = Seconds(300);

/// The jobs that squeue has shown alive. A cache: without it an answer is only believed sooner.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    seen: HashMap<Token, Seen>,
}

/// When a job was shown last, and whether slurmctld had saved it by then, so that it knows it after a restart too.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    is_saved: bool,
}

/// A job that an answer would show if it were whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed<'a> {
    pub(super) asked: &'a Asked,
    /// If not, a slurmctld that was started again may have forgotten it.
    pub(super) is_saved: bool,
}

impl Witnesses {
    /// Of what an answer does not show, what has to be there; best a job that was saved. `remembered` is the cluster's
    /// `MinJobAge`.
    pub(super) fn against<'a>(
        &self,
        missing: impl Iterator<Item = &'a Asked>,
        remembered: Option<Seconds>,
        (now, clock): (Instant, Timestamp),
    ) -> Option<Missed<'a>> {
        let remembered = remembered.unwrap_or(REMEMBERED).min(BELIEVED_MAX);
        let remembered = Duration::from_secs(remembered.0);
        let missed = missing.filter(|asked| asked.job.is_some()).filter_map(|asked| {
            let (age, is_saved) = match self.seen.get(&asked.token) {
                Some(seen) => (now.duration_since(seen.at), seen.is_saved),
                // sbatch has given its id, and slurmctld had it then.
                None if asked.unseen => {
                    (clock.duration_since(asked.intent_at).try_into().ok()?, false)
                }
                None => return None,
            };
            (age < remembered).then_some(Missed { asked, is_saved })
        });
        missed.max_by_key(|missed| missed.is_saved)
    }

    /// An answer has shown these, as news.
    pub(super) fn heard<'a>(
        &mut self,
        shown: impl Iterator<Item = &'a Sighting>,
        (now, clock): (Instant, Timestamp),
    ) {
        for sighting in shown {
            // A task that waits with others leaves no trace when it is cancelled.
            let may_vanish = sighting.token.index().is_some() && sighting.phase != Phase::Running;
            if may_vanish {
                self.seen.remove(&sighting.token);
            } else if matches!(sighting.phase, Phase::Waiting { .. } | Phase::Running) {
                let is_saved = is_settled(sighting.submitted_at, clock);
                self.seen.insert(sighting.token.clone(), Seen { at: now, is_saved });
            } else {
                self.seen.remove(&sighting.token);
            }
        }
        let oldest = Duration::from_secs(BELIEVED_MAX.0);
        self.seen.retain(|_, seen| now.duration_since(seen.at) < oldest);
    }

    /// Of these an answer has shown what was shown before.
    pub(super) fn same<'a>(
        &mut self,
        asked: impl Iterator<Item = &'a Asked>,
        (now, clock): (Instant, Timestamp),
    ) {
        for asked in asked {
            if let Some(seen) = self.seen.get_mut(&asked.token) {
                seen.at = now;
                seen.is_saved |= is_settled(asked.submitted_at, clock);
            }
        }
    }
}

/// Whether slurmctld has saved a job that was submitted then.
fn is_settled(submitted: Option<Timestamp>, clock: Timestamp) -> bool {
    let settled = SignedDuration::from_secs(SETTLED_SECONDS.into());
    submitted.is_some_and(|then| clock.duration_since(then) >= settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;
    use crate::domain::run::{Granted, JobEnd};
    use crate::ports::Wants;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_239_000 + second).unwrap()
    }

    /// Job 1 as squeue shows it.
    fn shown(phase: Phase, submitted: i64) -> Sighting {
        Sighting {
            job: "main:1".parse().unwrap(),
            token: Token::from_bits(1),
            phase,
            word: "WORD".into(),
            restart: 0,
            submitted_at: Some(at(submitted)),
            eligible_at: None,
            started_at: None,
            ended_at: None,
            nodes: Vec::new(),
            granted: Granted::default(),
            elapsed_seconds: None,
            digest: None,
        }
    }

    /// Job 1, or a submission in doubt.
    fn asked(job: Option<&str>, unseen: bool) -> Asked {
        Asked {
            submission: SubmissionId(1),
            token: Token::from_bits(1),
            job: job.map(|job| job.parse().unwrap()),
            intent_at: at(95),
            wants: Wants::News,
            eager: false,
            unseen,
            provisional: true,
            restart: 0,
            submitted_at: Some(at(95)),
            shown: None,
        }
    }

    /// Whether job 1 is missed so many seconds after 100 s, when it was shown like this, and whether it was saved then.
    fn missed(sightings: &[Sighting], remembered: Option<u64>, later: u64) -> Option<bool> {
        let (now, mut witnesses) = (Instant::now(), Witnesses::default());
        for sighting in sightings {
            witnesses.heard(std::iter::once(sighting), (now, at(100)));
        }
        let asked = asked(Some("main:1"), false);
        let then = (now + Duration::from_secs(later), at(100));
        let missed = witnesses.against(std::iter::once(&asked), remembered.map(Seconds), then);
        missed.map(|missed| missed.is_saved)
    }

    #[test]
    fn a_job_that_lived_a_moment_ago_has_to_be_shown() {
        let ended = Phase::Ended { end: JobEnd::Completed, exit_code: Some(0), signal: None };
        let running = || shown(Phase::Running, 0);
        assert_eq!(missed(&[running()], Some(30), 29), Some(true));
        assert_eq!(missed(&[running()], Some(30), 30), None, "it may have ended and be forgotten");
        assert_eq!(missed(&[shown(Phase::Waiting { why: None }, 0)], Some(30), 29), Some(true));
        assert_eq!(missed(&[running()], None, 299), Some(true));
        assert_eq!(missed(&[running()], Some(86_400), 15 * 60), None, "not for ever");
        assert_eq!(missed(&[shown(Phase::Running, 95)], Some(30), 1), Some(false));
        assert_eq!(missed(&[running(), shown(ended, 0)], Some(30), 1), None, "it is over");
        assert_eq!(missed(&[shown(Phase::Unknown, 0)], Some(30), 1), None);
        assert_eq!(missed(&[], Some(30), 1), None);
    }

    #[test]
    fn a_job_grows_old_while_the_same_is_shown_of_it() {
        let (now, mut witnesses) = (Instant::now(), Witnesses::default());
        let (known, later) = (asked(Some("main:1"), false), now + Duration::from_secs(20));
        witnesses.heard(std::iter::once(&shown(Phase::Running, 95)), (now, at(100)));
        witnesses.same(std::iter::once(&known), (later, at(120)));
        let then = (later + Duration::from_secs(29), at(149));
        let missed = witnesses.against(std::iter::once(&known), Some(Seconds(30)), then);
        assert_eq!(missed, Some(Missed { asked: &known, is_saved: true }));
    }

    #[test]
    fn a_job_whose_id_sbatch_gave_is_there_and_one_in_doubt_need_not_be() {
        let witnesses = Witnesses::default();
        let missed = |asked: &Asked, clock| {
            let moment = (Instant::now(), at(clock));
            witnesses.against(std::iter::once(asked), Some(Seconds(30)), moment).is_some()
        };
        let acknowledged = asked(Some("main:1"), true);
        assert!(missed(&acknowledged, 124) && !missed(&acknowledged, 125));
        assert!(!missed(&acknowledged, 90), "a clock that was set back says nothing");
        assert!(!missed(&asked(None, true), 100));
        // The daemon was started again: nobody remembers when it was shown last.
        assert!(!missed(&asked(Some("main:1"), false), 100));
    }
}
