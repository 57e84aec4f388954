//! Secrets reach every process of a training, and nothing else: no record, script, command line or log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::env::{TestEnv, wait_until};

/// A value that is nowhere else; blanks and quotes in it reach the training as they are.
pub(crate) const SECRET: &str = "zq_1 'v' $HOME \"w\" \\x";
/// The part of it that would be found wherever it went.
pub(crate) const NEEDLE: &[u8] = b"zq_1";

/// A training that tells only whether the secret is what it is to be: its length and a checksum.
pub(crate) const TRAINING: &str =
    "echo rank=$RANK secret=$(printf %s \"$SECRET\" | md5sum | cut -c1-8) plain=$PLAIN\n";

pub(crate) fn sum() -> String {
    // md5sum of SECRET, as the training tells it.
    "0a59b386".to_owned()
}

/// The world's file of secrets.
pub(crate) fn secrets(env: &TestEnv) -> PathBuf {
    let text = "# for the tests\nexport SECRET=\"zq_1 'v' \\$HOME \\\"w\\\" \\\\x\"\nPLAIN=abc # nothing\n";
    let path = env.write("secrets.env", text);
    set_mode(&path, 0o600);
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A spec with secrets and more keys.
pub(crate) fn spec(env: &TestEnv, training: &str, more: &str) -> PathBuf {
    secrets(env);
    let path = env.bash_spec("secretive", training);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}[environment]\nsecrets = 'secrets.env'\n{more}\n")).unwrap();
    path
}

/// Every file below a directory that holds the secret, the user's own file apart.
pub(crate) fn holders(directory: &Path, own: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        path != own && bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE)
    };
    files
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(holds)
        .collect()
}

#[test]
fn the_training_alone_gets_the_secrets_and_they_go_when_it_is_over() {
    for launcher in ["none", "srun"] {
        let env = TestEnv::new();
        let training =
            format!("{TRAINING}until [[ -e {}/go ]]; do sleep 0.05; done\n", env.home().display());
        let ranks = if launcher == "none" { 1 } else { 2 };
        let more = format!("[distributed]\nlauncher = '{launcher}'\nprocesses_per_node = {ranks}");
        let path = spec(&env, &training, &more);
        let run = env.submit(&path);
        env.until(run, &["running"]);
        let log = || env.line("logs 1").stdout;
        wait_until("all ranks are up", || log().lines().count() == ranks);
        for rank in 0..ranks {
            let line = format!("rank={rank} secret={} plain=abc", sum());
            assert!(log().contains(&line), "{line}: {}", log());
        }
        let kept = env.run_dir(run).join("secrets.env");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(
            holders(env.home(), &env.home().join("secrets.env")),
            std::slice::from_ref(&kept)
        );
        env.write("go", "");
        env.until(run, &["completed"]);
        wait_until("the secrets are removed", || !kept.exists());
        env.kill_daemon();
        assert_eq!(holders(env.home(), &env.home().join("secrets.env")), Vec::<PathBuf>::new());
        for verb in ["show 1 --json", "events 1", "show 1"] {
            assert!(!env.line(verb).success().stdout.contains("zq_1"), "{verb}");
        }
    }
}

#[test]
fn secrets_that_others_can_read_are_not_taken() {
    let env = TestEnv::new();
    let path = spec(&env, "true", "");
    let shown = path.to_str().unwrap();
    let own = env.home().join("secrets.env");
    let check = |told: &str, help: &str| {
        for verb in ["check", "submit"] {
            let said = env.run([verb, shown]).ended(3);
            assert!(said.stderr.contains(told) && said.stderr.contains(help), "{told}: {said}");
            assert!(!said.stderr.contains("zq_1"), "{said}");
        }
    };
    set_mode(&own, 0o640);
    check("0640", "chmod 600");
    set_mode(&own, 0o600);
    fs::write(&own, "A=zq_1 x\n").unwrap();
    check("cannot be taken: line 1", "NAME='VALUE'");
    fs::remove_file(&own).unwrap();
    check("cannot open it", "mode 0600");
    fs::create_dir(&own).unwrap();
    check("it is no file", "mode 0600");
    assert_eq!(env.line("list --json").success().json(), serde_json::json!([]));
}

#[test]
fn a_secret_in_the_spec_is_warned_of_and_stops_nobody() {
    let env = TestEnv::new();
    let path = env.bash_spec("open", "true");
    let text = fs::read_to_string(&path).unwrap();
    let more = "[args]\nhf-token = 'zq_1'\n[environment.variables]\nWANDB_API_KEY = 'zq_1'\nNCCL_DEBUG = 'WARN'\n";
    fs::write(&path, format!("{text}{more}")).unwrap();
    let shown = path.to_str().unwrap();
    let said = env.run(["check", shown]).success();
    insta::assert_snapshot!(env.masked(&said.stderr));
    let json = env.run(["check", shown, "--json"]).success().json();
    assert_eq!(
        (json[0]["warnings"][1]["line"].as_u64(), json[0]["problems"].as_array().map(Vec::len)),
        (Some(8), Some(0)),
        "{json:#}"
    );
    let said = env.run(["submit", shown, "--wait"]).success();
    assert!(said.stderr.contains("the variable `WANDB_API_KEY` looks like a secret"), "{said}");
    assert!(!said.stderr.contains("zq_1"), "{said}");
}

/// A name that cannot be removed, as on a file system that is silent: it is tried again, also by the next daemon.
#[test]
fn secrets_that_cannot_be_removed_at_once_are_removed_later() {
    let env = TestEnv::new();
    let in_the_way = "cd \"$TRAINYARD_RUN_DIR\" && rm secrets.env && mkdir secrets.env\n";
    let run = env.submit(&spec(&env, in_the_way, ""));
    env.until(run, &["completed"]);
    let kept = env.run_dir(run).join("secrets.env");
    env.kill_daemon();
    fs::remove_dir(&kept).unwrap();
    fs::write(&kept, SECRET).unwrap();
    drop(env.line("list").success());
    wait_until("they are removed", || !kept.exists());
}

#[test]
fn the_points_of_a_sweep_share_the_secrets_until_the_last_is_over() {
    let env = TestEnv::new();
    let go = env.home().join("go").display().to_string();
    let wait = format!("[[ $2 != 2 ]] || until [[ -e '{go}' ]]; do sleep 0.1; done\n");
    let spec = spec(&env, &(wait + TRAINING), "[sweep.parameters]\n'args.n' = [1, 2]\n");
    assert_eq!(env.submit(&spec), 1);
    let state = |point: &str| env.line(&format!("show {point} --json")).success().json();
    wait_until("the first point is over", || state("1:0")["state"] == "completed");
    let own = env.home().join("secrets.env");
    let kept = env.run_root().join("1-secretive/secrets.env");
    assert_eq!(holders(&env.run_root(), &own), [kept], "the second point has yet to need them");
    fs::write(env.home().join("go"), "").unwrap();
    wait_until("the second point is over", || state("1:1")["state"] == "completed");
    wait_until("they are gone", || holders(&env.run_root(), &own).is_empty());
    for point in ["1:0", "1:1"] {
        let log = env.line(&format!("logs {point} --source training")).success().stdout;
        assert!(log.contains(&format!("secret={} plain=abc", sum())), "{log}");
    }
}
