//! What stands around the training in a script, and what must run.

use std::path::Path;

use crate::domain::batch_script::body::Body;
use crate::domain::batch_script::compute::CAPTURED;
use crate::domain::batch_script::lines::Line;
use crate::domain::batch_script::words::{Constants, Word, command};
use crate::domain::resolve::program::check_variable_name;

/// What a command of the script is for.
#[derive(Debug)]
pub(super) enum Role {
    /// It goes to a key; with what somebody should know of that.
    Taken(&'static str, Option<&'static str>),
    /// It is not needed, and why.
    Left(&'static str),
    /// It serves commands that stay. Where none do it is not needed, and why; or its value stands where it was used.
    Beside(Option<&'static str>),
    /// It must run. Its words, where it is one simple command.
    Runs(Option<Vec<Word>>),
}

/// Commands that only tell or wait.
const TELLS: &[&str] = &[
    "cat",
    "date",
    "df",
    "echo",
    "free",
    "hostname",
    "id",
    "ls",
    "lscpu",
    "nvcc",
    "nvidia-smi",
    "printenv",
    "pwd",
    "rocm-smi",
    "sleep",
    "uname",
    "wait",
    "which",
    "whoami",
];
/// What Trainyard tells every process of the others.
const PROCESSES: &[&str] = &[
    "MASTER_ADDR",
    "MASTER_PORT",
    "WORLD_SIZE",
    "RANK",
    "NODE_RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
];
const SETS_PROCESSES: &str = "Trainyard sets it for every process";

/// The commands so far.
pub(super) struct Around {
    pub(super) constants: Constants,
    pub(super) body: Body,
    /// Something before must run.
    has_run: bool,
    /// Modules were changed in a way that has no key.
    keeps_modules: bool,
}

impl Around {
    pub(super) fn new(constants: Constants, directory: Option<&str>) -> Self {
        let body = Body { path: directory.map(str::to_owned), ..Body::default() };
        Self { constants, body, has_run: false, keeps_modules: false }
    }

    pub(super) fn role(&mut self, line: &Line) -> Role {
        let role = self.judge(&line.text);
        self.has_run |= matches!(role, Role::Runs(_));
        role
    }

    fn judge(&mut self, text: &str) -> Role {
        if text.contains("conda shell.bash hook") || text.contains("etc/profile.d/conda.sh") {
            return Role::Left("Trainyard sets up conda itself (site key `conda_root`)");
        }
        // What stands behind is for a directory that is not there, which a run tells.
        let simple = match text.split_once("||") {
            Some((cd, exit)) if cd.starts_with("cd ") && exit.trim().starts_with("exit") => cd,
            Some(_) | None => text,
        };
        let Some(words) = command(simple.trim(), &self.constants) else {
            self.constants.follow(text);
            return Role::Runs(None);
        };
        if words.is_empty() {
            return Role::Beside(None);
        }
        if words.iter().all(|word| word.assignment().is_some()) {
            return self.assign(words);
        }
        match words.first().and_then(|word| word.text.as_deref()) {
            Some("export") => return self.export(words),
            Some("set" | "shopt") => {
                return Role::Beside(Some("it is about the script's own bash"));
            }
            Some("exit") => return Role::Beside(Some("a run ends as its training does")),
            Some(name) if TELLS.contains(&name) => {
                return Role::Beside(Some(
                    "it only tells or waits; the run's record has the job, its nodes and times",
                ));
            }
            Some(_) | None => {}
        }
        let known: Option<Vec<&str>> = words.iter().map(|word| word.text.as_deref()).collect();
        if let Some(role) = known.and_then(|known| self.known(&known)) {
            return role;
        }
        self.constants.follow(text);
        Role::Runs(Some(words))
    }

    /// `A=1 B=2`, for the script itself.
    fn assign(&mut self, words: Vec<Word>) -> Role {
        let mut is_elsewhere = false;
        let mut sets_processes = true;
        let mut is_open = false;
        for (name, value) in words.iter().filter_map(Word::assignment) {
            self.constants.set(name, value.map(str::to_owned));
            sets_processes &= PROCESSES.contains(&name);
            is_open |= value.is_none();
            // These are exported already, so that the training sees them.
            is_elsewhere |= name == "PATH"
                || name.starts_with("LD_")
                || name == "PYTHONPATH"
                || self.body.variables.iter().any(|(known, _)| known == name);
        }
        if sets_processes {
            Role::Beside(Some(SETS_PROCESSES))
        } else if is_elsewhere {
            Role::Runs(Some(words))
        } else if is_open {
            Role::Beside(Some("nothing that was taken over needs it"))
        } else {
            Role::Beside(None)
        }
    }

    fn export(&mut self, words: Vec<Word>) -> Role {
        let mut pairs = Vec::new();
        for word in words.iter().skip(1) {
            pairs.push(match word.assignment() {
                Some((name, value)) => (name.to_owned(), value.map(str::to_owned)),
                None => (word.raw.clone(), self.constants.get(&word.raw).map(str::to_owned)),
            });
        }
        for (name, value) in &pairs {
            self.constants.set(name, value.clone());
        }
        if !pairs.is_empty() && pairs.iter().all(|(name, _)| PROCESSES.contains(&name.as_str())) {
            return Role::Beside(Some(SETS_PROCESSES));
        }
        let is_set = |name: &str| self.body.variables.iter().any(|(known, _)| known == name);
        let fits = |(name, value): &(String, Option<String>)| {
            value.is_some() && check_variable_name(name).is_ok() && !(self.has_run && is_set(name))
        };
        if pairs.is_empty() || !pairs.iter().all(fits) {
            return Role::Runs(Some(words));
        }
        for (name, value) in pairs {
            self.body.variables.retain(|(known, _)| *known != name);
            self.body.variables.push((name, value.unwrap_or_default()));
        }
        Role::Taken("environment.variables", None)
    }

    fn known(&mut self, words: &[&str]) -> Option<Role> {
        let has_environment = self.body.conda.is_some() || self.body.venv.is_some();
        Some(match words {
            ["cd", directory] if !self.has_run => return self.enter(directory),
            ["env"]
            | ["python" | "python3", "--version" | "-V"]
            | ["module" | "ml", "list" | "avail"] => {
                Role::Beside(Some("it only tells; the run's record has what each start got"))
            }
            ["module" | "ml", "purge" | "reset", ..] => {
                Role::Left("a job does not inherit your shell's modules")
            }
            ["module" | "ml", "load" | "add", names @ ..] => return self.modules(names),
            [
                "module" | "ml",
                "use" | "unuse" | "swap" | "switch" | "unload" | "restore" | "rm",
                ..,
            ] => {
                self.keeps_modules = true;
                return None;
            }
            ["ml", names @ ..] => return self.modules(names),
            ["conda" | "mamba" | "micromamba", "deactivate"] | ["deactivate"] => {
                Role::Left("the environment ends with the job")
            }
            ["conda" | "mamba" | "micromamba" | "source", "activate", name]
                if !has_environment && !name.starts_with('-') =>
            {
                self.body.conda =
                    Some(if name.contains('/') { self.at(name) } else { (*name).to_owned() });
                Role::Taken("environment.conda", None)
            }
            ["source" | ".", path, name] if !has_environment && is_conda(path) => {
                self.body.conda = Some((*name).to_owned());
                Role::Taken("environment.conda", None)
            }
            ["source" | ".", path] if path.ends_with("/bin/activate") && !has_environment => {
                let prefix = Some(self.at(path.strip_suffix("/bin/activate")?));
                if is_conda(path) {
                    self.body.conda = prefix;
                    return Some(Role::Taken("environment.conda", None));
                }
                self.body.venv = prefix;
                Role::Taken("environment.venv", None)
            }
            ["source" | ".", path] if is_start_up_file(path) => Role::Left(
                "a run reads no start-up files of a shell: say what it needs in `[environment]`",
            ),
            _ => return None,
        })
    }

    /// Follows a `cd` that stands before all that runs.
    fn enter(&mut self, directory: &str) -> Option<Role> {
        let submitted = self.constants.get("SLURM_SUBMIT_DIR").unwrap_or_default().to_owned();
        if directory.is_empty() || directory == "-" {
            return None;
        }
        let to = self.at(directory);
        if Path::new(&to) == Path::new(&submitted) || to == "." {
            self.body.path = None;
            return Some(Role::Left("the training starts in the code's own directory"));
        }
        self.body.path = Some(to);
        Some(Role::Taken("code.path", Some(CAPTURED)))
    }

    /// A path of the script at this point, as one that begins where it was submitted.
    fn at(&self, path: &str) -> String {
        match &self.body.path {
            Some(directory) => Path::new(directory).join(path).to_string_lossy().into_owned(),
            None => path.to_owned(),
        }
    }

    fn modules(&mut self, names: &[&str]) -> Option<Role> {
        if self.keeps_modules || names.is_empty() || names.iter().any(|name| name.starts_with('-'))
        {
            self.keeps_modules = true;
            return None;
        }
        self.body.modules.extend(names.iter().map(|&name| name.to_owned()));
        Some(Role::Taken("environment.modules", None))
    }
}

/// conda's own `activate`, not that of a virtual environment.
fn is_conda(path: &str) -> bool {
    path.ends_with("/bin/activate")
        && ["conda", "forge", "mamba"]
            .iter()
            .any(|name| path.rsplit('/').nth(2).is_some_and(|directory| directory.contains(name)))
}

fn is_start_up_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, ".bashrc" | ".bash_profile" | ".profile")
        || matches!(path, "/etc/profile" | "/etc/bashrc" | "/etc/bash.bashrc")
        || path.starts_with("/etc/profile.d/")
}
