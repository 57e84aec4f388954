//! Checkpoints that real libraries wrote, cut off and with files missing: none of them is complete.
//!
//! They need the environment of `tests/launchers/environment torch`. `TRAINYARD_TORCH_CUTS` says how many cuts of each format.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::TestEnv;
use crate::environments::made_environment;
use crate::sim::chance::mix;

const CUTS: u64 = 10;

/// A file of a checkpoint and its content.
type File = (String, Vec<u8>);

/// Has a checkpoint written, and gives its name and its files in the order in which they were written.
#[expect(clippy::disallowed_methods, reason = "tests make what they need")]
fn written(environment: &str, format: &str, directory: &Path) -> (String, Vec<File>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/checkpoints/write.py");
    let launcher: &[&str] = match format {
        "dcp" => &["torchrun", "--standalone", "--nproc-per-node=2"],
        _ => &["python"],
    };
    let mut command = Command::new(Path::new(environment).join("bin").join(launcher[0]));
    command.args(&launcher[1..]).args([script, format]).arg(directory);
    let output = command.env("OMP_NUM_THREADS", "1").env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let only = std::fs::read_dir(directory).unwrap().next().unwrap().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(only.path()).unwrap().map(Result::unwrap).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    let read = |file: std::fs::DirEntry| {
        (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
    };
    (only.file_name().into_string().unwrap(), files.into_iter().map(read).collect())
}

/// A number below another one, which follows from a seed.
fn below(seed: &mut u64, end: usize) -> usize {
    *seed = seed.wrapping_add(1);
    usize::try_from(mix(*seed) % end as u64).unwrap()
}

/// Whether a checkpoint is none without the file. The rest (a model's config, the optimizer) not every save has.
fn is_needed(name: &str) -> bool {
    let endings = [".distcp", ".metadata", ".safetensors", ".index.json", "trainer_state.json"];
    endings.iter().any(|ending| name.ends_with(ending))
}

/// Whether the file shows where it ends: weights and archives do.
fn has_an_end(name: &str) -> bool {
    is_needed(name) || [".pt", ".pth", ".bin"].iter().any(|ending| name.ends_with(ending))
}

/// Cuts a checkpoint in one of three ways, and says how.
fn cut(files: &mut Vec<File>, seed: &mut u64) -> String {
    let chosen = |files: &[File], seed: &mut u64, is_one: fn(&str) -> bool| {
        let able: Vec<usize> = (0..files.len()).filter(|index| is_one(&files[*index].0)).collect();
        able[below(seed, able.len())]
    };
    match below(seed, 3) {
        0 => {
            let mut left = below(seed, files.iter().map(|(_, content)| content.len()).sum());
            let until = files.iter().position(|(_, content)| {
                let is_it = left < content.len();
                left -= if is_it { 0 } else { content.len() };
                is_it
            });
            files.truncate(until.unwrap() + 1);
            let (name, content) = files.last_mut().unwrap();
            content.truncate(left);
            format!("its writer ended after {left} bytes of {name}")
        }
        1 => {
            let at = chosen(files, seed, has_an_end);
            let (name, content) = &mut files[at];
            let left = below(seed, content.len());
            content.truncate(left);
            format!("{name} has {left} bytes")
        }
        _ => {
            let at = chosen(files, seed, is_needed);
            let (name, _) = files.remove(at);
            format!("{name} is missing")
        }
    }
}

/// A run that has a checkpoint directory, and that directory.
fn run(env: &TestEnv) -> (i64, PathBuf) {
    let spec = env.bash_spec("saves", "echo saved");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}[checkpoint]\ndirectory = 'checkpoints'\n")).unwrap();
    let run = env.submit(&spec);
    env.until(run, &["completed"]);
    (run, env.run_dir(run).join("checkpoints"))
}

fn put(directory: &Path, files: &[File]) {
    if directory.exists() {
        std::fs::remove_dir_all(directory).unwrap();
    }
    std::fs::create_dir_all(directory).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told how many")]
fn cuts() -> u64 {
    std::env::var("TRAINYARD_TORCH_CUTS").map_or(CUTS, |text| text.parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "a story that is left out says so")]
fn no_cut_is_complete(format: &str) {
    let Some(environment) = made_environment("torch") else {
        println!("there is no PyTorch: `tests/launchers/environment torch` installs it");
        return;
    };
    let env = TestEnv::new();
    let (name, whole) = written(&environment, format, &env.home().join("written"));
    let (run, directory) = run(&env);
    let place = directory.join(name);
    let catalogue = || env.line(&format!("checkpoints {run} --json")).success().json();

    put(&place, &whole);
    let shown = catalogue();
    assert_eq!((&shown["count"], &shown["complete"]), (&1.into(), &1.into()), "{shown:#}");
    assert_eq!(shown["checkpoints"][0]["format"], format, "{shown:#}");
    for number in 0..cuts() {
        let mut seed = number << 32;
        let mut files = whole.clone();
        let how = cut(&mut files, &mut seed);
        put(&place, &files);
        let shown = catalogue();
        assert_eq!(shown["complete"], 0, "cut {number}: {how}: {shown:#}");
    }
}

#[test]
fn no_cut_of_dcp_is_complete() {
    no_cut_is_complete("dcp");
}

#[test]
fn no_cut_of_hugging_face_is_complete() {
    no_cut_is_complete("huggingface");
}
