//! The local target: a rendered script as processes of this machine that outlive the daemon.
//!
//! Each submission has a spool, `STATE_DIR/local/ID`. [`LocalScheduler`] writes the order into it and launches this
//! program as the job's supervisor ([`supervise`], the hidden verb `local-job`). The supervisor alone writes the job
//! record; the scheduler reads it and asks the kernel whether that very process still lives. So there is nothing that a
//! restarted daemon would have to remember.

mod children;
mod order;
mod record;
mod scheduler;
mod signals;
mod spool;
mod supervisor;
mod watch;

pub use order::Order;
pub use record::{JobState, Record};
pub use scheduler::{CLUSTER, LocalScheduler};
pub use spool::{Spool, SpoolError};
pub use supervisor::supervise;

/// The hidden verb that runs a supervisor; its argument is the spool.
pub const SUPERVISOR_VERB: &str = "local-job";
