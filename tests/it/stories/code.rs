//! Code that was captured: what is edited, deleted or moved afterwards changes nothing, and a run is submitted again from
//! its record alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::env::{TestEnv, wait_until};

/// Waits for `go`, and then runs what the code says by then.
const PATIENT: &str = "until [ -e \"$TRAINYARD_RUN_DIR/go\" ]; do sleep 0.02; done\n\
                       echo \"says $(<\"$TRAINYARD_RUN_DIR/work/words.txt\") and $(<words.txt)\"\n";

fn digest_of(run: &serde_json::Value) -> String {
    run["code"]["digest"].as_str().unwrap().to_owned()
}

/// The archives that a run root keeps.
fn archives(env: &TestEnv) -> Vec<PathBuf> {
    let entries = env.run_root().join(".store/code").read_dir().unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "tar")).collect()
}

#[test]
fn what_is_edited_and_deleted_after_the_submission_changes_nothing() {
    let env = TestEnv::new();
    let spec = env.bash_spec("patient", PATIENT);
    env.write("patient-code/words.txt", "one");
    let run = env.submit(&spec);
    env.write("patient-code/words.txt", "two");
    env.write("patient-code/train.sh", "echo something else\n");
    std::fs::remove_dir_all(env.home().join("patient-code")).unwrap();
    std::fs::write(env.run_dir(run).join("go"), "").unwrap();
    let first = env.until(run, &["completed", "failed"]);
    assert_eq!(first["state"], "completed", "{first:#}");
    assert_eq!(env.line("logs 1").success().stdout, "says one and one\n");
    // The spec's own directory goes, too: the record is enough.
    std::fs::remove_file(&spec).unwrap();
    drop(env.line("rerun 1").success());
    std::fs::write(env.run_dir(2).join("go"), "").unwrap();
    let second = env.until(2, &["completed", "failed"]);
    assert_eq!(env.line("logs 2").success().stdout, "says one and one\n");
    assert_eq!(digest_of(&second), digest_of(&first));
    assert_eq!(second["rerun_of"], 1);
    assert_eq!(archives(&env).len(), 1);
}

#[test]
fn an_exported_run_is_submitted_again_with_a_fresh_state_directory() {
    let env = TestEnv::new();
    let spec = env.bash_spec("again", "echo \"epochs $2\"\n");
    let said = env.run(["submit", spec.to_str().unwrap(), "--set", "args.epochs=3", "--wait"]);
    drop(said.success());
    let exported = env.line("export 1").success().stdout;
    env.write("run.json", &exported);
    let record: serde_json::Value = serde_json::from_str(&exported).unwrap();
    let schema = env.line("util schema export").success().json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator.iter_errors(&record).map(|e| e.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert!(record["script"].as_str().unwrap().starts_with("#!/bin/bash"));
    for gone in ["again-code", "again.toml"] {
        let path = env.home().join(gone);
        std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path)).unwrap();
    }
    let elsewhere = env.home().join("other-state");
    let again = |line: &str| {
        let mut command = env.command();
        command.arg("--state-dir").arg(&elsewhere).args(line.split(' '));
        crate::env::Said::of(&mut command)
    };
    let said = again("rerun run.json --set args.epochs=4 --wait --json").success();
    let run = said.json();
    assert_eq!(digest_of(&run), record["inputs"]["code"]["digest"].as_str().unwrap());
    let log = PathBuf::from(run["run_dir"].as_str().unwrap()).join("logs/1.out");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "epochs 4\n");
    // What it says of the tree is not believed, and a program that the tree does not have is told before it is accepted.
    let forged = exported.replace("\"top\": [", "\"top\": [\"../../../stolen\", ");
    assert_ne!(forged, exported);
    env.write("forged.json", &forged);
    let run = again("rerun forged.json --wait --json").success().json();
    let work = PathBuf::from(run["run_dir"].as_str().unwrap()).join("work");
    let names: Vec<_> = work.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["train.sh"]);
    let said = again("rerun run.json --set code.entry_point=gone.sh").ended(3);
    assert!(said.stderr.contains("`gone.sh` is not among the captured code"), "{said}");
    assert!(said.stderr.contains("--set code.path="), "{said}");
    drop(again("daemon stop"));
    // What the store no longer has cannot be run again, and that is told before anything is accepted.
    for archive in archives(&env) {
        std::fs::remove_file(archive).unwrap();
    }
    let said = env.line("rerun run.json").ended(11);
    assert!(said.stderr.contains("is not in the store of"), "{said}");
    assert!(env.line("rerun nothing.json").ended(3).stderr.contains("is no exported run"));
}

#[test]
fn many_runs_of_one_tree_share_one_copy_and_one_that_was_damaged_is_made_again() {
    let env = TestEnv::new();
    let spec = env.bash_spec("many", "cat words.txt\n");
    env.write("many-code/words.txt", "words\n");
    for _ in 0..4 {
        env.submit(&spec);
    }
    for run in 1..=4 {
        assert_eq!(env.until(run, &["completed", "failed"])["state"], "completed");
    }
    let archives = archives(&env);
    assert_eq!(archives.len(), 1);
    let tree = archives[0].with_extension("");
    let words = tree.join("words.txt");
    assert_eq!(std::fs::metadata(&words).unwrap().permissions().mode() & 0o222, 0, "read-only");
    for damage in ["gone", "edited", "longer"] {
        std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::remove_file(&words).unwrap();
        match damage {
            "edited" => std::fs::write(&words, "WORDS\n").unwrap(),
            "longer" => std::fs::write(&words, "words and more\n").unwrap(),
            _ => {}
        }
        // What somebody leaves there is no damage.
        std::fs::write(tree.join("left.pyc"), "").unwrap();
        let run = env.submit(&spec);
        assert_eq!(env.until(run, &["completed", "failed"])["state"], "completed", "{damage}");
        assert_eq!(env.line(&format!("logs {run}")).success().stdout, "words\n", "{damage}");
    }
    let left = tree.parent().unwrap().read_dir().unwrap().filter_map(Result::ok);
    let left: Vec<String> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".new")), "{left:?}");
}

#[test]
fn an_archive_that_was_changed_in_the_store_is_never_unpacked() {
    let mut env = TestEnv::new();
    env.use_site("[local]\nmax_running = 1\n");
    let spec = env.bash_spec("changed", PATIENT);
    let hold = env.bash_spec("hold", "sleep 60\n");
    env.submit(&hold);
    env.until(1, &["running"]);
    let run = env.submit(&spec);
    wait_until("it waits", || env.show(run)["state"] == "pending");
    let digest = digest_of(&env.show(run));
    let archive = env.run_root().join(format!(".store/code/{digest}.tar"));
    std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    let at = bytes.windows(5).position(|window| window == b"until").unwrap();
    bytes[at..at + 5].copy_from_slice(b"while");
    std::fs::write(&archive, bytes).unwrap();
    drop(env.line("cancel 1").success());
    let shown = env.until(run, &["failed", "completed"]);
    assert_eq!((&shown["state"], &shown["reason"]), (&"failed".into(), &"launch_failed".into()));
    assert!(
        shown["message"].as_str().unwrap().contains("the captured code is damaged"),
        "{shown:#}"
    );
}

#[test]
fn a_copy_of_the_code_can_be_written_to_and_stays_over_attempts() {
    let env = TestEnv::new();
    let spec = env.bash_spec("copied", "echo more >>words.txt\ncat words.txt\n");
    env.write("copied-code/words.txt", "words\n");
    let said = env.run([
        Path::new("submit"),
        &spec,
        "--set".as_ref(),
        "code.work='copy'".as_ref(),
        "--wait".as_ref(),
    ]);
    drop(said.success());
    assert_eq!(env.line("logs 1").success().stdout, "words\nmore\n");
    assert!(!env.run_dir(1).join("work/words.txt").is_symlink());
    let linked = env.run([Path::new("submit"), &spec, "--wait".as_ref()]);
    drop(linked.success());
    assert!(env.run_dir(2).join("work/words.txt").is_symlink());
}

#[test]
fn an_archive_is_unpacked_and_what_it_must_not_hold_is_told_at_its_key() {
    let env = TestEnv::new();
    env.write("tree/train.sh", "echo \"from $(cat pkg/words.txt)\"\n");
    env.write("tree/pkg/words.txt", "an archive");
    let tar = |args: &[&str]| {
        let mut command = env.bash(&format!("tar {}", args.join(" ")));
        assert!(command.status().unwrap().success());
    };
    tar(&["-C", "tree", "-czf", "code.tar.gz", "."]);
    let spec = |name: &str, path: &str| {
        let text = format!("name = '{name}'\n[code]\npath = '{path}'\nentry_point = 'train.sh'\n");
        env.write(&format!("{name}.toml"), &text)
    };
    let run = env.submit(&spec("packed", "code.tar.gz"));
    std::fs::remove_file(env.home().join("code.tar.gz")).unwrap();
    assert_eq!(env.until(run, &["completed", "failed"])["state"], "completed");
    assert_eq!(env.line("logs 1").success().stdout, "from an archive\n");
    tar(&[
        "-C",
        "tree",
        "-czf",
        "slip.tgz",
        "--transform",
        "s,train.sh,../../train.sh,",
        "-P",
        "train.sh",
    ]);
    let said = env.run([Path::new("submit"), &spec("slip", "slip.tgz")]).ended(3);
    assert!(said.stderr.contains("its entry `../../train.sh` has"), "{said}");
    assert!(said.stderr.contains("slip.toml:3:8"), "{said}");
    tar(&["-czf", "deep.tgz", "tree"]);
    let said = env.run([Path::new("submit"), &spec("deep", "deep.tgz")]).ended(3);
    assert!(said.stderr.contains("everything in the archive lies below `tree/`"), "{said}");
    let said = env.run([Path::new("submit"), &spec("gone", "gone.zip")]).ended(3);
    assert!(said.stderr.contains("there is no file"), "{said}");
    // Nothing was accepted, and no number was told.
    assert_eq!(env.line("list --json").success().json().as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_that_is_no_code_is_refused() {
    let env = TestEnv::new();
    let spec = env.bash_spec("heap", "true\n");
    for n in 0..10_000 {
        env.write(&format!("heap-code/{n}"), "");
    }
    let said = env.run([Path::new("submit"), &spec]).ended(3);
    assert!(said.stderr.contains("more than 10000 entries at its top"), "{said}");
}

#[test]
fn the_query_of_an_address_is_in_no_record() {
    let env = TestEnv::new();
    let spec = env.write(
        "far.toml",
        "name = 'far'\n[code]\npath = 'http://127.0.0.1:9/code.tgz?signature=hush'\nentry_point = 'train.sh'\n",
    );
    let said = env.run([Path::new("submit"), &spec]).ended(3);
    assert!(said.stderr.contains("which is this machine"), "{said}");
    assert!(!said.stderr.contains("hush?") && said.stderr.contains("http://127.0.0.1:9/code.tgz"));
    let state = std::fs::read(env.state_dir().join("daemon.log")).unwrap();
    assert!(!String::from_utf8_lossy(&state).contains("hush"));
}

#[test]
fn two_runs_are_compared_by_what_they_were_given_and_what_came_of_it() {
    let env = TestEnv::new();
    let spec = env.bash_spec("compared", "exit \"$(<code.txt)\"\n");
    env.write("compared-code/code.txt", "0");
    env.write("compared-code/same.txt", "same");
    let run = |code: &str, rate: &str| {
        env.write("compared-code/code.txt", code);
        let rate = format!("args.rate={rate}");
        drop(env.run(["submit", spec.to_str().unwrap(), "--set", &rate, "--wait"]));
    };
    run("0", "1");
    run("3", "2");
    let differences = env.line("diff 1 2 --json").success().json();
    let of = |section: &str| -> Vec<String> {
        let all = differences.as_array().unwrap().iter();
        let keys = all.filter(|d| d["section"] == section).map(|d| d["key"].as_str().unwrap());
        keys.map(str::to_owned).collect()
    };
    assert_eq!(of("files of the code"), ["code.txt"]);
    assert_eq!(of("spec"), ["code.args"]);
    assert!(of("code").contains(&"code.digest".to_owned()));
    assert!(of("result").contains(&"state".to_owned()));
    let table = env.line("diff 1 2").success().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(env.line("diff 1 1").success().stderr.contains("they do not differ"));
}

#[test]
fn deleting_tells_what_goes_and_what_stays_and_keeps_the_record() {
    let env = TestEnv::new();
    let spec = env.bash_spec("deleted", "echo x\n");
    drop(env.run(["submit", spec.to_str().unwrap(), "--wait", "--key", "k"]).success());
    drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    let said = env.line("delete 1").ended(2);
    assert!(said.stderr.contains("no terminal to ask on") && env.run_dir(1).exists(), "{said}");
    let said = env.line("delete 1 --yes").success();
    assert!(said.stderr.contains("which another run uses"), "{said}");
    let shown = env.show(1);
    assert!(!PathBuf::from(shown["run_dir"].as_str().unwrap()).exists());
    assert_eq!((&shown["state"], shown["deleted_at"].is_string()), (&"completed".into(), true));
    assert!(env.line("events 1").success().stdout.contains("its files were deleted by"));
    // Its key is not given again, and its code is there for others, and for itself.
    let said = env.run(["submit", spec.to_str().unwrap(), "--key", "k"]).ended(11);
    assert!(said.stderr.contains("whose files were deleted"), "{said}");
    assert_eq!(archives(&env).len(), 1);
    drop(env.line("rerun 1 --wait").success());
    let endless = env.bash_spec("endless", "sleep 600\n");
    let live = env.submit(&endless);
    assert!(env.line(&format!("delete {live} --yes")).ended(11).stderr.contains("is not over"));
}

#[test]
fn what_no_run_uses_is_removed_when_it_was_not_used_for_an_hour() {
    let env = TestEnv::new();
    let spec = env.bash_spec("gc", "cat words.txt\n");
    for words in ["one", "two"] {
        env.write("gc-code/words.txt", words);
        drop(env.run(["submit", spec.to_str().unwrap(), "--wait"]).success());
    }
    let first = digest_of(&env.show(1));
    drop(env.line("delete 1 --yes").success());
    assert!(env.line("site gc").success().stderr.contains("nothing to remove"), "too young");
    let old = format!("touch -d '2 hours ago' trainyard/.store/code/{first}.*");
    assert!(env.bash(&old).status().unwrap().success());
    let said = env.line("site gc").success();
    assert!(
        said.stdout.contains(&first[..12]) && said.stderr.contains("1 could be removed"),
        "{said}"
    );
    assert_eq!(archives(&env).len(), 2, "only told");
    // What somebody left who was ended while writing, and what was not read anew for a month.
    let store = env.run_root().join(".store/code");
    std::fs::create_dir(store.join(".new-half")).unwrap();
    std::fs::create_dir(store.join(".new-young")).unwrap();
    let old = "touch -d '2 days ago' trainyard/.store/code/.new-half && touch -d '40 days ago' trainyard/.store/code/.index/*";
    assert!(env.bash(old).status().unwrap().success());
    drop(env.line("site gc --yes").success());
    let kept = archives(&env);
    assert_eq!(kept.len(), 1);
    assert!(kept[0].to_str().unwrap().contains(&digest_of(&env.show(2))));
    assert!(!store.join(&first).exists() && !store.join(".new-half").exists());
    assert!(store.join(".new-young").exists());
    assert_eq!(store.join(".index").read_dir().unwrap().count(), 0);
    let said = env.line("rerun 1").ended(11);
    assert!(said.stderr.contains("is not in the store"), "{said}");
    let said = env.line("diff 1 2").success();
    assert!(said.stderr.contains("the files of their code cannot be compared"), "{said}");
    assert!(!said.stdout.contains("words.txt"), "{said}");
}
