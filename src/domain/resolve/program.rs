//! What is run: command line and environment.

use std::path::{Component, Path, PathBuf};

use crate::domain::problem::{At, Place, Problem};
use crate::domain::resolve::compute::Chosen;
use crate::domain::resolve::secrets::VARIABLE;
use crate::domain::resolve::{Expectation, Expected, PATH_BYTES_MAX, Resolver};
use crate::domain::resolved::{Environment, Program};
use crate::domain::spec::{ArgValue, ArgsStyle};
use crate::domain::word::{WORD_BYTES_MAX, Word, WordError};

impl Resolver<'_> {
    /// The entry point or the command, whichever was given.
    pub(super) fn program(&mut self) -> Option<Program> {
        let code = self.spec.code.as_ref();
        match (
            code.and_then(|code| code.entry_point.as_ref()),
            code.and_then(|code| code.command.as_ref()),
        ) {
            (Some(entry_point), None) => self.entry_point(entry_point),
            (None, Some(command)) => self.command(command),
            (Some(_), Some(command)) => {
                self.at(
                    command.place,
                    "`code.command` stands beside `code.entry_point`: give one of them",
                );
                None
            }
            (None, None) => {
                if !self.program_is_misread() {
                    let problem = Problem::nowhere("the spec does not say what to run");
                    let help = "add `[code]` with `entry_point = \"train.py\"`";
                    self.problems.push(problem.help(help));
                }
                None
            }
        }
    }

    /// Whether a fault that is told already is why the program is missing: one mistake is one problem.
    fn program_is_misread(&self) -> bool {
        const MISREAD: &[&str] = &["`code.entry_point`", "`code.command", "`code` must be"];
        const MISSPELT: &[&str] = &["mean `code`", "mean `entry_point`", "mean `command`"];
        let has = |text: &str, parts: &[&str]| parts.iter().any(|part| text.contains(part));
        let is_about = |problem: &Problem| {
            has(&problem.message, MISREAD)
                || problem.help.as_deref().is_some_and(|help| has(help, MISSPELT))
        };
        !self.is_readable || self.problems.iter().any(is_about)
    }

    fn entry_point(&mut self, entry_point: &At<String>) -> Option<Program> {
        let path = Path::new(&entry_point.value);
        let inside =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if entry_point.value.is_empty()
            || !inside
            || entry_point.value.chars().any(char::is_control)
        {
            let message = format!("`{}` is no path inside the code's directory", entry_point.value);
            self.at(entry_point.place, message);
            return None;
        }
        Some(Program::EntryPoint(entry_point.value.clone()))
    }

    fn command(&mut self, command: &At<Vec<At<String>>>) -> Option<Program> {
        if command.value.first().is_none_or(|program| program.value.is_empty()) {
            self.at(command.place, "`code.command` is empty");
            return None;
        }
        Some(Program::Command(
            command.value.iter().filter_map(|word| self.word(&word.value, word.place)).collect(),
        ))
    }

    pub(super) fn args_style(&self) -> ArgsStyle {
        let code = self.spec.code.as_ref();
        code.and_then(|code| code.args_style.as_ref()).map_or(ArgsStyle::Flags, |style| style.value)
    }

    pub(super) fn args(&mut self, style: ArgsStyle) -> Vec<Word> {
        let spec = self.spec;
        let all = spec.args.iter().flat_map(|args| &args.0);
        all.flat_map(|(key, value)| self.arg(style, key, value)).collect()
    }

    /// The words of one argument.
    pub(super) fn arg(
        &mut self,
        style: ArgsStyle,
        key: &At<String>,
        value: &At<ArgValue>,
    ) -> Vec<Word> {
        if key.value.is_empty()
            || key.value.chars().any(|c| c.is_control() || c.is_whitespace() || c == '=')
        {
            self.at(
                key.place,
                format!("`{}` cannot be the name of an argument", key.value.escape_debug()),
            );
            return Vec::new();
        }
        if let ArgValue::Word(text) = &value.value {
            self.warn_of_secret(key, text, "argument");
        }
        let values: Vec<Word> = match &value.value {
            ArgValue::Switch(false) if style != ArgsStyle::Hydra => return Vec::new(),
            ArgValue::Switch(true) if style != ArgsStyle::Hydra => Vec::new(),
            ArgValue::Switch(flag) => vec![Word::literal(flag.to_string())],
            ArgValue::Word(text) => self.word(text, value.place).into_iter().collect(),
            ArgValue::Words(texts) => {
                texts.iter().filter_map(|text| self.word(text, value.place)).collect()
            }
        };
        let is_list = matches!(value.value, ArgValue::Words(_));
        let spelled = spelled(style, &key.value, values, is_list);
        // With its name before it, a value that fits may be too long.
        if let Some(long) = spelled.iter().map(Word::literal_bytes).find(|n| *n > WORD_BYTES_MAX) {
            let error = WordError::TooLong(long);
            self.at(value.place, format!("`args.{}`: {error}", key.value));
        }
        spelled
    }

    pub(super) fn word(&mut self, text: &str, place: Place) -> Option<Word> {
        let word = self.parsed(text, place)?;
        let is_fine = self.refers_to_no_checkpoint(&word, place);
        (self.refers_to_data(&word, place) && is_fine).then_some(word)
    }

    pub(super) fn parsed(&mut self, text: &str, place: Place) -> Option<Word> {
        match Word::parse(text) {
            Ok(word) => Some(word),
            Err(error) => {
                self.at(place, error.to_string());
                None
            }
        }
    }

    pub(super) fn environment(&mut self, chosen: Option<&Chosen<'_>>) -> Environment {
        let spec = self.spec.environment.as_ref();
        let venv = spec.and_then(|environment| environment.venv.as_ref()).map(|venv| {
            let path = self.beside_spec(&venv.value);
            let expected =
                Expectation { place: Some(venv.place), what: Expected::Venv, path: path.clone() };
            self.expectations.push(expected);
            path.display().to_string()
        });
        let conda = spec.and_then(|environment| environment.conda.as_ref());
        if let (Some(conda), Some(_)) = (conda, &venv) {
            self.at(
                conda.place,
                "`environment.conda` stands beside `environment.venv`: give one of them",
            );
        }
        let requirements = self.requirements(chosen.map(|chosen| &chosen.target));
        let conda = conda.map(|conda| {
            self.one_line(conda);
            if conda.value.contains('/') {
                self.beside_spec(&conda.value).display().to_string()
            } else {
                conda.value.clone()
            }
        });
        let of_class = chosen.and_then(|chosen| chosen.class);
        let modules: Vec<At<String>> = of_class
            .and_then(|class| class.modules.clone())
            .into_iter()
            .chain(spec.and_then(|environment| environment.modules.clone()))
            .flatten()
            .collect();
        for module in &modules {
            self.one_line(module);
        }
        let mut variables = Vec::new();
        let layers = [
            of_class.and_then(|class| class.environment.as_ref()),
            spec.and_then(|e| e.variables.as_ref()),
        ];
        for (name, value) in layers.into_iter().flatten().flat_map(|layer| &layer.0) {
            self.variable(name, value, &mut variables);
        }
        let conda_root = chosen
            .and_then(|chosen| chosen.cluster?.conda_root.as_ref())
            .map(|root| root.value.clone());
        Environment {
            modules: modules.into_iter().map(|module| module.value).collect(),
            conda,
            conda_root,
            venv,
            container: None,
            secrets: self.secrets(),
            requirements,
            variables,
        }
    }

    /// Adds one variable; a later layer's value replaces an earlier one's.
    pub(super) fn variable(
        &mut self,
        name: &At<String>,
        value: &At<ArgValue>,
        variables: &mut Vec<(String, Word)>,
    ) {
        if let Err(why) = check_variable_name(&name.value) {
            self.at(
                name.place,
                format!("`{}` cannot be set here: {why}", name.value.escape_debug()),
            );
            return;
        }
        let text = match &value.value {
            ArgValue::Word(text) => text.clone(),
            ArgValue::Switch(flag) => flag.to_string(),
            ArgValue::Words(_) => {
                self.at(value.place, format!("`{}` must be one value, not an array", name.value));
                return;
            }
        };
        // A word of the environment holds NAME= too.
        if name.value.len() + 1 + text.len() > WORD_BYTES_MAX {
            self.at(value.place, format!("`{}` is longer than {WORD_BYTES_MAX} bytes", name.value));
            return;
        }
        let Some(word) = self.word(&text, value.place) else { return };
        self.warn_of_secret(name, &text, VARIABLE);
        match variables.iter_mut().find(|(known, _)| *known == name.value) {
            Some(slot) => slot.1 = word,
            None => variables.push((name.value.clone(), word)),
        }
    }

    fn one_line(&mut self, text: &At<String>) {
        if text.value.is_empty()
            || text.value.starts_with('-')
            || text.value.len() > PATH_BYTES_MAX
            || text.value.chars().any(char::is_control)
        {
            self.at(
                text.place,
                format!("`{}` cannot be the name of an environment", text.value.escape_debug()),
            );
        }
    }

    /// A path of the spec: relative ones start beside the spec file, `~` is the asker's home.
    pub(super) fn beside_spec(&self, path: &str) -> PathBuf {
        let joined = match path.strip_prefix("~/") {
            Some(rest) => self.context.asker.home.join(rest),
            None => self.context.base.join(path),
        };
        // `a/./b` and `a/` read badly in messages and records; `..` may cross a link and stays.
        joined.components().collect()
    }
}

/// The words of one argument.
fn spelled(style: ArgsStyle, key: &str, values: Vec<Word>, is_list: bool) -> Vec<Word> {
    match style {
        ArgsStyle::Flags => {
            std::iter::once(Word::literal(format!("--{key}"))).chain(values).collect()
        }
        ArgsStyle::Equals if values.is_empty() => vec![Word::literal(format!("--{key}"))],
        ArgsStyle::Equals => {
            values.into_iter().map(|value| value.prefixed(&format!("--{key}="))).collect()
        }
        ArgsStyle::Hydra if !is_list => {
            values.into_iter().map(|value| value.prefixed(&format!("{key}="))).collect()
        }
        ArgsStyle::Hydra => {
            let mut pieces = vec![crate::domain::word::Piece::Literal(format!("{key}=["))];
            for (index, value) in values.into_iter().enumerate() {
                if index > 0 {
                    pieces.push(crate::domain::word::Piece::Literal(",".into()));
                }
                pieces.extend(value.0);
            }
            pieces.push(crate::domain::word::Piece::Literal("]".into()));
            vec![Word(pieces)]
        }
    }
}

/// Whether a variable may be set by a spec, a class or a file of secrets.
pub fn check_variable_name(name: &str) -> Result<(), &'static str> {
    /// Set by the script itself for every process.
    const OURS: &[&str] = &[
        "RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "NODE_RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
    ];
    /// Read-only in bash, changed by bash itself, or changing how the script is read.
    const BASH: &[&str] = &[
        "BASHOPTS",
        "DIRSTACK",
        "ENV",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "HISTCMD",
        "IFS",
        "LINENO",
        "OPTIND",
        "PIPESTATUS",
        "POSIXLY_CORRECT",
        "PPID",
        "RANDOM",
        "SECONDS",
        "SHELLOPTS",
        "SHLVL",
        "SRANDOM",
        "UID",
        "_",
    ];
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(
            "a variable's name is made of letters, digits and `_` and does not begin with a digit",
        );
    }
    if OURS.contains(&name)
        || ["TRAINYARD_", "SLURM_", "SBATCH_", "SRUN_"].iter().any(|p| name.starts_with(p))
    {
        return Err("Trainyard and Slurm set it themselves");
    }
    if BASH.contains(&name) || name.starts_with("BASH") {
        return Err("bash keeps it for itself");
    }
    Ok(())
}

/// Whether an entry point is a Python program.
pub(super) fn is_python(program: &Program) -> bool {
    match program {
        Program::EntryPoint(path) => {
            Path::new(path).extension().is_some_and(|ending| ending == "py")
        }
        Program::Command(_) => false,
    }
}
