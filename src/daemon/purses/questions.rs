//! Questions for what accounts use, each in a task of its own: one that takes long is not asked again, but heard later.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::daemon::purses::{ABSENT, Payer, rooms};
use crate::daemon::world::World;
use crate::domain::ledger::{Account, AccountFigures, Purse, Resource};
use crate::ports::Silence;
use crate::store::StoreError;

/// A question to a cluster that is under way.
pub(super) struct Question {
    accounts: BTreeSet<String>,
    asked_at: Timestamp,
    task: JoinHandle<Result<Option<AccountFigures>, Silence>>,
    /// Nobody waits for it any longer than that.
    until: tokio::time::Instant,
    is_late: bool,
}

pub(super) fn ask(world: &World, cluster: &str, accounts: BTreeSet<String>) -> Question {
    let (scheduler, asked, who) = (world.scheduler(cluster), accounts.clone(), cluster.to_owned());
    let task = tokio::spawn(async move {
        let Some(scheduler) = scheduler else {
            let why = "this cluster is not in the site config any more".to_owned();
            return Err(Silence { who, why });
        };
        scheduler.figures(&asked).await
    });
    let until = tokio::time::Instant::now() + world.look_patience;
    Question { accounts, asked_at: world.clock.now(), task, until, is_late: false }
}

/// Takes what was answered, as far as it comes within the world's patience. What does not is left under way.
pub(super) async fn hear(
    world: &World,
    questions: &mut BTreeMap<String, Question>,
) -> Result<(), StoreError> {
    for cluster in questions.keys().cloned().collect::<Vec<String>>() {
        let Some(question) = questions.get_mut(&cluster) else { continue };
        let answer = match tokio::time::timeout_at(question.until, &mut question.task).await {
            Ok(Ok(answer)) => answer.map_err(|silence| silence.to_string()),
            Ok(Err(error)) => Err(format!("the question broke off: {error}")),
            Err(_) => {
                if !std::mem::replace(&mut question.is_late, true) {
                    let why = Err("it has not answered in time".to_owned());
                    take(world, (&cluster, &question.accounts), &why).await?;
                }
                continue;
            }
        };
        let Some(Question { accounts, asked_at, .. }) = questions.remove(&cluster) else {
            continue;
        };
        let told = match answer {
            // It is asked soon.
            Ok(None) => continue,
            Ok(Some(told)) => Ok(told),
            Err(why) => Err(why),
        };
        world.purses.known().asked_at.insert(cluster.clone(), asked_at);
        take(world, (&cluster, &accounts), &told).await?;
    }
    Ok(())
}

/// Takes up what a cluster told of the accounts that it was asked about.
async fn take(
    world: &World,
    (cluster, accounts): (&str, &BTreeSet<String>),
    told: &Result<AccountFigures, String>,
) -> Result<(), StoreError> {
    if let Err(why) = told {
        warn!(cluster.name = cluster, "nobody tells what Slurm's accounts have left: {why}");
    }
    let is_asked = |purse: &Purse| purse.cluster == cluster && accounts.contains(&purse.account);
    let payers: Vec<Payer> = {
        let known = world.purses.known();
        known.payers.iter().filter(|(_, purse)| is_asked(purse)).cloned().collect()
    };
    for (project, purse) in payers {
        let why = match told.as_ref().map(|told| told.get(&purse.account)) {
            Ok(Some(Ok(figures))) => {
                let rooms = rooms(world, (&project, &purse), figures).await?;
                let mut known = world.purses.known();
                known.silences.remove(&purse);
                known.rooms.extend(rooms);
                continue;
            }
            Ok(Some(Err(why))) => why.clone(),
            Ok(None) => ABSENT.to_owned(),
            // What it told before counts for a while.
            Err(why) => {
                world.purses.known().silences.insert(purse, why.clone());
                continue;
            }
        };
        let mut known = world.purses.known();
        for counted in Resource::ALL {
            known.rooms.remove(&Account::by_slurm(&project, &purse, counted));
        }
        known.silences.insert(purse, why);
    }
    Ok(())
}
