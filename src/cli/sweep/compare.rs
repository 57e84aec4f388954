//! `sweep compare`: the points of sweeps side by side, best first.

use serde::Serialize;
use serde_json::Value;

use crate::api::CompareRequest;
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Column, laid_out, table, width};
use crate::cli::text::{TerminalText, length, one_line, spelled, value};
use crate::domain::checkpoint::Goal;
use crate::domain::sweep::compare::{ComparedPoint, Comparison, Group, short_names};

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Sweeps: numbers, or names for the newest of each name
    #[arg(value_name = "SWEEP", required_unless_present = "experiment")]
    sweeps: Vec<String>,
    /// All sweeps of this experiment
    #[arg(long, value_name = "TAG")]
    experiment: Option<String>,
    /// What to compare by; otherwise the metric of the sweep's objective
    #[arg(long)]
    metric: Option<String>,
    /// Which values are better: minimize or maximize; otherwise as the objective says, or minimize
    #[arg(long, value_parser = goal)]
    goal: Option<Goal>,
    /// Sum up the points by their value of this parameter
    #[arg(long, value_name = "PARAMETER")]
    by: Option<String>,
    /// Print comma-separated values, with a heading
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn goal(text: &str) -> Result<Goal, String> {
    Goal::from_word(text).ok_or_else(|| format!("one of {}", Goal::WORDS.join(", ")))
}

pub(super) fn compare(context: &Context, args: &CompareArgs) -> Result<Exit, CliError> {
    let request = CompareRequest {
        sweeps: args.sweeps.clone(),
        experiment: args.experiment.clone(),
        metric: args.metric.clone(),
        goal: args.goal,
    };
    let compared: Comparison = Context::block_on(async {
        Client::connect(context).await?.post("/compare", &request).await
    })?;
    match &args.by {
        Some(named) => by(context, &compared, named, args.csv)?,
        None if context.global.json => context.output().json(&compared)?,
        None if args.csv => context.output().bytes(&as_csv(&compared)?)?,
        None => {
            context.output().text(&shown(&compared, width()))?;
            context.say(&one_line(&format!(
                "BEST, LAST: {}, {} is better, and STEP that of the best; CHARGE in {}s",
                compared.metric,
                if compared.goal == Goal::Minimize { "less" } else { "more" },
                compared.charge_unit
            )));
        }
    }
    Ok(Exit::Done)
}

const POINT: Column = Column::Whole("POINT");
const FIGURES: [Column; 7] = [
    Column::Whole("BEST"),
    Column::Whole("LAST"),
    Column::Whole("STEP"),
    Column::Whole("RAN"),
    Column::Whole("NODE-H"),
    Column::Whole("CHARGE"),
    Column::Whole("STATE"),
];

/// The table: a column for each parameter that varies where that fits, else one for all of them.
fn shown(compared: &Comparison, width: u16) -> String {
    let keys = compared.varying();
    let names: Vec<String> =
        short_names(&keys).iter().map(|name| TerminalText(name).to_string()).collect();
    let each: Vec<Vec<String>> = compared
        .points
        .iter()
        .map(|point| keys.iter().map(|key| cell(point.value(key))).collect())
        .collect();
    let rows = |parameters: Vec<Vec<String>>| -> Vec<Vec<String>> {
        let row = |(point, parameters): (&ComparedPoint, Vec<String>)| {
            let mut row = vec![format!("{}:{}", point.sweep, point.point)];
            row.extend(parameters);
            row.extend(figures(point));
            row
        };
        compared.points.iter().zip(parameters).map(row).collect()
    };
    let mut header = vec![POINT];
    header.extend(names.iter().map(|name| Column::Whole(name)));
    header.extend(FIGURES);
    let wide = table(&header, rows(each.clone()), u16::MAX);
    if wide.lines().all(|line| line.chars().count() <= usize::from(width)) {
        return wide;
    }
    let together = |values: Vec<String>| {
        let pairs = names.iter().zip(values).filter(|(_, value)| value != "-");
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
        vec![pairs.join(" ")]
    };
    let mut header = vec![POINT, Column::Elastic("PARAMETERS")];
    header.extend(FIGURES);
    laid_out(&header, rows(each.into_iter().map(together).collect()), width, None)
}

fn cell(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".to_owned(), spelled)
}

fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), value)
}

fn figures(point: &ComparedPoint) -> [String; 7] {
    let dash = || "-".to_owned();
    [
        optional(point.best),
        optional(point.last),
        point.step.map_or_else(dash, |step| step.to_string()),
        if point.elapsed_seconds > 0.0 { length(point.elapsed_seconds) } else { dash() },
        format!("{:.2}", point.node_hours),
        point.charge.map_or_else(dash, |charge| format!("{charge:.2}")),
        point.state.clone(),
    ]
}

/// The points by their value of a parameter.
fn by(context: &Context, compared: &Comparison, named: &str, csv: bool) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Grouped<'a> {
        metric: &'a str,
        goal: Goal,
        charge_unit: &'a str,
        by: &'a str,
        groups: Vec<Group>,
    }
    let Some(key) = compared.key(named) else {
        let message = format!("`{}` is no parameter of the sweep", TerminalText(named));
        let keys = TerminalText(&compared.parameters.join(", ")).to_string();
        return Err(CliError::usage(message).hint(format!("there are {keys}")));
    };
    let groups = compared.by(key);
    if context.global.json {
        let Comparison { metric, goal, charge_unit, .. } = compared;
        let grouped = Grouped { metric, goal: *goal, charge_unit, by: key, groups };
        return context.output().json(&grouped);
    }
    if csv {
        return context.output().bytes(&groups_as_csv(key, &groups)?);
    }
    let heading = TerminalText(named).to_string();
    let header = [
        Column::Elastic(&heading),
        Column::Whole("POINTS"),
        Column::Whole("COMPLETED"),
        Column::Whole("BEST"),
        Column::Whole("MEAN"),
        Column::Whole("NODE-H"),
        Column::Whole("CHARGE"),
    ];
    let row = |group: &Group| {
        vec![
            cell(group.value.as_ref()),
            group.points.to_string(),
            group.completed.to_string(),
            optional(group.best),
            optional(group.mean),
            format!("{:.2}", group.node_hours),
            group.charge.map_or_else(|| "-".to_owned(), |charge| format!("{charge:.2}")),
        ]
    };
    context.output().table(&header, groups.iter().map(row).collect())?;
    context.say(&one_line(&format!(
        "BEST, MEAN: of the best {} of the completed points",
        compared.metric
    )));
    Ok(())
}

/// A value as others read it: text as it is, everything else as JSON.
fn plain(value: Option<&Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.map(text).unwrap_or_default()
}

fn number(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Every point with every parameter, by its whole key.
fn as_csv(compared: &Comparison) -> Result<Vec<u8>, CliError> {
    let fixed = ["sweep", "point", "run", "state", "best", "step", "last"].into_iter();
    let took = ["elapsed_seconds", "node_hours", "charge"].into_iter();
    let keys = compared.parameters.iter().map(String::as_str);
    let heading = fixed.chain(took).chain(keys).map(str::to_owned).collect();
    let row = |point: &ComparedPoint| {
        let mut row = vec![
            point.sweep.to_string(),
            point.point.to_string(),
            point.run.to_string(),
            point.state.clone(),
            number(point.best),
            number(point.step),
            number(point.last),
            point.elapsed_seconds.to_string(),
            point.node_hours.to_string(),
            number(point.charge),
        ];
        row.extend(compared.parameters.iter().map(|key| plain(point.value(key))));
        row
    };
    written(heading, compared.points.iter().map(row))
}

fn groups_as_csv(key: &str, groups: &[Group]) -> Result<Vec<u8>, CliError> {
    let heading = [key, "points", "completed", "best", "mean", "node_hours", "charge"];
    let row = |group: &Group| {
        vec![
            plain(group.value.as_ref()),
            group.points.to_string(),
            group.completed.to_string(),
            number(group.best),
            number(group.mean),
            group.node_hours.to_string(),
            number(group.charge),
        ]
    };
    written(heading.map(str::to_owned).to_vec(), groups.iter().map(row))
}

fn written(
    heading: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<Vec<u8>, CliError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(heading).chain(rows) {
        writer.write_record(row).map_err(|error| CliError::internal(&error))?;
    }
    writer.into_inner().map_err(|error| CliError::internal(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compared(parameters: &[&str]) -> Comparison {
        let keys: Vec<String> = parameters.iter().map(|key| (*key).to_owned()).collect();
        let point = |number: u32, best: Option<f64>, state: &str| ComparedPoint {
            sweep: 102,
            point: number,
            run: i64::from(number) + 103,
            state: state.to_owned(),
            parameters: keys.iter().map(|key| (key.clone(), json!(number))).collect(),
            best,
            step: best.map(|_| 1_200),
            last: best.map(|best| best + 0.25),
            elapsed_seconds: 3_725.0,
            node_hours: 12.5,
            charge: Some(25.0),
        };
        let points = vec![point(1_017, Some(0.3125), "completed"), point(3, None, "failed")];
        let (metric, charge_unit) = ("val_loss".to_owned(), "unit".to_owned());
        Comparison { metric, goal: Goal::Minimize, charge_unit, parameters: keys, points }
    }

    #[test]
    fn points_read_well_at_80_columns() {
        insta::assert_snapshot!(shown(&compared(&["args.lr"]), 80));
        let many = ["args.learning_rate", "args.model.width", "args.x", "compute.nodes"];
        let text = shown(&compared(&many), 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn csv_has_every_parameter_by_its_key() {
        let mut compared = compared(&["args.lr", "args.text"]);
        for point in &mut compared.points {
            point.parameters = json!({ "args.lr": 1e-4, "args.text": "a,b" });
        }
        compared.points[1].parameters = json!({ "args.lr": 1 });
        let text = String::from_utf8(as_csv(&compared).unwrap()).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "sweep,point,run,state,best,step,last,elapsed_seconds,node_hours,charge,args.lr,args.text",
                "102,1017,1120,completed,0.3125,1200,0.5625,3725,12.5,25,0.0001,\"a,b\"",
                "102,3,106,failed,,,,3725,12.5,25,1,",
            ]
        );
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        let mut compared = compared(&["args.\u{1b}[2J", "args.b"]);
        compared.points[0].parameters = json!({ "args.\u{1b}[2J": "\u{9b}31m", "args.b": "\n" });
        for width in [80, 200] {
            let text = shown(&compared, width);
            let control = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(control, None, "{}", text.escape_debug());
        }
    }
}
