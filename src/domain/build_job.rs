//! What becomes of a job that builds an environment.
//!
//! It is submitted as a run is: the intent first, by a token, and an answer that was lost is looked for. It has no claim:
//! a build is the same however often it is done, and two of them meet at the lock of their environment, so that a doubled
//! one costs time and nothing else. What counts is that none is lost and none waited for in vain.

use crate::domain::ids::JobKey;
use crate::domain::run::{Answer, JobEnd, Phase, Sighting};
use crate::domain::units::Seconds;

/// What the scheduler shows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// It was not asked, or gave no answer that can be believed.
    Nothing,
    /// It answers well and knows no such job, for so long.
    Absent(Seconds),
    Jobs(&'a [Sighting]),
}

/// How long an absence is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Of a job of which nobody knows whether it was made.
    pub in_doubt: Seconds,
    /// Of a job that was accepted.
    pub gone: Seconds,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Wait,
    /// The answer was lost, and this is the job.
    Adopt(JobKey),
    /// No job came of it: it is submitted anew.
    Again,
    Over(End),
}

/// How it ended. Whether an environment was built is told by the file that a whole build leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Refused(String),
    Job {
        job: JobKey,
        end: JobEnd,
        /// Slurm's.
        word: String,
    },
    Vanished(JobKey),
}

impl End {
    /// In words, where the build's own say too little: Slurm's `FAILED` says only that there are some.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Refused(message) => Some(format!("the build's job was refused: {message}")),
            Self::Job { end: JobEnd::Failed, .. } => None,
            Self::Job { job, end: JobEnd::TimeLimit, .. } => {
                Some(format!("the build's job {job} reached its time limit"))
            }
            Self::Job { job, word, .. } => Some(format!("the build's job {job} ended as {word}")),
            Self::Vanished(job) => {
                Some(format!("Slurm does not know the build's job {job} any more"))
            }
        }
    }
}

/// What follows from how sbatch answered and what is shown since.
pub fn next(answer: &Answer, shown: Shown<'_>, patience: Patience) -> Next {
    let known = match answer {
        Answer::Refused { message, for_now: false } => {
            return Next::Over(End::Refused(message.clone()));
        }
        Answer::Refused { for_now: true, .. } | Answer::Unreachable { .. } => return Next::Again,
        Answer::Acknowledged { job, .. } => Some(job),
        Answer::Lost { .. } => None,
    };
    match (shown, known) {
        (Shown::Nothing, _) => Next::Wait,
        (Shown::Absent(since), Some(job)) if since >= patience.gone => {
            Next::Over(End::Vanished(job.clone()))
        }
        (Shown::Absent(since), None) if since >= patience.in_doubt => Next::Again,
        (Shown::Absent(_), _) => Next::Wait,
        (Shown::Jobs(jobs), known) => {
            let Some(job) = the_one(jobs, known) else { return Next::Wait };
            match &job.phase {
                Phase::Ended { end: JobEnd::Requeued, .. } | Phase::Unknown => Next::Wait,
                Phase::Ended { end, .. } => {
                    let (job, word) = (job.job.clone(), job.word.clone());
                    Next::Over(End::Job { job, end: *end, word })
                }
                Phase::Waiting { .. } | Phase::Running if known.is_none() => {
                    Next::Adopt(job.job.clone())
                }
                Phase::Waiting { .. } | Phase::Running => Next::Wait,
            }
        }
    }
}

/// The known job as it stands now, else one that is not over: another one waits for the lock that the first has.
fn the_one<'a>(jobs: &'a [Sighting], known: Option<&JobKey>) -> Option<&'a Sighting> {
    let is_over = |job: &Sighting| matches!(job.phase, Phase::Ended { .. });
    let of_known = jobs.iter().filter(|job| known.is_none_or(|known| job.job == *known));
    of_known.max_by_key(|job| (job.restart, !is_over(job)))
}

/// The jobs that are not over.
pub fn alive(jobs: &[Sighting]) -> impl Iterator<Item = &JobKey> {
    let lives = |job: &&Sighting| matches!(job.phase, Phase::Waiting { .. } | Phase::Running);
    jobs.iter().filter(lives).map(|job| &job.job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Token;
    use crate::domain::run::Granted;

    const PATIENCE: Patience = Patience { in_doubt: Seconds(60), gone: Seconds(900) };

    fn job(id: u64) -> JobKey {
        JobKey { cluster: "main".into(), job: id, array_task: None }
    }

    fn sighting(id: u64, phase: Phase) -> Sighting {
        Sighting {
            job: job(id),
            token: Token::from_bits(1),
            phase,
            word: "WORD".into(),
            restart: 0,
            submitted_at: None,
            eligible_at: None,
            started_at: None,
            ended_at: None,
            nodes: Vec::new(),
            granted: Granted::default(),
            elapsed_seconds: None,
            digest: None,
        }
    }

    fn ended(id: u64, end: JobEnd) -> Sighting {
        sighting(id, Phase::Ended { end, exit_code: None, signal: None })
    }

    fn over(id: u64, end: JobEnd) -> Next {
        Next::Over(End::Job { job: job(id), end, word: "WORD".into() })
    }

    #[test]
    fn an_answer_and_what_is_shown_say_what_follows() {
        let acked = Answer::Acknowledged { job: job(7), notices: String::new() };
        let lost = Answer::Lost { message: "timed out".into() };
        let refused = |for_now| Answer::Refused { message: "no".into(), for_now };
        let away = Answer::Unreachable { message: "away".into() };
        let running = [sighting(7, Phase::Running)];
        let waiting = [sighting(7, Phase::Waiting { why: None })];
        let requeued = [ended(7, JobEnd::Requeued), Sighting { restart: 1, ..running[0].clone() }];
        let limit = [ended(7, JobEnd::TimeLimit)];
        let beside = [ended(7, JobEnd::Failed), sighting(8, Phase::Running)];
        let unknown = [sighting(7, Phase::Unknown)];
        let check = |answer: &Answer, shown: Shown<'_>, expected: Next| {
            assert_eq!(next(answer, shown, PATIENCE), expected, "{answer:?} {shown:?}");
        };
        check(&refused(false), Shown::Nothing, Next::Over(End::Refused("no".into())));
        check(&refused(true), Shown::Nothing, Next::Again);
        check(&away, Shown::Nothing, Next::Again);
        for answer in [&acked, &lost] {
            check(answer, Shown::Nothing, Next::Wait);
            check(answer, Shown::Absent(Seconds(0)), Next::Wait);
            check(answer, Shown::Jobs(&limit), over(7, JobEnd::TimeLimit));
            check(answer, Shown::Jobs(&unknown), Next::Wait);
        }
        check(&acked, Shown::Absent(Seconds(60)), Next::Wait);
        check(&acked, Shown::Absent(Seconds(900)), Next::Over(End::Vanished(job(7))));
        check(&lost, Shown::Absent(Seconds(60)), Next::Again);
        check(&acked, Shown::Jobs(&waiting), Next::Wait);
        check(&acked, Shown::Jobs(&running), Next::Wait);
        check(&acked, Shown::Jobs(&requeued), Next::Wait);
        check(&lost, Shown::Jobs(&running), Next::Adopt(job(7)));
        // Only of one whose answer was lost is another one taken.
        check(&acked, Shown::Jobs(&beside), over(7, JobEnd::Failed));
        check(&lost, Shown::Jobs(&beside), Next::Adopt(job(8)));
        check(&acked, Shown::Jobs(&beside[1..]), Next::Wait);
        assert_eq!(alive(&beside).collect::<Vec<_>>(), [&job(8)]);
    }

    #[test]
    fn what_the_log_does_not_say_is_told() {
        let told = |end| End::Job { job: job(7), end, word: "CANCELLED".into() }.told();
        assert_eq!(told(JobEnd::Failed), None);
        assert!(told(JobEnd::TimeLimit).unwrap().contains("main:7 reached its time limit"));
        assert!(told(JobEnd::Cancelled).unwrap().contains("main:7 ended as CANCELLED"));
        assert!(End::Vanished(job(7)).told().unwrap().contains("main:7"));
        assert!(End::Refused("no such class".into()).told().unwrap().contains("no such class"));
    }
}
