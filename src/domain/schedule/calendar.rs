//! The moments that a cron expression means in a time zone.
//!
//! The expression is asked for local times, and what becomes of those when clocks are changed is decided here, as cron of
//! Debian does. Time zones are those of the machine, which its administrators keep up to date; the program brings its own for
//! machines that have none.

use cronexpr::{Crontab, MakeTimestamp};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::domain::problem::Problem;

/// Bytes of an expression: a list of all minutes and one of all hours, and room.
const CRON_BYTES_MAX: usize = 512;

/// A moment from which everything that ever comes does so within the four years that are looked at.
const PROBE: Timestamp = Timestamp::constant(1_735_689_600, 0);

/// The moments of a schedule.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// In UTC, where each local time is once.
    crontab: Crontab,
    /// It recurs within the day: `*` in the minutes or the hours. Real time counts then, so that it neither stops nor is
    /// made up for when clocks are changed.
    recurs: bool,
    zone: TimeZone,
}

/// What is wrong with a word, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    fn new(message: impl Into<String>, help: impl Into<Option<String>>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// What is wrong with an expression and with a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) cron: Option<Fault>,
    pub(super) timezone: Option<Fault>,
}

impl Calendar {
    pub(super) fn of(cron: &str, timezone: &str) -> Result<Self, Faults> {
        match (expression(cron), zone(timezone)) {
            (Ok((crontab, recurs)), Ok(zone)) => Ok(Self { crontab, recurs, zone }),
            (cron, timezone) => Err(Faults { cron: cron.err(), timezone: timezone.err() }),
        }
    }

    /// The first moment after another; none where it does not come within four years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.recurs { self.next_recurring(after) } else { self.next_fixed(after) }
    }

    /// Each local time once: one that does not exist when the gap is over, one that exists twice the first time.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(after);
        loop {
            local = self.next_local(local)?;
            let moment = self.moment(local)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let within = before.to_timestamp(local).ok()? + SignedDuration::from_secs(1);
                Some(self.zone.preceding(within).next()?.timestamp())
            }
        }
    }

    /// Whatever the clock on the wall shows then: what it leaves out is left out, what it shows twice comes twice.
    fn next_recurring(&self, after: Timestamp) -> Option<Timestamp> {
        let mut changes = self.zone.following(after);
        let (mut from, mut offset) = (after, self.zone.to_offset(after));
        loop {
            let local = self.next_local(offset.to_datetime(from))?;
            let moment = offset.to_timestamp(local).ok()?;
            match changes.next() {
                Some(change) if change.timestamp() <= moment => {
                    // The moment of the change may be one itself.
                    from = change.timestamp() - SignedDuration::from_secs(1);
                    offset = change.offset();
                }
                Some(_) | None => return Some(moment),
            }
        }
    }

    fn next_local(&self, after: DateTime) -> Option<DateTime> {
        next_local(&self.crontab, after)
    }
}

fn next_local(crontab: &Crontab, after: DateTime) -> Option<DateTime> {
    let after = Offset::UTC.to_timestamp(after).ok()?;
    let next = crontab.find_next(MakeTimestamp(after)).ok()?;
    Some(next.datetime())
}

/// Reads an expression; gives whether it recurs within the day, too.
fn expression(cron: &str) -> Result<(Crontab, bool), Fault> {
    const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];
    if cron.len() > CRON_BYTES_MAX {
        let message = format!("it has {} bytes, more than {CRON_BYTES_MAX}", cron.len());
        return Err(Fault::new(message, None));
    }
    let fields = if cron.starts_with('@') { of_word(cron.trim_end())? } else { cron };
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let message = format!("`{cron}` has {} fields, not 5", fields.len());
        let help = format!("they are {}; there are no seconds and no years", FIELDS.join(", "));
        return Err(Fault::new(message, help));
    }
    let crontab = cronexpr::parse_crontab(&format!("{} UTC", fields.join(" ")));
    let crontab = crontab.map_err(|error| {
        // The expression, and on the next line a mark below the fault with what it is.
        let told = error.to_string();
        let last = told.lines().last().unwrap_or_default();
        let (before, why) = last.split_once("^ ").unwrap_or(("", last));
        let mut end = 0;
        let of_mark = fields.iter().position(|field| {
            end += field.len() + 1;
            before.len() < end
        });
        let at = of_mark.unwrap_or(FIELDS.len() - 1);
        let (field, name) = (fields.get(at).unwrap_or(&cron), FIELDS.get(at).unwrap_or(&"field"));
        let help = "as in crontab(5): `0 2 * * *`, `*/15 9-17 * * mon-fri`, `@daily`".to_owned();
        Fault::new(format!("`{field}` is no {name}: {why}"), help)
    })?;
    if next_local(&crontab, Offset::UTC.to_datetime(PROBE)).is_none() {
        return Err(Fault::new(format!("there is no day for `{cron}` within four years"), None));
    }
    let recurs = fields.iter().take(2).any(|field| field.starts_with('*'));
    Ok((crontab, recurs))
}

/// The fields that a word stands for.
fn of_word(word: &str) -> Result<&'static str, Fault> {
    const WORDS: &[(&str, &str)] = &[
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ];
    let known = WORDS.iter().find(|(known, _)| *known == word);
    known.map(|(_, fields)| *fields).ok_or_else(|| {
        let known = WORDS.iter().map(|(known, _)| *known);
        let problem = Problem::nowhere(format!("there is no `{word}`")).suggest(word, known);
        Fault::new(problem.message, problem.help)
    })
}

fn zone(name: &str) -> Result<TimeZone, Fault> {
    let database = jiff::tz::db();
    database.get(name).map_err(|_| {
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let problem = Problem::nowhere(format!("there is no time zone `{name}`"));
        let problem = problem.suggest(name, names.iter().map(String::as_str));
        let help = problem.help.unwrap_or_else(|| "write it as in `Europe/Berlin`".to_owned());
        Fault::new(problem.message, help)
    })
}
