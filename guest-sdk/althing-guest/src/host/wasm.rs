//! The host of a component: its imports.

use super::Page;
use crate::{
    component::{
        reducing::althing::reducer::{events, log as logs, state, timers, types},
        validating::althing::reducer::before,
    },
    context::Timestamp,
    log::Level,
};

pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
    state::get(key)
}

pub(crate) fn set(key: &[u8], value: &[u8]) {
    state::set(key, value);
}

pub(crate) fn delete(key: &[u8]) {
    state::delete(key);
}

pub(crate) fn scan(start: &[u8], end: &[u8], limit: u32) -> Page {
    page(state::scan(start, Some(end), limit))
}

pub(crate) fn get_before(key: &[u8]) -> Option<Vec<u8>> {
    before::get(key)
}

pub(crate) fn scan_before(start: &[u8], end: &[u8], limit: u32) -> Page {
    page(before::scan(start, Some(end), limit))
}

pub(crate) fn emit(name: &str, data: &[u8]) {
    events::emit(name, data);
}

pub(crate) fn schedule(id: &[u8], at: Timestamp, payload: &[u8]) {
    timers::schedule(id, types::Timestamp { millis: at.millis, counter: at.counter }, payload);
}

pub(crate) fn cancel(id: &[u8]) -> bool {
    timers::cancel(id)
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => logs::Level::Debug,
        Level::Info => logs::Level::Info,
        Level::Warn => logs::Level::Warn,
        Level::Error => logs::Level::Error,
    };
    logs::write(level, message);
}

fn page(page: state::Page) -> Page {
    Page { pairs: page.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect(), next: page.next }
}
