//! What happens in the demo, step by step, and what is compared at each.

use super::{
    account::{number, rate, tell},
    althing::Althing,
    cluster::Cluster,
    data::{self, Data},
    follower::Follower,
    mutations::{self, Invalid},
    roster_model::Roster,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const COMMUNITY: &str = "roster";
/// How long anything may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(20);
/// What a rejection is called that no rule of the roster makes.
const MALFORMED: &str = "invalid-operation";
/// How many invalid operations there must be.
const INVALID_MIN: usize = 500;

/// The demo under way.
pub(crate) struct Story {
    // First, so that it ends before the nodes do.
    follower: Follower,
    cluster: Cluster,
    althing: Althing,
    folder: PathBuf,
    data: Data,
    /// The last sequence, and how many operations clients have been answered.
    sequence: u64,
    operations: u64,
}

impl Story {
    /// Three nodes, a community, its program, a subscriber.
    pub(crate) fn begin(althing: Althing, folder: &Path, component: &Path, data: Data) -> Result<Self> {
        let began = Instant::now();
        let cluster = Cluster::start(althing.clone(), folder, 3)?;
        tell("started", &format!("nodes 1, 2 and 3, each a process, {:.1} s", began.elapsed().as_secs_f64()));
        let began = Instant::now();
        let servers = cluster.servers();
        let created = althing.ask(&servers, &["community", "create", COMMUNITY])?;
        let voters = created["replicas"].as_array().map_or(0, Vec::len);
        ensure!(voters == 3, "the community has {voters} replicas, not 3: {created}");
        let path = component.to_string_lossy();
        let installed = althing.ask(&servers, &["program", "install", COMMUNITY, &path])?;
        ensure!(installed["outcome"] == "accepted", "the program was not installed: {installed}");
        tell(
            "created",
            &format!(
                "community `{COMMUNITY}` with {voters} voters, program of {} bytes, {:.1} s",
                number(fs::metadata(component).context("looking at the component")?.len() as usize),
                began.elapsed().as_secs_f64()
            ),
        );
        let watch = ["watch", COMMUNITY, "--from", "1"];
        let follower = Follower::follow(althing.start("subscriber", &servers, &watch)?)?;
        Ok(Self {
            follower,
            cluster,
            althing,
            folder: folder.to_path_buf(),
            data,
            sequence: 0,
            operations: 0,
        })
    }

    /// Submits the operations after `from` up to `to`; all of them must be accepted.
    pub(crate) fn replay(&mut self, from: usize, to: usize) -> Result<()> {
        let file = self.folder.join(format!("operations-{to}.jsonl"));
        fs::write(&file, self.data.lines[from..to].join("\n")).context("writing operations")?;
        let receipts = self.submit(&file)?;
        self.take_accepted(&receipts, from, to)
    }

    /// The same, while the node that leads dies half-way; which it was.
    pub(crate) fn replay_and_kill_the_leader(&mut self, from: usize, to: usize) -> Result<u64> {
        let half = self.data.lines.len() / 2;
        // What is on its way when the leader dies: more than one batch.
        let sent_before = half + (to - half) / 2;
        let leader = self.leader()?;
        let receipts_file = self.folder.join("receipts-kill.jsonl");
        let receipts_path = receipts_file.to_string_lossy().into_owned();
        let arguments = ["submit", COMMUNITY, "-", "--quiet", "--receipts", &receipts_path];
        let (submission, mut input) =
            self.althing.start_with_input("submission", &self.cluster.servers(), &arguments)?;
        let began = Instant::now();
        let mut send = |lines: &[String]| {
            lines.iter().try_for_each(|line| writeln!(input, "{line}")).context("handing operations over")
        };
        send(&self.data.lines[from..sent_before])?;
        self.follower.wait_for_operations(half as u64, PATIENCE)?;
        let process = self.cluster.kill(leader)?;
        let killed = Instant::now();
        let seen = self.follower.seen().operations;
        tell(
            "killed",
            &format!(
                "node {leader}, the leader (SIGKILL to process {process}), the subscriber being at operation {}",
                number(seen as usize)
            ),
        );
        send(&self.data.lines[sent_before..to])?;
        drop(input);
        self.follower.wait_for_operations(to as u64, PATIENCE)?;
        let new_leader = self.leader()?;
        ensure!(new_leader != leader, "node {leader} was killed and still leads");
        tell(
            "went on",
            &format!(
                "node {new_leader} leads; all of it done {:.1} s after the kill",
                killed.elapsed().as_secs_f64()
            ),
        );
        submission.finish()?;
        let receipts = Receipts { values: read_receipts(&receipts_file)?, took: began.elapsed() };
        self.take_accepted(&receipts, from, to)?;
        Ok(leader)
    }

    /// Brings a killed node back, on its data.
    pub(crate) fn restart(&mut self, id: u64) -> Result<()> {
        let began = Instant::now();
        self.cluster.restart(id)?;
        let serves = began.elapsed();
        self.wait_for_digests(&self.cluster.ids())?;
        tell(
            "restarted",
            &format!(
                "node {id}: serves after {:.1} s, has caught up after {:.1} s",
                serves.as_secs_f64(),
                began.elapsed().as_secs_f64()
            ),
        );
        Ok(())
    }

    /// Compares the roster with the community's own files, and every running replica's digest.
    pub(crate) fn compare(&mut self, operations: usize) -> Result<()> {
        let question = r#"{"query":"everything","limit":1000}"#;
        let answer = self.althing.ask(&self.cluster.servers(), &["query", COMMUNITY, question])?;
        let page = &answer["result"];
        ensure!(page["next"].is_null(), "the roster does not fit one page: {}", page["next"]);
        let differences = data::differences(&page["teams"], self.data.checkpoint(operations));
        if let Some(first) = differences.first() {
            bail!("after operation {operations} {} teams differ; the first: {first}", differences.len());
        }
        let running = self.cluster.running();
        let digest = self.wait_for_digests(&running)?;
        let teams = page["teams"].as_object().map_or(0, serde_json::Map::len);
        tell(
            "agrees",
            &format!(
                "after {} operations: {teams} teams as in the project's own files; \
                 digest {}… at sequence {} on {} nodes and for the subscriber",
                number(operations),
                &digest[..12],
                self.sequence,
                running.len()
            ),
        );
        Ok(())
    }

    /// Submits operations that break a rule each: every one is rejected by its name, and the state
    /// stays as it is.
    pub(crate) fn submit_what_is_invalid(&mut self) -> Result<()> {
        let mut roster = Roster::default();
        for operation in &self.data.operations {
            roster
                .apply(operation)
                .map_err(|rule| anyhow::anyhow!("the model refuses {operation}: {rule:?}"))?;
        }
        let invalid = mutations::make(&roster, &self.data.operations);
        ensure!(invalid.len() >= INVALID_MIN, "only {} invalid operations", invalid.len());
        let before = self.pairs()?;
        let lines: Vec<String> = invalid.iter().map(|invalid| invalid.payload.to_string()).collect();
        let file = self.folder.join("invalid.jsonl");
        fs::write(&file, lines.join("\n")).context("writing operations")?;
        let receipts = self.submit(&file)?;
        let by_code = judge(&invalid, &receipts.values)?;
        self.advance(&receipts.values)?;
        ensure!(self.pairs()? == before, "rejected operations changed the state");
        self.wait_for_digests(&self.cluster.ids())?;
        let codes: Vec<String> = by_code.iter().map(|(code, count)| format!("{code} {count}")).collect();
        tell(
            "rejected",
            &format!(
                "{} of {} invalid operations (seed {}), each by the rule it breaks: {}; not one of {} keys changed",
                number(receipts.values.len()),
                number(invalid.len()),
                mutations::SEED,
                codes.join(", "),
                number(before.as_array().map_or(0, Vec::len)),
            ),
        );
        Ok(())
    }

    /// What the subscriber has to say.
    pub(crate) fn end(self) -> Result<()> {
        let seen = self.follower.seen();
        ensure!(
            seen.operations == self.operations && seen.sequence == self.sequence,
            "the subscriber saw {} operations up to sequence {}, there were {} up to {}",
            seen.operations,
            seen.sequence,
            self.operations,
            self.sequence
        );
        let how = format!(
            "every sequence from 1 to {} once and in order, {} operations among them, across the kill",
            number(seen.sequence as usize),
            number(seen.operations as usize)
        );
        drop(seen);
        tell("subscriber", &how);
        Ok(())
    }

    fn submit(&self, file: &Path) -> Result<Receipts> {
        let receipts = file.with_extension("receipts");
        let (path, receipts_path) = (file.to_string_lossy(), receipts.to_string_lossy());
        let began = Instant::now();
        let arguments = ["submit", COMMUNITY, "--file", &path, "--quiet", "--receipts", &receipts_path];
        self.althing.run(&self.cluster.servers(), &arguments)?;
        let took = began.elapsed();
        Ok(Receipts { values: read_receipts(&receipts)?, took })
    }

    /// Every operation was accepted, once, in order.
    fn take_accepted(&mut self, receipts: &Receipts, from: usize, to: usize) -> Result<()> {
        let values = &receipts.values;
        ensure!(values.len() == to - from, "{} answers to {} operations", values.len(), to - from);
        for (at, receipt) in values.iter().enumerate() {
            ensure!(receipt["outcome"] == "accepted", "operation {}: {receipt}", from + at + 1);
        }
        self.advance(values)?;
        let repeated = values.iter().filter(|receipt| receipt["repeated"] == true).count();
        let retries = match repeated {
            0 => String::new(),
            some => format!("; {some} answered at a retry with their first answer"),
        };
        let how = format!(
            "operations {} to {}: all accepted, {}{retries}",
            number(from + 1),
            number(to),
            rate(values.len(), receipts.took)
        );
        tell("replayed", &how);
        Ok(())
    }

    /// Sequences ascend, and each digest that a client was told is the one that the subscriber saw.
    fn advance(&mut self, receipts: &[Value]) -> Result<()> {
        for receipt in receipts {
            let sequence = receipt["sequence"].as_u64().with_context(|| format!("no sequence: {receipt}"))?;
            ensure!(sequence > self.sequence, "sequence {sequence} after {}: {receipt}", self.sequence);
            self.sequence = sequence;
            self.operations += 1;
        }
        self.follower.wait_for_sequence(self.sequence, PATIENCE)?;
        let seen = self.follower.seen();
        for receipt in receipts {
            let told = receipt["digest"].as_str().unwrap_or_default();
            let sequence = receipt["sequence"].as_u64().unwrap_or_default();
            let saw = seen.digests.get(&sequence).map_or("", String::as_str);
            ensure!(told == saw, "at {sequence} the client was told digest {told}, the subscriber {saw}");
        }
        Ok(())
    }

    /// Waits until these nodes' replicas are at the last sequence, and compares their digests with each
    /// other and with the subscriber's.
    fn wait_for_digests(&self, nodes: &[u64]) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let wanted = self.follower.seen().digests.get(&self.sequence).cloned().unwrap_or_default();
        for &node in nodes {
            loop {
                let replica = self.replica(node)?;
                let sequence = replica["sequence"].as_u64().unwrap_or_default();
                ensure!(sequence <= self.sequence, "node {node} is at {sequence}, beyond {}", self.sequence);
                if sequence == self.sequence {
                    let digest = replica["digest"].as_str().unwrap_or_default();
                    ensure!(digest == wanted, "node {node} has digest {digest} at {sequence}, not {wanted}");
                    break;
                }
                ensure!(Instant::now() < deadline, "node {node} stays at {sequence}: {replica}");
                std::thread::sleep(PAUSE);
            }
        }
        Ok(wanted)
    }

    /// What a node says of its own replica; nothing while it is getting up.
    fn replica(&self, node: u64) -> Result<Value> {
        let server = [self.cluster.server(node)?];
        let mut shown = self.althing.ask(&server, &["community", "show", COMMUNITY])?;
        if let Some(fault) = shown["replica"]["fault"].as_str() {
            bail!("node {node} has stopped the community: {fault}");
        }
        Ok(shown["replica"].take())
    }

    /// The node whose replica says that it leads.
    fn leader(&self) -> Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for node in self.cluster.running() {
                if self.replica(node)?["role"] == "leader" {
                    return Ok(node);
                }
            }
            std::thread::sleep(PAUSE);
        }
        bail!("nobody leads after {PATIENCE:?}")
    }

    /// Every key and value of the program's state.
    fn pairs(&self) -> Result<Value> {
        let mut state = self.althing.ask(&self.cluster.servers(), &["state", COMMUNITY])?;
        ensure!(state["more"] == false, "the state was not read to its end");
        Ok(state["pairs"].take())
    }
}

/// What clients were told.
struct Receipts {
    values: Vec<Value>,
    took: Duration,
}

fn read_receipts(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.lines().map(|line| serde_json::from_str(line).context("a receipt is no JSON")).collect()
}

/// Every operation was rejected with the code of the rule it breaks; how many of each.
fn judge(invalid: &[Invalid], receipts: &[Value]) -> Result<BTreeMap<&'static str, usize>> {
    ensure!(invalid.len() == receipts.len(), "{} answers to {}", receipts.len(), invalid.len());
    let mut by_code = BTreeMap::new();
    for (Invalid { payload, rule }, receipt) in invalid.iter().zip(receipts) {
        let code = rule.map_or(MALFORMED, super::roster_model::Rule::code);
        let is_right = receipt["outcome"] == "rejected" && receipt["code"] == code;
        ensure!(is_right, "{payload} should be rejected as {code}, but: {receipt}");
        *by_code.entry(code).or_default() += 1;
    }
    Ok(by_code)
}

#[cfg(test)]
mod tests {
    use super::{super::roster_model::Rule, *};
    use serde_json::json;

    fn invalid(rule: Option<Rule>) -> [Invalid; 1] {
        [Invalid { payload: json!({}), rule }]
    }

    #[test]
    fn an_invalid_operation_that_is_accepted_or_rejected_by_another_name_is_a_difference() {
        let rejected = |code: &str| [json!({"outcome": "rejected", "code": code})];
        assert!(judge(&invalid(Some(Rule::NotALead)), &rejected("not-a-lead")).is_ok());
        assert!(judge(&invalid(None), &rejected("invalid-operation")).is_ok());
        assert!(judge(&invalid(Some(Rule::NotALead)), &rejected("not-a-member")).is_err());
        assert!(judge(&invalid(None), &[json!({"outcome": "accepted"})]).is_err());
        assert!(judge(&invalid(None), &[]).is_err());
    }
}
