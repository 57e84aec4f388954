//! What `scontrol show partition` and `sinfo` say about a cluster, as pure functions of text.
//!
//! All of it is the administrators' own writing, so there is no forgery to fear; but an answer with a line that cannot be
//! read is refused whole, because a site with half of its classes is worse than yesterday's.

use crate::domain::resolve::Asker;
use crate::domain::units::TimeLimit;

/// The words of the question about nodes: one row for each kind of node in each partition. GRES, the only text with
/// characters of its own, comes last. `-e` keeps nodes of different size apart, `--noconvert` writes 1024 as 1024.
pub(super) const SINFO: [&str; 5] = ["-h", "-e", "--noconvert", "-o", "%R|%D|%c|%m|%G"];

/// The words of the question about partitions. Without `-a`: what is hidden from a user is no offer to them.
pub(super) const PARTITIONS: [&str; 3] = ["-o", "show", "partition"];

/// A partition, as far as a hardware class depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) is_exclusive: bool,
    pub(super) default_time: Option<TimeLimit>,
    pub(super) max_time: Option<TimeLimit>,
    pub(super) min_nodes: u32,
    pub(super) max_nodes: Option<u32>,
    /// What one job may use of a node.
    pub(super) max_cpus: Option<u32>,
    pub(super) max_memory: Option<u64>,
    access: Access,
}

/// Who may submit to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Access {
    root: bool,
    users: Users,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Users {
    None,
    All,
    Groups(Vec<String>),
}

/// GPUs of one type on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::slurm) struct Gpus {
    /// `None` where the site's GRES has no type.
    pub(in crate::slurm) kind: Option<String>,
    pub(in crate::slurm) count: u32,
}

/// Nodes of one partition that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nodes {
    pub(super) partition: String,
    pub(super) count: u32,
    pub(super) cpus: u32,
    /// MiB.
    pub(super) memory: u64,
    /// Empty for a node without GPUs.
    pub(super) gpus: Vec<Gpus>,
}

impl Partition {
    /// Whether jobs of this user are let in. Accounts may be restricted too, and which ones a user has is not known here.
    pub(super) fn is_open_to(&self, asker: &Asker) -> bool {
        match &self.access {
            // Slurm asks root neither for a group nor for the right to be there.
            Access { root, .. } if asker.uid == 0 => *root,
            Access { users: Users::None, .. } => false,
            Access { users: Users::All, .. } => true,
            Access { users: Users::Groups(groups), .. } => {
                groups.iter().any(|group| asker.groups.contains(group))
            }
        }
    }
}

pub(super) fn partitions(text: &str) -> Result<Vec<Partition>, String> {
    whole_lines(text)?.map(|line| partition(line).ok_or_else(|| unread(line))).collect()
}

fn partition(line: &str) -> Option<Partition> {
    let fields = fields(line);
    let word =
        |key: &str| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    let is = |key: &str, value: &str| word(key).is_some_and(|word| word.starts_with(value));
    let name = word("PartitionName").filter(|name| !name.is_empty())?;
    // A job needs a reservation there, and a class has none.
    let is_reserved = is("ReqResv", "YES");
    // Into one that is down jobs are queued, as over a weekend of maintenance.
    let is_offered =
        ["UP", "DOWN"].contains(&word("State")?) && !is("Hidden", "YES") && !is_reserved;
    let users = match word("AllowGroups")? {
        _ if !is_offered || is("RootOnly", "YES") => Users::None,
        "ALL" => Users::All,
        groups => Users::Groups(groups.split(',').map(str::to_owned).collect()),
    };
    Some(Partition {
        name: name.to_owned(),
        is_default: is("Default", "YES"),
        is_exclusive: is("OverSubscribe", "EXCLUSIVE"),
        default_time: word("DefaultTime").and_then(TimeLimit::parse),
        max_time: TimeLimit::parse(word("MaxTime")?),
        min_nodes: word("MinNodes")?.parse().ok()?,
        max_nodes: number(word("MaxNodes")?),
        max_cpus: word("MaxCPUsPerNode").and_then(number),
        max_memory: word("MaxMemPerNode").and_then(number),
        access: Access { root: is_offered && !is("DisableRootJobs", "YES"), users },
    })
}

/// `Key=value` words. A group's name may hold a space: a word that is no `Key=value` belongs to the one before it.
pub(in crate::slurm) fn fields(line: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for word in line.split_ascii_whitespace() {
        let pair = word.split_once('=').filter(|(key, _)| is_key(key));
        match (pair, fields.last_mut()) {
            (Some((key, value)), _) => fields.push((key, value.to_owned())),
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (None, None) => {}
        }
    }
    fields
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A limit; `UNLIMITED` and its like are none.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

pub(super) fn nodes(text: &str) -> Result<Vec<Nodes>, String> {
    // Older releases put this above the answer of a cluster that SLURM_CLUSTERS names.
    let rows = whole_lines(text)?.filter(|line| !line.starts_with("CLUSTER: "));
    rows.map(|line| row(line).ok_or_else(|| unread(line))).collect()
}

fn row(line: &str) -> Option<Nodes> {
    let mut columns = line.splitn(5, '|');
    let mut next = || columns.next();
    let (partition, count, cpus, memory, gres) = (next()?, next()?, next()?, next()?, next()?);
    // The least of several that are shown as one.
    let least = |text: &str| text.strip_suffix('+').unwrap_or(text).parse::<u64>().ok();
    Some(Nodes {
        partition: Some(partition).filter(|name| !name.is_empty())?.to_owned(),
        count: count.parse().ok()?,
        cpus: least(cpus).and_then(|cpus| u32::try_from(cpus).ok())?,
        memory: least(memory)?,
        gpus: gpus(gres),
    })
}

/// The GPUs in `gpu:a100:4(S:0-1),gpu:1g.5gb:2,craynetwork:4`.
pub(in crate::slurm) fn gpus(gres: &str) -> Vec<Gpus> {
    let mut gpus: Vec<Gpus> = Vec::new();
    for words in without_parentheses(gres).split(',') {
        let mut words = words.split(':').filter(|word| *word != "no_consume");
        if words.next() != Some("gpu") {
            continue;
        }
        let (kind, count) = match (words.next(), words.next()) {
            (None, _) => (None, Some(1)),
            (Some(word), None) => match amount(word) {
                Some(count) => (None, Some(count)),
                None => (Some(word.to_owned()), Some(1)),
            },
            (Some(kind), Some(count)) => (Some(kind.to_owned()), amount(count)),
        };
        let count: u32 = count.unwrap_or(0);
        match gpus.iter_mut().find(|known| known.kind == kind) {
            _ if count == 0 => {}
            Some(known) => known.count = known.count.saturating_add(count),
            None => gpus.push(Gpus { kind, count }),
        }
    }
    gpus
}

/// A count of GRES: slurm.conf may say `2K`, and an answer may.
fn amount(text: &str) -> Option<u32> {
    const SUFFIXES: [(char, u32); 3] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let split = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number = text.strip_suffix([*suffix, suffix.to_ascii_lowercase()])?;
        Some((number, *factor))
    });
    let (number, factor) = split.unwrap_or((text, 1));
    number.parse::<u32>().ok().map(|number| number.saturating_mul(factor))
}

/// Drops where the devices are, `(S:0,1)`, whose commas would part them.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

fn whole_lines(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    if text.is_empty() || text.ends_with('\n') {
        Ok(text.lines().filter(|line| !line.trim().is_empty()))
    } else {
        Err("its answer breaks off".to_owned())
    }
}

fn unread(line: &str) -> String {
    /// Enough to see what it was.
    const SHOWN_MAX: usize = 200;
    let shown: String = line.escape_debug().take(SHOWN_MAX).collect();
    format!("a line of its answer cannot be read: {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "PartitionName=p AllowGroups=ALL Default=NO DefaultTime=NONE \
        DisableRootJobs=NO Hidden=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 RootOnly=NO \
        ReqResv=NO OverSubscribe=NO State=UP MaxMemPerNode=UNLIMITED\n";

    fn asker(uid: u32) -> Asker {
        Asker {
            user: "anna".into(),
            uid,
            group: "staff".into(),
            groups: vec!["staff".into(), "domain users".into()],
            home: "/home/anna".into(),
        }
    }

    #[test]
    fn a_partition_is_open_to_whom_slurm_lets_in() {
        let check = |from: &str, to: &str, user: bool, root: bool| {
            let text = LINE.replace(from, to);
            let partition = partitions(&text).unwrap().remove(0);
            let open = (partition.is_open_to(&asker(1000)), partition.is_open_to(&asker(0)));
            assert_eq!(open, (user, root), "{to}");
        };
        check("State=UP", "State=UP", true, true);
        check("State=UP", "State=DOWN", true, true);
        check("State=UP", "State=DRAIN", false, false);
        check("State=UP", "State=INACTIVE", false, false);
        check("Hidden=NO", "Hidden=YES", false, false);
        check("ReqResv=NO", "ReqResv=YES", false, false);
        check("RootOnly=NO", "RootOnly=YES", false, true);
        check("DisableRootJobs=NO", "DisableRootJobs=YES", true, false);
        check("AllowGroups=ALL", "AllowGroups=wheel", false, true);
        check("AllowGroups=ALL", "AllowGroups=wheel,staff", true, true);
        check("AllowGroups=ALL", "AllowGroups=wheel,domain users AllowQos=ALL", true, true);
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_refused_whole() {
        for missing in ["PartitionName=p", "State=UP", "MaxTime=UNLIMITED", "MinNodes=0"] {
            let text = format!("{LINE}{}", LINE.replace(missing, "x"));
            let why = partitions(&text).unwrap_err();
            assert!(why.starts_with("a line of its answer cannot be read: "), "{why}");
        }
        for end in 1..LINE.len() {
            assert_eq!(partitions(&LINE[..end]).unwrap_err(), "its answer breaks off");
        }
        let row = "main|2|8|8000|gpu:a100:2\n";
        for bad in ["main|2|8|8000\n", "main|x|8|8000|\n", "|2|8|8000|\n", "\u{1b}[31m\n"] {
            let why = nodes(&format!("{row}{bad}")).unwrap_err();
            assert!(!why.contains('\u{1b}'), "{why}");
        }
        assert_eq!(nodes(&row[..row.len() - 1]).unwrap_err(), "its answer breaks off");
        assert_eq!(nodes(&format!("CLUSTER: big\n{row}")).unwrap().len(), 1);
        let plus = nodes("main|2|8+|8000+|(null)\n").unwrap().remove(0);
        assert_eq!((plus.cpus, plus.memory, plus.gpus), (8, 8000, vec![]));
    }

    #[test]
    fn gpus_are_found_among_all_spellings_of_gres() {
        let check = |text: &str, expected: &[(&str, u32)]| {
            let found = gpus(text);
            let found: Vec<_> =
                found.iter().map(|gpus| (gpus.kind.as_deref().unwrap_or(""), gpus.count)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("(null)", &[]);
        check("", &[]);
        check("gpu:4", &[("", 4)]);
        check("gpu", &[("", 1)]);
        check("gpu:a100", &[("a100", 1)]);
        check("gpu:a100:2(S:0-1)", &[("a100", 2)]);
        check("gpu:a100:2(S:0,1),gpu:v100:1(S:0)", &[("a100", 2), ("v100", 1)]);
        check("gpu:a100:2,gpu:a100:2", &[("a100", 4)]);
        check("craynetwork:4,gpu:no_consume:2,shard:8", &[("", 2)]);
        check("gpu:1g.5gb:7", &[("1g.5gb", 7)]);
        check("gpu:2K,gpu:a100:1k", &[("", 2048), ("a100", 1024)]);
        check("gpu:1M,gpu:a100:9G", &[("", 1 << 20), ("a100", u32::MAX)]);
        // A type, and no count.
        check("gpu:gtx1080G,gpu:K,gpu:K:2", &[("gtx1080G", 1), ("K", 3)]);
        check("gpu:a100:0,gpu:x:y,gpux:3", &[]);
        check("gpu:a100:4294967295,gpu:a100:9", &[("a100", u32::MAX)]);
    }
}
