//! `usage`: what runs took, summed.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::cli::client::{Client, encoded};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit, plural};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, one_line};
use crate::domain::units::Seconds;
use crate::domain::usage::{By, Compared, Difference, Row, Sum, Usage};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is summed together: user, project, class, month or sweep
    #[arg(long, value_name = "WHAT", default_value = "user", value_parser = by)]
    by: By,
    /// Only attempts that started since: a date, a time (RFC 3339, UTC) or a duration back from now
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<When>,
    /// Only attempts that started before
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// Only runs of this user
    #[arg(long)]
    user: Option<String>,
    /// Only runs of this project
    #[arg(long)]
    project: Option<String>,
    /// Compare what is recorded here with Slurm's accounting, start by start; the last 30 days unless --since says otherwise
    #[arg(long, conflicts_with_all = ["by", "user", "project", "csv"])]
    reconcile: bool,
    /// Print comma-separated values, with a heading
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn by(text: &str) -> Result<By, String> {
    By::from_word(text).ok_or_else(|| format!("one of {}", By::WORDS.join(", ")))
}

/// A moment, as people write it.
#[derive(Debug, Clone, Copy)]
enum When {
    At(Timestamp),
    Ago(Seconds),
}

fn when(text: &str) -> Result<When, String> {
    let midnight = |date: civil::Date| date.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).ok();
    let at = text.parse().ok().or_else(|| text.parse().ok().and_then(midnight));
    at.map(When::At).or_else(|| Seconds::parse(text).map(When::Ago)).ok_or_else(|| {
        "write a date such as 2026-05-01, a time such as 2026-05-01T12:00:00Z, or a duration such as 30d"
            .to_owned()
    })
}

impl When {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(Seconds(seconds)) => {
                let back = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                now.saturating_sub(back).unwrap_or(Timestamp::MIN)
            }
        }
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.reconcile {
        return reconcile(context, args);
    }
    let query = format!("/usage?by={}{}", args.by, query(context, args)?);
    let usage: Usage =
        Context::block_on(async { Client::connect(context).await?.get(&query).await })?;
    if context.global.json {
        context.output().json(&usage)?;
    } else if args.csv {
        context.output().bytes(&as_csv(&usage)?)?;
    } else if usage.rows.is_empty() {
        context.say("no attempt started in that time");
    } else {
        show(context, &usage)?;
    }
    Ok(Exit::Done)
}

/// What is asked for, as the API takes it.
fn query(context: &Context, args: &Args) -> Result<String, CliError> {
    let of_period = period(context, args.since, args.until)?;
    let words = [("user", &args.user), ("project", &args.project)];
    let named = words.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    let named = named.map(|(key, value)| format!("&{key}={}", encoded(value)));
    Ok(of_period + &named.collect::<String>())
}

fn period(context: &Context, since: Option<When>, until: Option<When>) -> Result<String, CliError> {
    let now = context.surroundings.clock.now();
    let at = |when: Option<When>| when.map(|when| when.before(now));
    let (since, until) = (at(since), at(until));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(CliError::usage(format!("--since {since} is not before --until {until}")));
    }
    let word = |key: &str, at: Option<Timestamp>| {
        at.map(|at| format!("&{key}={}", encoded(&at.to_string()))).unwrap_or_default()
    };
    Ok(word("since", since) + &word("until", until))
}

/// Our record and accounting's.
fn reconcile(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let query = period(context, args.since, args.until)?;
    let query = format!("/usage/accounts?{}", query.trim_start_matches('&'));
    let compared: Compared =
        Context::block_on(async { Client::connect(context).await?.get(&query).await })?;
    if context.global.json {
        context.output().json(&compared)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = compared.differences.iter().map(difference).collect();
    if !rows.is_empty() {
        context.output().table(DIFFERENCES, rows)?;
    }
    for line in summary(&compared) {
        context.say(&one_line(&line));
    }
    Ok(Exit::Done)
}

const DIFFERENCES: &[Column] = &[
    Column::Whole("RUN"),
    Column::Whole("ATTEMPT"),
    Column::Whole("JOB"),
    Column::Whole("HERE"),
    Column::Whole("SACCT"),
    Column::Elastic("WHAT"),
];

fn difference(one: &Difference) -> Vec<String> {
    let dash = || "-".to_owned();
    let hours = |hours: Option<f64>| hours.map_or_else(dash, |hours| format!("{hours:.4}"));
    vec![
        one.run.map_or_else(dash, |run| run.to_string()),
        one.attempt.map_or_else(dash, |attempt| attempt.to_string()),
        TerminalText(&one.job).to_string(),
        hours(one.node_hours),
        hours(one.accounted_node_hours),
        TerminalText(&one.message).to_string(),
    ]
}

fn summary(compared: &Compared) -> Vec<String> {
    let Compared { starts, node_hours, accounted_node_hours, .. } = compared;
    let count = compared.differences.len();
    let mut lines = vec![format!(
        "{starts} start{} compared: {node_hours:.4} node-hours here, {accounted_node_hours:.4} accounted; {count} difference{}",
        plural(usize::try_from(*starts).unwrap_or(usize::MAX)),
        plural(count)
    )];
    if compared.running > 0 {
        lines.push(format!("{} that run are left out", compared.running));
    }
    if !compared.without.is_empty() {
        let names: Vec<String> =
            compared.without.iter().map(|name| TerminalText(name).to_string()).collect();
        lines.push(format!("there is no accounting for {}", names.join(", ")));
    }
    lines
}

fn show(context: &Context, usage: &Usage) -> Result<(), CliError> {
    let mut rows: Vec<Vec<String>> = usage.rows.iter().map(row).collect();
    if usage.rows.len() > 1 {
        rows.push(cells("total".to_owned(), &usage.total));
    }
    context.output().table(&heading(&usage.by), rows)?;
    let unit = &usage.charge_unit;
    context.say(&one_line(&format!(
        "NODE-H, GPU-H: node-hours, GPU-hours; CHARGE in {unit}s. FAILED: node-hours of attempts that failed or had to \
         start again; LOST: of those, what came after the newest complete checkpoint. USED: node-hours as a part of what \
         the time limits asked for."
    )));
    Ok(())
}

fn heading(by: &str) -> [Column<'static>; 9] {
    let key = match by {
        "user" => "USER",
        "project" => "PROJECT",
        "class" => "CLASS",
        "sweep" => "SWEEP",
        _ => "MONTH",
    };
    [
        Column::Elastic(key),
        Column::Whole("RUNS"),
        Column::Whole("STARTS"),
        Column::Whole("NODE-H"),
        Column::Whole("GPU-H"),
        Column::Whole("CHARGE"),
        Column::Whole("FAILED"),
        Column::Whole("LOST"),
        Column::Whole("USED"),
    ]
}

fn row(row: &Row) -> Vec<String> {
    let key = row.key.as_ref().map_or_else(|| "-".to_owned(), |key| TerminalText(key).to_string());
    cells(key, &row.sum)
}

fn cells(key: String, sum: &Sum) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        key,
        sum.runs.to_string(),
        sum.attempts.to_string(),
        hours(sum.node_hours),
        hours(sum.gpu_hours),
        sum.charge.map_or_else(dash, hours),
        hours(sum.failed_node_hours),
        hours(sum.lost_node_hours),
        sum.efficiency.map_or_else(dash, |part| format!("{:.0} %", part * 100.0)),
    ]
}

/// Hundredths tell seconds of a node from nothing only just; finer figures are in the JSON.
fn hours(hours: f64) -> String {
    format!("{hours:.2}")
}

fn as_csv(usage: &Usage) -> Result<Vec<u8>, CliError> {
    /// A row as the columns of a table: what is flattened has none of its own in CSV.
    #[derive(serde::Serialize)]
    struct Line<'a> {
        key: &'a str,
        runs: u64,
        attempts: u64,
        node_hours: f64,
        gpu_hours: f64,
        charge: Option<f64>,
        failed_node_hours: f64,
        lost_node_hours: f64,
        waiting_seconds: f64,
        requested_node_hours: f64,
        limited_node_hours: f64,
        efficiency: Option<f64>,
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for Row { key, sum } in &usage.rows {
        let line = Line {
            key: key.as_deref().unwrap_or_default(),
            runs: sum.runs,
            attempts: sum.attempts,
            node_hours: sum.node_hours,
            gpu_hours: sum.gpu_hours,
            charge: sum.charge,
            failed_node_hours: sum.failed_node_hours,
            lost_node_hours: sum.lost_node_hours,
            waiting_seconds: sum.waiting_seconds,
            requested_node_hours: sum.requested_node_hours,
            limited_node_hours: sum.limited_node_hours,
            efficiency: sum.efficiency,
        };
        writer.serialize(line).map_err(|error| CliError::internal(&error))?;
    }
    writer.into_inner().map_err(|error| CliError::internal(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::table;
    use crate::cli::sample;
    use crate::domain::usage::{Period, Tally};
    use crate::domain::view::RunView;

    /// A run of an hour, half of whose time limit it was.
    fn ran(owner: &str, changes: &serde_json::Value) -> RunView {
        let mut run = sample::run(json!({ "owner": owner }));
        let attempt = run.attempts.as_mut().unwrap().first_mut().unwrap();
        let mut value = serde_json::to_value(&*attempt).unwrap();
        let whole = json!({
            "state": "completed", "ended_at": "2026-05-01T11:00:00Z", "elapsed_seconds": 3600.0,
            "time_limit_seconds": 7200, "node_hours": 2.0, "gpu_hours": 8.0, "charge": 3.0,
            "queue_seconds": 60.0
        });
        for (key, new) in whole.as_object().unwrap().iter().chain(changes.as_object().unwrap()) {
            value[key] = new.clone();
        }
        *attempt = serde_json::from_value(value).unwrap();
        run
    }

    fn report(by: By, runs: &[RunView], period: Period) -> Usage {
        let mut tally = Tally::new(by, period);
        for run in runs {
            tally.add(run);
        }
        tally.report()
    }

    fn runs() -> Vec<RunView> {
        let failed = json!({ "state": "failed", "lost_node_hours": 0.5 });
        let again = json!({ "state": "requeued", "node_hours": 1.0, "gpu_hours": 4.0, "lost_node_hours": 1.0 });
        let mut twice = ran("bert", &again);
        let last = ran("bert", &json!({ "started_at": "2026-06-01T00:00:00Z", "charge": null }));
        twice.attempts.as_mut().unwrap().extend(last.attempts.unwrap());
        vec![ran("anna", &json!({})), ran("anna", &failed), twice]
    }

    #[test]
    fn attempts_are_summed_by_user() {
        let usage = report(By::User, &runs(), Period::default());
        let shown: Vec<Vec<String>> = usage.rows.iter().map(row).collect();
        let anna = ["anna", "2", "2", "4.00", "16.00", "6.00", "2.00", "0.50", "50 %"];
        let bert = ["bert", "1", "2", "3.00", "12.00", "3.00", "1.00", "1.00", "50 %"];
        assert_eq!(shown, [anna, bert]);
        let total = cells("total".into(), &usage.total);
        assert_eq!(total, ["total", "3", "4", "7.00", "28.00", "9.00", "3.00", "1.50", "50 %"]);
        assert_eq!(usage.total.waiting_seconds.to_string(), "240");
    }

    /// An attempt is of the month and the period in which it started, and what is summed by month is what there is.
    #[test]
    fn attempts_count_where_they_started() {
        let counts = |by, period| -> Vec<(Option<String>, u64, u64)> {
            let usage = report(by, &runs(), period);
            usage.rows.into_iter().map(|row| (row.key, row.sum.runs, row.sum.attempts)).collect()
        };
        let month = |key: &str, runs, attempts| (Some(key.to_owned()), runs, attempts);
        assert_eq!(
            counts(By::Month, Period::default()),
            [month("2026-05", 3, 3), month("2026-06", 1, 1)]
        );
        let since = Some("2026-06-01T00:00:00Z".parse().unwrap());
        assert_eq!(counts(By::User, Period { since, until: None }), [month("bert", 1, 1)]);
        assert_eq!(
            counts(By::Month, Period { since: None, until: since }),
            [month("2026-05", 3, 3)]
        );
        assert_eq!(report(By::Month, &runs(), Period::default()).total.runs, 3);
    }

    #[test]
    fn points_count_for_their_sweep_and_other_runs_for_none() {
        let mut runs = runs();
        runs.iter_mut().skip(1).for_each(|run| run.sweep = Some(7));
        let shown = report(By::Sweep, &runs, Period::default()).rows;
        assert_eq!(shown.iter().map(|it| row(it).remove(0)).collect::<Vec<_>>(), ["7", "-"]);
    }

    #[test]
    fn a_report_fits_80_columns() {
        let mut usage = report(By::User, &runs(), Period::default());
        for row in &mut usage.rows {
            row.key = Some("somebody-with-a-long-name".to_owned());
            row.sum.node_hours = 123_456.78;
        }
        let text = table(&heading(&usage.by), usage.rows.iter().map(row).collect(), 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("123456.78"), "{text}");
    }

    #[test]
    fn csv_has_a_heading_and_plain_numbers() {
        let text =
            String::from_utf8(as_csv(&report(By::User, &runs(), Period::default())).unwrap());
        let lines: Vec<String> = text.unwrap().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "key,runs,attempts,node_hours,gpu_hours,charge,failed_node_hours,lost_node_hours,\
                 waiting_seconds,requested_node_hours,limited_node_hours,efficiency",
                "anna,2,2,4.0,16.0,6.0,2.0,0.5,120.0,8.0,4.0,0.5",
                "bert,1,2,3.0,12.0,3.0,1.0,1.0,120.0,6.0,3.0,0.5",
            ]
        );
    }

    #[test]
    fn moments_are_read() {
        let now: Timestamp = "2026-05-02T12:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let read = when(text).ok().map(|when| when.before(now).to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("2026-05-01", Some("2026-05-01T00:00:00Z"));
        check("2026-05-01T10:00:00+02:00", Some("2026-05-01T08:00:00Z"));
        check("36h", Some("2026-05-01T00:00:00Z"));
        check("yesterday", None);
        check("2026-13-01", None);
    }
}
