//! The source tree's own rules: directions between modules, file lengths, and what must not be said.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// What each layer must not name.
const DIRECTIONS: &[(&str, &[&str])] = &[
    (
        "src/domain",
        &[
            "tokio",
            "rusqlite::",
            "axum",
            "std::fs",
            "fs_err",
            "std::process",
            "std::env",
            "Timestamp::now",
            "crate::script",
            "crate::ports",
            "crate::hands",
            "crate::local",
            "crate::slurm",
            "crate::files",
            "crate::store",
            "crate::daemon",
            "crate::web",
            "crate::cli",
            "crate::api",
        ],
    ),
    (
        "src/script",
        &[
            "tokio",
            "rusqlite::",
            "axum",
            "std::fs",
            "fs_err",
            "std::process",
            "std::env",
            "crate::ports",
            "crate::hands",
            "crate::local",
            "crate::slurm",
            "crate::files",
            "crate::store",
            "crate::daemon",
            "crate::web",
            "crate::cli",
            "crate::api",
        ],
    ),
    (
        "src/store",
        &[
            "axum",
            "std::process",
            "crate::daemon",
            "crate::web",
            "crate::cli",
            "crate::hands",
            "crate::local",
        ],
    ),
    (
        "src/hands",
        &["rusqlite::", "axum", "crate::store", "crate::daemon", "crate::web", "crate::cli"],
    ),
    (
        "src/local",
        &[
            "rusqlite::",
            "axum",
            "Command::new",
            "crate::store",
            "crate::daemon",
            "crate::web",
            "crate::cli",
        ],
    ),
    (
        "src/slurm",
        &[
            "rusqlite::",
            "axum",
            "Command::new",
            "crate::local",
            "crate::store",
            "crate::daemon",
            "crate::web",
            "crate::cli",
        ],
    ),
    (
        "src/files",
        &[
            "rusqlite::",
            "axum",
            "crate::store",
            "crate::daemon",
            "crate::web",
            "crate::cli",
            "crate::hands",
        ],
    ),
    ("src/daemon", &["rusqlite::", "std::process::Command", "crate::cli"]),
    (
        "src/web",
        &[
            "rusqlite::",
            "std::process::Command",
            "crate::cli",
            "scheduler.cancel",
            "scheduler.submit",
        ],
    ),
    ("src/cli", &["rusqlite::", "std::process::Command", "crate::web"]),
];

/// Lines of a source file. A file on this list may not grow beyond its number; everything else stays under 400.
const LONG: &[(&str, usize, &str)] = &[];
const LINES_MAX: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &str) -> Vec<(PathBuf, String)> {
    let files = WalkDir::new(root().join(below)).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs"))
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.path().strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect()
}

/// A file's code without its comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

#[test]
fn layers_name_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (layer, forbidden) in DIRECTIONS {
        let files = rust_files(layer);
        assert!(!files.is_empty(), "{layer} has no files: mend this table");
        for (path, text) in files {
            for (number, line) in code(&text) {
                wrong.extend(
                    forbidden
                        .iter()
                        .filter(|word| line.contains(*word))
                        .map(|word| format!("{}:{number}: {word}", path.display())),
                );
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests/it")) {
        let shown = path.display().to_string();
        let lines = text.lines().count();
        let most =
            LONG.iter().find(|(name, ..)| *name == shown).map_or(LINES_MAX, |(_, most, _)| *most);
        if lines > most {
            wrong.push(format!("{shown} has {lines} lines, {most} are allowed"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{shown} does not begin with what it is for"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_test_is_skipped_and_no_work_left_for_later() {
    let mut wrong = Vec::new();
    let words = [
        concat!("#[", "ignore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests/it")) {
        for (number, line) in code(&text) {
            wrong.extend(
                words
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{}:{number}: {word}", path.display())),
            );
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Bash of the project's own: what bash is named in at the top, and the parts that such files source.
fn shell_scripts() -> Vec<PathBuf> {
    let is_bash = |path: &Path| {
        let text = std::fs::read(path).unwrap();
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.starts_with(b"#!") && first.ends_with(b"bash")
    };
    let files = WalkDir::new(root().join("tests")).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        // These are as people write them, faults included.
        .filter(|path| path.extension().is_none_or(|ending| ending != "sbatch"))
        .filter(|path| path.extension().is_some_and(|ending| ending == "sh") || is_bash(path))
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests start shellcheck")]
fn shellcheck_finds_no_fault_in_the_scripts_of_the_tests() {
    let scripts = shell_scripts();
    for known in ["tests/run", "tests/cluster/up", "tests/cluster/lib/common.sh"] {
        assert!(scripts.contains(&root().join(known)), "{known} is not looked at: {scripts:?}");
    }
    let told = std::process::Command::new("shellcheck")
        .args(["--external-sources", "--source-path=SCRIPTDIR", "--format=gcc"])
        .args(scripts)
        .output()
        .expect("shellcheck is needed for this test: apt-get install shellcheck");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
}

/// In builds of the tests something else has it on, so that no other test would miss it.
#[test]
fn numbers_are_read_as_they_were_written() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let features = manifest["dependencies"]["serde_json"]["features"].as_array().unwrap();
    assert!(features.iter().any(|feature| feature.as_str() == Some("float_roundtrip")));
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let agreed = [
        "Cargo.lock",
        "Cargo.toml",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "docs",
        "examples",
        "site-config",
        "src",
        "target",
        "templates",
        "tests",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || agreed.contains(&name.as_str()),
            "{name} is not on the agreed top level"
        );
    }
}
