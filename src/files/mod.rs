//! Files as Trainyard itself reads them: specs and site files with their places, and what a spec expects to find.

pub mod durable;
pub mod process;
mod requirements;
mod secrets;
mod site;
mod spec;

pub use process::ProcessId;
pub use requirements::capture_requirements;
pub use secrets::{SecretsFault, read_secrets};
pub use site::{
    FoundLayer, FoundSite, LoadedSite, SitePaths, SiteStamp, Sought, load_site, verify_commands,
};
pub use spec::{LoadError, read_spec, read_spec_file, verify};
