//! The points of a sweep as the elements of an array, from a directory that is made as acceptance will make it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use trainyard::domain::ids::RunId;
use trainyard::domain::inbox::ScriptEvent;
use trainyard::domain::resolved::Resolved;
use trainyard::domain::run_files::RunFiles;
use trainyard::domain::word::Word;
use trainyard::script::points::line;
use trainyard::script::render_points;

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;
use crate::slurm::requeue::RESTARTABLE;

const TOKEN: &str = "tyabcdefghijklmnopqrst";
/// The point of the array's first element.
const OFFSET: u32 = 100;

/// Point 103 waits to be started again, 105 fails, 107 waits to be ended, and the others are done.
const TRAINING: &str = r#"
printf '%s|' "$@" "$SEED" "$TRAINYARD_RUN_ID" "$TRAINYARD_SWEEP_ID" "$TRAINYARD_SWEEP_POINT" "$PWD"
echo
case $TRAINYARD_SWEEP_POINT.$TRAINYARD_ATTEMPT in
  103.1 | 107.1)
    echo mine >kept
    exec sleep 600
    ;;
  103.2) cat kept ;;
  105.1) exit 3 ;;
esac
"#;

/// A sweep's directory, with the code of a run that was captured before.
fn sweep_dir(cluster: &Cluster) -> PathBuf {
    let spec = cluster.spec("sweep", TRAINING, RESTARTABLE);
    let run = cluster.env.submit(&spec);
    cluster.env.until(run, &["completed"]);
    let shown = cluster.env.line(&format!("render {} --json", spec.display())).success().json();
    let resolved: Resolved = serde_json::from_value(shown["resolved"].clone()).unwrap();

    let dir = cluster.env.run_root().join("42-sweep");
    fs::create_dir_all(dir.join("logs")).unwrap();
    let code = fs::read_link(cluster.env.run_dir(run).join("code")).unwrap();
    std::os::unix::fs::symlink(code, dir.join("code")).unwrap();
    let files = RunFiles::of(&dir);
    let script = render_points(&resolved, &["SEED".to_owned()].into());
    fs::write(files.script(0), script).unwrap();
    let table: String = (0..OFFSET + 10).map(point_line).collect();
    fs::write(files.points(), table).unwrap();
    dir
}

fn point_line(point: u32) -> String {
    let args = ["--text", "it's\n$(id)", &point.to_string()].map(Word::literal);
    let seed = ("SEED".to_owned(), Word::literal(format!("s {point}")));
    line(point, RunId(i64::from(point) + 1000), &args, &[seed])
}

/// What is in a point's directory and what is there of it elsewhere, as paths below the sweep's.
fn left(dir: &Path, job: &str, index: u32) -> Vec<String> {
    let point = RunFiles::point_dir(dir, OFFSET + index);
    let entries = walkdir::WalkDir::new(&point).into_iter().map(|entry| entry.unwrap().into_path());
    let log = dir.join(format!("logs/slurm-{job}_{index}.out"));
    let below = |path: PathBuf| path.strip_prefix(dir).unwrap().display().to_string();
    let mut all: Vec<String> = entries.chain(log.exists().then_some(log)).map(below).collect();
    all.sort();
    all
}

#[test]
fn the_elements_of_an_array_train_a_point_each_and_leave_four_files() {
    let cluster = Cluster::new();
    let dir = sweep_dir(&cluster);
    let one = RunFiles::point_dir(&dir, OFFSET);
    let output = format!("--output={}", RunFiles::of(&one).slurm_log_pattern().unwrap());
    let name = format!("--job-name=42-sweep@{OFFSET}.1.{TOKEN}");
    let chdir = format!("--chdir={}", dir.display());
    let script = RunFiles::of(&dir).script(0).display().to_string();
    let args = ["--parsable", "--array=0-9", "--open-mode=append", &output, &name, &chdir, &script];
    let job = cluster.ask("sbatch", &args).trim().to_owned();

    let log = |index: u32, attempt: u32| {
        let point = RunFiles::point_dir(&dir, OFFSET + index);
        fs::read_to_string(RunFiles::of(&point).training_log(attempt)).unwrap_or_default()
    };
    let states = || {
        let text = cluster.ask("squeue", &["-h", "-r", "-t", "all", "-j", &job, "-o", "%K %T %V"]);
        let rows = text.lines().filter_map(|line| line.split_once(' '));
        rows.map(|(index, state)| (index.parse().unwrap(), state.to_owned()))
            .collect::<BTreeMap<u32, String>>()
    };
    for index in [3, 7] {
        wait_until("it runs", || {
            log(index, 1).ends_with("|\n") && states()[&index].starts_with("RUNNING ")
        });
    }
    drop(cluster.ask("scontrol", &["requeue", &format!("{job}_3")]));
    drop(cluster.ask("scancel", &[&format!("{job}_7")]));
    wait_until("point 103 is trained again", || log(3, 2).ends_with("mine\n"));
    let is_over = |(_, state): (&u32, &String)| {
        ["COMPLETED", "FAILED", "CANCELLED"].iter().any(|word| state.starts_with(word))
    };
    wait_until("all are over", || states().iter().all(is_over));

    for index in 0..10 {
        let point = OFFSET + index;
        let at = RunFiles::point_dir(&dir, point).display().to_string();
        let first = format!(
            "--text|it's\n$(id)|{point}|s {point}|{}|42|{point}|{at}/work|\n",
            point + 1000
        );
        assert!(log(index, 1).starts_with(&first), "{}", log(index, 1));
        let claim = format!("points/{point}/{TOKEN}_{index}");
        let owner = fs::read_link(dir.join(&claim)).unwrap();
        assert_eq!(owner.to_str().unwrap(), format!("test:{job}_{index}"));
        let mut expected = vec![claim, format!("points/{point}")];
        let attempts = if index == 3 { 1..=2 } else { 1..=1 };
        for n in attempts {
            expected
                .extend([format!("points/{point}/{n}.json"), format!("points/{point}/{n}.out")]);
        }
        if [3, 7].contains(&index) {
            expected.extend(["work", "work/kept"].map(|name| format!("points/{point}/{name}")));
        }
        expected.sort();
        assert_eq!(left(&dir, &job, index), expected, "point {point}");
        let marker = fs::read_to_string(dir.join(format!("points/{point}/1.json"))).unwrap();
        let end = ScriptEvent::parse(&marker).unwrap();
        assert_eq!((end.token.as_str(), end.index), (&*format!("{TOKEN}_{index}"), index));
        let code = match index {
            3 | 7 => Some(143),
            5 => Some(3),
            _ => Some(0),
        };
        assert_eq!(end.exit_code, code, "point {point}: {end:?}");
    }
    let words = "CANCELLED AT ";
    assert!(log(7, 1).contains(words), "what Slurm said is with the rest: {}", log(7, 1));
    assert!(dir.join("environment/100.1.txt").exists());
    assert_eq!(fs::read_dir(dir.join("environment")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.join("logs")).unwrap().count(), 0, "and nowhere else");
}

#[test]
fn a_point_whose_script_is_killed_leaves_four_files_too() {
    let cluster = Cluster::new();
    let training = "touch \"$TRAINYARD_STOP_FILE\"; kill -KILL $PPID; sleep 1";
    let spec = cluster.spec("killed", training, "");
    let text = fs::read_to_string(&spec).unwrap();
    fs::write(&spec, format!("{text}[sweep.parameters]\n'args.n' = [0]\n")).unwrap();
    let sweep = cluster.env.submit(&spec);
    cluster.env.until(sweep + 1, &["failed"]);
    let shown = cluster.env.show(sweep + 1);
    let job = shown["attempts"][0]["job_id"].to_string();
    let dir = cluster.env.run_root().join(format!("{sweep}-killed"));
    let point = RunFiles::point_dir(&dir, 0);
    let left: Vec<_> = walkdir::WalkDir::new(&point).into_iter().map(Result::unwrap).collect();
    let log = dir.join(format!("logs/slurm-{job}_0.out"));
    assert_eq!(left.len() + usize::from(log.exists()), 4, "{left:?}");
    assert!(RunFiles::of(&point).training_log(1).exists() && log.exists(), "{left:?}");
}
