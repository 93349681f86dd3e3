//! `cargo xtask tidy`: the house rules, one file each. A rule says where, what, and what to do.
//!
//! A rule that nothing enforces is no rule (STYLE), so what DESIGN §3 draws is checked here. Rules
//! read text, not syntax trees: they are simple enough to be believed, and the exceptions are tables
//! with a reason in every row.

mod arrows;
mod code;
mod decisions;
mod documents;
mod hour;
mod links;
mod manifests;
mod owners;
mod paths;
mod root;
mod sizes;
mod source;
mod tree;

use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::fmt;
use tree::Tree;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the workspace's root.
    path: String,
    /// The line, from 1.
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The verb.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let tree = Tree::read(workspace.root())?;
    let packages = manifests::packages(&workspace);
    let mut findings = Vec::new();
    findings.extend(arrows::check(&packages));
    findings.extend(owners::check(&packages));
    findings.extend(manifests::check(&tree)?);
    for rule in RULES {
        findings.extend(rule(&tree));
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings in {} files", findings.len(), tree.files.len());
    }
    println!("   tidy: {} files, nothing to say", tree.files.len());
    Ok(())
}

/// The rules that need nothing but the files.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    decisions::check,
    documents::check,
    hour::check,
    links::check,
    paths::check,
    root::check,
    sizes::check,
    source::check,
];
