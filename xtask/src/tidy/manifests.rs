//! What the manifests say: who depends on whom, and that versions stand in the root alone.

use super::{Finding, tree::Tree};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use cargo_metadata::DependencyKind;

/// A package of the workspace.
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its manifest, from the root.
    pub(crate) manifest: String,
    /// What it depends on.
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a package depends on.
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) name: String,
    /// Whether only its tests, benches and examples do.
    pub(crate) is_dev: bool,
    /// Whether it is a package of this workspace.
    pub(crate) is_ours: bool,
}

/// The packages of the workspace.
pub(crate) fn packages(workspace: &Workspace) -> Vec<Package> {
    let root = workspace.metadata().workspace_root.clone();
    let packages = workspace.metadata().packages.iter().map(|package| Package {
        name: package.name.to_string(),
        manifest: package
            .manifest_path
            .strip_prefix(&root)
            .map_or_else(|_| package.manifest_path.to_string(), ToString::to_string),
        dependencies: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                is_dev: dependency.kind == DependencyKind::Development,
                is_ours: dependency.path.is_some(),
            })
            .collect(),
    });
    packages.collect()
}

/// Every dependency of a member is `workspace = true`: one table of versions.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.path == "Cargo.toml" || !file.path.ends_with("/Cargo.toml") {
            continue;
        }
        let manifest: toml::Table =
            toml::from_str(&file.text).with_context(|| format!("reading {}", file.path))?;
        // A manifest of a workspace of its own (what `althing new` makes) cannot ask ours.
        if manifest.contains_key("workspace") {
            continue;
        }
        for (name, line) in with_own_version(&manifest, &file.text) {
            findings.push(Finding::new(
                &file.path,
                line,
                format!("{name} has a version of its own: put it into [workspace.dependencies] of the root and write `{name}.workspace = true`"),
            ));
        }
    }
    Ok(findings)
}

fn with_own_version(manifest: &toml::Table, text: &str) -> Vec<(String, usize)> {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let dependencies = tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flatten();
    dependencies
        .filter(|(_, value)| value.get("workspace").and_then(toml::Value::as_bool) != Some(true))
        .map(|(name, _)| {
            let line = text.lines().position(|line| line.trim_start().starts_with(name.as_str()));
            (name.clone(), line.map_or(1, |at| at + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_a_member_is_found() {
        let text = "[dependencies]\nbytes = \"1\"\nserde.workspace = true\n[dev-dependencies]\nx = { path = \"../x\" }\n";
        let findings = check(&Tree::of(&[("a/Cargo.toml", text)])).expect("it is TOML");
        let found: Vec<_> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, [2, 5]);
    }

    #[test]
    fn a_workspace_of_its_own_may_name_versions() {
        let text = "[workspace]\n[dependencies]\nbytes = \"1\"\n";
        assert!(check(&Tree::of(&[("a/Cargo.toml", text)])).expect("it is TOML").is_empty());
    }
}
