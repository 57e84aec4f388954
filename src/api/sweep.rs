//! Sweeps: how they stand, and several side by side.

use serde::{Deserialize, Serialize};

use crate::domain::checkpoint::Goal;
use crate::domain::sweep::SweepView;

/// A sweep, and how many changes had been recorded when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepShown {
    pub sweep: SweepView,
    pub change: u64,
}

/// Which sweeps are to be compared, and by what.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CompareRequest {
    /// Numbers or names.
    pub sweeps: Vec<String>,
    /// All sweeps of this experiment as well.
    pub experiment: Option<String>,
    /// That of the sweeps' objective where none is named.
    pub metric: Option<String>,
    pub goal: Option<Goal>,
}
