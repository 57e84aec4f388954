//! The flags with which a spec is handed in, shared by every verb that takes one.

use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::domain::request::{Change, DATASETS, SpecRequest, is_data_path};
use crate::files::read_spec;

/// A spec and what the command line changes in it.
#[derive(Debug, clap::Args)]
pub(crate) struct SpecArgs {
    /// The spec file
    pub spec: PathBuf,
    #[command(flatten)]
    pub changes: ChangeArgs,
}

/// What the command line changes in a spec.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    /// Change one key of the spec: compute.nodes=4; the value is TOML, or text
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The run's name
    #[arg(long)]
    pub name: Option<String>,
    /// The project that pays
    #[arg(long)]
    pub project: Option<String>,
    /// The hardware class
    #[arg(long)]
    pub class: Option<String>,
    /// How many nodes
    #[arg(long)]
    pub nodes: Option<u32>,
    /// Where to run: slurm or local
    #[arg(long)]
    pub target: Option<String>,
    /// Data for the run, by its name in the catalogue or by its path, instead of the spec's
    #[arg(long, value_name = "NAME|PATH")]
    pub dataset: Vec<String>,
    /// An evaluation pack (not supported by this version)
    #[arg(long)]
    pub evaluation_pack: Option<String>,
}

impl SpecArgs {
    /// Reads the spec file with its changes.
    pub(super) fn read(&self, context: &Context) -> Result<SpecRequest, CliError> {
        read_file(context, &self.spec, self.changes.changes(context)?)
    }
}

impl ChangeArgs {
    pub(super) fn changes(&self, context: &Context) -> Result<Vec<Change>, CliError> {
        if self.evaluation_pack.is_some() {
            return Err(CliError::usage("`--evaluation-pack` is not supported by this version"));
        }
        let mut changes = Vec::new();
        for set in &self.set {
            let Some((key, value)) = set.split_once('=') else {
                return Err(CliError::usage(format!("`--set {set}` has no `=`"))
                    .hint("write --set compute.nodes=4"));
            };
            changes.push(Change {
                shown: format!("--set {set}"),
                key: key.trim().to_owned(),
                value: value.to_owned(),
            });
        }
        let flags = [
            ("--name", "name", self.name.clone()),
            ("--project", "project", self.project.clone()),
            ("--class", "compute.class", self.class.clone()),
            ("--target", "compute.target", self.target.clone()),
        ];
        for (flag, key, value) in flags {
            let Some(value) = value else { continue };
            // A flag's value is text, also where it looks like a number.
            let quoted =
                serde_json::to_string(&value).map_err(|error| CliError::internal(&error))?;
            changes.push(Change {
                shown: format!("{flag} {value}"),
                key: key.to_owned(),
                value: quoted,
            });
        }
        if let Some(nodes) = self.nodes {
            let shown = format!("--nodes {nodes}");
            changes.push(Change {
                shown,
                key: "compute.nodes".to_owned(),
                value: nodes.to_string(),
            });
        }
        changes.extend(dataset_changes(context, &self.dataset)?);
        Ok(changes)
    }
}

/// What `--dataset` says. A path of the command line starts where the command was given, not at the spec's own file.
pub(super) fn dataset_changes(
    context: &Context,
    datasets: &[String],
) -> Result<Vec<Change>, CliError> {
    let change = |said: &String| {
        let absolute = context.surroundings.directory.join(said).display().to_string();
        let is_path = is_data_path(said) && !said.starts_with("~/");
        let meant = if is_path { &absolute } else { said };
        let value = serde_json::to_string(meant).map_err(|error| CliError::internal(&error))?;
        let shown = format!("--dataset {said}");
        Ok(Change { shown, key: DATASETS.to_owned(), value })
    };
    datasets.iter().map(change).collect()
}

/// Reads a spec file.
pub(super) fn read_file(
    context: &Context,
    spec: &Path,
    changes: Vec<Change>,
) -> Result<SpecRequest, CliError> {
    read_spec(spec, &context.surroundings.directory, changes)
        .map_err(|error| CliError::new(Exit::Invalid, crate::chain(&error)))
}
