//! Sweeps that are told their points: what may be declared, and what may be told.

use jiff::Timestamp;

use super::{asker, check_problems, checked, request, site, told};
use crate::domain::sweep::{Cost, Family};

const OPEN: &str = "[sweep]\nmethod = 'open'\nmax_points = 10\n[sweep.parameters]\n";

/// An open sweep of these parameters, which begin in line 7.
#[track_caller]
fn check(parameters: &str, expected: &[&str]) {
    check_problems(&format!("{OPEN}{parameters}\n"), expected);
}

#[test]
fn what_an_open_sweep_cannot_be_is_told() {
    check(
        "args.a = { uniform = [0, 1] }\nargs.b = { integer = [1, 3], when = { args.a = 1 } }",
        &[],
    );
    check_problems(
        "[sweep]\nmethod = 'open'\nparameters = { args.a = [1] }\n",
        &["3:2 the method `open` needs `max_points`"],
    );
    check_problems(
        "[sweep]\nmethod = 'open'\nmax_points = 200000\nparameters = { args.a = [1] }\n",
        &["5:14 `sweep.max_points` is 200000, more than 100000"],
    );
    check_problems(
        "[sweep]\nmax_points = 3\nparameters = { args.a = [1] }\n",
        &["4:14 `sweep.max_points` has no meaning with the method `grid`"],
    );
    check_problems(
        "[sweep]\nmethod = 'open'\nmax_points = 3\n",
        &["3:2 the sweep has no parameters"],
    );
    check_problems(
        "[sweep]\nmethod = 'open'\nmax_points = 3\nsamples = 3\nparameters = { args.a = [1] }\n",
        &["6:11 `sweep.samples` has no meaning with the method `open`"],
    );
    check_problems(
        "[schedule]\ncron = '0 0 * * *'\n[sweep]\nmethod = 'open'\nmax_points = 3\nparameters = { args.a = [1] }\n",
        &["3:1 an open sweep has no `[schedule]`: whoever tells it points submits it"],
    );
    // What is asked of the scheduler has few values, and all of them are checked.
    check(
        "compute.nodes = { uniform = [1, 4] }",
        &[
            "7:9 `compute.nodes` is asked of the scheduler, and in an open sweep its values are listed",
        ],
    );
    check(
        "args.a = [1, 2]\ncompute.nodes = { choice = [1, 2], when = { args.a = 1 } }",
        &["8:9 `compute.nodes` is asked of the scheduler, and in an open sweep all points have it"],
    );
    check(
        "compute.nodes = { integer = [1, 65] }",
        &["3:2 `compute.nodes`: 65 sets of resources, more than 64"],
    );
    check(
        "compute.nodes = [1, 17]\nargs.a = ['{nope}', 'b']",
        &[
            "7:21 nodes asked: 17; class `a100` gives at most 16 (where compute.nodes = 17, args.a = \"{nope}\")",
            "8:11 unknown placeholder `{nope}` (where compute.nodes = 1, args.a = \"{nope}\")",
        ],
    );
}

#[test]
fn it_costs_at_most_as_many_of_the_dearest_as_may_be_told() {
    let (_, outcome) =
        checked(&format!("{OPEN}compute.nodes = [1, 4, 2]\nargs.a = {{ uniform = [0, 1] }}\n"));
    assert_eq!(outcome.problems, []);
    let (node_hours_max, charge_max) = (Some(160.0), Some(240.0));
    let cost = Cost { points: 10, resource_sets: 3, node_hours_max, charge_max, open: true };
    assert_eq!(outcome.cost, Some(cost));
    let sets: Vec<(u32, usize)> =
        outcome.sets.iter().map(|(set, count)| (set.compute.nodes, *count)).collect();
    assert_eq!(sets, [(4, 10)]);
}

/// What is planned of points that are told: their sets and arguments; or what is wrong with them.
fn planned(parameters: &str, points: &str) -> Result<Vec<(u32, Vec<String>)>, Vec<String>> {
    let (site, asker) = (site(), asker());
    let request = request(&format!("{OPEN}{parameters}\n"), None);
    let family = Family::read(&request).unwrap();
    let context = request.context(&site, &asker);
    let plan = family.plan(family.about(&request).unwrap(), context).unwrap();
    assert_eq!(plan.points, []);
    let (told_family, problems) = family.told(points);
    if !problems.is_empty() {
        return Err(told(&told_family.sources, &problems));
    }
    let planned = told_family
        .plan_told((context, Timestamp::UNIX_EPOCH))
        .map_err(|problems| told(&told_family.sources, &problems))?;
    let words = |args: &[crate::domain::word::Word]| args.iter().map(ToString::to_string).collect();
    assert!(planned.iter().all(|point| (point.set as usize) < plan.sets.len()));
    Ok(planned.iter().map(|point| (point.set, words(&point.given.args))).collect())
}

#[test]
fn what_is_told_is_of_a_set_that_is_known() {
    let parameters = "args.a = { uniform = [0, 10] }\ncompute.nodes = { integer = [1, 4] }\n\
                      args.b = { choice = ['x', 'y'] }\ncompute.class = ['a100', 'gpus']";
    let points = "{\"args.b\": \"y\", \"compute.class\": \"gpus\", \"compute.nodes\": 3, \"args.a\": 1e0}\n\
                  {\"args.b\": \"x\", \"compute.class\": \"a100\", \"compute.nodes\": 1, \"args.a\": 7}";
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        planned(parameters, points),
        Ok(vec![(5, words(&["--a", "1e0", "--b", "y"])), (0, words(&["--a", "7", "--b", "x"])),])
    );
}

#[test]
fn what_cannot_be_told_is_said_at_its_line() {
    let parameters = "args.a = { integer = [0, 10] }\nargs.b = { choice = [[1], [2]] }\n\
                      args.c = { range = [0, 1], step = 0.5, when = { args.a = 3 } }\nargs.d = ['{x}', 'd']";
    let check = |points: &str, expected: &[&str]| {
        let expected = expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(planned(&parameters.replace("'{x}', ", ""), points), Err(expected), "{points}");
    };
    check(
        "{\"args.a\": 11, \"args.b\": [3], \"args.d\": \"d\"}",
        &[
            "the points 1:1 `args.a` cannot be 11: it is between 0 and 10",
            "the points 1:1 `args.b` cannot be [3]: that is none of its values",
        ],
    );
    check(
        "{\"args.a\": 3, \"args.b\": [1], \"args.d\": \"d\"}\n{\"args.a\": 1.0, \"args.b\": [1], \"args.d\": \"d\"}",
        &[
            "the points 1:1 `args.c` is missing",
            "the points 2:1 `args.a` cannot be 1.0: it is a whole number",
        ],
    );
    check("{\"args.a\": 1,", &["the points 1:1 this line is no JSON: EOF while parsing a value"]);
    check("nothing", &["the points 1:1 this line is no JSON: expected ident"]);
}
