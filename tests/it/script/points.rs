//! What the script of a sweep's points does: each trains in its own directory, with what the table has for it.

mod table;

use std::fs;
use std::path::PathBuf;

use trainyard::domain::ids::RunId;
use trainyard::domain::inbox::ScriptEventKind::{Ended, Launched, Started};
use trainyard::domain::inbox::ScriptReason;
use trainyard::domain::resolved::Program;
use trainyard::domain::spec::{Launcher, WorkStyle};
use trainyard::domain::tree::FILES_TIME;
use trainyard::script::points::line;

use super::world::{TOKEN, World, launched, on_slurm, word};

/// A sweep `42-demo` whose code is `train.sh` and `lib/`, whose points are runs from 100 on, and whose script runs as element 3 of
/// an array from point 10 on.
pub(super) fn sweep(training: &str) -> World {
    let mut world = World::new(training);
    world.spec = launched(on_slurm(world.spec, 1), Launcher::None, 1);
    world.spec.compute.options.clear();
    world.varying = Some(["SEED".to_owned()].into());
    world.job_name = format!("42-demo@10.1.{TOKEN}");
    world.install("scontrol", "[[ $1 == show ]] && echo n1");
    for (name, value) in [
        ("SLURM_JOB_ID", "207"),
        ("SLURM_ARRAY_JOB_ID", "200"),
        ("SLURM_ARRAY_TASK_ID", "3"),
        ("SLURM_JOB_NODELIST", "n1"),
    ] {
        world.set(name, value);
    }
    fs::remove_dir_all(world.in_run("work")).unwrap();
    fs::remove_dir_all(world.in_run("claims")).unwrap();
    fs::create_dir(world.in_run("logs")).unwrap();
    world.write("runs/.store/code/d/train.sh", training);
    world.write("runs/.store/code/d/lib/data", "shared");
    let mut list = [format!("f {} train.sh", training.len()), "f 6 lib/data".into()];
    list.sort();
    world.write("runs/.store/code/d.list", &format!("tar 0 0\nd lib\n{}\n", list.join("\n")));
    let time = jiff::Timestamp::from_second(FILES_TIME.try_into().unwrap()).unwrap();
    for file in ["train.sh", "lib/data"] {
        let file = fs::File::options()
            .write(true)
            .open(world.path("runs/.store/code/d").join(file))
            .unwrap();
        file.set_modified(time.into()).unwrap();
    }
    std::os::unix::fs::symlink("../.store/code/d", world.in_run("code")).unwrap();
    let lines: Vec<String> = (0..20).map(point_line).collect();
    world.write("runs/42-demo/points.tsv", &lines.concat());
    world
}

fn point_line(point: u32) -> String {
    let args = [word("--point"), word(&point.to_string()), word("{output}/it's")];
    let seed = ("SEED".to_owned(), word(&format!("s {point}")));
    line(point, RunId(100 + i64::from(point)), &args, &[seed])
}

/// What is in the directory of point 13, and that itself, as paths below it.
fn left(world: &World) -> Vec<String> {
    let top = world.in_run("points/13");
    let all = walkdir::WalkDir::new(&top).sort_by_file_name().into_iter();
    all.map(|entry| entry.unwrap().path().strip_prefix(&top).unwrap().display().to_string())
        .collect()
}

fn in_point(world: &World, path: &str) -> PathBuf {
    world.in_run("points/13").join(path)
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// This and nothing else is in the directory of the point.
#[track_caller]
fn check_left(world: &World, names: &[&str]) {
    let claim = claim();
    let mut names = [&["", claim.as_str()], names].concat();
    names.sort_unstable();
    assert_eq!(left(world), names);
}

/// The claim of the point.
fn claim() -> String {
    format!("{TOKEN}_3")
}

#[test]
fn a_point_trains_in_its_own_directory_and_leaves_four_files() {
    let world = sweep(
        "printf '%s|' \"$@\" \"$SEED\"; cat lib/data; echo
         echo \"$TRAINYARD_RUN_ID $TRAINYARD_RUN_NAME $TRAINYARD_SWEEP_ID $TRAINYARD_SWEEP_POINT $PWD\"
         [[ -d $TRAINYARD_OUTPUT_PATH && -d $TRAINYARD_CHECKPOINT_DIR ]] || exit 9
         mkdir __pycache__; touch __pycache__/x; touch \"$TRAINYARD_STOP_FILE\"",
    );
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let at = in_point(&world, "").display().to_string();
    let at = at.trim_end_matches('/');
    let log = format!("--point|13|{at}/output/it's|s 13|shared\n113 demo 42 13 {at}/work\n");
    assert_eq!(read(in_point(&world, "1.out")), log, "{ended:?}");
    check_left(&world, &["1.json", "1.out"]);
    assert_eq!(fs::read_link(in_point(&world, &claim())).unwrap().to_str(), Some("main:200_3"));
    let inbox = world.inbox();
    let told: Vec<_> = inbox.iter().map(|(name, event)| (name.as_str(), event.event)).collect();
    let name = |event: &str| format!("{TOKEN}_3.3.0.{event}.json");
    let names = [name("ended"), name("launched"), name("started")];
    assert_eq!(told, [(&*names[0], Ended), (&*names[1], Launched), (&*names[2], Started)]);
    let end = &inbox[&names[0]];
    assert_eq!((end.token.as_str(), end.index, end.attempt), (claim().as_str(), 3, 1));
    assert!(!world.in_run("environment").exists(), "another one tells what the nodes are");
    assert_eq!(fs::read_dir(world.in_run("logs")).unwrap().count(), 0);
}

#[test]
fn what_a_training_wrote_stays_and_nothing_else() {
    let mut world = sweep(
        "[[ ! -e own ]] || { cat own lib/data; exit 4; }
         echo mine >own; rm lib; mkdir lib; echo other >lib/data; touch \"$TRAINYARD_OUTPUT_PATH/result\"; exit 3",
    );
    assert_eq!(world.run().code, Some(3));
    let wrote = ["output", "output/result", "work", "work/lib", "work/lib/data", "work/own"];
    check_left(&world, &[&["1.json", "1.out"][..], &wrote].concat());
    // A start again of the same job: the code is put beside that once more.
    world.set("SLURM_RESTART_COUNT", "1");
    assert_eq!(world.run().code, Some(4));
    assert_eq!(read(in_point(&world, "2.out")), "mine\nother\n");
    check_left(&world, &[&["1.json", "1.out", "2.json", "2.out"][..], &wrote].concat());
}

#[test]
fn a_copy_of_the_code_is_taken_away_where_nobody_changed_it() {
    let mut world = sweep("echo more >>lib/data; [[ -w train.sh ]] && cat lib/data");
    world.spec.code.work = WorkStyle::Copy;
    assert_eq!(world.run().code, Some(0));
    assert_eq!(read(in_point(&world, "1.out")), "sharedmore\n");
    check_left(&world, &["1.json", "1.out", "work", "work/lib", "work/lib/data"]);
    world.set("SLURM_RESTART_COUNT", "1");
    assert_eq!(world.run().code, Some(0));
    assert_eq!(read(in_point(&world, "2.out")), "sharedmore\nmore\n");
    assert_eq!(read(world.path("runs/.store/code/d/lib/data")), "shared");
}

#[test]
fn what_the_scheduler_said_is_moved_behind_the_log() {
    let world = sweep("echo trained; exit 3");
    let said = world.in_run("logs/slurm-200_3.out");
    fs::write(&said, "slurmstepd: error: *** CANCELLED DUE TO TIME LIMIT ***\n").unwrap();
    assert_eq!(world.run().code, Some(3));
    let log = read(in_point(&world, "1.out"));
    assert_eq!(log, "trained\nslurmstepd: error: *** CANCELLED DUE TO TIME LIMIT ***\n");
    assert!(!said.exists());
    // Where nothing was trained there is no log, and four files all the same.
    let world = sweep("echo trained");
    world.install("scontrol", "exit 1");
    let said = world.in_run("logs/slurm-200_3.out");
    fs::write(&said, "what Slurm said\n").unwrap();
    let ended = world.run();
    assert_eq!(ended.code, Some(95), "{ended:?}");
    assert!(ended.stderr.contains("scontrol cannot tell the job's nodes"), "{ended:?}");
    check_left(&world, &["1.json"]);
    assert!(said.exists());
}

/// Nothing is trained, and the end says why.
#[track_caller]
fn check_not_launched(world: &World, words: &str) {
    let ended = world.run();
    assert_eq!(ended.code, Some(95), "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
    let inbox = world.inbox();
    let end = &inbox[&format!("{TOKEN}_3.3.0.ended.json")];
    assert_eq!(end.reason, Some(ScriptReason::LaunchFailed));
    assert!(end.message.contains(words), "{end:?}");
    assert!(!in_point(world, "1.out").exists());
}

#[test]
fn a_wrong_table_trains_nothing() {
    let whole: Vec<String> = (0..20).map(point_line).collect();
    let here: usize = whole[..13].iter().map(String::len).sum();
    let until_its_end = here + whole[13].len();
    let text = whole.concat();
    let with = |table: &str, words: &str| {
        let world = sweep("echo trained");
        world.write("runs/42-demo/points.tsv", table);
        check_not_launched(&world, words);
    };
    let damaged = "the table of the sweep's points is damaged: line 14 of ";
    for cut in [0, 5, here, here + 1, here + 9, until_its_end - 4, until_its_end - 1] {
        with(&text[..cut], damaged);
    }
    with(&whole[1..].concat(), damaged);
    with(&text.replace("13\t113\t", "13\t\t"), damaged);
    with(&text.replace("13\t113\t", "113\t113\t"), damaged);
    with(&text.replace("13\t113\t(", "13\t113\t"), damaged);
    with(&"\n".repeat(20), damaged);
    let world = sweep("echo trained");
    fs::remove_file(world.in_run("points.tsv")).unwrap();
    check_not_launched(&world, "the table of the sweep's points cannot be read on ");
}

#[test]
fn a_job_that_is_no_point_is_told_so() {
    let check = |change: &dyn Fn(&mut World), words: &str| {
        let mut world = sweep("echo trained");
        change(&mut world);
        let ended = world.run();
        assert_eq!(ended.code, Some(95), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        assert!(!world.in_run("points").exists());
    };
    let by_hand = "only Trainyard says for which one: submit the sweep's spec, or what `trainyard render SPEC --point N`";
    check(&|world| world.job_name = "job.sh".into(), by_hand);
    check(&|world| world.job_name = format!("42-demo.1.{TOKEN}"), by_hand);
    let no_array = |world: &mut World| drop(world.environment.remove("SLURM_ARRAY_TASK_ID"));
    check(&no_array, "this job is of no array");
    let no_sweep = |world: &mut World| world.job_name = format!("43-demo@10.1.{TOKEN}");
    check(&no_sweep, "there is no directory of the sweep ");
}

#[test]
fn the_claim_decides_for_each_point() {
    let world = sweep("echo trained");
    fs::create_dir_all(in_point(&world, "")).unwrap();
    std::os::unix::fs::symlink("main:199_3", in_point(&world, &claim())).unwrap();
    let ended = world.run();
    assert_eq!(ended.code, Some(94), "{ended:?}");
    assert!(ended.stderr.contains("its submission belongs to: main:199_3"), "{ended:?}");
    check_left(&world, &[]);
    assert!(world.inbox().contains_key(&format!("{TOKEN}_3.3.0.superseded.json")));

    let world = sweep("echo trained; exit 3");
    assert_eq!(world.run().code, Some(3));
    let before = (left(&world), world.inbox(), read(in_point(&world, "1.out")));
    let again = world.run_again();
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.stderr.contains("this start of the job has ended before"), "{again:?}");
    assert_eq!((left(&world), world.inbox(), read(in_point(&world, "1.out"))), before);
}

#[test]
fn the_first_of_an_array_tells_what_its_nodes_are() {
    let mut world = sweep("echo trained");
    world.job_name = format!("42-demo@13.1.{TOKEN}");
    world.set("SLURM_ARRAY_TASK_ID", "0");
    assert_eq!(world.run().code, Some(0));
    assert!(read(world.in_run("environment/13.1.txt")).ends_with("\nend\n"));
    assert_eq!(left(&world), ["", "1.json", "1.out", format!("{TOKEN}_0").as_str()]);
}

#[test]
fn tasks_on_the_nodes_find_what_the_sweep_has() {
    let mut world = sweep("echo \"$KEY $SEED $1 $2\"");
    world.spec = launched(world.spec, Launcher::Srun, 2);
    world.spec.environment.secrets = Some("/home/ada/secrets.env".into());
    world.install("srun", super::slurm::SRUN);
    world.write("runs/42-demo/secrets.env", "KEY=a b\n");
    let ended = world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = read(in_point(&world, "1.out"));
    assert!(log.ends_with("a b s 13 --point 13\na b s 13 --point 13\n"), "{log}");
    check_left(&world, &["1.json", "1.out"]);
}

#[test]
fn on_this_machine_the_name_says_the_point_itself() {
    let mut world = sweep("echo \"$1 $2 $SEED $TRAINYARD_SWEEP_POINT\"");
    world.spec.compute.target = trainyard::domain::resolved::Target::Local;
    world.job_name = format!("42-demo@13.1.{TOKEN}");
    let said = world.in_run("logs/local-7.out");
    fs::write(&said, "").unwrap();
    assert_eq!(world.run().code, Some(0));
    assert_eq!(read(in_point(&world, "1.out")), "--point 13 s 13 13\n");
    assert_eq!(left(&world), ["", "1.json", "1.out", format!("{TOKEN}_0").as_str()]);
    assert!(!said.exists() && !world.in_run("environment").exists());
    assert_eq!(world.inbox()[&format!("{TOKEN}_0.0.0.ended.json")].job.to_string(), "local:7");
}

#[test]
fn a_command_is_given_the_same() {
    let mut world = sweep("");
    world.spec.code.program = Program::Command(vec![word("printf"), word("%s;")]);
    assert_eq!(world.run().code, Some(0));
    assert!(read(in_point(&world, "1.out")).starts_with("--point;13;"));
}
