//! A batch script that somebody has, as the spec that trains the same.
//!
//! Every line is accounted for: it becomes a key, stays in the command, or is told as not taken over, with the reason.

mod around;
mod asked;
mod body;
mod compute;
mod launch;
mod lines;
mod options;
mod words;
mod write;

use std::path::Path;

use crate::domain::resolve::Asker;
use crate::domain::site::Site;

/// Larger scripts are not scripts. sbatch's own limit is 4 MiB.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// What a script is translated for.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The script's name.
    pub name: &'a str,
    /// Where the spec will lie, which stands for where the script was submitted.
    pub directory: &'a Path,
    pub asker: &'a Asker,
    /// Without a site the class stays open.
    pub site: Option<&'a Site>,
}

/// What can become of a stretch of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Keys.
    Taken,
    /// A part of the command, as it is.
    Kept,
    /// Nothing.
    Left,
}

/// What became of one stretch of the script.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fate {
    /// Its first line, counted from 1.
    pub line: usize,
    pub text: String,
    #[serde(skip)]
    pub became: Became,
    /// The key it went to. A variable whose value stands where it was used has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Why it was not taken over, or not quite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Fate {
    fn taken(line: usize, text: &str, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::used(line, text) }
    }

    fn used(line: usize, text: &str) -> Self {
        Self { line, text: text.to_owned(), became: Became::Taken, key: None, why: None }
    }

    fn kept(line: usize, text: &str, why: Option<String>) -> Self {
        Self { became: Became::Kept, why, ..Self::taken(line, text, "code.command") }
    }

    fn left(line: usize, text: &str, why: impl Into<String>) -> Self {
        Self { became: Became::Left, why: Some(why.into()), ..Self::used(line, text) }
    }

    fn but(self, why: Option<String>) -> Self {
        Self { why, ..self }
    }
}

/// The spec that a script comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The spec's text.
    pub spec: String,
    pub fates: Vec<Fate>,
}

/// Why a script cannot be translated at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is {0} bytes long, more than the {SCRIPT_BYTES_MAX} of a script")]
    TooLarge(usize),
    #[error("it holds NUL characters, which sbatch refuses")]
    Nul,
    #[error(
        "it does not begin with `#!` and the name of a shell, and only shell scripts can be translated"
    )]
    NoShell,
    #[error("its commands do not fit into one word of a command line: {0}")]
    Command(crate::domain::word::WordError),
}

/// Translates a script.
pub fn translate(text: &str, origin: Origin<'_>) -> Result<Translation, Refused> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(Refused::TooLarge(text.len()));
    }
    if text.contains('\0') {
        return Err(Refused::Nul);
    }
    let text = text.replace("\r\n", "\n");
    let script = lines::read(&text).ok_or(Refused::NoShell)?;
    let mut fates = Vec::new();
    let mut asked = asked::asked(options::read(&script.directives, &mut fates), &mut fates);
    for line in script.ignored {
        let shown = format!("#SBATCH {}", line.text);
        let why = "Slurm ignores it too: it stands after the first command";
        fates.push(Fate::left(line.number, &shown, why));
    }
    let chosen = compute::chosen(&asked, origin.site);
    let constants = constants(&asked, origin);
    let body =
        body::translate(&script.statements, &asked, constants, chosen.runs_images, &mut fates)?;
    let compute = compute::keys(&mut asked, &body, &chosen, &mut fates);
    fates.sort_by_key(|fate| fate.line);
    let spec = write::spec(origin.name, &asked, &compute, &body, &fates);
    Ok(Translation { spec, fates })
}

/// What the script's variables are in its job, as far as that is known.
fn constants(asked: &asked::Asked, origin: Origin<'_>) -> words::Constants {
    let count = |count: Option<u32>| count.map(|count| count.to_string());
    let text = |text: &str| Some(text.to_owned());
    let path = |path: &Path| path.to_str().map(str::to_owned);
    let tasks = asked
        .tasks
        .or(asked.tasks_on_node().zip(asked.nodes).map(|(on, nodes)| on.saturating_mul(nodes)));
    let known = [
        ("HOME", path(&origin.asker.home)),
        ("USER", text(&origin.asker.user)),
        ("LOGNAME", text(&origin.asker.user)),
        ("SLURM_SUBMIT_DIR", path(origin.directory)),
        ("SLURM_JOB_NAME", text(asked.job_name.as_deref().unwrap_or(origin.name))),
        ("SLURM_ARRAY_TASK_ID", asked.index.clone()),
        ("SLURM_NNODES", count(asked.nodes)),
        ("SLURM_JOB_NUM_NODES", count(asked.nodes)),
        ("SLURM_NTASKS", count(tasks)),
        ("SLURM_NPROCS", count(tasks)),
        ("SLURM_NTASKS_PER_NODE", count(asked.tasks_on_node())),
        ("SLURM_CPUS_PER_TASK", count(asked.cpus_per_task)),
        ("SLURM_GPUS_ON_NODE", count(asked.gpus_per_node())),
        ("SLURM_GPUS_PER_NODE", count(asked.gpus_per_node())),
    ];
    let mut constants = words::Constants::default();
    for (name, value) in known {
        if let Some(value) = value {
            constants.set(name, Some(value));
        }
    }
    constants
}

#[cfg(test)]
mod tests;
