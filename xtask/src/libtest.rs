//! Reads what `cargo test` prints, line by line, and adds it up over all test binaries.
//!
//! The counts come from each binary's closing line, the reasons for skipping from the lines of the
//! tests; a test that finds only when it runs that the machine lacks something says `skipped: what it
//! is: why` on a line of its own. A binary that begins to run tests and ends without its closing line has crashed: one
//! failure. A binary without libtest's harness is one test, and cargo says when it has failed.

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that were not run.
    pub(crate) skipped: u64,
    /// One line for each failure.
    pub(crate) failures: Vec<String>,
    /// One line for each skipped test: where, which, why.
    pub(crate) reasons: Vec<String>,
    binary: Option<Binary>,
}

/// A test binary under way.
#[derive(Debug)]
struct Binary {
    name: String,
    /// Tests that said that they were skipped, though libtest counts them as passed.
    skipped: u64,
    has_begun: bool,
    has_failed: bool,
}

impl Tally {
    /// Reads one line of `cargo test`, standard output and standard error together.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        let words = line.trim_start();
        if let Some(binary) = words.strip_prefix("Running ").or_else(|| words.strip_prefix("Doc-tests ")) {
            self.begin(binary);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.close(counts);
        } else if let Some(binary) = &mut self.binary {
            binary.has_begun |= line.starts_with("running ");
            binary.has_failed |= line.starts_with("error: test failed");
            if let Some(reason) = line.strip_prefix("skipped: ") {
                binary.skipped += 1;
                self.reasons.push(format!("{}: {reason}", binary.name));
            }
        }
        if let Some(test) = line.strip_prefix("test ") {
            self.test(test);
        }
    }

    /// Reads the end: `is_success` is cargo's own verdict.
    pub(crate) fn end(&mut self, is_success: bool) {
        self.abandon();
        if !is_success && self.failed == 0 {
            self.fail("cargo test ended with an error, see above".to_owned());
        }
    }

    /// Counts a failure that is not a test's.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// The closing line.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }

    fn begin(&mut self, binary: &str) {
        self.abandon();
        let name = binary.split(" (").next().unwrap_or(binary).to_owned();
        self.binary = Some(Binary { name, skipped: 0, has_begun: false, has_failed: false });
    }

    /// A binary has ended without a closing line.
    fn abandon(&mut self) {
        match self.binary.take() {
            Some(Binary { has_begun: false, has_failed: false, .. }) => self.passed += 1,
            Some(Binary { name, .. }) => self.fail(format!("{name}: ended without a result")),
            None => {}
        }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
    fn close(&mut self, counts: &str) {
        for part in counts.split(['.', ';']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.skipped += number.parse().unwrap_or(0),
                _ => {}
            }
        }
        if let Some(binary) = self.binary.take() {
            self.skipped += binary.skipped;
            self.passed = self.passed.saturating_sub(binary.skipped);
        }
    }

    /// `name ... ok`, `name ... FAILED`, `name ... ignored, reason`
    fn test(&mut self, test: &str) {
        let Some((name, verdict)) = test.split_once(" ... ") else { return };
        let binary = self.binary.as_ref().map_or("?", |binary| &binary.name);
        if verdict == "FAILED" {
            self.failures.push(format!("{binary}: {name}"));
        } else if let Some(reason) = verdict.strip_prefix("ignored") {
            let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
            self.reasons.push(format!("{binary}: {name}: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn tally(text: &str, is_success: bool) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally.end(is_success);
        tally
    }

    const TWO_BINARIES: &str = "\
     Running unittests src/lib.rs (target/debug/deps/althing_core-1)
running 3 tests
test digest::chain ... ok
test slow ... ignored, needs a quiet machine
test digest::other ... FAILED
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests althing_core
running 1 test
test host/src/lib.rs - example (line 3) ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn counts_are_summed_over_all_binaries() {
        let tally = tally(TWO_BINARIES, false);
        assert_eq!(tally.summary(), "2 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn skipped_and_failed_tests_are_named_with_binary_and_reason() {
        let tally = tally(TWO_BINARIES, false);
        assert_eq!(tally.reasons, ["unittests src/lib.rs: slow: needs a quiet machine"]);
        assert_eq!(tally.failures, ["unittests src/lib.rs: digest::other"]);
    }

    #[test]
    fn a_binary_that_ends_without_a_result_is_a_failure() {
        let crashed = "     Running tests/a.rs (t/a)\nrunning 1 test\n     Running tests/b.rs (t/b)\n\
                       test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let tally = tally(crashed, false);
        assert_eq!(tally.summary(), "4 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failures, ["tests/a.rs: ended without a result"]);
    }

    #[test]
    fn a_binary_without_a_harness_is_one_test() {
        let good = tally("     Running tests/a.rs (t/a)\nall well\n     Running tests/b.rs (t/b)\n", true);
        assert_eq!(good.summary(), "2 passed, 0 failed, 0 skipped");
        let bad =
            tally("     Running tests/a.rs (t/a)\nalas\nerror: test failed, to rerun pass `--test a`", false);
        assert_eq!(bad.summary(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn an_error_of_cargo_is_never_green() {
        assert_eq!(tally("error: could not compile", false).failed, 1);
        assert_eq!(tally("", true).failed, 0);
    }

    #[test]
    fn a_test_that_skips_itself_is_counted_as_skipped() {
        let text = "\
     Running tests/power.rs (target/debug/deps/power-1)
running 2 tests
skipped: power is cut: only root can mount
test power ... ok
test other ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let tally = tally(text, true);
        assert_eq!(tally.summary(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(tally.reasons, ["tests/power.rs: power is cut: only root can mount"]);
    }
}
