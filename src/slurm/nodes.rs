//! What `scontrol show node` says of a cluster's nodes, and how it is told which of them a job is not to be given.
//!
//! sinfo's one word for a node hides that a drained one is down as well; this shows all of them.

use crate::domain::bad_nodes::{Health, Node};
use crate::domain::gres::gpus;
use crate::domain::nodelist::{NodeName, joined};
use crate::slurm::found::answers::fields;

/// The words of the question: a line for each node, also of those in hidden partitions.
pub(super) fn args() -> Vec<String> {
    ["-a", "-o", "show", "node"].map(str::to_owned).into()
}

/// The nodes that can be read. One that cannot is left out: nobody is told to keep away from it, nor counts on it.
pub(crate) fn parse(text: &str) -> Vec<Node> {
    text.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<Node> {
    // The reason, in which administrators may write anything, comes last: what is meant comes first.
    let fields = fields(line);
    let word = |key: &str| {
        let found = fields.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| *value != "(null)")
    };
    let listed = |key: &str| -> Vec<String> {
        word(key).into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
    };
    let state = word("State")?;
    let health = health(state);
    let is_idle = health == Health::Well && state.split(['+', '~', '#']).any(|word| word == "IDLE");
    Some(Node {
        name: word("NodeName")?.parse().ok()?,
        partitions: listed("Partitions"),
        health,
        is_idle,
        cpus: word("CPUTot")?.parse().ok()?,
        memory: word("RealMemory")?.parse().ok()?,
        gpus: gpus(word("Gres").unwrap_or_default())
            .into_iter()
            .map(|gpus| (gpus.kind, gpus.count))
            .collect(),
        features: listed("ActiveFeatures"),
        available: listed("AvailableFeatures"),
    })
}

/// `DOWN*+DRAIN`, `IDLE+NOT_RESPONDING`: a state, and flags. A word that nobody knows is no failure, and nothing to count on.
fn health(state: &str) -> Health {
    const FAILED: [&str; 5] = ["DOWN", "ERROR", "FAIL", "FAILING", "NOT_RESPONDING"];
    const WELL: [&str; 8] = [
        "IDLE",
        "ALLOCATED",
        "MIXED",
        "COMPLETING",
        "PLANNED",
        "CLOUD",
        "POWERED_DOWN",
        "POWERING_UP",
    ];
    let words: Vec<&str> = state.split('+').collect();
    let is_failed =
        |word: &&str| word.ends_with('*') || FAILED.contains(&word.trim_end_matches('*'));
    if words.iter().any(is_failed) {
        Health::Failed
    } else if words.iter().all(|word| WELL.contains(&word.trim_end_matches(['~', '#', '@', '-']))) {
        Health::Well
    } else {
        Health::Withdrawn
    }
}

/// The words that replace what a job excludes. An empty list excludes none.
pub(super) fn exclusion(id: &str, nodes: &[NodeName]) -> Vec<String> {
    let nodes = format!("ExcNodeList={}", joined(nodes, ","));
    ["update".to_owned(), format!("JobId={id}"), nodes].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 22.05 prints it, set to drain and then down.
    const LINE: &str = "NodeName=n4 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=8 CPUTot=8 CPULoad=0.86 \
        AvailableFeatures=slow,old ActiveFeatures=slow Gres=gpu:v100:2(S:0-1) NodeAddr=127.0.0.1 NodeHostName=vm \
        Port=10005 Version=22.05.8 OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=8000 AllocMem=0 \
        FreeMem=6371 Sockets=8 Boards=1 State=DOWN+DRAIN ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A \
        MCS_label=N/A Partitions=main,low  BootTime=1795889770 CfgTRES=cpu=8,mem=8000M,gres/gpu=2 AllocTRES= \
        CapWatts=n/a Reason=y Partitions=q State=IDLE [root@1795943465]\n";

    #[test]
    fn a_node_is_read_as_slurm_shows_it() {
        let nodes = parse(&format!("CLUSTER: big\n{LINE}NodeName=n5 State=IDLE\n"));
        let expected = Node {
            name: "n4".parse().unwrap(),
            partitions: vec!["main".into(), "low".into()],
            health: Health::Failed,
            is_idle: false,
            cpus: 8,
            memory: 8000,
            gpus: vec![(Some("v100".into()), 2)],
            features: vec!["slow".into()],
            available: vec!["slow".into(), "old".into()],
        };
        assert_eq!(nodes, [expected], "what cannot be read is left out");
        let plain = parse(&LINE.replace("=slow", "=(null)").replace("Partitions=main,low", ""));
        assert_eq!(plain[0].features, Vec::<String>::new());
        let is_idle = |state: &str| parse(&LINE.replace("DOWN+DRAIN", state))[0].is_idle;
        assert!(is_idle("IDLE") && is_idle("IDLE+CLOUD") && is_idle("IDLE~"));
        assert!(!is_idle("MIXED") && !is_idle("IDLE+DRAIN") && !is_idle("IDLE*"));
    }

    #[test]
    fn only_what_is_down_or_silent_has_failed_and_only_what_works_counts() {
        for (state, expected) in [
            ("IDLE", Health::Well),
            ("MIXED+CLOUD", Health::Well),
            ("ALLOCATED+COMPLETING", Health::Well),
            ("IDLE~", Health::Well),
            ("IDLE+PLANNED", Health::Well),
            ("IDLE+CLOUD+POWERED_DOWN", Health::Well),
            ("DOWN", Health::Failed),
            ("DOWN*+DRAIN", Health::Failed),
            ("IDLE*", Health::Failed),
            ("IDLE*+DRAIN", Health::Failed),
            ("MIXED+NOT_RESPONDING", Health::Failed),
            ("IDLE+FAIL", Health::Failed),
            ("IDLE+DRAIN", Health::Withdrawn),
            ("IDLE+MAINTENANCE", Health::Withdrawn),
            ("IDLE+RESERVED", Health::Withdrawn),
            ("FUTURE", Health::Withdrawn),
            ("UNKNOWN", Health::Withdrawn),
            ("SHINY", Health::Withdrawn),
        ] {
            assert_eq!(health(state), expected, "{state}");
        }
    }

    #[test]
    fn what_a_job_excludes_is_replaced_by_names() {
        let nodes = ["n2", "n9"].map(|name| name.parse().unwrap());
        assert_eq!(exclusion("7_3", &nodes), ["update", "JobId=7_3", "ExcNodeList=n2,n9"]);
        assert_eq!(exclusion("7", &[]), ["update", "JobId=7", "ExcNodeList="]);
    }
}
