//! Layers, and what does not fit together.

use crate::domain::document::parse;
use crate::domain::problem::SourceId;
use crate::domain::site::{Layer, LayerKind, effective};

fn layer(kind: LayerKind, source: u16, text: &str) -> Layer {
    let (table, problems) = parse(text, SourceId(source));
    assert_eq!(problems, vec![]);
    Layer { kind, source: SourceId(source), table }
}

fn told(layers: Vec<Layer>) -> Vec<String> {
    effective(layers).2.into_iter().map(|problem| problem.message).collect()
}

const ETC: &str =
    "[cluster.main]\npoll_interval = '30s'\n[class.a]\nrate = 1.0\n[site]\nadmins = ['root']\n";

#[test]
fn a_users_file_may_add_and_slow_down_but_not_loosen() {
    let system = || layer(LayerKind::System { root_owned: true }, 0, ETC);
    let user = |text| layer(LayerKind::User, 1, text);
    assert_eq!(
        told(vec![system(), user("[cluster.main]\npoll_interval = '60s'\n")]),
        Vec::<String>::new()
    );
    assert_eq!(told(vec![system(), user("[class.mine]\nrate = 0.0\n")]), Vec::<String>::new());
    assert_eq!(
        told(vec![
            system(),
            user(
                "[cluster.main]\npoll_interval = '1s'\n[class.a]\nrate = 0\n[site]\nadmins = ['me']\n"
            )
        ]),
        vec![
            "`cluster.main.poll_interval` is set by the administrators and cannot be changed here",
            "`class.a.rate` is set by the administrators and cannot be changed here",
            "`site.admins` is set by the administrators and cannot be changed here",
        ]
    );
    let priced =
        "[class.a]\ncharge.by = 'core_hours'\nexclusive = false\n[site.charge]\nminimum = 0\n";
    let refused = ["class.a.charge", "class.a.exclusive", "site.charge"]
        .map(|key| format!("`{key}` is set by the administrators and cannot be changed here"));
    assert_eq!(told(vec![system(), user(priced)]), refused);
    let short = layer(LayerKind::System { root_owned: true }, 0, "[class.a]\nrate = 1.0\n");
    assert_eq!(told(vec![short, user(priced)])[..3], refused);
    assert!(!told(vec![user(priced)]).iter().any(|told| refused.contains(told)));
    let lifted = format!("{ETC}allow_override = true\n");
    let root = layer(LayerKind::System { root_owned: true }, 0, &lifted);
    assert_eq!(told(vec![root, user("[class.a]\nrate = 0\n")]), Vec::<String>::new());
    let not_root = layer(LayerKind::System { root_owned: false }, 0, &lifted);
    assert_eq!(
        told(vec![not_root, user("[class.a]\nrate = 0\n")]).len(),
        1,
        "only root can lift it"
    );
}

#[test]
fn what_does_not_fit_together_is_told() {
    let text = "[site]\ndefault_class = 'b'\nrun_root = 'runs/{usr}'\n[cluster.c]\nnode_address = 'x'\n\
                rendezvous_ports = [9, 8]\n[class.local]\n[class.a]\ncluster = 'd'\nmin_nodes = 3\nmax_nodes = 2\n";
    assert_eq!(
        told(vec![layer(LayerKind::User, 0, text)]),
        vec![
            "the class name `local` belongs to the local target",
            "class `a` is on cluster `d`, which is not defined",
            "`min_nodes` is more than `max_nodes` (2)",
            "`site.default_class` is `b`, which is not defined",
            "`rendezvous_ports` must be two ports from 1024 to 65535, the lower first",
            "`node_address` must be one word that holds `{node}`",
            "`run_root` cannot hold `{usr}`",
            "`run_root` must be an absolute path",
        ]
    );
}

#[test]
fn what_stands_in_scripts_can_stand_there() {
    let long = "x".repeat(200_000);
    let text = format!(
        "[cluster.\"a\\u001b\"]\nconda_root = 'opt/conda'\nnode_address = '{{node}} x'\nsrun_args = ['{long}']\n\
         [cluster.\"b\\u0000\"]\n[cluster.'{long}']\n[class.c]\ncluster = \"a\\u001b\"\n\
         local_scratch = '$TMPDIR/x'\n[class.d]\ncluster = \"a\\u001b\"\nlocal_scratch = \"/tmp\\n\"\n"
    );
    assert_eq!(
        told(vec![layer(LayerKind::User, 0, &text)]),
        vec![
            "a name holds a NUL character",
            "`local_scratch` must be an absolute path",
            "`local_scratch` must have no control characters and at most 4095 bytes",
            "a cluster's name is 1 to 255 bytes without control characters",
            "`conda_root` must be an absolute path",
            "`srun_args`: a word is longer than 131071 bytes",
            "`node_address` must be one word that holds `{node}`",
            "a cluster's name is 1 to 255 bytes without control characters",
        ]
    );
}

#[test]
fn what_sbatch_cannot_be_given_is_told_in_this_file() {
    let text = "[script]\ndirectives = ['--output=x']\n[cluster.c]\nscript.directives = ['x']\n[class.a]\n\
                gres = 'é'\nqos = ''\npartition = ['a', \"b\\n\"]\ndirectives = ['-J x']\n\
                [project.p]\naccount = 'é'\naccounts = { a = 'é' }\nrun_root = 'x'\n";
    let ascii = "cannot be given to sbatch: it holds a character outside ASCII, which Slurm does not carry safely";
    let control = "cannot be given to sbatch: it holds a line break or another control character";
    let no_option = "an option starts with `-`, as `--switches=1` does";
    assert_eq!(
        told(vec![layer(LayerKind::User, 0, text)]),
        [
            format!("`gres` {ascii}"),
            "`qos` is empty".to_owned(),
            format!("`partition` {control}"),
            format!("`-J x`: {no_option}"),
            format!("`x`: {no_option}"),
            "`--output` is set by Trainyard itself".to_owned(),
            format!("`account` {ascii}"),
            format!("`accounts` {ascii}"),
            "`run_root` must be an absolute path".to_owned(),
        ]
    );
}

#[test]
fn what_cannot_be_bound_into_a_container_is_told() {
    let check = |runtime: &str, bind: &str, fine: bool| {
        for table in ["cluster.main", "local"] {
            let text = format!(
                "[{table}]\ncontainer_runtime = '{runtime}'\ncontainer_binds = ['{bind}']\n"
            );
            let problems = told(vec![layer(LayerKind::User, 0, &text)]);
            assert_eq!(problems.is_empty(), fine, "{runtime} {bind}: {problems:?}");
        }
    };
    check("apptainer", "/a b", true);
    check("apptainer", "/a:/b:ro", true);
    check("pyxis", "/a:/b", true);
    check("charliecloud", "/a:/b", true);
    check("apptainer", "relative", false);
    check("apptainer", "/a:b", false);
    check("apptainer", "/a:/b:x", false);
    check("pyxis", "/a,/b", false);
    check("charliecloud", "/a:/b:ro", false);
}

#[test]
fn a_node_that_failed_is_remembered_for_a_month_at_most() {
    let site = |text: &str| effective(vec![layer(LayerKind::User, 0, text)]);
    let check = |text: &str, hours: u64| {
        let (site, _, problems) = site(text);
        assert_eq!(problems, vec![], "{text}");
        assert_eq!(site.bad_node_expiry().0, hours * 3600, "{text}");
    };
    check("", 24);
    check("[site]\nbad_node_expiry = '0s'\n", 0);
    check("[site]\nbad_node_expiry = '30d'\n", 30 * 24);
    let over = layer(LayerKind::User, 0, "[site]\nbad_node_expiry = '31d'\n");
    assert_eq!(told(vec![over]), ["`bad_node_expiry` is at most 30d"]);
}

#[test]
fn environments_are_built_here_or_by_a_class_that_there_is() {
    let check = |place: &str, expected: &[&str]| {
        let text = format!("[cluster.main]\n[class.cpu]\n[build]\nwhere = '{place}'\n");
        assert_eq!(told(vec![layer(LayerKind::User, 0, &text)]), expected, "{place}");
    };
    check("login", &[]);
    check("class:cpu", &[]);
    check("class:gpu", &["`build.where` names class `gpu`, which is not defined"]);
    check("class:", &["`build.where` names class ``, which is not defined"]);
    check("cpu", &["`build.where` cannot be `cpu`"]);
}
