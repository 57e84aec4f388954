//! What the script does on this machine, from its claim to its end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trainyard::domain::inbox::{ScriptEventKind, ScriptReason};
use trainyard::domain::resolved::Program;
use trainyard::script::SUPERSEDED_EXIT;

use super::world::{JOB_NAME, TOKEN, World, wait_until, word};

use ScriptEventKind::{Ended, Launched, Started, Warned};

#[test]
fn a_training_runs_and_everything_about_it_is_told() {
    let mut world = World::new("echo out; echo err >&2; pwd -P; umask; exit 3");
    world.spec.code.args = vec![word("{output}"), word("b c")];
    let ended = world.run();
    assert_eq!(ended.code, Some(3), "{ended:?}");

    let work = fs::canonicalize(world.in_run("work")).unwrap();
    assert_eq!(world.log(), format!("out\nerr\n{}\n0077\n", work.display()));
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
    let names: Vec<String> = world.inbox().into_keys().collect();
    let expected = ["ended", "launched", "started"].map(|kind| format!("{TOKEN}.0.0.{kind}.json"));
    assert_eq!(names, expected);
    for event in world.events() {
        assert_eq!((event.attempt, event.restart, event.index), (1, 0, 0));
        assert_eq!((event.token.as_str(), event.job.to_string().as_str()), (TOKEN, "local:7"));
        assert!(event.at > 1_700_000_000 && !event.host.is_empty(), "{event:?}");
        let kind = format!("{:?}", event.event).to_lowercase();
        assert_eq!(world.inbox()[&format!("{TOKEN}.0.0.{kind}.json")], event);
    }
    let last = world.last_event();
    assert_eq!((last.exit_code, last.reason, last.message.as_str()), (Some(3), None, ""));
    assert_eq!(world.marker(1), Some(last));
    assert_eq!(world.events()[0].exit_code, None);
    let claim = fs::read_link(world.in_run("claims").join(TOKEN)).unwrap();
    assert_eq!(claim.to_str(), Some("local:7"));
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0, "the scratch is gone");
    assert!(!ended.stderr.contains("out"), "the training's words are in its own log");
}

#[test]
fn the_training_is_told_everything_it_was_promised() {
    let mut world = World::new("env -0 >\"$1\"; ls -ld \"$TRAINYARD_LOCAL_SCRATCH\" >&2");
    world.spec.code.args = vec![word("{run_dir}/variables")];
    world.spec.metrics_file = "/data/m.jsonl".into();
    world.job_name = "lab_42-demo.3.tyabcdefghijklmnopqrst+x".into();
    world.set("ty_code", "is nobody's");
    assert_eq!(world.run().code, Some(0));

    let text = fs::read_to_string(world.in_run("variables")).unwrap();
    let found = |name: &str| {
        let mut lines = text.split('\0').filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let run_dir = world.in_run("").display().to_string().trim_end_matches('/').to_owned();
    let scratch = world.path("tmp").join(format!("trainyard.{TOKEN}")).display().to_string();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for (name, value) in [
        ("TRAINYARD_RUN_ID", "42"),
        ("TRAINYARD_RUN_NAME", "demo"),
        ("TRAINYARD_ATTEMPT", "3"),
        ("TRAINYARD_RUN_DIR", &run_dir),
        ("TRAINYARD_WORK_DIR", &format!("{run_dir}/work")),
        ("TRAINYARD_OUTPUT_PATH", &format!("{run_dir}/output")),
        ("TRAINYARD_CHECKPOINT_DIR", &format!("{run_dir}/checkpoints")),
        ("TRAINYARD_METRICS_PATH", "/data/m.jsonl"),
        ("TRAINYARD_RESUME_FROM", ""),
        ("TRAINYARD_STOP_FILE", &format!("{run_dir}/stop.3")),
        ("TRAINYARD_NODES", &host),
        ("TRAINYARD_LOCAL_SCRATCH", &scratch),
        ("MASTER_ADDR", "127.0.0.1"),
        ("WORLD_SIZE", "1"),
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("LOCAL_WORLD_SIZE", "1"),
        ("NODE_RANK", "0"),
        ("PYTHONUNBUFFERED", "1"),
    ] {
        assert_eq!(found(name).as_deref(), Some(value), "{name}");
    }
    let port: u32 = found("MASTER_PORT").unwrap().parse().unwrap();
    assert!((20_000..30_000).contains(&port));
    assert_eq!(found("TRAINYARD_JOB_NAME"), None);
    let log = fs::read_to_string(world.in_run("logs/3.out")).unwrap();
    assert!(log.starts_with("drwx------"), "{log}");
    assert_eq!(world.marker(3).unwrap().attempt, 3);
}

#[test]
fn a_port_that_somebody_listens_on_is_passed_over() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = u32::from(listener.local_addr().unwrap().port());
    let mut world = World::new("echo \"$MASTER_PORT\"");
    world.spec.distributed.ports = (taken, taken + 1);
    for job in ["20", "21"] {
        world.set("TRAINYARD_JOB_ID", job);
        fs::remove_file(world.in_run("claims").join(TOKEN)).unwrap_or_default();
        assert_eq!(world.run().code, Some(0));
    }
    assert_eq!(world.log(), format!("{0}\n{0}\n", taken + 1));
}

#[test]
fn a_job_without_the_claim_never_trains() {
    for owner in ["revoked", "local:8", "main:7"] {
        let world = World::new("echo trained");
        symlink(owner, world.in_run("claims").join(TOKEN)).unwrap();
        let ended = world.run();
        assert_eq!(ended.code, Some(i32::from(SUPERSEDED_EXIT)), "{ended:?}");
        assert!(ended.stderr.contains(owner), "{ended:?}");
        assert_eq!((world.log().as_str(), world.marker(1)), ("", None));
        let event = world.last_event();
        assert_eq!((event.event, event.reason), (Ended, Some(ScriptReason::Superseded)));
        assert_eq!(world.kinds(), [Ended]);
        let names: Vec<String> = world.inbox().into_keys().collect();
        assert_eq!(names, [format!("{TOKEN}.0.0.superseded.json")], "the owner's is another file");
        let link = fs::read_link(world.in_run("claims").join(TOKEN)).unwrap();
        assert_eq!(link.to_str(), Some(owner));
    }
}

#[test]
fn the_same_job_may_enter_again() {
    let world = World::new("echo trained");
    symlink("local:7", world.in_run("claims").join(TOKEN)).unwrap();
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), "trained\ntrained\n");
}

#[test]
fn what_is_missing_is_told_in_a_sentence() {
    let mut world = World::new("echo trained");
    world.job_name = JOB_NAME.replace("42-", "43-");
    let ended = world.run();
    assert_eq!(ended.code, Some(95), "{ended:?}");
    assert!(ended.stderr.contains("there is no run directory"), "{ended:?}");
    let event = world.inbox().remove(&format!("{TOKEN}.0.0.ended.json")).unwrap();
    assert_eq!(event.reason, Some(ScriptReason::LaunchFailed));
    assert!(event.message.contains("there is no run directory"), "{event:?}");
    assert!(!world.spec.run_root.join("43-demo").exists());

    // A claim that is no link cannot be read.
    let world = World::new("echo trained");
    fs::create_dir_all(world.in_run("claims").join(TOKEN)).unwrap();
    world.run().launch_failed(&world, "can be neither made nor read");

    let world = World::new("echo trained");
    fs::create_dir_all(world.in_run("logs/1.out")).unwrap();
    world.run().launch_failed(&world, "cannot write the training's log");

    let world = World::new("echo trained");
    fs::remove_dir_all(world.in_run("work")).unwrap();
    world.run().launch_failed(&world, "cannot enter");

    let mut world = World::new("");
    world.spec.code.program = Program::Command(vec![word("no-such-program"), word("x")]);
    world.run().launch_failed(&world, "`no-such-program` cannot be executed");

    let mut world = World::new("");
    world.spec.code.program = Program::EntryPoint("train".into());
    world.run().launch_failed(&world, "`./train` cannot be executed");

    let mut world = World::new("");
    world.spec.code.program = Program::EntryPoint("train.py".into());
    world.set("PATH", &world.path("bin").display().to_string());
    for tool in ["uname", "mkdir", "ln", "readlink", "mv", "rm"] {
        symlink(format!("/bin/{tool}"), world.path("bin").join(tool)).unwrap();
    }
    world.run().launch_failed(&world, "there is neither `python` nor `python3`");
}

#[test]
fn a_program_of_the_code_is_found_by_its_path() {
    let mut world = World::new("");
    world.write("code/a tool", "#!/bin/bash\nprintf '<%s>' \"$@\"");
    symlink(world.path("code/a tool"), world.in_run("work/a tool")).unwrap();
    fs::set_permissions(world.path("code/a tool"), fs::Permissions::from_mode(0o755)).unwrap();
    world.spec.code.program = Program::EntryPoint("a tool".into());
    world.spec.code.args = vec![word(""), word("-x")];
    assert_eq!(world.run().code, Some(0));
    assert_eq!(world.log(), "<><-x>");
}

#[test]
fn an_inbox_that_cannot_be_written_stops_nothing() {
    let world = World::new("echo trained");
    fs::remove_dir_all(world.spec.run_root.join(".inbox")).unwrap();
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.kinds(), [Started, Launched, Ended]);
}

#[test]
fn a_signal_reaches_the_training_which_decides_the_end() {
    let training =
        "trap 'echo told; sleep 0.2; exit 75' TERM; echo ready; while :; do sleep 0.05; done";
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let world = World::new(training);
        let ended = world.run_and_signal(signal);
        assert_eq!(ended.code, Some(75), "{signal} {ended:?}");
        assert_eq!(world.log(), "ready\ntold\n");
        assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
        assert_eq!(world.events()[2].message, signal.as_str());
        assert_eq!(world.marker(1).unwrap().exit_code, Some(75));
    }
}

#[test]
fn signals_at_any_moment_do_no_harm() {
    // The events are written, and the training ends, while more signals come. Several, for each is a matter of luck.
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(flood_with_signals);
        }
    });
}

fn flood_with_signals() {
    let world =
        World::new("trap : TERM; touch here; for i in {1..10}; do sleep 0.02; done; exit 9");
    let mut child = world.start();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    wait_until(|| world.in_run("work/here").exists());
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        kill(pid, Signal::SIGUSR1).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    };
    assert_eq!(code, Some(9));
    assert_eq!(world.kinds(), [Started, Launched, Warned, Ended]);
    assert_eq!(world.marker(1), Some(world.last_event()));
}

#[test]
fn a_training_that_a_signal_kills_ends_with_its_number() {
    let world = World::new("echo ready; exec sleep 60");
    let ended = world.run_and_signal(Signal::SIGTERM);
    assert_eq!((ended.code, world.marker(1).unwrap().exit_code), (Some(143), Some(143)));
    assert_eq!(world.last_event().reason, None);
}

#[test]
fn the_training_can_be_interrupted_as_on_a_terminal() {
    let world = World::new("trap 'echo told; exit 4' INT; kill -INT $$; sleep 1; exit 0");
    assert_eq!((world.run().code, world.log().as_str()), (Some(4), "told\n"));
}

#[test]
fn a_signal_before_the_training_ends_the_script() {
    let mut world = World::new("echo trained");
    world.spec.script.prologue = vec!["kill -TERM $$".into()];
    let ended = world.run();
    assert_eq!((ended.code, world.log().as_str()), (Some(143), ""));
    assert_eq!(world.kinds(), [Started, Ended]);
    let event = world.last_event();
    assert_eq!((event.exit_code, event.reason), (Some(143), None));
    assert!(event.message.contains("SIGTERM came before"), "{event:?}");
}

#[test]
fn by_hand_it_works_in_a_directory_of_its_own() {
    let mut world = World::new("echo \"$TRAINYARD_RUN_ID $TRAINYARD_ATTEMPT $PWD\"; ls -A");
    world.write("code/.hidden", "");
    for name in ["", "job.sh", "42-demo.1.tyshort", "4x-demo.1.tyabcdefghijklmnopqrst"] {
        world.job_name = name.into();
        let ended = world.run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("not submitted by Trainyard"), "{ended:?}");
    }
    let by_hand = world.spec.run_root.join("by-hand");
    let jobs: Vec<_> = fs::read_dir(by_hand).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    for job in jobs {
        let log = fs::read_to_string(job.join("logs/1.out")).unwrap();
        assert_eq!(log, format!("0 1 {}\n.hidden\ntrain.sh\n", job.join("work").display()));
        assert!(!job.join("claims").exists() && !job.join("exits").exists());
    }
    assert!(world.inbox().is_empty() && world.events().is_empty());
}

#[test]
fn half_a_script_does_nothing() {
    let world = World::new("echo trained");
    let script = trainyard::script::render(&world.spec);
    let lines: Vec<&str> = script.lines().collect();
    assert_eq!(lines.last(), Some(&"main \"$@\""));
    for end in (1..lines.len()).step_by(7).chain([lines.len() - 1]) {
        world.write("half.sh", &lines[..end].join("\n"));
        let mut bash = std::process::Command::new("/bin/bash");
        bash.arg(world.path("half.sh")).envs(&world.environment);
        bash.env("TRAINYARD_JOB_NAME", &world.job_name).output().unwrap();
    }
    assert!(world.inbox().is_empty() && world.log().is_empty());
    assert_eq!(fs::read_dir(world.in_run("claims")).unwrap().count(), 0);
}
