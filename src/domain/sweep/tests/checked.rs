//! What is wrong with sweeps, and what they cost.

use super::{asker, check_problems, checked, checked_of, request, site, told};
use crate::domain::request::Change;
use crate::domain::sweep::Cost;

/// A sweep of these parameters, which begin in line 4.
#[track_caller]
fn check(parameters: &str, expected: &[&str]) {
    check_problems(&format!("[sweep.parameters]\n{parameters}\n"), expected);
}

#[test]
fn what_a_parameter_cannot_be_is_told() {
    check("args.a = []", &["4:6 `args.a` has no values"]);
    check(
        "args.a = 1",
        &[
            "4:10 `args.a` must be an array of values, or a table such as { range = [0, 10] }, not an integer",
        ],
    );
    check(
        "args.a = {}",
        &["4:10 `args.a` needs one of choice, range, uniform, log_uniform, integer"],
    );
    check(
        "args.a = { rnage = [0, 1] }",
        &[
            "4:10 `args.a` needs one of choice, range, uniform, log_uniform, integer",
            "4:12 unknown key `args.a.rnage`",
        ],
    );
    check(
        "args.a = { choice = [1], range = [0, 1] }",
        &["4:10 `args.a` needs one of choice, range, uniform, log_uniform, integer"],
    );
    check(
        "args.a = { choice = [1], step = 1 }",
        &["4:33 `args.a.step` stands only beside `range`"],
    );
    check(
        "args.a = { range = [0] }",
        &["4:20 `args.a.range` must be two numbers, as in [0, 10], not an array"],
    );
    check("args.a = [1]\n'args.a' = [2]", &["5:1 `args.a` is a parameter twice"]);
    check(
        "args.a = { uniform = [0, 1] }",
        &["4:6 `args.a` is drawn at random, and the method is `grid`"],
    );
}

#[test]
fn what_a_range_cannot_be_is_told() {
    let none = "4:21 `args.a`: the range has no values";
    check("args.a = { range = [10, 0] }", &[none]);
    check("args.a = { range = [0, 0] }", &[none]);
    check("args.a = { range = [0, 9], step = 0 }", &[none]);
    check("args.a = { range = [0, 9], step = -1 }", &[none]);
    let number = "`args.a`: a range is made of numbers of at most 18 digits behind the point";
    check(
        "args.a = { range = [0, inf], step = nan }",
        &[&format!("4:24 {number}"), &format!("4:37 {number}")],
    );
    check(
        "args.a = { range = [0, 1e18] }",
        &["4:21 `args.a`: the range has 1000000000000000000 values, more than 100000"],
    );
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let check = |parameter: &str, expected: &str| {
        let head = "[sweep]\nmethod = 'random'\nsamples = 2\n";
        check_problems(&format!("{head}[sweep.parameters]\n{parameter}\n"), &[expected]);
    };
    check(
        "args.a = { uniform = [1, 0] }",
        "7:23 `args.a`: the first number must be less than the second",
    );
    check("args.a = { uniform = [0, nan] }", "7:26 `args.a`: these must be finite numbers");
    check("args.a = { uniform = [-1e308, 1e308] }", "7:23 `args.a`: these are too far apart");
    check(
        "args.a = { log_uniform = [0, 1] }",
        "7:27 `args.a`: `log_uniform` needs numbers above 0",
    );
    check("args.a = { log_uniform = [1e-308, 1e308] }", "7:27 `args.a`: these are too far apart");
    check("args.a = { integer = [0, 1.5] }", "7:26 `args.a`: these must be whole numbers");
}

#[test]
fn what_a_sweep_cannot_be_is_told() {
    check_problems("[sweep]\n", &["3:2 the sweep has no parameters"]);
    check_problems("[sweep]\nmethod = 'gird'\n", &["4:10 `sweep.method` cannot be `gird`"]);
    check_problems("[sweep]\nmehtod = 'grid'\n", &["4:1 unknown key `sweep.mehtod`"]);
    check_problems(
        "[sweep]\nsamples = 3\nparameters = { args.a = [1] }\n",
        &["4:11 `sweep.samples` has no meaning with the method `grid`"],
    );
    check_problems(
        "[sweep]\nmethod = 'random'\nparameters = { args.a = [1] }\n",
        &["3:2 the method `random` needs `samples`"],
    );
    check_problems(
        "[sweep]\nmethod = 'list'\nparameters = { args.a = [1] }\n",
        &[
            "3:2 the method `list` needs `points` or a `file`",
            "5:21 `sweep.parameters` has no meaning with the method `list`",
        ],
    );
    check_problems("[sweep]\nmethod = 'list'\npoints = []\n", &["3:2 the sweep has no points"]);
    check_problems(
        "[sweep]\nmethod = 'list'\npoints = [ { args.a = 1, 'args.a' = 2 } ]\n",
        &["5:26 `args.a` is given twice at one point"],
    );
    check_problems(
        "[sweep]\nobjective = { metric = '' }\nparameters = { args.a = [1] }\n",
        &[
            "4:13 `sweep.objective` needs the name of a `metric`",
            "4:13 `sweep.objective` needs a `goal`: `minimize` or `maximize`",
        ],
    );
    check_problems(
        "[sweep]\nparameters = { args.a = [1] }\n[sweep.early_stopping]\nmethod = 'asha'\n",
        &[
            "5:1 `sweep.early_stopping` needs `sweep.objective`: by what points are compared",
            "5:1 `sweep.early_stopping` needs `min_steps`: at which step points are compared first",
        ],
    );
    check_problems(
        "[sweep]\nobjective = { metric = 'a', goal = 'maximize' }\nparameters = { args.a = [1] }\n\
         [sweep.early_stopping]\nmin_steps = 0\nmax_steps = 0\nreduction_factor = 1\n",
        &[
            "7:13 `sweep.early_stopping.min_steps` has to be at least 1",
            "8:13 `sweep.early_stopping.max_steps` has to be more than `min_steps`: no point would be compared",
            "9:20 `sweep.early_stopping.reduction_factor` has to be at least 2",
        ],
    );
    check_problems(
        "[sweep]\nmax_parallel = 0\nparameters = { args.a = [1] }\n",
        &["4:16 `sweep.max_parallel` is 0, outside 1 … 1000000"],
    );
}

#[test]
fn what_all_points_share_is_no_parameter() {
    check("name = ['a', 'b']", &["4:1 `name` cannot be a parameter: a sweep has one name"]);
    check(
        "project = ['a']",
        &["4:1 `project` cannot be a parameter: one project pays for a sweep"],
    );
    check(
        "sweep.seed = [1]",
        &["4:7 `sweep.seed` cannot be a parameter: a sweep cannot change itself"],
    );
    check(
        "code.path = ['a']",
        &["4:6 `code.path` cannot be a parameter: the code of a sweep is captured once"],
    );
    // A table would say, or leave out, where it comes from.
    check(
        "code = [{ path = 'a' }, { entry_point = 'b' }]",
        &["4:1 `code` cannot be a parameter: the code of a sweep is captured once"],
    );
}

#[test]
fn zips_and_conditions_are_looked_at() {
    let zip = "[[sweep.zip]]\nargs.a = [1, 2]\nargs.b = [1]\n";
    check_problems(zip, &["5:6 `args.b` has 1 values, and what it is zipped with has 2"]);
    let when = "args.a = [1]\nargs.b = { choice = [1], when = { args.c = 1 } }\nargs.c = [1]";
    check(when, &["5:40 `args.c` is no parameter that stands before this"]);
    let when = "args.a = ['x']\nargs.b = { choice = [1], when = { args.a = 'y' } }";
    check(when, &["5:44 `args.a` never is \"y\""]);
    let all = "args.a = [1]\n[[sweep.exclude]]\nargs.a = 1";
    check(all, &["3:2 the points that are left out leave none"]);
    let never = "args.a = [1]\n[[sweep.exclude]]\nargs.a = 2";
    check(never, &["6:10 `args.a` never is 2"]);
    check_problems(
        "[sweep]\nmethod = 'random'\nsamples = 2\nparameters = { args.a = [1] }\n[[sweep.exclude]]\nargs.a = 1\n",
        &["3:2 point 0 was drawn 1000 times, and always left out"],
    );
}

#[test]
fn too_many_points_are_counted_and_not_made() {
    let hundred = |name: &str| format!("args.{name} = {{ range = [0, 100] }}\n");
    let parameters = ["a", "b", "c", "d"].map(hundred).concat();
    check(&parameters, &["3:2 the sweep has 100000000 points, more than 100000"]);
    let exclude = format!("{parameters}[[sweep.exclude]]\nargs.a = 1");
    check(&exclude, &["3:2 the sweep has more than 100000 points"]);
    let many: Vec<String> = (0..65).map(|number| format!("args.a{number} = [1]\n")).collect();
    let many = many.concat();
    check(&many, &["68:6 65 parameters, more than 64"]);
}

#[test]
fn a_key_that_is_none_is_told_with_a_suggestion() {
    let (family, outcome) = checked("[sweep.parameters]\ncompute.clas = ['a100', 'free']\n");
    assert_eq!(told(&family.sources, &outcome.problems), ["4:9 unknown key `compute.clas`"]);
    assert_eq!(outcome.problems[0].help.as_deref(), Some("did you mean `class`?"));
    let (_, outcome) = checked("[sweep.parameters]\narg.lr = [1]\n");
    assert_eq!(outcome.problems[1].help.as_deref(), Some("did you mean `args`?"));
    check("'arg.lr' = [1]", &["4:1 unknown key `arg`"]);
}

#[test]
fn a_faulty_point_is_told_with_its_parameters() {
    check(
        "compute.nodes = [1, 2, 64, 65]\nargs.a = [1, 2]",
        &[
            "4:24 nodes asked: 64; class `a100` gives at most 16 (points 4, 5; 4 has compute.nodes = 64, args.a = 1)",
            "4:28 nodes asked: 65; class `a100` gives at most 16 (points 6, 7; 6 has compute.nodes = 65, args.a = 1)",
        ],
    );
    check(
        "args.a = ['ok', '{ouptut}', 3]\nargs.b = { range = [0, 10] }",
        &[
            "4:17 unknown placeholder `{ouptut}` (points 10, 11, 12 and 7 more; 10 has args.a = \"{ouptut}\", args.b = 0)",
        ],
    );
    // Also where the first point is the faulty one, and beside what is wrong everywhere.
    check(
        "args.a = ['{x}', 2]\n[compute]\nnodes = 17",
        &[
            "4:11 unknown placeholder `{x}` (point 0: args.a = \"{x}\")",
            "6:9 nodes asked: 17; class `a100` gives at most 16",
        ],
    );
    check(
        "environment.variables.X = [1, [2]]",
        &["4:31 `X` must be one value, not an array (point 1: environment.variables.X = [2])"],
    );
}

#[test]
fn the_spec_is_checked_beside_a_faulty_sweep() {
    check(
        "args.a = []\n[compute]\nnodes = 0",
        &["4:6 `args.a` has no values", "6:9 `compute.nodes` is 0, outside 1 … 1000000"],
    );
}

#[test]
fn the_most_that_a_sweep_costs_is_known() {
    let cost = |parameters: &str| {
        let (family, outcome) = checked(&format!("[sweep.parameters]\n{parameters}\n"));
        assert_eq!(told(&family.sources, &outcome.problems), Vec::<String>::new());
        outcome.cost.unwrap()
    };
    assert_eq!(
        cost("args.a = [1, 2, 3]\ncompute.nodes = [1, 2]"),
        Cost {
            points: 6,
            resource_sets: 2,
            node_hours_max: Some(36.0),
            charge_max: Some(54.0),
            open: false
        }
    );
    assert_eq!(
        cost("environment.variables.X = [1, 2, 3]\ndataset = ['text', '/data/x']"),
        Cost {
            points: 6,
            resource_sets: 1,
            node_hours_max: Some(24.0),
            charge_max: Some(36.0),
            open: false
        },
        "what trainings are given needs no other job"
    );
    assert_eq!(
        cost("compute.class = ['a100', 'free']"),
        Cost {
            points: 2,
            resource_sets: 2,
            node_hours_max: Some(5.0),
            charge_max: None,
            open: false
        }
    );
    assert_eq!(
        cost("args.a = [1, 2]\ncompute.class = ['gpus']"),
        Cost {
            points: 2,
            resource_sets: 1,
            node_hours_max: Some(2.0),
            charge_max: Some(8.0),
            open: false
        },
        "GPUs are what this class charges"
    );
    assert_eq!(
        cost("args.a = [1, 2]\ncompute.class = ['gpus']\ncompute.time_limit = ['1m']").charge_max,
        Some(1.0),
        "each point costs the minimum"
    );
}

#[test]
fn what_is_no_parameter_is_left_out_of_conditions() {
    let help = |parameters: &str, expected: &str| {
        let (family, outcome) = checked(&format!("[sweep.parameters]\n{parameters}\n"));
        assert_eq!(told(&family.sources, &outcome.problems), [expected]);
        outcome.problems[0].help.clone()
    };
    let other = "args.lr = [1]\n[[sweep.exclude]]\nargs.batch_size = 512";
    assert_eq!(help(other, "6:6 `args.batch_size` is no parameter of the sweep"), None);
    let near = "args.size = [1]\n[[sweep.exclude]]\nargs.sise = 1";
    let did_you = Some("did you mean `args.size`?".to_owned());
    assert_eq!(help(near, "6:6 `args.sise` is no parameter of the sweep"), did_you);
    let when = "args.a = { choice = [1], when = { compute.nodes = 2 } }";
    assert_eq!(help(when, "4:43 `compute.nodes` is no parameter that stands before this"), None);
}

#[test]
fn drawing_anew_has_an_end() {
    let values = format!("[{}'y']", "'x', ".repeat(19));
    check_problems(
        &format!(
            "[sweep]\nmethod = 'random'\nsamples = 100000\nparameters = {{ args.a = {values} }}\n\
             [[sweep.exclude]]\nargs.a = 'x'\n"
        ),
        &["3:2 1000000 draws are not enough for 100000 points: nearly all are left out"],
    );
}

#[test]
fn a_flag_does_not_set_what_each_point_has_of_its_own() {
    let told_of = |parameters: &str, key: &str, value: &str| {
        let mut request = request(&format!("[sweep.parameters]\n{parameters}\n"), None);
        let shown = format!("--set {key}={value}");
        request.changes.push(Change { shown, key: key.into(), value: value.into() });
        let (family, outcome) = checked_of(&request);
        let point = family.points.points.first().cloned().unwrap_or_default();
        let (site, asker) = (site(), asker());
        let of_point = family.resolve(&point, request.context(&site, &asker));
        assert_eq!(of_point.problems, outcome.problems, "a point by itself is refused too");
        told(&family.sources, &outcome.problems)
    };
    let refused = |key: &str| {
        [format!(
            "the command line 1:1 `{key}` is a parameter of the sweep: each point has its own"
        )]
    };
    assert_eq!(told_of("args.seed = [1, 2]", "args.seed", "99"), refused("args.seed"));
    assert_eq!(
        told_of("compute.nodes = [1, 2]", "compute", "{ nodes = 2 }"),
        refused("compute.nodes")
    );
    assert_eq!(told_of("dataset = ['text', '/data/x']", "dataset", "text"), refused("dataset"));
    let others = [("args.lr", "1"), ("args.seed.of", "1"), ("sweep.parameters.args.seed", "[3]")];
    for (key, value) in others {
        assert_eq!(told_of("args.seed = [1, 2]", key, value), Vec::<String>::new(), "{key}");
    }
}
