//! What one key of a site config alone cannot tell.

use crate::domain::bad_nodes::EXPIRY_MAX;
use crate::domain::dataset::is_dataset_name;
use crate::domain::problem::{At, Problem};
use crate::domain::resolve::sbatch_options::verbatim;
use crate::domain::resolve::{DATASET_NAME, PATH_BYTES_MAX};
use crate::domain::resolved::SbatchOption;
use crate::domain::site::{
    Build, CLASS_PREFIX, Class, Cluster, ContainerRuntime, Dataset, LOCAL, LOGIN, Project, Script,
    Site,
};
use crate::domain::word::WORD_BYTES_MAX;

impl Site {
    /// Checks what one key alone cannot tell.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for (name, class) in self.class.iter().flat_map(|classes| &classes.0) {
            self.check_class(name, class, problems);
        }
        if let Some(default) = self.site.as_ref().and_then(|general| general.default_class.as_ref())
            && default.value != LOCAL
            && self.class(&default.value).is_none()
        {
            let message =
                format!("`site.default_class` is `{}`, which is not defined", default.value);
            problems.push(
                Problem::at(default.place, message).suggest(&default.value, self.class_names()),
            );
        }
        for (name, cluster) in self.cluster.iter().flat_map(|clusters| &clusters.0) {
            cluster.check(name, problems);
        }
        self.check_containers(problems);
        if let Some(root) = self.site.as_ref().and_then(|general| general.run_root.as_ref()) {
            check_run_root(root, problems);
        }
        if let Some(expiry) =
            self.site.as_ref().and_then(|general| general.bad_node_expiry.as_ref())
            && expiry.value > EXPIRY_MAX
        {
            let message = format!("`bad_node_expiry` is at most {EXPIRY_MAX}");
            problems.push(Problem::at(expiry.place, message));
        }
        let of_site = self.site.as_ref().and_then(|general| general.charge.as_ref());
        let of_classes = self.class.iter().flat_map(|classes| &classes.0);
        let of_classes = of_classes.filter_map(|(_, class)| class.charge.as_ref());
        for charge in of_site.into_iter().chain(of_classes) {
            charge.check(problems);
        }
        self.check_bounds(problems);
        check_directives(self.script.as_ref(), problems);
        if let Some(build) = &self.build {
            build.check(self, problems);
        }
        for (name, project) in self.project.iter().flat_map(|all| &all.0) {
            project.check(problems);
            project.check_funds(name, problems);
        }
        self.check_purses(problems);
        for (name, dataset) in self.dataset.iter().flat_map(|all| &all.0) {
            dataset.check(name, problems);
        }
    }
}

impl Site {
    fn check_class(&self, name: &At<String>, class: &Class, problems: &mut Vec<Problem>) {
        let clusters = self.cluster.as_ref();
        if name.value == LOCAL {
            problems.push(Problem::at(
                name.place,
                "the class name `local` belongs to the local target",
            ));
        }
        match &class.cluster {
            Some(cluster) if clusters.is_none_or(|known| known.get(&cluster.value).is_none()) => {
                let message = format!(
                    "class `{}` is on cluster `{}`, which is not defined",
                    name.value, cluster.value
                );
                let known = clusters.iter().flat_map(|clusters| clusters.names());
                problems.push(Problem::at(cluster.place, message).suggest(&cluster.value, known));
            }
            None if clusters.is_none_or(|clusters| clusters.0.len() != 1) => {
                let message = format!("class `{}` does not say on which cluster it is", name.value);
                problems.push(Problem::at(name.place, message).help("add `cluster = \"NAME\"`"));
            }
            Some(_) | None => {}
        }
        class.check(problems);
        if let (Some(min), Some(max)) = (&class.min_nodes, &class.max_nodes)
            && min.value > max.value
        {
            problems.push(Problem::at(
                min.place,
                format!("`min_nodes` is more than `max_nodes` ({})", max.value),
            ));
        }
        if let (Some(default), Some(max)) = (&class.default_time, &class.max_time)
            && default.value > max.value
        {
            let message = format!("`default_time` is longer than `max_time` ({})", max.value.0);
            problems.push(Problem::at(default.place, message));
        }
    }

    fn check_containers(&self, problems: &mut Vec<Problem>) {
        for (_, cluster) in self.cluster.iter().flat_map(|clusters| &clusters.0) {
            let runtime = cluster.container_runtime.as_ref();
            check_binds(cluster.container_binds.as_ref(), runtime, problems);
        }
        if let Some(local) = &self.local {
            let runtime = local.container_runtime.as_ref();
            check_binds(local.container_binds.as_ref(), runtime, problems);
        }
    }
}

/// Texts that become options of sbatch. They are refused here, at their place in this file, and not when a spec meets them.
fn check_options<'a>(
    texts: impl IntoIterator<Item = (&'a str, Option<&'a At<String>>)>,
    problems: &mut Vec<Problem>,
) {
    for (name, text) in texts {
        let Some(text) = text else { continue };
        if text.value.is_empty() {
            problems.push(Problem::at(text.place, format!("`{name}` is empty")));
        } else if let Err(error) = SbatchOption::with_value("x", &text.value) {
            let message = format!("`{name}` cannot be given to sbatch: {error}");
            problems.push(Problem::at(text.place, message));
        }
    }
}

/// Paths that runtimes are given in one word, in which colons and commas separate.
fn check_binds(
    binds: Option<&Vec<At<String>>>,
    runtime: Option<&At<ContainerRuntime>>,
    problems: &mut Vec<Problem>,
) {
    const BINDS_MAX: usize = 100;
    let is_charliecloud = runtime.is_some_and(|it| it.value == ContainerRuntime::Charliecloud);
    for (index, bind) in binds.into_iter().flatten().enumerate() {
        let parts: Vec<&str> = bind.value.split(':').collect();
        let (paths, options) = parts.split_at(parts.len().min(2));
        let fine = paths.iter().all(|path| path.starts_with('/'))
            && (options.is_empty() || (!is_charliecloud && matches!(options, ["ro" | "rw"])))
            && !bind.value.contains(',')
            && bind.value.len() <= PATH_BYTES_MAX
            && !bind.value.chars().any(char::is_control);
        if !fine {
            let message =
                format!("`{}` cannot be bound into a container", bind.value.escape_debug());
            let help = "write \"/path\", \"/path:/inside\" or \"/path:/inside:ro\", without commas; Charliecloud knows no `ro`";
            problems.push(Problem::at(bind.place, message).help(help));
        } else if index == BINDS_MAX {
            let message = format!("`container_binds` are more than {BINDS_MAX}");
            problems.push(Problem::at(bind.place, message));
        }
    }
}

fn check_verbatim(options: Option<&Vec<At<String>>>, problems: &mut Vec<Problem>) {
    for option in options.into_iter().flatten() {
        if let Err(message) = verbatim(&option.value) {
            problems.push(Problem::at(option.place, message));
        }
    }
}

fn check_directives(script: Option<&Script>, problems: &mut Vec<Problem>) {
    check_verbatim(script.and_then(|script| script.directives.as_ref()), problems);
}

impl Build {
    fn check(&self, site: &Site, problems: &mut Vec<Problem>) {
        match &self.r#where {
            Some(place) if place.value.starts_with(CLASS_PREFIX) => {
                let name = place.value.strip_prefix(CLASS_PREFIX).unwrap_or_default();
                if site.class(name).is_none() {
                    let message = format!("`build.where` names class `{name}`, which is not defined");
                    problems.push(
                        Problem::at(place.place, message).suggest(name, site.class_names()),
                    );
                }
            }
            Some(place) if place.value != LOGIN => problems.push(
                Problem::at(place.place, format!("`build.where` cannot be `{}`", place.value))
                    .help("write \"login\" for the machine that the daemon runs on, or \"class:NAME\" for a job of that class"),
            ),
            Some(_) | None => {}
        }
        for word in self.pip_args.iter().flatten() {
            if word.value.is_empty() || word.value.chars().any(char::is_control) {
                let message = "`build.pip_args` holds an empty word, or a control character";
                problems.push(Problem::at(word.place, message));
            }
        }
    }
}

impl Project {
    fn check(&self, problems: &mut Vec<Problem>) {
        let texts = [
            ("account", self.account.as_ref()),
            ("qos", self.qos.as_ref()),
            ("wckey", self.wckey.as_ref()),
        ];
        let accounts = self.accounts.iter().flat_map(|all| &all.0);
        let accounts = accounts.map(|(_, account)| ("accounts", Some(account)));
        check_options(texts.into_iter().chain(accounts), problems);
        if let Some(root) = &self.run_root {
            check_run_root(root, problems);
        }
    }
}

impl Dataset {
    fn check(&self, name: &At<String>, problems: &mut Vec<Problem>) {
        if !is_dataset_name(&name.value) {
            let message =
                format!("`{}` cannot be the name of a dataset", name.value.escape_debug());
            problems.push(Problem::at(name.place, message).help(DATASET_NAME));
        }
        if self.path.is_none() {
            let message = format!("dataset `{}` does not say where it is", name.value);
            problems.push(Problem::at(name.place, message).help("add `path = \"/…\"`"));
        }
        check_path("path", self.path.as_ref(), problems);
    }
}

/// A path that stands in scripts: relative ones would mean another place for every job.
fn check_path(what: &str, path: Option<&At<String>>, problems: &mut Vec<Problem>) {
    let Some(path) = path else { return };
    if !path.value.starts_with('/') {
        problems.push(Problem::at(path.place, format!("`{what}` must be an absolute path")));
    } else if path.value.len() > PATH_BYTES_MAX || path.value.chars().any(char::is_control) {
        let message =
            format!("`{what}` must have no control characters and at most {PATH_BYTES_MAX} bytes");
        problems.push(Problem::at(path.place, message));
    }
}

fn check_words(what: &str, words: Option<&Vec<At<String>>>, problems: &mut Vec<Problem>) {
    for word in words.into_iter().flatten().filter(|word| word.value.len() > WORD_BYTES_MAX) {
        let message = format!("`{what}`: a word is longer than {WORD_BYTES_MAX} bytes");
        problems.push(Problem::at(word.place, message));
    }
}

impl Class {
    fn check(&self, problems: &mut Vec<Problem>) {
        let texts = [
            ("gres", self.gres.as_ref()),
            ("gpu_type", self.gpu_type.as_ref()),
            ("account", self.account.as_ref()),
            ("qos", self.qos.as_ref()),
            ("constraint", self.constraint.as_ref()),
            ("reservation", self.reservation.as_ref()),
            ("licenses", self.licenses.as_ref()),
            ("exclude", self.exclude.as_ref()),
            ("nodelist", self.nodelist.as_ref()),
            ("wckey", self.wckey.as_ref()),
        ];
        let partitions = self.partition.iter().flat_map(|all| &all.0);
        let partitions = partitions.map(|partition| ("partition", Some(partition)));
        check_options(texts.into_iter().chain(partitions), problems);
        check_verbatim(self.directives.as_ref(), problems);
        check_path("local_scratch", self.local_scratch.as_ref(), problems);
        check_words("srun_args", self.srun_args.as_ref(), problems);
    }
}

impl Cluster {
    fn check(&self, name: &At<String>, problems: &mut Vec<Problem>) {
        /// A job's key holds the name, and has to fit into a file system's link.
        const NAME_BYTES_MAX: usize = 255;
        if name.value.is_empty()
            || name.value.len() > NAME_BYTES_MAX
            || name.value.chars().any(char::is_control)
        {
            let message = format!(
                "a cluster's name is 1 to {NAME_BYTES_MAX} bytes without control characters"
            );
            problems.push(Problem::at(name.place, message));
        }
        check_directives(self.script.as_ref(), problems);
        // An empty one is one that is left out.
        let conda_root = self.conda_root.as_ref().filter(|root| !root.value.is_empty());
        check_path("conda_root", conda_root, problems);
        check_words("srun_args", self.srun_args.as_ref(), problems);
        if name.value == LOCAL {
            problems.push(Problem::at(
                name.place,
                "the cluster name `local` belongs to the local target",
            ));
        }
        if let Some(ports) = &self.rendezvous_ports {
            let fine = matches!(ports.value.as_slice(), [low, high]
                if low.value <= high.value && low.value.get() >= 1024 && high.value.get() <= 65_535);
            if !fine {
                let message =
                    "`rendezvous_ports` must be two ports from 1024 to 65535, the lower first";
                problems.push(Problem::at(ports.place, message));
            }
        }
        if let Some(address) = &self.node_address
            && (!address.value.contains("{node}")
                || address.value.len() > PATH_BYTES_MAX
                || address.value.chars().any(|c| c.is_control() || c.is_whitespace()))
        {
            let message = "`node_address` must be one word that holds `{node}`";
            problems.push(Problem::at(address.place, message));
        }
    }
}

/// The placeholders that a run root may hold.
const RUN_ROOT_PLACEHOLDERS: &[&str] = &["user", "uid", "group", "project", "account", "home"];

fn check_run_root(root: &At<String>, problems: &mut Vec<Problem>) {
    let mut rest = root.value.as_str();
    while let Some((_, after)) = rest.split_once('{') {
        let Some((word, after)) = after.split_once('}') else {
            problems.push(Problem::at(root.place, "`run_root` has a `{` without its `}`"));
            return;
        };
        if !RUN_ROOT_PLACEHOLDERS.contains(&word) {
            let message = format!("`run_root` cannot hold `{{{word}}}`");
            problems.push(
                Problem::at(root.place, message)
                    .suggest(word, RUN_ROOT_PLACEHOLDERS.iter().copied()),
            );
        }
        rest = after;
    }
    if !root.value.starts_with('/')
        && !root.value.starts_with("{home}")
        && !root.value.starts_with("~/")
    {
        problems.push(Problem::at(root.place, "`run_root` must be an absolute path"));
    }
    if root.value.len() > PATH_BYTES_MAX || root.value.chars().any(char::is_control) {
        let message = format!(
            "`run_root` must have no control characters and at most {PATH_BYTES_MAX} bytes"
        );
        problems.push(Problem::at(root.place, message));
    }
}
