//! Wrong site files of every kind, against a cluster of four nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::*;
use crate::domain::bad_nodes::{Health, Node};
use crate::domain::document::parse;
use crate::domain::ledger::Resource;
use crate::domain::problem::SourceId;
use crate::domain::site::{Layer, LayerKind, effective};
use crate::domain::units::{Seconds, TimeLimit};

fn asker(uid: u32) -> Asker {
    Asker {
        user: "anna".into(),
        uid,
        group: "staff".into(),
        groups: vec!["staff".into()],
        home: "/home/anna".into(),
    }
}

fn node(name: &str, partitions: &[&str], gpu: Option<&str>, feature: &str) -> Node {
    Node {
        name: name.parse().unwrap(),
        partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
        health: Health::Well,
        is_idle: true,
        cpus: 8,
        memory: 8000,
        gpus: gpu.map(|kind| (Some(kind.to_owned()), 2)).into_iter().collect(),
        features: vec![feature.to_owned()],
        available: vec![feature.to_owned()],
    }
}

/// With a feature whose name has more than letters.
fn ampere(mut node: Node) -> Node {
    node.features.push("GPU_GEN:AMP".to_owned());
    Node { available: node.features.clone(), ..node }
}

fn partition(name: &str) -> Partition {
    Partition {
        name: name.into(),
        is_default: name == "main",
        is_exclusive: false,
        is_down: false,
        default_time: None,
        max_time: Some(TimeLimit(Seconds(86_400))),
        min_nodes: 0,
        max_nodes: None,
        max_cpus: None,
        max_memory: None,
        bars: Vec::new(),
        accounts: Allowed::default(),
        qos: Allowed::default(),
    }
}

fn words(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// n1 and n2 have GPUs, n3 and n4 are of another kind; `big` has more memory and no GPUs.
fn survey() -> Survey {
    let big = Node { cpus: 64, memory: 64_000, ..node("b1", &["main"], None, "big") };
    let association = |account: &str, qos: &str| Association {
        account: account.into(),
        partition: None,
        qos: words(qos),
    };
    Survey {
        version: Some((22, 5)),
        has_accounting: true,
        enforced: words("associations limits qos"),
        enforces_every_partition: false,
        partitions: vec![
            partition("main"),
            Partition { max_nodes: Some(1), is_down: true, ..partition("low") },
            Partition { bars: vec![Bar::Groups(words("hpc"))], ..partition("closed") },
            Partition { bars: vec![Bar::State("DRAIN".into())], ..partition("drained") },
            Partition { bars: vec![Bar::Hidden, Bar::NeedsReservation], ..partition("kept") },
            Partition {
                accounts: Allowed { only: Some(words("vip")), never: Vec::new() },
                qos: Allowed { only: None, never: words("few") },
                ..partition("paid")
            },
        ],
        nodes: vec![
            node("n1", &["main", "low", "closed", "drained", "kept", "paid"], Some("a100"), "fast"),
            ampere(node("n2", &["main", "low"], Some("a100"), "fast")),
            node("n3", &["main"], Some("v100"), "slow"),
            node("n4", &["main"], Some("v100"), "slow"),
            big,
        ],
        reservations: Some(words("maint")),
        licenses: Some(words("seat")),
        accounting: Some(Accounting {
            associations: vec![association("ml", "normal few"), association("lab", "normal")],
            qos: words("normal few high"),
        }),
        counts_use: true,
        limited: Some(BTreeMap::from([
            ("ml".to_owned(), Ok(BTreeSet::from([Resource::Nodes, Resource::Gpus]))),
            ("lab".to_owned(), Ok(BTreeSet::new())),
            ("dark".to_owned(), Err("it does not show you that".to_owned())),
        ])),
    }
}

fn facts(slurm: Result<Survey, String>) -> ClusterFacts {
    let command = |name, version| CommandFact { name, path: format!("/usr/bin/{name}"), version };
    let fine = ["sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"];
    ClusterFacts { commands: fine.map(|name| command(name, Ok((22, 5)))).into(), slurm }
}

fn site(text: &str) -> Site {
    let (table, faults) = parse(text, SourceId(0));
    assert_eq!(faults, vec![]);
    effective(vec![Layer { kind: LayerKind::User, source: SourceId(0), table }]).0
}

fn found(text: &str, facts: ClusterFacts, uid: u32) -> Vec<Finding> {
    check(&site(text), &BTreeMap::from([("big".to_owned(), facts)]), &asker(uid))
}

/// What is not fine, a line each.
fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, level, told, mend, .. } in
        findings.iter().filter(|it| it.level != Level::Fine)
    {
        writeln!(text, "{level:?} {what}: {told}\n    → {}", mend.as_deref().unwrap_or(""))
            .unwrap();
    }
    text
}

const WRONG: &[&str] = &[
    "partition = 'mian'",
    "partition = ['main', 'gpus-of-others']",
    "partition = 'low'",
    "partition = 'closed'",
    "partition = 'drained'",
    "partition = 'kept'",
    "partition = 'paid'\naccount = 'ml'\nqos = 'few'",
    "gpus_per_node = 4",
    "gpus_per_node = 2\ngpu_type = 'h100'\ngpu_typed = true",
    "gpu_request = 'gres'\ngres = 'gpu:a10:1'",
    "cpus_per_node = 65",
    "memory_per_node = '100G'",
    "gpus_per_node = 1\nmemory_per_node = '20G'",
    "gpus_per_node = 2\ngpu_type = 'a100'\ngpu_typed = true\nmax_nodes = 3",
    "partition = 'low'\nmin_nodes = 2\nmax_nodes = 2",
    "max_time = '2d'",
    "default_time = '36h'",
    "constraint = 'fats'",
    "constraint = 'GPU_GEN:AMD'",
    "constraint = 'fast&slow'",
    "constraint = '[fast|turbo]'",
    "reservation = 'main'",
    "licenses = 'matlab:2,seat:1'",
    "nodelist = 'n[1-9]'",
    "exclude = 'x1'",
    "account = 'm1'",
    "qos = 'hgih'",
    "qos = 'high'",
    "account = 'lab'\nqos = 'few'",
];

#[test]
fn every_kind_of_wrong_class_is_told_with_its_mend() {
    let mut text = String::new();
    for keys in WRONG {
        let site = format!("[cluster.big]\n[class.c]\n{keys}\n");
        let told = told(&found(&site, facts(Ok(survey())), 1000));
        assert!(told.contains("Bad ") || keys.contains("'low'"), "{keys}: {told}");
        writeln!(text, "# {}\n{told}", keys.replace('\n', ", ")).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_fits_is_fine() {
    for keys in [
        "",
        "partition = 'main'\nmax_nodes = 5\nmax_time = '1d'\ndefault_time = '24h'",
        "gpus_per_node = 2\ngpu_type = 'A100'\ngpu_typed = true\nmax_nodes = 2\nconstraint = 'fast'",
        // A label, where it is no part of the request.
        "gpus_per_node = 2\ngpu_type = 'NVIDIA A100 80GB'\nmax_nodes = 4",
        "gpus_per_node = 8\ngpu_request = 'none'",
        "gpu_request = 'gres'\ngres = 'gpu:v100:2'",
        "partition = 'kept'\nreservation = 'maint'",
        "constraint = '[fast*2|slow*4]&!big'",
        "constraint = 'GPU_GEN:AMP&fast'\nmax_nodes = 1",
        "licenses = 'seat:2'\nnodelist = 'n[1-2]'\nexclude = 'n4'",
        "account = 'ML'\nqos = 'few'",
        "cpus_per_node = 64\nmemory_per_node = '60G'\nmax_nodes = 1",
        // Slurm hears nothing of it.
        "memory_per_node = '100G'\nmemory_request = 'none'",
        "memory_per_node = '100G'\nmemory_request = 'all'",
        "memory_per_node = '100G'\nexclusive = true",
    ] {
        let site = format!("[cluster.big]\n[class.c]\n{keys}\n");
        let findings = found(&site, facts(Ok(survey())), 1000);
        assert_eq!(told(&findings), "", "{keys}");
        assert!(findings.iter().any(|finding| finding.what == "class.c"), "{keys}");
    }
}

#[test]
fn one_of_several_partitions_is_enough_unless_slurm_wants_all() {
    let levels = |keys: &str, enforces_every_partition: bool| -> Vec<Level> {
        let site = format!("[cluster.big]\n[class.c]\n{keys}\n");
        let survey = Survey { enforces_every_partition, ..survey() };
        let findings = found(&site, facts(Ok(survey)), 1000);
        let of_class = findings.iter().filter(|it| it.what.starts_with("class."));
        of_class.map(|finding| finding.level).collect()
    };
    let check = |keys: &str, others: &[Level], all: &[Level]| {
        assert_eq!(levels(keys, false), others, "{keys}");
        assert_eq!(levels(keys, true), all, "{keys}, and EnforcePartLimits=ALL");
    };
    use Level::{Bad, Fine, Note};
    check("partition = ['main', 'drained']", &[Note], &[Bad]);
    check("partition = ['closed', 'main']", &[Note], &[Bad]);
    check("partition = ['main', 'paid']\naccount = 'ml'", &[Note], &[Bad]);
    check(
        "partition = ['main', 'kept']\nconstraint = 'big'\nreservation = 'maint'",
        &[Note],
        &[Bad],
    );
    check("partition = ['main', 'kept']\nreservation = 'maint'", &[Fine], &[Fine]);
    // None is enough.
    check("partition = ['closed', 'drained']", &[Bad, Bad], &[Bad, Bad]);
    check("partition = 'closed'", &[Bad], &[Bad]);
}

#[test]
fn root_is_told_that_only_others_can_submit() {
    let mut survey = survey();
    survey.partitions[0].bars.push(Bar::NoRoot);
    let text = "[cluster.big]\n[class.c]\n";
    let findings = found(text, facts(Ok(survey.clone())), 0);
    assert_eq!(
        told(&findings),
        "Note class.c.partition: root cannot submit to partition `main`; others can\n    \
         → look again as the user whose runs it is for\n"
    );
    assert_eq!(told(&found(text, facts(Ok(survey)), 1000)), "");
}

#[test]
fn accounts_are_judged_for_those_who_may_use_them() {
    let check = |project: &str, survey: Survey, uid: u32, expected: &[(Level, &str)]| {
        let site = format!("[cluster.big]\n[class.c]\n[project.p]\n{project}\n");
        let findings = found(&site, facts(Ok(survey)), uid);
        let of_project = findings.iter().filter(|it| it.what.starts_with("project"));
        let shown: Vec<_> = of_project.map(|it| (it.level, it.what.as_str())).collect();
        assert_eq!(shown, expected, "{project}");
    };
    check("account = 'ml'", survey(), 1000, &[]);
    check("account = 'x'", survey(), 1000, &[(Level::Bad, "project.p.account")]);
    check("account = 'x'\nmembers = ['bert']", survey(), 1000, &[]);
    check(
        "account = 'x'\nmembers = ['group:staff']",
        survey(),
        1000,
        &[(Level::Bad, "project.p.account")],
    );
    check(
        "accounts = { c = 'x' }",
        survey(),
        1000,
        &[(Level::Bad, "project.p.accounts.c.account")],
    );
    check("qos = 'x'", survey(), 1000, &[(Level::Bad, "project.p.qos")]);
    // Root sets sites up for others; a QOS that is none is wrong for everybody.
    check("account = 'x'", survey(), 0, &[(Level::Note, "project.p.account")]);
    check("qos = 'x'", survey(), 0, &[(Level::Bad, "project.p.qos")]);
    let unenforced = Survey { enforced: Vec::new(), ..survey() };
    check("account = 'x'", unenforced, 1000, &[(Level::Note, "project.p.account")]);
    // Nothing is known, so nothing is wrong.
    check("account = 'x'", Survey { accounting: None, ..survey() }, 1000, &[]);
}

#[test]
fn commands_and_a_silent_slurm_are_told() {
    let check = |change: &dyn Fn(&mut ClusterFacts), expected: &str| {
        let mut facts = facts(Ok(survey()));
        change(&mut facts);
        assert_eq!(told(&found("[cluster.big]\n[class.c]\n", facts, 1000)), expected);
    };
    let missing = |name: &'static str| {
        move |facts: &mut ClusterFacts| {
            let command = facts.commands.iter_mut().find(|it| it.name == name).unwrap();
            command.version = Err("no such file".to_owned());
        }
    };
    check(
        &missing("sbatch"),
        "Bad cluster.big.sbatch: /usr/bin/sbatch cannot be run: no such file\n    \
         → set `commands` to the directory of Slurm's commands, or `sbatch` to the path of this one\n",
    );
    check(
        &missing("sinfo"),
        "Note cluster.big.sinfo: /usr/bin/sinfo cannot be run: no such file\n    \
         → set `sinfo` to its path: without it less can be checked, and runs go on all the same\n",
    );
    check(
        &|facts: &mut ClusterFacts| {
            missing("sacct")(facts);
            facts.slurm = Ok(Survey { has_accounting: false, accounting: None, ..survey() });
        },
        "",
    );
    check(
        &|facts: &mut ClusterFacts| facts.commands[0].version = Ok((19, 5)),
        "Bad cluster.big.sbatch: /usr/bin/sbatch is of Slurm 19.05, which is too old\n    \
         → Slurm 20.11 or newer is needed\n",
    );
    let mut silent = facts(Err("connect failure".to_owned()));
    let findings = found("[cluster.big]\n[class.c]\npartition = 'mian'\n", silent.clone(), 1000);
    assert!(matches!(findings.as_slice(), [only] if is_silent(only)), "{findings:?}");
    missing("scontrol")(&mut silent);
    let findings = found("[cluster.big]\n", silent, 1000);
    assert_eq!(findings.iter().filter(|it| is_silent(it)).count(), 1);
    assert_eq!(findings.len(), 2);
    let nobody = Survey { accounting: Some(Accounting::default()), ..survey() };
    let findings = found("[cluster.big]\n", facts(Ok(nobody)), 1000);
    assert!(told(&findings).contains("anna has no account there"), "{findings:?}");
}

#[test]
fn a_budget_that_slurm_keeps_is_compared_with_what_slurm_limits() {
    let check = |keys: &str, change: &dyn Fn(&mut Survey), expected: &str| {
        let mut survey = survey();
        change(&mut survey);
        let by = "[class.c]\nrate = 1.0\n";
        let text = format!("[cluster.big]\n{by}[project.p]\nbudget = 'slurm'\n{keys}");
        let findings = found(&text, facts(Ok(survey)), 1000);
        let own: Vec<Finding> =
            findings.into_iter().filter(|it| it.what == "project.p.budget").collect();
        let told = told(&own);
        let first = told.lines().next().unwrap_or_default();
        assert!(
            first.contains(expected) && first.is_empty() == expected.is_empty(),
            "{keys}: {told}"
        );
        assert!(own.iter().all(|it| it.place.is_some()), "{own:?}");
    };
    let as_it_is = |_: &mut Survey| {};
    check("account = 'ml'", &as_it_is, "");
    check("account = 'ml'\n[site]\ncharge = { by = 'gpu_hours' }", &as_it_is, "");
    check(
        "account = 'ml'\n[site]\ncharge = { by = 'core_hours' }",
        &as_it_is,
        "class `c` is charged by `core_hours`, and Slurm limits node, gres/gpu",
    );
    check("account = 'lab'", &as_it_is, "Slurm's account `lab` has no `GrpTRESMins`");
    check("account = 'lib'", &as_it_is, "Slurm shows no account `lib`");
    check(
        "account = 'dark'",
        &as_it_is,
        "it is \"slurm\", and of Slurm's account `dark` nothing is",
    );
    check("account = 'lib'\nmembers = ['bert']", &as_it_is, "");
    check("account = 'ml'", &|survey| survey.counts_use = false, "its `PriorityType` is not");
    check("account = 'ml'", &|survey| survey.has_accounting = false, "no accounting");
    check("account = 'ml'", &|survey| survey.limited = None, "");
    check(
        "account = 'ml'",
        &|survey| survey.enforced = words("associations"),
        "`AccountingStorageEnforce` has no `limits`",
    );
}

#[test]
fn an_account_has_to_be_on_one_of_several_clusters() {
    let text = |account: &str| {
        format!(
            "[cluster.big]\n[cluster.old]\n[project.p]\nbudget = 'slurm'\naccount = '{account}'"
        )
    };
    let counts = |account: &str, expected: usize| {
        let old = Survey { limited: Some(BTreeMap::new()), ..survey() };
        let clusters = [("big", survey()), ("old", old)];
        let clusters = clusters.map(|(name, survey)| (name.to_owned(), facts(Ok(survey))));
        let findings = check(&site(&text(account)), &BTreeMap::from(clusters), &asker(1000));
        let shows = |finding: &&Finding| finding.told.contains("Slurm shows no account");
        assert_eq!(findings.iter().filter(shows).count(), expected, "{account}: {findings:?}");
    };
    counts("ml", 0);
    counts("lib", 2);
}
