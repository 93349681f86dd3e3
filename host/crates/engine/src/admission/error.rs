//! Why a component is refused, with a stable code and what to do about it.

/// A component that is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Larger than any component may be.
    #[error(
        "the component has {bytes} bytes, at most {bytes_max} are allowed: strip debug information, optimise for size"
    )]
    TooBig {
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// A core module where a component is wanted.
    #[error(
        "this is a core WebAssembly module, not a component: build it with `althing build`, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Not WebAssembly at all, damaged, or invalid.
    #[error("this is no valid WebAssembly component: {what}: build it again")]
    Malformed {
        /// What the parser found, and where.
        what: String,
    },
    /// A WebAssembly feature that the engine has switched off.
    #[error(
        "the component needs a WebAssembly feature that is switched off here: {what}: build it without that feature"
    )]
    Feature {
        /// What the validator found, and where.
        what: String,
    },
    /// An import that is not on the list.
    #[error(
        "the component imports `{import}`, which is not served: only {allowed} are; build without the library that needs it (for Rust: target wasm32-unknown-unknown)"
    )]
    ForbiddenImport {
        /// The import's name.
        import: String,
        /// What may be imported.
        allowed: String,
    },
    /// Exports that the world asks for are missing.
    #[error(
        "the component exports no `{missing}`, so it is neither a reducer nor a validator: build it for a world of package althing:reducer@0.1.0"
    )]
    WrongWorld {
        /// The first export missed.
        missing: String,
    },
    /// Both a reducer and a validator.
    #[error("the component exports both `reduction` and `validation`: make two components of it")]
    TwoWorlds,
    /// A structural bound broken.
    #[error("the component has {found} {what}, at most {max} are allowed: split it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// A component built in a way that no known tool does and that the engine does not follow.
    #[error(
        "the component contains {what}, which is not allowed: build it with wit-component, as `althing build` does"
    )]
    Unusual {
        /// What.
        what: &'static str,
    },
}

impl AdmissionError {
    /// The stable code told to clients.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooBig { .. } => "component-too-big",
            Self::CoreModule => "component-is-core-module",
            Self::Malformed { .. } => "component-malformed",
            Self::Feature { .. } => "component-feature",
            Self::ForbiddenImport { .. } => "component-import",
            Self::WrongWorld { .. } => "component-world",
            Self::TwoWorlds => "component-two-worlds",
            Self::TooMany { .. } => "component-structure",
            Self::Unusual { .. } => "component-unusual",
        }
    }
}
