//! What accounting says of attempts that are over, which may come after their run has ended: times, what was granted, and
//! how long they ran. How they ended stays as it was decided.

use crate::domain::run::seen::Sighting;
use crate::domain::run::state::Attempt;

/// The attempts of one submission with what accounting says of its starts.
#[must_use]
pub fn settle(attempts: &[Attempt], records: &[Sighting]) -> Vec<Attempt> {
    let is_of = |record: &&Sighting, attempt: &Attempt| record.job == attempt.job;
    let submitted = |attempt: &Attempt| {
        let same = |record: &&Sighting| record.submitted_at == Some(attempt.submitted_at);
        records.iter().find(|record| is_of(record, attempt) && same(record))
    };
    // What nobody saw being submitted is known by its restart count.
    let counted = |attempt: &Attempt| {
        let same = |record: &&Sighting| {
            let is_anothers =
                attempts.iter().any(|other| record.submitted_at == Some(other.submitted_at));
            record.restart == attempt.restart && !is_anothers
        };
        records.iter().find(|record| is_of(record, attempt) && same(record))
    };
    let settled = |attempt: &Attempt| {
        let record = submitted(attempt).or_else(|| counted(attempt));
        record.and_then(|record| attempt.settled(record)).unwrap_or_else(|| attempt.clone())
    };
    attempts.iter().map(settled).collect()
}

impl Attempt {
    /// With what accounting says of it; none where that is nothing.
    fn settled(&self, record: &Sighting) -> Option<Self> {
        let elapsed = record.elapsed_seconds?;
        // A slurmctld that forgot the start of a job has it recorded as one that never ran, and its script tells otherwise.
        let is_forgotten = elapsed == 0 && self.self_reported && self.started_at.is_some();
        let named = Some(&record.nodes).filter(|nodes| !nodes.is_empty());
        (!is_forgotten).then(|| Self {
            nodes: named.unwrap_or(&self.nodes).clone(),
            granted: record.granted.or(&self.granted),
            elapsed_seconds: Some(elapsed),
            submitted_at: record.submitted_at.unwrap_or(self.submitted_at),
            eligible_at: record.eligible_at.or(self.eligible_at),
            started_at: record.started_at.or(self.started_at),
            ended_at: record.ended_at.or(self.ended_at),
            ..self.clone()
        })
    }
}
