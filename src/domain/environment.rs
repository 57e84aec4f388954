//! What a run really got where it started: the record that its script leaves in the run directory.
//!
//! A line is a key and values, with tabs between them. The training can write the file too, so nothing here is believed
//! beyond being shown: what is odd is left out, and what is too long is cut.

use serde::{Deserialize, Serialize};

use crate::domain::code::without_secrets;

/// More nodes are not asked for what they are.
pub const NODES_MAX: u64 = 512;
/// The largest record of one of several nodes.
pub const NODE_BYTES_MAX: usize = 64 << 10;
/// The largest record that is read; the script's own comes to some tens of KiB.
pub const RECORD_BYTES_MAX: usize = 512 << 10;
/// Characters of one value.
const VALUE_CHARACTERS_MAX: usize = 1_000;
/// Packages, of Python and of conda each.
const PACKAGES_MAX: usize = 5_000;
const MODULES_MAX: usize = 500;
const GPUS_MAX: usize = 64;

/// Host, Python, packages and GPUs of one attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct EnvironmentRecord {
    /// All of it was written; otherwise something hung, or the attempt was over before.
    pub complete: bool,
    /// The first node, as it calls itself.
    pub host: Option<String>,
    pub kernel: Option<String>,
    pub machine: Option<String>,
    pub glibc: Option<String>,
    pub cpu: Option<String>,
    /// CPUs of the node.
    pub cpus: Option<u64>,
    /// CPUs that the job may use.
    pub cpus_usable: Option<u64>,
    /// Of the node.
    pub memory_bytes: Option<u64>,
    pub gpus: Vec<GpuRecord>,
    /// The runtime that Python or conda packages bring.
    pub cuda_runtime: Option<String>,
    /// What `nvcc` says of itself.
    pub cuda_toolkit: Option<String>,
    /// The newest CUDA that the driver can do.
    pub cuda_driver: Option<String>,
    pub nccl: Option<String>,
    pub python: Option<String>,
    pub python_executable: Option<String>,
    pub virtual_env: Option<String>,
    /// What installed the requirements: `pip 24.0`, `uv 0.5.1`.
    pub built_with: Option<String>,
    pub modules: Vec<String>,
    /// As they are installed, sorted by where Python looks.
    pub packages: Vec<PackageRecord>,
    pub conda_packages: Vec<PackageRecord>,
    /// The container's image: its path or address.
    pub image: Option<String>,
    /// What tells it from another one of that name: the id, time or digest that it carries, its size and its time of change.
    pub image_identity: Option<String>,
    /// How many nodes tell of themselves.
    pub node_count: Option<u64>,
    /// Those that did, the first one among them, where there are several.
    pub nodes: Vec<NodeRecord>,
}

/// What one of several nodes is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct NodeRecord {
    /// As it calls itself.
    pub host: Option<String>,
    pub kernel: Option<String>,
    pub machine: Option<String>,
    pub cpu: Option<String>,
    pub cpus: Option<u64>,
    pub memory_bytes: Option<u64>,
    /// Those that the job may use, with their driver.
    pub gpus: Vec<GpuRecord>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct GpuRecord {
    pub name: String,
    pub memory_mib: Option<u64>,
    pub driver: String,
    pub uuid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct PackageRecord {
    pub name: String,
    pub version: String,
    /// Where it was installed from, when that was not an index: with the commit, without a query and without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl EnvironmentRecord {
    /// Reads a record, whatever is in it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..RECORD_BYTES_MAX).unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let mut record = Self::default();
        for line in text.lines() {
            let mut values = line.split('\t').map(clean);
            let key = values.next().unwrap_or_default();
            record.take(&key, &values.take(4).collect::<Vec<_>>());
        }
        record.conclude();
        record
    }

    fn take(&mut self, key: &str, values: &[String]) {
        let text = |index: usize| values.get(index).filter(|value| !value.is_empty()).cloned();
        let number = |index: usize| text(index)?.parse::<u64>().ok();
        match key {
            "host" => self.host = text(0),
            "kernel" => self.kernel = text(0),
            "machine" => self.machine = text(0),
            "glibc" => {
                self.glibc = text(0).map(|said| said.trim_start_matches("glibc ").to_owned());
            }
            "cpu" => self.cpu = text(0),
            "cpus" => (self.cpus, self.cpus_usable) = (number(0), number(1)),
            "memory" => self.memory_bytes = text(0).and_then(|said| kibibytes(&said)),
            "image" => (self.image, self.image_identity) = (text(0), text(1)),
            "nodes" => self.node_count = number(0),
            "module" if self.modules.len() < MODULES_MAX => self.modules.extend(text(0)),
            "nvcc" => self.cuda_toolkit = text(0).and_then(|said| version_after(&said, "release ")),
            "driver_cuda" => {
                self.cuda_driver = text(0).and_then(|said| version_after(&said, "CUDA Version:"));
            }
            "nccl" => self.nccl = self.nccl.take().or_else(|| version_after(&text(0)?, ".so.")),
            "virtual_env" => self.virtual_env = text(0),
            "built_with" => self.built_with = text(0),
            "python" => (self.python, self.python_executable) = (text(0), text(1)),
            "package" if self.packages.len() < PACKAGES_MAX => {
                self.packages.extend(text(0).map(|name| PackageRecord {
                    name,
                    version: text(1).unwrap_or_default(),
                    source: text(2).and_then(|said| source(&said)),
                }));
            }
            "conda" if self.conda_packages.len() < PACKAGES_MAX => {
                self.conda_packages.extend(text(0).map(|file| conda(&file)));
            }
            "gpu" if self.gpus.len() < GPUS_MAX => {
                self.gpus.extend(text(0).and_then(|said| gpu(&said)));
            }
            "end" => self.complete = true,
            // Of a newer script.
            _ => {}
        }
    }

    /// What the packages tell beside themselves.
    fn conclude(&mut self) {
        let installed = |starts: &[&str]| {
            let is_it = |package: &&PackageRecord| {
                let name = package.name.to_ascii_lowercase().replace('-', "_");
                starts.iter().any(|start| name.starts_with(start))
            };
            let found = self.packages.iter().find(is_it);
            let found = found.or_else(|| self.conda_packages.iter().find(is_it));
            found.map(|package| package.version.clone())
        };
        self.cuda_runtime = installed(&["nvidia_cuda_runtime", "cuda_cudart", "cudatoolkit"]);
        // What a framework brings is what it uses, whatever else lies on the machine.
        self.nccl = installed(&["nvidia_nccl_", "nccl"]).or_else(|| self.nccl.take());
    }

    /// The nodes of a job by what they are: a description, and those that it fits. Alike are those with the same kernel,
    /// CPU and GPUs.
    pub fn kinds_of_nodes(&self) -> Vec<(String, Vec<&str>)> {
        let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
        for node in &self.nodes {
            let host = node.host.as_deref().unwrap_or("a node without a name");
            let what = node.description();
            match kinds.iter_mut().find(|(known, _)| *known == what) {
                Some((_, hosts)) => hosts.push(host),
                None => kinds.push((what, vec![host])),
            }
        }
        kinds
    }

    /// The CUDA that the training most likely uses.
    pub fn cuda(&self) -> Option<&str> {
        let known = [&self.cuda_runtime, &self.cuda_toolkit, &self.cuda_driver];
        known.into_iter().flatten().next().map(String::as_str)
    }
}

impl From<EnvironmentRecord> for NodeRecord {
    fn from(record: EnvironmentRecord) -> Self {
        let EnvironmentRecord { host, kernel, machine, cpu, cpus, memory_bytes, gpus, .. } = record;
        Self { host, kernel, machine, cpu, cpus, memory_bytes, gpus }
    }
}

impl NodeRecord {
    fn description(&self) -> String {
        [gpus(&self.gpus), self.kernel.clone(), self.cpu.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// How many GPUs there are, and of which kinds.
pub fn gpus(gpus: &[GpuRecord]) -> Option<String> {
    let mut kinds: Vec<(&str, &str, u32)> = Vec::new();
    for gpu in gpus {
        let is_it = |kind: &&mut (&str, &str, u32)| (kind.0, kind.1) == (&gpu.name, &gpu.driver);
        match kinds.iter_mut().find(is_it) {
            Some((_, _, count)) => *count += 1,
            None => kinds.push((&gpu.name, &gpu.driver, 1)),
        }
    }
    let one = |(name, driver, count): (&str, &str, u32)| {
        let driver = if driver.is_empty() { String::new() } else { format!(", driver {driver}") };
        format!("{count} x {name}{driver}")
    };
    let kinds: Vec<String> = kinds.into_iter().map(one).collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

/// A value as it is kept.
fn clean(value: &str) -> String {
    let cut = value.trim().chars().take(VALUE_CHARACTERS_MAX);
    cut.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `32589764 kB`, as the kernel counts.
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The digits and points that follow a text.
fn version_after(text: &str, before: &str) -> Option<String> {
    let (_, after) = text.split_once(before)?;
    let is_version = |c: &char| c.is_ascii_digit() || *c == '.';
    let version: String = after.trim_start().chars().take_while(is_version).collect();
    (!version.is_empty()).then_some(version)
}

/// `NAME, MEMORY, DRIVER, UUID`; only the name may hold commas.
fn gpu(text: &str) -> Option<GpuRecord> {
    let mut fields = text.rsplitn(4, ", ");
    let (uuid, driver, memory) = (fields.next()?, fields.next()?, fields.next()?);
    let name = fields.next()?.to_owned();
    let memory_mib = memory.trim().parse().ok();
    Some(GpuRecord { name, memory_mib, driver: driver.to_owned(), uuid: uuid.to_owned() })
}

/// `NAME-VERSION-BUILD`; the name may hold dashes.
fn conda(file: &str) -> PackageRecord {
    let mut parts = file.rsplitn(3, '-').skip(1);
    let version = parts.next().unwrap_or_default().to_owned();
    let name = parts.next().unwrap_or(file).to_owned();
    PackageRecord { name, version, source: None }
}

/// Where a package came from, of what its installer noted (`direct_url.json`).
fn source(text: &str) -> Option<String> {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct DirectUrl {
        url: String,
        vcs_info: Option<VcsInfo>,
    }
    #[derive(Deserialize, schemars::JsonSchema)]
    struct VcsInfo {
        commit_id: Option<String>,
    }
    let DirectUrl { url, vcs_info } = serde_json::from_str(text).ok()?;
    let url = url.contains("://").then(|| without_secrets(&url))?;
    let commit = vcs_info.and_then(|vcs| vcs.commit_id);
    Some(clean(&commit.map_or(url.clone(), |commit| format!("{url}@{commit}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "host\tgpu01\nkernel\tLinux 5.15.0\nmachine\tx86_64\nglibc\tglibc 2.35\n\
        cpu\tAMD EPYC 7763\ncpus\t128\t32\nmemory\t527897652 kB\nmodule\tcuda/12.4\nmodule\ta \"b\" 'c'\n\
        nvcc\tCuda compilation tools, release 12.4, V12.4.99\nnccl\t/usr/lib64/libnccl.so.2.19.3\n\
        virtual_env\t/home/ada/venv\nbuilt_with\tuv 0.5.1\npython\t3.11.7\t/home/ada/venv/bin/python\n\
        package\ttorch\t2.3.0+cu121\t\npackage\tnvidia_nccl_cu12\t2.20.5\t\n\
        package\tnvidia_cuda_runtime_cu12\t12.1.105\t\n\
        package\tmine\t0.1\t{\"url\": \"https://u:secret@git.example/a/b?token=x\", \"vcs_info\": {\"vcs\": \"git\", \"commit_id\": \"abc\"}}\n\
        conda\tca-certificates-2024.2.2-hbcca054_0\n\
        gpu\tNVIDIA A100-SXM4-40GB, 40960, 550.54.15, GPU-1a2b\ndriver_cuda\t| Driver Version: 550.54.15  CUDA Version: 12.4  |\n\
        end\n";

    #[test]
    fn what_the_script_writes_is_read() {
        insta::assert_json_snapshot!(EnvironmentRecord::parse(RECORD.as_bytes()));
        assert_eq!(EnvironmentRecord::parse(RECORD.as_bytes()).cuda(), Some("12.1.105"));
    }

    #[test]
    fn an_image_is_told_with_what_tells_it_from_another() {
        let of = |text: &str| {
            let record = EnvironmentRecord::parse(text.as_bytes());
            (record.image, record.image_identity)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("image\t/i.sif\tSIF ab, 7 bytes"), (some("/i.sif"), some("SIF ab, 7 bytes")));
        assert_eq!(of("image\tdocker://x\t"), (some("docker://x"), None));
        assert_eq!(of("image\t"), (None, None));
    }

    #[test]
    fn nodes_that_are_not_alike_are_told_apart() {
        let node = |host: &str, kernel: &str, drivers: &[&str]| {
            let gpu = |driver: &&str| GpuRecord {
                name: "A100".into(),
                driver: (*driver).to_owned(),
                uuid: host.into(),
                ..GpuRecord::default()
            };
            NodeRecord {
                host: Some(host.into()),
                kernel: Some(kernel.into()),
                gpus: drivers.iter().map(gpu).collect(),
                ..NodeRecord::default()
            }
        };
        let nodes = vec![
            node("n1", "5", &["1", "1"]),
            node("n2", "6", &["1", "2"]),
            node("n3", "5", &["1", "1"]),
        ];
        let record = EnvironmentRecord { nodes, ..EnvironmentRecord::default() };
        assert_eq!(
            record.kinds_of_nodes(),
            [
                ("2 x A100, driver 1, 5".to_owned(), vec!["n1", "n3"]),
                ("1 x A100, driver 1, 1 x A100, driver 2, 6".to_owned(), vec!["n2"]),
            ]
        );
    }

    #[test]
    fn half_a_record_is_told_from_a_whole_one() {
        let half = EnvironmentRecord::parse(b"host\tn1\npython\t3.");
        assert_eq!((half.complete, half.python.as_deref()), (false, Some("3.")));
        assert_eq!(EnvironmentRecord::parse(b""), EnvironmentRecord::default());
    }

    #[test]
    fn what_is_odd_is_cut_or_left_out() {
        let long = "x".repeat(VALUE_CHARACTERS_MAX + 1);
        let many = "module\tm\n".repeat(MODULES_MAX + 1) + &"package\tp\n".repeat(PACKAGES_MAX + 1);
        let text = format!(
            "host\t{long}\ncpus\t-1\t1e9\nmemory\t99999999999999999999 kB\ngpu\tERROR\ngpu\t\nend\tx\n\
             kernel\t\u{1b}[2J\u{9b}\nnewer\tkey\npackage\t\nconda\t\npackage\tq\t1\t{{\n{many}"
        );
        let record = EnvironmentRecord::parse(text.as_bytes());
        assert_eq!(record.host.map(|host| host.len()), Some(VALUE_CHARACTERS_MAX));
        assert_eq!((record.cpus, record.cpus_usable, record.memory_bytes), (None, None, None));
        assert_eq!(record.kernel.as_deref(), Some(" [2J "));
        assert_eq!((record.gpus.len(), record.conda_packages.len()), (0, 0));
        assert_eq!((record.modules.len(), record.packages.len()), (MODULES_MAX, PACKAGES_MAX));
        assert_eq!(record.packages[0].source, None);
        let bytes =
            [b"host\t\xff\xfe\nmachine\tx\n".as_slice(), &vec![b'a'; RECORD_BYTES_MAX], b"\nend\n"]
                .concat();
        let record = EnvironmentRecord::parse(&bytes);
        assert_eq!((record.machine.as_deref(), record.complete), (Some("x"), false));
    }
}
