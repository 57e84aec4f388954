//! The daemon: a reconciler behind a socket.
//!
//! [`serve()`] runs until it is told to stop; [`pass`] is one look at everything: woken by a timer and by nudges, it takes
//! no input, does no retries inside, and records before it acts. [`accept()`] takes new runs; everything else that people
//! want is a wish in the database.

mod accept;
mod accept_sweep;
mod accounts;
mod admission;
mod beginning;
mod budgets;
mod builds;
mod calls;
mod capture;
mod checkpoints;
mod claims;
mod classes;
mod collect;
mod compared;
mod comparison;
mod data;
mod environments;
mod estimate;
mod explain;
mod gather;
mod halving;
mod in_force;
mod inboxes;
mod kept;
mod lease;
mod looks;
mod markers;
mod nodes;
mod observe;
mod open_sweeps;
mod points;
mod purses;
mod reconcile;
mod record;
mod retention;
mod schedules;
mod secrets;
mod serve;
mod state_dir;
mod stirs;
mod sweeps;
mod ticker;
mod views;
mod watch;
mod world;

pub use accept::{AcceptError, Accepted, Destination, SubmitRequest, accept};
pub use budgets::{budgets, ledger};
pub use checkpoints::{CatalogueError, ChoiceError, checkpoints, choose};
pub use classes::class_standings;
pub use compared::{CompareError, compare_accounts};
pub use comparison::{compared_points, standing};
pub use data::{fingerprints, take_snapshot};
pub use estimate::estimate;
pub use explain::{explain_run, log_file};
pub use in_force::{InForce, SiteFiles, SiteNews, SiteSource, SiteTrouble, Unusable};
pub use kept::{DeleteError, code_contents, collect_garbage, delete};
pub use lease::{Holder, Lease, LeaseError, read as read_lease};
pub use nodes::{bad_nodes, clear_bad_nodes};
pub use open_sweeps::{TellError, close_sweep, ended_points, tell};
pub use reconcile::{PassReport, pass};
pub use record::run_record;
pub use retention::retention_plan;
pub use schedules::{
    ScheduleError, ScheduleRequest, ScheduleThere, ThereError, add_schedule, delete_schedule,
    pause_schedule, run_schedule_now, schedule_there, schedules,
};
pub use secrets::{SecretsError, take_secrets_again};
pub use serve::{ServeConfig, ServeError, serve, serve_once, short_path};
pub use state_dir::{StateDir, StateDirError};
pub use views::{list_views, run_view, sweep_view, sweep_views, usage};
pub use world::{Paths, World, WorldParts};
