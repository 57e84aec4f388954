//! What nodes are, on a site with two kinds of them and a class of each.

use super::*;
use crate::domain::bad_nodes::Health;
use crate::domain::document::parse;
use crate::domain::problem::SourceId;
use crate::domain::site::{Layer, LayerKind, effective};

const SITE: &str = "[cluster.main]\n[class.cpu]\npartition = 'main'\ncpus_per_node = 1\nconstraint = 'slow&GPU_GEN:V/1'\n\
    [class.a100-2x]\npartition = ['long', 'main']\ngpus_per_node = 2\ngpu_type = 'a100'\ncpus_per_node = 8\n";

fn node(name: &str, kind: &str, cpus: u32) -> Node {
    let is_slow = kind == "v100";
    Node {
        name: name.parse().unwrap(),
        partitions: vec!["main".into()],
        health: Health::Well,
        is_idle: true,
        cpus,
        memory: 8000,
        gpus: vec![(Some(kind.into()), 2)],
        features: vec![if is_slow { "slow" } else { "fast" }.into(), "GPU_GEN:V/1".into()],
        available: Vec::new(),
    }
}

#[track_caller]
fn check(names: &[&str], asked: &str, expected: Option<(&str, u64)>) {
    let nodes = [
        node("n1", "nvidia_a100", 8),
        node("n2", "nvidia_a100", 8),
        node("n3", "v100", 8),
        node("n4", "h100", 8),
        node("n5", "nvidia_a100", 16),
    ];
    let (table, _) = parse(SITE, SourceId(0));
    let (site, _, problems) =
        effective(vec![Layer { kind: LayerKind::User, source: SourceId(0), table }]);
    assert_eq!(problems, vec![]);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let hardware = Hardware::of(&names, &nodes, &site, ("main", asked));
    let told =
        hardware.as_ref().map(|hardware| (hardware.class.as_str(), hardware.size.cpus.unwrap()));
    assert_eq!(told, expected, "{names:?} {asked}");
}

#[test]
fn nodes_are_of_the_class_that_fits_them_whatever_was_asked() {
    check(&["n1", "n2"], "a100-2x", Some(("a100-2x", 16)));
    check(&["n1"], "cpu", Some(("a100-2x", 8)));
    check(&["n3"], "a100-2x", Some(("cpu", 8)));
    check(&["n4"], "a100-2x", Some(("h100-2x", 8)));
}

#[test]
fn nodes_of_several_kinds_are_mixed() {
    check(&["n1", "n3"], "a100-2x", Some(("mixed", 16)));
    check(&["n2", "n5"], "a100-2x", Some(("mixed", 24)));
}

#[test]
fn nothing_is_said_of_a_node_that_is_not_known() {
    check(&["n1", "n9"], "a100-2x", None);
    check(&[], "a100-2x", None);
}
