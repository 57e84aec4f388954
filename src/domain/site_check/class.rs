//! One hardware class against its cluster.

use crate::domain::bad_nodes::{Node, is_of_feature};
use crate::domain::gres::{Gpus, gpus};
use crate::domain::nodelist;
use crate::domain::problem::{At, Place};
use crate::domain::resolve::Asker;
use crate::domain::site::{Class, GpuRequest, MemoryRequest};
use crate::domain::site_check::accounts::Payer;
use crate::domain::site_check::{Bar, Finding, Level, Partition, Survey, known};
use crate::domain::units::Mebibytes;

pub(super) struct Checker<'a> {
    pub(super) name: &'a At<String>,
    pub(super) class: &'a Class,
    pub(super) survey: &'a Survey,
    pub(super) asker: &'a Asker,
}

impl<'a> Checker<'a> {
    pub(super) fn what(&self) -> String {
        format!("class.{}", self.name.value)
    }

    fn key(&self, key: &str) -> String {
        format!("class.{}.{key}", self.name.value)
    }

    fn bad(&self, key: &str, place: Place, told: String, mend: impl Into<String>) -> Finding {
        Finding::bad(self.key(key), told, mend).at(Some(place))
    }

    /// Pushes what is wrong; gives what is told when nothing is.
    pub(super) fn check(&self, findings: &mut Vec<Finding>) -> String {
        let payer = Payer::of_class(self.what(), self.class);
        payer.check(&[self.survey], self.asker, findings);
        self.check_lists(findings);
        let judge = |partition| {
            let mut findings = Vec::new();
            let told = self.check_partition(&payer, partition, &mut findings);
            (findings, told)
        };
        let judged: Vec<_> = self.partitions(findings).into_iter().map(judge).collect();
        let is_bad = |finding: &Finding| finding.level == Level::Bad;
        // A job of several partitions is given whichever it can have.
        let is_met = !self.survey.enforces_every_partition
            && judged.iter().any(|(found, _)| !found.iter().any(is_bad));
        let mut told = Vec::new();
        for (found, of_partition) in judged {
            findings.extend(found.into_iter().map(|finding| {
                let level = if is_met && is_bad(&finding) { Level::Note } else { finding.level };
                Finding { level, ..finding }
            }));
            told.push(of_partition);
        }
        told.join("; ")
    }

    /// The same of one partition, as if it were the only one that is named.
    fn check_partition(
        &self,
        payer: &Payer<'_>,
        partition: &Partition,
        findings: &mut Vec<Finding>,
    ) -> String {
        let name = &partition.name;
        self.check_access(partition, findings);
        self.check_times(partition, findings);
        payer.check_partition(partition, findings);
        let nodes = self.nodes(partition, findings);
        if nodes.is_empty() {
            // Why is told already, or the nodes cannot be seen.
            return format!("partition {name}; its nodes are not shown");
        }
        let from = findings.len();
        let fitting = self.fitting(&nodes, partition, findings);
        if findings.len() == from {
            self.check_counts(fitting, partition, findings);
        }
        let s = if fitting == 1 { "" } else { "s" };
        format!("partition {name}, {fitting} node{s} of that size")
    }

    /// The partitions that are named and there; the default one where none is named.
    fn partitions(&self, findings: &mut Vec<Finding>) -> Vec<&'a Partition> {
        let Some(named) = &self.class.partition else {
            let default = self.survey.partitions.iter().find(|it| it.is_default);
            if default.is_none() {
                let told = "it names no partition, and the cluster has no default one";
                let mend = "add `partition = \"NAME\"`";
                findings.push(Finding::bad(self.what(), told, mend).at(Some(self.name.place)));
            }
            return default.into_iter().collect();
        };
        let all: Vec<&str> = self.survey.partitions.iter().map(|it| it.name.as_str()).collect();
        let mut found = Vec::new();
        for name in &named.0 {
            if let Some(partition) = self.survey.partition(&name.value) {
                found.push(partition);
                continue;
            }
            let told = format!("the cluster has no partition `{}`", name.value);
            let mend = known(&name.value, &all, "`sinfo` lists the partitions");
            findings.push(self.bad("partition", name.place, told, mend));
        }
        found
    }

    fn check_access(&self, partition: &Partition, findings: &mut Vec<Finding>) {
        let name = &partition.name;
        let place = self.class.partition.as_ref().and_then(|all| all.0.first());
        let place = Some(place.map_or(self.name.place, |at| at.place));
        if partition.is_down {
            let told = format!("partition `{name}` is DOWN: jobs are queued and do not start");
            let mend = "nothing, if the administrators mean it so: they start when it is UP";
            findings.push(Finding::note(self.key("partition"), told, mend).at(place));
        }
        for bar in partition.bars.iter().filter(|bar| bar.stops(self.asker)) {
            let (why, mend) = match bar {
                // Whoever names it, or the reservation, is let in.
                Bar::Hidden => continue,
                Bar::NeedsReservation if self.class.reservation.is_some() => continue,
                Bar::NeedsReservation => (
                    "takes only jobs of a reservation".to_owned(),
                    "add `reservation = \"NAME\"` to the class".to_owned(),
                ),
                Bar::State(state) => (
                    format!("is {state} and takes no jobs"),
                    "name another partition until it is UP".to_owned(),
                ),
                Bar::RootOnly => {
                    ("is for root alone".to_owned(), "name another partition".to_owned())
                }
                Bar::NoRoot => {
                    // Root looks at a site for others.
                    let told = format!("root cannot submit to partition `{name}`; others can");
                    let mend = "look again as the user whose runs it is for";
                    findings.push(Finding::note(self.key("partition"), told, mend).at(place));
                    continue;
                }
                Bar::Groups(groups) => (
                    format!("is not open to {}", self.asker.user),
                    format!(
                        "it is for the groups {}: join one, or name another partition",
                        groups.join(", ")
                    ),
                ),
            };
            let told = format!("partition `{name}` {why}");
            findings.push(Finding::bad(self.key("partition"), told, mend).at(place));
        }
    }

    fn check_times(&self, partition: &Partition, findings: &mut Vec<Finding>) {
        let Some(most) = partition.max_time else { return };
        let (max, default) = (&self.class.max_time, &self.class.default_time);
        let both = [("max_time", max), ("default_time", default)];
        let said = both.into_iter().find_map(|(key, said)| said.as_ref().map(|said| (key, said)));
        let Some((key, said)) = said.filter(|(_, said)| said.value > most) else { return };
        let told = format!(
            "{} is longer than partition `{}` allows: {}",
            said.value.0, partition.name, most.0
        );
        let mend = format!("set `{key}` to at most \"{}\"", most.0);
        findings.push(self.bad(key, said.place, told, mend));
    }

    /// What is named beside the partition: reservation, licenses, nodes.
    fn check_lists(&self, findings: &mut Vec<Finding>) {
        let names = |all: &'a Option<Vec<String>>| -> Option<Vec<&'a str>> {
            Some(all.as_ref()?.iter().map(String::as_str).collect())
        };
        if let (Some(said), Some(all)) = (&self.class.reservation, names(&self.survey.reservations))
        {
            for word in said.value.split(',').filter(|word| !all.contains(word)) {
                let told = format!("the cluster has no reservation `{word}`");
                let mend = known(word, &all, "`scontrol show reservation` lists them");
                findings.push(self.bad("reservation", said.place, told, mend));
            }
        }
        if let (Some(said), Some(all)) = (&self.class.licenses, names(&self.survey.licenses)) {
            let words = said.value.split([',', ';', '|']).map(str::trim);
            // `name@server:count`
            let words = words.map(|word| word.split(':').next().unwrap_or(word));
            for word in words.filter(|word| !all.contains(word)) {
                let told = format!("the cluster has no license `{word}`");
                let mend = known(word, &all, "`scontrol show licenses` lists them");
                findings.push(self.bad("licenses", said.place, told, mend));
            }
        }
        let nodes: Vec<&str> = self.survey.nodes.iter().map(|node| node.name.as_str()).collect();
        let lists = [("nodelist", &self.class.nodelist), ("exclude", &self.class.exclude)];
        for (key, said) in lists.into_iter().filter_map(|(key, it)| Some((key, it.as_ref()?))) {
            let Ok(named) = nodelist::expand(&said.value) else { continue };
            let unknown = named.iter().find(|name| !nodes.contains(&name.as_str()));
            if let Some(name) = unknown.filter(|_| !nodes.is_empty()) {
                let told = format!("the cluster has no node `{name}`");
                let mend = known(name, &nodes, "`sinfo -N` lists the nodes");
                findings.push(self.bad(key, said.place, told, mend));
            }
        }
    }

    /// The partition's nodes that the class's constraint and lists leave.
    fn nodes(&self, partition: &Partition, findings: &mut Vec<Finding>) -> Vec<&'a Node> {
        let name = &partition.name;
        let is_in = |node: &&Node| node.partitions.contains(name);
        let mut nodes: Vec<&Node> = self.survey.nodes.iter().filter(is_in).collect();
        if nodes.is_empty() {
            return nodes;
        }
        let expanded = |said: &Option<At<String>>| {
            said.as_ref().and_then(|said| nodelist::expand(&said.value).ok())
        };
        if let Some(excluded) = expanded(&self.class.exclude) {
            nodes.retain(|node| !excluded.iter().any(|name| name == node.name.as_str()));
        }
        let Some(constraint) = &self.class.constraint else { return nodes };
        // `a&b`, `[a|b]`, `a*2&b*4`: what follows a star is a count.
        let words = constraint.value.split(|c| !is_of_feature(c) && c != '*');
        let words: Vec<&str> = words
            .map(|word| word.split('*').next().unwrap_or(word))
            .filter(|word| !word.is_empty())
            .collect();
        let has = |node: &Node, word: &str| {
            node.features.iter().chain(&node.available).any(|feature| feature == word)
        };
        let mut features: Vec<&str> =
            nodes.iter().flat_map(|node| &node.available).map(String::as_str).collect();
        features.sort_unstable();
        features.dedup();
        let mut is_known = true;
        for word in words.iter().filter(|word| !nodes.iter().any(|node| has(node, word))) {
            is_known = false;
            let told = format!("no node of partition `{name}` has the feature `{word}`");
            let mend = known(word, &features, "`sinfo -o '%N %f'` shows the features of nodes");
            findings.push(self.bad("constraint", constraint.place, told, mend));
        }
        let is_plain = constraint.value.chars().all(|c| is_of_feature(c) || c == '&' || c == ',');
        // Without it the sizes are looked at all the same.
        if is_known && is_plain {
            nodes.retain(|node| words.iter().all(|word| has(node, word)));
            if nodes.is_empty() {
                let told =
                    format!("no node of partition `{name}` has all of `{}`", constraint.value);
                let mend = "`sinfo -o '%N %f'` shows the features of nodes";
                findings.push(self.bad("constraint", constraint.place, told, mend));
            }
        }
        nodes
    }

    /// What one node is asked for, GPUs: the type only where it is part of the request.
    fn gpus(&self) -> Option<(&'static str, Place, Gpus)> {
        let class = self.class;
        let is =
            |request: GpuRequest| class.gpu_request.as_ref().is_some_and(|it| it.value == request);
        if is(GpuRequest::None) {
            return None;
        }
        if let Some(gres) = class.gres.as_ref() {
            let asked = gpus(&gres.value).into_iter().next()?;
            return Some(("gres", gres.place, asked));
        }
        let count = class.gpus_per_node.as_ref().filter(|count| count.value > 0)?;
        let is_typed = class.gpu_typed.as_ref().is_some_and(|typed| typed.value);
        let kind = class.gpu_type.as_ref().filter(|_| is_typed).map(|kind| kind.value.clone());
        Some(("gpus_per_node", count.place, Gpus { kind, count: count.value }))
    }

    /// The memory that sbatch is told of. Where it is told of none, or of all, a node may be registered with any: often with 1.
    fn memory(&self) -> Option<&'a At<Mebibytes>> {
        let is_told = match self.class.memory_request() {
            MemoryRequest::Node | MemoryRequest::PerGpu | MemoryRequest::PerCpu => true,
            MemoryRequest::All | MemoryRequest::None => false,
        };
        self.class.memory_per_node.as_ref().filter(|_| is_told)
    }

    /// How many nodes have all that one is asked for; each thing that none has is told.
    fn fitting(
        &self,
        nodes: &[&Node],
        partition: &Partition,
        findings: &mut Vec<Finding>,
    ) -> usize {
        let name = &partition.name;
        let from = findings.len();
        let asked = self.gpus();
        if let Some((key, place, asked)) = &asked {
            self.check_gpus((key, *place), asked, (nodes, name), findings);
        }
        let most = |of: &dyn Fn(&Node) -> u64, limit: Option<u64>| {
            let of_nodes = nodes.iter().map(|node| of(node)).max().unwrap_or(0);
            limit.map_or(of_nodes, |limit| limit.min(of_nodes))
        };
        let cpus = self.class.cpus_per_node.as_ref();
        let cpus_most = most(&|node| node.cpus.into(), partition.max_cpus.map(u64::from));
        if let Some(cpus) = cpus.filter(|cpus| u64::from(cpus.value.get()) > cpus_most) {
            let told = format!(
                "{} CPUs, and a job gets at most {cpus_most} of a node of {name}",
                cpus.value
            );
            let mend = format!("set `cpus_per_node` to at most {cpus_most}");
            findings.push(self.bad("cpus_per_node", cpus.place, told, mend));
        }
        let memory = self.memory();
        let memory_most = most(&|node| node.memory, partition.max_memory);
        if let Some(memory) = memory.filter(|memory| memory.value.0 > memory_most) {
            let most = Mebibytes(memory_most);
            let told =
                format!("{}, and a job gets at most {most} of a node of {name}", memory.value);
            let mend = format!("set `memory_per_node` to at most \"{most}\"");
            findings.push(self.bad("memory_per_node", memory.place, told, mend));
        }
        let fits = |node: &&&Node| {
            asked.as_ref().is_none_or(|(_, _, asked)| count_of(node, asked) >= asked.count)
                && cpus.is_none_or(|cpus| cpus.value.get() <= node.cpus)
                && memory.is_none_or(|memory| memory.value.0 <= node.memory)
        };
        let fitting = nodes.iter().filter(fits).count();
        if fitting == 0 && findings.len() == from {
            let told = format!("no single node of {name} has its CPUs, memory and GPUs together");
            let mend = "make it two classes, one for each kind of node";
            findings.push(Finding::bad(self.what(), told, mend).at(Some(self.name.place)));
        }
        fitting
    }

    fn check_gpus(
        &self,
        (key, place): (&str, Place),
        asked: &Gpus,
        (nodes, name): (&[&Node], &str),
        findings: &mut Vec<Finding>,
    ) {
        let most = nodes.iter().map(|node| count_of(node, asked)).max().unwrap_or(0);
        if most >= asked.count {
            return;
        }
        let of = asked.kind.as_ref().map_or_else(String::new, |kind| format!(" of type `{kind}`"));
        let mut kinds: Vec<&str> = nodes
            .iter()
            .flat_map(|node| &node.gpus)
            .filter_map(|(kind, _)| kind.as_deref())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        let finding = if most > 0 {
            let told =
                format!("{} GPUs{of} per node, and a node of {name} has {most}", asked.count);
            self.bad(key, place, told, format!("set `{key}` to at most {most}"))
        } else {
            let told = format!("no node of {name} has GPUs{of}");
            let otherwise = "`sinfo -o '%R %G'` shows the GPUs of nodes";
            let mend = asked
                .kind
                .as_ref()
                .map_or(otherwise.to_owned(), |kind| known(kind, &kinds, otherwise));
            let typed = self.class.gpu_type.as_ref().filter(|_| key != "gres");
            let (key, place) = typed.map_or((key, place), |kind| ("gpu_type", kind.place));
            self.bad(key, place, told, mend)
        };
        findings.push(finding);
    }

    fn check_counts(&self, fitting: usize, partition: &Partition, findings: &mut Vec<Finding>) {
        let name = &partition.name;
        let there = u32::try_from(fitting).unwrap_or(u32::MAX);
        let (most, why) = match partition.max_nodes.filter(|limit| *limit < there) {
            Some(limit) => (limit, format!("partition {name} allows {limit} for a job")),
            None => (there, format!("partition {name} has {there} of that size")),
        };
        let both = [("min_nodes", &self.class.min_nodes), ("max_nodes", &self.class.max_nodes)];
        let said = both.into_iter().find_map(|(key, said)| {
            said.as_ref().filter(|said| said.value.get() > most).map(|said| (key, said))
        });
        if let Some((key, said)) = said {
            let told = format!("{} nodes, and {why}", said.value);
            let mend = format!("set `{key}` to at most {most}");
            findings.push(self.bad(key, said.place, told, mend));
        }
    }
}

/// How many GPUs of a kind a node has; of any kind where none is asked for.
fn count_of(node: &Node, asked: &Gpus) -> u32 {
    let is_same = |kind: &Option<String>| match (&asked.kind, kind) {
        (None, _) => true,
        (Some(asked), Some(kind)) => asked.eq_ignore_ascii_case(kind),
        (Some(_), None) => false,
    };
    node.gpus.iter().filter(|(kind, _)| is_same(kind)).map(|(_, count)| *count).sum()
}
