//! What the script does under Slurm, with stand-ins for Slurm's commands.

use std::fs;

use nix::sys::signal::Signal;
use trainyard::domain::environment::EnvironmentRecord;
use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started, Warned};
use trainyard::domain::resolved::Program;
use trainyard::domain::spec::Launcher;

use super::world::{Ended as Result, TOKEN, World, launched, on_slurm, wait_until, word};

/// Runs the tasks one after the other, after telling what it was asked.
pub(super) const SRUN: &str = r#"
trap 'echo srun was signalled; exit 1' TERM
for ((i = 1; i <= $#; i++)); do
  [[ ${!i} != --ntasks=* ]] || tasks=${!i#*=}
  [[ ${!i} != --ntasks-per-node=* ]] || per_node=${!i#*=}
  [[ ${!i} == -* ]] || break
  echo "${!i}"
done
shift $((i - 1))
for ((task = 0; task < tasks; task++)); do
  SLURM_PROCID=$task SLURM_LOCALID=$((task % per_node)) SLURM_NODEID=$((task / per_node)) "$@" &
  wait $! || exit
done"#;

pub(super) fn slurm(training: &str, launcher: Launcher, processes: u32) -> World {
    let mut world = World::new(training);
    world.spec = launched(on_slurm(world.spec, 2), launcher, processes);
    world.spec.distributed.node_address = "{node}i".into();
    world.install("scontrol", "[[ $* == 'show hostnames n[1-2]' ]] && printf 'n1\\nn2\\n'");
    world.install("srun", SRUN);
    world.set("SLURM_JOB_ID", "100");
    world.set("SLURM_JOB_NODELIST", "n[1-2]");
    world.set("SLURM_CPUS_PER_TASK", "8");
    world
}

#[test]
fn each_task_of_srun_knows_its_place() {
    let mut world = slurm(
        "echo \"$RANK $LOCAL_RANK $LOCAL_WORLD_SIZE $NODE_RANK $WORLD_SIZE $MASTER_ADDR $TRAINYARD_NODES $1\"",
        Launcher::Srun,
        2,
    );
    world.spec.distributed.srun_args = vec!["--mpi=none".into()];
    world.spec.code.args = vec![word("a 'b'")];
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    insta::assert_snapshot!(world.log(), @r"
    --nodes=2
    --ntasks=4
    --ntasks-per-node=2
    --distribution=block
    --kill-on-bad-exit=1
    --label
    --export=ALL
    --cpus-per-task=8
    --mpi=none
    0 0 2 0 4 n1i n1 n2 a 'b'
    1 1 2 0 4 n1i n1 n2 a 'b'
    2 0 2 1 4 n1i n1 n2 a 'b'
    3 1 2 1 4 n1i n1 n2 a 'b'
    ");
    assert_eq!(world.last_event().job.to_string(), "main:100");
}

#[test]
fn torchrun_has_one_agent_per_node() {
    let mut world = slurm("", Launcher::Torchrun, 4);
    world.spec.code.program = Program::Command(vec![word("env"), word("x y")]);
    world.install(
        "torchrun",
        "printf '%s\\n' \"$@\"; echo \"$NODE_RANK $WORLD_SIZE ${TORCHELASTIC_ERROR_FILE##*/}\"",
    );
    assert_eq!(world.run().code, Some(0));
    let log = world.log();
    assert!(log.starts_with("--nodes=2\n--ntasks=2\n--ntasks-per-node=1\n"), "{log}");
    let agent = log.split("--cpus-per-task=8\n").nth(1).unwrap();
    insta::assert_snapshot!(agent, @r"
    --nnodes=2
    --nproc-per-node=4
    --max-restarts=0
    --rdzv-backend=c10d
    --rdzv-id=100.0
    --rdzv-endpoint=n1i:20100
    --rdzv-conf=join_timeout=600,timeout=600
    --no-python
    env
    x y
    0 8 1.error.0.json
    --nnodes=2
    --nproc-per-node=4
    --max-restarts=0
    --rdzv-backend=c10d
    --rdzv-id=100.0
    --rdzv-endpoint=n1i:20100
    --rdzv-conf=join_timeout=600,timeout=600
    --no-python
    env
    x y
    1 8 1.error.1.json
    ");
}

#[test]
fn a_restart_is_the_next_attempt_of_the_same_job_at_another_port() {
    let mut world = slurm("echo \"$TRAINYARD_ATTEMPT $MASTER_PORT\"; exit 1", Launcher::None, 1);
    world.job_name = world.job_name.replace(".1.", ".3.");
    assert_eq!(world.run().code, Some(1));
    world.set("SLURM_RESTART_COUNT", "1");
    assert_eq!(world.run().code, Some(1));
    let log = |attempt| fs::read_to_string(world.in_run(&format!("logs/{attempt}.out"))).unwrap();
    assert_eq!((log(3).as_str(), log(4).as_str()), ("3 20100\n", "4 28019\n"));
    let marker = world.marker(4).unwrap();
    assert_eq!(
        (marker.attempt, marker.restart, marker.job.to_string().as_str()),
        (4, 1, "main:100")
    );
    assert!(world.inbox().contains_key(&format!("{TOKEN}.0.1.ended.json")));
}

/// What a killed slurmctld does that has not saved that it started a job.
#[test]
fn a_start_that_slurm_forgot_is_not_trained_again_once_it_has_ended() {
    let mut world = slurm("echo trained; exit 3", Launcher::Srun, 1);
    assert_eq!(world.run().code, Some(3));
    let (told, inbox) = (world.events(), world.inbox());
    let trained = world.log();
    let again = world.run_again();
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.stderr.contains("has ended before, with exit code 3"), "{again:?}");
    assert_eq!((world.log(), world.events(), world.inbox()), (trained, told, inbox));
    // A restart that Slurm knows of is another attempt, and another job of the same number is not this one.
    world.set("SLURM_RESTART_COUNT", "1");
    assert_eq!(world.run_again().code, Some(3));
    assert_eq!(world.marker(2).unwrap().restart, 1);
    let marker = fs::read_to_string(world.in_run("exits/2.json")).unwrap();
    fs::write(world.in_run("exits/2.json"), marker.replace("main:100", "main:99")).unwrap();
    let events = world.events().len();
    assert_eq!(world.run_again().code, Some(3));
    assert_eq!(world.events().len(), events + 3);
}

#[test]
fn a_task_of_an_array_is_named_by_both_numbers() {
    let mut world = slurm("", Launcher::None, 1);
    world.set("SLURM_ARRAY_JOB_ID", "99");
    world.set("SLURM_ARRAY_TASK_ID", "4");
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.last_event().job.to_string(), "main:99_4");
    let claim = fs::read_link(world.in_run("claims").join(TOKEN)).unwrap();
    assert_eq!(claim.to_str(), Some("main:99_4"));
}

#[test]
fn without_nodes_or_srun_nothing_is_trained() {
    for scontrol in ["exit 1", "exit 0", "printf '\\n'"] {
        let world = slurm("echo trained", Launcher::Srun, 1);
        world.install("scontrol", scontrol);
        world.run().launch_failed(&world, "scontrol cannot tell the job's nodes");
    }
    let mut world = slurm("echo trained", Launcher::Srun, 1);
    fs::remove_file(world.path("bin/srun")).unwrap();
    // The machine of the tests may have a Slurm of its own.
    let without = world.path("without-srun");
    fs::create_dir(&without).unwrap();
    for tool in
        fs::read_dir("/usr/bin").unwrap().flatten().filter(|tool| tool.file_name() != "srun")
    {
        std::os::unix::fs::symlink(tool.path(), without.join(tool.file_name())).unwrap();
    }
    world.set("PATH", &format!("{}:{}", world.path("bin").display(), without.display()));
    world.run().launch_failed(&world, "there is no `srun` on ");

    let mut world = slurm("echo trained", Launcher::Srun, 1);
    world.environment.remove("SLURM_JOB_ID");
    let ended = world.run();
    assert!(ended.code == Some(95) && ended.stderr.contains("submit it with sbatch"), "{ended:?}");
}

#[test]
fn srun_is_never_sent_a_signal() {
    let run = |signal: Signal| -> (World, Result) {
        let world = slurm(
            "echo ready; while [[ ! -e $TRAINYARD_RUN_DIR/go ]]; do sleep 0.05; done",
            Launcher::Srun,
            1,
        );
        world.install("scancel", &format!("echo \"$*\" >{}", world.path("scancelled").display()));
        let child = world.start();
        wait_until(|| world.log().contains("ready"));
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        wait_until(|| world.kinds().contains(&Warned));
        fs::write(world.in_run("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (world, Result { code: output.status.code(), stderr })
    };
    let (world, ended) = run(Signal::SIGTERM);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!world.path("scancelled").exists(), "Slurm has told the tasks itself");
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);

    let (world, ended) = run(Signal::SIGUSR1);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(world.in_run("stop.1").exists());
    wait_until(|| world.path("scancelled").exists());
    wait_until(|| {
        fs::read_to_string(world.path("scancelled")).unwrap() == "--quiet --signal=URG 100\n"
    });
    assert!(!world.log().contains("signalled"), "{}", world.log());
}

#[test]
fn by_hand_it_works_below_the_job_id() {
    let mut world = slurm("echo trained", Launcher::None, 1);
    world.job_name = "job.sh".into();
    assert_eq!(world.run().code, Some(0));
    let log = world.spec.run_root.join("by-hand/100/logs/1.out");
    assert_eq!(fs::read_to_string(log).unwrap(), "trained\n");
    assert!(world.inbox().is_empty());
}

#[test]
fn the_first_task_that_fails_decides_the_exit_code() {
    // All tasks at once, each with what it starts. When one has failed the others are ended, and the highest code is told.
    let together = "
for task in \"${pids[@]}\"; do
  wait -n \"${pids[@]}\" && continue
  for pid in \"${pids[@]}\"; do kill -- \"-$pid\" 2>/dev/null; done
  break
done
for pid in \"${pids[@]}\"; do wait \"$pid\"; code=$?; ((code <= most)) || most=$code; done
exit \"$most\"";
    let srun =
        format!("set -m\n{}{together}", SRUN.replace("  wait $! || exit\n", "  pids+=($!)\n"));
    let training = "trap 'exit 143' TERM
        touch \"$TRAINYARD_OUTPUT_PATH/$RANK\"
        [[ $RANK != 2 ]] || { until [[ -e ../output/0 && -e ../output/1 && -e ../output/3 ]]; do sleep 0.05; done; exit 75; }
        while :; do sleep 0.05; done";
    let world = slurm(training, Launcher::Srun, 2);
    world.install("srun", &srun);
    let ended = world.run();
    assert_eq!(ended.code, Some(75), "{ended:?}");
    let logs: Vec<_> =
        fs::read_dir(world.in_run("logs")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(logs, ["1.out"]);
}

#[test]
fn every_node_tells_what_it_is_once() {
    let mut world = slurm("", Launcher::Srun, 2);
    world.install(
        "nvidia-smi",
        "case $* in *query*) echo \"A100, 40960, 550.$SLURM_NODEID, GPU-$SLURM_PROCID\" ;; esac",
    );
    world.set("SLURM_NODEID", "0");
    assert_eq!(world.run().code, Some(0));
    let folder = world.in_run("environment/1.nodes");
    let told: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(told, ["1.txt"], "the first node's is the record itself");
    let read = |file| EnvironmentRecord::parse(&fs::read(world.in_run(file)).unwrap());
    let (first, second) = (read("environment/1.txt"), read("environment/1.nodes/1.txt"));
    assert_eq!((first.complete, first.node_count, second.complete), (true, Some(2), true));
    assert_eq!((first.gpus[0].driver.as_str(), second.gpus[0].driver.as_str()), ("550.0", "550.1"));
    assert_eq!(second.gpus[0].uuid, "GPU-2", "the first task of the node");
    assert!(second.host.is_some() && second.host == first.host && second.kernel == first.kernel);
    assert_eq!(
        fs::read_dir(world.path("tmp")).unwrap().count(),
        0,
        "nothing is left in the scratch"
    );
}
