//! The commands of a script: what the training finds around it, what starts it, and what is left.

use crate::domain::batch_script::around::{Around, Role};
use crate::domain::batch_script::asked::Asked;
use crate::domain::batch_script::launch::{self, Launch};
use crate::domain::batch_script::lines::Line;
use crate::domain::batch_script::words::{Constants, Word};
use crate::domain::batch_script::{Fate, Refused};
use crate::domain::word;

/// What the commands come to.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// What stands around the training.
    pub(super) path: Option<String>,
    pub(super) modules: Vec<String>,
    pub(super) conda: Option<String>,
    pub(super) venv: Option<String>,
    pub(super) container: Option<String>,
    pub(super) variables: Vec<(String, String)>,
    /// What starts it.
    pub(super) launcher: &'static str,
    pub(super) processes_per_node: Option<u32>,
    pub(super) entry_point: Option<String>,
    /// The words of a spec's command, or of the arguments of its entry point.
    pub(super) command: Vec<String>,
    /// The script starts its own processes: it needs the tasks that it asked for.
    pub(super) keeps_tasks: bool,
}

/// Variables that are another's in a run, or not there, so that commands which are kept need the script's.
const OTHERS_IN_A_RUN: &[&str] = &["SLURM_SUBMIT_DIR", "SLURM_JOB_NAME", "SLURM_ARRAY_TASK_ID"];

pub(super) fn translate(
    statements: &[Line],
    asked: &Asked,
    constants: Constants,
    runs_images: bool,
    fates: &mut Vec<Fate>,
) -> Result<Body, Refused> {
    let mut around = Around::new(constants, asked.directory.as_deref());
    let roles: Vec<(&Line, Role)> =
        statements.iter().map(|line| (line, around.role(line))).collect();
    let runs: Vec<&Option<Vec<Word>>> = roles
        .iter()
        .filter_map(|(_, role)| match role {
            Role::Runs(words) => Some(words),
            Role::Taken(..) | Role::Left(_) | Role::Beside(_) => None,
        })
        .collect();
    let launch = match runs.as_slice() {
        [Some(words)] => launch::take_apart(words, asked, runs_images),
        [None] => Err("it is more than one plain command".to_owned()),
        _ => Err("other commands run beside it, and they stay together".to_owned()),
    };
    let mut body = around.body;
    let kept: Vec<&str> = roles
        .iter()
        .filter(|(_, role)| matches!(role, Role::Beside(_) | Role::Runs(_)))
        .map(|(line, _)| line.text.as_str())
        .collect();
    if let Ok(launch) = &launch {
        taken(&mut body, launch);
    } else {
        body.launcher = "none";
        body.keeps_tasks = true;
        if !kept.is_empty() {
            let text = together(&kept, &around.constants);
            body.command = vec!["bash".into(), "-c".into(), text];
        }
    }
    for (line, role) in &roles {
        // Beside others, too, a start has its own reason.
        let own = match role {
            Role::Runs(Some(words)) => launch::take_apart(words, asked, runs_images).err(),
            Role::Runs(None) | Role::Taken(..) | Role::Left(_) | Role::Beside(_) => None,
        };
        fates.push(fate(line, role, &launch, own));
    }
    escape(&mut body)?;
    Ok(body)
}

fn taken(body: &mut Body, launch: &Launch) {
    body.launcher = launch.launcher;
    body.keeps_tasks = launch.launcher == "none";
    body.processes_per_node = launch.processes_per_node;
    body.container.clone_from(&launch.container);
    body.entry_point.clone_from(&launch.entry_point);
    body.command.clone_from(&launch.command);
    for (name, value) in &launch.variables {
        body.variables.retain(|(known, _)| known != name);
        body.variables.push((name.clone(), value.clone()));
    }
}

/// The commands that stay, as one for bash, in the surroundings that they had as a script.
fn together(kept: &[&str], constants: &Constants) -> String {
    let commands = kept.join("\n");
    let mut text = String::new();
    for name in OTHERS_IN_A_RUN.iter().filter(|name| commands.contains(**name)) {
        let value =
            constants.get(name).and_then(|value| Some(shlex::try_quote(value).ok()?.into_owned()));
        text.extend(value.map(|value| format!("export {name}={value}\n")));
    }
    if launch::starts_processes(&commands) {
        // They are of one process, and those that are started here are to find their own.
        text.push_str("unset RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK\n");
    }
    text + &commands
}

fn fate(line: &Line, role: &Role, launch: &Result<Launch, String>, own: Option<String>) -> Fate {
    let (number, text) = (line.number, &line.text);
    match (role, launch) {
        (Role::Taken(key, note), _) => Fate::taken(number, text, *key).but(note.map(str::to_owned)),
        (Role::Left(why), _) => Fate::left(number, text, *why),
        (Role::Beside(Some(why)), Ok(_)) => Fate::left(number, text, *why),
        (Role::Beside(None), Ok(_)) => Fate::used(number, text),
        (Role::Runs(_), Ok(launch)) => {
            let mut keys =
                if launch.entry_point.is_some() { "code.entry_point" } else { "code.command" }
                    .to_owned();
            keys.push_str(", distributed.launcher");
            if launch.container.is_some() {
                keys.push_str(", environment.container");
            }
            if !launch.variables.is_empty() {
                keys.push_str(", environment.variables");
            }
            Fate::taken(number, text, keys)
        }
        (Role::Beside(_), Err(_)) => Fate::kept(number, text, None),
        (Role::Runs(_), Err(why)) => {
            let why = own.unwrap_or_else(|| why.clone());
            Fate::kept(number, text, launch::is_start(text).then_some(why))
        }
    }
}

/// A brace of the script is no placeholder.
fn escape(body: &mut Body) -> Result<(), Refused> {
    let values = body.variables.iter_mut().map(|(_, value)| value);
    for text in body.command.iter_mut().chain(values) {
        let escaped = word::Word::literal(std::mem::take(text)).to_string();
        word::Word::parse(&escaped).map_err(Refused::Command)?;
        *text = escaped;
    }
    Ok(())
}
