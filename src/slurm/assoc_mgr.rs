//! `scontrol show assoc_mgr`: what accounts may use, and what slurmctld has counted of that. It knows by itself, so the
//! answer comes also while slurmdbd is away.
//!
//! `GrpTRESMins=cpu=600(5),node=N(0)` is minutes in every release: the limit, `N` for none, and in brackets what was used.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::ledger::{Figures, Limit, Resource};
use crate::domain::units::Seconds;

/// Accounts above accounts; more is a circle.
const LEVELS_MAX: usize = 32;

/// One association: of an account, or of a user in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    account: String,
    /// None of an account's own.
    user: Option<String>,
    /// Whether it is of one partition only.
    is_partial: bool,
    parent: Option<String>,
    /// With what was used of it; none where it is not understood.
    minutes: Option<BTreeMap<Resource, (Option<u64>, u64)>>,
}

/// What is asked of these accounts and of the user in them.
pub(super) fn args(accounts: &BTreeSet<String>, user: &str) -> Vec<String> {
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let (accounts, user) = (format!("accounts={}", accounts.join(",")), format!("users={user}"));
    ["-o", "show", "assoc_mgr", &accounts, &user, "flags=assoc"].map(str::to_owned).into()
}

/// The same of all accounts.
pub(super) fn args_of_all(user: &str) -> Vec<String> {
    ["-o", "show", "assoc_mgr", &format!("users={user}"), "flags=assoc"].map(str::to_owned).into()
}

/// What is limited of each account that is shown; or why that is not known.
pub(super) fn limited(
    text: &str,
    user: &str,
) -> BTreeMap<String, Result<BTreeSet<Resource>, String>> {
    let rows = parse(text);
    let about = (Timestamp::UNIX_EPOCH, Seconds(0));
    let of = |row: &Row| {
        let figures = figures(&rows, (&row.account, user), about)?;
        let limited = figures.map(|figures| figures.limits.into_keys().collect());
        Some((row.account.clone(), limited))
    };
    rows.iter().filter_map(of).collect()
}

pub(super) fn parse(text: &str) -> Vec<Row> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut found = BTreeMap::new();
    for (key, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
        found.entry(key).or_insert(value);
    }
    found.get("ClusterName")?;
    let word = |key: &str| {
        // `ml(3)`: the number of the association.
        let name = found.get(key)?.split_once('(').map_or(*found.get(key)?, |(name, _)| name);
        Some(name.to_owned()).filter(|name| !name.is_empty())
    };
    Some(Row {
        account: word("Account")?,
        user: word("UserName"),
        is_partial: word("Partition").is_some(),
        parent: word("ParentAccount"),
        minutes: minutes(found.get("GrpTRESMins")?),
    })
}

/// None where what is said of one of them is not understood: that is not the same as no limit.
fn minutes(text: &str) -> Option<BTreeMap<Resource, (Option<u64>, u64)>> {
    let named = text.split(',').filter_map(|part| {
        let (tres, figures) = part.split_once('=').unwrap_or((part, ""));
        let counted = Resource::ALL.into_iter().find(|counted| counted.tres() == tres)?;
        Some((counted, figures))
    });
    let read = |(counted, figures): (Resource, &str)| {
        let (limit, used) = figures.strip_suffix(')')?.split_once('(')?;
        let limit = if limit == "N" { None } else { Some(limit.parse().ok()?) };
        Some((counted, (limit, used.parse().ok()?)))
    };
    named.map(read).collect()
}

fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The accounts above the shown ones that are not shown.
pub(super) fn missing(rows: &[Row]) -> BTreeSet<String> {
    let is_shown = |account: &str| rows.iter().any(|row| is_same(&row.account, account));
    let above = rows.iter().filter_map(|row| row.parent.clone());
    above.filter(|account| !is_shown(account)).collect()
}

/// What an account may use: by its own limits, by those of the accounts above it, and by those of the user in it, whichever
/// less is left of; or why that is not known. None of an account that is not shown.
pub(super) fn figures(
    rows: &[Row],
    (account, user): (&str, &str),
    about: (Timestamp, Seconds),
) -> Option<Result<Figures, String>> {
    let is_shown = rows.iter().any(|row| is_same(&row.account, account));
    is_shown.then(|| told(rows, (account, user), about))
}

/// The root of all accounts. Slurm knows no limits of it.
const ROOT: &str = "root";

fn told(
    rows: &[Row],
    (account, user): (&str, &str),
    (told_at, behind): (Timestamp, Seconds),
) -> Result<Figures, String> {
    let of_account = |account: &str| {
        let row = rows.iter().find(|row| row.user.is_none() && is_same(&row.account, account));
        // A user is shown his own association.
        row.ok_or_else(|| {
            format!("it does not show you what account `{account}` uses (its `PrivateData`)")
        })
    };
    let mut levels = vec![of_account(account)?];
    while let Some(above) = levels.last().and_then(|row| row.parent.as_deref())
        && !is_same(above, ROOT)
    {
        levels.push(of_account(above)?);
        if levels.len() > LEVELS_MAX {
            return Err(format!("the accounts above account `{account}` have no end"));
        }
    }
    let is_users = |row: &&Row| {
        row.user.as_deref() == Some(user) && is_same(&row.account, account) && !row.is_partial
    };
    let mut limits: BTreeMap<Resource, Limit> = BTreeMap::new();
    for row in levels.into_iter().chain(rows.iter().filter(is_users)) {
        let unread = || format!("it tells what account `{}` uses in unknown words", row.account);
        for (counted, (minutes, used)) in row.minutes.as_ref().ok_or_else(unread)? {
            let Some(minutes) = *minutes else { continue };
            let of = row.user.as_ref().map_or_else(
                || row.account.clone(),
                |user| format!("{}, user {user}", row.account),
            );
            let limit = Limit { minutes, used: *used, of };
            let limit = match limits.remove(counted) {
                Some(known) => known.tighter(limit),
                None => limit,
            };
            limits.insert(*counted, limit);
        }
    }
    Ok(Figures { told_at, limits, behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Current Association Manager state\n\nAssociation Records\n\n\
        ClusterName=test Account=root UserName= Partition= ID=1 ParentAccount= GrpTRESMins=cpu=1(5),node=N(1)\n\
        ClusterName=test Account=lab UserName= Partition= ID=2 ParentAccount=root(1) GrpTRESMins=cpu=N(5),node=90(80)\n\
        ClusterName=test Account=ml UserName= Partition= ID=3 ParentAccount=lab(2) \
        GrpTRES=cpu=7(0),node=N(0) GrpTRESMins=cpu=600(5),mem=N(541),node=100(20),gres/gpu:a100=1(1),gres/gpu=N(1)\n\
        ClusterName=test Account=ml UserName=ada(1000) Partition= ID=4 ParentAccount= GrpTRESMins=gres/gpu=60(9)\n\
        ClusterName=test Account=ml UserName=bob(1001) Partition= ID=5 ParentAccount= GrpTRESMins=gres/gpu=1(1)\n\
        ClusterName=test Account=ml UserName=ada(1000) Partition=low ID=6 ParentAccount= GrpTRESMins=gres/gpu=1(1)\n";

    #[test]
    fn the_limits_are_those_that_less_is_left_of() {
        let rows = parse(SHOWN);
        assert_eq!((rows.len(), missing(&rows)), (6, BTreeSet::new()));
        let about = (Timestamp::UNIX_EPOCH, Seconds(300));
        let limits = |account: &str, user: &str| -> Vec<String> {
            let figures = figures(&rows, (account, user), about).unwrap().unwrap();
            let shown = |(counted, limit): (&Resource, &Limit)| {
                format!("{}={}({}) of {}", counted.tres(), limit.minutes, limit.used, limit.of)
            };
            figures.limits.iter().map(shown).collect()
        };
        let (node, cpu) = ("node=90(80) of lab", "cpu=600(5) of ml");
        assert_eq!(limits("ml", "ada"), [node, cpu, "gres/gpu=60(9) of ml, user ada"]);
        assert_eq!(limits("ML", "cyd"), [node, cpu]);
        assert_eq!(limits("lab", "ada"), [node]);
        assert_eq!(figures(&rows, ("nope", "ada"), about), None);
    }

    /// As `tests/cluster/record` has recorded it.
    fn recorded(release: &str, name: &str) -> (String, String) {
        let folder = format!("{}/tests/data/slurm/{release}", env!("CARGO_MANIFEST_DIR"));
        let text = |ending: &str| fs_err::read_to_string(format!("{folder}/{name}.{ending}"));
        (text("cmd").unwrap(), text("out").unwrap())
    }

    #[test]
    fn every_release_tells_limits_and_use_in_minutes() {
        for release in ["20.11", "22.05", "24.11"] {
            let (command, own) = recorded(release, "assoc-mgr");
            let words = args(&BTreeSet::from(["paid".to_owned()]), "root");
            assert_eq!(command.trim(), format!("scontrol {}", words.join(" ")), "{release}");
            assert_eq!(missing(&parse(&own)), BTreeSet::from(["ml".to_owned()]), "{release}");
            let about = (Timestamp::UNIX_EPOCH, Seconds(300));
            let told = |text: &str| figures(&parse(text), ("paid", "root"), about).unwrap();
            // What may be limited above it is not known before that was asked for.
            let above = told(&own).unwrap_err();
            assert!(above.contains("account `ml`"), "{release}: {above}");
            let limits = |text: &str| told(text).unwrap().limits;
            let limit = |minutes, used, of: &str| Limit { minutes, used, of: of.to_owned() };
            // A node with eight CPUs for 16 or 17 seconds.
            let cpus = (Resource::Cpus, limit(600, 2, "paid"));
            let nodes = (Resource::Nodes, limit(90, 0, "paid"));
            let (_, above) = recorded(release, "assoc-mgr-above");
            assert_eq!(missing(&parse(&above)), BTreeSet::new(), "{release}");
            let mut all = limits(&above);
            let gpus = all.remove(&Resource::Gpus).unwrap();
            assert_eq!((gpus.minutes, gpus.of.as_str()), (60, "ml"), "{release}");
            assert_eq!(all, BTreeMap::from([cpus, nodes]), "{release}");
            // slurmctld knows by itself; of an account that there is not it shows nothing.
            let (_, away) = recorded(release, "slurmdbd-down-assoc-mgr");
            assert_eq!(parse(&away), parse(&own), "{release}");
            for nothing in ["assoc-mgr-unknown", "no-accounting-assoc-mgr"] {
                assert_eq!(parse(&recorded(release, nothing).1), [], "{release} {nothing}");
            }
            let config =
                crate::slurm::config::parse(&recorded(release, "multifactor-show-config").1);
            assert_eq!(config.unwrap().use_counted_every, Some(Seconds(60)), "{release}");
        }
    }

    /// What is not shown, or not understood, is not the same as no limit.
    #[test]
    fn nothing_is_known_of_limits_that_are_not_shown() {
        let check = |shown: &str, expected: &str| {
            let about = (Timestamp::UNIX_EPOCH, Seconds(0));
            let why = figures(&parse(shown), ("ml", "ada"), about).unwrap().unwrap_err();
            assert!(why.contains(expected), "{why}");
            let limited = limited(shown, "ada");
            assert_eq!(limited.get("ml"), Some(&Err(why)));
        };
        let without = |words: &str| -> String {
            let left = SHOWN.lines().filter(|line| !line.contains(words));
            left.collect::<Vec<_>>().join("\n")
        };
        check(&without("UserName= "), "it does not show you what account `ml` uses");
        check(&without("Account=lab "), "it does not show you what account `lab` uses");
        check(&SHOWN.replace("ParentAccount=root(1)", "ParentAccount=ml"), "have no end");
        let unknown = "account `ml` uses in unknown words";
        for figures in ["cpu=6e2(5)", "cpu=600(5.0)", "cpu=600", "cpu=-1(5)", "cpu"] {
            check(&SHOWN.replace("cpu=600(5)", figures), unknown);
        }
        // Of others nothing is asked.
        let other = parse(&SHOWN.replace("mem=N(541)", "mem=all"));
        assert_eq!(other, parse(SHOWN));
    }

    #[test]
    fn accounts_above_are_asked_for() {
        let own: Vec<&str> = SHOWN.lines().filter(|line| line.contains("=ml ")).collect();
        let own = own.join("\n");
        assert_eq!(missing(&parse(&own)), BTreeSet::from(["lab".to_owned()]));
        assert_eq!(parse("\nNo associations currently cached in Slurm.\n"), []);
        assert_eq!(parse("ClusterName=test Account=ml UserName= Partition="), []);
    }
}
