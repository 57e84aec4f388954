//! The scripts are run by bash, with a hostile text in every field at once, and everything that they start tells what it
//! was given: the same, byte for byte, as with plain texts, but for the texts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Command, Stdio};

use trainyard::domain::resolved::{Program, Resolved};
use trainyard::script::render;

use super::fields::{Kind, Line, VARIANTS};
use super::payloads::CANARY;
use super::scripts::texts;
use super::world::{Texts, fields, marker, meaning, with};

const JOB_NAME: &str = "1-run.1.tyabcdefghijklmnopqrst";

/// Tells its name, its words and its environment, each ended by NUL.
const TELL: &str = r#"tell() { { printf 'words\0'; printf '%s\0' "$@"; printf 'environment\0'; env -0; printf 'end\0'; } >>"$TOLD"; }"#;

/// Tells, and becomes the shell that srun would start on a node.
const SRUN: &str = r#"tell srun "$@"
until [[ $1 == /bin/bash && $2 == -c ]]; do shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 exec "$@""#;

/// Tells, and becomes the shell that would be in the container.
const CONTAINER: &str = r#"tell apptainer "$@"
until [[ $1 == /bin/sh && $2 == -c ]]; do shift; done
exec "$@""#;

const PROLOGUE: &str = r#"module() { tell module "$@"; export LMOD_VERSION=8; }"#;

/// A directory with stand-ins for everything that a script starts.
struct Stage {
    directory: tempfile::TempDir,
}

/// Everything that was started, in order: its words, and its environment in no order.
type Told = Vec<(Vec<Vec<u8>>, BTreeSet<Vec<u8>>)>;

impl Stage {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ty-").tempdir().unwrap();
        let stage = Self { directory };
        fs::create_dir_all(stage.path("bin")).unwrap();
        fs::create_dir_all(stage.path("tmp")).unwrap();
        let told = stage.path("told").display().to_string();
        let tell = TELL.replace("\"$TOLD\"", &told);
        fs::write(stage.path("prologue"), format!("{tell}\n{PROLOGUE}\n")).unwrap();
        for (name, text) in [
            ("srun", SRUN),
            ("torchrun", "tell torchrun \"$@\""),
            ("apptainer", CONTAINER),
            ("dumper", "tell dumper \"$@\""),
            ("scontrol", "echo n1"),
            (CANARY, "touch ROOT/canary"),
        ] {
            let text = text.replace("ROOT", stage.path("").to_str().unwrap());
            stage.program(&format!("bin/{name}"), &format!("{tell}\n{text}"));
        }
        stage
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside)
    }

    fn program(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes what the spec says is there. Some names no file system takes.
    fn furnish(&self, resolved: &Resolved) -> std::io::Result<()> {
        let told = self.path("told").display().to_string();
        let tell = TELL.replace("\"$TOLD\"", &told);
        let run_dir = resolved.run_root.join("1-run");
        fs::create_dir_all(run_dir.join("work"))?;
        fs::create_dir_all(run_dir.join("claims"))?;
        fs::create_dir_all(resolved.run_root.join(".inbox"))?;
        if let Program::EntryPoint(name) = &resolved.code.program {
            fs::write(run_dir.join("work").join(name), format!("{tell}\ntell \"$0\" \"$@\"\n"))?;
        }
        for dataset in &resolved.datasets {
            fs::create_dir_all(&dataset.path)?;
            fs::write(dataset.path.join("x"), "x")?;
        }
        fs::write(run_dir.join("secrets.env"), "SECRET=a 'b' $c\n")?;
        if let Some(container) = &resolved.environment.container {
            fs::write(&container.image, "")?;
        }
        if let Some(root) = &resolved.environment.conda_root {
            let etc = FilePath::new(root).join("etc/profile.d");
            fs::create_dir_all(&etc)?;
            let conda =
                "conda() { tell conda \"$@\"; export CONDA_PREFIX=x CONDA_DEFAULT_ENV=\"$2\"; }";
            fs::write(etc.join("conda.sh"), conda)?;
        }
        if let Some(venv) = &resolved.environment.venv {
            let bin = FilePath::new(venv).join("bin");
            fs::create_dir_all(&bin)?;
            fs::write(
                bin.join("activate"),
                "export VIRTUAL_ENV=$ty_wanted; PATH=$ty_wanted/bin:$PATH\n",
            )?;
            symlink("/bin/true", bin.join("python")).or_else(|error| {
                if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
            })?;
        }
        if let Some(scratch) = &resolved.compute.local_scratch {
            fs::create_dir_all(scratch)?;
        }
        if resolved.checkpoint.is_some() {
            let checkpoints = run_dir.join(&resolved.checkpoint_directory);
            fs::create_dir_all(&checkpoints)?;
            fs::write(checkpoints.join("step-7.json"), "{\"step\": 7}")?;
        }
        Ok(())
    }

    /// Runs the script of a spec, and gives what was told, the claim's owner first.
    fn run(&self, resolved: &Resolved, shown: &str) -> Told {
        let job = self.path("job.sh");
        fs::write(&job, render(resolved)).unwrap();
        fs::remove_file(self.path("told")).ok();
        let claim = resolved.run_root.join("1-run/claims/tyabcdefghijklmnopqrst");
        fs::remove_file(&claim).ok();
        fs::remove_dir_all(resolved.run_root.join("1-run/exits")).ok();
        let syntax = self.bash(&["-n"], &job);
        assert!(syntax.status.success() && syntax.stderr.is_empty(), "{shown}: {syntax:?}");
        let ended = self.bash(&[], &job);
        let log = fs::read(resolved.run_root.join("1-run/logs/1.out")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{shown}: {}\n{log}",
            String::from_utf8_lossy(&ended.stderr)
        );
        assert!(!self.path("canary").exists(), "{shown}: something was executed");
        let owner = fs::read_link(&claim).unwrap().into_os_string().into_encoded_bytes();
        let mut told = vec![(vec![owner], BTreeSet::new())];
        let bytes = fs::read(self.path("told")).unwrap();
        let mut parts = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        while parts.next().is_some_and(|part| part == b"words") {
            let words = parts.by_ref().take_while(|part| part != b"environment");
            let words = words.flat_map(|word| self.judged(word)).collect();
            let environment = parts.by_ref().take_while(|part| part != b"end");
            // Bash's own, which says what was started.
            let of_bash = |part: &Vec<u8>| part.starts_with(b"_=") || part.starts_with(b"SHLVL=");
            told.push((words, environment.filter(|part| !of_bash(part)).collect()));
        }
        told
    }

    /// What a task is to do is code, in which the path of its scratch is quoted as it needs to be: this is judged by what
    /// it comes to, apart from the rest.
    fn judged(&self, word: Vec<u8>) -> Vec<Vec<u8>> {
        let code = String::from_utf8(word).unwrap();
        let Some((before, rest)) = code.split_once("ty_find_scratch () \n") else {
            return vec![code.into_bytes()];
        };
        let (body, after) = rest.split_once("ty_note () \n").unwrap();
        let script = self.path("scratch.sh");
        let text = format!(
            "ty_find_scratch()\n{body}\nty_find_scratch; printf %s \"$TRAINYARD_LOCAL_SCRATCH\"\n"
        );
        fs::write(&script, text).unwrap();
        vec![before.into(), self.bash(&[], &script).stdout, after.into()]
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the scripts are run as a scheduler would run them"
    )]
    fn bash(&self, options: &[&str], script: &FilePath) -> std::process::Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut bash = Command::new("/bin/bash");
        bash.args(options)
            .arg(script)
            .env_clear()
            .current_dir(self.path("tmp"))
            .stdin(Stdio::null());
        bash.env("PATH", path).env("HOME", self.path("")).env("TMPDIR", self.path("tmp"));
        bash.env("TRAINYARD_JOB_NAME", JOB_NAME).env("TRAINYARD_JOB_ID", "7");
        bash.env("SLURM_JOB_NAME", JOB_NAME)
            .env("SLURM_JOB_ID", "7")
            .env("SLURM_JOB_NODELIST", "n1");
        bash.output().unwrap()
    }
}

fn replaced(bytes: &[u8], texts: &[(String, String)]) -> Vec<u8> {
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    for (mark, meant) in texts {
        text = text.replace(mark, meant);
    }
    text.into_bytes()
}

/// The texts of all fields that accept this one.
fn accepted(variant: char, text: &str, root: &FilePath) -> (Texts, Vec<(String, String)>) {
    let mut accepted = Texts::new();
    let mut meant = Vec::new();
    for (number, line) in fields(variant).filter(|(_, line)| line.kind != Kind::Code) {
        let text = if line.kind == Kind::Path { text.replace('/', "_") } else { text.to_owned() };
        // A document and a command line have their limits.
        let bytes: usize = accepted.values().map(String::len).sum();
        if is_out_of_reach(line, &text) || bytes + text.len() > 400_000 {
            continue;
        }
        let alone = Texts::from([(number, text.clone())]);
        if with(variant, &alone, root).resolved.is_some() {
            meant.push((marker(number), meaning(line, &text)));
            accepted.insert(number, text);
        }
    }
    (accepted, meant)
}

/// What a file system or PATH cannot hold, whatever the script does.
fn is_out_of_reach(line: &Line, text: &str) -> bool {
    // Runtimes are told what to bind by words in which colons and commas separate.
    let is_bound = line.kind == Kind::Path || line.field == "class.*.local_scratch";
    let is_made = line.kind == Kind::Path || line.field == "checkpoint.directory";
    (is_made && text.len() > 150) || (is_bound && text.contains([':', ',']))
}

#[test]
fn what_the_training_is_given_is_the_text_byte_for_byte() {
    let mut runs = 0_u32;
    for variant in VARIANTS {
        let stage = Stage::new();
        let root = stage.path("");
        let plain = with(variant, &Texts::new(), &root).resolved.unwrap();
        stage.furnish(&plain).unwrap();
        let expected = stage.run(&plain, "plain");
        // Each text in one of the variants, so that a round is short.
        let place = VARIANTS.iter().position(|known| *known == variant).unwrap();
        let chosen = texts()
            .into_iter()
            .enumerate()
            .filter(|(number, _)| (number + place).is_multiple_of(5));
        for (_, text) in chosen {
            let shown = format!("{variant} {:?}", text.chars().take(80).collect::<String>());
            let (accepted, meant) = accepted(variant, &text, &root);
            let came = with(variant, &accepted, &root);
            let resolved = came.resolved.unwrap_or_else(|| panic!("{shown}: {:?}", came.problems));
            stage.furnish(&resolved).unwrap_or_else(|error| panic!("{shown}: {error}"));
            let told = stage.run(&resolved, &shown);
            assert_eq!(told.len(), expected.len(), "{shown}");
            for ((words, environment), (plain_words, plain_environment)) in
                told.iter().zip(&expected)
            {
                let of_words: Vec<Vec<u8>> =
                    plain_words.iter().map(|word| replaced(word, &meant)).collect();
                assert_eq!(words.len(), of_words.len(), "{shown}");
                for (word, expected) in words.iter().zip(&of_words) {
                    assert!(
                        word == expected,
                        "{shown}: {} is not {}",
                        word.escape_ascii(),
                        expected.escape_ascii()
                    );
                }
                let of_environment: BTreeSet<Vec<u8>> =
                    plain_environment.iter().map(|pair| replaced(pair, &meant)).collect();
                let wrong: Vec<String> = environment
                    .symmetric_difference(&of_environment)
                    .map(|pair| pair.escape_ascii().to_string())
                    .collect();
                assert!(wrong.is_empty(), "{shown}: {wrong:#?}");
            }
            runs += 1;
        }
    }
    assert!(runs > 90, "{runs} runs");
    println!("{runs} runs");
}
