//! The arrows of the house: who may depend on whom. They point down only.

use super::{
    Finding,
    manifests::{Dependency, Package},
};

/// What a package may depend on, and what its tests may besides.
struct Arrows {
    from: &'static str,
    to: &'static [&'static str],
    dev: &'static [&'static str],
}

const HOST: &[&str] = &[
    "althing-core",
    "althing-engine",
    "althing-store",
    "althing-consensus",
    "althing-proto",
    "althing-node",
    "althing-api",
    "althing-client",
    "althing-build",
];

const ARROWS: &[Arrows] = &[
    Arrows { from: "althing-core", to: &[], dev: &[] },
    Arrows { from: "althing-engine", to: &["althing-core"], dev: &["althing-build"] },
    Arrows { from: "althing-store", to: &["althing-core"], dev: &[] },
    Arrows { from: "althing-proto", to: &["althing-core"], dev: &[] },
    Arrows { from: "althing-consensus", to: &["althing-core", "althing-store", "althing-proto"], dev: &[] },
    Arrows {
        from: "althing-node",
        to: &["althing-core", "althing-engine", "althing-store", "althing-consensus"],
        dev: &["althing-build"],
    },
    Arrows {
        from: "althing-api",
        to: &["althing-core", "althing-node", "althing-proto"],
        dev: &["althing-engine", "althing-store", "althing-consensus"],
    },
    Arrows { from: "althing-client", to: &["althing-proto", "althing-core"], dev: &[] },
    Arrows { from: "althing-cli", to: HOST, dev: &[] },
    Arrows { from: "althing", to: &["althing-cli"], dev: &[] },
    Arrows { from: "althing-guest", to: &["althing-guest-macros"], dev: &[] },
    Arrows { from: "althing-guest-macros", to: &[], dev: &["althing-guest"] },
    Arrows { from: "althing-build", to: &[], dev: &[] },
    Arrows { from: "althing-testkit", to: &["althing-core", "althing-engine", "althing-build"], dev: &[] },
    // A validator reads the operations of the reducer that it watches.
    Arrows { from: "spending-limit", to: &["althing-guest", "ledger"], dev: &["althing-testkit"] },
    Arrows { from: "xtask", to: &["althing-build"], dev: &[] },
];

/// What every reducer, and every guest of the tests, may depend on.
const REDUCER: Arrows = Arrows { from: "a reducer", to: &["althing-guest"], dev: &["althing-testkit"] };

/// Checks every package of the workspace.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let is_reducer =
        package.manifest.starts_with("reducers/") || package.manifest.starts_with("tests/guests/");
    let is_story = package.manifest.starts_with("tests/") && !is_reducer;
    if is_story || package.manifest.starts_with("examples/") {
        return Vec::new();
    }
    let row = ARROWS.iter().find(|row| row.from == package.name);
    let Some(row) = row.or(is_reducer.then_some(&REDUCER)) else {
        let what =
            format!("{} has no row in xtask/src/tidy/arrows.rs: say what it may depend on", package.name);
        return vec![Finding::new(&package.manifest, 1, what)];
    };
    let ours = package.dependencies.iter().filter(|dependency| dependency.is_ours);
    let wrong = ours.filter(|dependency| !is_allowed(row, package, dependency));
    wrong
        .map(|dependency| {
            let what = format!(
                "{} may not depend on {} (DESIGN §3: arrows point down only); move the code, or add the arrow with a decision record",
                package.name, dependency.name
            );
            Finding::new(&package.manifest, 1, what)
        })
        .collect()
}

fn is_allowed(row: &Arrows, package: &Package, dependency: &Dependency) -> bool {
    let name = dependency.name.as_str();
    let is_dev = dependency.is_dev && (row.dev.contains(&name) || name == package.name);
    row.to.contains(&name) || is_dev
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, manifest: &str, to: &str, is_dev: bool) -> Package {
        Package {
            name: name.to_owned(),
            manifest: manifest.to_owned(),
            dependencies: vec![Dependency { name: to.to_owned(), is_dev, is_ours: true }],
        }
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let up = package("althing-core", "host/crates/core/Cargo.toml", "althing-engine", false);
        assert_eq!(check(&[up]).len(), 1);
        let down = package("althing-engine", "host/crates/engine/Cargo.toml", "althing-core", false);
        assert!(check(&[down]).is_empty());
    }

    #[test]
    fn what_tests_may_use_the_crate_may_not() {
        let manifest = "reducers/counter/Cargo.toml";
        assert!(check(&[package("counter", manifest, "althing-testkit", true)]).is_empty());
        assert_eq!(check(&[package("counter", manifest, "althing-testkit", false)]).len(), 1);
    }

    #[test]
    fn a_package_without_a_row_is_found_and_a_story_needs_none() {
        assert_eq!(check(&[package("new", "host/crates/new/Cargo.toml", "althing-core", false)]).len(), 1);
        assert!(check(&[package("althing-tests", "tests/Cargo.toml", "althing-node", true)]).is_empty());
    }
}
