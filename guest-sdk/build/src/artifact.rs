//! From a core module to a component.

use crate::build::BuildError;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// Wraps a core module that carries its own description, as wit-bindgen leaves it.
pub(crate) fn componentize(package: &str, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    if !exports_a_world(module) {
        return Err(BuildError::NoExport { package: package.to_owned() });
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Encode { package: package.to_owned(), message: format!("{error:#}") })
}

/// Whether an `export!` was compiled in: it alone leaves a section that describes exports.
fn exports_a_world(module: &[u8]) -> bool {
    Parser::new(0).parse_all(module).filter_map(Result::ok).any(|payload| match payload {
        Payload::CustomSection(section) => {
            section.name().starts_with("component-type:") && section.name().ends_with("imports and exports")
        }
        _ => false,
    })
}
