//! Both stores pass the suites of the port, whatever way they end.

mod subjects;

use althing_store::{
    conformance::{archive_suite, wal_suite},
    memory::MemoryStore,
};
use subjects::{Disk, End, Memory, PATIENCE};
use tokio::time::timeout;

#[tokio::test]
async fn the_log_in_memory_keeps_the_promises_of_the_port() {
    timeout(PATIENCE, wal_suite(async || Memory(MemoryStore::new()))).await.unwrap();
    timeout(PATIENCE, wal_suite(async || Memory(MemoryStore::with_crash_semantics()))).await.unwrap();
}

#[tokio::test]
async fn the_archive_in_memory_keeps_the_promises_of_the_port() {
    timeout(PATIENCE, archive_suite(async || Memory(MemoryStore::new()))).await.unwrap();
    timeout(PATIENCE, archive_suite(async || Memory(MemoryStore::with_crash_semantics()))).await.unwrap();
}

#[tokio::test]
async fn the_log_on_disk_keeps_the_promises_of_the_port() {
    for end in [End::Closed, End::Killed] {
        // With everything cached, some, and nothing.
        for cache in [64 << 20, 600, 0] {
            timeout(PATIENCE, wal_suite(|| Disk::new(end, cache))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_archive_on_disk_keeps_the_promises_of_the_port() {
    for end in [End::Closed, End::Killed] {
        timeout(PATIENCE, archive_suite(|| Disk::new(end, 0))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_pass_with_several_threads_too() {
    timeout(PATIENCE, wal_suite(|| Disk::new(End::Closed, 600))).await.unwrap();
    timeout(PATIENCE, archive_suite(|| Disk::new(End::Closed, 0))).await.unwrap();
}
