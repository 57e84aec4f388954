//! The daemon from start to end: state directory, lease, database, socket, loop, drain.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::budgets;
use crate::daemon::in_force::{self, SiteSource};
use crate::daemon::lease::{Holder, Lease, LeaseError};
use crate::daemon::reconcile::{PassReport, pass};
use crate::daemon::state_dir::StateDirError;
use crate::daemon::ticker;
use crate::daemon::world::{Paths, World, WorldParts};
use crate::domain::resolve::Asker;
use crate::domain::site::LOCAL;
use crate::files::LoadedSite;
use crate::local::LocalScheduler;
use crate::ports::{Clock, Hands, Scheduler};
use crate::store::{Store, StoreError};

/// Everything the daemon is started with.
pub struct ServeConfig {
    pub paths: Paths,
    pub site: LoadedSite,
    pub asker: Asker,
    pub holder: Holder,
    pub clock: Arc<dyn Clock>,
    pub hands: Arc<dyn Hands>,
    /// Our own executable, for the supervisors of local jobs.
    pub program: PathBuf,
    /// What local jobs find in their environment.
    pub environment: Vec<(String, String)>,
    /// What builds find in theirs.
    pub build_environment: Vec<(String, String)>,
    /// Where the site comes from, to be read again.
    pub site_source: SiteSource,
    /// How long the daemon stays when nobody needs it; for ever when `None`.
    pub idle_after: Option<Duration>,
    pub take_over: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// How long a drain waits for requests and submissions that are under way.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is cancelled. `ready` is called once requests are answered.
pub async fn serve(
    config: ServeConfig,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    /// squeue takes some milliseconds, sacct about a hundred.
    const LOOK_PATIENCE: Duration = Duration::from_millis(500);
    let (idle_after, source) = (config.idle_after, config.site_source.clone());
    let (world, lease) = build(config, LOOK_PATIENCE)?;
    budgets::grant(&world).await?;
    let (listener, name) = listen(&world.paths.socket)?;
    let router = crate::web::router(Arc::clone(&world), shutdown.clone());
    let stopping = shutdown.clone();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopping.cancelled().await });
    let mut server = tokio::spawn(async move { server.await });
    info!(pid = std::process::id(), "serving {}", world.paths.state.path().display());
    ready();
    tokio::spawn(in_force::keep_up(Arc::clone(&world), source, shutdown.clone()));
    let ended = ticker::run(&world, &lease, idle_after, &shutdown).await;
    info!("draining: {ended:?}");
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        server.abort();
    }
    world.tasks.close();
    world.builds.stop();
    if tokio::time::timeout(DRAIN, world.tasks.wait()).await.is_err() {
        // They are killed with this process; the next daemon looks for what came of them.
        warn!("submissions, or removals of checkpoints, are still under way");
    }
    // A daemon that took over has a socket of its own under the same name.
    if identity(&world.paths.socket).is_ok_and(|now| now == name) {
        drop(std::fs::remove_file(&world.paths.socket));
    }
    drop(lease);
    Ok(())
}

/// One reconciliation pass, and further ones for the answers to what the last one submitted.
pub async fn serve_once(config: ServeConfig) -> Result<PassReport, ServeError> {
    /// There is no later pass: longer than any command may take.
    const LOOK_PATIENCE: Duration = Duration::from_mins(2);
    let (world, _lease) = build(config, LOOK_PATIENCE)?;
    budgets::grant(&world).await?;
    /// What one pass submits may let others start in the next; who is left waits for the next call.
    const PASSES_MAX: u32 = 10;
    let mut report = PassReport::default();
    world.tasks.close();
    for _ in 0..PASSES_MAX {
        let PassReport { live, decided, submitted, left, fired, .. } = pass(&world).await?;
        let builds = world.builds.are_under_way();
        (report.live, report.left) = (live, left);
        report.decided += decided;
        report.submitted += submitted;
        // An sbatch that is under way when this process ends would be killed in the middle of it.
        world.tasks.wait().await;
        if submitted == 0 && fired == 0 && !builds {
            break;
        }
    }
    Ok(report)
}

fn build(config: ServeConfig, look_patience: Duration) -> Result<(Arc<World>, Lease), ServeError> {
    let ServeConfig {
        paths,
        site,
        asker,
        holder,
        clock,
        hands,
        program,
        environment,
        build_environment,
        site_source,
        take_over,
        ..
    } = config;
    paths.state.prepare(asker.uid)?;
    let host = holder.host.clone();
    let lease = Lease::acquire(&paths.state, holder, take_over)?;
    let store = Store::start(&paths.state.database())?;
    let local = LocalScheduler::new(
        Arc::clone(&hands),
        Arc::clone(&clock),
        paths.state.path().to_owned(),
        program,
        environment,
    );
    let local: Arc<dyn Scheduler> = Arc::new(local);
    let mut schedulers = HashMap::from([(LOCAL.to_owned(), local)]);
    schedulers.extend(in_force::schedulers(
        &site.site,
        (&hands, &clock),
        &asker,
        &site_source.files.slurm_variables(&site.site),
    ));
    let parts = WorldParts {
        store,
        clock,
        hands,
        schedulers,
        site,
        asker,
        paths,
        host,
        look_patience,
        build_environment,
    };
    Ok((Arc::new(World::new(parts)), lease))
}

/// Which socket it is: device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Binds the socket for its owner alone. One that a dead daemon left is replaced; anything else under its name is not.
fn listen(path: &Path) -> Result<(UnixListener, Identity), ServeError> {
    let failed = |source| ServeError::Listen { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")));
        }
        Ok(_) if short_path(path, |short| UnixStream::connect(short)).is_ok() => {
            let why = "another process listens there";
            return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, why)));
        }
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
    }
    let listener = short_path(path, |short| UnixListener::bind(short)).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok((listener, identity(path).map_err(failed)?))
}

/// Gives a socket's path in at most the 107 bytes that the kernel takes: a longer one through its open directory.
pub fn short_path<T>(path: &Path, job: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    /// `sun_path` has 108 bytes, one of them the final NUL.
    const SOCKET_PATH_BYTES_MAX: usize = 107;
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return job(path);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return job(path) };
    let directory = File::open(directory)?;
    job(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}
