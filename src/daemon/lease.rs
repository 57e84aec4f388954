//! One daemon per state directory: a lock among processes of this machine, a lease among machines.
//!
//! Node-local locks do not see other machines, so the lease names its holder: host, process and boot. It is broken only
//! when its holder is provably dead on this host, or by `daemon start --take-over`; never by age. The lock only settles
//! who is first among processes of one machine, so it does not matter whether a mount hands locks on to others (NFS with
//! `nolock` or `local_lock`, Lustre with `localflock`): where it does not, the lease decides alone.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::daemon::state_dir::StateDir;
use crate::files::ProcessId;

/// Who serves a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    pub process: ProcessId,
}

/// The right to serve a state directory; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    holder: Holder,
    /// Held locked as long as the lease is.
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("a daemon (process {pid}) already serves this state directory")]
    Served { pid: u32 },
    #[error("a daemon is already starting or serving in this state directory")]
    Locked,
    #[error("a daemon on {host} (process {pid}) serves this state directory")]
    Elsewhere { host: String, pid: u32 },
    #[error("cannot use the lease {}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Lease {
    /// Takes the lease. `take_over` also breaks one that another machine holds.
    pub fn acquire(dir: &StateDir, holder: Holder, take_over: bool) -> Result<Self, LeaseError> {
        let path = dir.lease();
        let failed = |source| LeaseError::File { path: path.clone(), source };
        let lock = File::options().create(true).append(true).open(dir.lock()).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(read(dir).ok().flatten().map_or(LeaseError::Locked, |other| {
                    other.refusal(&holder).unwrap_or(LeaseError::Locked)
                }));
            }
            // Some network file systems have no locks; the lease decides alone.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if let Some(found) = read_bytes(dir).map_err(failed)? {
            match understood(&found).and_then(|other| other.refusal(&holder)) {
                Some(LeaseError::Elsewhere { .. }) if take_over => {}
                Some(refusal) => return Err(refusal),
                None => {}
            }
            // It is nobody's: its holder is dead, or it was cut by a full disk.
            take_away(dir, &found).map_err(failed)?;
        }
        match write(dir, &holder) {
            Ok(()) => Ok(Self { path, holder, _lock: lock }),
            // Another machine, which the lock does not keep out, was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let other = read(dir).ok().flatten().and_then(|other| other.refusal(&holder));
                Err(other.unwrap_or(LeaseError::Locked))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether another daemon has taken over, or is about to. A lease that cannot be read is no news.
    pub async fn is_lost(&self) -> bool {
        /// One that starts at the same time may have moved the lease aside to look at it, and puts it back.
        const MOMENT: Duration = Duration::from_millis(200);
        if self.is_gone() {
            tokio::time::sleep(MOMENT).await;
        }
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).is_ok_and(|now: Holder| now != self.holder),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn is_gone(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn is_ours(&self) -> bool {
        std::fs::read(&self.path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Holder>(&bytes).ok())
            .is_some_and(|holder| holder == self.holder)
    }
}

impl Holder {
    /// Why this holder keeps `asking` out; `None` when it is dead. One that cannot be asked about counts as living.
    fn refusal(&self, asking: &Self) -> Option<LeaseError> {
        let pid = self.process.pid;
        if self.host != asking.host {
            return Some(LeaseError::Elsewhere { host: self.host.clone(), pid });
        }
        self.process.is_alive().unwrap_or(true).then_some(LeaseError::Served { pid })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_ours() {
            // When it cannot be removed it is broken by the next daemon, which finds this process dead.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// The holder of a state directory's lease. A lease that cannot be understood counts as none: it was cut by a full disk.
pub fn read(dir: &StateDir) -> io::Result<Option<Holder>> {
    Ok(read_bytes(dir)?.and_then(|bytes| understood(&bytes)))
}

fn read_bytes(dir: &StateDir) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(dir.lease()) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn understood(bytes: &[u8]) -> Option<Holder> {
    serde_json::from_slice(bytes).ok()
}

/// Removes a lease that was found to be nobody's. One that another machine has put in its place meanwhile stays: so it is
/// moved aside first and looked at there.
fn take_away(dir: &StateDir, found: &[u8]) -> io::Result<()> {
    let path = dir.lease();
    let set_aside = |to: &Path| std::fs::rename(&path, to);
    let aside = match tempfile::Builder::new().prefix(".lease").make_in(dir.path(), set_aside) {
        Ok(aside) => aside,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if std::fs::read(aside.path())? == found {
        return Ok(());
    }
    match std::fs::hard_link(aside.path(), &path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts the lease in place whole, and only where there is none: link(2) fails on an existing name, also over NFS.
fn write(dir: &StateDir, holder: &Holder) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir.path())?;
    serde_json::to_writer(&mut file, holder)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(dir.lease()).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lease_that_was_judged_is_taken_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(folder.path().to_owned());
        let process = ProcessId::current().expect("a process");
        let holder = |host: &str| Holder { host: host.to_owned(), process: process.clone() };
        write(&dir, &holder("login1")).expect("a lease");
        let judged = b"cut";
        take_away(&dir, judged).expect("it is left");
        assert_eq!(read(&dir).expect("a lease"), Some(holder("login1")));
        let found = read_bytes(&dir).expect("a lease").expect("a lease");
        take_away(&dir, &found).expect("it is removed");
        assert_eq!(read(&dir).expect("none"), None);
        take_away(&dir, &found).expect("there is nothing to remove");
        let names = std::fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(names.count(), 0);
    }
    #[tokio::test]
    async fn a_lease_that_is_looked_at_elsewhere_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(folder.path().to_owned());
        let process = ProcessId::current().expect("a process");
        let holder = Holder { host: "login1".to_owned(), process };
        let lease = Lease::acquire(&dir, holder, false).expect("it is free");
        assert!(!lease.is_lost().await);
        let aside = folder.path().join("aside");
        std::fs::rename(dir.lease(), &aside).expect("it is moved");
        let back = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::fs::rename(&aside, dir.lease()).expect("it is put back");
        };
        assert!(!tokio::join!(lease.is_lost(), back).0);
        std::fs::remove_file(dir.lease()).expect("it is removed");
        assert!(lease.is_lost().await);
    }
}
