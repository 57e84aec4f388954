//! A daemon that cannot start says why in one sentence, and loses nothing.

use std::os::unix::fs::chown;

use crate::env::{TestEnv, wait_until};
use crate::faults::{Background, Other, talk};

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let env = TestEnv::new();
    drop(env.line("list").success());
    env.kill_daemon();
    let database = rusqlite::Connection::open(env.state_dir().join("trainyard.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    let said = env.line("list").ended(5);
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
    let known = format!("knows {}", std::fs::read_dir(migrations).unwrap().count());
    let told = talk(&env, &said).replace(&known, "knows SCHEMA");
    insta::assert_snapshot!(told, @"
    error: the daemon could not be started: the database HOME/.local/state/trainyard/trainyard.db was written by a newer version of trainyard (schema 99, this program knows SCHEMA)
    hint: use that version; the copy made before its change ends in .schema-N.db
    ");
    drop(env.line("serve").ended(70));
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let env = TestEnv::new();
    let garbage = "no database at all\n".repeat(1_000);
    let file = env.write(".local/state/trainyard/trainyard.db", &garbage);
    let said = env.line("list").ended(5);
    insta::assert_snapshot!(talk(&env, &said), @"
    error: the daemon could not be started: the database HOME/.local/state/trainyard/trainyard.db is damaged: file is not a database
    hint: put a copy in its place, or move it away to begin anew; run directories stay
    ");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), garbage);
    std::fs::rename(&file, file.with_extension("damaged")).unwrap();
    drop(env.line("list").success());
}

#[test]
fn a_second_daemon_is_turned_away() {
    let env = TestEnv::new();
    drop(env.line("daemon start").success());
    let first = env.daemon_pid().unwrap();
    let said = env.line("serve").ended(11);
    let told = talk(&env, &said).replace(&first.to_string(), "PID");
    insta::assert_snapshot!(told, @"
    error: a daemon (process PID) already serves this state directory
    hint: `trainyard daemon status` shows it, `trainyard daemon stop` ends it; runs go on
    ");
    assert_eq!(env.daemon_pid(), Some(first));
    drop(env.line("list").success());
}

#[test]
fn of_two_daemons_at_once_one_serves() {
    let env = TestEnv::new();
    for _ in 0..5 {
        let mut both = [Background::serve(&env, ""), Background::serve(&env, "")];
        wait_until("one is turned away", || both.iter_mut().any(Background::has_ended));
        let [one, other] = &mut both;
        let (away, serving) = if one.has_ended() { (one, other) } else { (other, one) };
        assert_eq!(away.end(), 11);
        wait_until("the other serves", || env.line("daemon status").code == 0);
        assert_eq!(env.daemon_pid(), Some(serving.pid()));
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let env = TestEnv::new();
    env.write("file", "");
    let said = env.line("list --state-dir file/state").ended(5);
    insta::assert_snapshot!(talk(&env, &said), @"
    error: the daemon could not be started: cannot make the state directory HOME/file/state: Not a directory (os error 20)
    hint: make room or mend its permissions, or give another place with --state-dir
    ");
    drop(env.line("serve --state-dir file/state").ended(70));
}

#[test]
fn a_state_directory_of_somebody_else_is_not_used() {
    let env = TestEnv::new();
    let theirs = env.home().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    // Root can give it away; everybody else finds one that is root's.
    let theirs = match chown(&theirs, Some(65_534), None) {
        Ok(()) => theirs,
        Err(_) => "/usr".into(),
    };
    let said = env.line(&format!("list --state-dir {}", theirs.display())).ended(5);
    assert!(said.stderr.contains("belongs to somebody else"), "{said}");
    assert!(!theirs.join("trainyard.db").exists());
}

#[test]
fn a_site_file_with_faults_is_told_at_its_place() {
    let mut env = TestEnv::new();
    env.write("site.toml", "[site]\nrun_roots = \"x\"\n");
    for line in ["list --site site.toml", "serve --site site.toml"] {
        let said = env.line(line).ended(3);
        assert!(
            said.stderr.contains("site.toml:2:1") && said.stderr.contains("run_root"),
            "{said}"
        );
    }
    for line in ["list --site missing.toml", "serve --site missing.toml"] {
        let said = env.line(line).ended(3);
        assert!(said.stderr.contains("missing.toml"), "{said}");
        assert_eq!(said.stderr.matches("error:").count(), 1, "{said}");
    }
    assert_eq!(env.daemon_pid(), None);
    // A daemon that serves goes on with what it read.
    env.use_site("[site]\nname = \"here\"\n");
    drop(env.line("list").success());
    env.use_site("rubbish");
    drop(env.line("list").success());
}

#[test]
fn a_daemon_is_started_again_where_it_was_killed_in_its_start() {
    let env = TestEnv::new();
    let other = Other::at(env.home().join("state"));
    for _ in 0..5 {
        let starting = Background::serve(&env, "--state-dir state");
        drop(starting);
        drop(other.run(&env, "list").success());
        drop(other.run(&env, "daemon stop").success());
    }
}
