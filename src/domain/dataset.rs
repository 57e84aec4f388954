//! Data that a run trains on: what a spec means by it, and what is recorded of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::ids::RunId;
use crate::domain::manifest::Manifest;
use crate::domain::spec::{OnDrift, Stage};

/// Data that a run names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    pub version: Option<String>,
    /// The site says that nobody ever changes it.
    pub immutable: bool,
    pub stage: Stage,
    /// Whether contents are read for the fingerprint.
    pub content: bool,
    pub on_drift: OnDrift,
}

/// Data as it was when it was looked at. What could not be found out is told instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Snapshot {
    pub name: String,
    pub path: PathBuf,
    pub version: Option<String>,
    /// When it was looked at.
    pub at: Timestamp,
    pub found: Found,
}

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    Tree(Fingerprint),
    /// In a sentence.
    Unknown(String),
}

/// What was found out about a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fingerprint {
    pub manifest: Manifest,
    /// The digest of contents, where they were read.
    pub content: Option<String>,
    pub root: Root,
}

/// What the root of a tree shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Root {
    pub modified_seconds: i64,
    pub inode: u64,
}

impl Snapshot {
    /// `content:` and 64 hexadecimal digits where contents were read, else `manifest:` and as many: the two are never
    /// taken for each other.
    pub fn fingerprint(&self) -> Option<String> {
        let tree = self.tree()?;
        Some(match &tree.content {
            Some(content) => format!("content:{content}"),
            None => format!("manifest:{}", tree.manifest.digest),
        })
    }

    pub fn tree(&self) -> Option<&Fingerprint> {
        match &self.found {
            Found::Tree(tree) => Some(tree),
            Found::Unknown(_) => None,
        }
    }

    /// Why there is no fingerprint.
    pub fn unknown(&self) -> Option<&str> {
        match &self.found {
            Found::Tree(_) => None,
            Found::Unknown(why) => Some(why),
        }
    }

    /// Whether it still says what `dataset` is, which nobody changes and whose root looks like this now.
    pub fn stands_for(&self, dataset: &Dataset, root: Root) -> bool {
        let is_enough =
            |tree: &Fingerprint| tree.root == root && (tree.content.is_some() || !dataset.content);
        dataset.immutable
            && self.path == dataset.path
            && self.version == dataset.version
            && self.tree().is_some_and(is_enough)
    }

    /// A line of `datasets.tsv` in the run directory, with which the job compares what it finds.
    pub fn line_for_job(&self, immutable: bool) -> String {
        let name = &self.name;
        let Some(Fingerprint { manifest, root, .. }) = self.tree() else {
            return format!("{name}\tunknown\t-\t-\t-\n");
        };
        let bytes = manifest.bytes;
        if immutable {
            return format!("{name}\troot\t-\t{}\t{bytes}\n", root.modified_seconds);
        }
        let fine = if manifest.has_fractions { manifest.digest.as_str() } else { "-" };
        format!("{name}\ttree\t{fine}\t{}\t{bytes}\n", manifest.coarse)
    }
}

/// Data as it is shown: of a run, in a history, or as it was just looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DatasetView {
    pub name: String,
    pub path: PathBuf,
    pub version: Option<String>,
    pub fingerprint: Option<String>,
    /// Why there is none.
    pub no_fingerprint: Option<String>,
    pub files: Option<u64>,
    pub bytes: Option<u64>,
    /// When it was looked at.
    pub at: Option<Timestamp>,
    /// Of a run's data.
    #[serde(default)]
    pub stage: Option<Stage>,
    #[serde(default)]
    pub on_drift: Option<OnDrift>,
    #[serde(default)]
    pub compared: Option<Compared>,
}

/// What the job compares when it starts, with what was found when the run was submitted. It does not read contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Path, size and time of each file, and what links and directories there are.
    Manifest,
    /// The time of the root alone: the site says that nobody changes it.
    Root,
    /// It has no fingerprint.
    Nothing,
}

impl Compared {
    fn of(dataset: &Dataset, found: Option<&Snapshot>) -> Self {
        match found.and_then(Snapshot::tree) {
            None => Self::Nothing,
            Some(_) if dataset.immutable => Self::Root,
            Some(_) => Self::Manifest,
        }
    }
}

impl From<&Snapshot> for DatasetView {
    fn from(snapshot: &Snapshot) -> Self {
        let manifest = snapshot.tree().map(|tree| &tree.manifest);
        Self {
            name: snapshot.name.clone(),
            path: snapshot.path.clone(),
            version: snapshot.version.clone(),
            fingerprint: snapshot.fingerprint(),
            no_fingerprint: snapshot.unknown().map(str::to_owned),
            files: manifest.map(|manifest| manifest.files),
            bytes: manifest.map(|manifest| manifest.bytes),
            at: Some(snapshot.at),
            stage: None,
            on_drift: None,
            compared: None,
        }
    }
}

impl DatasetView {
    /// The datasets of a run, each with what was found of it.
    pub fn of_run(datasets: &[Dataset], snapshots: &[Snapshot]) -> Vec<Self> {
        let view = |dataset: &Dataset| {
            let found = snapshots.iter().find(|snapshot| snapshot.name == dataset.name);
            let unseen = || Self {
                name: dataset.name.clone(),
                path: dataset.path.clone(),
                version: dataset.version.clone(),
                fingerprint: None,
                no_fingerprint: None,
                files: None,
                bytes: None,
                at: None,
                stage: None,
                on_drift: None,
                compared: None,
            };
            Self {
                stage: Some(dataset.stage),
                on_drift: Some(dataset.on_drift),
                compared: Some(Compared::of(dataset, found)),
                ..found.map_or_else(unseen, Self::from)
            }
        };
        datasets.iter().map(view).collect()
    }
}

/// What the data at a path has been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprints {
    pub path: PathBuf,
    /// Newest first; what is the same again is one of them.
    pub fingerprints: Vec<SeenAs>,
}

/// Data that was found the same, once or often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenAs {
    pub fingerprint: String,
    pub version: Option<String>,
    pub files: Option<u64>,
    pub bytes: Option<u64>,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The runs that were given it, newest first.
    pub runs: Vec<i64>,
}

impl Fingerprints {
    /// From snapshots, newest first, each with the run that it was taken for.
    pub fn of(path: PathBuf, snapshots: &[(Option<RunId>, Snapshot)]) -> Self {
        let mut fingerprints: Vec<SeenAs> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (run, snapshot) in snapshots {
            let view = DatasetView::from(snapshot);
            let Some(fingerprint) = view.fingerprint else { continue };
            let place = *places.entry(fingerprint.clone()).or_insert_with(|| {
                fingerprints.push(SeenAs {
                    fingerprint,
                    version: view.version,
                    files: view.files,
                    bytes: view.bytes,
                    first_at: snapshot.at,
                    last_at: snapshot.at,
                    runs: Vec::new(),
                });
                fingerprints.len() - 1
            });
            if let Some(seen) = fingerprints.get_mut(place) {
                seen.first_at = seen.first_at.min(snapshot.at);
                seen.runs.extend(run.map(|run| run.0));
            }
        }
        Self { path, fingerprints }
    }
}

/// The first of a spec's datasets is `TRAINYARD_DATA_PATH`, and each has a variable with its name.
pub fn variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("TRAINYARD_DATA_PATH_{}", name.chars().map(letter).collect::<String>())
}

/// What is told of data that is not here, where it may be on the nodes.
pub const NOT_SEEN: &str = "it cannot be seen from here";

const NAME_BYTES_MAX: usize = 63;

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
pub fn is_dataset_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// What data is called that has only a path: its last part, made a valid name.
pub fn name_of(path: &Path) -> String {
    let last = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.chars().map(plain).collect();
    let name: String =
        name.trim_start_matches(['.', '_', '-']).chars().take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "data".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_its_name() {
        let check = |path: &str, name: &str| {
            assert_eq!(name_of(Path::new(path)), name);
            assert!(is_dataset_name(name), "{name}");
        };
        check("/data/folding/v12", "v12");
        check("/data/My Set (2)", "My_Set__2_");
        check("/data/.hidden", "hidden");
        check("/data/träin.tar", "tr_in.tar");
        check("/", "data");
        check("/data/___", "data");
        check(&format!("/data/{}", "x".repeat(200)), &"x".repeat(63));
    }

    #[test]
    fn what_nobody_changes_is_known_by_its_version_and_its_root() {
        let root = Root { modified_seconds: 1, inode: 2 };
        let dataset = Dataset {
            name: "d".into(),
            path: "/data/d".into(),
            version: Some("1".into()),
            immutable: true,
            stage: Stage::None,
            content: false,
            on_drift: OnDrift::Warn,
        };
        let (manifest, content) = (Manifest::of(&[]), None);
        let snapshot = Snapshot {
            name: "another name".into(),
            path: dataset.path.clone(),
            version: dataset.version.clone(),
            at: Timestamp::UNIX_EPOCH,
            found: Found::Tree(Fingerprint { manifest, content, root }),
        };
        assert!(snapshot.stands_for(&dataset, root));
        assert!(!snapshot.stands_for(&dataset, Root { inode: 3, ..root }));
        for other in [
            Dataset { version: None, ..dataset.clone() },
            Dataset { path: "/data/e".into(), ..dataset.clone() },
            Dataset { content: true, ..dataset.clone() },
            Dataset { immutable: false, ..dataset },
        ] {
            assert!(!snapshot.stands_for(&other, root), "{other:?}");
        }
    }

    #[test]
    fn names_become_variables() {
        assert_eq!(variable("folding_v12"), "TRAINYARD_DATA_PATH_FOLDING_V12");
        assert_eq!(variable("a-b.c"), "TRAINYARD_DATA_PATH_A_B_C");
        for wrong in ["", "a b", "-a", ".a", "a/b", "ü", &"x".repeat(64)] {
            assert!(!is_dataset_name(wrong), "{wrong}");
        }
    }
}
