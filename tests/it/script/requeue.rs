//! A job whose script has Slurm start it again, with stand-ins for Slurm's commands.

use std::fs;

use nix::sys::signal::Signal;
use trainyard::domain::inbox::{ScriptEventKind, ScriptReason};
use trainyard::domain::resolved::Checkpoint;
use trainyard::domain::run::Reason;
use trainyard::domain::spec::{Launcher, Resume};
use trainyard::script::LAUNCH_FAILED_EXIT;

use super::slurm::slurm;
use super::world::{Ended, World};

/// Whole, by its name and its end.
const SAVES: &str = "echo '{}' >$TRAINYARD_CHECKPOINT_DIR/step-7.json; ";

/// A job that may be started again twice, with checkpoints.
fn comes_back(training: &str) -> World {
    let mut world = slurm(training, Launcher::None, 1);
    world.spec.checkpoint = Some(Checkpoint {
        format: None,
        resume: Resume::Auto,
        resume_args: Vec::new(),
        every_steps: None,
        retention: None,
    });
    world.spec.failure.max_restarts = 2;
    world.spec.failure.restart_exit_codes = vec![75, 3];
    world.spec.failure.requeues_itself = true;
    let asked = world.path("asked").display().to_string();
    let shows = "[[ $* == 'show hostnames n[1-2]' ]] && printf 'n1\\nn2\\n'";
    let tells = format!("cat '{}' >>{asked}", world.in_run("exits/1.json").display());
    world.install("scontrol", &format!("{shows} && exit\necho \"$*\" >>{asked}\n{tells}"));
    world
}

/// What was asked of Slurm, and whether the end was told before.
fn asked(world: &World) -> (String, bool) {
    let text = fs::read_to_string(world.path("asked")).unwrap_or_default();
    let (line, marker) = text.split_once('\n').unwrap_or_default();
    (line.to_owned(), marker.contains("\"event\":\"ended\""))
}

#[test]
fn what_has_saved_and_wants_to_come_back_is_requeued_at_the_very_end() {
    let ask = ("requeue 100".to_owned(), true);
    let nothing = (String::new(), false);
    for (training, restart, code, expected, told) in [
        ("SAVES exit 75", "", 75, &ask, "Slurm starts the job again"),
        ("SAVES exit 3", "1", 3, &ask, "Slurm starts the job again"),
        ("SAVES exit 75", "2", 75, &nothing, "started again as often as it may be"),
        ("exit 75", "", 75, &nothing, "no newer complete checkpoint"),
        ("SAVES exit 0", "", 0, &nothing, "ended with exit code 0"),
        ("SAVES exit 1", "", 1, &nothing, "ended with exit code 1"),
    ] {
        let mut world = comes_back(&training.replace("SAVES ", SAVES));
        if !restart.is_empty() {
            world.set("SLURM_RESTART_COUNT", restart);
            let shows = fs::read_to_string(world.path("bin/scontrol")).unwrap();
            let attempt = 1 + restart.parse::<u32>().unwrap();
            let shows = shows.replace("exits/1.json", &format!("exits/{attempt}.json"));
            world.write("bin/scontrol", &shows);
        }
        let ended = world.run();
        assert_eq!(ended.code, Some(code), "{training} {ended:?}");
        assert_eq!(&asked(&world), expected, "{training} {ended:?}");
        assert!(ended.stderr.contains(told), "{training} {ended:?}");
    }
}

#[test]
fn a_checkpoint_that_it_began_from_is_no_progress() {
    let world = comes_back("exit 75");
    world.write("runs/42-demo/checkpoints/step-7.json", "{}");
    let ended = world.run();
    assert_eq!((ended.code, asked(&world).0.as_str()), (Some(75), ""), "{ended:?}");
    assert!(ended.stderr.contains("goes on from"), "{ended:?}");
    // One that only the training's own log speaks of is none either, and where none are known nobody can tell.
    let mut world = comes_back("exit 75");
    world.spec.checkpoint = None;
    assert_eq!((world.run().code, asked(&world).0.as_str()), (Some(75), "requeue 100"));
}

#[test]
fn where_slurm_refuses_the_training_s_exit_code_is_told_as_ever() {
    let world = comes_back(&format!("{SAVES}exit 75"));
    let refuses = "[[ $1 == show ]] && printf 'n1\\nn2\\n' && exit\necho disabled >&2; exit 1";
    world.install("scontrol", refuses);
    let ended = world.run();
    assert_eq!((ended.code, world.last_event().exit_code), (Some(75), Some(75)));
    assert!(ended.stderr.contains("Slurm does not requeue the job"), "{ended:?}");
}

/// A training that Slurm ends, which it says was for this reason.
fn ended_for(reason: &str, training: &str) -> (World, Ended) {
    let mut world = comes_back(training);
    world.spec.failure.restart_on = vec![Reason::TimeLimit];
    world.install("squeue", &format!("echo \"$*\" >{}; echo {reason}", world.path("q").display()));
    let ended = world.run_and_signal(Signal::SIGTERM);
    (world, ended)
}

#[test]
fn what_its_time_limit_ended_is_requeued_and_what_was_cancelled_is_not() {
    let training = format!("{SAVES}echo ready; exec sleep 60");
    let (world, ended) = ended_for("TimeLimit", &training);
    assert_eq!((ended.code, asked(&world).0.as_str()), (Some(143), "requeue 100"), "{ended:?}");
    let question = fs::read_to_string(world.path("q")).unwrap();
    assert_eq!(question, "--noheader --job 100 --format=%r\n");
    let (world, ended) = ended_for("None", &training);
    assert_eq!((ended.code, asked(&world).0.as_str()), (Some(143), ""), "{ended:?}");
    // It saves when it is told to end: that counts too.
    let late = format!("trap '{SAVES}exit 1' TERM; echo ready; sleep 60 & wait");
    let (world, ended) = ended_for("TimeLimit", &late.replace("'{}'", "{}"));
    assert_eq!((ended.code, asked(&world).0.as_str()), (Some(1), "requeue 100"), "{ended:?}");
    // A training that takes all the time there is: it is asked while the training still runs.
    let deaf = format!(
        "{SAVES}trap '' TERM; echo ready; for ((;;)); do [[ ! -e ../asked ]] || exit 9; sleep 0.1; done"
    );
    let deaf = deaf.replace("../asked", "$TRAINYARD_RUN_DIR/../../asked");
    let (world, ended) = ended_for("TimeLimit", &deaf);
    assert_eq!((ended.code, asked(&world).0.as_str()), (Some(9), "requeue 100"), "{ended:?}");
}

#[test]
fn a_start_too_many_trains_nothing() {
    let mut world = comes_back("echo trained");
    world.set("SLURM_RESTART_COUNT", "3");
    let ended = world.run();
    assert_eq!(ended.code, Some(i32::from(LAUNCH_FAILED_EXIT)), "{ended:?}");
    let event = world.last_event();
    assert_eq!(event.reason, Some(ScriptReason::StoppedByPolicy));
    assert_eq!(event.message, "restarted more than 2 times");
    assert!(!world.kinds().contains(&ScriptEventKind::Launched), "{:?}", world.kinds());
    world.set("SLURM_RESTART_COUNT", "2");
    assert_eq!(world.run().code, Some(0));
}

#[test]
fn what_was_done_when_slurm_took_it_back_is_not_trained_again() {
    for (training, trains) in [("exit 0", false), ("exit 1", true)] {
        let mut world = comes_back(training);
        drop(world.run());
        world.set("SLURM_RESTART_COUNT", "1");
        let again = world.run_again();
        assert_eq!(world.in_run("logs/2.out").exists(), trains, "{training} {again:?}");
        assert_eq!(again.code, Some(i32::from(trains)), "{training} {again:?}");
        let event = world.last_event();
        assert_eq!((event.attempt, event.exit_code), (2, again.code), "{training}");
    }
}
