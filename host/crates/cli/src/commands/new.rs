//! `althing new`: a project for a reducer.

use crate::{context::Context, show::Done};
use althing_build::{Sdk, new_project};
use clap::Args;
use std::{
    env,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  althing new counter
  althing new counter --sdk ~/althing      with the SDK of a checkout";

/// Makes a project for a reducer: it builds, and passes its test.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct New {
    /// The name of the project, and of its folder.
    name: String,
    /// Where the folder is made.
    #[arg(long = "in", value_name = "FOLDER", default_value = ".")]
    parent: PathBuf,
    /// A checkout of Althing whose SDK is used; if not given, the one this program was built in, if
    /// any, else a published version.
    #[arg(long, value_name = "FOLDER", env = "ALTHING_SDK")]
    sdk: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let checkout = self.sdk.or_else(|| env::current_exe().ok().as_deref().and_then(checkout_around));
        let sdk = checkout.map_or_else(|| Sdk::Version(env!("CARGO_PKG_VERSION").to_owned()), Sdk::Checkout);
        let folder = new_project(&self.parent, &self.name, &sdk)?;
        let folder = folder.display();
        let done = format!(
            "{folder} is ready: `cd {folder} && althing dev` shows what it does, `cargo test` tests it"
        );
        Ok(context.print(&Done::new(done))?)
    }
}

/// The checkout that something lies in.
fn checkout_around(path: &Path) -> Option<PathBuf> {
    let is_checkout = |folder: &&Path| folder.join("guest-sdk/althing-guest/Cargo.toml").is_file();
    path.ancestors().find(is_checkout).map(Path::to_owned)
}
