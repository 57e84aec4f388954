//! The container that the training runs in.

use crate::domain::problem::{At, Problem};
use crate::domain::resolve::compute::Chosen;
use crate::domain::resolve::{Expectation, Expected, PATH_BYTES_MAX, Resolver};
use crate::domain::resolved::{Container, Environment, Gpus, Target};
use crate::domain::site::ContainerRuntime;

impl Resolver<'_> {
    pub(super) fn container(
        &mut self,
        chosen: Option<&Chosen<'_>>,
        environment: &Environment,
    ) -> Option<Container> {
        let asked = self.spec.environment.as_ref()?.container.as_ref()?;
        let others = [
            ("conda", environment.conda.is_some()),
            ("venv", environment.venv.is_some()),
            ("requirements", environment.requirements.is_some()),
        ];
        for (other, _) in others.into_iter().filter(|(_, stands)| *stands) {
            let message = format!("`environment.container` stands beside `environment.{other}`");
            let help = "a container brings its own environment: give one of them; `modules` are loaded outside of it";
            self.problems.push(Problem::at(asked.place, message).help(help));
        }
        let chosen = chosen?;
        let local = self.context.site.local.as_ref().filter(|_| chosen.target == Target::Local);
        let cluster = chosen.cluster;
        let runtime = local
            .and_then(|local| local.container_runtime.as_ref())
            .or_else(|| cluster?.container_runtime.as_ref());
        let Some(runtime) = runtime.map(|runtime| runtime.value) else {
            let table = match &chosen.target {
                Target::Local => "[local]".to_owned(),
                Target::Slurm { cluster } => format!("[cluster.{cluster}]"),
            };
            let message = "the site does not say what runs containers here";
            let help =
                format!("its config names it: `container_runtime = \"apptainer\"` in `{table}`");
            self.problems.push(Problem::at(asked.place, message).help(help));
            return None;
        };
        if chosen.target == Target::Local && runtime == ContainerRuntime::Pyxis {
            self.at(
                asked.place,
                "Pyxis is a part of Slurm's srun: it starts no container on this machine",
            );
        }
        let texts = |of_local: Option<&Vec<At<String>>>, of_cluster: Option<&Vec<At<String>>>| {
            let all = of_local.or(of_cluster);
            all.into_iter().flatten().map(|text| text.value.clone()).collect::<Vec<_>>()
        };
        let args = texts(
            local.and_then(|local| local.container_args.as_ref()),
            cluster.and_then(|cluster| cluster.container_args.as_ref()),
        );
        let binds = texts(
            local.and_then(|local| local.container_binds.as_ref()),
            cluster.and_then(|cluster| cluster.container_binds.as_ref()),
        );
        let label = chosen.class.and_then(|class| class.gpu_type.as_ref());
        let gpus = label.map_or(Gpus::Nvidia, |label| Gpus::labelled(&label.value));
        Some(Container { runtime, image: self.image(asked, runtime)?, args, binds, gpus })
    }

    fn image(&mut self, asked: &At<String>, runtime: ContainerRuntime) -> Option<String> {
        let text = &asked.value;
        let fine = !text.is_empty()
            && !text.starts_with('-')
            && text.len() <= PATH_BYTES_MAX
            && !text.chars().any(char::is_control);
        if !fine {
            self.at(asked.place, format!("`{}` is no image", text.escape_debug()));
            return None;
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let path = self.beside_spec(text);
            let what = match runtime {
                ContainerRuntime::Pyxis => Expected::ImageFile,
                ContainerRuntime::Apptainer
                | ContainerRuntime::Singularity
                | ContainerRuntime::Charliecloud => Expected::Image,
            };
            self.expectations.push(Expectation {
                place: Some(asked.place),
                what,
                path: path.clone(),
            });
            return Some(path.display().to_string());
        };
        let known: &[&str] = match runtime {
            ContainerRuntime::Apptainer | ContainerRuntime::Singularity => {
                &["docker", "oras", "library", "shub"]
            }
            ContainerRuntime::Pyxis => &["docker", "dockerd", "podman"],
            ContainerRuntime::Charliecloud => &[],
        };
        let name = runtime.as_str();
        if !known.contains(&scheme) {
            let problem =
                Problem::at(asked.place, format!("`{name}` starts no `{scheme}://` image"));
            self.problems.push(if known.is_empty() {
                problem.help("it starts directories and SquashFS files: `ch-image pull` and `ch-convert` make one")
            } else {
                problem.help(format!("it takes a file, or {}://", known.join("://, ")))
            });
            return None;
        }
        let user =
            rest.split('/').next().and_then(|host| host.split_once('@')).map(|(user, _)| user);
        if user.is_some_and(|user| user.contains(':')) {
            let message = "the address of the image holds a password, which would be recorded";
            let help = format!("log in to the registry with `{name}` instead");
            self.problems.push(Problem::at(asked.place, message).help(help));
            return None;
        }
        if rest.is_empty() || rest.contains(char::is_whitespace) {
            self.at(asked.place, format!("`{}` is no address of an image", text.escape_debug()));
            return None;
        }
        Some(text.clone())
    }
}
