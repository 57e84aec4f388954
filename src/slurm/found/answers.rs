//! What `scontrol show partition` and `sinfo` say about a cluster, as pure functions of text.
//!
//! All of it is the administrators' own writing, so there is no forgery to fear; but an answer with a line that cannot be
//! read is refused whole, because a site with half of its classes is worse than yesterday's.

use crate::domain::gres::{Gpus, gpus};
use crate::domain::site_check::{Allowed, Bar, Partition};
use crate::domain::units::TimeLimit;

/// The words of the question about nodes: one row for each kind of node in each partition. GRES, the only text with
/// characters of its own, comes last. `-e` keeps nodes of different size apart, `--noconvert` writes 1024 as 1024.
pub(super) const SINFO: [&str; 5] = ["-h", "-e", "--noconvert", "-o", "%R|%D|%c|%m|%G"];

/// The words of the question about partitions. Without `-a`: what is hidden from a user is no offer to them.
pub(super) const PARTITIONS: [&str; 3] = ["-o", "show", "partition"];

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

pub(in crate::slurm) fn partitions(text: &str) -> Result<Vec<Partition>, String> {
    whole_lines(text)?.map(|line| partition(line).ok_or_else(|| unread(line))).collect()
}

fn partition(line: &str) -> Option<Partition> {
    let fields = fields(line);
    let word =
        |key: &str| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    let is = |key: &str, value: &str| word(key).is_some_and(|word| word.starts_with(value));
    let name = word("PartitionName").filter(|name| !name.is_empty())?;
    let listed = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let state = word("State")?;
    let groups = Some(word("AllowGroups")?).filter(|groups| *groups != "ALL").map(listed);
    let bars = [
        (!["UP", "DOWN"].contains(&state)).then(|| Bar::State(state.to_owned())),
        is("Hidden", "YES").then_some(Bar::Hidden),
        is("ReqResv", "YES").then_some(Bar::NeedsReservation),
        is("RootOnly", "YES").then_some(Bar::RootOnly),
        is("DisableRootJobs", "YES").then_some(Bar::NoRoot),
        groups.map(Bar::Groups),
    ];
    let allowed = |only: &str, never: &str| Allowed {
        only: word(only).filter(|names| *names != "ALL").map(listed),
        never: word(never).map(listed).unwrap_or_default(),
    };
    Some(Partition {
        name: name.to_owned(),
        is_default: is("Default", "YES"),
        is_exclusive: is("OverSubscribe", "EXCLUSIVE"),
        is_down: state == "DOWN",
        default_time: word("DefaultTime").and_then(TimeLimit::parse),
        max_time: TimeLimit::parse(word("MaxTime")?),
        min_nodes: word("MinNodes")?.parse().ok()?,
        max_nodes: number(word("MaxNodes")?),
        max_cpus: word("MaxCPUsPerNode").and_then(number),
        max_memory: word("MaxMemPerNode").and_then(number),
        bars: bars.into_iter().flatten().collect(),
        accounts: allowed("AllowAccounts", "DenyAccounts"),
        qos: allowed("AllowQos", "DenyQos"),
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
    use crate::domain::resolve::Asker;

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
}
