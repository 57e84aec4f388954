//! Two login nodes that share a home: the same line of both crontabs at once is one sweep.
//!
//! Each node is a namespace with a hostname of its own. It has a lock file of its own, too, as on file systems that keep locks
//! to each machine, and does not reach the socket of the other one's daemon.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::env::wait_until;
use crate::slurm::cluster::Cluster;
use crate::slurm::sweeps::{each_once, sweep, trained, until_over};

/// A socket of another machine is a file that nobody listens on: `connect` goes by who does, and on which machine.
const CONNECT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int connect(int fd, const struct sockaddr *to, socklen_t length) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  int done = real(fd, to, length);
  struct ucred peer;
  socklen_t size = sizeof peer;
  char path[64], theirs[64] = "", ours[64] = "";
  if (done != 0 || to->sa_family != AF_UNIX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return done;
  snprintf(path, sizeof path, "/proc/%d/ns/uts", peer.pid);
  if (readlink(path, theirs, sizeof theirs - 1) < 0 || readlink("/proc/self/ns/uts", ours, sizeof ours - 1) < 0) return done;
  if (strcmp(theirs, ours) == 0) return done;
  shutdown(fd, SHUT_RDWR);
  errno = ECONNREFUSED;
  return -1;
}
"#;

const AT_ONCE: usize = 10;

/// What a process said: its exit code, standard output and standard error.
type Told = (i32, String, String);

/// Has a login node run a line many times at once, in an empty environment.
#[expect(clippy::disallowed_methods, reason = "these are the machines of the story")]
fn on_node(cluster: &Cluster, (node, library): (&str, &Path), line: &[&str]) -> Vec<Told> {
    let env = &cluster.env;
    let (told, lock) = (env.home().join(node), env.state_dir().join("daemon.lock"));
    std::fs::create_dir_all(&told).unwrap();
    std::fs::write(told.join("lock"), "").unwrap();
    let mut script =
        "set -e\nhostname \"$1\"; mount --bind \"$2/lock\" \"$3\"; told=$2 lib=$4; shift 4\n"
            .to_owned();
    for number in 0..AT_ONCE {
        writeln!(
            script,
            "(cd /; code=0; env -i LD_PRELOAD=\"$lib\" \"$@\" >\"$told/{number}.out\" 2>\"$told/{number}.err\" || code=$?; \
             echo $code >\"$told/{number}.code\") &"
        )
        .unwrap();
    }
    script.push_str("wait\n");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--uts", "--propagation", "private", "bash", "-c", &script, "-"]);
    command.arg(node).arg(&told).arg(lock).arg(library).arg(env!("CARGO_BIN_EXE_trainyard"));
    command.arg("--state-dir").arg(env.state_dir()).arg("--site").arg(env.home().join("site.toml"));
    let output = command.args(line).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: String| std::fs::read_to_string(told.join(name)).unwrap();
    let one = |number| {
        let code = read(format!("{number}.code")).trim().parse().unwrap();
        (code, read(format!("{number}.out")), read(format!("{number}.err")))
    };
    (0..AT_ONCE).map(one).collect()
}

#[expect(clippy::disallowed_methods, reason = "a story's machines need a compiler")]
fn library(cluster: &Cluster) -> PathBuf {
    let (source, library) =
        (cluster.env.write("connect.c", CONNECT), cluster.env.home().join("connect.so"));
    let mut compiler = std::process::Command::new("cc");
    let output = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    let output = output.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    library
}

#[test]
fn one_line_of_two_nodes_at_once_is_one_sweep() {
    let cluster = Cluster::new();
    let env = &cluster.env;
    std::fs::create_dir_all(env.state_dir()).unwrap();
    std::fs::write(env.state_dir().join("daemon.lock"), "").unwrap();
    let library = library(&cluster);
    let keys = "[sweep.parameters]\n'args.n' = { range = [0, 6] }\n";
    let spec = sweep(&cluster, "shared", "sleep 0.2", keys);
    let line = ["submit", "--quiet", spec.to_str().unwrap(), "--key", "nightly"];
    let nodes = ["login1", "login2"];
    let told: BTreeMap<&str, Vec<Told>> = std::thread::scope(|scope| {
        let each = nodes.map(|node| {
            let (cluster, library, line) = (&cluster, library.as_path(), &line);
            (node, scope.spawn(move || on_node(cluster, (node, library), line)))
        });
        each.map(|(node, told)| (node, told.join().unwrap())).into_iter().collect()
    });
    let lease: serde_json::Value =
        serde_json::from_slice(&std::fs::read(env.state_dir().join("lease.json")).unwrap())
            .unwrap();
    let serving = lease["host"].as_str().unwrap();
    let refusal = format!(
        "error: the daemon could not be started: a daemon on {serving} (process {}) serves this state directory",
        lease["process"]["pid"]
    );
    for (node, told) in &told {
        for (code, stdout, stderr) in told {
            assert_eq!(stdout, "", "{node}");
            if node == &serving {
                assert_eq!((*code, stderr.as_str()), (0, ""), "{node}");
            } else {
                assert_eq!((*code, stderr.lines().count()), (5, 1), "{node}: {stderr}");
                assert!(stderr.starts_with(&refusal), "{node}: {stderr}");
            }
        }
    }
    let sweeps = env.line("sweep list --json").success().json();
    assert_eq!(sweeps.as_array().unwrap().len(), 1, "{sweeps:#}");
    let id = sweeps[0]["id"].as_i64().unwrap();
    until_over(&cluster, id);
    each_once(&trained(&cluster), 6);
    // Once the first node's daemon has ended, the same line is fine on the other one as well, and changes nothing.
    drop(env.line("daemon stop").success());
    wait_until("its lease is given back", || !env.state_dir().join("lease.json").exists());
    let other = nodes.into_iter().find(|node| *node != serving).unwrap();
    for (code, stdout, stderr) in on_node(&cluster, (other, &library), &line) {
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    }
    assert_eq!(env.line("sweep list --json").success().json().as_array().unwrap().len(), 1);
    each_once(&trained(&cluster), 6);
    drop(env.line("daemon stop").success());
}
