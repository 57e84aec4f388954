//! A point as a run of its own means what it means in its sweep.

use super::{asker, request, site};
use crate::domain::document::{Node, parse_value};
use crate::domain::problem::{Place, SourceId};
use crate::domain::request::{Change, RepeatedPoint, SpecRequest};
use crate::domain::sweep::alone::{alone, written};
use crate::domain::sweep::{Family, Given, Points};

const OF: RepeatedPoint = RepeatedPoint { sweep: 7, point: 0 };

/// Every point of these means the same by itself.
#[track_caller]
fn check_points(request: &SpecRequest, family: &Family, points: &Points) {
    let (site, asker) = (site(), asker());
    for (number, point) in (0..).zip(&points.points) {
        let of = RepeatedPoint { point: number, ..OF };
        let told = Family { points: points.clone(), ..family.clone() };
        let in_sweep = told.resolve(point, request.context(&site, &asker)).resolved.unwrap();
        let given = Given {
            parameters: points.parameters(point),
            args: in_sweep.code.args.clone(),
            variables: in_sweep.environment.variables.clone(),
        };
        // As it is recorded.
        let given = serde_json::from_str(&serde_json::to_string(&given).unwrap()).unwrap();
        let alone = alone(request.clone(), of, &given).unwrap();
        assert!(!alone.is_sweep() && alone.points.is_none());
        let outcome = alone.check(&site, &asker).outcome;
        assert_eq!(outcome.problems, []);
        let mut resolved = outcome.resolved.unwrap();
        assert_eq!(resolved.repeats.take(), Some(of));
        assert_eq!(resolved, in_sweep);
    }
}

#[track_caller]
fn check(text: &str, file: Option<&str>, changes: &[(&str, &str)]) {
    let mut request = request(text, file);
    request.changes = changes
        .iter()
        .map(|(key, value)| Change {
            shown: format!("--set {key}={value}"),
            key: (*key).into(),
            value: (*value).into(),
        })
        .collect();
    let family = Family::read(&request).unwrap();
    assert!(!family.points.points.is_empty(), "{text}");
    check_points(&request, &family, &family.points);
}

#[test]
fn each_point_is_what_it_is_in_its_sweep() {
    check(
        "[args]\nepochs = 3\nlr = 1.0\nmomentum = 0.5\n[environment.variables]\nA = 'base'\n\
         [sweep.parameters]\n'args.optimizer' = ['sgd', 'adam']\n'args.lr' = [1e-3, 3E-4, 2]\n\
         'args.momentum' = { choice = [0.8], when = { 'args.optimizer' = 'sgd' } }\n\
         'args.model.layers' = [[1, 2], ['a \"b\"', '{output}']]\n'args.fast' = [true, false]\n\
         'environment.variables.A' = [\"two\\nlines 'and' \\\"quotes\\\" \\u007f\", '$HOME']\n\
         'compute.class' = ['a100', 'free']\n",
        None,
        &[("args.last", "1"), ("sweep.max_parallel", "2"), ("compute.nodes", "2")],
    );
    check(
        "[sweep]\nmethod = 'random'\nsamples = 5\n[sweep.parameters]\n\
         'args.lr' = { log_uniform = [1e-5, 1e-1] }\n'dataset' = ['text', '/data/other']\n",
        None,
        &[],
    );
    let lines = "{\"args.b\": 1e-2, \"args.a\": 1}\n{\"args.a\": 2, \"args.b\": \"x\"}\n";
    check("[sweep]\nmethod = 'list'\nfile = 'points.jsonl'\n", Some(lines), &[]);
}

#[test]
fn a_told_point_is_what_it_was_told() {
    for style in ["flags", "equals", "hydra"] {
        let text = "args_style = 'STYLE'\n[args]\nfirst = 1e-3\n\
             [sweep]\nmethod = 'open'\nmax_points = 4\n[sweep.parameters]\n\
             'args.lr' = { log_uniform = [1e-5, 1e-1] }\n'args.opt' = ['sgd', 'adam']\n\
             'environment.variables.EPS' = { log_uniform = [1e-9, 1e-1] }\n\
             'args.momentum' = { uniform = [0, 1], when = { 'args.opt' = 'sgd' } }\n";
        let request = request(&text.replace("STYLE", style), None);
        let family = Family::read(&request).unwrap();
        let told = "{\"args.opt\": \"sgd\", \"args.momentum\": 1, \"args.lr\": 1e-3, \
                    \"environment.variables.EPS\": 1E-8}\n\
                    {\"args.opt\": \"adam\", \"args.lr\": 0.010, \
                    \"environment.variables.EPS\": 0.001}";
        let (told, problems) = family.told(told);
        assert_eq!(problems, []);
        check_points(&request, &family, &told.points);
    }
}

#[test]
fn a_point_that_the_spec_does_not_make_is_none() {
    let request = request("[sweep.parameters]\n'args.lr' = [0.1, 0.2]\n", None);
    let of = |point| RepeatedPoint { point, ..OF };
    let made = |point, parameters| {
        let given = Given { parameters, ..Given::default() };
        alone(request.clone(), of(point), &given).is_some()
    };
    assert!(made(1, serde_json::json!({ "args.lr": 0.2 })));
    assert!(!made(0, serde_json::json!({ "args.lr": 0.2 })));
    assert!(!made(2, serde_json::json!({ "args.lr": 0.2 })));
    assert!(!made(1, serde_json::Value::Null));
}

#[test]
fn a_value_is_read_as_it_was_written() {
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    for text in ["1", "1e-4", "inf", "true", "1979-05-27", "'{x} \\ \"'", "[1.0, ['a'], {}]"] {
        let node = parse_value(text, place).value;
        assert!(!matches!(&node, Node::Text(said) if said == text), "{text}");
        assert_eq!(parse_value(&written(&node), place).value, node, "{text}");
    }
    let table = parse_value("{ \"a b\" = [1], c = 'x\ny' }", place).value;
    assert_eq!(parse_value(&written(&table), place).value, table);
}
