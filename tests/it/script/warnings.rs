//! The warning before the end: who is told of it, and who would only be ended by it.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;
use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started, Unheard, Warned};
use trainyard::domain::spec::{Launcher, WarnSignal};

use super::slurm::slurm;
use super::world::{World, wait_until};

/// Lives until the script has told of its warning: by then it has told the processes of this machine.
const STAY: &str = "until grep -q '\"warned\"' ../events.jsonl; do sleep 0.05; done";

/// A Python that says `told NAME` when it hears the signal, and lives as long.
const PYTHON: &str = r#"
import os, signal, subprocess, sys, time
def say(text): os.write(1, f"{text}\n".encode())
def told(name): return lambda *_: say(f"told {name}")
def listen(name): signal.signal(getattr(signal, os.environ.get("LISTEN", "SIGUSR1")), told(name))
def stay():
    while '"warned"' not in open("../events.jsonl").read(): time.sleep(0.05)
"#;

/// Named as it is, so that the kernel calls a program of it by the program's own name.
fn interpreter() -> String {
    let ask = ["-c", "import sys; print(sys.executable)"];
    let output = std::process::Command::new("python3").args(ask).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn python(world: &World, path: &str, text: &str) {
    world.write(path, &format!("#!{}\n{PYTHON}\n{text}", interpreter()));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.path(path), mode).unwrap();
}

/// The lines of the log that tell who was told, in order.
fn told(world: &World) -> Vec<String> {
    let log = world.log();
    let mut told: Vec<String> =
        log.lines().filter_map(|line| line.strip_prefix("told ")).map(str::to_owned).collect();
    told.sort_unstable();
    told
}

#[test]
fn a_training_that_catches_the_warning_decides_what_comes_of_it() {
    let world = World::new(
        "trap 'echo told; [[ -e $TRAINYARD_STOP_FILE ]] && exit 75' USR1; echo ready; while :; do sleep 0.05; done",
    );
    let ended = world.run_and_signal(Signal::SIGUSR1);
    assert_eq!((ended.code, world.log().as_str()), (Some(75), "ready\ntold\n"), "{ended:?}");
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
    assert_eq!(world.events()[2].message, "SIGUSR1");
}

#[test]
fn a_training_that_does_not_catch_the_warning_goes_on() {
    let python_alone = "exec ./train";
    for unprepared in [
        python_alone,
        &format!("echo ready; {STAY}"),
        // bash catches all that would end it then, and ends.
        &format!("trap 'echo cleaned up' EXIT; echo ready; {STAY}"),
        &format!("exec timeout 60 bash -c 'echo ready; {}'", STAY.replace('\'', "'\\''")),
    ] {
        let world = World::new(unprepared);
        python(&world, "code/train", "say('ready')\nstay()");
        symlink(world.path("code/train"), world.in_run("work/train")).unwrap();
        let ended = world.run_and_signal(Signal::SIGUSR1);
        assert_eq!(ended.code, Some(0), "{unprepared} {ended:?}");
        assert!(world.in_run("stop.1").exists());
        assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
    }
}

#[test]
fn another_signal_can_be_asked_for() {
    for (signal, name) in [
        (WarnSignal::Usr2, "SIGUSR2"),
        (WarnSignal::Term, "SIGTERM"),
        (WarnSignal::Int, "SIGINT"),
        (WarnSignal::Hup, "SIGHUP"),
    ] {
        let mut world = World::new("exec ./train");
        python(&world, "code/train", "listen('who')\nsay('ready')\nstay()");
        symlink(world.path("code/train"), world.in_run("work/train")).unwrap();
        world.spec.failure.warn_signal = signal;
        world.set("LISTEN", name);
        assert_eq!(world.run_and_signal(Signal::SIGUSR1).code, Some(0), "{signal}");
        assert_eq!(told(&world), ["who"], "{signal}");
    }
}

#[test]
fn launchers_are_passed_over_and_each_training_process_is_told_once() {
    // An agent with a handler, which would end its ranks; ranks with one; and what forked from a rank, which has its handler
    // only because it inherited it. A process without a handler would be ended.
    let agent = "listen('the agent')
subprocess.Popen(['sleep', '60'])
ranks = [subprocess.Popen([sys.executable, 'rank.py', str(rank)]) for rank in range(2)]
while not all(os.path.exists(f'../output/{rank}') for rank in range(2)): time.sleep(0.05)
say('ready')
sys.exit(max(rank.wait() for rank in ranks))";
    let rank = "listen('rank ' + sys.argv[1])
if os.fork() == 0:
    open('../output/' + sys.argv[1], 'w')
    stay()
    os._exit(0)
stay()
os.wait()";
    for name in
        ["torchrun", "accelerate", "deepspeed", "mpirun", "python3 -m torch.distributed.run"]
    {
        let world = World::new(&format!("exec {name}"));
        python(&world, "bin/agent", agent);
        python(&world, "code/rank.py", rank);
        symlink(world.path("code/rank.py"), world.in_run("work/rank.py")).unwrap();
        if name.starts_with("python3") {
            python(&world, "code/torch/distributed/run.py", agent);
            symlink(world.path("code/torch"), world.in_run("work/torch")).unwrap();
        } else {
            fs::rename(world.path("bin/agent"), world.path("bin").join(name)).unwrap();
        }
        let ended = world.run_and_signal(Signal::SIGUSR1);
        assert_eq!(ended.code, Some(0), "{name} {ended:?}\n{}", world.log());
        assert_eq!(told(&world), ["rank 0", "rank 1"], "{name}\n{}", world.log());
    }
}

/// Training that is ready when so many ranks of it are.
fn together(ranks: usize, then: &str) -> String {
    let all: Vec<String> = (0..ranks).map(|rank| format!("-e ../output/{rank}")).collect();
    let meet = format!("until [[ {} ]]; do sleep 0.05; done", all.join(" && "));
    format!(
        "trap 'told=1; echo told $RANK' USR1; touch ../output/$RANK; {meet}; echo ready; {then}"
    )
}

#[test]
fn every_rank_on_this_machine_is_told() {
    let mut world = World::new(&together(3, STAY));
    world.spec = super::world::launched(world.spec.clone(), Launcher::Srun, 3);
    assert_eq!(world.run_and_signal(Signal::SIGUSR1).code, Some(0));
    assert_eq!(told(&world), ["0", "1", "2"]);
}

#[test]
fn every_task_on_slurm_is_told_by_what_stands_beside_it() {
    let until_told = "for _ in {1..400}; do [[ -z $told ]] || exit 0; sleep 0.05; done; exit 1";
    let world = slurm(&together(4, until_told), Launcher::Srun, 2);
    // All tasks at once, and scancel as it signals every process of theirs.
    let tasks = world.path("tasks").display().to_string();
    let srun = super::slurm::SRUN
        .replace("  wait $! || exit\n", &format!("  echo $! >>{tasks}; pids+=($!)\n"));
    world.install(
        "srun",
        &format!("{srun}\nfor pid in \"${{pids[@]}}\"; do wait \"$pid\" || exit; done"),
    );
    world.install(
        "scancel",
        &format!(
            "for pid in $(cat {tasks}); do kill \"-${{2#--signal=}}\" \"$pid\"; pkill \"-${{2#--signal=}}\" -P \"$pid\"; done; exit 0"
        ),
    );
    let child = world.start();
    wait_until(|| world.log().matches("ready").count() == 4);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGUSR1).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", world.log());
    assert_eq!(told(&world), ["0", "1", "2", "3"], "{}", world.log());
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
    let logs = fs::read_dir(world.in_run("logs")).unwrap();
    assert_eq!(logs.count(), 1, "what told that it was heard is gone");
}

/// What Slurm does where preemption leaves some time: the tasks are told, and the batch script is not.
#[test]
fn the_file_appears_also_when_only_the_tasks_are_told_to_end() {
    let stays = "trap : TERM; echo ready; until [[ -e $TRAINYARD_STOP_FILE ]]; do sleep 0.05; done";
    let world = slurm(stays, Launcher::Srun, 1);
    let tasks = world.path("tasks");
    let told = format!("\"$@\" & echo $! >{}\n  wait $! || exit\n", tasks.display());
    world.install("srun", &super::slurm::SRUN.replace("\"$@\" &\n  wait $! || exit\n", &told));
    let child = world.start();
    wait_until(|| world.log().contains("ready"));
    let task = fs::read_to_string(&tasks).unwrap();
    std::process::Command::new("pkill").args(["-TERM", "-P", task.trim()]).output().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", world.log());
    assert!(world.in_run("stop.1").exists());
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
}

#[test]
fn that_nobody_hears_the_warning_is_told_after_a_while() {
    let long = "echo ready; until grep -q unheard ../events.jsonl; do sleep 0.05; done";
    let world = World::new(long);
    assert_eq!(world.run_and_signal(Signal::SIGUSR1).code, Some(0));
    assert_eq!(world.kinds(), [Started, Launched, Warned, Unheard, Ended]);
    let heard = "trap : USR1; echo ready; until [[ -e $TRAINYARD_STOP_FILE ]]; do sleep 0.05; done; sleep 12";
    let world = World::new(heard);
    assert_eq!(world.run_and_signal(Signal::SIGUSR1).code, Some(0));
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
}

#[test]
fn a_warning_of_an_earlier_attempt_is_none() {
    let world = World::new("[[ ! -e $TRAINYARD_STOP_FILE ]] || echo stopped");
    fs::write(world.in_run("stop.1"), "").unwrap();
    fs::write(world.in_run("stop.txt"), "").unwrap();
    assert_eq!((world.run().code, world.log().as_str()), (Some(0), ""));
    assert!(!world.in_run("stop.1").exists() && world.in_run("stop.txt").exists());
}
