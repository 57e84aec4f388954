//! A site with one cluster, and runs that were accepted there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trainyard::daemon::{Paths, StateDir, WorldParts};
use trainyard::domain::document::parse;
use trainyard::domain::inputs::Inputs;
use trainyard::domain::problem::{Source, Sources};
use trainyard::domain::request::{IfActive, SpecRequest};
use trainyard::domain::resolve::Asker;
use trainyard::domain::resolved::Resolved;
use trainyard::domain::run::Reason;
use trainyard::domain::site::{Layer, LayerKind, effective};
use trainyard::files::{FoundLayer, LoadedSite};
use trainyard::ports::Scheduler;
use trainyard::store::{Acceptance, NewRun, Recorded, Store};

use crate::sim::model::at;
use crate::sim::whole::ports::Ports;
use crate::sim::whole::store_at;

const SITE: &str = "[site]\nrun_root = \"/runs\"\ndefault_class = \"cpu\"\n[cluster.main]\n\
                    [class.cpu]\ncluster = \"main\"\npartition = \"p\"\ncpus_per_node = 4\n\
                    memory_per_node = \"16G\"\nmax_nodes = 1\nmax_time = \"1d\"\ndefault_time = \"1h\"\n";
const SPEC: &str = "name = \"r\"\n[code]\ncommand = [\"true\"]\n";

fn asker() -> Asker {
    Asker {
        user: "anna".into(),
        uid: 1000,
        group: "anna".into(),
        groups: vec!["anna".into()],
        home: PathBuf::from("/home/anna"),
    }
}

fn site() -> LoadedSite {
    let mut sources = Sources::default();
    let (name, text, base) = ("site.toml".to_owned(), SITE.to_owned(), PathBuf::from("/"));
    let source = sources.add(Source { name, text, base });
    let (table, problems) = parse(SITE, source);
    assert_eq!(problems, []);
    let (site, table, problems) = effective(vec![Layer { kind: LayerKind::User, source, table }]);
    assert_eq!(problems, []);
    let (found, silence) = (FoundLayer::NotWanted, None);
    LoadedSite { site, table, sources, problems, found, silence }
}

fn resolved(max_restarts: u32) -> Resolved {
    let request = SpecRequest {
        file: "run.toml".into(),
        text: SPEC.into(),
        base: PathBuf::from("/specs"),
        stem: "run".into(),
        changes: Vec::new(),
        points: None,
        point: None,
    };
    let outcome = request.check(&site().site, &asker()).outcome;
    assert_eq!(outcome.problems, []);
    let mut resolved = outcome.resolved.unwrap();
    resolved.failure.max_restarts = max_restarts;
    resolved.failure.restart_on = vec![Reason::Preempted, Reason::NodeFailure];
    resolved
}

/// What a process of the daemon is made of, over the database in `dir`.
pub(super) fn parts(ports: &Ports, dir: &Path, host: &str) -> WorldParts {
    let scheduler: Arc<dyn Scheduler> = Arc::new(ports.clone());
    let state = StateDir::new(dir.to_owned());
    WorldParts {
        store: store_at(dir),
        clock: Arc::new(ports.clone()),
        hands: Arc::new(ports.clone()),
        schedulers: HashMap::from([("main".to_owned(), scheduler)]),
        site: site(),
        asker: asker(),
        paths: Paths { socket: state.socket(), state, site_asked: None },
        host: host.to_owned(),
        // A look that takes long is heard by a later pass.
        look_patience: Duration::from_millis(2),
        build_environment: Vec::new(),
    }
}

/// Accepts one run for each of these limits of restarts.
pub(super) async fn new_runs(store: &Store, restarts_max: &[u32]) {
    for most in restarts_max {
        let id = store.next_number().await.unwrap();
        let new = NewRun {
            id,
            owner: "anna".into(),
            key: None,
            spec_digest: "digest".into(),
            spec: SPEC.into(),
            resolved: resolved(*most),
            inputs: Inputs::default(),
            run_dir: PathBuf::from(format!("/runs/{id}-r")),
            if_active: IfActive::Submit,
            start: None,
            asked: None,
            now: at(0),
        };
        assert_eq!(store.accept(new).await.unwrap(), Acceptance::Recorded(Recorded::default()));
    }
}
