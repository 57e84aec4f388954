//! Every way in which a training is interrupted: it comes back at its newest complete checkpoint, and ends with the weights
//! of one that was left alone.

use serde_json::{Value, json};

use crate::env::wait_until;
use crate::slurm::cluster::{Cluster, job_of};
use crate::slurm::requeue::{ends, runs_on_nodes, why};
use crate::slurm::torch::Torch;
use crate::slurm::torch::resume::EXAMPLE;

/// The example's training, to which something happens before its eighth step; that came back it is quick.
const TRIAL: &str = r#"import os, signal, sys, time
import train

def learn(run, points, labels, learn=train.learn):
    if run.step == 7 and os.environ["RANK"] == "3" and not resumed:
        HAPPENS
    return learn(run, points, labels)

if __name__ == "__main__":
    resumed = os.environ["TRAINYARD_RESUME_FROM"]
    sys.argv += ["--epochs=2", "--checkpoint_every=2", f"--pause={0 if resumed else PAUSE}"]
    train.learn = learn
    sys.exit(train.main())
"#;

/// What interrupts a training, and as what it is recorded.
struct Kill {
    name: &'static str,
    /// To rank 3 of the first attempt, in Python.
    happens: &'static str,
    /// Seconds from step to step of the first attempt.
    pause: &'static str,
    /// Of `[compute]`, beside the nodes.
    compute: &'static str,
    /// Of `[failure]`.
    failure: &'static str,
    end: (&'static str, &'static str),
    exit_code: Option<i64>,
}

const KILL: Kill = Kill {
    name: "",
    happens: "pass",
    pause: "0",
    compute: "class = 'cpu'",
    failure: "",
    end: ("failed", "exit_code"),
    exit_code: None,
};

/// Long enough for a time limit of a minute, which Slurm enforces up to half a minute late.
const OVER_A_MINUTE: &str = "4";

impl Torch {
    fn trial(&self, kill: &Kill) -> i64 {
        let trial = TRIAL.replace("HAPPENS", kill.happens).replace("PAUSE", kill.pause);
        let env = &self.cluster.env;
        let code = format!("{}-code", kill.name);
        env.write(&format!("{code}/trial.py"), &trial);
        std::fs::copy(format!("{EXAMPLE}/train.py"), env.home().join(&code).join("train.py"))
            .unwrap();
        let keys = self.keys.replace("class = 'cpu'", kill.compute);
        let spec = format!(
            "[code]\npath = '{code}'\nentry_point = 'trial.py'\n{keys}[checkpoint]\n[failure]\n{}\n",
            kill.failure
        );
        env.submit(&env.write(&format!("{}.toml", kill.name), &spec))
    }

    fn whole(&self) -> i64 {
        self.trial(&Kill { name: "whole", ..KILL })
    }

    fn weights_of(&self, run: i64) -> String {
        let path = self.cluster.env.run_dir(run).join("output/weights.sha256");
        std::fs::read_to_string(path).unwrap()
    }

    /// Waits until a run is over, which was interrupted once and ends with these weights.
    #[track_caller]
    fn came_back(&self, run: i64, kill: &Kill, weights: &str) {
        let env = &self.cluster.env;
        wait_until("it is interrupted", || {
            env.show(run)["attempts"][1].is_object() || is_over(&env.show(run))
        });
        wait_until("it is over", || is_over(&env.show(run)));
        let shown = env.show(run);
        let told = format!("{}: {shown:#}\n{}", kill.name, self.log(run));
        assert_eq!(shown["state"], "completed", "{told}");
        assert_eq!(ends(&shown), [kill.end, ("completed", "")], "{told}");
        assert_eq!(shown["world_size"], 4, "{told}");
        if let Some(code) = kill.exit_code {
            assert_eq!(shown["attempts"][0]["exit_code"], code, "{told}");
        }
        let catalogue = env.line(&format!("checkpoints {run} --json")).success().json();
        let newest = catalogue["checkpoints"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["attempt"] == 1 && one["complete"] == true)
            .map(|one| one["step"].as_i64().unwrap())
            .max();
        assert_eq!(
            shown["attempts"][1]["resumed_from_step"],
            json!(newest),
            "{told}\n{catalogue:#}"
        );
        assert!(newest.is_some_and(|step| step < 32), "{told}");
        assert_eq!(self.weights_of(run), weights, "{told}");
    }

    /// One after another, since each has as many processes as a small machine bears.
    #[track_caller]
    fn come_back(&self, kills: &[Kill]) {
        let whole = self.whole();
        let shown = self.cluster.env.until(whole, &["completed", "failed"]);
        assert_eq!(shown["state"], "completed", "{shown:#}\n{}", self.log(whole));
        for kill in kills {
            self.came_back(self.trial(kill), kill, &self.weights_of(whole));
        }
    }
}

fn is_over(shown: &Value) -> bool {
    ["completed", "failed", "cancelled"].contains(&shown["state"].as_str().unwrap())
}

#[test]
fn of_a_rank_that_raises_or_is_killed() {
    let Some(torch) = Torch::new() else { return };
    let again = "restart_on = ['exit_code']";
    torch.come_back(&[
        Kill {
            name: "raises",
            happens: "raise ValueError('shard 3 is empty')",
            failure: again,
            exit_code: Some(1),
            ..KILL
        },
        Kill {
            name: "killed",
            happens: "os.kill(os.getpid(), signal.SIGKILL)",
            failure: again,
            exit_code: Some(128 + 9),
            ..KILL
        },
    ]);
}

#[test]
fn of_a_rank_that_hangs() {
    let Some(torch) = Torch::new() else { return };
    torch.come_back(&[Kill {
        name: "hangs",
        happens: "time.sleep(600)",
        // PyTorch says nothing for as long as it is loaded.
        failure: "restart_on = ['hung']\nno_progress_timeout = '45s'",
        end: ("failed", "hung"),
        ..KILL
    }]);
}

#[test]
fn of_a_time_limit() {
    let Some(torch) = Torch::new() else { return };
    torch.come_back(&[Kill {
        name: "limited",
        pause: OVER_A_MINUTE,
        compute: "class = 'cpu'\ntime_limit = '1m'",
        failure: "restart_on = ['time_limit']\nwarn_before_end = '0s'",
        end: ("failed", "time_limit"),
        ..KILL
    }]);
}

#[test]
fn of_a_warning() {
    let Some(torch) = Torch::new() else { return };
    torch.come_back(&[Kill {
        name: "warned",
        pause: OVER_A_MINUTE,
        compute: "class = 'cpu'\ntime_limit = '1m'",
        failure: "warn_before_end = '10s'",
        exit_code: Some(75),
        ..KILL
    }]);
}

#[test]
fn of_nodes_that_are_taken_away() {
    let Some(mut torch) = Torch::new() else { return };
    torch.cluster = Cluster::alone(&[], "");
    let (cluster, env) = (&torch.cluster, &torch.cluster.env);
    let whole = torch.whole();
    let shown = env.until(whole, &["completed", "failed"]);
    assert_eq!(shown["state"], "completed", "{shown:#}\n{}", torch.log(whole));
    let weights = torch.weights_of(whole);
    let taken = |name, compute, reason| Kill {
        name,
        pause: "1",
        compute,
        end: ("requeued", why(cluster, reason)),
        ..KILL
    };
    let kills = [
        taken("requeued", KILL.compute, "requeued"),
        taken("node-fails", KILL.compute, "node_failure"),
        taken("preempted", "class = 'low'", "preempted"),
    ];
    let mut runs = Vec::new();
    for kill in &kills {
        let run = torch.trial(kill);
        runs_on_nodes(cluster, run, 0);
        wait_until("it has saved", || torch.newest_complete(run).is_some());
        let shown = env.show(run);
        match kill.name {
            "requeued" => drop(cluster.ask("scontrol", &["requeue", &job_of(&shown).to_string()])),
            "preempted" => {
                let other =
                    env.submit(&cluster.spec("other", "true", "class = 'whole'\nnodes = 4"));
                env.until(other, &["completed"]);
            }
            _ => {
                let node = shown["attempts"][0]["nodes"][1].as_str().unwrap();
                let fails = format!("nodename={node}");
                for state in ["state=drain", "state=down"] {
                    drop(cluster.ask("scontrol", &["update", &fails, state, "reason=test"]));
                }
                wait_until("it is requeued", || env.show(run)["attempts"][1].is_object());
                drop(cluster.ask("scontrol", &["update", &fails, "state=resume"]));
            }
        }
        runs.push(run);
    }
    for (run, kill) in runs.into_iter().zip(&kills) {
        torch.came_back(run, kill, &weights);
    }
}
