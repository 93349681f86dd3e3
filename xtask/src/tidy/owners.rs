//! Each heavy crate has one owner, so that it can be replaced in one place.

use super::{Finding, manifests::Package};

/// A crate's name (or, with a `*`, the beginning of one) and the only packages that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("wasmtime*", &["althing-engine"]),
    ("sqlx*", &["althing-store"]),
    ("libsqlite3-sys", &["althing-store"]),
    ("openraft*", &["althing-consensus"]),
    ("prost*", &["althing-proto"]),
    ("tonic-prost*", &["althing-proto"]),
    ("protox", &["althing-proto"]),
    ("wit-bindgen", &["althing-guest"]),
    ("axum", &["althing-api"]),
    ("clap", &["althing-cli", "althing-tests", "xtask"]),
    ("indicatif", &["althing-cli"]),
];

/// Checks every dependency of every package, those of tests too.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let Some((_, owners)) = OWNERS.iter().find(|(name, _)| matches(name, &dependency.name)) else {
                continue;
            };
            if !owners.contains(&package.name.as_str()) {
                let what = format!(
                    "{} names {}, which belongs to {} alone: use its port",
                    package.name,
                    dependency.name,
                    owners.join(" and ")
                );
                findings.push(Finding::new(&package.manifest, 1, what));
            }
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::manifests::Dependency;

    fn package(name: &str, to: &str) -> Package {
        let dependency = Dependency { name: to.to_owned(), is_dev: false, is_ours: false };
        Package { name: name.to_owned(), manifest: "a/Cargo.toml".to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn only_the_owner_may_name_a_heavy_crate() {
        assert!(check(&[package("althing-engine", "wasmtime")]).is_empty());
        assert_eq!(check(&[package("althing-node", "wasmtime")]).len(), 1);
        assert_eq!(check(&[package("althing-node", "openraft-rt-sim")]).len(), 1);
        assert!(check(&[package("althing-node", "serde")]).is_empty());
    }
}
