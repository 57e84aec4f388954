//! `--host`: another machine's daemon, over a real sshd, and over what an ssh may meet there.

mod specs;
mod sshd;
mod sweeps;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{Said, TestEnv, is_alive, wait_until};
use crate::remote::sshd::Ssh;

/// A training that goes on until somebody makes the file `go` in this world.
fn until_go(ssh: &Ssh) -> std::path::PathBuf {
    let go = ssh.there.home().join("go");
    let script =
        format!("echo begun\nuntil [ -e {} ]; do sleep 0.02; done\necho over\n", go.display());
    ssh.there.bash_spec("patient", &script)
}

fn said(ssh: &Ssh, line: &str) -> Said {
    Said::of(&mut ssh.command(line))
}

fn submitted(ssh: &Ssh, spec: &std::path::Path) -> String {
    said(ssh, &format!("submit {}", spec.display())).success().stdout.trim().to_owned()
}

#[test]
fn runs_are_handed_in_and_followed_on_another_machine() {
    let ssh = Ssh::new();
    // What start-up files say is no answer, whether on a line or not.
    ssh.here.write("banner", "Authorised use only.\nTRAINYARD/7 is not a line of its own.\n");
    ssh.there.write(".bashrc", "echo welcome to $HOSTNAME\necho complaint >&2\nprintf 'no end'\n");
    let spec = ssh.there.bash_spec("trained", "echo trained\n");
    let submit = said(&ssh, &format!("submit {} --wait", spec.display())).success();
    assert_eq!(submit.stdout, "1\n", "{submit}");
    let home = ssh.there.masked(&submit.stderr);
    assert!(
        home.starts_with(
            "what the spec names is looked for on login, relative paths in HOME there\n"
        ),
        "{submit}"
    );
    assert!(
        !submit.stderr.contains("complaint") && !submit.stderr.contains("Authorised"),
        "{submit}"
    );
    assert_eq!(ssh.calls(), 1, "one connection carries all that a command asks");
    assert_eq!(said(&ssh, "logs 1").success().stdout, "trained\n");
    assert_eq!(said(&ssh, "show trained --json").success().json(), ssh.there.show(1));
    assert_eq!(said(&ssh, "list --json").success().json()[0]["id"], 1);
    assert_eq!(said(&ssh, "rerun 1").success().stdout, "2\n");
    for line in [
        "events 1",
        "explain 1",
        "export 1",
        "metrics 1",
        "checkpoints 1",
        "wait 1 2",
        "diff 1 2",
        "usage",
        "ledger",
        "site bad-nodes",
        "site gc",
        "delete 1 --yes",
    ] {
        drop(said(&ssh, line).success());
    }
    // An option says the same as the variable, and wins.
    let mut option = ssh.command("list --host ssh://login/ --json");
    let listed = Said::of(option.env("TRAINYARD_HOST", "ssh://nowhere.invalid")).success();
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
    assert!(!ssh.here.state_dir().exists(), "this machine has no part in it");
}

#[test]
fn a_run_is_watched_and_cancelled_from_afar() {
    let ssh = Ssh::new();
    let run = submitted(&ssh, &until_go(&ssh));
    let mut log = ssh.command(&format!("logs {run} -f")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(log.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begun", "it comes while the run runs");
    ssh.there.write("go", "");
    assert_eq!(lines.next().unwrap().unwrap(), "over");
    assert!(lines.next().is_none() && log.wait().unwrap().success(), "and ends with the run");
    std::fs::remove_file(ssh.there.home().join("go")).unwrap();
    let run = submitted(&ssh, &until_go(&ssh));
    ssh.there.until(run.parse().unwrap(), &["running"]);
    drop(said(&ssh, &format!("cancel {run}")).success());
    let waited = said(&ssh, &format!("wait {run}")).ended(1);
    assert!(waited.stderr.contains("cancelled"), "{waited}");
}

/// A command that follows a run which goes on, and has told the first of it.
fn following(ssh: &Ssh, line: &str) -> Child {
    let mut command = ssh.command(line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told: &mut dyn Read = if line.starts_with("logs") {
        child.stdout.as_mut().unwrap()
    } else {
        child.stderr.as_mut().unwrap()
    };
    // No more than the line: the rest is for whoever waits for the end.
    let mut byte = [0];
    while told.read(&mut byte).unwrap() == 1 && byte != *b"\n" {}
    assert_eq!(byte, *b"\n", "{line}");
    child
}

#[test]
fn who_goes_away_leaves_nobody_behind() {
    let ssh = Ssh::new();
    let run = submitted(&ssh, &until_go(&ssh));
    ssh.there.until(run.parse().unwrap(), &["running"]);
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let mut log = following(&ssh, &format!("logs {run} -f"));
        kill(Pid::from_raw(log.id().cast_signed()), signal).unwrap();
        log.wait().unwrap();
        wait_until("the other side has ended", || ssh.carriers() == 0);
    }
    assert!(is_alive(ssh.there.daemon_pid().unwrap()), "only the connection ended");
}

#[test]
fn a_connection_that_is_cut_is_told_and_who_waits_makes_another() {
    let ssh = Ssh::new();
    let run = submitted(&ssh, &until_go(&ssh));
    ssh.there.until(run.parse().unwrap(), &["running"]);
    let log = following(&ssh, &format!("logs {run} -f"));
    ssh.cut();
    let log = log.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&log.stderr);
    assert_eq!(log.status.code(), Some(5), "{told}");
    assert!(
        told.contains("error: the connection to login ended in the middle of an answer"),
        "{told}"
    );
    let wait = following(&ssh, &format!("wait {run}"));
    let before = ssh.calls();
    ssh.cut();
    wait_until("it connects again", || ssh.calls() > before && ssh.carriers() > 0);
    ssh.there.write("go", "");
    let waited = wait.wait_with_output().unwrap();
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
}

#[test]
fn a_machine_that_is_not_reached_is_told_in_the_words_of_ssh() {
    let mut ssh = Ssh::new();
    let nowhere = said(&ssh, "list --host ssh://nowhere.invalid").ended(5);
    let words = "error: cannot reach nowhere.invalid: ";
    assert!(nowhere.stderr.contains(words), "{nowhere}");
    assert!(nowhere.stderr.contains("Could not resolve hostname nowhere.invalid"), "{nowhere}");
    ssh.here.write("known_hosts", "");
    let stranger = said(&ssh, "list").ended(5);
    assert!(stranger.stderr.contains("Host key verification failed"), "{stranger}");
    ssh.stop();
    let refused = said(&ssh, "list").ended(5);
    assert!(refused.stderr.contains("Connection refused"), "{refused}");
    let no_ssh = Said::of(ssh.command("list").env("TRAINYARD_SSH", "/nowhere/ssh")).ended(5);
    assert!(no_ssh.stderr.contains("cannot start `/nowhere/ssh`: No such file"), "{no_ssh}");
}

#[test]
fn what_is_wrong_there_is_told_here() {
    let ssh = Ssh::new();
    ssh.there.write(".bashrc", "echo module load trainyard\n");
    let mut missing = ssh.command("list");
    let missing = Said::of(missing.env("TRAINYARD_REMOTE_COMMAND", "/nowhere/trainyard")).ended(5);
    for words in [
        "error: there is no trainyard on login: ",
        "/nowhere/trainyard: No such file or directory",
        "set TRAINYARD_REMOTE_COMMAND=/path/to/trainyard",
        "hint: before that login said: module load trainyard\n",
    ] {
        assert!(missing.stderr.contains(words), "{words}: {missing}");
    }
    // The command is for the shell there, which can be told more with it.
    let state = ssh.there.write("no-directory", "");
    let mut broken = ssh.command("list");
    broken.env(
        "TRAINYARD_REMOTE_COMMAND",
        format!("TRAINYARD_STATE_DIR={} trainyard", state.display()),
    );
    let broken = Said::of(&mut broken).ended(5);
    assert!(broken.stderr.contains("error: no daemon can be had on login: "), "{broken}");
    assert!(broken.stderr.contains("the daemon could not be started"), "{broken}");
    let spec = ssh.there.write("lost.toml", "[code]\npath = 'gone'\nentry_point = 'train.py'\n");
    let lost = said(&ssh, &format!("submit {}", spec.display())).ended(3);
    assert!(lost.stderr.contains("1 problem; nothing was submitted (as seen on login)"), "{lost}");
    let gone = ssh.there.home().canonicalize().unwrap().join("gone");
    assert!(lost.stderr.contains(&format!("there is no directory {}", gone.display())), "{lost}");
    assert_eq!(said(&ssh, "show 7").ended(4).stdout, "");
}

/// What stands for ssh and says this.
fn stand_in(env: &TestEnv, script: &str) -> Command {
    let program = env.program("stand-in", script);
    let mut command = env.command();
    command.env("TRAINYARD_SSH", program).env("TRAINYARD_HOST", "ssh://login").arg("list");
    command
}

#[test]
fn noise_before_the_line_is_skipped_within_limits() {
    let env = TestEnv::new();
    let program = env!("CARGO_BIN_EXE_trainyard");
    let noise = "head -c 102400 /dev/urandom; echo; echo TRAINYARD/; echo TRAINYARD/1x; echo ' TRAINYARD/1'";
    let loud = Said::of(&mut stand_in(&env, &format!("{noise}\nexec {program} util dial-stdio\n")));
    assert_eq!(loud.success().stdout, "");
    let endless = Said::of(&mut stand_in(&env, "printf '\\033[2Jhello '\nexec yes\n")).ended(5);
    assert!(endless.stderr.contains("error: login says too much"), "{endless}");
    assert!(
        endless.stderr.contains("before that login said: \\u{1b}[2Jhello y; y; y"),
        "{endless}"
    );
    assert!(endless.stderr.len() < 1000, "{}", endless.stderr.len());
    let more = Said::of(&mut stand_in(&env, "printf 'TRAINYARD/1\\nmore\\n'; sleep 1000")).ended(5);
    assert!(more.stderr.contains("error: login says too much"), "{more}");
    let other = Said::of(&mut stand_in(&env, "echo TRAINYARD/2; cat >/dev/null")).ended(5);
    assert!(
        other.stderr.contains("trainyard on login speaks protocol 2, and this one speaks 1")
            && other.stderr.contains("use the same version on both machines"),
        "{other}"
    );
    // Words on standard error are many, too: their end says why.
    let wordy = Said::of(&mut stand_in(&env, "seq 99999 >&2; echo why >&2; exit 3\n"));
    let wordy = wordy.ended(5);
    assert!(wordy.stderr.contains("99999\nwhy\n") && wordy.stderr.len() < 10_000, "{wordy}");
}

#[test]
fn a_host_is_never_an_option_or_a_shells_word() {
    let env = TestEnv::new();
    for host in [
        "login",
        "ssh:login",
        "ssh://",
        "ssh://-oProxyCommand=touch hacked",
        "ssh://-l@login",
        "ssh://a b",
        "ssh://'login'",
        "ssh://$(touch hacked)",
        "ssh://login;touch hacked",
        "ssh://login:",
        "ssh://login:0",
        "ssh://login:+22",
        "ssh://login:99999",
        "ssh://login/path",
        "ssh://me:secret@login",
        "ssh://@login",
        "ssh://[::1",
        "ssh://[::1]22",
        "ssh://::1",
        "ssh://login\n",
        "ssh://lögin",
        "ssh://%h",
        "ssh://`id`@login",
    ] {
        let mut command = stand_in(&env, "touch called\n");
        let said = Said::of(command.env("TRAINYARD_HOST", host)).ended(2);
        assert!(said.stderr.contains("--host <URL>"), "{said}");
    }
    for file in ["called", "hacked"] {
        assert!(!env.home().join(file).exists());
    }
}

/// What ssh is given for a host, without a terminal.
#[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
fn given(env: &TestEnv, host: &str) -> String {
    let mut command = Command::new("setsid");
    let program = env.program("given", "echo \"$#: $*\" >given.txt\nexit 255\n");
    command.arg("--wait").arg(env!("CARGO_BIN_EXE_trainyard")).args(["list", "--host", host]);
    command.env_clear().current_dir(env.home()).env("TRAINYARD_SSH", program);
    drop(Said::of(&mut command).ended(5));
    std::fs::read_to_string(env.home().join("given.txt")).unwrap()
}

#[test]
fn ssh_is_told_the_host_and_to_ask_nobody_where_nobody_is() {
    const FIRST: &str = "-T -oClearAllForwardings=yes -oRemoteCommand=none -oBatchMode=yes";
    const LAST: &str = "trainyard util dial-stdio";
    let env = TestEnv::new();
    for (host, count, told) in [
        ("ssh://login", 7, "-- login"),
        ("ssh://me@login:2222/", 11, "-l me -p 2222 -- login"),
        ("ssh://me@dept@a.b-c_d", 9, "-l me@dept -- a.b-c_d"),
        ("ssh://[fe80::1%eth0]:22", 9, "-p 22 -- fe80::1%eth0"),
    ] {
        assert_eq!(given(&env, host), format!("{count}: {FIRST} {told} {LAST}\n"));
    }
}

#[test]
fn what_is_about_one_machine_takes_no_host() {
    let env = TestEnv::new();
    env.bash_spec("run", "exit 0\n");
    for line in [
        "serve",
        "serve --once",
        "daemon start",
        "daemon stop",
        "daemon status",
        "init",
        "check run.toml",
        "render run.toml",
        "classes",
        "dataset list",
        "site show",
        "site check",
        "site init",
        "doctor",
        "util completions bash",
        "util man",
        "util schema run",
        "submit run.toml --dry-run",
        "list --site run.toml",
        "list --state-dir state",
        "list --socket daemon.sock",
    ] {
        let mut command = env.command();
        command.args(line.split_whitespace()).env("TRAINYARD_HOST", "ssh://login");
        let said = Said::of(command.env("TRAINYARD_SSH", "/nowhere")).ended(2);
        assert!(said.stderr.contains("login") && said.stderr.contains("hint: "), "{said}");
        assert_eq!(said.stdout, "", "{said}");
    }
    assert!(!env.state_dir().exists());
    // The far end may have the variable, too, as where both have one home.
    let mut far = env.command();
    far.args(["util", "dial-stdio"]).env("TRAINYARD_HOST", "ssh://login").stdin(Stdio::null());
    assert_eq!(Said::of(&mut far).success().stdout, "\nTRAINYARD/1\n");
}
