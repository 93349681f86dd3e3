//! What a test's community runs: crates are built, admitted and compiled once for each process.

use crate::{
    error::SetupError,
    kit::Kit,
    world::{Lifetime, World},
};
use althing_build::{Built, Options};
use althing_core::{
    batch::{ProgramManifest, ValidatorManifest},
    ids::Hash,
    policy::Policy,
};
use althing_engine::{Engine, EngineOptions};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

/// The components of this process's tests, and the engine that has compiled them.
#[derive(Default)]
struct Workshop {
    engine: Option<Engine>,
    built: BTreeMap<PathBuf, Hash>,
}

static WORKSHOP: LazyLock<Mutex<Workshop>> = LazyLock::new(Mutex::default);

/// What a test's community is to run.
#[derive(Clone, Debug)]
pub struct Setup {
    reducer: PathBuf,
    config: Value,
    validators: Vec<(PathBuf, Value)>,
    policy: Policy,
}

impl Setup {
    /// The reducer in the folder of this crate; usually `env!("CARGO_MANIFEST_DIR")`.
    pub fn of(crate_dir: impl AsRef<Path>) -> Self {
        Self {
            reducer: crate_dir.as_ref().to_path_buf(),
            config: Value::Null,
            validators: Vec::new(),
            policy: Policy::default(),
        }
    }

    /// With this configuration.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Watched by the validator in the folder of that crate, after those named before.
    #[must_use]
    pub fn validator(mut self, crate_dir: impl AsRef<Path>, config: Value) -> Self {
        self.validators.push((crate_dir.as_ref().to_path_buf(), config));
        self
    }

    /// Under this policy: to see what happens at a quota.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Builds what is not built yet, and begins the community.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn start(self) -> Result<Kit, SetupError> {
        let (engine, manifest) = {
            let mut workshop = WORKSHOP.lock().unwrap_or_else(PoisonError::into_inner);
            let reducer = workshop.prepare(&self.reducer)?;
            let mut validators = Vec::new();
            for (folder, config) in &self.validators {
                let component = workshop.prepare(folder)?;
                validators.push(ValidatorManifest { component, config: config.to_string().into() });
            }
            let engine = workshop.engine.clone().expect("preparing needed it");
            let said = engine.prepared(reducer).expect("it was prepared").description;
            let config = self.config.to_string().into();
            (engine, ProgramManifest { reducer, validators, config, name: said.name, version: said.version })
        };
        let world = |lifetime| World::begin(engine.clone(), lifetime, self.policy.clone(), &manifest);
        let (fresh, kept) = (world(Lifetime::Call)?, world(Lifetime::Community)?);
        let questions = engine.load_query(&manifest).map_err(SetupError::Host)?;
        Ok(Kit::new(fresh, kept, questions))
    }
}

impl Workshop {
    fn prepare(&mut self, folder: &Path) -> Result<Hash, SetupError> {
        if let Some(component) = self.built.get(folder) {
            return Ok(*component);
        }
        let Built { path, bytes, .. } = althing_build::build(folder, &Options::default())?;
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => {
                // Beside the component, in cargo's target folder: compiled once for all tests.
                let cache_dir = path.parent().map(|folder| folder.join("compiled"));
                let engine = Engine::new(EngineOptions { cache_dir, ..EngineOptions::default() })?;
                self.engine.insert(engine).clone()
            }
        };
        let component = Hash::of_component(&bytes);
        engine
            .prepare(component, &bytes)
            .map_err(|source| SetupError::Prepare { package: folder.display().to_string(), source })?;
        self.built.insert(folder.to_path_buf(), component);
        Ok(component)
    }
}
