//! `althing program`: what a community runs.

use crate::{
    context::Context,
    failure::{ProgramSaidNo, Usage},
    progress::working,
    show::{
        outcome::ReceiptShown,
        program::{ComponentShown, VersionsShown},
    },
};
use althing_client::{Admin, Installation};
use althing_core::ids::Hash;
use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{fmt, fs, path::Path, path::PathBuf, str::FromStr, time::Duration};

const INSTALL: &str = "\
Examples:
  althing program install counter counter.wasm
  althing program install ledger ledger.wasm --config '{\"currency\":\"EUR\"}' \\
      --validator spending-limit.wasm='{\"per_transfer\":100}'
  althing program install ledger ledger.wasm --config @config.json";
const UPLOAD: &str = "\
Example:
  althing program upload ledger.wasm        checked and compiled, not yet active";
const SHOW: &str = "\
Example:
  althing program show ledger";

/// Programs: install, upload, show.
#[derive(Debug, Subcommand)]
pub(crate) enum Program {
    Install(Install),
    /// Uploads a component without making it anybody's law.
    #[command(after_help = UPLOAD)]
    Upload {
        /// The component.
        component: PathBuf,
    },
    /// Tells about a community's program, with its schemas, and the ones before it.
    #[command(after_help = SHOW)]
    Show {
        /// The community, by name or id.
        community: String,
    },
}

/// Uploads a program's components and makes it a community's law.
#[derive(Args, Debug)]
#[command(after_help = INSTALL)]
pub(crate) struct Install {
    /// The community, by name or id.
    community: String,
    /// The reducer component.
    reducer: PathBuf,
    /// The reducer's configuration: JSON, or @FILE.
    #[arg(long, value_name = "JSON", default_value = "")]
    config: Config,
    /// A validator component and its configuration (JSON, or @FILE); asked in the order given.
    #[arg(long = "validator", value_name = "PATH[=CONFIG]")]
    validators: Vec<Validator>,
    /// How long to wait until a quorum of voters holds and has compiled it, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = crate::arguments::seconds, default_value = "60")]
    timeout: Duration,
}

/// A configuration: given, or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Config {
    Given(String),
    In(PathBuf),
}

/// A validator and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    component: PathBuf,
    config: Config,
}

impl FromStr for Config {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix('@') {
            Some(path) => Self::In(path.into()),
            None => Self::Given(text.to_owned()),
        })
    }
}

impl FromStr for Validator {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (component, config) = text.split_once('=').unwrap_or((text, ""));
        Ok(Self { component: component.into(), config: config.parse()? })
    }
}

impl Config {
    pub(crate) fn read(&self) -> anyhow::Result<Bytes> {
        match self {
            Self::Given(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Self::In(path) => read(path),
        }
    }
}

#[derive(Serialize)]
struct Installed {
    components: Vec<ComponentShown>,
    #[serde(flatten)]
    receipt: ReceiptShown,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for component in &self.components {
            writeln!(f, "{component}")?;
        }
        self.receipt.fmt(f)
    }
}

impl fmt::Display for ComponentsUploaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct ComponentsUploaded(ComponentShown);

impl Program {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Install(install) => install.run(context).await,
            Self::Upload { component } => {
                let bytes = read(&component)?;
                let admin = context.client().await?.admin();
                let (_, shown) = upload(&admin, &component, bytes).await?;
                Ok(context.print(&ComponentsUploaded(shown))?)
            }
            Self::Show { community } => {
                let told = context.client().await?.admin().program(&community).await?;
                Ok(context.print(&VersionsShown::from(told))?)
            }
        }
    }
}

impl Install {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        // Everything is read before anything is sent.
        let reducer = read(&self.reducer)?;
        let config = self.config.read()?;
        let mut validators = Vec::new();
        for Validator { component, config } in &self.validators {
            validators.push((component, read(component)?, config.read()?));
        }
        let admin = context.client().await?.admin();
        let mut components = Vec::new();
        let (reducer, shown) = upload(&admin, &self.reducer, reducer).await?;
        components.push(shown);
        let mut uploaded = Vec::new();
        for (path, component, config) in validators {
            let (hash, shown) = upload(&admin, path, component).await?;
            components.push(shown);
            uploaded.push((hash, config));
        }
        let (actor, timeout) = (context.actor(), Some(self.timeout));
        let program = Installation { actor, reducer, validators: uploaded, config, timeout };
        let working = working("activating".to_owned());
        let receipt = admin.activate(&self.community, program).await?;
        working.finish_and_clear();
        let shown = Installed { components, receipt: receipt.into() };
        context.print(&shown)?;
        match shown.receipt.said.no() {
            Some(no) => Err(ProgramSaidNo(format!("the program was not installed: {no}")).into()),
            None => Ok(()),
        }
    }
}

async fn upload(admin: &Admin, path: &Path, component: Bytes) -> anyhow::Result<(Hash, ComponentShown)> {
    let working = working(format!("uploading and compiling {}, {} bytes", path.display(), component.len()));
    let hash = Hash::of_component(&component);
    let told = admin.upload_component(component).await;
    working.finish_and_clear();
    let shown = told.with_context(|| format!("{} was not uploaded", path.display()))?;
    Ok((hash, shown.into()))
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let unreadable = || Usage(format!("{} cannot be read", path.display()));
    Ok(fs::read(path).with_context(unreadable)?.into())
}

#[cfg(test)]
mod tests {
    use super::{Config, Validator};

    #[test]
    fn a_validator_is_a_path_and_what_follows_the_first_equals_sign() {
        let given = |text: &str| Config::Given(text.to_owned());
        let parse = |text: &str| text.parse::<Validator>().unwrap();
        assert_eq!(parse("v.wasm"), Validator { component: "v.wasm".into(), config: given("") });
        let config = given(r#"{"a":"b=c"}"#);
        assert_eq!(parse(r#"v.wasm={"a":"b=c"}"#), Validator { component: "v.wasm".into(), config });
        let config = Config::In("c.json".into());
        assert_eq!(parse("v.wasm=@c.json"), Validator { component: "v.wasm".into(), config });
    }
}
