//! `init`: a commented spec to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, path};
use crate::domain::resolve::is_run_name;

/// What is written, but for its first line, which only fits where the example lies.
const TEMPLATE: &str = include_str!("../../examples/template/run.toml");
/// The lines of the template that are filled in.
const NAME_LINE: &str = "# name = \"my-run\"\n";
const ENTRY_POINT: &str = "entry_point = \"train.py\"";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write
    #[arg(default_value = "run.toml")]
    file: PathBuf,
    /// An existing batch script to start from (not supported by this version)
    #[arg(long, value_name = "SCRIPT")]
    from: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.from.is_some() {
        return Err(CliError::usage("`init --from` is not supported by this version"));
    }
    let target = context.surroundings.directory.join(&args.file);
    let shown = path(&args.file);
    let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
    let file = std::fs::File::options().write(true).create_new(true).open(&target);
    let mut file = file.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let message = format!("{shown} is there already; it was not touched");
            return CliError::new(Exit::Conflict, message)
                .hint("give another name: trainyard init FILE");
        }
        CliError::new(Exit::Usage, format!("cannot write {shown}: {error}"))
    })?;
    let script = training_script(&directory);
    let text = filled(&directory, script.as_deref());
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| CliError::new(Exit::Internal, format!("cannot write {shown}: {error}")))?;
    match script {
        Some(script) => {
            context.say(&format!("wrote {shown}, which runs {}", TerminalText(&script)));
        }
        None => context.say(&format!(
            "wrote {shown}; it runs train.py, which is not there yet: name your own script under [code]"
        )),
    }
    context.say(&format!("next: trainyard check {shown} && trainyard submit {shown} --wait"));
    if context.global.json {
        context.output().json(&serde_json::json!({ "file": target }))?;
    }
    Ok(Exit::Done)
}

/// The script that is probably meant: `train.py`, else the only Python file here.
fn training_script(directory: &Path) -> Option<String> {
    const USUAL: &str = "train.py";
    if directory.join(USUAL).is_file() {
        return Some(USUAL.to_owned());
    }
    let entries = std::fs::read_dir(directory).ok()?;
    let mut scripts = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "py"))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with(['.', '_']));
    let only = scripts.next()?;
    scripts.next().is_none().then_some(only)
}

/// The template with the script's name and, where it can be a run's name, the directory's.
fn filled(directory: &Path, script: Option<&str>) -> String {
    let (_schema, text) = TEMPLATE.split_once('\n').unwrap_or(("", TEMPLATE));
    let mut text = text.to_owned();
    let stem = directory.file_name().map(|name| name.to_string_lossy().to_lowercase());
    if let Some(name) = stem.filter(|name| is_run_name(name)) {
        text = text.replacen(NAME_LINE, &format!("name = \"{name}\"\n"), 1);
    }
    if let Some(script) = script {
        // JSON's strings are TOML's basic strings.
        let line = format!("entry_point = {}", serde_json::Value::from(script));
        text = text.replacen(ENTRY_POINT, &line, 1);
    }
    text
}
