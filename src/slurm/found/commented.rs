//! The site config of a cluster as a file that its administrators go on from: what was found, and what to think about.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::site_check::Accounting;
use crate::slurm::found::classes::{ClassKeys, FoundConfig, unique, valid};

const HEAD: &str = "\
# The site config of this cluster, as `trainyard site init` made it of what Slurm says about itself.
# Everything here can be changed; an unknown key is an error with a suggestion.
#
#     trainyard site check     compare it with the cluster
#     trainyard site show      every value, and the file it came from
#     trainyard classes        what a user will see
#
# It counts as /etc/trainyard/site.toml for everybody on this machine, as ~/.config/trainyard/site.toml for one user.
";

const SITE: &str = "\
# Where the directories of runs are made: a file system that the compute nodes see, too. {user} {uid} {group} {home}
# {project} {account} are filled in. Left out: ~/trainyard.
#run_root = \"/scratch/{group}/{user}/trainyard\"
# Who may act on other people's runs.
#admins = [\"group:hpc-admins\"]
";

const CLUSTER: &str = "\
# How often Slurm is asked, whoever asks. Left out: 30s.
#poll_interval = \"30s\"
# Where conda is installed, on the compute nodes.
#conda_root = \"/opt/conda\"
";

const CLASSES: &str = "\
# --- Hardware classes: what `class = \"…\"` in a spec may say. Rename them as your users call them.
# The sizes are what a run gets that says nothing else, and the most that it may ask for.
# More keys: account, qos, constraint, rate, preemptible, local_scratch, environment, modules, prologue.
";

const PROJECTS: &str = "\
# --- Projects: what `project = \"…\"` in a spec may say. Each pays from a Slurm account; these are the ones that whoever
# made this file has. `members = [\"alice\", \"group:nlp\"]` says who may name a project.
";

#[derive(Serialize)]
struct ProjectKeys<'a> {
    account: &'a str,
}

/// The head of a table; `valid` has made the name a plain key.
fn head(table: &str, name: &str) -> String {
    format!("\n[{table}.{name}]\n")
}

pub(super) fn text(
    config: &FoundConfig,
    accounting: &Accounting,
) -> Result<String, toml::ser::Error> {
    let mut text = format!("{HEAD}\n[site]\n{}{SITE}", toml::to_string(&config.site)?);
    for (name, cluster) in &config.cluster {
        text += &head("cluster", name);
        text += &toml::to_string(cluster)?;
        text += CLUSTER;
    }
    text += &format!("\n{CLASSES}");
    for (name, class) in &config.class {
        text += &format!("\n# {}", about(class));
        text += &head("class", name);
        text += &toml::to_string(class)?;
    }
    let projects = projects(accounting);
    let mut taken = BTreeSet::new();
    if !projects.is_empty() {
        text += &format!("\n{PROJECTS}");
    }
    for (account, qos) in projects {
        let name = unique(valid(account), &mut taken);
        if !qos.is_empty() {
            let qos: Vec<&str> = qos.into_iter().collect();
            text += &format!("\n# It may use the QOS {}.", qos.join(", ").escape_debug());
        }
        text += &head("project", &name);
        text += &toml::to_string(&ProjectKeys { account })?;
    }
    Ok(text)
}

/// The accounts, and what each may use.
fn projects(accounting: &Accounting) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut projects: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for association in &accounting.associations {
        let qos = association.qos.iter().map(String::as_str);
        projects.entry(&association.account).or_default().extend(qos);
    }
    projects
}

/// A class in words.
fn about(class: &ClassKeys) -> String {
    let nodes = match class.max_nodes {
        1 => "one node".to_owned(),
        nodes => format!("up to {nodes} nodes"),
    };
    let share = match (class.exclusive, class.gpus_per_node) {
        (Some(true), _) => "whole nodes",
        (_, Some(_)) => "a run that asks for part of the GPUs gets that part of the rest",
        (_, None) => "nodes are shared, and a run gets what it asks for",
    };
    let gpus = match (class.gpus_per_node, &class.gpu_type) {
        (None, _) => String::new(),
        (Some(count), None) => format!(" with {count} GPUs each"),
        (Some(count), Some(kind)) => format!(" with {count} {kind} each"),
    };
    let about = format!("Partition {}: {nodes}{gpus}; {share}.", class.partition);
    // Names of Slurm's own: none may begin a line of its own.
    about.escape_debug().to_string()
}
