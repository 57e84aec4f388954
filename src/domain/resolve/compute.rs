//! Where a run executes and how its processes are spread.

use crate::domain::charge::Terms;
use crate::domain::problem::{At, Problem};
use crate::domain::quota::{Demand, Quotas};
use crate::domain::resolve::program::is_python;
use crate::domain::resolve::{Choice, Resolver};
use crate::domain::resolved::{Compute, Distributed, Program, Target};
use crate::domain::site::{Class, Cluster, LOCAL};
use crate::domain::spec::{Launcher, TargetKind};
use crate::domain::units::TimeLimit;

/// The hardware class and cluster that a spec ends up with.
pub(super) struct Chosen<'a> {
    pub(super) target: Target,
    /// The class's name; `local` for the local target without one.
    pub(super) name: String,
    pub(super) class: Option<&'a Class>,
    pub(super) cluster: Option<&'a Cluster>,
}

impl<'a> Resolver<'a> {
    /// Finds target, class and cluster: what the spec says, else the site's default class, else the local target.
    pub(super) fn choose_class(&mut self) -> Option<Chosen<'a>> {
        let site = self.context.site;
        let compute = self.spec.compute.as_ref();
        let target = compute.and_then(|compute| compute.target.as_ref());
        let asked = compute.and_then(|compute| compute.class.as_ref());
        let default = site.site.as_ref().and_then(|general| general.default_class.as_ref());
        let name = asked.or(default).map(|name| name.value.as_str());
        let kind = match (target, name) {
            (Some(target), _) => target.value,
            (None, Some(LOCAL)) => TargetKind::Local,
            (None, Some(_)) => TargetKind::Slurm,
            (None, None) if site.class_names().next().is_none() => {
                self.choice = Choice::OnlyLocal;
                TargetKind::Local
            }
            (None, None) => {
                let message = "the spec names no hardware class and the site has no default";
                let known: Vec<&str> = site.class_names().collect();
                self.problems.push(Problem::nowhere(message).help(format!(
                    "add `[compute]` with `class = \"…\"`: one of {}",
                    known.join(", ")
                )));
                return None;
            }
        };
        let class = match name {
            None | Some(LOCAL) => None,
            Some(name) => site.class(name),
        };
        if let (Some(asked), None) = (asked, class)
            && asked.value != LOCAL
        {
            self.choice = Choice::NotThere;
            let message = format!("hardware class `{}` is not defined at this site", asked.value);
            let known = site.class_names().chain([LOCAL]);
            self.problems.push(Problem::at(asked.place, message).suggest(&asked.value, known));
            return None;
        }
        match kind {
            // A class of a cluster says how many processes a local rehearsal starts; a default class does not.
            TargetKind::Local => {
                let class = class.filter(|_| asked.is_some());
                let name = asked.map_or(LOCAL, |asked| asked.value.as_str()).to_owned();
                Some(Chosen { target: Target::Local, name, class, cluster: None })
            }
            TargetKind::Slurm => self.on_slurm(target, name, class),
        }
    }

    fn on_slurm(
        &mut self,
        target: Option<&At<TargetKind>>,
        name: Option<&str>,
        class: Option<&'a Class>,
    ) -> Option<Chosen<'a>> {
        let site = self.context.site;
        let Some((name, class)) = name.zip(class) else {
            self.choice = Choice::NotThere;
            let message = "a run on Slurm needs a hardware class of the site";
            let problem = target.map_or_else(
                || Problem::nowhere(message),
                |target| Problem::at(target.place, message),
            );
            self.problems.push(problem.help("add `class = \"…\"`; `trainyard classes` lists them"));
            return None;
        };
        let cluster = match &class.cluster {
            Some(cluster) => cluster.value.clone(),
            // Site::check has made sure that there is exactly one.
            None => site.cluster.as_ref()?.names().next()?.to_owned(),
        };
        let settings = site.cluster.as_ref()?.get(&cluster);
        Some(Chosen {
            target: Target::Slurm { cluster },
            name: name.to_owned(),
            class: Some(class),
            cluster: settings,
        })
    }

    pub(super) fn distributed(
        &mut self,
        program: Option<&Program>,
        chosen: Option<&Chosen<'_>>,
    ) -> Distributed {
        /// Below Linux's default range for outgoing connections, so that no client socket is in the way.
        const PORTS: (u32, u32) = (20_000, 29_999);
        let spec = self.spec.distributed.as_ref();
        let class = chosen.and_then(|chosen| chosen.class);
        let cluster = chosen.and_then(|chosen| chosen.cluster);
        let asked = spec.and_then(|distributed| distributed.processes_per_node.as_ref());
        let processes_per_node = asked
            .map(|asked| asked.value.get())
            .or_else(|| Some(self.gpus_per_node(class)).filter(|gpus| *gpus > 0))
            .unwrap_or(1);
        let nodes = self.nodes();
        let launcher = match spec.and_then(|distributed| distributed.launcher.as_ref()) {
            Some(launcher) => launcher.value,
            None if nodes.saturating_mul(processes_per_node) <= 1 => Launcher::None,
            None if program.is_some_and(is_python) => Launcher::Torchrun,
            None => Launcher::Srun,
        };
        if let (Launcher::None, Some(asked)) = (launcher, asked)
            && asked.value.get() > 1
        {
            let message =
                "the launcher `none` starts one process, and `processes_per_node` asks for more";
            self.problems.push(
                Problem::at(asked.place, message).help("use the launcher `srun` or `torchrun`"),
            );
        }
        if let (Launcher::Accelerate | Launcher::Deepspeed, Some(Program::Command(_)), Some(at)) =
            (launcher, program, spec.and_then(|distributed| distributed.launcher.as_ref()))
        {
            let message = format!("the launcher `{launcher}` needs `code.entry_point`");
            let help = "name the script, or use the launcher `srun` or `torchrun`";
            self.problems.push(Problem::at(at.place, message).help(help));
        }
        let ports = cluster
            .and_then(|cluster| cluster.rendezvous_ports.as_ref())
            .map(|ports| ports.value.as_slice());
        let one_process = launcher == Launcher::None;
        let processes_per_node = if one_process { 1 } else { processes_per_node };
        let srun_args = [
            cluster.and_then(|cluster| cluster.srun_args.as_ref()),
            class.and_then(|c| c.srun_args.as_ref()),
        ];
        Distributed {
            launcher,
            processes_per_node,
            world_size: if one_process { 1 } else { nodes.saturating_mul(processes_per_node) },
            strategy: spec
                .and_then(|distributed| distributed.strategy.as_ref())
                .map(|s| s.value.clone()),
            rank_logs: spec
                .and_then(|distributed| distributed.rank_logs.as_ref())
                .is_some_and(|asked| asked.value),
            srun_args: srun_args
                .into_iter()
                .flatten()
                .flatten()
                .map(|word| word.value.clone())
                .collect(),
            node_address: cluster
                .and_then(|cluster| cluster.node_address.as_ref())
                .map_or_else(|| "{node}".to_owned(), |address| address.value.clone()),
            ports: match ports {
                Some([low, high]) => (low.value.get(), high.value.get()),
                _ => PORTS,
            },
        }
    }

    pub(super) fn nodes(&self) -> u32 {
        let compute = self.spec.compute.as_ref();
        compute.and_then(|compute| compute.nodes.as_ref()).map_or(1, |nodes| nodes.value.get())
    }

    pub(super) fn gpus_per_node(&self, class: Option<&Class>) -> u32 {
        let asked = self.spec.compute.as_ref().and_then(|compute| compute.gpus_per_node.as_ref());
        let of_class = class.and_then(|class| class.gpus_per_node.as_ref());
        asked.or(of_class).map_or(0, |gpus| gpus.value)
    }

    pub(super) fn compute(
        &mut self,
        chosen: &Chosen<'_>,
        distributed: &Distributed,
        project: Option<&str>,
    ) -> Compute {
        self.check_nodes(chosen);
        let time_limit = self.time_limit(chosen);
        self.check_failure(&chosen.target, time_limit);
        let options = match chosen.target {
            Target::Local => Vec::new(),
            Target::Slurm { .. } => self.sbatch_options(chosen, distributed, time_limit, project),
        };
        Compute {
            target: chosen.target.clone(),
            class: chosen.name.clone(),
            nodes: self.nodes(),
            gpus_per_node: self.gpus_per_node(chosen.class),
            time_limit,
            options,
            rate: chosen.class.and_then(|class| class.rate.as_ref()?.value.first),
            terms: self.terms(chosen),
            local_scratch: chosen
                .class
                .and_then(|class| class.local_scratch.as_ref())
                .map(|path| path.value.clone()),
        }
    }

    /// What the class costs, as the site says now.
    fn terms(&self, chosen: &Chosen<'_>) -> Terms {
        let Some(class) = chosen.class else { return Terms::default() };
        let terms = self.context.site.terms(class);
        // A rehearsal on this machine counts as one node.
        Terms { exclusive: terms.exclusive || chosen.target == Target::Local, ..terms }
    }

    fn check_nodes(&mut self, chosen: &Chosen<'_>) {
        let compute = self.spec.compute.as_ref();
        let nodes = compute.and_then(|compute| compute.nodes.as_ref()).map(|nodes| nodes.place);
        // One node is asked for by silence, too: then the class is what does not fit.
        let class = compute.and_then(|compute| compute.class.as_ref()).map(|class| class.place);
        let problem = |message: String| Problem::new(nodes.or(class), message);
        let count = self.nodes();
        if chosen.target == Target::Local {
            if count > 1 {
                let message = format!("the local target has 1 node, the spec asks for {count}");
                let problem = problem(message);
                self.problems.push(problem.help("add `--nodes 1` for a rehearsal on this machine"));
            }
            return;
        }
        let Some(class) = chosen.class else { return };
        if let Some(max) = class.max_nodes.as_ref().filter(|max| count > max.value.get()) {
            let most = max.value;
            self.problems.push(problem(format!(
                "nodes asked: {count}; class `{}` gives at most {most}",
                chosen.name
            )));
        }
        if let Some(min) = class.min_nodes.as_ref().filter(|min| count < min.value.get()) {
            let least = min.value;
            self.problems.push(problem(format!(
                "nodes asked: {count}; class `{}` gives at least {least}",
                chosen.name
            )));
        }
        let demand = Demand {
            owner: self.context.asker.user.clone(),
            project: self.spec.project.as_ref().map(|project| project.value.clone()),
            cluster: chosen.target.cluster().to_owned(),
            class: chosen.name.clone(),
            nodes: count,
        };
        let never = Quotas::of(self.context.site).never(&demand);
        self.problems.extend(never.map(problem));
    }

    fn time_limit(&mut self, chosen: &Chosen<'_>) -> Option<TimeLimit> {
        let asked = self.spec.compute.as_ref().and_then(|compute| compute.time_limit.as_ref());
        let on_slurm = chosen.target != Target::Local;
        let max = chosen.class.and_then(|class| class.max_time.as_ref()).filter(|_| on_slurm);
        if let (Some(asked), Some(max)) = (asked, max)
            && asked.value > max.value
        {
            let message = format!(
                "the time limit {} is over the {} of class `{}`",
                asked.value.0, max.value.0, chosen.name
            );
            self.at(asked.place, message);
        }
        let limit = asked
            .or_else(|| chosen.class.and_then(|class| class.default_time.as_ref()))
            .map(|limit| limit.value);
        if limit.is_none() && on_slurm {
            let problem = Problem::nowhere(format!(
                "neither the spec nor class `{}` has a time limit",
                chosen.name
            ));
            self.problems.push(problem.help("add `time_limit = \"12h\"` to `[compute]`"));
        }
        limit
    }
}
