//! What a cluster says about itself, for the check of a site config: everything is asked for once, and what gives no answer
//! is left open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::resolve::Asker;
use crate::domain::site::Cluster;
use crate::domain::site_check::{Accounting, Association, ClusterFacts, CommandFact, Survey};
use crate::ports::{Hands, Silence};
use crate::slurm::commands::{Account, Commands, Query, Tools};
use crate::slurm::found::answers::{fields, partitions};
use crate::slurm::{assoc_mgr, config, nodes};

/// Longer than Slurm's commands take to find that slurmctld is not there.
const PATIENCE: Duration = Duration::from_secs(12);

/// The commands, with what each is called.
const COMMANDS: [(&str, Query); 7] = [
    ("sbatch", Query::Sbatch),
    ("squeue", Query::Squeue),
    ("sacct", Query::Sacct),
    ("scancel", Query::Scancel),
    ("scontrol", Query::Scontrol),
    ("sinfo", Query::Sinfo),
    ("sacctmgr", Query::Sacctmgr),
];

/// Asks a cluster about itself, with the commands and the environment that the daemon would have.
pub async fn survey(
    hands: Arc<dyn Hands>,
    settings: &Cluster,
    asker: &Asker,
    variables: &[(String, String)],
) -> ClusterFacts {
    let commands = commands(hands, settings, asker, variables);
    let mut facts = Vec::new();
    for (name, query) in COMMANDS {
        let path = commands.tools.path(query).display().to_string();
        let said = ask(&commands, query, &["--version"]).await;
        let version = said
            .map_err(|silence| one_line(&silence.why))
            .and_then(|said| version(&said).ok_or_else(|| "it tells no version".to_owned()));
        facts.push(CommandFact { name, path, version });
    }
    let slurm = slurm(&commands, asker).await.map_err(|silence| one_line(&silence.to_string()));
    ClusterFacts { commands: facts, slurm }
}

/// The accounts and QOS of a user alone; `None` where slurmdbd gives no answer.
pub(super) async fn accounting(commands: &Commands, asker: &Asker) -> Option<Accounting> {
    let user = format!("user={}", asker.user);
    let format = "format=Account,Partition,QOS";
    let own = ["-n", "-P", "show", "assoc", "where", &user, format];
    let associations = associations(&ask(commands, Query::Sacctmgr, &own).await.ok()?);
    let all = ["-n", "-P", "show", "qos", "format=Name"];
    let qos = lines(&ask(commands, Query::Sacctmgr, &all).await.unwrap_or_default());
    Some(Accounting { associations, qos })
}

pub(super) fn commands(
    hands: Arc<dyn Hands>,
    settings: &Cluster,
    asker: &Asker,
    variables: &[(String, String)],
) -> Commands {
    // Nothing that is asked here starts a shell.
    let shell = PathBuf::from("/bin/sh");
    let account =
        Account { user: asker.user.clone(), uid: asker.uid, home: asker.home.clone(), shell };
    Commands::new(hands, Tools::new(settings, &account, variables)).with_patience(PATIENCE)
}

async fn slurm(commands: &Commands, asker: &Asker) -> Result<Survey, Silence> {
    let unread = |why: String| Silence { who: "scontrol".to_owned(), why };
    let said = ask(commands, Query::Scontrol, &["show", "config"]).await?;
    let config = config::parse(&said)
        .ok_or_else(|| unread("`scontrol show config` shows no config".to_owned()))?;
    let said = ask(commands, Query::Scontrol, &["-a", "-o", "show", "partition"]).await?;
    let partitions = partitions(&said).map_err(unread)?;
    let said = commands.ask(Query::Scontrol, nodes::args()).await?;
    let nodes = nodes::parse(&String::from_utf8_lossy(&said));
    let reservations = ask(commands, Query::Scontrol, &["-o", "show", "reservation"]).await;
    let licenses = ask(commands, Query::Scontrol, &["-o", "show", "licenses"]).await;
    let accounting = if config.has_accounting { accounting(commands, asker).await } else { None };
    let limits = ask_words(commands, Query::Scontrol, assoc_mgr::args_of_all(&asker.user)).await;
    let limited = limits.ok().map(|said| assoc_mgr::limited(&said, &asker.user));
    Ok(Survey {
        counts_use: config.use_counted_every.is_some(),
        limited: limited.filter(|_| config.has_accounting),
        version: config.version,
        has_accounting: config.has_accounting,
        enforced: config.enforced,
        enforces_every_partition: config.enforces_every_partition,
        partitions,
        nodes,
        reservations: reservations.ok().map(|said| named(&said, "ReservationName")),
        licenses: licenses.ok().map(|said| named(&said, "LicenseName")),
        accounting,
    })
}

async fn ask(commands: &Commands, query: Query, args: &[&str]) -> Result<String, Silence> {
    ask_words(commands, query, words(args)).await
}

async fn ask_words(
    commands: &Commands,
    query: Query,
    args: Vec<String>,
) -> Result<String, Silence> {
    let bytes = commands.ask(query, args).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

/// `slurm 22.05.8`; Debian writes `slurm-wlm 22.05.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    config::version(text.split_whitespace().nth(1)?)
}

/// The values of one key, a line each. Where there are none, Slurm says so in words.
fn named(text: &str, key: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let fields = fields(line);
        fields.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    text.lines().filter_map(of_line).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn associations(text: &str) -> Vec<Association> {
    let row = |line: &str| {
        let mut columns = line.split('|');
        let account = columns.next().filter(|account| !account.is_empty())?.to_owned();
        let partition = columns.next()?;
        let qos = columns.next()?.split(',').filter(|qos| !qos.is_empty());
        let partition = Some(partition.to_owned()).filter(|partition| !partition.is_empty());
        Some(Association { account, partition, qos: qos.map(str::to_owned).collect() })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slurm_prints_is_read() {
        assert_eq!(version("slurm 20.11.9\n"), Some((20, 11)));
        assert_eq!(version("slurm-wlm 22.05.8\n"), Some((22, 5)));
        assert_eq!(version("no such thing"), None);
        assert_eq!(
            associations("ml||few,normal\nroot|gpu|normal|\n|x|y\nbroken\n"),
            [
                Association {
                    account: "ml".into(),
                    partition: None,
                    qos: vec!["few".into(), "normal".into()]
                },
                Association {
                    account: "root".into(),
                    partition: Some("gpu".into()),
                    qos: vec!["normal".into()]
                },
            ]
        );
        let text = "LicenseName=seat Total=2 Used=0 Free=2 Reserved=0 Remote=no\n";
        assert_eq!(named(text, "LicenseName"), ["seat"]);
        assert!(named("No reservations in the system\n", "ReservationName").is_empty());
    }
}
