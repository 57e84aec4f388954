//! The arguments and variables of a spec by themselves: of a sweep there are far more values than specs.

use crate::domain::document::{Node, Table};
use crate::domain::keys::FromNode as _;
use crate::domain::problem::{At, Place, Problem, SourceId};
use crate::domain::resolve::{Context, Resolver};
use crate::domain::spec::Spec;
use crate::domain::word::Word;

/// What is wrong with the arguments and variables of a spec, and what to warn of; its datasets are believed.
pub fn check_values(table: &Table, context: Context<'_>) -> (Vec<Problem>, Vec<Problem>) {
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    let mut problems = Vec::new();
    let whole = At::new(Node::Table(table.clone()), place);
    let spec = Spec::from_node(&whole, "", &mut problems).unwrap_or_default();
    let mut resolver = Resolver::new(&spec, context, Vec::new());
    resolver.datasets = resolver.data(None);
    resolver.problems = problems;
    drop(resolver.args(resolver.args_style()));
    for (name, value) in
        spec.environment.iter().flat_map(|all| &all.variables).flat_map(|all| &all.0)
    {
        resolver.variable(name, value, &mut Vec::new());
    }
    (resolver.problems, resolver.warnings)
}

/// What the arguments and variables of a spec come to, where nothing is wrong with them.
pub fn values(table: &Table, context: Context<'_>) -> (Vec<Word>, Vec<(String, Word)>) {
    let place = Place { source: SourceId(0), start: 0, end: 0 };
    let whole = At::new(Node::Table(table.clone()), place);
    let spec = Spec::from_node(&whole, "", &mut Vec::new()).unwrap_or_default();
    let mut resolver = Resolver::new(&spec, context, Vec::new());
    resolver.datasets = resolver.data(None);
    let args = resolver.args(resolver.args_style());
    let mut variables = Vec::new();
    for (name, value) in
        spec.environment.iter().flat_map(|all| &all.variables).flat_map(|all| &all.0)
    {
        resolver.variable(name, value, &mut variables);
    }
    (args, variables)
}
