//! Batch scripts of the shapes that people have, and the specs they come to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use trainyard::domain::batch_script::{Became, Fate, Origin, Translation, translate};
use trainyard::domain::document::parse;
use trainyard::domain::problem::{Source, SourceId, Sources};
use trainyard::domain::resolve::{Asker, Context, resolve};
use trainyard::domain::site::{Layer, LayerKind, Site, effective};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/batch_scripts")
}

fn site() -> Site {
    let text = std::fs::read_to_string(directory().join("site.toml")).unwrap();
    let mut sources = Sources::default();
    let source = Source { name: "site.toml".into(), text: text.clone(), base: "/".into() };
    let source = sources.add(source);
    let (table, problems) = parse(&text, source);
    assert_eq!(problems, vec![]);
    let (site, _, problems) = effective(vec![Layer { kind: LayerKind::User, source, table }]);
    assert_eq!(problems, vec![]);
    site
}

fn ada() -> Asker {
    Asker {
        user: "ada".into(),
        uid: 1000,
        group: "lab".into(),
        groups: vec!["lab".into()],
        home: "/home/ada".into(),
    }
}

/// Every script, by its name without the ending.
fn scripts() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "sbatch") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            all.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn made(text: &str, site: Option<&Site>) -> Translation {
    let asker = ada();
    let directory = Path::new("/home/ada/lab");
    translate(text, Origin { name: "job.sbatch", directory, asker: &asker, site }).unwrap()
}

/// What `check` finds in a spec, but for files that are not there.
fn problems(spec: &str, site: &Site) -> Vec<String> {
    let (table, problems) = parse(spec, SourceId(0));
    let asker = ada();
    let base = Path::new("/home/ada/lab");
    let context = Context { site, asker: &asker, base, stem: "run" };
    let outcome = resolve(&table, problems, context);
    outcome.problems.into_iter().map(|problem| problem.message).collect()
}

fn shown(made: &Translation, problems: &[String]) -> String {
    let mut text = String::new();
    for Fate { line, text: words, became, key, why } in &made.fates {
        let first = words.lines().next().unwrap_or_default();
        writeln!(text, "{line:>3} {became:?} {}: {first}", key.as_deref().unwrap_or("-")).unwrap();
        if let Some(why) = why {
            writeln!(text, "      {why}").unwrap();
        }
    }
    for problem in problems {
        writeln!(text, "check: {problem}").unwrap();
    }
    format!("{text}----\n{}", made.spec)
}

#[test]
fn ten_scripts_and_what_became_of_them() {
    let site = site();
    let scripts = scripts();
    assert!(scripts.len() >= 10, "{}", scripts.len());
    for (name, text) in scripts {
        let made = made(&text, Some(&site));
        let problems = problems(&made.spec, &site);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots/batch_scripts");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name.clone(), shown(&made, &problems)));
    }
}

/// What a class does not give is told with the line that asks for it.
#[test]
fn a_spec_is_right_for_its_site_or_the_script_was_not() {
    let site = site();
    for (name, text) in scripts() {
        let made = made(&text, Some(&site));
        let is_told = made.fates.iter().any(|fate| {
            fate.became == Became::Taken
                && fate.why.as_ref().is_some_and(|why| why.contains("gives at most"))
        });
        let problems = problems(&made.spec, &site);
        assert_eq!(problems.is_empty(), !is_told, "{name}: {problems:?}\n{}", made.spec);
    }
}

/// Every line that says something is in one stretch, and each stretch has one fate; an `#SBATCH` line has one for each of
/// its options.
#[test]
fn every_line_is_accounted_for_once() {
    let site = site();
    for (name, text) in scripts() {
        let made = made(&text, Some(&site));
        let mut seen = BTreeSet::new();
        for fate in &made.fates {
            for at in fate.line..=fate.line + fate.text.matches('\n').count() {
                let is_new = seen.insert(at);
                assert!(is_new || fate.text.starts_with("#SBATCH"), "{name}: line {at} twice");
            }
        }
        for (index, line) in text.lines().enumerate().skip(1) {
            let says = !line.trim().is_empty()
                && (line.starts_with("#SBATCH") || !line.trim_start().starts_with('#'));
            assert!(!says || seen.contains(&(index + 1)), "{name}: line {} is lost", index + 1);
        }
        for fate in made.fates.iter().filter(|fate| fate.became == Became::Left) {
            assert!(fate.why.is_some(), "{name}: {fate:?}");
        }
        // What is kept is in the command, as it stands.
        let (table, _) = parse(&made.spec, SourceId(0));
        let command = format!("{table:?}").replace("{{", "{").replace("}}", "}");
        for fate in made.fates.iter().filter(|fate| fate.became == Became::Kept) {
            let text = format!("{:?}", fate.text);
            assert!(command.contains(text.trim_matches('"')), "{name}: {text}\n{command}");
        }
    }
}

/// What bash makes of the lines' `OUT`.
#[expect(clippy::disallowed_methods, reason = "bash itself says what is right")]
fn by_bash(lines: &str) -> String {
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("{lines}\nprintf %s \"$OUT\"")])
        .env_clear()
        .envs([("HOME", "/home/ada"), ("USER", "ada")])
        .current_dir("/")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Pieces of a value in any order.
const VALUE: &str = r#"(a|b:|~/|'c  d'|" e  f"|\$A|\$\{B\}|"\$C  x"|\$\{D:-g\}|\$\{E-\$\{A:-h\}\}|\$HOME|\\\$|\{|\}|#|=|"\\"i"){0,5}"#;

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    /// A value that is written to the spec is the one that the job would have seen.
    #[test]
    fn values_are_what_bash_makes_of_them(values in proptest::collection::vec(VALUE, 6)) {
        let names = ["A", "B", "C", "A", "D", "export OUT"];
        let lines: Vec<String> =
            names.iter().zip(&values).map(|(name, value)| format!("{name}={value}")).collect();
        let lines = lines.join("\n");
        let made = made(&format!("#!/bin/bash\n{lines}\n./run\n"), None);
        let spec: toml::Value = toml::from_str(&made.spec).unwrap();
        let out = spec.get("environment").and_then(|all| all.get("variables")?.get("OUT"));
        if let Some(out) = out.and_then(toml::Value::as_str) {
            proptest::prop_assert_eq!(out.replace("{{", "{").replace("}}", "}"), by_bash(&lines), "{}", lines);
        }
    }
}
