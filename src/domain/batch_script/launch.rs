//! The line that starts the training, taken apart.

use crate::domain::batch_script::asked::Asked;
use crate::domain::batch_script::options::short;
use crate::domain::batch_script::words::Word;
use crate::domain::resolve::program::check_variable_name;

/// A line that starts the training, as keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) launcher: &'static str,
    pub(super) processes_per_node: Option<u32>,
    pub(super) container: Option<String>,
    /// Set for this line alone.
    pub(super) variables: Vec<(String, String)>,
    pub(super) entry_point: Option<String>,
    /// The words of a command, or of the arguments of the entry point.
    pub(super) command: Vec<String>,
}

/// Programs that start the processes of a training, beside srun and torchrun.
const LAUNCHERS: &[&str] = &["accelerate", "deepspeed", "horovodrun", "mpiexec", "mpirun", "prun"];

/// Whether commands start processes that must not take themselves for the only one.
pub(super) fn starts_processes(commands: &str) -> bool {
    commands.split(|c: char| !(c.is_alphanumeric() || "_.-".contains(c))).any(|word| {
        matches!(word, "srun" | "torchrun" | "torch.distributed.run" | "torch.distributed.launch")
            || LAUNCHERS.contains(&word)
    })
}

/// Whether a line starts what may be a training: why it could not be taken apart is told.
pub(super) fn is_start(command: &str) -> bool {
    let names = |word: &str| {
        let name = word.rsplit('/').next().unwrap_or(word);
        matches!(name, "python" | "python3" | "apptainer" | "singularity") || starts_processes(name)
    };
    command.split_whitespace().any(names)
}

/// Takes a line apart, or says why it cannot be done without loss.
pub(super) fn take_apart(
    words: &[Word],
    asked: &Asked,
    runs_images: bool,
) -> Result<Launch, String> {
    let mut launch = Launch { launcher: "none", ..Launch::default() };
    let mut rest = words;
    while let Some((name, value)) = rest.first().and_then(Word::assignment) {
        let value = value.ok_or_else(|| unknown(&rest[0]))?;
        check_variable_name(name).map_err(|why| format!("`{name}`: {why}"))?;
        launch.variables.push((name.to_owned(), value.to_owned()));
        rest = &rest[1..];
    }
    if rest.first().is_some_and(|word| word.is("exec")) {
        rest = &rest[1..];
    }
    if rest.first().is_some_and(|word| word.is("srun")) {
        rest = &rest[1..];
        launch.launcher = "srun";
        launch.processes_per_node = Some(srun(&mut rest, asked)?);
    }
    if rest.first().is_some_and(|word| word.is("apptainer") || word.is("singularity")) {
        rest = &rest[1..];
        launch.container = Some(image(&mut rest, runs_images)?);
    }
    let under_run: &[&str] = &["-m", "torch.distributed.run"];
    if rest.first().is_some_and(|word| word.is("torchrun")) {
        rest = &rest[1..];
        torchrun(&mut rest, asked, &mut launch)?;
    } else if is_python(rest.first())
        && rest
            .get(1..3)
            .is_some_and(|two| two.iter().zip(under_run).all(|(word, text)| word.is(text)))
    {
        rest = &rest[3..];
        torchrun(&mut rest, asked, &mut launch)?;
    }
    program(rest, &mut launch)?;
    Ok(launch)
}

fn unknown(word: &Word) -> String {
    format!("what `{}` is, only the job knows", word.raw)
}

fn known(word: &Word) -> Result<&str, String> {
    word.text.as_deref().ok_or_else(|| unknown(word))
}

fn number(option: &str, value: Option<&Word>) -> Result<u32, String> {
    let word = value.ok_or_else(|| format!("`{option}` has no value"))?;
    let number = known(word)?.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{option}` is no number"))
}

fn is_python(word: Option<&Word>) -> bool {
    word.is_some_and(|word| word.is("python") || word.is("python3"))
}

/// The next option, and its value: behind a `=`, or the next word. srun's letters are as sbatch's.
fn option(
    rest: &mut &[Word],
    of_srun: bool,
    is_flag: impl Fn(&str) -> bool,
) -> Option<(String, Option<Word>)> {
    let word = rest.first()?;
    let text = word.text.as_deref().unwrap_or(&word.raw);
    if !text.starts_with('-') || text == "-" {
        return None;
    }
    *rest = &rest[1..];
    let valued =
        |raw: &str| Word { raw: raw.to_owned(), text: word.text.as_ref().map(|_| raw.to_owned()) };
    let (name, mut value) = match (text.strip_prefix("--"), short(text).filter(|_| of_srun)) {
        (Some(long), _) => match long.split_once('=') {
            Some((name, value)) => (name.replace('_', "-"), Some(valued(value))),
            None => (long.replace('_', "-"), None),
        },
        (None, Some((name, value))) => (name.to_owned(), value.as_deref().map(valued)),
        (None, None) => (text.to_owned(), None),
    };
    if value.is_none() && !is_flag(&name) {
        value = rest.first().cloned();
        *rest = rest.get(1..).unwrap_or_default();
    }
    Some((name, value))
}

/// Reads srun's options; gives the tasks on each node.
fn srun(rest: &mut &[Word], asked: &Asked) -> Result<u32, String> {
    const FLAGS: &[&str] =
        &["label", "unbuffered", "-l", "-u", "-K", "kill-on-bad-exit", "exclusive", "overlap"];
    let (mut tasks, mut on_node, nodes) = (None, None, asked.node_count());
    while let Some((name, value)) = option(rest, true, |name| FLAGS.contains(&name)) {
        let spelled = if name.starts_with('-') { name.clone() } else { format!("--{name}") };
        let same = |job: Option<u32>| match (number(&spelled, value.as_ref())?, job) {
            (of_srun, Some(of_job)) if of_srun == of_job => Ok(()),
            (of_srun, _) => Err(format!("srun's `{spelled}={of_srun}` is not what the job has")),
        };
        match name.as_str() {
            "ntasks" => tasks = Some(number(&spelled, value.as_ref())?),
            "ntasks-per-node" => on_node = Some(number(&spelled, value.as_ref())?),
            "nodes" => same(Some(nodes))?,
            "cpus-per-task" => same(asked.cpus_per_task)?,
            "gpus-per-node" => same(asked.gpus_per_node())?,
            // Trainyard's own srun has these, or keeps what they are for in the run's directory.
            "label" | "unbuffered" | "-l" | "-u" | "-K" | "kill-on-bad-exit" | "output"
            | "error" | "job-name" | "jobid" => {}
            "export" if value.as_ref().is_some_and(|value| value.is("ALL")) => {}
            _ => {
                return Err(format!(
                    "srun's `{spelled}` has no key (the site's `srun_args` may say it)"
                ));
            }
        }
    }
    let spread = |tasks: u32| {
        let error = || format!("srun's {tasks} tasks do not spread evenly over the nodes");
        if tasks.is_multiple_of(nodes) { Ok(tasks / nodes) } else { Err(error()) }
    };
    on_node.map(Ok).or(tasks.map(spread)).unwrap_or_else(|| Ok(asked.processes()))
}

/// Reads the options of `apptainer exec`; gives the image.
fn image(rest: &mut &[Word], runs_images: bool) -> Result<String, String> {
    if !rest.first().is_some_and(|word| word.is("exec")) {
        return Err("only `exec` of a container can be taken".to_owned());
    }
    *rest = &rest[1..];
    let flags = |name: &str| matches!(name, "nv" | "rocm");
    while let Some((name, _)) = option(rest, false, flags) {
        if !flags(&name) {
            let name = name.trim_start_matches('-');
            return Err(format!(
                "the container's `{name}` has no key (the site's `container_binds` and `container_args` may say it)"
            ));
        }
    }
    let image = rest.first().ok_or("there is no image")?;
    if !runs_images {
        return Err("the site's config does not name it as `container_runtime`".to_owned());
    }
    *rest = &rest[1..];
    known(image).map(str::to_owned)
}

/// Reads torchrun's options; the script's agents become those that Trainyard starts, one on each node.
fn torchrun(rest: &mut &[Word], asked: &Asked, launch: &mut Launch) -> Result<(), String> {
    let agents = launch.processes_per_node.unwrap_or(1);
    let nodes = asked.node_count();
    let (mut processes, mut here_only) = (Some(1), false);
    let (mut module, mut without_python) = (false, false);
    let flags = |name: &str| matches!(name, "standalone" | "no-python" | "module" | "-m");
    while let Some((name, value)) = option(rest, false, flags) {
        let spelled = format!("--{name}");
        match name.as_str() {
            "nproc-per-node" => {
                // One for each GPU is what a spec means by silence.
                let of_gpus = value.as_ref().is_some_and(|word| word.is("gpu") || word.is("auto"));
                processes = if of_gpus { None } else { Some(number(&spelled, value.as_ref())?) };
            }
            "nnodes" => {
                let word = value.ok_or("`--nnodes` has no value")?;
                // A count of the job's own that no directive says.
                let of_job = word.text.is_none() && word.raw.contains("SLURM_");
                if !of_job {
                    let count = number(&spelled, Some(&word))?;
                    here_only = count == 1;
                    if count != nodes.saturating_mul(agents) && !here_only {
                        return Err(format!("`--nnodes` is {count}, and the job has {nodes}"));
                    }
                }
            }
            "standalone" => here_only = true,
            "rdzv-id" | "rdzv-backend" | "rdzv-endpoint" | "rdzv-conf" | "node-rank"
            | "master-addr" | "master-port" | "local-addr" => {}
            "max-restarts" if value.as_ref().is_some_and(|word| word.is("0")) => {}
            "module" | "-m" => module = true,
            "no-python" => without_python = true,
            _ => return Err(format!("torchrun's `{spelled}` has no key")),
        }
    }
    if here_only && nodes > 1 {
        return Err(format!("it trains on one of the job's {nodes} nodes"));
    }
    launch.launcher = "torchrun";
    launch.processes_per_node = processes.map(|each| each.saturating_mul(agents));
    if module {
        launch.command = vec!["python".into(), "-m".into()];
    } else if !without_python && !rest.first().is_some_and(is_entry_point) {
        launch.command = vec!["python".into()];
    }
    Ok(())
}

/// A script of the code's directory.
fn is_entry_point(word: &Word) -> bool {
    word.text.as_deref().is_some_and(|path| {
        path.strip_suffix(".py").is_some()
            && !path.starts_with(['-', '/', '~'])
            && !path.split('/').any(|part| part == "..")
            && !path.chars().any(|c| c.is_control() || c == '{')
    })
}

/// What is left of the line: the program and its arguments.
fn program(rest: &[Word], launch: &mut Launch) -> Result<(), String> {
    let first = rest.first().ok_or("it starts nothing")?;
    let name = known(first)?;
    let name = name.rsplit('/').next().unwrap_or(name);
    if LAUNCHERS.contains(&name) {
        return Err(format!(
            "what `{name}` is told is not taken apart; see `[distributed] launcher`"
        ));
    }
    let is_torchrun = launch.launcher == "torchrun";
    let python = is_python(Some(first)) && !is_torchrun;
    if python
        && rest.get(1..3).is_some_and(|two| {
            two[0].is("-m")
                && two[1].text.as_deref().is_some_and(|name| {
                    name.starts_with("torch.distributed.")
                        || name.starts_with("accelerate")
                        || name.starts_with("deepspeed")
                })
        })
    {
        let module = &rest[2].raw;
        return Err(format!("`{module}` starts processes in its own way, which has no key"));
    }
    // The training's output is never held back anyway.
    let unbuffered = python && rest.get(1).is_some_and(|word| word.is("-u"));
    let at = usize::from(python) + usize::from(unbuffered);
    let entry = rest.get(at).filter(|word| {
        launch.command.is_empty() && (python || is_torchrun) && is_entry_point(word)
    });
    let words = if entry.is_some() { rest.get(at + 1..).unwrap_or_default() } else { rest };
    let raw: Vec<&str> = rest.iter().map(|word| word.raw.as_str()).collect();
    if !python && entry.is_none() && starts_processes(&raw.join(" ")) {
        return Err("it starts processes itself, in a way that has no key".to_owned());
    }
    launch.entry_point = entry.and_then(|word| word.text.clone());
    for word in words {
        launch.command.push(known(word)?.to_owned());
    }
    Ok(())
}
