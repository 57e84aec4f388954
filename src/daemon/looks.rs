//! Looks at schedulers, each in a task of its own: a controller that is frozen for half a minute holds up its own runs only.
//!
//! What answers at once is heard in the same pass. What does not is heard by a later one, which its answer wakes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tracing::error;

use crate::daemon::world::World;
use crate::domain::ids::Token;
use crate::ports::{Asked, LookAnswer, Silence};

/// What came of one look.
pub(super) struct Answered {
    pub(super) cluster: String,
    /// What was asked for; nothing is said about others.
    pub(super) asked: BTreeSet<Token>,
    pub(super) asked_at: Timestamp,
    pub(super) answer: Result<LookAnswer, Silence>,
}

/// The looks that are under way, by cluster: one each.
#[derive(Default)]
pub(super) struct Looks {
    under_way: Mutex<HashMap<String, JoinHandle<Answered>>>,
}

impl Looks {
    /// Looks at every cluster, unless a look at it is under way, and gives the answers that come within the world's patience.
    pub(super) async fn all(
        &self,
        world: &Arc<World>,
        asked: BTreeMap<&str, Vec<Asked>>,
    ) -> Vec<Answered> {
        let mut looks = std::mem::take(&mut *self.lock());
        for (cluster, asked) in asked {
            looks.entry(cluster.to_owned()).or_insert_with(|| {
                let (world, cluster) = (Arc::clone(world), cluster.to_owned());
                tokio::spawn(async move { look(&world, cluster, asked).await })
            });
        }
        let until = tokio::time::Instant::now() + world.look_patience;
        let mut answered = Vec::new();
        for (cluster, mut task) in looks {
            match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(answer)) => answered.push(answer),
                Ok(Err(error)) => error!("a look at cluster `{cluster}` broke off: {error}"),
                Err(_) => drop(self.lock().insert(cluster, task)),
            }
        }
        answered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, JoinHandle<Answered>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(world: &World, cluster: String, asked: Vec<Asked>) -> Answered {
    let (asked_at, until) = (world.clock.now(), tokio::time::Instant::now() + world.look_patience);
    let answer = match world.scheduler(&cluster) {
        Some(scheduler) => scheduler.look(&asked).await,
        None => Err(Silence {
            who: cluster.clone(),
            why: "this cluster is not in the site config any more".into(),
        }),
    };
    let asked = asked.into_iter().map(|asked| asked.token).collect();
    if tokio::time::Instant::now() >= until {
        // The pass that asked has gone on.
        world.nudge.notify_one();
    }
    Answered { cluster, asked, asked_at, answer }
}
