//! The real community's history and its independent checkpoints, as they lie in `examples/roster/data`.

use super::roster_model::Operation;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, path::Path};

/// After how many operations the roster is known.
pub(crate) const CHECKPOINTS: [usize; 4] = [1256, 2165, 3455, 4566];

/// What is replayed, and what must come of it.
pub(crate) struct Data {
    /// The lines, as they are submitted.
    pub(crate) lines: Vec<String>,
    /// The same, read.
    pub(crate) operations: Vec<Operation>,
    checkpoints: Value,
}

impl Data {
    /// Reads all of it.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let folder = root.join("examples/roster/data");
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let lines: Vec<String> = text("operations.jsonl")?.lines().map(str::to_owned).collect();
        let operations = lines.iter().map(|line| Operation::read(line)).collect::<Result<Vec<_>>>()?;
        let checkpoints = serde_json::from_str(&text("checkpoints.json")?).context("reading checkpoints")?;
        ensure!(lines.len() == CHECKPOINTS[3], "the data has {} operations", lines.len());
        Ok(Self { lines, operations, checkpoints })
    }

    /// The roster after `operations` operations, from the community's own files.
    pub(crate) fn checkpoint(&self, operations: usize) -> &Value {
        &self.checkpoints[operations.to_string()]
    }
}

/// What differs between the roster that is and the one that should be; nothing if they agree.
pub(crate) fn differences(is: &Value, should: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let is = is.as_object().unwrap_or(&empty);
    let should = should.as_object().unwrap_or(&empty);
    let missing = should.keys().filter(|team| !is.contains_key(*team)).map(|team| format!("no team {team}"));
    let wrong = is.iter().filter(|(team, value)| should.get(*team) != Some(value));
    let wrong = wrong.map(|(team, value)| match should.get(team) {
        Some(should) => format!("team {team} is {value}, should be {should}"),
        None => format!("team {team} should not be"),
    });
    let mut differences: Vec<String> = missing.chain(wrong).collect();
    if should.is_empty() {
        differences.push("there is no such checkpoint".to_owned());
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::{super::roster_model::Roster, *};
    use serde_json::json;

    #[test]
    fn the_model_reaches_every_checkpoint_of_the_data() {
        let data = Data::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).expect("the data is there");
        let mut roster = Roster::default();
        for (at, operation) in data.operations.iter().enumerate() {
            roster.apply(operation).unwrap_or_else(|rule| panic!("line {}: {rule:?}", at + 1));
            if CHECKPOINTS.contains(&(at + 1)) {
                assert_eq!(differences(&roster.to_json(), data.checkpoint(at + 1)), [""; 0]);
            }
        }
    }

    #[test]
    fn a_difference_of_any_kind_is_told() {
        let should = json!({"a": {"members": ["x"]}, "b": {}});
        assert!(differences(&should, &should).is_empty());
        let is = json!({"a": {"members": []}, "c": {}});
        assert_eq!(differences(&is, &should).len(), 3);
        assert_eq!(differences(&is, &Value::Null).len(), 3);
    }
}
