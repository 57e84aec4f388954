//! The supervisor's ears: signals as something to wait for, with a timeout.
//!
//! They are caught, not blocked: a script would inherit a mask and be deaf to the signals that are to end it, while
//! what is caught is as usual again in every program that is started.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Caught signals.
pub(super) struct Signals {
    runtime: Runtime,
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Heard and ignored: the job outlives the terminal and the session that started it.
    _ignored: [Signal; 4],
}

impl Signals {
    /// From here on none of these ends this process or is lost.
    pub(super) fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let child = signal(SignalKind::child())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let ignored = [
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
            signal(SignalKind::user_defined1())?,
            signal(SignalKind::user_defined2())?,
        ];
        drop(entered);
        Ok(Self { runtime, child, terminate, interrupt, _ignored: ignored })
    }

    /// Waits for a child's end or for being asked to end, at most so long. `true` when this process was asked to end.
    ///
    /// A signal that came between two waits ends the second at once.
    pub(super) fn wait(&mut self, at_most: Option<Duration>) -> bool {
        let Self { runtime, child, terminate, interrupt, .. } = self;
        runtime.block_on(async {
            let signalled = async {
                tokio::select! {
                    biased;
                    _ = terminate.recv() => true,
                    _ = interrupt.recv() => true,
                    _ = child.recv() => false,
                }
            };
            match at_most {
                Some(at_most) => tokio::time::timeout(at_most, signalled).await.unwrap_or(false),
                None => signalled.await,
            }
        })
    }
}
