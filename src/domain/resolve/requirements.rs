//! What an environment is built of, and where.

use crate::domain::problem::{At, Problem};
use crate::domain::requirements::BUILD_SECONDS_MAX;
use crate::domain::resolve::{Choice, Expectation, Expected, Resolver};
use crate::domain::resolved::{BuildOn, Requirements, Target};
use crate::domain::site::CLASS_PREFIX;
use crate::domain::spec::{Compute, Distributed, Failure, Launcher, Spec, TargetKind};
use crate::domain::units::{Seconds, TimeLimit};

impl Resolver<'_> {
    pub(super) fn requirements(&mut self, target: Option<&Target>) -> Option<Requirements> {
        let spec = self.spec.environment.as_ref()?;
        let asked = spec.requirements.as_ref()?;
        for (other, name) in [(&spec.conda, "conda"), (&spec.venv, "venv")] {
            if other.is_some() {
                let message = format!(
                    "`environment.requirements` stands beside `environment.{name}`: give one of them"
                );
                self.at(asked.place, message);
            }
        }
        let path = self.beside_spec(&asked.value);
        let (place, what) = (Some(asked.place), Expected::Requirements);
        self.expectations.push(Expectation { place, what, path: path.clone() });
        let pip_args = self.context.site.build.as_ref().and_then(|build| build.pip_args.as_ref());
        let pip_args = pip_args.into_iter().flatten().map(|word| word.value.clone()).collect();
        // A local run is started where the daemon runs, so that is where its environment has to fit.
        let is_local = target.is_none_or(|target| *target == Target::Local);
        let build_on = if is_local { None } else { self.build_on() };
        Some(Requirements { path, pip_args, build_on })
    }

    /// The job that builds it: as a run of the class with one process would be submitted, paid by whoever pays for the run.
    fn build_on(&mut self) -> Option<BuildOn> {
        let place = self.context.site.build.as_ref()?.r#where.as_ref()?;
        let name = place.value.strip_prefix(CLASS_PREFIX)?;
        let class = self.context.site.class(name)?;
        let longest = class.max_time.as_ref().map(|limit| limit.value);
        let limit = TimeLimit(Seconds(BUILD_SECONDS_MAX));
        let account = self.spec.compute.as_ref().and_then(|compute| compute.account.clone());
        let compute = Compute {
            target: Some(At::new(TargetKind::Slurm, place.place)),
            class: Some(At::new(name.to_owned(), place.place)),
            time_limit: Some(At::new(longest.map_or(limit, |most| most.min(limit)), place.place)),
            account,
            ..Compute::default()
        };
        let launcher = Some(At::new(Launcher::None, place.place));
        // There is no training that could save.
        let warn_before_end = Some(At::new(Seconds(0), place.place));
        let spec = Spec {
            project: self.spec.project.clone(),
            compute: Some(compute),
            distributed: Some(Distributed { launcher, ..Distributed::default() }),
            failure: Some(Failure { warn_before_end, ..Failure::default() }),
            ..Spec::default()
        };
        let mut resolver = Resolver {
            spec: &spec,
            context: self.context,
            is_readable: true,
            problems: Vec::new(),
            warnings: Vec::new(),
            expectations: Vec::new(),
            capture: None,
            datasets: Vec::new(),
            choice: Choice::Made,
        };
        let project = spec.project.as_ref().map(|project| project.value.as_str());
        let chosen = resolver.choose_class();
        let distributed = resolver.distributed(None, chosen.as_ref());
        let built = chosen.map(|chosen| BuildOn {
            compute: resolver.compute(&chosen, &distributed, project),
            prologue: resolver.script(&chosen.target, Some(&chosen)).prologue,
        });
        // Their places are in the site's files, and not in the spec.
        let problems = resolver.problems.into_iter();
        self.problems.extend(problems.map(|problem| Problem { place: None, ..problem }));
        built
    }
}
