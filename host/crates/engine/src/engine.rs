//! The engine: from an uploaded component to a program that runs.
//!
//! *Admit* (cheap, at upload) → *prepare* (compile, describe, cache; on every voter before activation) →
//! *load* (at activation and restart). It owns the cache and the loaded components; it decides nothing
//! about communities.

use crate::{
    admission::{self, AdmissionError, Admitted, Kind},
    artifact::{self, Artifact},
    cache::{Cache, CacheError},
    compile::{CompileError, CompileMode},
    config::{self, Optimization},
    describe::{BadDescription, Description},
    fingerprint,
    frames::{self, LargeFrame},
    link::{self, Linkers, Loaded, NotDescribed},
    program::{Validator, WasmProgram},
    query::QueryProgram,
    shelf::Shelf,
};
use althing_core::{
    batch::ProgramManifest,
    ids::Hash,
    program::{Fault, Program, Programs},
    transition::Trap,
};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How an engine is made. Nothing in it shapes outcomes but the optimization, which is part of the
/// fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where compiled components are kept; none: in memory only, so that what the shelf of loaded components
    /// drops must be prepared again.
    pub cache_dir: Option<PathBuf>,
    /// Where components are compiled.
    pub compile: CompileMode,
    /// How hard the compiler tries.
    pub optimization: Optimization,
}

/// An engine that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime does not take our configuration here.
    #[error("the Wasm engine cannot run on this machine: {what}")]
    Unsupported {
        /// What wasmtime said.
        what: String,
    },
    /// The cache directory cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A component that could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The bytes are not the component that was named.
    #[error("the component's bytes hash to {found}, not to {wanted}: upload it again")]
    OtherBytes {
        /// The hash asked for.
        wanted: Hash,
        /// The hash of the bytes.
        found: Hash,
    },
    /// It is not admitted.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its functions are beyond the depth limit's reckoning.
    #[error(transparent)]
    LargeFrame(#[from] LargeFrame),
    /// Its imports or exports have other types than the world's.
    #[error(
        "the component does not fit its world althing:reducer@0.1.0: {what}: build it against the published wit/"
    )]
    OtherTypes {
        /// What differs.
        what: String,
    },
    /// `describe` trapped.
    #[error("the component's `describe` failed: {} ({})", .0.message, .0.kind.code())]
    Describe(Trap),
    /// `describe` gave something unusable.
    #[error(transparent)]
    Description(#[from] BadDescription),
    /// The cache could not be written: a matter of this machine.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The engine failed: a matter of this machine.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl PrepareError {
    /// The stable code told to clients.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherBytes { .. } => "component-hash",
            Self::Admission(error) => error.code(),
            Self::Compile(CompileError::Refused { .. }) => "component-malformed",
            Self::Compile(CompileError::TooExpensive { .. }) => "component-too-expensive",
            Self::LargeFrame(_) => "component-large-frame",
            Self::OtherTypes { .. } => "component-types",
            Self::Describe(_) | Self::Description(_) => "component-description",
            Self::Compile(_) | Self::Cache(_) | Self::Fault(_) => "engine-fault",
        }
    }

    /// Whether the component is at fault, on every replica alike, rather than this machine.
    #[must_use]
    pub const fn is_the_components(&self) -> bool {
        !matches!(
            self,
            Self::Compile(CompileError::Process(_) | CompileError::Engine { .. })
                | Self::Cache(_)
                | Self::Fault(_)
        )
    }
}

impl From<NotDescribed> for PrepareError {
    fn from(error: NotDescribed) -> Self {
        match error {
            NotDescribed::OtherTypes(error) => other_types(&error),
            NotDescribed::Trap(trap) => Self::Describe(trap),
            NotDescribed::Fault(fault) => Self::Fault(fault),
        }
    }
}

fn other_types(error: &wasmtime::Error) -> PrepareError {
    PrepareError::OtherTypes { what: format!("{error:#}") }
}

/// A component that is compiled and known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What it is.
    pub kind: Kind,
    /// What it says about itself.
    pub description: Description,
}

/// The engine. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    wasmtime: wasmtime::Engine,
    linkers: Linkers,
    fingerprint: Hash,
    listing: String,
    cache: Option<Cache>,
    compile: CompileMode,
    optimization: Optimization,
    shelf: Mutex<Shelf>,
}

impl Engine {
    /// Makes an engine.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let unsupported = |error: wasmtime::Error| EngineError::Unsupported { what: format!("{error:#}") };
        let settings = config::settings(options.optimization).map_err(unsupported)?;
        let wasmtime = wasmtime::Engine::new(&settings.config).map_err(unsupported)?;
        let linkers = Linkers::new(&wasmtime).map_err(unsupported)?;
        let listing = fingerprint::listing(&settings);
        let fingerprint = fingerprint::of(&listing);
        let mut compatibility = DefaultHasher::new();
        wasmtime.precompile_compatibility_hash().hash(&mut compatibility);
        let cache = match &options.cache_dir {
            Some(directory) => Some(Cache::open(directory, fingerprint, compatibility.finish())?),
            None => None,
        };
        let EngineOptions { compile, optimization, .. } = options;
        let shelf = Mutex::default();
        let shared = Shared { wasmtime, linkers, fingerprint, listing, cache, compile, optimization, shelf };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The hash of everything that outcomes depend on besides state and batch.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        self.shared.fingerprint
    }

    /// What the fingerprint hashes, one `name = value` a line: to see why two differ.
    #[must_use]
    pub fn fingerprint_listing(&self) -> &str {
        &self.shared.listing
    }

    /// Checks a component's structure without compiling it. Milliseconds.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn admit(&self, bytes: &[u8]) -> Result<Admitted, AdmissionError> {
        admission::admit(bytes)
    }

    /// Makes a component ready to be loaded: admits, compiles, describes and caches it. At once if it
    /// is ready already. Blocks, possibly for many seconds.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare(&self, component: Hash, bytes: &[u8]) -> Result<Prepared, PrepareError> {
        let found = Hash::of_component(bytes);
        if found != component {
            return Err(PrepareError::OtherBytes { wanted: component, found });
        }
        if let Some(loaded) = self.find(component)? {
            return Ok(prepared(&loaded));
        }
        let admitted = admission::admit(bytes)?;
        let shared = &self.shared;
        let code = shared.compile.compile(&shared.wasmtime, shared.optimization, &admitted.instrumented)?;
        let compiled = artifact::deserialize(&shared.wasmtime, &code)
            .map_err(|error| Fault::because("compiled code cannot be loaded", error))?;
        frames::check(&compiled, &admitted.survey)?;
        let (kind, memory_bytes) = (admitted.kind, admitted.memory_bytes);
        let linked = link::link(&shared.linkers, component, &compiled, kind, memory_bytes)
            .map_err(|error| other_types(&error))?;
        let description = link::describe(&linked)?;
        description.check()?;
        if let Some(cache) = &shared.cache {
            let description = description.clone();
            cache.put(component, &Artifact { kind, description, memory_bytes, code: code.into() })?;
        }
        let loaded = Arc::new(Loaded { linked, description });
        let prepared = prepared(&loaded);
        self.shelf().put(loaded);
        Ok(prepared)
    }

    /// Whether a component can be loaded without its bytes. Loads it from the cache if it is there.
    #[must_use]
    pub fn is_prepared(&self, component: Hash) -> bool {
        self.find(component).is_ok_and(|loaded| loaded.is_some())
    }

    /// What a prepared component says about itself.
    #[must_use]
    pub fn prepared(&self, component: Hash) -> Option<Prepared> {
        self.find(component).ok().flatten().map(|loaded| prepared(&loaded))
    }

    /// Loads a program.
    ///
    /// # Errors
    /// A component is not prepared, or not of the kind that its place wants.
    pub fn load(&self, manifest: &ProgramManifest) -> Result<WasmProgram, Fault> {
        let reducer = self.reducer(manifest)?;
        let mut validators = Vec::with_capacity(manifest.validators.len());
        for validator in &manifest.validators {
            let loaded = self.wanted(validator.component)?;
            if loaded.linked.kind != Kind::Validator {
                return Err(Fault::new(format!("component {} is no validator", validator.component)));
            }
            validators.push(Validator { loaded, config: validator.config.clone() });
        }
        Ok(WasmProgram::new(reducer, validators))
    }

    /// Loads what answers a program's queries.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_query(&self, manifest: &ProgramManifest) -> Result<Arc<QueryProgram>, Fault> {
        Ok(Arc::new(QueryProgram::new(self.reducer(manifest)?)))
    }

    fn reducer(&self, manifest: &ProgramManifest) -> Result<Arc<Loaded>, Fault> {
        let reducer = self.wanted(manifest.reducer)?;
        match reducer.linked.kind {
            Kind::Reducer { .. } => Ok(reducer),
            Kind::Validator => Err(Fault::new(format!("component {} is no reducer", manifest.reducer))),
        }
    }

    fn wanted(&self, component: Hash) -> Result<Arc<Loaded>, Fault> {
        self.find(component)?.ok_or_else(|| {
            Fault::new(format!(
                "component {component} is not prepared on this node: fetch and prepare it first"
            ))
        })
    }

    /// A component from the shelf, or else from the cache.
    fn find(&self, component: Hash) -> Result<Option<Arc<Loaded>>, Fault> {
        if let Some(loaded) = self.shelf().get(component) {
            return Ok(Some(loaded));
        }
        let Some(artifact) = self.shared.cache.as_ref().and_then(|cache| cache.get(component)) else {
            return Ok(None);
        };
        let loaded = match self.revive(component, artifact) {
            Ok(loaded) => Arc::new(loaded),
            Err(error) => {
                tracing::warn!(%component, %error, "a cached component cannot be loaded and will be compiled again");
                self.forget(component);
                return Ok(None);
            }
        };
        self.shelf().put(Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    fn revive(&self, component: Hash, artifact: Artifact) -> wasmtime::Result<Loaded> {
        let shared = &self.shared;
        let compiled = artifact::deserialize(&shared.wasmtime, &artifact.code)?;
        let Artifact { kind, memory_bytes, description, .. } = artifact;
        let linked = link::link(&shared.linkers, component, &compiled, kind, memory_bytes)?;
        Ok(Loaded { linked, description })
    }

    fn forget(&self, component: Hash) {
        if let Some(cache) = &self.shared.cache {
            cache.remove(component);
        }
    }

    /// A panic while it was held leaves the shelf whole: each change is one insertion or removal.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shared.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Programs for Engine {
    fn load(&mut self, manifest: &ProgramManifest) -> Result<Box<dyn Program>, Fault> {
        Ok(Box::new(Self::load(self, manifest)?))
    }
}

fn prepared(loaded: &Loaded) -> Prepared {
    Prepared { kind: loaded.linked.kind, description: loaded.description.clone() }
}
