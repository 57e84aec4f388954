//! The options of sbatch that a spec and its hardware class come to.

use std::fmt::Display;

use crate::domain::nodelist;
use crate::domain::problem::{At, Place, Problem};
use crate::domain::resolve::Resolver;
use crate::domain::resolve::compute::Chosen;
use crate::domain::resolved::{Distributed, SbatchOption, Target};
use crate::domain::site::{self, Class, GpuRequest, MemoryRequest};
use crate::domain::spec::Compute;
use crate::domain::units::{Mebibytes, TimeLimit};

/// Options that Trainyard sets itself, or that make sbatch do something else than submit here.
const OURS: &[&str] = &[
    "--job-name",
    "--array",
    "--output",
    "--error",
    "--open-mode",
    "--export",
    "--export-file",
    "--requeue",
    "--no-requeue",
    "--parsable",
    "--wrap",
    "--chdir",
    "--propagate",
    "--signal",
    "--test-only",
    "--input",
    "--uid",
    "--gid",
    "--wait",
    "--clusters",
    "--help",
    "--usage",
    "--version",
];

/// The same, and a few more, by their letters.
const OUR_LETTERS: &str = "JaoeDiWMhVu";

/// Letters after which another letter may follow in the same word, since they take no value or need none.
const BUNDLED_LETTERS: &str = "HIkKOQsv";

/// Options in the order they are found, each under one place for its faults.
struct Options {
    list: Vec<SbatchOption>,
    problems: Vec<Problem>,
}

impl Options {
    fn add(&mut self, name: &str, place: Option<Place>, value: impl Display) {
        match SbatchOption::with_value(name, value) {
            Ok(option) => self.list.push(option),
            Err(error) => {
                self.refuse(place, format!("--{name} cannot be given to sbatch: {error}"));
            }
        }
    }

    fn text(&mut self, name: &str, value: Option<&At<String>>) {
        let Some(value) = value else { return };
        if value.value.is_empty() {
            self.refuse(Some(value.place), format!("--{name} is empty"));
        } else {
            self.add(name, Some(value.place), &value.value);
        }
    }

    fn flag(&mut self, name: &str) {
        self.list.extend(SbatchOption::flag(name));
    }

    fn verbatim(&mut self, text: &At<String>) {
        match verbatim(&text.value) {
            Ok(option) => self.list.push(option),
            Err(message) => self.refuse(Some(text.place), message),
        }
    }

    fn refuse(&mut self, place: Option<Place>, message: String) {
        self.problems.push(Problem::new(place, message));
    }
}

/// An option as somebody wrote it, or why it cannot be given to sbatch.
pub(in crate::domain) fn verbatim(text: &str) -> Result<SbatchOption, String> {
    match SbatchOption::parse(text) {
        Ok(option) if is_ours(option.name()) => {
            Err(format!("`{}` is set by Trainyard itself", option.name()))
        }
        Ok(option) => Ok(option),
        Err(error) => Err(format!("`{}`: {error}", text.escape_debug())),
    }
}

/// Whether an option is one of ours, also abbreviated (`--job` for `--job-name`), with its value stuck on (`-Jx`), or
/// behind other letters (`-HJx`).
fn is_ours(name: &str) -> bool {
    if name.starts_with("--") {
        return OURS.iter().any(|ours| ours.starts_with(name));
    }
    let mut letters = name.chars().skip(1).skip_while(|letter| BUNDLED_LETTERS.contains(*letter));
    letters.next().is_some_and(|letter| OUR_LETTERS.contains(letter))
}

impl Resolver<'_> {
    /// The spec's own options where no directive is made of them: what is refused is refused wherever the run executes.
    pub(super) fn check_verbatim(&mut self) {
        let mut options = Options { list: Vec::new(), problems: Vec::new() };
        let compute = self.spec.compute.as_ref();
        for option in compute.iter().flat_map(|compute| &compute.sbatch).flat_map(|all| &all.value)
        {
            options.verbatim(option);
        }
        self.problems.extend(options.problems);
    }

    /// Everything about resources, limits and accounts that the script's directives will say.
    pub(super) fn sbatch_options(
        &mut self,
        chosen: &Chosen<'_>,
        distributed: &Distributed,
        time_limit: Option<TimeLimit>,
        project: Option<&str>,
    ) -> Vec<SbatchOption> {
        let mut options = Options { list: Vec::new(), problems: Vec::new() };
        let (empty_class, empty_compute) = (Class::default(), Compute::default());
        let class = chosen.class.unwrap_or(&empty_class);
        let compute = self.spec.compute.as_ref().unwrap_or(&empty_compute);

        let per_rank = distributed.launcher.has_task_per_rank();
        let tasks = if per_rank { distributed.processes_per_node } else { 1 };
        self.directives(&mut options, chosen, class);
        options.add("nodes", None, self.nodes());
        options.add("ntasks-per-node", None, tasks);
        self.cpus(&mut options, compute, class, tasks);
        self.gpus(&mut options, class);
        self.memory(&mut options, compute, class, tasks);
        if class.is_exclusive() {
            options.flag("exclusive");
        }
        if let Some(limit) = time_limit {
            options.add("time", None, limit.slurm());
        }
        if let Some(least) = &compute.time_min {
            options.add("time-min", Some(least.place), least.value.slurm());
        }
        self.accounts(&mut options, compute, chosen, project);
        options.text("begin", compute.begin.as_ref());
        self.nodelist(&mut options, compute, class);
        if let Some(nice) = &compute.nice {
            options.add("nice", Some(nice.place), nice.value);
        }
        if compute.hold.as_ref().is_some_and(|hold| hold.value) {
            options.flag("hold");
        }
        if let Some(mail) = &compute.mail {
            let types: Vec<String> =
                mail.value.iter().map(|at| at.value.as_str().to_ascii_uppercase()).collect();
            // sbatch adds them up, so the site's would still count.
            options.list.retain(|option| option.name() != "--mail-type");
            options.add("mail-type", Some(mail.place), types.join(","));
        }
        // One or the other: what Slurm does when a job says nothing is the site's choice.
        let failure = self.failure(time_limit);
        options.flag(if failure.allows_requeue() { "requeue" } else { "no-requeue" });
        if failure.warn_before_end.0 > 0 {
            // To the script alone, which knows whom to tell: most signals end whoever does not catch them.
            options.add("signal", None, format!("B:USR1@{}", failure.warn_before_end.0));
        }
        // Last, so that sbatch takes the spec's own word over everything else.
        for option in compute.sbatch.iter().flat_map(|options| &options.value) {
            options.verbatim(option);
        }
        self.problems.append(&mut options.problems);
        options.list
    }

    fn cpus(&mut self, options: &mut Options, compute: &Compute, class: &Class, tasks: u32) {
        let asked = compute.cpus_per_node.as_ref();
        self.at_most(
            asked.map(|at| (at.value.get(), at.place)),
            class.cpus_per_node.as_ref().map(|at| at.value.get()),
            "CPUs",
        );
        if let Some((cpus, place)) = self.cpus_of_task(compute, class, tasks) {
            options.add("cpus-per-task", Some(place), cpus);
        }
    }

    /// CPUs of each task, and which key says so.
    fn cpus_of_task(&self, compute: &Compute, class: &Class, tasks: u32) -> Option<(u32, Place)> {
        let asked = compute.cpus_per_node.as_ref().map(|asked| (asked.value.get(), asked.place));
        let (cpus, place) = asked.or_else(|| self.share_of_cpus(class))?;
        Some(((cpus / tasks).max(1), place))
    }

    /// The class's CPUs; with part of its GPUs comes that part of them, so that the others' are left to the others.
    fn share_of_cpus(&self, class: &Class) -> Option<(u32, Place)> {
        let cpus = class.cpus_per_node.as_ref().filter(|_| !self.leaves_gpus(class))?;
        let of_class = class.gpus_per_node.as_ref().map_or(0, |gpus| gpus.value);
        let asked = self.gpus_per_node(Some(class));
        if class.is_exclusive() || asked >= of_class {
            return Some((cpus.value.get(), cpus.place));
        }
        let share = u64::from(cpus.value.get()) * u64::from(asked) / u64::from(of_class);
        Some((u32::try_from(share).unwrap_or(u32::MAX), cpus.place))
    }

    /// Whether a run takes none of the GPUs that a class shares out. What belongs to them is left to those who do: such a
    /// run gets what Slurm gives by itself.
    fn leaves_gpus(&self, class: &Class) -> bool {
        let has_gpus = class.gpus_per_node.as_ref().is_some_and(|gpus| gpus.value > 0);
        has_gpus && !class.is_exclusive() && self.gpus_per_node(Some(class)) == 0
    }

    fn gpus(&mut self, options: &mut Options, class: &Class) {
        let asked = self.spec.compute.as_ref().and_then(|compute| compute.gpus_per_node.as_ref());
        self.at_most(
            asked.map(|at| (at.value, at.place)),
            Some(class.gpus_per_node.as_ref().map_or(0, |at| at.value)),
            "GPUs",
        );
        let count = self.gpus_per_node(Some(class));
        if let Some(gres) = &class.gres {
            if let Some(asked) = asked
                && Some(count) != class.gpus_per_node.as_ref().map(|at| at.value)
            {
                let message = "the class asks for its GPUs with `gres`, which a spec cannot change";
                self.at(asked.place, message);
            }
            options.text("gres", Some(gres));
            return;
        }
        let typed = class.gpu_typed.as_ref().is_some_and(|typed| typed.value);
        let kind = class
            .gpu_type
            .as_ref()
            .filter(|_| typed)
            .map(|kind| format!("{}:", kind.value))
            .unwrap_or_default();
        let request =
            class.gpu_request.as_ref().map_or(GpuRequest::GpusPerNode, |request| request.value);
        match request {
            _ if count == 0 => {}
            GpuRequest::GpusPerNode => options.add("gpus-per-node", None, format!("{kind}{count}")),
            GpuRequest::Gres => options.add("gres", None, format!("gpu:{kind}{count}")),
            GpuRequest::None => {}
        }
    }

    /// GPUs of each node that sbatch hears of, so that memory can be asked for by them.
    fn gpus_asked(&self, class: &Class) -> u32 {
        let unheard = class.gpu_request.as_ref().is_some_and(|at| at.value == GpuRequest::None);
        let count = self.gpus_per_node(Some(class));
        if unheard && class.gres.is_none() { 0 } else { count }
    }

    fn memory(&mut self, options: &mut Options, compute: &Compute, class: &Class, tasks: u32) {
        let asked = compute.memory_per_node.as_ref();
        let of_class = class.memory_per_node.as_ref();
        if let (Some(asked), Some(most)) = (asked, of_class)
            && asked.value > most.value
        {
            self.at(
                asked.place,
                format!("{} of memory asked, the class's nodes give {}", asked.value, most.value),
            );
        }
        let memory = asked.or(of_class.filter(|_| !self.leaves_gpus(class)));
        let share = |of: u32, memory: Mebibytes| Mebibytes((memory.0 / u64::from(of)).max(1));
        let gpus = self.gpus_asked(class);
        match (class.memory_request(), memory) {
            // By no GPU no memory can be asked for.
            (MemoryRequest::PerGpu, Some(at)) if gpus == 0 => {
                options.add("mem", Some(at.place), at.value);
            }
            (MemoryRequest::All, _) if asked.is_none() => options.add("mem", None, 0),
            (MemoryRequest::All | MemoryRequest::Node, Some(at)) => {
                options.add("mem", Some(at.place), at.value);
            }
            // The class's memory is that of all its GPUs, also for a run that asks for part of them.
            (MemoryRequest::PerGpu, Some(at)) => {
                let of_class = class.gpus_per_node.as_ref().map_or(gpus, |all| all.value.max(1));
                let of = if asked.is_some() { gpus } else { of_class };
                options.add("mem-per-gpu", Some(at.place), share(of, at.value));
            }
            (MemoryRequest::PerCpu, Some(at)) => {
                let of_task = self.cpus_of_task(compute, class, tasks).map_or(1, |(cpus, _)| cpus);
                let share = share(of_task.saturating_mul(tasks), at.value);
                options.add("mem-per-cpu", Some(at.place), share);
            }
            (MemoryRequest::None, _) => {
                if let Some(asked) = asked {
                    self.at(asked.place, "the class asks for no memory, so a spec cannot either");
                }
            }
            (_, None) => {}
        }
    }

    fn accounts(
        &self,
        options: &mut Options,
        compute: &Compute,
        chosen: &Chosen<'_>,
        project: Option<&str>,
    ) {
        let no_class = Class::default();
        let class = chosen.class.unwrap_or(&no_class);
        let empty = site::Project::default();
        let project_keys = project
            .and_then(|name| self.context.site.project.as_ref()?.get(name))
            .unwrap_or(&empty);
        if let Some(account) = self.account(project, Some(&chosen.name)) {
            options.add("account", compute.account.as_ref().map(|at| at.place), account);
        }
        if let Some(partitions) = &class.partition {
            let names: Vec<&str> = partitions.0.iter().map(|at| at.value.as_str()).collect();
            options.add("partition", None, names.join(","));
        }
        options
            .text("qos", compute.qos.as_ref().or(project_keys.qos.as_ref()).or(class.qos.as_ref()));
        options.text("wckey", project_keys.wckey.as_ref().or(class.wckey.as_ref()));
        options.text("reservation", compute.reservation.as_ref().or(class.reservation.as_ref()));
        options.text("licenses", compute.licenses.as_ref().or(class.licenses.as_ref()));
        match (&class.constraint, &compute.constraint) {
            (Some(ours), Some(theirs)) => {
                options.add(
                    "constraint",
                    Some(theirs.place),
                    format!("({})&({})", ours.value, theirs.value),
                );
            }
            (ours, theirs) => options.text("constraint", theirs.as_ref().or(ours.as_ref())),
        }
        match (&class.exclude, &compute.exclude) {
            (Some(ours), Some(theirs)) => {
                options.add(
                    "exclude",
                    Some(theirs.place),
                    format!("{},{}", ours.value, theirs.value),
                );
            }
            (ours, theirs) => options.text("exclude", theirs.as_ref().or(ours.as_ref())),
        }
    }

    /// Nodes that must be used: all of them, so there cannot be more than the run asks for.
    fn nodelist(&mut self, options: &mut Options, compute: &Compute, class: &Class) {
        let Some(list) = compute.nodelist.as_ref().or(class.nodelist.as_ref()) else { return };
        options.text("nodelist", Some(list));
        // What is no list of names is for Slurm to judge.
        let named = nodelist::expand(&list.value).map_or(0, |names| names.len());
        let nodes = self.nodes();
        if u32::try_from(named).is_ok_and(|named| named > nodes) {
            let message = format!("{named} nodes must be used, and the run asks for {nodes}");
            // The class's list is in another file.
            let place = compute.nodelist.as_ref().map(|list| list.place);
            self.problems.push(Problem::new(place, message));
        }
    }

    /// The site's own options come first: of two alike, sbatch takes the later, and a key of the spec is to count.
    fn directives(&self, options: &mut Options, chosen: &Chosen<'_>, class: &Class) {
        let of_cluster = match &chosen.target {
            Target::Slurm { cluster } => {
                self.context.site.cluster.as_ref().and_then(|all| all.get(cluster)?.script.as_ref())
            }
            Target::Local => None,
        };
        let of_site = self.context.site.script.as_ref();
        let of_cluster = of_cluster.and_then(|script| script.directives.as_ref());
        let shared = of_cluster.or_else(|| of_site.and_then(|script| script.directives.as_ref()));
        for directives in [shared, class.directives.as_ref()].into_iter().flatten() {
            for directive in directives {
                options.verbatim(directive);
            }
        }
    }

    /// Reports a request that is over what the class gives on each node.
    fn at_most(&mut self, asked: Option<(u32, Place)>, most: Option<u32>, what: &str) {
        if let (Some((asked, place)), Some(most)) = (asked, most)
            && asked > most
        {
            self.at(place, format!("{asked} {what} per node asked, the class's nodes give {most}"));
        }
    }
}
