//! What the script does with data: it sees the same in a tree as the program does, and tells what has changed.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use trainyard::domain::dataset::{Dataset, Found, Snapshot};
use trainyard::domain::inbox::{ScriptEventKind, ScriptReason};
use trainyard::domain::spec::{OnDrift, Stage};
use trainyard::hands::InProcess;
use trainyard::ports::{DataOrder, Hands};

use super::world::{World, word};

/// Sets a file's time of change, to the nanosecond.
fn set_time(path: &Path, since: Duration) {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + since);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// A tree of everything that a name and an entry can be.
fn odd_tree(root: &Path) {
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let names: &[&[u8]] = &[
        b"plain",
        b"with space",
        b" leading",
        b"-rf",
        b"new\nline",
        b"tab\there",
        b"back\\slash",
        "ümläut-日本".as_bytes(),
        b"not\xff\xfeutf8",
        b"quote'\"",
        b"*?[x]",
        b"f 1 2.3 x",
        b"deep/er/below",
        b".hidden",
    ];
    for (n, name) in names.iter().enumerate() {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, vec![b'x'; n]).unwrap();
        let nanoseconds = [0, 1, 999_999_999, 100, 123_456_789][n % 5];
        set_time(&path, Duration::new(1_700_000_000 + n as u64, nanoseconds));
    }
    let early = root.join("before 1970");
    fs::write(&early, "x").unwrap();
    let times = FileTimes::new().set_modified(UNIX_EPOCH - Duration::from_millis(1500));
    File::options().write(true).open(early).unwrap().set_times(times).unwrap();
    symlink("plain", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(b"a//b\n\xff"), root.join("odd target")).unwrap();
    symlink(".", root.join("deep/loop")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
}

fn look(path: &Path) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let order =
        DataOrder { path: path.to_owned(), content: None, patience: Duration::from_mins(1) };
    InProcess::new(runtime.handle().clone()).fingerprint(&order).unwrap()
}

/// A world whose run has this data, as it is now.
struct WithData {
    world: World,
    data: PathBuf,
    snapshot: Snapshot,
}

impl WithData {
    fn new(on_drift: OnDrift, make: impl FnOnce(&Path)) -> Self {
        let mut world =
            World::new("echo \"$TRAINYARD_DATA_PATH $TRAINYARD_DATA_PATH_MY_DATA\" \"$@\"");
        let data = world.path("data");
        make(&data);
        world.spec.datasets = vec![Dataset {
            name: "my-data".into(),
            path: data.clone(),
            version: None,
            immutable: false,
            stage: Stage::None,
            content: false,
            on_drift,
        }];
        world.spec.code.args = vec![word("{data}/x"), word("{data.my-data}")];
        let found = look(&data);
        let snapshot = Snapshot {
            name: "my-data".into(),
            path: data.clone(),
            version: None,
            at: Timestamp::UNIX_EPOCH,
            found,
        };
        let new = Self { world, data, snapshot };
        new.record();
        new
    }

    fn record(&self) {
        let immutable = self.world.spec.datasets[0].immutable;
        fs::write(self.world.in_run("datasets.tsv"), self.snapshot.line_for_job(immutable))
            .unwrap();
    }

    /// Runs the script; whether it told that the data is not what it was.
    #[track_caller]
    fn drifts(&self) -> bool {
        fs::remove_file(self.world.in_run("events.jsonl")).ok();
        let ended = self.world.run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!self.world.kinds().contains(&ScriptEventKind::DataUnchecked), "{ended:?}");
        self.world.kinds().contains(&ScriptEventKind::DataChanged)
    }
}

#[test]
fn the_script_sees_in_a_tree_what_the_program_sees() {
    let run = WithData::new(OnDrift::Warn, odd_tree);
    assert!(!run.drifts());
    let data = run.data.display();
    assert_eq!(run.world.log(), format!("{data} {data} {data}/x {data}\n"));

    let changes: &[fn(&Path)] = &[
        |root| fs::write(root.join("plain"), "longer").unwrap(),
        |root| set_time(&root.join("with space"), Duration::new(1_700_000_001, 2)),
        |root| fs::rename(root.join("plain"), root.join("other")).unwrap(),
        |root| fs::remove_file(root.join("deep/er/below")).unwrap(),
        |root| fs::create_dir(root.join("deep/new")).unwrap(),
        |root| fs::remove_dir(root.join("empty")).unwrap(),
        |root| {
            fs::remove_file(root.join("link")).unwrap();
            symlink("-rf", root.join("link")).unwrap();
        },
    ];
    for (n, change) in changes.iter().enumerate() {
        let run = WithData::new(OnDrift::Warn, odd_tree);
        change(&run.data);
        assert!(run.drifts(), "change {n} is not seen");
        let told = &run.world.events()[1].message;
        assert!(told.contains("`my-data` is not what it was"), "{told}");
    }
}

#[test]
fn a_single_file_and_a_link_to_the_data_are_data() {
    let run = WithData::new(OnDrift::Warn, |data| fs::write(data, "abc").unwrap());
    assert!(!run.drifts());
    fs::write(&run.data, "abcd").unwrap();
    assert!(run.drifts());
    let run = WithData::new(OnDrift::Warn, |data| {
        odd_tree(&data.with_extension("real"));
        symlink(data.with_extension("real"), data).unwrap();
    });
    assert!(!run.drifts());
    fs::write(run.data.join("new"), "").unwrap();
    assert!(run.drifts());
}

#[test]
fn where_fractions_of_seconds_are_not_shown_whole_seconds_are_compared() {
    let run = WithData::new(OnDrift::Warn, odd_tree);
    // A node whose file system has none.
    run.world.install(
        "find",
        r#"/usr/bin/find "$@" | sed -z 's/\.[0-9]\{10\} /.0000000000 /; s/\.[0-9]\{10\}\n/.0000000000\n/g'"#,
    );
    assert!(!run.drifts());
    set_time(&run.data.join("plain"), Duration::new(1_800_000_000, 0));
    assert!(run.drifts());
    // And one that has some, where the program saw none.
    let mut run = WithData::new(OnDrift::Warn, odd_tree);
    let Found::Tree(tree) = &mut run.snapshot.found else { panic!("{:?}", run.snapshot) };
    tree.manifest.has_fractions = false;
    run.record();
    assert!(!run.drifts());
    set_time(&run.data.join("plain"), Duration::new(1_800_000_000, 0));
    assert!(run.drifts());
}

#[test]
fn a_run_that_is_to_fail_then_does() {
    let run = WithData::new(OnDrift::Fail, odd_tree);
    assert!(!run.drifts());
    fs::write(run.data.join("new"), "").unwrap();
    let ended = run.world.run();
    assert_eq!(ended.code, Some(95), "{ended:?}");
    let last = run.world.last_event();
    assert_eq!(last.reason, Some(ScriptReason::DataChanged));
    assert!(last.message.contains("`my-data` is not what it was"), "{last:?}");
}

#[test]
fn what_cannot_be_compared_is_told_and_is_no_change() {
    let run = WithData::new(OnDrift::Warn, odd_tree);
    run.world.install("find", "exit 1");
    let ended = run.world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    use ScriptEventKind::{DataUnchecked, Ended, Launched, Started};
    assert_eq!(run.world.kinds(), [Started, DataUnchecked, Launched, Ended]);
    let run = WithData::new(OnDrift::Fail, odd_tree);
    run.world.install("find", "exit 1");
    run.world.run().launch_failed(&run.world, "cannot be compared with what it was");
    let run = WithData::new(OnDrift::Warn, odd_tree);
    fs::remove_dir_all(&run.data).unwrap();
    run.world.run().launch_failed(&run.world, "there is no dataset `my-data` on ");
}

#[test]
fn of_data_that_nobody_changes_only_the_root_is_looked_at() {
    let mut run = WithData::new(OnDrift::Warn, odd_tree);
    run.world.spec.datasets[0].immutable = true;
    run.record();
    run.world.install("find", "exit 1");
    fs::write(run.data.join("deep/new"), "").unwrap();
    assert!(!run.drifts());
    let then = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(5));
    File::open(&run.data).unwrap().set_times(then).unwrap();
    assert!(run.drifts());
}

#[test]
fn data_is_copied_before_the_training_and_gone_after_it() {
    let mut run = WithData::new(OnDrift::Fail, odd_tree);
    run.world.write("single.txt", "one file");
    let mut single = run.world.spec.datasets[0].clone();
    (single.name, single.path) = ("single".into(), run.world.path("single.txt"));
    single.stage = Stage::Local;
    run.world.spec.datasets[0].stage = Stage::Local;
    run.world.spec.datasets.push(single);
    run.world.write(
        "code/train.sh",
        "echo \"$1\"; cat \"$TRAINYARD_DATA_PATH_SINGLE\"; echo; cd \"$TRAINYARD_DATA_PATH\" && ls -A | wc -l\n\
         stat -c %.Y 'with space'; readlink link; cat -- -rf",
    );
    let ended = run.world.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = run.world.log();
    let lines: Vec<&str> = log.lines().collect();
    let scratch = run.world.path("tmp").display().to_string();
    assert!(lines[0].starts_with(&scratch), "{log}");
    assert_eq!(&lines[1..], ["one file", "21", "1700000001.000000001", "plain", "xxx"], "{log}");
    assert_eq!(fs::read_dir(run.world.path("tmp")).unwrap().count(), 0, "the copies are gone");
}

#[test]
fn data_that_does_not_fit_is_told_before_it_is_copied() {
    let run = WithData::new(OnDrift::Warn, |data| {
        fs::create_dir(data).unwrap();
        let sparse = File::create(data.join("sparse")).unwrap();
        sparse.set_len(1 << 42).unwrap();
    });
    let mut world = run.world;
    world.spec.datasets[0].stage = Stage::Local;
    world.run().launch_failed(&world, "the dataset `my-data` does not fit into ");
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_copy_is_broken_off_when_the_job_is_to_end() {
    let mut run = WithData::new(OnDrift::Warn, odd_tree);
    run.world.spec.datasets[0].stage = Stage::Local;
    run.world.install("cp", "touch \"$HOME/copying\"; sleep 60; touch \"$HOME/copied\"");
    let child = run.world.start();
    super::world::wait_until(|| run.world.path("copying").exists());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{ended:?}");
    assert!(run.world.last_event().message.contains("SIGTERM came before"), "{ended:?}");
    assert_eq!(fs::read_dir(run.world.path("tmp")).unwrap().count(), 0);
}
