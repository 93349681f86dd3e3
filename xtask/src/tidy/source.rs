//! Words that may not stand in code, and where they may all the same, with the reason.

use super::{
    Finding,
    tree::{File, Tree},
};

/// Where a word is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Everywhere.
    Everywhere,
    /// In code that is no test.
    Programs,
    /// In tests.
    Tests,
    /// In the node and in consensus: what runs in the simulation too.
    Simulated,
}

/// A word that may not stand somewhere.
struct Word {
    text: &'static str,
    scope: Scope,
    instead: &'static str,
    /// Files (or, with a `/` at the end, directories), each with the reason.
    except: &'static [(&'static str, &'static str)],
}

const TESTS_WAIT: &str = "wait on a condition: a test that sleeps is slow, or wrong, or both";
const THROUGH_RUNTIME: &str =
    "go through consensus::runtime::Runtime: the simulation must own tasks, time and chance";

/// The production side of the port itself.
const RUNTIME: &[(&str, &str)] = &[
    ("host/crates/consensus/src/runtime.rs", "the port"),
    ("host/crates/consensus/src/runtime/", "the port's implementations"),
];

/// Macros write into the author's crate, where other compilers and lints may hold.
const MACROS: &[(&str, &str)] =
    &[("guest-sdk/macros/src/", "generated code must not depend on the author's lints")];

/// The one place where waiting on a condition is made of short sleeps.
const WAITING: &[(&str, &str)] = &[("tests/src/wait.rs", "waits on conditions, with a deadline")];

const WORDS: &[Word] = &[
    Word {
        text: ".unwrap()",
        scope: Scope::Programs,
        instead: "use expect(\"why this cannot fail\") or an error",
        except: &[],
    },
    Word {
        text: "#[allow(",
        scope: Scope::Everywhere,
        instead: "use #[expect(…, reason = \"…\")]",
        except: MACROS,
    },
    Word {
        text: "#![allow(",
        scope: Scope::Everywhere,
        instead: "use #[expect(…, reason = \"…\")]",
        except: &[],
    },
    Word {
        text: "todo!(",
        scope: Scope::Everywhere,
        instead: "write it, or write it down as an issue",
        except: &[],
    },
    Word {
        text: "unimplemented!(",
        scope: Scope::Everywhere,
        instead: "write it, or leave it out",
        except: &[],
    },
    Word { text: "dbg!(", scope: Scope::Everywhere, instead: "use tracing, or nothing", except: &[] },
    Word { text: "thread::sleep", scope: Scope::Tests, instead: TESTS_WAIT, except: WAITING },
    Word { text: "time::sleep", scope: Scope::Tests, instead: TESTS_WAIT, except: WAITING },
    Word { text: "tokio::spawn", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "tokio::time", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "task::spawn(", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "thread::sleep", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "SystemTime::now", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "Instant::now", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
    Word { text: "rand::", scope: Scope::Simulated, instead: THROUGH_RUNTIME, except: RUNTIME },
];

/// Checks every Rust file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|file| WORDS.iter().flat_map(move |word| check_word(file, word))).collect()
}

fn check_word(file: &File, word: &Word) -> Vec<Finding> {
    if word.except.iter().any(|(place, _reason)| is_at(&file.path, place)) {
        return Vec::new();
    }
    let lines = file.code.lines().enumerate();
    let found = lines.filter(|(at, line)| is_in(file, *at, word.scope) && stands_in(line, word.text));
    found
        .map(|(at, _)| Finding::new(&file.path, at + 1, format!("`{}`: {}", word.text, word.instead)))
        .collect()
}

fn is_at(path: &str, place: &str) -> bool {
    if place.ends_with('/') { path.starts_with(place) } else { path == place }
}

fn is_in(file: &File, line: usize, scope: Scope) -> bool {
    match scope {
        Scope::Everywhere => true,
        Scope::Programs => !file.is_test(line),
        Scope::Tests => file.is_test(line),
        Scope::Simulated => {
            let is_there = ["host/crates/node/src/", "host/crates/consensus/src/"];
            is_there.iter().any(|place| file.path.starts_with(place)) && !file.is_test(line)
        }
    }
}

/// Whether the word stands in the line, not as the end of a longer one.
fn stands_in(line: &str, word: &str) -> bool {
    let is_name = word.starts_with(|c: char| c.is_alphabetic());
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !is_name || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_unwrap_is_found_in_programs_and_not_in_tests_comments_or_texts() {
        let text = "//! .unwrap()\nfn a() {\n    b().unwrap();\n    c(\".unwrap()\");\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn d() {\n        e().unwrap();\n    }\n}\n";
        assert_eq!(found("host/src/a.rs", text), [3]);
        assert_eq!(found("tests/a.rs", text), [0_usize; 0]);
    }

    #[test]
    fn unfinished_work_and_silenced_lints_are_found_everywhere() {
        for word in ["todo!()", "unimplemented!()", "dbg!(a)", "#[allow(unused)]", "#![allow(unused)]"] {
            assert_eq!(found("tests/a.rs", &format!("//! a\n{word}\n")), [2], "{word}");
        }
    }

    #[test]
    fn a_sleeping_test_is_found_and_a_sleeping_program_is_not() {
        let text = "//! a\nstd::thread::sleep(b);\ntokio::time::sleep(c).await;\n";
        assert_eq!(found("tests/stories/a.rs", text), [2, 3]);
        assert!(found("host/crates/cli/src/a.rs", text).is_empty());
    }

    #[test]
    fn what_the_simulation_must_own_is_found_in_node_and_consensus_alone() {
        let words = [
            "tokio::spawn(a)",
            "tokio::time::timeout(a)",
            "SystemTime::now()",
            "Instant::now()",
            "rand::random()",
        ];
        for word in words {
            let text = format!("//! a\n{word}\n");
            assert_eq!(found("host/crates/node/src/a.rs", &text), [2], "{word}");
            assert!(found("host/crates/consensus/src/runtime/tokio.rs", &text).is_empty(), "{word}");
            assert!(found("host/crates/api/src/a.rs", &text).is_empty(), "{word}");
        }
        assert!(found("host/crates/node/src/a.rs", "//! a\noperand::b()\n").is_empty());
    }
}
