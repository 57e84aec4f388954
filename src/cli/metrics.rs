//! `metrics`: the values that a training reported.

use std::collections::BTreeMap;

use crate::api::METRICS_PAGE;
use crate::cli::client::{Client, encoded, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::Column;
use crate::cli::text::{TerminalText, moment, value};
use crate::store::MetricPoint;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run: its number, its name or @last
    run: String,
    /// Every value of one metric
    #[arg(long, value_name = "METRIC")]
    name: Option<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let points = Context::block_on(async { fetch(&Client::connect(context).await?, args).await })?;
    let output = context.output();
    if context.global.json {
        output.json(&points)?;
        return Ok(Exit::Done);
    }
    if points.is_empty() {
        let what = args
            .name
            .as_deref()
            .map_or("metrics".to_owned(), |name| format!("metric `{}`", TerminalText(name)));
        context.say(&format!("run {} has reported no {what}", TerminalText(&args.run)));
        return Ok(Exit::Done);
    }
    if args.name.is_some() {
        let row = |point: &MetricPoint| {
            vec![point.step.to_string(), value(point.value), moment(point.at)]
        };
        output.table(ONE, points.iter().map(row).collect())?;
        return Ok(Exit::Done);
    }
    let mut by_name: BTreeMap<&str, Vec<&MetricPoint>> = BTreeMap::new();
    for point in &points {
        by_name.entry(&point.name).or_default().push(point);
    }
    let rows = by_name.into_iter().filter_map(|(name, points)| summary(name, &points)).collect();
    output.table(ALL, rows)?;
    Ok(Exit::Done)
}

/// All values, page by page.
async fn fetch(client: &Client<'_>, args: &Args) -> Result<Vec<MetricPoint>, CliError> {
    let name =
        args.name.as_ref().map(|name| format!("&name={}", encoded(name))).unwrap_or_default();
    let run = run_path(&args.run)?;
    let mut points: Vec<MetricPoint> = Vec::new();
    loop {
        let after = points
            .last()
            .map(|last| format!("&after_name={}&after_step={}", encoded(&last.name), last.step))
            .unwrap_or_default();
        let path = format!("{run}/metrics?{name}{after}");
        let page: Vec<MetricPoint> = client.get(&path).await?;
        let is_full = page.len() == METRICS_PAGE as usize;
        points.extend(page);
        if !is_full {
            return Ok(points);
        }
    }
}

const ONE: &[Column] = &[Column::Whole("STEP"), Column::Whole("VALUE"), Column::Whole("SEEN")];
const ALL: &[Column] = &[
    Column::Elastic("METRIC"),
    Column::Whole("FIRST"),
    Column::Whole("LAST"),
    Column::Whole("LEAST"),
    Column::Whole("MOST"),
    Column::Whole("VALUES"),
    Column::Elastic("COURSE"),
];

fn summary(name: &str, points: &[&MetricPoint]) -> Option<Vec<String>> {
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let (first, last) = (values.first()?, values.last()?);
    let numbers = || values.iter().copied().filter(|value| value.is_finite());
    let least = numbers().reduce(f64::min).unwrap_or(f64::NAN);
    let most = numbers().reduce(f64::max).unwrap_or(f64::NAN);
    Some(vec![
        TerminalText(name).to_string(),
        value(*first),
        value(*last),
        value(least),
        value(most),
        values.len().to_string(),
        course(&values, least, most),
    ])
}

/// The values' course as a line of bars; with a mark where one is no finite number.
fn course(values: &[f64], least: f64, most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const NO_NUMBER: char = '×';
    const COLUMNS: usize = 20;
    let columns = values.len().min(COLUMNS);
    let spread = most - least;
    (0..columns)
        .filter_map(|column| {
            let from = column * values.len() / columns;
            let to = ((column + 1) * values.len() / columns).max(from + 1);
            let part = values.get(from..to)?;
            #[expect(clippy::cast_precision_loss, reason = "a mean for a picture")]
            let mean = part.iter().sum::<f64>() / part.len() as f64;
            if !mean.is_finite() {
                return Some(NO_NUMBER);
            }
            let share = if spread > 0.0 { (mean - least) / spread } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
            let index = (share * 7.0).round() as usize;
            BARS.get(index).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_rises_with_its_values() {
        assert_eq!(course(&[0.0, 1.0, 2.0, 3.5, 7.0], 0.0, 7.0), "▁▂▃▅█");
        assert_eq!(course(&[1.0, 1.0], 1.0, 1.0), "▁▁");
        assert_eq!(course(&[], 0.0, 0.0), "");
        assert_eq!(course(&[1.0, 2.0, f64::NAN, f64::INFINITY], 1.0, 2.0), "▁█××");
        assert_eq!(course(&[f64::NAN], f64::NAN, f64::NAN), "×");
        assert_eq!(course(&vec![1.0; 1000], 0.0, 1.0).chars().count(), 20);
    }
}
