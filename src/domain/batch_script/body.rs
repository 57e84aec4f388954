//! The commands of a script: what the training finds around it, what starts it, and what is left.

use crate::domain::batch_script::lines::{Line, is_literal, words};
use crate::domain::batch_script::{Fate, Refused};
use crate::domain::resolve::program::check_variable_name;
use crate::domain::word::{Piece, Word};

/// What the commands come to.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) modules: Vec<String>,
    pub(super) conda: Option<String>,
    pub(super) venv: Option<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) launcher: &'static str,
    pub(super) processes_per_node: Option<u32>,
    pub(super) entry_point: Option<String>,
    /// The words of a spec's command, or of the arguments of its entry point.
    pub(super) command: Vec<String>,
    /// The script starts its own processes: it needs the tasks that it asked for.
    pub(super) keeps_tasks: bool,
}

const STARTS: &[&str] =
    &["srun", "torchrun", "python", "python3", "accelerate", "deepspeed", "mpirun", "mpiexec"];
/// Commands that only tell.
const TELLS: &[&str] =
    &["echo", "date", "hostname", "nvidia-smi", "printenv", "pwd", "sleep", "wait"];

pub(super) fn translate(statements: &[Line], fates: &mut Vec<Fate>) -> Result<Body, Refused> {
    let mut body = Body { launcher: "none", ..Body::default() };
    let mut rest = Vec::new();
    for line in statements {
        match around(&mut body, &line.text) {
            Some(Ok(key)) => fates.push(Fate::taken(line.number, &line.text, key)),
            Some(Err(why)) => fates.push(Fate::left(line.number, &line.text, why)),
            None => rest.push(line),
        }
    }
    if let [only] = rest.as_slice()
        && is_literal(&only.text)
        && let Some(words) = words(&only.text)
        && start(&mut body, &words)
    {
        let key = if body.entry_point.is_some() { "code.entry_point" } else { "code.command" };
        fates.push(Fate::taken(only.number, &only.text, format!("{key}, distributed.launcher")));
    } else if !rest.is_empty() {
        body.keeps_tasks = true;
        let text: Vec<&str> = rest.iter().map(|line| line.text.as_str()).collect();
        body.command = vec!["bash".into(), "-c".into(), text.join("\n")];
        for line in rest {
            fates.push(Fate::taken(line.number, &line.text, "code.command"));
        }
    }
    for word in &mut body.command {
        // A brace of the script is no placeholder.
        let escaped = Word(vec![Piece::Literal(std::mem::take(word))]).to_string();
        Word::parse(&escaped).map_err(Refused::Command)?;
        *word = escaped;
    }
    Ok(body)
}

/// The key that a command goes to, or why it is not needed; `None` for what must run.
fn around(body: &mut Body, text: &str) -> Option<Result<&'static str, &'static str>> {
    let first = text.split_whitespace().next()?;
    if text.contains("conda shell.bash hook") || text.contains("etc/profile.d/conda.sh") {
        return Some(Err("Trainyard sets up conda itself (site key `conda_root`)"));
    }
    let name = text.trim_start().trim_start_matches("export ").split('=').next()?.trim();
    if matches!(name, "MASTER_ADDR" | "MASTER_PORT" | "WORLD_SIZE") && !text.contains([';', '\n']) {
        return Some(Err("Trainyard sets it for every process"));
    }
    if TELLS.contains(&first) && !text.contains(['>', '|', ';', '&', '\n']) {
        return Some(Err(
            "it only tells or waits; the run's record has the job, its nodes and times",
        ));
    }
    if !is_literal(text) {
        let to_submit = ["cd $SLURM_SUBMIT_DIR", "cd \"$SLURM_SUBMIT_DIR\""].contains(&text.trim());
        return to_submit.then_some(Err("the training starts in the code's own directory"));
    }
    let words = words(text)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["set", ..] => Some(Err("it is about the script's own bash")),
        ["module" | "ml", "purge" | "reset" | "list", ..] => {
            Some(Err("a job does not inherit your shell's modules"))
        }
        ["module", "load" | "add", names @ ..] | ["ml", "load", names @ ..]
            if names.iter().all(|name| !name.starts_with('-')) =>
        {
            body.modules.extend(names.iter().map(|&name| name.to_owned()));
            Some(Ok("environment.modules"))
        }
        ["conda", "deactivate"] => Some(Err("the environment ends with the job")),
        ["conda" | "mamba" | "source", "activate", name]
            if body.conda.is_none() && body.venv.is_none() && !name.starts_with('-') =>
        {
            body.conda = Some((*name).to_owned());
            Some(Ok("environment.conda"))
        }
        ["source" | ".", path] if body.conda.is_none() && body.venv.is_none() => {
            body.venv = Some(path.strip_suffix("/bin/activate")?.to_owned());
            Some(Ok("environment.venv"))
        }
        ["export", pairs @ ..] if !pairs.is_empty() => {
            let pairs: Option<Vec<_>> = pairs.iter().map(|pair| pair.split_once('=')).collect();
            let pairs = pairs?;
            if pairs.iter().any(|(name, _)| check_variable_name(name).is_err()) {
                return None;
            }
            for (name, value) in pairs {
                body.variables.retain(|(known, _)| known != name);
                let value = Word(vec![Piece::Literal(value.to_owned())]).to_string();
                body.variables.push((name.to_owned(), value));
            }
            Some(Ok("environment.variables"))
        }
        _ => None,
    }
}

/// Takes a line apart that starts the training; false where that cannot be done without loss.
fn start(body: &mut Body, words: &[String]) -> bool {
    let (launcher, mut rest) = match words {
        [srun, rest @ ..]
            if srun == "srun" && rest.first().is_some_and(|w| !w.starts_with('-')) =>
        {
            ("srun", rest)
        }
        _ => ("none", words),
    };
    let mut processes = None;
    let is_torchrun = rest.first().is_some_and(|word| word == "torchrun");
    if is_torchrun {
        rest = rest.get(1..).unwrap_or_default();
        while let Some(option) = rest.first().filter(|word| word.starts_with('-')) {
            let Some((name, value)) = option.split_once('=') else {
                if option != "--standalone" {
                    return false;
                }
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            match name.replace('_', "-").as_str() {
                "--nproc-per-node" => processes = value.parse().ok().filter(|n| *n > 0),
                "--nnodes" | "--rdzv-id" | "--rdzv-backend" | "--rdzv-endpoint" => {}
                _ => return false,
            }
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    let Some(program) = rest.first() else { return false };
    if !is_torchrun && !STARTS.contains(&program.as_str()) {
        return false;
    }
    let python = program == "python" || program == "python3";
    let script = if is_torchrun { 0 } else { usize::from(python) };
    let entry = rest.get(script).filter(|path| {
        (is_torchrun || python)
            && path.strip_suffix(".py").is_some()
            && !path.starts_with(['-', '/'])
            && !path.split('/').any(|part| part == "..")
    });
    let Some(entry) = entry else {
        if is_torchrun || program == "srun" {
            return false;
        }
        body.command = rest.to_vec();
        body.launcher = launcher;
        body.keeps_tasks = launcher == "none";
        return true;
    };
    body.entry_point = Some(entry.clone());
    body.command = rest.get(script + 1..).unwrap_or_default().to_vec();
    body.launcher = if is_torchrun { "torchrun" } else { launcher };
    body.processes_per_node = processes;
    true
}
