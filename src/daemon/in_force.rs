//! The site that the daemon goes by, and how it changes under it: files are looked at now and then, a good change is taken
//! up whole between two passes, and a bad one leaves what was in force.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::budgets;
use crate::daemon::world::World;
use crate::domain::keys::Named;
use crate::domain::resolve::Asker;
use crate::domain::site::Site;
use crate::files::{LoadedSite, SiteStamp};
use crate::ports::{Clock, Hands, Scheduler};
use crate::slurm::{Account, SlurmScheduler};

/// Between looks at the files: three of them cost some microseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Between the two looks that tell, for somebody who waits, whether a file is being written.
const QUIET: Duration = Duration::from_millis(200);

/// How long reading may take: where no file describes a cluster, Slurm is asked about itself.
const READ_PATIENCE: Duration = Duration::from_mins(1);

/// How long whoever hands a run in waits for the files to be looked at.
const NEWS_PATIENCE: Duration = Duration::from_secs(5);

/// What decides about runs from one change of the site to the next.
pub struct InForce {
    pub loaded: LoadedSite,
    /// When the daemon began to go by it.
    pub read_at: Timestamp,
    pub(super) schedulers: HashMap<String, Arc<dyn Scheduler>>,
}

impl InForce {
    pub fn site(&self) -> &Site {
        &self.loaded.site
    }
}

/// Why the files as they are now are not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteTrouble {
    pub since: Timestamp,
    pub why: String,
}

/// What the last look at the files came to.
#[derive(Debug, Clone, Default)]
pub struct SiteNews {
    /// Counts looks that are over and done with, for those who wait for one.
    pub looks: u64,
    pub trouble: Option<SiteTrouble>,
}

/// Why a site cannot be in force, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// For what its files say.
    Faulty(String),
    /// They could not be read, which may pass without a change of them.
    Unread(String),
}

/// The site's files, read as every command reads them.
pub trait SiteFiles: Send + Sync {
    fn stamp(&self) -> SiteStamp;
    fn read(&self) -> Result<LoadedSite, Unusable>;
    /// The daemon's own variables, with those that the site keeps for its Slurm commands.
    fn slurm_variables(&self, site: &Site) -> Vec<(String, String)>;
}

/// Where the site comes from.
#[derive(Clone)]
pub struct SiteSource {
    pub files: Arc<dyn SiteFiles>,
    /// How they looked before they were read.
    pub stamp: SiteStamp,
    /// Has them read again, whether or not they have changed.
    pub reload: Arc<Notify>,
}

/// The schedulers of a site's clusters.
pub(super) fn schedulers(
    site: &Site,
    (hands, clock): (&Arc<dyn Hands>, &Arc<dyn Clock>),
    asker: &Asker,
    variables: &[(String, String)],
) -> HashMap<String, Arc<dyn Scheduler>> {
    let described = site.cluster.iter().flat_map(Named::iter);
    let made = described.map(|(name, settings)| {
        let (hands, clock) = (Arc::clone(hands), Arc::clone(clock));
        let slurm = SlurmScheduler::new(hands, clock, (name, settings), account(asker), variables);
        let slurm: Arc<dyn Scheduler> = Arc::new(slurm);
        (name.to_owned(), slurm)
    });
    made.collect()
}

/// Who Slurm's commands are run for: the daemon's own user.
fn account(asker: &Asker) -> Account {
    let entry = nix::unistd::User::from_uid(asker.uid.into()).ok().flatten();
    let shell = entry.map_or_else(|| "/bin/sh".into(), |entry| entry.shell);
    Account { user: asker.user.clone(), uid: asker.uid, home: asker.home.clone(), shell }
}

/// Looks at the files until the daemon ends. What is read waits in the world for the end of the pass.
pub(super) async fn keep_up(world: Arc<World>, source: SiteSource, shutdown: CancellationToken) {
    let SiteSource { files, stamp, reload } = source;
    let mut timer = tokio::time::interval(LOOK_INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = Seen { known: Some(stamp.clone()), last: stamp };
    loop {
        let wanted = tokio::select! {
            _ = timer.tick() => Wanted::WhenQuiet,
            () = world.site_look.notified() => Wanted::Now,
            () = reload.notified() => Wanted::Anyway,
            () = shutdown.cancelled() => return,
        };
        let stamp = || async {
            let look = Arc::clone(&files);
            world.with_hands(world.paths.state.path(), move |_| Ok(look.stamp())).await.ok()
        };
        // Files that are silent are not held to be changed.
        let Some(is_news) = seen.look(wanted, stamp).await else { continue };
        if is_news {
            let is_read = read(&world, &files).await;
            seen.known = is_read.then(|| seen.last.clone());
        } else if wanted == Wanted::Now && seen.is_known() {
            world.site_news.send_modify(|news| news.looks += 1);
        }
    }
}

/// How much a look is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    WhenQuiet,
    /// Somebody is refused for what the site does not have.
    Now,
    /// The administrator says that there is something to read.
    Anyway,
}

/// How the files looked.
struct Seen<S> {
    /// When they were read; none where that failed, so that it is tried again.
    known: Option<S>,
    /// At the last look.
    last: S,
}

impl<S: Clone + PartialEq> Seen<S> {
    fn is_known(&self) -> bool {
        self.known.as_ref() == Some(&self.last)
    }

    /// Looks at the files, and tells whether they are to be read; none where they do not answer.
    async fn look<F: Future<Output = Option<S>>>(
        &mut self,
        wanted: Wanted,
        stamp: impl Fn() -> F,
    ) -> Option<bool> {
        let mut before = std::mem::replace(&mut self.last, stamp().await?);
        if wanted == Wanted::Now && !self.is_known() {
            tokio::time::sleep(QUIET).await;
            before = std::mem::replace(&mut self.last, stamp().await?);
        }
        // A file that an editor is writing may be sound and half.
        let is_quiet = before == self.last;
        Some(wanted == Wanted::Anyway || (is_quiet && !self.is_known()))
    }
}

/// Reads the files, and tells whether that is what they say: what could not be read may be sound.
async fn read(world: &World, files: &Arc<dyn SiteFiles>) -> bool {
    let reader = Arc::clone(files);
    let place = world.paths.state.path();
    let read = world.with_hands_within(place, READ_PATIENCE, move |_| Ok(reader.read())).await;
    match read.unwrap_or_else(|silence| Err(Unusable::Unread(silence.to_string()))) {
        Ok(site) if site.sources == world.in_force().loaded.sources => {
            info!("the site's files were read again and say what they said");
            world.site_news.send_modify(|news| {
                *news = SiteNews { looks: news.looks + 1, trouble: None };
            });
            true
        }
        Ok(site) => {
            let variables = files.slurm_variables(&site.site);
            tell_of_variables(&site.site, &variables);
            let next = Next { site, variables };
            *world.next_site.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
            world.nudge.notify_one();
            true
        }
        Err(Unusable::Faulty(why)) => {
            tell_of_trouble(world, why);
            true
        }
        Err(Unusable::Unread(why)) => {
            tell_of_trouble(world, why);
            false
        }
    }
}

/// Told once, however often it is tried.
fn tell_of_trouble(world: &World, why: String) {
    world.site_news.send_modify(|news| {
        news.looks += 1;
        if news.trouble.as_ref().is_some_and(|trouble| trouble.why == why) {
            return;
        }
        warn!("the site's files cannot be used, and what they said before stays in force: {why}");
        news.trouble = Some(SiteTrouble { since: world.clock.now(), why });
    });
}

/// What a daemon was not given at its start it cannot give to Slurm's commands.
fn tell_of_variables(site: &Site, variables: &[(String, String)]) {
    let clusters = site.cluster.iter().flat_map(Named::iter);
    for kept in clusters.flat_map(|(_, cluster)| cluster.keep_environment.iter().flatten()) {
        if !variables.iter().any(|(name, _)| *name == kept.value) {
            info!(
                "`keep_environment` names {}, which this daemon was not started with: a later one may have it",
                kept.value
            );
        }
    }
}

/// A site that was read, and waits until nobody decides by the old one.
pub(super) struct Next {
    site: LoadedSite,
    variables: Vec<(String, String)>,
}

/// Goes by what was read, if anything was: between two passes, and all at once.
pub(super) async fn take_up(world: &World) {
    let next = world.next_site.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Next { site, variables }) = next else { return };
    let old = world.in_force();
    let outside = (&world.hands, &world.clock);
    let mut schedulers = schedulers(&site.site, outside, &world.asker, &variables);
    for (name, scheduler) in &old.schedulers {
        // A scheduler knows what it was told, and how often it asked. One whose cluster is gone still has live runs.
        if settings(&old.loaded, name) == settings(&site, name) || !schedulers.contains_key(name) {
            schedulers.insert(name.clone(), Arc::clone(scheduler));
        } else {
            info!(cluster.name = %name, "cluster `{name}` is asked by its new settings from here on");
        }
    }
    let names: Vec<&str> = site.sources.0.iter().map(|source| source.name.as_str()).collect();
    info!("a changed site is in force: {}", names.join(", "));
    budgets::tell_of_periods(&old.loaded.site, &site.site, world.clock.now());
    world.go_by(InForce { loaded: site, read_at: world.clock.now(), schedulers });
    if let Err(error) = budgets::grant(world).await {
        warn!(
            "what the site grants to projects is not entered in the ledger: {}",
            crate::chain(&error)
        );
    }
    world.site_news.send_modify(|news| *news = SiteNews { looks: news.looks + 1, trouble: None });
}

/// A cluster's settings as they are written, wherever in the files they stand.
fn settings(site: &LoadedSite, name: &str) -> Option<serde_json::Value> {
    use crate::domain::document::Node;
    let Node::Table(clusters) = &site.table.get("cluster")?.value else { return None };
    let Node::Table(cluster) = &clusters.get(name)?.value else { return None };
    Some(cluster.canonical())
}

impl World {
    /// Has the files looked at now, and tells whether another site is in force than before.
    pub async fn has_taken_up_a_newer_site(&self) -> bool {
        let before = self.in_force().read_at;
        let mut news = self.site_news.subscribe();
        news.mark_unchanged();
        self.site_look.notify_one();
        let told = tokio::time::timeout(NEWS_PATIENCE, news.changed()).await;
        told.is_ok() && self.in_force().read_at != before
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Looks at files that look like this, one after the other.
    async fn look(seen: &mut Seen<u32>, wanted: Wanted, stamps: &[u32]) -> Option<bool> {
        let stamps = RefCell::new(stamps.iter().copied());
        let is_news = seen.look(wanted, async || stamps.borrow_mut().next()).await;
        assert_eq!(stamps.borrow_mut().next(), None, "all looks were needed");
        is_news
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_not_read_for_who_waits_either() {
        let mut seen = Seen { known: Some(1), last: 1 };
        assert_eq!(look(&mut seen, Wanted::Now, &[1]).await, Some(false));
        // The last look may have been a moment ago.
        assert_eq!(look(&mut seen, Wanted::WhenQuiet, &[2]).await, Some(false));
        assert_eq!(look(&mut seen, Wanted::Now, &[2, 3]).await, Some(false));
        assert!(!seen.is_known());
        assert_eq!(look(&mut seen, Wanted::Now, &[4, 4]).await, Some(true));
        assert_eq!(look(&mut seen, Wanted::Anyway, &[5]).await, Some(true));
        assert_eq!(look(&mut seen, Wanted::WhenQuiet, &[]).await, None);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again() {
        let mut seen = Seen { known: None, last: 1 };
        assert_eq!(look(&mut seen, Wanted::WhenQuiet, &[1]).await, Some(true));
        seen.known = Some(1);
        assert_eq!(look(&mut seen, Wanted::WhenQuiet, &[1]).await, Some(false));
    }
}
