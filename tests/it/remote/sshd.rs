//! A real sshd on this machine's loopback: the way to another world.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{TestEnv, wait_until};

/// Two worlds of which one is reached from the other by ssh, as host `login`.
pub(crate) struct Ssh {
    pub(crate) here: TestEnv,
    pub(crate) there: TestEnv,
    port: u16,
    sshd: Option<Child>,
}

/// Not on the search path of everybody.
const SSHD: &str = "/usr/sbin/sshd";

#[expect(clippy::disallowed_methods, reason = "tests start what they need")]
fn done(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program}");
}

impl Ssh {
    pub(crate) fn new() -> Self {
        let (here, there) = (TestEnv::new(), TestEnv::new());
        // Free at this moment; whoever takes it first is told by the host key.
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut ssh = Self { here, there, port, sshd: None };
        ssh.make_files();
        ssh.start();
        ssh
    }

    fn make_files(&self) {
        let Self { here, there, port, .. } = self;
        let (home, user) =
            (here.home().display(), nix::unistd::User::from_uid(nix::unistd::getuid()));
        let user = user.unwrap().unwrap().name;
        for key in ["host_key", "id"] {
            let file = here.home().join(key).display().to_string();
            done("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]);
        }
        let public = |key: &str| std::fs::read_to_string(here.home().join(key)).unwrap();
        here.write("authorized_keys", &public("id.pub"));
        here.write("known_hosts", &format!("the-other-world {}", public("host_key.pub")));
        here.write("banner", "");
        std::fs::create_dir(there.home().join("bin")).unwrap();
        let program = there.home().join("bin/trainyard");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_trainyard"), program).unwrap();
        let there = there.home().display();
        here.write(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host_key\nPidFile none\n\
                 AuthorizedKeysFile {home}/authorized_keys\nStrictModes no\nUsePAM no\n\
                 PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 Banner {home}/banner\n\
                 SetEnv HOME={there} PATH={there}/bin:{there}/.no-slurm:/usr/bin:/bin\n"
            ),
        );
        here.write(
            "ssh_config",
            &format!(
                "Host login\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n\
                 Host *\n  IdentityFile {home}/id\n  IdentitiesOnly yes\n  HostKeyAlias the-other-world\n\
                 \x20 UserKnownHostsFile {home}/known_hosts\n  GlobalKnownHostsFile /dev/null\n\
                 \x20 StrictHostKeyChecking yes\n  LocalForward 1 localhost:1\n  RemoteCommand false\n"
            ),
        );
        here.program(
            "ssh",
            &format!("echo \"$*\" >>{home}/calls\nexec /usr/bin/ssh -F {home}/ssh_config \"$@\"\n"),
        );
    }

    #[expect(clippy::disallowed_methods, reason = "tests start what they need")]
    pub(crate) fn start(&mut self) {
        // Where sshd of a root keeps its privileges apart; a service would have made it.
        if nix::unistd::getuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let log = std::fs::File::create(self.here.home().join("sshd.log")).unwrap();
        let mut sshd = Command::new(SSHD);
        sshd.arg("-D").arg("-e").arg("-f").arg(self.here.home().join("sshd_config"));
        let sshd = sshd.stdin(Stdio::null()).stderr(log).spawn();
        self.sshd = Some(sshd.unwrap_or_else(|error| {
            panic!("{SSHD}: {error}; `tests/run` installs it (openssh-server)")
        }));
        wait_until("sshd answers", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok());
    }

    /// Ends sshd with all its sessions.
    pub(crate) fn stop(&mut self) {
        let sessions = self.sessions();
        if let Some(mut sshd) = self.sshd.take() {
            sshd.kill().ok();
            sshd.wait().ok();
        }
        for session in sessions {
            kill(session, Signal::SIGKILL).ok();
        }
    }

    /// Ends all connections, as a network would.
    pub(crate) fn cut(&self) {
        for session in self.sessions() {
            kill(session, Signal::SIGKILL).ok();
        }
    }

    /// The processes of sshd that serve connections: what they started may be meant to stay.
    fn sessions(&self) -> Vec<Pid> {
        let mut all = self.below("comm");
        all.retain(|(_, name)| name.starts_with("sshd"));
        all.into_iter().map(|(pid, _)| pid).collect()
    }

    /// How many connections have come as far as the program of the other world.
    pub(crate) fn carriers(&self) -> usize {
        self.below("cmdline").iter().filter(|(_, line)| line.contains("dial-stdio")).count()
    }

    /// What is below sshd, with a file of each about itself.
    fn below(&self, file: &str) -> Vec<(Pid, String)> {
        let Some(sshd) = &self.sshd else { return Vec::new() };
        let about = |pid: Pid| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&bytes).into_owned())
        };
        descendants(Pid::from_raw(sshd.id().cast_signed())).into_iter().map(about).collect()
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.here.home().join("ssh")
    }

    /// How often ssh was started.
    pub(crate) fn calls(&self) -> usize {
        let calls = std::fs::read_to_string(self.here.home().join("calls")).unwrap_or_default();
        calls.lines().count()
    }

    /// A command of this world that is about the other one.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = self.here.command();
        command.env("TRAINYARD_SSH", self.program()).env("TRAINYARD_HOST", "ssh://login");
        command.args(line.split_whitespace());
        command
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.stop();
    }
}

/// All processes below one.
fn descendants(of: Pid) -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![of.as_raw()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).map(Pid::from_raw).collect()
}
