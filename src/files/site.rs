//! Reading the site config from its layers.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::domain::document::{Table, parse};
use crate::domain::problem::{Problem, Source, SourceId, Sources};
use crate::domain::site::{Cluster, Layer, LayerKind, Site, effective};
use crate::files::spec::{LoadError, read_text};

/// Where the layers of the site config are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePaths {
    /// `/etc/trainyard`: `site.toml`, and `conf.d/*.toml` over it. May be absent.
    pub system: PathBuf,
    /// `--site` or `$TRAINYARD_SITE`: must exist.
    pub asked: Option<PathBuf>,
    /// `~/.config/trainyard/site.toml`, where nothing was asked. May be absent.
    pub own: PathBuf,
}

/// A site that was found by asking a cluster about itself, as the text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSite {
    /// Who was asked, as people are told it.
    pub name: String,
    pub text: String,
}

/// What came of looking for a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    pub site: Option<FoundSite>,
    /// Why a cluster that is there told nothing, or nothing newer than what is given. None where there is no cluster.
    pub silence: Option<String>,
}

/// What the site config owes to a cluster that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundLayer {
    /// Files say what there is.
    NotWanted,
    /// It was wanted, and there is none.
    Missing,
    Source(SourceId),
}

/// The site config, with the texts it was read from.
#[derive(Debug, Clone)]
pub struct LoadedSite {
    pub site: Site,
    /// The merged tree: each value remembers which file it came from.
    pub table: Table,
    pub sources: Sources,
    pub problems: Vec<Problem>,
    pub found: FoundLayer,
    /// Why the cluster that is wanted told nothing, or nothing newer than what is in force.
    pub silence: Option<String>,
}

/// What tells, without reading them, that the layers of a site config are others than before: which files there are, and of
/// each its time, size and inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteStamp(Vec<(PathBuf, Option<FileStamp>)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl SiteStamp {
    pub fn of(paths: &SitePaths) -> Self {
        let drop_ins = system_files(&paths.system).unwrap_or_default();
        let user = paths.asked.as_ref().unwrap_or(&paths.own);
        let stamp = |file: PathBuf| {
            let meta = file.metadata().ok();
            let stamp = meta.map(|meta| FileStamp {
                changed: (meta.ctime(), meta.ctime_nsec()),
                size: meta.size(),
                inode: meta.ino(),
            });
            (file, stamp)
        };
        Self(drop_ins.into_iter().chain([user.clone()]).map(stamp).collect())
    }
}

/// Reads all layers. Problems inside the files are returned with the site; a file that cannot be read is an error.
///
/// `find` is asked for a cluster only where nobody has described any: without a file of the administrators' and without
/// one that was asked for, when the user's own, if there is one, names no cluster and no class either.
pub fn load_site(
    paths: &SitePaths,
    find: impl FnOnce() -> Sought,
) -> Result<LoadedSite, LoadError> {
    let mut files: Vec<(PathBuf, bool)> =
        system_files(&paths.system)?.into_iter().map(|file| (file, true)).collect();
    let is_described = !files.is_empty() || paths.asked.is_some();
    match &paths.asked {
        Some(asked) => files.push((asked.clone(), false)),
        None if paths.own.exists() => files.push((paths.own.clone(), false)),
        None => {}
    }
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let mut layers = Vec::new();
    for (file, is_system) in files {
        let text = read_text(&file)?;
        let base = file.parent().map(Path::to_owned).unwrap_or_default();
        let source =
            sources.add(Source { name: file.display().to_string(), text: text.clone(), base });
        let (table, faults) = parse(&text, source);
        problems.extend(faults);
        let kind = if is_system {
            LayerKind::System { root_owned: is_roots(&file) }
        } else {
            LayerKind::User
        };
        layers.push(Layer { kind, source, table });
    }
    let names_clusters =
        |layer: &Layer| ["cluster", "class"].map(|key| layer.table.get(key)) != [None; 2];
    let (found, silence) = if is_described || layers.iter().any(names_clusters) {
        (FoundLayer::NotWanted, None)
    } else {
        let Sought { site, silence } = find();
        let is_there = site.is_some();
        let layer = site.and_then(|found| found_layer(found, &mut sources));
        let source = layer.as_ref().map(|layer| layer.source);
        let is_unusable = is_there && source.is_none();
        layers.splice(..0, layer);
        let unusable = is_unusable.then(|| "what it said cannot be used".to_owned());
        (source.map_or(FoundLayer::Missing, FoundLayer::Source), silence.or(unusable))
    };
    let (site, table, faults) = effective(layers);
    problems.extend(faults);
    Ok(LoadedSite { site, table, sources, problems, found, silence })
}

/// The layer below all files. One that cannot be read, as of another version of this program, is none.
fn found_layer(found: FoundSite, sources: &mut Sources) -> Option<Layer> {
    let source = SourceId(u16::try_from(sources.0.len()).ok()?);
    let (table, faults) = parse(&found.text, source);
    let layer = Layer { kind: LayerKind::Found, source, table };
    let is_sound = faults.is_empty() && effective(vec![layer.clone()]).2.is_empty();
    is_sound.then(|| {
        sources.add(Source { name: found.name, text: found.text, base: PathBuf::from("/") });
        layer
    })
}

/// Looks whether sbatch is where a cluster's keys say. What cannot be looked at now is not missed: it may be there.
pub fn verify_commands(cluster: &Cluster) -> Option<Problem> {
    let (said, sbatch) = match (&cluster.sbatch, &cluster.commands) {
        (Some(said), _) => (said, PathBuf::from(&said.value)),
        (None, Some(said)) => (said, Path::new(&said.value).join("sbatch")),
        (None, None) => return None,
    };
    let error = std::fs::metadata(&sbatch).err()?;
    let is_missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    is_missing.then(|| {
        Problem::at(said.place, format!("there is no {}", sbatch.display())).help(
            "`commands` names the directory of the cluster's sbatch, squeue and the others, on the machine of the daemon",
        )
    })
}

/// The files of `/etc/trainyard`, in the order they are laid over each other.
fn system_files(system: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let main = system.join("site.toml");
    let mut files = Vec::new();
    if main.exists() {
        files.push(main);
    }
    let drop_ins = system.join("conf.d");
    match std::fs::read_dir(&drop_ins) {
        Ok(entries) => {
            let mut found: Vec<PathBuf> = entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
                .collect();
            found.sort();
            files.extend(found);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(LoadError::Read { path: drop_ins, source }),
    }
    Ok(files)
}

/// Whether root owns a file and nobody else can write it.
fn is_roots(file: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    file.metadata().is_ok_and(|meta| meta.uid() == 0 && meta.mode() & OTHERS_WRITE == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_laid_over_in_order_and_the_users_file_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let system = dir.path().join("etc");
        std::fs::create_dir_all(system.join("conf.d")).expect("made");
        let write =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("etc/site.toml", "[site]\nname = 'base'\nrun_root = '/base'\n");
        write("etc/conf.d/20.toml", "[site]\nname = 'twenty'\n");
        write("etc/conf.d/10.toml", "[site]\nname = 'ten'\n");
        write("etc/conf.d/ignored.txt", "not toml");
        write("own.toml", "[site]\nrun_root = '/own'\n");
        let paths =
            |asked| SitePaths { system: system.clone(), asked, own: dir.path().join("own.toml") };
        let loaded = load_site(&paths(None), Sought::default).expect("is read");
        assert_eq!(loaded.problems, vec![]);
        let general = loaded.site.site.expect("a site");
        assert_eq!(general.name.map(|name| name.value).as_deref(), Some("twenty"));
        assert_eq!(general.run_root.map(|root| root.value).as_deref(), Some("/own"));
        let missing = load_site(&paths(Some(dir.path().join("missing.toml"))), Sought::default)
            .expect_err("must exist");
        assert!(missing.to_string().contains("missing.toml"));
    }

    #[test]
    fn a_cluster_is_looked_for_where_no_file_describes_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        let load = |asked: Option<&str>, text: &str| {
            let paths = SitePaths {
                system: dir.path().join("etc"),
                asked: asked.map(|name| dir.path().join(name)),
                own: dir.path().join("own.toml"),
            };
            let name = "found: Slurm at /usr/bin".to_owned();
            let site = Some(FoundSite { name, text: text.to_owned() });
            let loaded = load_site(&paths, || Sought { site, silence: None });
            let loaded = loaded.expect("is read");
            assert_eq!(loaded.problems, vec![]);
            let unusable = (loaded.found == FoundLayer::Missing)
                .then(|| "what it said cannot be used".to_owned());
            assert_eq!(loaded.silence, unusable);
            (loaded.found, loaded.site.class_names().collect::<Vec<_>>().join(" "))
        };
        let text = "[site]\ndefault_class = 'a'\n[cluster.c]\n[class.a]\n";
        let found = |source| (FoundLayer::Source(SourceId(source)), "a".to_owned());
        let not_wanted = |classes: &str| (FoundLayer::NotWanted, classes.to_owned());
        assert_eq!(load(None, text), found(0));
        assert_eq!(load(None, "[class.local]\n"), (FoundLayer::Missing, String::new()));
        assert_eq!(load(None, "[site\n"), (FoundLayer::Missing, String::new()));
        write("own.toml", "[site]\nrun_root = '/scratch'\ndefault_class = 'local'\n");
        assert_eq!(load(None, text), found(1));
        assert_eq!(load(Some("own.toml"), text), not_wanted(""));
        write("own.toml", "[cluster.mine]\n[class.b]\n");
        assert_eq!(load(None, text), not_wanted("b"));
        write("own.toml", "");
        std::fs::create_dir(dir.path().join("etc")).expect("made");
        write("etc/site.toml", "");
        assert_eq!(load(None, text), not_wanted(""));
    }
}
