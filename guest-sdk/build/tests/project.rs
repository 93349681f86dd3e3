//! What `althing new` makes builds on its own and passes its tests, the one in the engine included.

use althing_build::{Sdk, new_project};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn a_new_project_passes_its_tests() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let project = new_project(folder.path(), "first-try", &Sdk::Checkout(checkout.clone())).unwrap();
    // The workspace's versions, profile and target folder, so that what it has compiled is used; but for
    // the component, which a project on its own compiles on its own.
    fs::copy(checkout.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--config", r#"profile.dev.debug="line-tables-only""#])
        .args(["--config", r#"profile.dev.package."*".debug=false"#, "--target-dir"])
        .arg(target_dir)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(&project)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("the_component_does_what_the_program_does ... ok"), "{said}");
    assert!(!errors.contains("warning"), "a new project has no warnings: {errors}");
}
