//! Trainings that hang: what their processes wait for is written down, and they are ended.

use std::fs;

use trainyard::domain::inbox::ScriptReason;
use trainyard::domain::units::Seconds;

use super::world::World;

fn watched(training: &str) -> World {
    let mut world = World::new(training);
    world.spec.failure.no_progress_timeout = Some(Seconds(2));
    world.spec.script.kill_wait = Seconds(1);
    world
}

/// What was written down of the training's processes.
fn stacks(world: &World) -> String {
    let Ok(entries) = fs::read_dir(world.in_run("logs/1.stacks")) else { return String::new() };
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn a_training_that_hangs_is_looked_at_and_ended() {
    let check = |training: &str, code: i32| {
        let world = watched(training);
        let ended = world.run();
        assert_eq!(ended.code, Some(code), "{training} {ended:?}");
        let events = world.events();
        let end = events.last().unwrap();
        assert_eq!(
            (end.reason, end.message.as_str()),
            (Some(ScriptReason::Hung), "no line of its log, no metric and no checkpoint for 2s"),
            "{training}"
        );
        assert!(stacks(&world).contains("sleep 600 \nName:\tsleep\nState:\tS (sleeping)"));
    };
    // All at once: each is waited for.
    std::thread::scope(|scope| {
        for (training, code) in [
            ("echo begun; exec sleep 600", 143),
            // It hears nothing, and what it has started neither.
            ("trap '' TERM; sleep 600 & wait", 137),
            // Asked to end it calls that a success.
            ("trap 'exit 0' TERM; sleep 600 & wait", 143),
            // It has saved, and says so.
            ("trap 'exit 75' TERM; sleep 600 & wait", 75),
        ] {
            scope.spawn(move || check(training, code));
        }
    });
}

#[test]
fn a_training_that_writes_anything_is_left_alone() {
    const SECONDS: &str = "for i in 1 2 3 4 5 6 7 8; do sleep 0.5; DO; done";
    for does in [
        "echo $i",
        "echo '{\"step\": 1}' >>$TRAINYARD_METRICS_PATH",
        "mkdir $TRAINYARD_CHECKPOINT_DIR/step-$i",
    ] {
        let world = watched(&SECONDS.replace("DO", does));
        let ended = world.run();
        assert_eq!((ended.code, stacks(&world).as_str()), (Some(0), ""), "{does} {ended:?}");
    }
    // One that is done while it is looked at is done.
    let world = watched("sleep 5");
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.events().last().unwrap().reason, None);
    assert!(stacks(&world).contains("sleep 5"));
}
