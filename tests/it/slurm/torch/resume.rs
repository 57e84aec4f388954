//! `examples/exact-resume`: an interrupted run ends with the weights of an uninterrupted one, to the last bit.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::wait_until;
use crate::slurm::torch::Torch;

pub(super) const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/exact-resume");

impl Torch {
    /// The example's training on two nodes, with these arguments; from a checkpoint if one is named.
    fn example(&self, name: &str, resume_from: &str, args: &[&str]) -> PathBuf {
        let command =
            [&["env", &format!("TRAINYARD_RESUME_FROM={resume_from}"), "python", "train.py"], args];
        let code = format!("[code]\npath = '{EXAMPLE}'\ncommand = {:?}\n", command.concat());
        let keys = format!("{code}{}[checkpoint]\ndirectory = 'checkpoints'\n", self.keys);
        self.cluster.env.write(&format!("{name}.toml"), &keys)
    }

    /// Waits for a run to complete, and gives the digest of the weights that it left.
    #[track_caller]
    fn weights(&self, run: i64) -> String {
        let shown = self.cluster.env.until(run, &["completed", "failed"]);
        assert_eq!(shown["state"], "completed", "{shown:#}\n{}", self.log(run));
        assert_eq!(shown["world_size"], 4);
        let path = self.cluster.env.run_dir(run).join("output/weights.sha256");
        std::fs::read_to_string(path).unwrap()
    }

    /// The newest checkpoint that the catalogue calls complete: its path and its step.
    pub(super) fn newest_complete(&self, run: i64) -> Option<(String, i64)> {
        let said = self.cluster.env.line(&format!("checkpoints {run} --json")).success();
        let catalogue = said.json();
        let found = catalogue["checkpoints"].as_array().unwrap().iter();
        let newest =
            found.filter(|one| one["complete"] == true).max_by_key(|one| one["step"].as_i64())?;
        Some((newest["path"].as_str().unwrap().to_owned(), newest["step"].as_i64().unwrap()))
    }
}

/// Kills what torchrun started for a run, and torchrun, all at once.
fn kill_training(run_dir: &Path) {
    let marked = format!("TRAINYARD_RUN_DIR={}\0", run_dir.display());
    let pids: Vec<i32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let of = |what| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let (words, environment) = (of("cmdline"), of("environ"));
            String::from_utf8_lossy(&environment).contains(&marked)
                && String::from_utf8_lossy(&words).contains("python")
        })
        .collect();
    // Two agents and four ranks.
    assert!(pids.len() >= 6, "{pids:?}");
    for pid in pids {
        // One may be gone with another.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn a_killed_run_ends_with_the_same_weights(format: &str) {
    let Some(torch) = Torch::new() else { return };
    let env = &torch.cluster.env;
    let args = ["--epochs=2", "--checkpoint_every=3", "--format", format];
    let whole = env.submit(&torch.example("whole", "", &args));
    let slow = [&args[..], &["--pause=0.3"]].concat();
    let killed = env.submit(&torch.example("killed", "", &slow));
    wait_until("a checkpoint in the middle", || {
        torch.newest_complete(killed).is_some_and(|it| it.1 >= 6)
    });
    kill_training(&env.run_dir(killed));
    let shown = env.until(killed, &["completed", "failed"]);
    assert_eq!(shown["state"], "failed", "{shown:#}\n{}", torch.log(killed));
    let (path, step) = torch.newest_complete(killed).unwrap();
    assert!(step < 32, "it was over before it was killed: {step}");

    let resumed = env.submit(&torch.example("resumed", &path, &args));
    let (whole, again) = (torch.weights(whole), torch.weights(resumed));
    let log = torch.log(resumed);
    assert!(log.contains(&format!("resumed from {path}")), "{log}");
    assert!(log.contains(&format!("from step {step} on")), "{log}");
    assert_eq!(again, whole, "resumed from step {step}");
}

#[test]
fn from_one_file() {
    a_killed_run_ends_with_the_same_weights("file");
}

#[test]
fn from_a_distributed_checkpoint() {
    a_killed_run_ends_with_the_same_weights("dcp");
}
