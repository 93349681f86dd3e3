//! The fingerprint: one hash of everything that an outcome may depend on besides state and batch.
//!
//! Engine version, every setting, target, costs, bounds of guests, and the versions of what core
//! and this crate mean. Recorded in each community; a replica with another one does not execute (promise P11).

use crate::{config::Settings, costs, depth, limiter};
use althing_core::ids::Hash;
use std::fmt::Write as _;

const DOMAIN: &str = "althing 2026 engine fingerprint v1";

/// The version that the root Cargo.toml pins; a test compares.
const WASMTIME: &str = "48.0.8";

/// Raised with every change of what this crate does to a guest that no listed number shows.
const ENGINE_SEMANTICS: u32 = 1;

/// Everything hashed, as text: two listings show by comparison what differs.
pub(crate) fn listing(settings: &Settings) -> String {
    let mut listing = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(listing, "{name} = {value}").expect("a string takes any text");
    };
    line("wasmtime", &WASMTIME);
    line("engine semantics", &ENGINE_SEMANTICS);
    line("core semantics", &althing_core::SEMANTICS);
    line("core codec", &althing_core::codec::VERSION);
    for (name, value) in costs::HOST_COSTS.into_iter().chain(depth::NUMBERS).chain(limiter::NUMBERS) {
        line(name, &value);
    }
    listing.push_str(&settings.listing);
    listing
}

/// The hash of a listing.
pub(crate) fn of(listing: &str) -> Hash {
    Hash::of(DOMAIN, listing.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Optimization, TARGET};

    #[test]
    fn the_version_named_is_the_version_pinned() {
        let manifest = include_str!("../../../../Cargo.toml");
        assert!(
            manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")),
            "pin and constant differ"
        );
    }

    /// A difference here is a new fingerprint: every community on the old one must be moved to the
    /// new one at one place of its history. Meant? Then put the new listing into the file.
    #[test]
    fn the_fingerprint_changes_only_on_purpose() {
        let listing = listing(&config::settings(Optimization::Speed).unwrap());
        let listing = listing.replace(TARGET, "TARGET");
        let golden = include_str!("../tests/golden/fingerprint.txt");
        let gone: Vec<&str> = golden.lines().filter(|line| !listing.contains(line)).collect();
        let new: Vec<&str> = listing.lines().filter(|line| !golden.contains(line)).collect();
        assert!(
            golden == listing,
            "the fingerprint changes\n  gone: {gone:#?}\n  new: {new:#?}\nlisting:\n{listing}"
        );
    }

    #[test]
    fn another_listing_is_another_fingerprint() {
        assert_ne!(of("a = 1\n"), of("a = 2\n"));
    }
}
