//! The arguments and variables of a spec by themselves: of a sweep there are far more values than specs.

use crate::domain::dataset::Dataset;
use crate::domain::document::{Node, Table};
use crate::domain::keys::{FromNode as _, Named};
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

/// Spells out values of arguments and variables, one after the other. What of the spec has a say in that is read once.
pub struct Speller<'a> {
    spec: Spec,
    datasets: Vec<Dataset>,
    context: Context<'a>,
}

impl<'a> Speller<'a> {
    pub fn new(around: Table, context: Context<'a>) -> Self {
        let place = Place { source: SourceId(0), start: 0, end: 0 };
        let whole = At::new(Node::Table(around), place);
        let spec = Spec::from_node(&whole, "", &mut Vec::new()).unwrap_or_default();
        let datasets = Resolver::new(&spec, context, Vec::new()).data(None);
        Self { spec, datasets, context }
    }

    /// What the value of a key comes to as an argument or a variable, where nothing is wrong with it.
    pub fn spell(
        &self,
        key: &str,
        place: Place,
        value: &At<Node>,
    ) -> (Vec<Word>, Vec<(String, Word)>) {
        let mut resolver = Resolver::new(&self.spec, self.context, Vec::new());
        resolver.datasets.clone_from(&self.datasets);
        let named = |name: &str| {
            let table = Table(vec![(At::new(name.to_owned(), place), value.clone())]);
            let table = At::new(Node::Table(table), place);
            let named = Named::from_node(&table, "", &mut Vec::new()).unwrap_or_default();
            named.0.into_iter().filter(|(name, _)| !name.value.is_empty())
        };
        let (mut args, mut variables) = (Vec::new(), Vec::new());
        if let Some(name) = key.strip_prefix("args.") {
            let style = resolver.args_style();
            named(name).for_each(|(name, value)| args.extend(resolver.arg(style, &name, &value)));
        } else if let Some(name) = key.strip_prefix("environment.variables.") {
            named(name).for_each(|(name, value)| resolver.variable(&name, &value, &mut variables));
        }
        (args, variables)
    }
}
