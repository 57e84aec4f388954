//! Several ranks on this machine.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started, Warned};
use trainyard::domain::resolved::Program;
use trainyard::domain::spec::Launcher;

use super::world::{World, launched, word};

fn ranks(training: &str, processes: u32) -> World {
    let mut world = World::new(training);
    world.spec = launched(world.spec, Launcher::Srun, processes);
    world
}

fn sorted(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_rank_knows_its_place() {
    let world = ranks(
        "echo \"$RANK $LOCAL_RANK $LOCAL_WORLD_SIZE $NODE_RANK $WORLD_SIZE $MASTER_ADDR\"",
        3,
    );
    assert_eq!(world.run().code, Some(0));
    let expected = ["0 0 3 0 3 127.0.0.1", "1 1 3 0 3 127.0.0.1", "2 2 3 0 3 127.0.0.1"];
    assert_eq!(sorted(&world.log()), expected);
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
}

#[test]
fn a_rank_that_fails_takes_the_others_with_it() {
    let started = Instant::now();
    let world = ranks("[[ $RANK != 1 ]] || exit 7; exec sleep 60", 3);
    assert_eq!(world.run().code, Some(7));
    assert_eq!(world.marker(1).unwrap().exit_code, Some(7));
    assert!(started.elapsed() < Duration::from_secs(8), "SIGTERM is enough");
}

#[test]
fn ranks_that_do_not_listen_are_killed() {
    let started = Instant::now();
    let world = ranks(
        "if [[ $RANK == 0 ]]; then until [[ -e deaf ]]; do sleep 0.05; done; exit 8; fi
         trap '' TERM; touch deaf; for i in {1..60}; do sleep 1; done",
        2,
    );
    assert_eq!(world.run().code, Some(8));
    let took = started.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_signal_reaches_every_rank() {
    let world = ranks(
        "trap 'echo told; exit $((RANK * 9))' TERM; echo ready; while :; do sleep 0.05; done",
        2,
    );
    let child = world.start();
    super::world::wait_until(|| world.log().matches("ready").count() == 2);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(sorted(&world.log()), ["ready", "ready", "told", "told"]);
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
}

#[test]
fn torchrun_is_told_where_the_ranks_meet() {
    let mut world = World::new("");
    world.spec = launched(world.spec, Launcher::Torchrun, 2);
    world.spec.distributed.ports = (20_007, 20_007);
    world.spec.code.program = Program::EntryPoint("train.py".into());
    world.spec.code.args = vec![word("--lr"), word("0.1")];
    world.run().launch_failed(&world, "there is no `torchrun` on ");

    world.install(
        "torchrun",
        "printf '%s\\n' \"$@\"; echo \"$WORLD_SIZE ${TORCHELASTIC_ERROR_FILE##*/}\"",
    );
    world.job_name = world.job_name.replace(".1.", ".2.");
    assert_eq!(world.run().code, Some(0));
    let log = std::fs::read_to_string(world.in_run("logs/2.out")).unwrap();
    insta::assert_snapshot!(log, @r"
    --nnodes=1
    --nproc-per-node=2
    --max-restarts=0
    --rdzv-backend=c10d
    --rdzv-id=7.0
    --rdzv-endpoint=127.0.0.1:20007
    train.py
    --lr
    0.1
    2 2.error.0.json
    ");
}
