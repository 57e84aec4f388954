//! The script's search for the newest complete checkpoint, compared with the catalogue's on real files: it never takes one
//! that the catalogue does not call complete, and takes the same one as it where nothing is odd.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use trainyard::domain::checkpoint::{Branch, Format, Found, POINTERS, newest};
use trainyard::domain::inbox::{ScriptEventKind, ScriptReason};
use trainyard::domain::resolved::Checkpoint;
use trainyard::domain::spec::Resume;
use trainyard::hands::InProcess;
use trainyard::ports::Hands;
use trainyard::script::render;

use super::layouts::{Dice, LAYOUTS, Layout, mutate};
use super::world::{World, spec, word};

/// What a search took: a path below the directory and its step.
pub(crate) type Taken = Option<(String, Option<i64>)>;

fn walk(directory: &Path, wanted: Option<Format>) -> Vec<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let walked = InProcess::new(runtime.handle().clone()).checkpoints(directory, wanted).unwrap();
    assert_eq!(walked.cut, None);
    walked.found
}

/// What the functions of the script take in each of these run directories, in one go.
pub(crate) fn searched(runs: &[PathBuf], format: Option<Format>) -> Vec<Taken> {
    let mut spec = spec();
    spec.checkpoint = Some(Checkpoint {
        format,
        resume: Resume::Auto,
        resume_args: Vec::new(),
        every_steps: None,
        retention: None,
    });
    let script = render(&spec);
    let mut text = script.strip_suffix("main \"$@\"\n").unwrap().to_owned();
    text.push_str("ty_begin\nty_settle\ntrap - EXIT\n");
    for run in runs {
        let run = run.display();
        writeln!(
            text,
            "ty_run_dir='{run}' ty_resume_from='' ty_resume_step='' ty_resume_time=0\n\
             ty_find_checkpoint\nprintf '%s\\t%s\\n' \"$ty_resume_from\" \"$ty_resume_step\""
        )
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("search.sh");
    fs::write(&path, text).unwrap();
    let mut bash = Command::new("/bin/bash");
    let output = bash.arg(path).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let odd: Vec<&str> =
        said.lines().filter(|line| !line.contains("not complete, and passed over")).collect();
    assert!(output.status.success() && odd.is_empty(), "{odd:#?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.lines().count(), runs.len(), "{told}{said}");
    let lines = told.lines().zip(runs).map(|(line, run)| {
        let (path, step) = line.split_once('\t').unwrap();
        let inside = path.strip_prefix(&format!("{}/checkpoints/", run.display()));
        let step = (!step.is_empty()).then(|| step.parse().unwrap());
        (!path.is_empty()).then(|| (inside.unwrap_or("").to_owned(), step))
    });
    lines.collect()
}

fn chosen(run: &Path, found: &[Found], branch: Option<&Branch>) -> Taken {
    let one = newest(found, branch)?;
    let inside = one.path.strip_prefix(&format!("{}/checkpoints/", run.display())).unwrap_or("");
    Some((inside.to_owned(), one.step))
}

/// Checks many run directories at once; gives how often the script was stricter.
fn compare(runs: &[PathBuf], format: Option<Format>) -> usize {
    let mut stricter = 0;
    for (run, taken) in runs.iter().zip(searched(runs, format)) {
        let found = walk(&run.join("checkpoints"), format);
        let expected = chosen(run, &found, None);
        if taken == expected {
            continue;
        }
        if let Some((path, _)) = &taken {
            let is_complete =
                |one: &Found| one.lacks.is_none() && one.path.ends_with(path.as_str());
            assert!(found.iter().any(is_complete), "{taken:?} of {found:#?}");
        }
        stricter += 1;
    }
    stricter
}

/// Sets when everything below was last changed.
fn age(path: &Path, back: Duration) {
    let entries = if path.is_dir() { fs::read_dir(path).unwrap().collect() } else { Vec::new() };
    for entry in entries {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_symlink() {
            age(&entry.path(), back);
        }
    }
    File::open(path).unwrap().set_modified(SystemTime::now() - back).unwrap();
}

#[test]
fn what_was_written_to_its_end_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for (n, Layout { write, .. }) in LAYOUTS.iter().enumerate() {
        let run = folder.path().join(n.to_string());
        let directory = run.join("checkpoints");
        for step in [80, 900, 1000] {
            fs::create_dir_all(&directory).unwrap();
            write(&directory, step);
        }
        runs.push(run);
    }
    assert_eq!(compare(&runs, None), 0);
    for (taken, layout) in searched(&runs, None).into_iter().zip(LAYOUTS) {
        let (path, step) = taken.unwrap_or_else(|| panic!("{}: nothing", layout.name));
        assert_eq!(step, Some(1000), "{}: {path}", layout.name);
    }
    // A format that is named is the one that is looked for.
    for (run, layout) in runs.iter().zip(LAYOUTS) {
        let own = searched(std::slice::from_ref(run), Some(layout.format));
        assert!(own[0].is_some(), "{}", layout.name);
    }
}

#[test]
fn a_blank_pointer_hides_the_newest_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    let pointed =
        LAYOUTS.iter().filter(|it| [Format::Deepspeed, Format::Megatron].contains(&it.format));
    for Layout { name, write, .. } in pointed {
        for blank in ["", " \n", "\0\0\0"] {
            let run = folder.path().join(format!("{name} {}", runs.len()));
            let directory = run.join("checkpoints");
            for step in [80, 900, 1000] {
                fs::create_dir_all(&directory).unwrap();
                write(&directory, step);
            }
            for pointer in POINTERS.iter().map(|it| directory.join(OsStr::from_bytes(it))) {
                if pointer.exists() {
                    fs::write(pointer, blank).unwrap();
                }
            }
            runs.push(run);
        }
    }
    assert_eq!((runs.len(), compare(&runs, None)), (9, 0));
    for taken in searched(&runs, None) {
        assert_eq!(taken.and_then(|(_, step)| step), Some(900));
    }
}

#[test]
fn the_script_never_takes_what_the_catalogue_does_not_call_complete() {
    const CASES: usize = 120;
    let mut dice = Dice(44);
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for n in 0..CASES {
        let run = folder.path().join(n.to_string());
        let directory = run.join("checkpoints");
        let Layout { write, .. } = &LAYOUTS[dice.below(LAYOUTS.len())];
        fs::create_dir_all(&directory).unwrap();
        for step in 1..=1 + dice.below(3) {
            write(&directory, step * 10);
        }
        for _ in 0..=dice.below(2) {
            mutate(&directory, &mut dice);
        }
        runs.push(run);
    }
    let stricter = compare(&runs, None);
    assert!(stricter <= CASES / 20, "the script was stricter {stricter} times of {CASES}");
    for word in Format::WORDS {
        compare(&runs[..10], Format::from_word(word));
    }
}

#[test]
fn the_newest_is_told_by_the_step_in_a_directory_and_by_the_time_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |run: &str, path: &str, minutes: u64| {
        let path = folder.path().join(run).join("checkpoints").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, super::layouts::archive(100)).unwrap();
        age(&path, Duration::from_mins(minutes));
    };
    let check = |run: &str, expected: &str| {
        let run = folder.path().join(run);
        let taken = searched(std::slice::from_ref(&run), None).pop().unwrap();
        assert_eq!(taken.as_ref().map(|(path, _)| path.as_str()), Some(expected));
        assert_eq!(taken, chosen(&run, &walk(&run.join("checkpoints"), None), None));
    };
    // Copied or touched: the times lie.
    write("a", "step-100.pt", 1);
    write("a", "step-200.pt", 9);
    check("a", "step-200.pt");
    // The last one of Lightning may be newer than the best one.
    write("b", "epoch=1-step=100.ckpt", 9);
    write("b", "last.ckpt", 1);
    check("b", "last.ckpt");
    write("c", "epoch=1-step=100.ckpt", 1);
    write("c", "last.ckpt", 9);
    check("c", "epoch=1-step=100.ckpt");
    // Stages of a training, each with steps of its own.
    write("d", "stage_1/step-500.pt", 9);
    write("d", "stage_2/step-100.pt", 1);
    check("d", "stage_2/step-100.pt");
    // The directory tells the step.
    write("e", "step_100/last.ckpt", 1);
    write("e", "step_200/last.ckpt", 9);
    check("e", "step_200/last.ckpt");
}

#[test]
fn what_a_person_chose_is_gone_on_from_until_there_is_something_newer() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_owned();
    let write = |step: u32, minutes: u64| {
        let path = run.join(format!("checkpoints/step-{step}.pt"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, super::layouts::archive(100)).unwrap();
        age(&path, Duration::from_mins(minutes));
    };
    for (step, minutes) in [(100, 30), (200, 20), (300, 10)] {
        write(step, minutes);
    }
    let mark = run.join("resume_from");
    let path = run.join("checkpoints/step-100.pt");
    fs::write(&mark, format!("{}\n", path.display())).unwrap();
    age(&mark, Duration::from_mins(5));
    let branch = Branch {
        path: path.display().to_string(),
        step: Some(100),
        at: fs::metadata(&mark).unwrap().modified().unwrap().try_into().unwrap(),
    };
    let check = |step: i64| {
        let taken = searched(std::slice::from_ref(&run), None).pop().unwrap();
        assert_eq!(taken.as_ref().and_then(|(_, step)| *step), Some(step));
        assert_eq!(taken, chosen(&run, &walk(&run.join("checkpoints"), None), Some(&branch)));
    };
    check(100);
    write(150, 1);
    check(150);
}

#[test]
fn a_look_has_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("checkpoints");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("step-1.pt"), super::layouts::archive(100)).unwrap();
    for step in 2..=60 {
        fs::write(directory.join(format!("step-{step}.pt")), "PK\x03\x04 cut off before its end")
            .unwrap();
    }
    symlink("/", directory.join("round")).unwrap();
    let run = folder.path().to_owned();
    assert_eq!(searched(std::slice::from_ref(&run), None), [None], "too many are not complete");
    for step in 20..=60 {
        fs::remove_file(directory.join(format!("step-{step}.pt"))).unwrap();
    }
    assert_eq!(searched(&[run], None), [Some(("step-1.pt".to_owned(), Some(1)))]);
}

/// A world whose training tells what it is given, and saves a checkpoint of step 10.
fn training(resume: Resume) -> World {
    let mut world = World::new(
        "echo \"from <$TRAINYARD_RESUME_FROM> with $*\"; cp ../../../save \"$TRAINYARD_CHECKPOINT_DIR/step-10.pt\" 2>/dev/null; true",
    );
    let resume_args = vec![word("--from"), word("{resume_from}")];
    world.spec.checkpoint =
        Some(Checkpoint { format: None, resume, resume_args, every_steps: None, retention: None });
    world
}

/// Lets it save at each start from now on.
fn save(world: &World) {
    fs::write(world.path("save"), super::layouts::archive(100)).unwrap();
}

/// The log of an attempt; each start of the local target has an attempt of its own.
fn attempt(world: &mut World, n: u32) -> String {
    world.job_name = format!("42-demo.{n}.{}", super::world::TOKEN);
    drop(world.run());
    fs::read_to_string(world.in_run(&format!("logs/{n}.out"))).unwrap_or_default()
}

#[test]
fn an_attempt_is_given_the_newest_checkpoint_and_tells_its_step() {
    let mut world = training(Resume::Auto);
    save(&world);
    assert_eq!(attempt(&mut world, 1), "from <> with \n");
    let path = world.in_run("checkpoints/step-10.pt").display().to_string();
    let half = world.in_run("checkpoints/step-20.pt");
    fs::write(half, &super::layouts::archive(100)[..90]).unwrap();
    assert_eq!(attempt(&mut world, 2), format!("from <{path}> with --from {path}\n"));
    let launched: Vec<_> = world
        .events()
        .into_iter()
        .filter(|event| event.event == ScriptEventKind::Launched)
        .map(|event| (event.attempt, event.message, event.resumed_from_step))
        .collect();
    assert_eq!(launched, [(1, String::new(), None), (2, path, Some(10))]);
    world.spec.checkpoint.as_mut().unwrap().resume = Resume::Never;
    assert_eq!(attempt(&mut world, 3), "from <> with \n");
}

#[test]
fn where_a_checkpoint_is_required_a_training_is_not_begun_anew() {
    let mut world = training(Resume::Require);
    assert_eq!(attempt(&mut world, 1), "from <> with \n", "the first attempt starts anew");
    assert_eq!(attempt(&mut world, 2), "");
    let event = world.last_event();
    let end = (event.event, event.reason, event.exit_code);
    assert_eq!(end, (ScriptEventKind::Ended, Some(ScriptReason::NoCheckpoint), Some(95)));
    assert!(event.message.contains("there is no complete checkpoint to go on from"), "{event:?}");
    save(&world);
    fs::copy(world.path("save"), world.in_run("checkpoints/step-10.pt")).unwrap();
    assert!(attempt(&mut world, 3).contains("step-10.pt> with"), "{:?}", world.last_event());
    // None has begun before: what was lost before its start has nothing to go on from.
    let mut world = training(Resume::Require);
    assert_eq!(attempt(&mut world, 2), "from <> with \n");
}

#[test]
fn bash_and_shellcheck_find_no_fault_in_the_search_for_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let formats = Format::WORDS.iter().map(|word| Format::from_word(word)).chain([None]);
    for format in formats {
        let mut spec = spec();
        let resume_args = vec![word("--from"), word("{resume_from}")];
        spec.checkpoint = Some(Checkpoint {
            format,
            resume: Resume::Require,
            resume_args,
            every_steps: None,
            retention: None,
        });
        let path = folder.path().join("job.sh");
        fs::write(&path, render(&spec)).unwrap();
        for mut checker in [Command::new("/bin/bash"), Command::new("shellcheck")] {
            if checker.get_program() == "/bin/bash" {
                checker.arg("-n");
            }
            let checked = checker.arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&checked.stdout);
            assert!(checked.status.success(), "{format:?}: {said}");
        }
    }
}
