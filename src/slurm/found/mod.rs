//! The Slurm that is simply there: a site config for a cluster that no site file describes.
//!
//! [`WhichSlurm`] says which one is meant, [`answers`] reads what it says about itself, and [`classes`] makes hardware
//! classes of that. The result is the text of a site file, read like every other.

pub(super) mod answers;
mod classes;
mod commented;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::document::parse;
use crate::domain::problem::{At, Place, SourceId};
use crate::domain::resolve::Asker;
use crate::domain::site::{Cluster, Layer, LayerKind, effective};
use crate::domain::site_check::{Accounting, Bar, Partition};
use crate::ports::{Hands, Silence};
use crate::slurm::commands::{Commands, Query, first_on};
use crate::slurm::found::classes::FoundConfig;
use crate::slurm::{config, survey};

/// Somebody waits at a terminal.
const PATIENCE: Duration = Duration::from_secs(5);

/// The commands that a site config can name.
const COMMANDS: [&str; 7] =
    ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"];

/// Which Slurm is meant where no site file says so: the one that the user's shell would speak to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhichSlurm {
    /// Where sinfo is.
    pub directory: String,
    /// Commands that PATH finds elsewhere: a site's own wrappers.
    pub elsewhere: BTreeMap<String, String>,
    /// `SLURM_CONF`
    pub conf: Option<String>,
    /// `SLURM_CLUSTERS`
    pub clusters: Option<String>,
}

impl WhichSlurm {
    /// The Slurm on a search path, if both commands are there that tell about its partitions.
    pub fn on_path(search: &str, conf: Option<String>, clusters: Option<String>) -> Option<Self> {
        let sinfo = first_on(search, "sinfo")?;
        first_on(search, "scontrol")?;
        let directory = sinfo.parent()?.to_str()?.to_owned();
        let is_elsewhere = |path: &PathBuf| path.parent() != Some(Path::new(&directory));
        let elsewhere = COMMANDS.iter().filter_map(|name| {
            let path = first_on(search, name).filter(is_elsewhere)?;
            Some(((*name).to_owned(), path.to_str()?.to_owned()))
        });
        Some(Self { elsewhere: elsewhere.collect(), directory, conf, clusters })
    }

    fn silence(&self, why: String) -> Silence {
        Silence { who: self.directory.clone(), why }
    }

    /// As the keys of a cluster, to ask it with the same tools and environment as the daemon does.
    fn settings(&self) -> Cluster {
        let at = |value: &String| {
            At::new(value.clone(), Place { source: SourceId(0), start: 0, end: 0 })
        };
        let elsewhere = |name: &str| self.elsewhere.get(name).map(at);
        Cluster {
            commands: Some(at(&self.directory)),
            scontrol: elsewhere("scontrol"),
            sinfo: elsewhere("sinfo"),
            sacctmgr: elsewhere("sacctmgr"),
            conf: self.conf.as_ref().map(at),
            slurm_cluster: self.clusters.as_ref().map(at),
            ..Cluster::default()
        }
    }
}

/// Asks a cluster what it has, and gives it as the text of a site file.
pub async fn find(
    hands: Arc<dyn Hands>,
    which: &WhichSlurm,
    asker: &Asker,
) -> Result<String, Silence> {
    let answers = Answers::of(&commands(hands, which, asker)).await?;
    site_text(which, &answers.said(), asker).map_err(|why| which.silence(why))
}

/// The same for people who go on from it: with comments, and the user's accounts as projects.
pub async fn describe(
    hands: Arc<dyn Hands>,
    which: &WhichSlurm,
    asker: &Asker,
) -> Result<String, Silence> {
    let commands = commands(hands, which, asker);
    let answers = Answers::of(&commands).await?;
    let accounting = survey::accounting(&commands, asker).await.unwrap_or_default();
    commented_text(which, &answers.said(), &accounting, asker).map_err(|why| which.silence(why))
}

fn commands(hands: Arc<dyn Hands>, which: &WhichSlurm, asker: &Asker) -> Commands {
    survey::commands(hands, &which.settings(), asker, &[]).with_patience(PATIENCE)
}

/// What a cluster was heard to say.
struct Answers {
    config: String,
    partitions: String,
    nodes: String,
}

impl Answers {
    async fn of(commands: &Commands) -> Result<Self, Silence> {
        Ok(Self {
            config: ask(commands, Query::Scontrol, config::args()).await?,
            partitions: ask(commands, Query::Scontrol, words(answers::PARTITIONS)).await?,
            nodes: ask(commands, Query::Sinfo, words(answers::SINFO)).await?,
        })
    }

    fn said(&self) -> Said<'_> {
        Said { config: &self.config, partitions: &self.partitions, nodes: &self.nodes }
    }
}

async fn ask(commands: &Commands, query: Query, args: Vec<String>) -> Result<String, Silence> {
    let bytes = commands.ask(query, args).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// The three answers that a site config is made of.
pub(crate) struct Said<'a> {
    pub(crate) config: &'a str,
    pub(crate) partitions: &'a str,
    pub(crate) nodes: &'a str,
}

/// The text of the site file, or why there is none.
pub(crate) fn site_text(
    which: &WhichSlurm,
    said: &Said<'_>,
    asker: &Asker,
) -> Result<String, String> {
    let partitions = answers::partitions(said.partitions)?;
    let text = toml::to_string(&found_config(which, said, &partitions, asker)?);
    sound(text.map_err(|error| error.to_string())?)
}

/// The text with comments, or why there is none.
fn commented_text(
    which: &WhichSlurm,
    said: &Said<'_>,
    accounting: &Accounting,
    asker: &Asker,
) -> Result<String, String> {
    let mut partitions = answers::partitions(said.partitions)?;
    // Root describes a cluster for others.
    for partition in &mut partitions {
        partition.bars.retain(|bar| *bar != Bar::NoRoot);
    }
    let config = found_config(which, said, &partitions, asker)?;
    let text = commented::text(&config, accounting);
    sound(text.map_err(|error| error.to_string())?)
}

fn found_config(
    which: &WhichSlurm,
    said: &Said<'_>,
    partitions: &[Partition],
    asker: &Asker,
) -> Result<FoundConfig, String> {
    let name = config::parse(said.config).and_then(|config| config.cluster_name);
    let name = name.ok_or("it does not say what the cluster is called")?;
    let nodes = answers::nodes(said.nodes)?;
    let config = classes::config(which, &name, partitions, &nodes, asker);
    if config.has_classes() {
        Ok(config)
    } else {
        Err("none of its partitions is open to you".to_owned())
    }
}

/// A site that found itself faulty would be in the way of every command.
fn sound(text: String) -> Result<String, String> {
    let source = SourceId(0);
    let (table, mut problems) = parse(&text, source);
    problems.extend(effective(vec![Layer { kind: LayerKind::Found, source, table }]).2);
    match problems.into_iter().next() {
        Some(problem) => Err(format!("a site made of what it says is faulty: {}", problem.message)),
        None => Ok(text),
    }
}
