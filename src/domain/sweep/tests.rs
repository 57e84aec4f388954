//! Sweeps as they are written: text in, points out, or all problems at their places.

mod alone;
mod checked;
mod files;
mod open;
mod planned;
mod properties;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::domain::document::{Node, parse};
use crate::domain::problem::{Problem, SourceId, Sources};
use crate::domain::request::SpecRequest;
use crate::domain::resolve::{Asker, Context};
use crate::domain::site::{Layer, LayerKind, Site, effective};
use crate::domain::sweep::{Family, FamilyOutcome};

const SITE: &str = r#"
[site]
default_class = "a100"
[cluster.main]
[class.a100]
gpus_per_node = 4
partition = "gpu"
max_nodes = 16
max_time = "24h"
default_time = "4h"
rate = 1.5
[class.free]
partition = "free"
default_time = "1h"
[class.gpus]
gpus_per_node = 4
partition = "gpus"
default_time = "1h"
rate = 1.0
charge = { by = "gpu_hours", minimum = 0.5 }
[dataset.text]
path = "/data/text"
"#;

/// The least that a spec must say; the sweep begins in line 3.
const CODE: &str = "[code]\nentry_point = 'train.py'\n";

fn request(text: &str, file: Option<&str>) -> SpecRequest {
    SpecRequest {
        file: "run.toml".into(),
        text: format!("{CODE}{text}"),
        base: "/home/anna".into(),
        stem: "run".into(),
        changes: Vec::new(),
        points: file.map(|text| Ok(text.to_owned())),
        point: None,
    }
}

fn site() -> Site {
    let source = SourceId(0);
    let (table, problems) = parse(SITE, source);
    assert_eq!(problems, []);
    let (site, _, problems) = effective(vec![Layer { kind: LayerKind::User, source, table }]);
    assert_eq!(problems, []);
    site
}

fn asker() -> Asker {
    let (user, group, groups) = ("anna".into(), "hpc".into(), Vec::new());
    Asker { user, uid: 1007, group, groups, home: "/home/anna".into() }
}

fn checked_of(request: &SpecRequest) -> (Family, FamilyOutcome) {
    let (site, asker) = (site(), asker());
    let family = Family::read(request).unwrap();
    let context: Context<'_> = request.context(&site, &asker);
    let outcome = family.check(context, Timestamp::UNIX_EPOCH);
    (family, outcome)
}

fn checked(text: &str) -> (Family, FamilyOutcome) {
    checked_of(&request(text, None))
}

fn told(sources: &Sources, problems: &[Problem]) -> Vec<String> {
    let mut problems: Vec<&Problem> = problems.iter().collect();
    problems.sort_by_key(|problem| problem.place);
    let line = |problem: &&Problem| match problem.place {
        Some(place) => {
            let at = sources.locate(place);
            let file =
                if place.source == SourceId(0) { String::new() } else { format!("{} ", at.name) };
            format!("{file}{}:{} {}", at.line, at.column, problem.message)
        }
        None => format!("- {}", problem.message),
    };
    problems.iter().map(line).collect()
}

/// All that is wrong with a sweep, whose text begins in line 3.
#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    let (family, outcome) = checked(text);
    assert_eq!(told(&family.sources, &outcome.problems), expected, "{text}");
}

/// The points, each as `key=value key=value`.
fn listed(family: &Family) -> Vec<String> {
    let shown = |point| {
        let values = family.points.values(point);
        let one = |(key, value): (&_, &_)| {
            let (key, value): (
                &crate::domain::problem::At<String>,
                &crate::domain::problem::At<_>,
            ) = (key, value);
            format!(
                "{}={}",
                key.value.rsplit('.').next().unwrap(),
                super::condition::shown(&value.value)
            )
        };
        values.map(one).collect::<Vec<_>>().join(" ")
    };
    family.points.points.iter().map(shown).collect()
}

#[track_caller]
fn check_points(text: &str, expected: &[&str]) {
    let (family, outcome) = checked(text);
    assert_eq!(told(&family.sources, &outcome.problems), Vec::<String>::new(), "{text}");
    assert_eq!(listed(&family), expected, "{text}");
}

#[test]
fn a_grid_has_every_combination_and_its_last_parameter_varies_fastest() {
    let expected = ["lr=1e-4 seed=0", "lr=1e-4 seed=1", "lr=3e-4 seed=0", "lr=3e-4 seed=1"];
    for sweep in [
        "[sweep.parameters]\n'args.lr' = [1e-4, 3e-4]\n'args.seed' = { range = [0, 2] }\n",
        "[sweep]\nmethod = 'grid'\n[sweep.parameters]\nargs.lr = [1e-4, 3e-4]\nargs.seed = [0, 1]\n",
        "[sweep.parameters.args]\nlr = { choice = [1e-4, 3e-4] }\nseed = { range = [0, 2], step = 1 }\n",
    ] {
        check_points(sweep, &expected);
    }
}

#[test]
fn zipped_parameters_vary_together_and_slower() {
    check_points(
        "[sweep.parameters]\nargs.seed = [0, 1]\n[[sweep.zip]]\nargs.width = [8, 16]\nargs.lr = [0.1, 0.2]\n",
        &[
            "width=8 lr=0.1 seed=0",
            "width=8 lr=0.1 seed=1",
            "width=16 lr=0.2 seed=0",
            "width=16 lr=0.2 seed=1",
        ],
    );
}

#[test]
fn a_parameter_may_exist_only_where_another_has_a_value() {
    check_points(
        "[sweep.parameters]\nargs.opt = ['sgd', 'adam', 'lion']\n\
         args.momentum = { choice = [0.0, 0.9], when = { 'args.opt' = 'sgd' } }\n\
         args.beta = { choice = [0.99], when = { args.opt = ['adam', 'lion'] } }\n\
         args.x = { choice = [1], when = { args.momentum = 0.9 } }\n",
        &[
            "opt=\"sgd\" momentum=0.0",
            "opt=\"sgd\" momentum=0.9 x=1",
            "opt=\"adam\" beta=0.99",
            "opt=\"lion\" beta=0.99",
        ],
    );
}

#[test]
fn points_may_be_left_out() {
    check_points(
        "[sweep.parameters]\nargs.n = [1, 2, 3]\nargs.m = ['a', 'b']\n[[sweep.exclude]]\nargs.n = [1.0, 2]\n\
         args.m = 'b'\n[[sweep.exclude]]\nargs.n = 3\n",
        &["n=1 m=\"a\"", "n=2 m=\"a\""],
    );
}

#[test]
fn ranges_end_before_their_end_and_count_exactly() {
    check_points(
        "[sweep.parameters]\nargs.p = { range = [0.0, 0.4], step = 0.1 }\n",
        &["p=0.0", "p=0.1", "p=0.2", "p=0.3"],
    );
}

#[test]
fn random_points_are_what_they_ever_were() {
    let text = "[sweep]\nmethod = 'random'\nsamples = 4\nseed = 7\n[sweep.parameters]\n\
                args.lr = { log_uniform = [1e-5, 1e-1] }\nargs.p = { uniform = [0, 0.5] }\n\
                args.n = { integer = [1, 3] }\nargs.opt = ['sgd', 'adam']\n\
                args.m = { choice = [0.9], when = { args.opt = 'sgd' } }\n\
                [[sweep.zip]]\nargs.a = [1, 2, 3]\nargs.b = [10, 20, 30]\n[[sweep.exclude]]\nargs.n = 2\n";
    let (family, outcome) = checked(text);
    assert_eq!(outcome.problems, []);
    insta::assert_snapshot!(listed(&family).join("\n"));
    // More samples leave those that there were, and so does another parameter.
    let (more, _) = checked(&text.replace("samples = 4", "samples = 9"));
    assert_eq!(listed(&more)[..4], listed(&family));
    let (other, _) = checked(&text.replace("args.p =", "args.q = [1, 2]\nargs.p ="));
    let without: Vec<String> =
        listed(&other).iter().map(|point| point.replace(" q=1", "").replace(" q=2", "")).collect();
    assert_eq!(without, listed(&family));
    let (seeded, _) = checked(&text.replace("seed = 7", "seed = 8"));
    assert_ne!(listed(&seeded), listed(&family));
}

#[test]
fn a_list_says_its_points() {
    check_points(
        "[sweep]\nmethod = 'list'\npoints = [ { 'args.a' = 1, args.b = ['x', 'y'] }, { args.b = 2 } ]\n",
        &["a=1 b=[\"x\", \"y\"]", "b=2"],
    );
    check_points("[sweep]\nmethod = 'list'\n[[sweep.points]]\nargs.a = 1\n", &["a=1"]);
}

#[test]
fn a_value_takes_the_place_of_what_the_spec_says() {
    let text = "[args]\nlr = 1\nother = 2\n[compute]\nnodes = 1\n[[dataset]]\nname = 'text'\n\
                [sweep.parameters]\nargs.lr = [5]\nargs.'model.width' = [8]\n'args.model.depth' = [2]\n\
                compute.nodes = [2]\ncompute.time_limit = ['2h']\ndataset = ['/data/other']\n\
                environment.variables.SEED = [3]\n";
    let (family, outcome) = checked(text);
    assert_eq!(told(&family.sources, &outcome.problems), Vec::<String>::new());
    let request = request(text, None);
    let (site, asker) = (site(), asker());
    let point = &family.points.points[0];
    let resolved = family.resolve(point, request.context(&site, &asker)).resolved.unwrap();
    let args: Vec<String> = resolved.code.args.iter().map(ToString::to_string).collect();
    assert_eq!(args.join(" "), "--lr 5 --other 2 --model.width 8 --model.depth 2");
    assert_eq!((resolved.compute.nodes, resolved.datasets[0].name.as_str()), (2, "other"));
    assert_eq!(resolved.environment.variables[0].0, "SEED");
    assert_eq!(
        family.points.parameters(point),
        serde_json::json!({
            "args.lr": 5, "args.model.width": 8, "args.model.depth": 2, "compute.nodes": 2,
            "compute.time_limit": "2h", "dataset": "/data/other", "environment.variables.SEED": 3,
        })
    );
}

#[test]
fn many_points_take_no_time() {
    let text = "[sweep.parameters]\nargs.a = { range = [0, 250] }\nargs.b = { range = [0, 100] }\n";
    let began = Instant::now();
    let (family, outcome) = checked(text);
    assert_eq!((family.points.points.len(), outcome.problems), (25_000, Vec::new()));
    assert_eq!(outcome.cost.map(|cost| cost.resource_sets), Some(1));
    let line = |number: usize| format!("{{\"args.a\": \"text {number}\", \"args.b\": {number}}}\n");
    let file: Vec<String> = (0..25_000).map(line).collect();
    let list = request("[sweep]\nmethod = 'list'\nfile = 'p.jsonl'\n", Some(&file.concat()));
    let (family, outcome) = checked_of(&list);
    assert_eq!((family.points.points.len(), outcome.problems), (25_000, Vec::new()));
    // A build for tests is some ten times slower than what is installed.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn points_share_their_values() {
    let long = "x".repeat(1_000);
    let text = |family: &Family, point: usize| {
        let point = &family.points.points[point];
        let (_, value) = family.points.values(point).next().unwrap();
        let Node::Text(text) = &value.value else { panic!("{value:?}") };
        text.as_ptr()
    };
    let parameters = format!("[sweep.parameters]\nargs.a = ['{long}']\nargs.b = [1, 2]\n");
    for method in ["[sweep]\nmethod = 'random'\nsamples = 2\n", ""] {
        let (family, outcome) = checked(&format!("{method}{parameters}"));
        assert_eq!(outcome.problems, []);
        assert_eq!(text(&family, 0), text(&family, 1), "{method}");
    }
}

#[test]
fn the_examples_of_the_guide_are_fine() {
    let guide = include_str!("../../../docs/guide/sweeps.md");
    let mut count = 0;
    for example in guide.split("```toml\n").skip(1) {
        let text = example.split("```").next().unwrap();
        let mut request = request(text, Some("args.learning_rate,compute.nodes\n1e-4,2\n3e-4,\n"));
        if text.contains("[code]") {
            request.text = text.to_owned();
        }
        let (family, outcome) = checked_of(&request);
        assert_eq!(told(&family.sources, &outcome.problems), Vec::<String>::new(), "{text}");
        count += 1;
    }
    assert_eq!(count, 7);
}
