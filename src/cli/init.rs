//! `init`: a commented spec to start from.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, path};
use crate::domain::batch_script::{Became, Fate, Origin, SCRIPT_BYTES_MAX, translate};
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
    /// An existing batch script to start from
    #[arg(long, value_name = "SCRIPT")]
    from: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if let Some(script) = &args.from {
        return run_from(context, args, script);
    }
    let target = context.surroundings.directory.join(&args.file);
    let shown = path(&args.file);
    let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
    let script = training_script(&directory);
    let text = filled(&directory, script.as_deref());
    write_new(&target, &shown, &text)?;
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

/// Writes a file that is not there yet.
fn write_new(target: &Path, shown: &str, text: &str) -> Result<(), CliError> {
    let file = std::fs::File::options().write(true).create_new(true).open(target);
    let mut file = file.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let message = format!("{shown} is there already; it was not touched");
            return CliError::new(Exit::Conflict, message)
                .hint("give another name: trainyard init FILE");
        }
        CliError::new(Exit::Usage, format!("cannot write {shown}: {error}"))
    })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| CliError::new(Exit::Internal, format!("cannot write {shown}: {error}")))
}

/// Translates a batch script, and tells what became of its lines.
fn run_from(context: &Context, args: &Args, script: &Path) -> Result<Exit, CliError> {
    let source = path(script);
    let file = std::fs::File::open(context.surroundings.directory.join(script));
    let mut bytes = Vec::new();
    file.and_then(|file| file.take(SCRIPT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| CliError::new(Exit::Usage, format!("cannot read {source}: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::new(Exit::Usage, format!("{source} is no UTF-8 text")))?;
    // Without a site the class stays open, which is told like everything else.
    let site = context.site().ok();
    let name = script.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let target = context.surroundings.directory.join(&args.file);
    let origin = Origin {
        name: &name,
        directory: target.parent().unwrap_or(Path::new("/")),
        asker: &context.surroundings.asker,
        site: site.as_ref().map(|loaded| &loaded.site),
    };
    let made = translate(&text, origin)
        .map_err(|error| CliError::new(Exit::Usage, format!("{source}: {error}")))?;
    let shown = path(&args.file);
    write_new(&target, &shown, &made.spec)?;
    context.say(&format!("wrote {shown} from {source}"));
    tell(context, &made.fates);
    context.say(&format!("next: trainyard check {shown} && trainyard submit {shown} --wait"));
    if context.global.json {
        let of = |became| made.fates.iter().filter(move |fate| fate.became == became);
        context.output().json(&serde_json::json!({
            "file": target,
            "from": script,
            "taken": of(Became::Taken).collect::<Vec<_>>(),
            "kept": of(Became::Kept).collect::<Vec<_>>(),
            "not_taken": of(Became::Left).collect::<Vec<_>>(),
        }))?;
    }
    Ok(Exit::Done)
}

/// What did not simply become keys; the spec has the reasons as comments.
fn tell(context: &Context, fates: &[Fate]) {
    const TOLD_MAX: usize = 100;
    let is_told = |fate: &&Fate| match fate.became {
        Became::Taken => fate.why.is_some(),
        Became::Kept | Became::Left => true,
    };
    let titles = [
        (Became::Taken, "taken over, but look:"),
        (Became::Kept, "kept as they are, in `code.command`:"),
        (Became::Left, "not taken over:"),
    ];
    for (became, title) in titles {
        let told: Vec<&Fate> =
            fates.iter().filter(|fate| fate.became == became).filter(is_told).collect();
        if !told.is_empty() {
            context.say(title);
        }
        for fate in told.iter().take(TOLD_MAX) {
            context.say(&first_words(fate));
            for line in fate.why.iter().flat_map(|why| wrapped(why)) {
                context.say(&format!("    {line}"));
            }
        }
        if told.len() > TOLD_MAX {
            context.say(&format!("  and {} more", told.len() - TOLD_MAX));
        }
    }
}

/// The beginning of a stretch of the script, with its number.
fn first_words(fate: &Fate) -> String {
    let mut lines = fate.text.split('\n');
    let first = lines.next().unwrap_or_default().trim_end();
    let more = lines.count();
    let before = format!("  line {}: ", fate.line);
    let behind = if more == 0 { String::new() } else { format!(" (and {more} lines more)") };
    let room = WIDTH.saturating_sub(before.len() + behind.len());
    let first = TerminalText(first).to_string();
    let mut cut: String = first.chars().take(room).collect();
    if cut.len() < first.len() {
        cut.pop();
        cut.push('…');
    }
    before + &cut + &behind
}

const WIDTH: usize = 80;

/// A reason in lines that fit, behind their indent.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in TerminalText(text).to_string().split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= WIDTH - 4 => {
                last.push(' ');
                last.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
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
