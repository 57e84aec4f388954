//! Checkpoints that real libraries wrote, cut off in the middle: none of them is complete to the catalogue, and no job goes
//! on from one. Beside each lies an older one that is whole, from which both go on.
//!
//! They need strace and the environment of `tests/launchers/environment checkpoints`. `TRAINYARD_TORCH_CUTS` says how many
//! cuts of each format.

mod written;

use std::path::{Path, PathBuf};

use crate::env::TestEnv;
use crate::environments::made_environment;
use crate::script::resume::searched;
use crate::sim::chance::mix;
use written::{Act, Recording, record, tree};

const CUTS: u64 = 10;
/// What a file system writes in one go.
const SECTOR_BYTES: usize = 512;

/// A number below another one, which follows from a seed.
fn below(seed: &mut u64, end: usize) -> usize {
    *seed = seed.wrapping_add(1);
    usize::try_from(mix(*seed) % end as u64).unwrap()
}

/// Whether a checkpoint is none without the file. The rest (a model's config, the optimizer) not every save has. Which
/// shards `DeepSpeed` wrote only its pickles say.
fn is_needed(name: &str) -> bool {
    let endings = [
        ".distcp",
        ".metadata",
        "/metadata.json",
        ".safetensors",
        ".index.json",
        "trainer_state.json",
        ".ckpt",
        ".nemo",
    ];
    endings.iter().any(|ending| name.ends_with(ending)) || is_single(name)
}

fn is_single(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "pt") && !name.contains('/')
}

/// Whether the file shows where it ends: weights and archives do.
fn has_an_end(name: &str) -> bool {
    is_needed(name) || [".pt", ".pth", ".bin"].iter().any(|ending| name.ends_with(ending))
}

/// Writes the second checkpoint of a recording and cuts it off in one of three ways. Says how.
fn cut(recording: &Recording, place: &Path, seed: &mut u64) -> String {
    let whole = recording.acts.len();
    let older: Vec<PathBuf> = tree(&recording.older).into_iter().map(|(name, _)| name).collect();
    let chosen = |seed: &mut u64, is_one: fn(&str) -> bool| {
        recording.perform(place, whole);
        let mut able = tree(place);
        able.retain(|(name, _)| !older.contains(name) && is_one(&name.to_string_lossy()));
        let at = below(seed, able.len().max(1));
        able.into_iter().nth(at)
    };
    match below(seed, 4) {
        0 => {
            if let Some((name, content)) = chosen(seed, has_an_end) {
                let left = below(seed, content.len());
                std::fs::write(place.join(&name), &content[..left]).unwrap();
                return format!("{} has {left} bytes", name.display());
            }
        }
        1 => {
            if let Some((name, _)) = chosen(seed, is_needed) {
                std::fs::remove_file(place.join(&name)).unwrap();
                return format!("{} is missing", name.display());
            }
            std::fs::remove_dir_all(place).unwrap();
        }
        _ => {}
    }
    let done = below(seed, whole);
    recording.perform(place, done);
    let mut next = recording.acts[done].clone();
    if let Act::Write { bytes, .. } = &mut next
        && bytes.len() > SECTOR_BYTES
    {
        bytes.truncate(below(seed, bytes.len()));
        next.perform(place);
    }
    format!("its writer ended after {done} of {whole} acts, in {next:.80?}")
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

#[expect(clippy::disallowed_methods, reason = "tests are told how many")]
fn cuts() -> u64 {
    std::env::var("TRAINYARD_TORCH_CUTS").map_or(CUTS, |text| text.parse().unwrap())
}

/// The complete ones of a place by step, as the daemon tells them.
fn complete(env: &TestEnv, run: i64, directory: &Path, place: &Path) -> Vec<i64> {
    if directory.is_symlink() {
        std::fs::remove_file(directory).unwrap();
    } else {
        std::fs::remove_dir_all(directory).unwrap();
    }
    std::os::unix::fs::symlink(place, directory).unwrap();
    let shown = env.line(&format!("checkpoints {run} --json")).success().json();
    let all = shown["checkpoints"].as_array().unwrap();
    let complete = all.iter().filter(|one| one["complete"] == true);
    let mut steps: Vec<i64> = complete.map(|one| one["step"].as_i64().unwrap()).collect();
    steps.sort_unstable();
    steps
}

#[expect(clippy::print_stdout, reason = "a story that is left out says so, and how much was done")]
fn no_cut_is_gone_on_from(format: &str, older: i64, newer: i64) {
    let Some(environment) = made_environment("checkpoints") else {
        println!("there are no libraries: `tests/launchers/environment checkpoints` installs them");
        return;
    };
    let env = TestEnv::new();
    let recording = record(&environment, format, &env.home().join("written"));
    let (run, directory) = run(&env);
    let home = |number: u64| env.home().join("cuts").join(number.to_string());
    let place = |number: u64| home(number).join("checkpoints");

    // The first is whole.
    recording.perform(&place(0), recording.acts.len());
    assert_eq!(complete(&env, run, &directory, &place(0)), [older, newer]);
    let mut wrong = Vec::new();
    let mut how = vec!["nothing was cut".to_owned()];
    for number in 1..=cuts() {
        how.push(cut(&recording, &place(number), &mut (number << 32)));
        let complete = complete(&env, run, &directory, &place(number));
        if complete != [older] {
            wrong.push(format!("catalogue: {complete:?} are complete: {}", how.last().unwrap()));
        }
    }
    let homes: Vec<PathBuf> = (0..=cuts()).map(home).collect();
    for (number, taken) in searched(&homes, None).into_iter().enumerate() {
        let expected = if number == 0 { newer } else { older };
        if taken.as_ref().and_then(|(_, step)| *step) != Some(expected) {
            wrong.push(format!("the job takes {taken:?}: {}", how[number]));
        }
    }
    println!("{format}: {} cuts, {} wrong", cuts(), wrong.len());
    assert!(wrong.is_empty(), "{format}:\n{}", wrong.join("\n"));
}

#[test]
fn no_cut_of_dcp_is_gone_on_from() {
    no_cut_is_gone_on_from("dcp", 500, 1000);
}

#[test]
fn no_cut_of_hugging_face_is_gone_on_from() {
    no_cut_is_gone_on_from("huggingface", 4, 8);
}

#[test]
fn no_cut_of_deepspeed_is_gone_on_from() {
    no_cut_is_gone_on_from("deepspeed", 500, 1000);
}

#[test]
fn no_cut_of_megatron_is_gone_on_from() {
    no_cut_is_gone_on_from("megatron", 500, 1000);
}

#[test]
fn no_cut_of_lightning_is_gone_on_from() {
    no_cut_is_gone_on_from("lightning", 4, 8);
}

#[test]
fn no_cut_of_nemo_is_gone_on_from() {
    no_cut_is_gone_on_from("nemo", 500, 1000);
    no_cut_is_gone_on_from("nemo-file", 500, 1000);
}

#[test]
fn no_cut_of_a_file_is_gone_on_from() {
    no_cut_is_gone_on_from("file", 500, 1000);
    no_cut_is_gone_on_from("safetensors", 500, 1000);
}
