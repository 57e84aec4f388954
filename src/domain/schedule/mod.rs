//! Schedules: when runs of a spec are submitted by themselves.
//!
//! [`Plan`] is what a spec says, [`Calendar`] the moments that come of it, [`due()`] what is to be done at one of them.

mod calendar;
mod due;
mod view;

pub use calendar::Calendar;
pub use due::{Due, Missed, due, is_late, was_set_back};
pub use view::{FiringView, Outcome, ScheduleView};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::problem::{At, Place, Problem};
use crate::domain::request::IfActive;
use crate::domain::spec;

/// Schedules that one owner may have.
pub const SCHEDULES_MAX: u32 = 100;

/// How many of the next times are told.
pub const NEXT_TOLD: usize = 5;

/// What a spec's `[schedule]` says, with its defaults; kept with the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// As it is written.
    pub cron: String,
    /// A name of the IANA database.
    pub timezone: String,
    pub catch_up: bool,
    pub if_active: IfActive,
}

/// How a spec that has no schedule gets one.
pub const HOW_TO_HAVE_ONE: &str =
    "add to it: [schedule] with cron = \"0 2 * * *\" for every day at 02:00";

impl Plan {
    /// Reads a `[schedule]`; `timezone` is what counts where it names none.
    pub fn read(asked: &At<spec::Schedule>, timezone: &str) -> Result<Self, Vec<Problem>> {
        let spec::Schedule { cron, timezone: zone, catch_up, if_active } = &asked.value;
        let Some(cron) = cron else {
            let problem = Problem::at(asked.place, "`schedule` has no `cron`");
            return Err(vec![
                problem.help("write when: cron = \"0 2 * * *\" is every day at 02:00"),
            ]);
        };
        let plan = Self {
            cron: cron.value.clone(),
            timezone: zone.as_ref().map_or(timezone, |zone| &zone.value).to_owned(),
            catch_up: catch_up.as_ref().is_some_and(|asked| asked.value),
            if_active: if_active.as_ref().map_or(IfActive::Skip, |asked| asked.value),
        };
        let Err(faults) = Calendar::of(&plan.cron, &plan.timezone) else { return Ok(plan) };
        let at = |place: Place, key: &str, fault: &calendar::Fault| {
            let problem = Problem::at(place, format!("`schedule.{key}`: {}", fault.message));
            match &fault.help {
                Some(help) => problem.help(help.as_str()),
                None => problem,
            }
        };
        let zone_place = zone.as_ref().map_or(asked.place, |zone| zone.place);
        let of_cron = faults.cron.iter().map(|fault| at(cron.place, "cron", fault));
        let of_zone = faults.timezone.iter().map(|fault| at(zone_place, "timezone", fault));
        Err(of_cron.chain(of_zone).collect())
    }

    /// The moments of it. None only where this program knows less than the one that took it.
    pub fn calendar(&self) -> Option<Calendar> {
        Calendar::of(&self.cron, &self.timezone).ok()
    }

    /// The first few moments after another.
    pub fn next_after(&self, after: Timestamp) -> Vec<Timestamp> {
        let Some(calendar) = self.calendar() else { return Vec::new() };
        let following = |last: &Timestamp| calendar.next(*last);
        std::iter::successors(calendar.next(after), following).take(NEXT_TOLD).collect()
    }

    /// In what another plan differs, in words.
    pub fn changes(&self, newer: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut compare = |key: &str, old: &str, new: &str| {
            if old != new {
                changes.push(format!("{key}: {old} → {new}"));
            }
        };
        compare("cron", &self.cron, &newer.cron);
        compare("timezone", &self.timezone, &newer.timezone);
        compare("catch_up", &self.catch_up.to_string(), &newer.catch_up.to_string());
        compare("if_active", self.if_active.as_str(), newer.if_active.as_str());
        changes
    }
}

/// The key under which the run of a planned time is recorded: with it no time has two runs, however often it is tried.
pub fn key(schedule: i64, planned: Timestamp) -> String {
    format!("schedule {schedule} at {planned}")
}

#[cfg(test)]
mod tests;
