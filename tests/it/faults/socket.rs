//! Where the daemon listens, and who may come.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::env::{TestEnv, wait_until};
use crate::faults::{Background, Other, talk};

fn mode_of(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn everything_is_its_owners_alone() {
    let env = TestEnv::new();
    let dir = env.state_dir();
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(env.line("list").success());
    assert_eq!(mode_of(&dir), 0o700);
    assert!(dir.join("daemon.sock").symlink_metadata().unwrap().file_type().is_socket());
    for name in ["daemon.sock", "trainyard.db", "daemon.lock", "lease.json", "daemon.log"] {
        assert_eq!(mode_of(&dir.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_long_path_to_the_state_directory_works() {
    let env = TestEnv::new();
    let other =
        Other::at(env.home().join("a-long-name-".repeat(12)).join("b-long-name".repeat(10)));
    let spec = env.bash_spec("far", "exit 0\n");
    let run = other.submit(&env, &spec);
    wait_until("it completes", || other.state_of(&env, run) == "completed");
    assert_eq!(mode_of(&other.0.join("daemon.sock")), 0o600);
    let status = other.run(&env, "daemon status --json").success().json();
    assert_eq!(status["socket"].as_str(), other.0.join("daemon.sock").to_str());
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let env = TestEnv::new();
    std::fs::create_dir_all(env.state_dir()).unwrap();
    let socket = env.state_dir().join("daemon.sock");
    drop(UnixListener::bind(&socket).unwrap());
    drop(env.line("list").success());
    drop(env.line("daemon stop").success());
    assert!(!socket.exists());

    std::fs::write(&socket, "precious").unwrap();
    let said = env.line("list").ended(5);
    insta::assert_snapshot!(talk(&env, &said), @"
    error: the daemon could not be started: cannot listen on HOME/.local/state/trainyard/daemon.sock: it is no socket
    hint: `--socket` names another place
    ");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_socket_may_be_elsewhere() {
    let env = TestEnv::new();
    let socket = env.home().join("elsewhere.sock");
    let said = env.line("list --socket elsewhere.sock").ended(5);
    assert!(said.stderr.contains("no daemon answers at"), "{said}");
    let mut daemon = Background::serve(&env, "--socket elsewhere.sock");
    wait_until("it serves", || env.line("list --socket elsewhere.sock").code == 0);
    assert_eq!(mode_of(&socket), 0o600);
    assert!(!env.state_dir().join("daemon.sock").exists());
    let status = env.line("daemon status --json --socket elsewhere.sock").success().json();
    assert_eq!(status["socket"].as_str(), socket.to_str());
    // Another state directory cannot take the name away.
    let said = env.line("serve --state-dir other --socket elsewhere.sock").ended(70);
    assert!(said.stderr.contains("another process listens there"), "{said}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end(), 0);
    assert!(!socket.exists());
}
