//! Before a training over several nodes, each node reports in.

use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started};
use trainyard::domain::spec::Launcher;

use super::slurm::{SRUN, slurm};

#[test]
fn a_node_that_does_not_report_in_is_named_before_anything_trains() {
    let world = slurm("echo trained", Launcher::Srun, 2);
    // It starts what belongs to the first node, and waits for the other in vain.
    world.install(
        "srun",
        "shift $(($# - 5))\n[[ $1 == /bin/bash ]] || exit 9\n\
         SLURM_NODEID=0 \"$@\"\necho 'srun: error: n2: task 1: launch failed' >&2\nexit 1",
    );
    let ended = world.run();
    ended.launch_failed(
        &world,
        "these nodes did not report in within 180 s: n2; srun said: srun: error: n2",
    );
    assert_eq!(world.kinds(), [Started, Ended]);
}

#[test]
fn a_node_that_does_not_know_the_first_ones_name_is_named() {
    let world = slurm("echo trained", Launcher::Torchrun, 2);
    world.install("torchrun", "echo trained");
    world.install("getent", "[[ $* == 'hosts n1i' ]] && ((SLURM_NODEID == 0))");
    let ended = world.run();
    ended.launch_failed(&world, "the first node's name n1i does not resolve on: n2");
    // With that name known everywhere the same job trains.
    world.install("getent", "[[ $* == 'hosts n1i' ]]");
    world.install("srun", SRUN);
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log().matches("trained").count(), 2);
    assert!(world.kinds().ends_with(&[Started, Launched, Ended]), "{:?}", world.kinds());
}

#[test]
fn one_node_and_one_process_have_nobody_to_wait_for() {
    let world = slurm("echo trained", Launcher::None, 1);
    world.install("getent", "exit 2");
    world.install("srun", "exit 9");
    assert_eq!(world.run().code, Some(0));
}
