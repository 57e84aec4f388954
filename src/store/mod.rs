//! What is remembered: `SQLite`, written by one thread.
//!
//! Only the daemon opens the database; everybody else goes through the API. [`open()`] decides how it is opened, [`Store`]
//! is the handle, and each noun has a file with its statements. All values are bound, never spelled into SQL.

mod acceptance;
mod accounts;
mod arrays;
mod bad_nodes;
mod books;
mod build_jobs;
mod environments;
mod events;
mod firings;
mod halving;
mod handle;
mod kept;
mod ledger;
mod listing;
mod live;
mod many;
mod metrics;
mod new_points;
mod open;
mod open_sweeps;
mod owed;
mod retention;
mod runs;
mod schedules;
mod secrets;
mod snapshots;
mod submissions;
mod sweep_points;
mod sweep_views;
mod sweeps;
mod waits;
mod wishes;
mod writer;

pub use acceptance::{Acceptance, Active, Keyed, NewRun, Recorded};
pub use accounts::{Account, Next};
pub use arrays::{ArrayIntent, ArrayRow, IntendingPoints};
pub use build_jobs::{BuildJob, NewBuildJob};
pub use events::HistoryEvent;
pub use firings::{Fired, Firing};
pub use handle::{Store, StoreError};
pub use kept::CodeUse;
pub use ledger::LedgerEntry;
pub use listing::{Filter, WholeRun};
pub use live::LiveRuns;
pub use metrics::{MetricPoint, MetricTail, POINTS_PER_RUN_MAX};
pub use new_points::NewPoint;
pub use open::{Journal, integrity, journal_for, network_name, open};
pub use open_sweeps::{EndedPoint, Telling, ToldPoint};
pub use runs::{Recording, RunRow, Submittable};
pub use schedules::{NewSchedule, Schedule, Scheduled, schedules_without_daemon};
pub use submissions::{CallRecord, Calling, Intending, Intent, Start};
pub use sweep_points::{PointRow, Reported};
pub use sweep_views::WholeSweep;
pub use sweeps::{NewSweep, Opening, SweepAcceptance, SweepRow};

#[cfg(test)]
mod tests;
