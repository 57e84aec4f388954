//! What sites become of what clusters say.

use std::path::Path;

use super::*;

fn asker() -> Asker {
    Asker {
        user: "anna".into(),
        uid: 1000,
        group: "staff".into(),
        groups: vec!["staff".into()],
        home: "/home/anna".into(),
    }
}

fn which() -> WhichSlurm {
    WhichSlurm {
        directory: "/usr/bin".into(),
        elsewhere: BTreeMap::new(),
        conf: None,
        clusters: None,
    }
}

fn recorded(release: &str, name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/slurm").join(release);
    std::fs::read_to_string(dir.join(format!("{name}.out"))).unwrap()
}

/// The recorded rows have more columns than are asked for here.
fn sinfo(release: &str) -> String {
    let rows = recorded(release, "sinfo");
    let rows = rows.lines().map(|row| {
        let columns: Vec<&str> = row.split('|').collect();
        [columns[0], columns[3], columns[8], columns[9], columns[6]].join("|") + "\n"
    });
    rows.collect()
}

#[test]
fn every_release_gives_the_same_site() {
    let site = |release: &str| {
        let (config, partitions) =
            (recorded(release, "show-config"), recorded(release, "show-partition"));
        let said = Said { config: &config, partitions: &partitions, nodes: &sinfo(release) };
        let which = WhichSlurm {
            elsewhere: BTreeMap::from([("sbatch".into(), "/usr/local/bin/sbatch".into())]),
            conf: Some("/etc/slurm/other.conf".into()),
            clusters: Some("test".into()),
            ..which()
        };
        site_text(&which, &said, &asker()).unwrap()
    };
    insta::assert_snapshot!(site("22.05"));
    assert_eq!(site("20.11"), site("22.05"));
    assert_eq!(site("24.11"), site("22.05"));
}

const CONFIG: &str = "AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = Big Iron
SLURM_VERSION           = 22.05.8
";

/// A partition with these words over the usual ones.
fn partition(name: &str, words: &str) -> String {
    format!(
        "PartitionName={name} {words} AllowGroups=ALL Default=NO DefaultTime=NONE \
         MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 OverSubscribe=NO State=UP\n"
    )
}

fn site(partitions: &str, nodes: &str) -> Result<String, String> {
    site_text(&which(), &Said { config: CONFIG, partitions, nodes }, &asker())
}

fn class_names(partitions: &str, nodes: &str) -> Vec<String> {
    let text = site(partitions, nodes).unwrap();
    let heads = text.lines().filter_map(|line| line.strip_prefix("[class.")?.strip_suffix(']'));
    heads.map(|name| name.trim_matches('"').to_owned()).collect()
}

#[test]
fn a_site_of_many_kinds() {
    let partitions = [
        partition("batch", "Default=YES DefaultTime=02:00:00 MaxTime=1-00:00:00 MaxNodes=4"),
        partition("whole", "OverSubscribe=EXCLUSIVE MinNodes=2 MaxTime=00:30:00"),
        partition("gpu", "MaxCPUsPerNode=48 MaxMemPerNode=400000"),
        partition("closed", "AllowGroups=wheel"),
        partition("empty", ""),
    ];
    let nodes = "batch|100|64|256000|(null)\nwhole|10|128|512000|\nwhole|1|96|512000|\n\
                 gpu|4|64|512000|gpu:4\ngpu|2|64|512000|gpu:a100:8(S:0-1)\nclosed|9|8|8000|\n";
    insta::assert_snapshot!(site(&partitions.concat(), nodes).unwrap());
}

#[test]
fn names_say_as_much_as_it_takes() {
    let check = |nodes: &str, expected: &[&str]| {
        let rows: Vec<String> = nodes.split(' ').map(|row| format!("p|{row}\n")).collect();
        let nodes = rows.concat();
        assert_eq!(class_names(&partition("p", ""), &nodes), expected);
    };
    check("4|64|256000|(null)", &["p"]);
    check("4|64|256000|gpu:a100:4", &["p"]);
    check("4|64|256000|gpu:4 2|64|256000|(null)", &["p-cpu", "p-gpu"]);
    check("4|64|256000|gpu:a100:4 2|64|256000|gpu:a100:8", &["p-a100-4x", "p-a100-8x"]);
    check("4|64|256000|gpu:a100:4,gpu:t4:2", &["p-a100", "p-t4"]);
    check("1|64|256000|gpu:1g.5gb:7 1|64|256000|", &["p-1g-5gb", "p-cpu"]);
    // Nothing of a shared node's size is in its class.
    check("4|64|256000| 2|64|512000|", &["p"]);
    check("4|64|256000| 2|96|512000| 1|64|256000|gpu:1", &["p-cpu", "p-gpu"]);
    // Bought together: the difference is in the firmware.
    check("4|64|257000| 2|64|256000| 1|64|256500|", &["p"]);
    check(
        "1|8|8192|gpu:t4:1 1|8|16384|gpu:t4:1 1|8|8192|gpu:t4:2 1|16|8192|",
        &["p-cpu", "p-t4-1x-8c-16g", "p-t4-1x-8c-8g", "p-t4-2x-8c-8g"],
    );
}

#[test]
fn names_are_valid_and_no_two_are_alike() {
    let row = |name: &str| format!("{name}|1|8|8000|\n");
    let (partitions, nodes): (String, String) = ["a b", "a/b", "a\u{fc}b", "local", "--x", "☃"]
        .iter()
        .map(|name| (partition(name, ""), row(name)))
        .unzip();
    // What no directive can carry is no class, and does not keep the others from being some.
    assert_eq!(class_names(&partitions, &nodes), ["a-b", "a-b-2", "local-2", "x"]);
    assert_eq!(class_names(&partition("p", ""), "p|1|8|8000|gpu:\u{fc}:1,gpu:a:1\n"), ["p"]);
    // Of a partition's own name and one that is made up, none is lost, and the partition keeps its own.
    let partitions = [partition("gpu", ""), partition("gpu-cpu", "")].concat();
    let nodes = "gpu|1|8|8000|\ngpu|1|8|8000|gpu:1\ngpu-cpu|1|8|8000|\n";
    let text = site(&partitions, nodes).unwrap();
    let of = |class: &str, partition: &str| {
        let head =
            format!("[class.{class}]\ncluster = \"Big-Iron\"\npartition = \"{partition}\"\n");
        assert!(text.contains(&head), "{text}");
    };
    of("gpu-cpu", "gpu-cpu");
    of("gpu-cpu-2", "gpu");
    of("gpu-gpu", "gpu");
}

#[test]
fn shared_nodes_without_gpus_are_one_class_of_a_partition() {
    let nodes = "p|4|64|256000|\np|2|96|512000|(null)\n";
    let text = site(&partition("p", ""), nodes).unwrap();
    assert!(text.contains("max_nodes = 6\n"), "{text}");
    let text = site(&partition("p", "MaxNodes=5"), nodes).unwrap();
    assert!(text.contains("max_nodes = 5\n"), "{text}");
    let text = site(&partition("p", "OverSubscribe=EXCLUSIVE"), nodes).unwrap();
    assert!(text.contains("[class.p-cpu-64c-250g]") && text.contains("[class.p-cpu-96c-500g]"));
}

#[test]
fn of_a_node_with_two_types_of_gpus_each_has_its_part() {
    let sizes = |words: &str, gres: &str| {
        let text = site(&partition("p", words), &format!("p|2|64|256000|{gres}\n")).unwrap();
        let keys = ["gpus_per_node = ", "cpus_per_node = ", "memory_per_node = "];
        let value =
            |line: &str| keys.iter().find_map(|key| line.strip_prefix(key)).map(str::to_owned);
        text.lines().filter_map(value).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sizes("", "gpu:a100:6,gpu:t4:2"), "6 48 \"180000M\" 2 16 \"60000M\"");
    assert_eq!(sizes("", "gpu:a100:4"), "4 64 \"240000M\"");
    // No part is nothing.
    assert_eq!(sizes("", "gpu:a100:1,gpu:t4:99"), "1 1 \"2400M\" 99 63 \"237600M\"");
    let whole = sizes("OverSubscribe=EXCLUSIVE", "gpu:a100:6,gpu:t4:2");
    assert_eq!(whole, "6 64 \"250G\" 2 64 \"250G\"");
}

#[test]
fn the_default_class_is_where_most_nodes_of_the_default_partition_are() {
    let partitions = [partition("a", ""), partition("b", "Default=YES")].concat();
    let nodes = "a|9|8|8000|\nb|2|8|8000|gpu:1\nb|3|8|8000|\n";
    assert!(site(&partitions, nodes).unwrap().contains("default_class = \"b-cpu\"\n"));
    let none = site(&partition("a", ""), nodes).unwrap();
    assert!(!none.contains("default_class"), "{none}");
}

#[test]
fn what_gives_no_site_says_why() {
    let (fine, nodes) = (partition("p", ""), "p|1|8|8000|\n");
    let check = |config: &str, partitions: &str, nodes: &str, why: &str| {
        let said = Said { config, partitions, nodes };
        assert_eq!(site_text(&which(), &said, &asker()).unwrap_err(), why);
    };
    check("", &fine, nodes, "it does not say what the cluster is called");
    check("ClusterName = (null)\n", &fine, nodes, "it does not say what the cluster is called");
    check(CONFIG, "", nodes, "none of its partitions is open to you");
    check(CONFIG, &fine, "", "none of its partitions is open to you");
    check(CONFIG, &fine, "p|0|8|8000|\n", "none of its partitions is open to you");
    check(CONFIG, &partition("p", "State=DRAIN"), nodes, "none of its partitions is open to you");
    check(CONFIG, &fine, &nodes[..5], "its answer breaks off");
}

#[test]
fn the_commands_are_those_of_the_search_path() {
    let dir = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
    };
    let at = |name: &str| dir.path().join(name).display().to_string();
    let search = format!("relative:{}:{}", at("wrappers"), at("slurm"));
    let found = || WhichSlurm::on_path(&search, Some("/c".into()), None);
    assert_eq!(found(), None);
    make("slurm/sinfo");
    assert_eq!(found(), None);
    make("slurm/scontrol");
    make("wrappers/sbatch");
    let which = found().unwrap();
    assert_eq!((&which.directory, &which.conf), (&at("slurm"), &Some("/c".to_owned())));
    assert_eq!(which.elsewhere, BTreeMap::from([("sbatch".into(), at("wrappers/sbatch"))]));
}

#[test]
fn root_describes_a_cluster_that_takes_no_jobs_of_root() {
    let partitions = partition("p", "DisableRootJobs=YES");
    let said = Said { config: CONFIG, partitions: &partitions, nodes: "p|4|64|256000|\n" };
    let root = Asker { uid: 0, ..asker() };
    let text = commented_text(&which(), &said, &Accounting::default(), &root).unwrap();
    assert!(text.contains("[class.p]"), "{text}");
    assert!(site_text(&which(), &said, &root).is_err(), "root's own runs find no class");
}
