//! What all points come to is what each of them would come to by itself.

use super::{asker, request, site};
use crate::domain::resolved::Resolved;
use crate::domain::sweep::{Family, Plan};

fn planned(text: &str) -> (Family, Result<Plan, Vec<String>>) {
    let (request, site, asker) = (request(text, None), site(), asker());
    let family = Family::read(&request).unwrap();
    let about = family.about(&request).unwrap();
    let plan = family.plan(about, request.context(&site, &asker));
    let told = plan.map_err(|problems| problems.into_iter().map(|it| it.message).collect());
    (family, told)
}

/// The plan, each point of which means what it means by itself.
#[track_caller]
fn check(text: &str) -> Plan {
    let (family, plan) = planned(text);
    let plan = plan.unwrap();
    let (request, site, asker) = (request(text, None), site(), asker());
    assert_eq!(plan.points.len(), family.points.points.len());
    for (point, planned) in family.points.points.iter().zip(&plan.points) {
        let alone = family.resolve(point, request.context(&site, &asker)).resolved.unwrap();
        let mut of_set = plan.sets[planned.set as usize].clone();
        planned.given.apply(&mut of_set);
        assert_eq!(ordered(of_set), ordered(alone), "{text}");
    }
    plan
}

/// What a variable comes after makes no difference.
fn ordered(mut resolved: Resolved) -> Resolved {
    resolved.environment.variables.sort_by(|(one, _), (other, _)| one.cmp(other));
    resolved
}

#[test]
fn points_that_differ_in_arguments_alone_are_one_set() {
    let plan = check(
        "[args]\nepochs = 3\nlr = 1.0\nfast = true\n[sweep]\nmax_parallel = 2\n\
         [sweep.objective]\nmetric = 'loss'\ngoal = 'minimize'\n\
         [sweep.parameters]\n'args.lr' = [0.1, 0.2]\n'args.fast' = [true, false]\n\
         'args.path' = ['{output}/a b', '{{x}}']\n",
    );
    assert_eq!((plan.sets.len(), plan.points.len()), (1, 8));
    assert_eq!(plan.about.parameters, ["args.lr", "args.fast", "args.path"]);
    assert_eq!(plan.about.max_parallel, Some(2));
    let words: Vec<String> = plan.points[1].given.args.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["--epochs", "3", "--lr", "0.1", "--fast", "--path", "{{x}}"]);
    assert_eq!(plan.points[1].given.parameters["args.lr"], 0.1);
}

#[test]
fn a_parameter_that_a_point_lacks_is_what_the_spec_says() {
    let plan = check(
        "[args]\nmomentum = 0.5\n[environment.variables]\nA = 'base'\nB = 'b'\n[sweep.parameters]\n\
         'args.optimizer' = ['sgd', 'adam']\n\
         'args.momentum' = { choice = [0.8, 0.9], when = { 'args.optimizer' = 'sgd' } }\n\
         'environment.variables.A' = { choice = ['one', 'two'], when = { 'args.optimizer' = 'sgd' } }\n",
    );
    assert_eq!((plan.sets.len(), plan.points.len()), (1, 5));
    assert_eq!(plan.points[4].given.variables, []);
    assert_eq!(plan.points[0].given.variables.len(), 1);
}

#[test]
fn points_with_other_resources_are_other_sets() {
    let plan = check(
        "[sweep.parameters]\n'args.seed' = [1, 2, 3]\n'compute.nodes' = [1, 2]\n'environment.variables.X' = ['$a', \"b'\"]\n",
    );
    assert_eq!((plan.sets.len(), plan.points.len()), (2, 12));
    let nodes: Vec<u32> = plan.sets.iter().map(|set| set.compute.nodes).collect();
    assert_eq!(nodes, [1, 2]);
}

#[test]
fn what_is_captured_is_the_same_for_all_points() {
    let refused = |parameter: &str, what: &str| {
        let (_, plan) = planned(&format!("[sweep.parameters]\n{parameter}\n"));
        let expected = format!("the points of a sweep cannot have different {what}");
        assert_eq!(plan.map(drop), Err(vec![expected]), "{parameter}");
    };
    refused("'dataset' = ['text', '/data/other']", "datasets");
}
