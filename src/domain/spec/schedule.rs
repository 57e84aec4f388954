//! `[schedule]`: when runs of the spec are submitted by themselves.

use crate::domain::keys::keys;
use crate::domain::problem::At;
use crate::domain::request::IfActive;

keys! {
    /// When runs of the spec are submitted by themselves.
    pub struct Schedule {
        /// Minute, hour, day of the month, month and day of the week, as crontab(5) has them: lists, ranges, steps and names;
        /// or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        cron: At<String>,
        /// The time zone of `cron`, by its name in the IANA database: `Europe/Berlin`, `UTC`. Default: that of the machine where
        /// the schedule is added.
        timezone: At<String>,
        /// Whether one run makes up for all that was missed while no daemon ran. Default: false.
        catch_up: At<bool>,
        /// What becomes of a time at which a run of this name is active. Default: `skip`.
        if_active: At<IfActive>,
    }
    later {}
}
