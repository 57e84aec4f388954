//! Documents agree with the code: the reference is generated, examples are loaded, commands in texts are understood.
//!
//! `TRAINYARD_UPDATE_DOCS=1` rewrites the reference instead of comparing it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use trainyard::cli::{Cli, Exit, LATER, parse};
use walkdir::WalkDir;

use crate::env::TestEnv;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a directory whose names end so, sorted.
fn files(below: &str, ending: &str) -> Vec<PathBuf> {
    let all = WalkDir::new(root().join(below)).sort_by_file_name().into_iter().map(Result::unwrap);
    let found: Vec<PathBuf> = all
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.is_file() && path.to_string_lossy().ends_with(ending))
        .collect();
    assert!(!found.is_empty(), "{below} has no {ending}");
    found
}

/// Compares a generated document with what lies in `docs/reference`, or writes it there.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the program")]
fn check_document(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("TRAINYARD_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "TRAINYARD_UPDATE_DOCS=1 cargo test --test it documents";
    assert!(
        written == text,
        "docs/reference/{name} is not what the code says; mend it with: {hint}"
    );
}

fn schema(kind: &str) -> String {
    TestEnv::new().line(&format!("util schema {kind}")).success().stdout
}

#[test]
fn the_schemas_are_those_of_the_code() {
    check_document("schema/run.schema.json", &schema("run"));
    check_document("schema/site.schema.json", &schema("site"));
    check_document("schema/export.schema.json", &schema("export"));
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    let mut text =
        "# Exit codes\n\nGenerated from the code. Every verb ends with one of these.\n\n\
                    | code | meaning |\n|---|---|\n"
            .to_owned();
    for (exit, meaning) in Exit::MEANINGS {
        text.push_str(&format!("| {} | {meaning} |\n", *exit as u8));
    }
    text.push_str("\n10 is kept for what is not built yet: it is not permitted.\n");
    check_document("exit-codes.md", &text);
}

#[test]
fn the_command_line_is_that_of_the_code() {
    let mut command = Cli::command();
    command.build();
    let mut text = format!(
        "# Command line\n\nGenerated from the code; `trainyard --help` and `trainyard VERB --help` say the same. \
         [exit-codes.md](exit-codes.md) says how commands end.\n\n{}\n\n",
        command.get_about().unwrap()
    );
    let (global, _): (Vec<_>, Vec<_>) = arguments(&command).partition(|arg| arg.is_global_set());
    text.push_str("## Options of every verb\n\n");
    text.push_str(&table(&global));
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        document(verb, &mut text);
    }
    let later: Vec<String> = LATER.iter().map(|verb| format!("`{verb}`")).collect();
    text.push_str(&format!(
        "## Not in this version\n\n{} are refused as such.\n",
        later.join(", ")
    ));
    check_document("cli.md", &text);
}

fn arguments(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
    own.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

/// A verb and the verbs below it.
fn document(verb: &clap::Command, text: &mut String) {
    if verb.is_hide_set() {
        return;
    }
    if verb.has_subcommands() {
        let inner = verb.get_subcommands().filter(|inner| inner.get_name() != "help");
        inner.for_each(|inner| document(inner, text));
        return;
    }
    let mut verb = verb.clone();
    let usage = verb.render_usage().to_string();
    let words = usage.trim_start_matches("Usage: ");
    let name = words.split([' ']).take_while(|word| !word.starts_with(['[', '<', '-']));
    let name = name.collect::<Vec<_>>().join(" ");
    text.push_str(&format!("## {name}\n\n{}\n\n", verb.get_about().unwrap()));
    if let Some(alias) = verb.get_all_aliases().next() {
        text.push_str(&format!("Also `{alias}`.\n\n"));
    }
    text.push_str(&format!("```\n{words}\n```\n\n"));
    let own: Vec<&clap::Arg> = arguments(&verb).filter(|arg| !arg.is_global_set()).collect();
    if !own.is_empty() {
        text.push_str(&table(&own));
    }
}

fn table(arguments: &[&clap::Arg]) -> String {
    let mut text = "| | |\n|---|---|\n".to_owned();
    for arg in arguments {
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let value = value.into_iter().flatten().fold(String::new(), |text, name| text + " " + name);
        let flag = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("`-{short}`, `--{long}{value}`"),
            (None, Some(long)) => format!("`--{long}{value}`"),
            (_, None) => format!("`{}`", value.trim()),
        };
        let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<String> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if arg.get_action().takes_values() && !possible.is_empty() {
            meaning.push_str(&format!("; one of {}", possible.join(", ")));
        }
        let default = arg.get_default_values().first();
        if let Some(default) = default.filter(|_| arg.get_action().takes_values()) {
            meaning.push_str(&format!("; default {}", default.to_string_lossy()));
        }
        if let Some(variable) = arg.get_env() {
            meaning.push_str(&format!("; `{}`", variable.to_string_lossy()));
        }
        text.push_str(&format!("| {flag} | {} |\n", meaning.replace('|', "\\|")));
    }
    text + "\n"
}

/// A file of TOML against a schema, and its first line, which names that schema.
fn check_file(path: &Path, schema: &serde_json::Value, name: &str) {
    let text = read(path);
    let shown = path.strip_prefix(root()).unwrap().display().to_string();
    let first = text.lines().next().unwrap();
    let Some(named) = first.strip_prefix("#:schema ") else {
        panic!("{shown} does not begin with #:schema")
    };
    let named = path.parent().unwrap().join(named).canonicalize().unwrap();
    assert_eq!(named, root().join("docs/reference/schema").join(name).canonicalize().unwrap());
    let instance: serde_json::Value = toml::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{shown}");
}

#[test]
fn every_example_is_a_valid_spec() {
    let env = TestEnv::new();
    let schema = serde_json::from_str(&schema("run")).unwrap();
    let site = root().join("site-config/site.toml");
    for path in files("examples", "run.toml") {
        check_file(&path, &schema, "run.schema.json");
        let spec: serde_json::Value = toml::from_str(&read(&path)).unwrap();
        let mut words = vec![OsString::from("check"), path.into()];
        if spec["compute"].get("class").is_some() {
            words.extend(["--site".into(), site.clone().into()]);
        }
        drop(env.run(words).success());
    }
}

#[test]
fn every_site_config_is_valid() {
    let env = TestEnv::new();
    let schema = serde_json::from_str(&schema("site")).unwrap();
    for path in files("site-config", ".toml") {
        check_file(&path, &schema, "site.schema.json");
        for line in ["site show", "classes"] {
            let words = line.split(' ').map(OsString::from);
            drop(env.run(words.chain(["--site".into(), path.clone().into()])).success());
        }
    }
}

#[test]
fn keys_that_the_reference_site_only_mentions_are_valid_too() {
    let env = TestEnv::new();
    let schema = serde_json::from_str::<serde_json::Value>(&schema("site")).unwrap();
    let mut mentioned = 0;
    let uncommented: String = read(&root().join("site-config/site.toml"))
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // Only a file of the system may say this one.
            Some(key)
                if key.starts_with(|c: char| c.is_ascii_lowercase())
                    && !key.starts_with("allow_") =>
            {
                mentioned += 1;
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(mentioned > 10, "the form of those lines has changed");
    let instance: serde_json::Value = toml::from_str(&uncommented).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&instance));
    let site = env.write("all.toml", &uncommented);
    drop(env.run([OsString::from("site"), "show".into(), "--site".into(), site.into()]).success());
}

/// What a schema must refuse, so that the tests above mean something.
#[test]
fn the_schema_refuses_what_check_refuses() {
    let schema = serde_json::from_str(&schema("run")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let is_valid = |text: &str| validator.is_valid(&toml::from_str(text).unwrap());
    assert!(is_valid("[code]\nentry_point = 'a.py'\n[args]\nx = [1, 'a', true]\n"));
    for wrong in [
        "nmae = 'x'",
        "name = 1",
        "[compute]\nnodes = '2'",
        "[compute]\nnodes = 0",
        "[distributed]\nlauncher = 'torchrunn'",
        "[sweep]\nmethod = 'gird'",
        "[sweep]\nparameters = 1",
        "[sweep.parameters]\n'args.x' = 1",
        "[args]\nx = { y = 1 }",
    ] {
        assert!(!is_valid(wrong), "{wrong}");
    }
}

/// Commands in blocks of code: each must be understood as it stands.
fn commands_of_blocks(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = !is_inside;
            continue;
        }
        let line = line.replace("cargo run --release -- ", "trainyard ");
        if is_inside && line.starts_with("trainyard ") {
            commands.extend(line.split(" && ").map(str::to_owned));
        }
    }
    commands
}

#[test]
fn commands_in_documents_are_understood() {
    let mut count = 0;
    let documents =
        files("docs", ".md").into_iter().filter(|path| !path.ends_with("reference/cli.md"));
    for path in documents.chain([root().join("README.md")]) {
        for command in commands_of_blocks(&read(&path)) {
            let words = shlex::split(command.split(" | ").next().unwrap()).unwrap();
            let words: Vec<OsString> =
                words.into_iter().take_while(|word| word != "#").map(OsString::from).collect();
            if let Err(error) = parse(words, |_| true) {
                panic!("{}: {command}\n{error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands were found: the form of the documents has changed");
}

/// Commands that stand inside sentences and hints, `{…}` being filled in: verb and flags must be there.
fn commands_of_sentences(text: &str) -> Vec<String> {
    let commands =
        text.split('`').filter(|span| span.starts_with("trainyard ") && !span.contains('\n'));
    commands.map(|span| span.replace(['{', '}'], "")).collect()
}

#[test]
fn commands_in_sentences_and_hints_are_there() {
    let mut count = 0;
    let everywhere = files("docs", ".md").into_iter().chain(files("src", ".rs"));
    let everywhere =
        everywhere.chain(files("examples", ".toml")).chain(files("site-config", ".toml"));
    for path in everywhere.chain([root().join("README.md"), root().join("CHANGELOG.md")]) {
        for command in commands_of_sentences(&read(&path)) {
            let words: Vec<OsString> =
                command.replace('…', "").split_whitespace().map(OsString::from).collect();
            let missing = [ErrorKind::InvalidSubcommand, ErrorKind::UnknownArgument];
            if let Err(error) = parse(words, |_| true)
                && missing.contains(&error.kind())
                && !command.contains("VERB")
            {
                panic!("{}: {command}\n{error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count} commands were found: the form of the texts has changed");
}

#[test]
fn the_changelog_tells_what_is_coming() {
    let changelog = read(&root().join("CHANGELOG.md"));
    let (_, unreleased) = changelog.split_once("## [Unreleased]\n").unwrap();
    let unreleased = unreleased.split("\n## ").next().unwrap();
    assert!(unreleased.contains("### Added\n\n- "), "{unreleased}");
}

#[test]
fn the_service_starts_what_the_guide_installs() {
    let service = read(&root().join("site-config/trainyard.service"));
    assert!(service.contains("\nExecStart=%h/.cargo/bin/trainyard serve\n"), "{service}");
    let guide = read(&root().join("docs/guide/getting-started.md"));
    assert!(guide.contains("cargo install --path .") && guide.contains("`~/.cargo/bin`"));
}
