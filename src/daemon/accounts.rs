//! Accounting tells what attempts have used only when they are over, and often later than that their run is over. It is
//! asked in the ordinary look, some seconds later, and again ever more rarely as long as it does not know all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::daemon::world::World;
use crate::domain::ids::{RunId, Token};
use crate::domain::run::{Attempt, Note, Sighting, settle};
use crate::ports::{Asked, Wants};
use crate::store::{Account, Next, StoreError};

/// Runs that are asked about in one look.
const RUNS_MAX: u32 = 500;

/// From one question to the next, as long as something is missing; then it is given up.
const WAITS: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(48),
    SignedDuration::from_hours(96),
];

/// From a question that nobody has answered to the next.
const SILENT_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Until the next pass while somebody is to be asked about.
const SOON: Duration = Duration::from_secs(5);

/// What was told of one submission; none where accounting was silent.
pub(super) type Told = (Account, Option<Vec<Sighting>>);

/// Whom accounting is to be asked about now.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) accounts: Vec<Account>,
    /// Until somebody else is to be asked about.
    pub(super) next_in: Option<Duration>,
}

impl Due {
    /// Clusters without accounting are not asked.
    pub(super) async fn of(world: &World) -> Result<Self, StoreError> {
        let now = world.clock.now();
        let (accounts, next) = world.store.accounts_due(RUNS_MAX, now).await?;
        let is_told = |account: &Account| {
            let scheduler = world.scheduler(&account.cluster);
            scheduler.is_some_and(|scheduler| scheduler.keeps_accounts())
        };
        let (accounts, untold): (Vec<_>, Vec<_>) = accounts.into_iter().partition(is_told);
        let asked: BTreeSet<RunId> = accounts.iter().map(|account| account.run).collect();
        let untold: BTreeSet<RunId> = untold.into_iter().map(|account| account.run).collect();
        for run in untold.difference(&asked) {
            world.store.accounts_told(*run, (Vec::new(), Vec::new()), (Next::Never, now)).await?;
        }
        let next_in = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        // The scheduler may have to be asked later, and who is told may be asked again.
        let next_in = if accounts.is_empty() { next_in } else { Some(SOON) };
        Ok(Self { accounts, next_in })
    }

    /// What the schedulers are asked about them.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&Account, Asked)> {
        self.accounts.iter().filter_map(|account| {
            let asked = Asked {
                submission: account.submission,
                token: account.token.clone(),
                job: Some(account.attempts.first()?.job.clone()),
                intent_at: account.intent_at,
                wants: Wants::Accounts,
                eager: false,
                unseen: false,
                provisional: false,
                restart: 0,
                submitted_at: None,
                shown: None,
            };
            Some((account, asked))
        })
    }

    /// What was told of those of a cluster that were `asked` about. Of those in `unsure` nobody has said anything.
    pub(super) fn told(
        &self,
        cluster: &str,
        (asked, unsure): (&BTreeSet<Token>, &BTreeSet<Token>),
        found: &mut HashMap<String, Vec<Sighting>>,
    ) -> Vec<Told> {
        let was_asked =
            |account: &&Account| account.cluster == cluster && asked.contains(&account.token);
        let told = |account: &Account| {
            let records = found.remove(account.token.as_str()).unwrap_or_default();
            let is_heard = !unsure.contains(&account.token);
            (account.clone(), is_heard.then_some(records))
        };
        self.accounts.iter().filter(was_asked).map(told).collect()
    }
}

/// Records what was told. Nobody is told of the same run twice at a time: this is part of the pass.
pub(super) async fn record(world: &Arc<World>, told: Vec<Told>) -> Result<(), StoreError> {
    let mut by_run: BTreeMap<RunId, Vec<Told>> = BTreeMap::new();
    for told in told {
        by_run.entry(told.0.run).or_default().push(told);
    }
    let now = world.clock.now();
    for (run, told) in by_run {
        let tries = told.iter().map(|(account, _)| account.tries).max().unwrap_or(0);
        let is_heard = told.iter().all(|(_, records)| records.is_some());
        let (mut mended, mut notes, mut is_whole) = (Vec::new(), Vec::new(), true);
        for (account, records) in told {
            let settled = settle(&account.attempts, &records.unwrap_or_default());
            is_whole &= settled.iter().all(|attempt| attempt.elapsed_seconds.is_some());
            for (before, after) in account.attempts.iter().zip(settled) {
                notes.extend(differs(before, &after));
                mended.extend((*before != after).then_some(after));
            }
        }
        let next = if is_heard { next(is_whole, tries, now) } else { unheard(now) };
        if !is_whole && next == Next::Never {
            warn!(
                run.id = run.0,
                "accounting does not know what run {run} used: it is not asked again"
            );
        }
        for note in &notes {
            info!(run.id = run.0, "run {run}: {}", note.message);
        }
        let has_changed = !mended.is_empty();
        world.store.accounts_told(run, (mended, notes), (next, now)).await?;
        if has_changed {
            world.changed();
        }
    }
    Ok(())
}

/// When accounting is to be asked again, after it was asked so often and has answered.
fn next(is_whole: bool, tries: u32, now: Timestamp) -> Next {
    let wait = usize::try_from(tries).ok().and_then(|tries| WAITS.get(tries));
    let at = |wait: &SignedDuration| Next::At(now.saturating_add(*wait).unwrap_or(now));
    wait.filter(|_| !is_whole).map_or(Next::Never, at)
}

/// While accounting is down nothing is given up, and nothing is asked at every look.
fn unheard(now: Timestamp) -> Next {
    Next::Unheard(now.saturating_add(SILENT_WAIT).unwrap_or(now))
}

/// What accounting counts otherwise than was known, in words for the run's history.
fn differs(before: &Attempt, after: &Attempt) -> Option<Note> {
    let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| -> i64 {
        from.zip(to).map_or(0, |(from, to)| to.duration_since(from).as_secs())
    };
    let known = seconds(before.started_at, before.ended_at);
    let counted = i64::try_from(after.elapsed_seconds?).unwrap_or(i64::MAX);
    let message = format!(
        "accounting counts {counted} s for attempt {}, where {known} s were known",
        after.n
    );
    (known != counted && before.elapsed_seconds.is_none())
        .then(|| Note { kind: "accounted".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_of_accounting_is_no_answer() {
        let account = |n: i64| Account {
            run: RunId(n),
            submission: crate::domain::ids::SubmissionId(n),
            cluster: "main".into(),
            token: Token::from_bits(n.unsigned_abs().into()),
            intent_at: Timestamp::UNIX_EPOCH,
            attempts: Vec::new(),
            tries: 8,
        };
        let due = Due { accounts: [1, 2, 3].map(account).to_vec(), next_in: None };
        let asked = BTreeSet::from([Token::from_bits(1), Token::from_bits(2)]);
        let unsure = BTreeSet::from([Token::from_bits(2)]);
        let told = due.told("main", (&asked, &unsure), &mut HashMap::new());
        assert_eq!(told, [(account(1), Some(Vec::new())), (account(2), None)]);
        assert_eq!(due.told("other", (&asked, &unsure), &mut HashMap::new()), []);
    }

    #[test]
    fn accounting_is_asked_ever_more_rarely_and_then_given_up() {
        let now = Timestamp::UNIX_EPOCH;
        let hours = |hours| Next::At(now + SignedDuration::from_hours(hours));
        assert_eq!(next(false, 4, now), hours(1));
        assert_eq!(next(false, 8, now), hours(96));
        assert_eq!(next(false, 9, now), Next::Never);
        assert_eq!(next(true, 0, now), Next::Never);
    }
}
