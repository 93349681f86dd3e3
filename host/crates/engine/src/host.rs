//! What guests may call: `state`, `before`, `events`, `timers`, `log`, over the operation's overlay.
//!
//! Fuel is charged before the work ([`crate::costs`]); a call that the overlay refuses becomes an
//! error that [`crate::verdict`] knows again. Nothing here answers with anything but the overlay's content.

use crate::{
    bindings::{log, state, types},
    costs,
    limiter::Limiter,
    log_sink::LogSink,
};
use althing_core::{
    overlay::{Overlay, Page},
    time::Timestamp,
};
use wasmtime::{
    AsContextMut, StoreContextMut,
    component::{Linker, LinkerInstance},
};

/// What a store holds for its guest.
pub(crate) struct Guest {
    /// Lent for the time of a call.
    pub(crate) overlay: Option<Overlay>,
    pub(crate) limiter: Limiter,
    pub(crate) log: LogSink,
}

/// The fuel of the run is used up in a host call.
#[derive(Debug, thiserror::Error)]
#[error("the fuel is used up")]
pub(crate) struct OutOfFuel;

/// A host call outside of any run: a defect of the engine.
#[derive(Debug, thiserror::Error)]
#[error("a guest called the host outside of a run")]
pub(crate) struct NoRun;

type Store<'a> = StoreContextMut<'a, Guest>;
type Answer<T> = wasmtime::Result<T>;

/// What reducers may import.
pub(crate) fn reducer_linker(engine: &wasmtime::Engine) -> Answer<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance("althing:reducer/types@0.1.0")?;
    link_state(&mut linker.instance("althing:reducer/state@0.1.0")?)?;
    link_events(&mut linker.instance("althing:reducer/events@0.1.0")?)?;
    link_timers(&mut linker.instance("althing:reducer/timers@0.1.0")?)?;
    link_log(&mut linker.instance("althing:reducer/log@0.1.0")?)?;
    Ok(linker)
}

/// What validators may import.
pub(crate) fn validator_linker(engine: &wasmtime::Engine) -> Answer<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance("althing:reducer/types@0.1.0")?;
    link_state(&mut linker.instance("althing:reducer/state@0.1.0")?)?;
    link_before(&mut linker.instance("althing:reducer/before@0.1.0")?)?;
    link_log(&mut linker.instance("althing:reducer/log@0.1.0")?)?;
    Ok(linker)
}

fn link_state(state: &mut LinkerInstance<'_, Guest>) -> Answer<()> {
    state.func_wrap("get", |mut store: Store<'_>, (key,): (Vec<u8>,)| {
        charge(&mut store, costs::LOOKUP, key.len())?;
        let value = overlay(&mut store)?.get(&key)?;
        lookup(&mut store, value)
    })?;
    state.func_wrap("set", |mut store: Store<'_>, (key, value): (Vec<u8>, Vec<u8>)| {
        charge(&mut store, costs::WRITE, key.len() + value.len())?;
        Ok(overlay(&mut store)?.set(&key, &value)?)
    })?;
    state.func_wrap("delete", |mut store: Store<'_>, (key,): (Vec<u8>,)| {
        charge(&mut store, costs::WRITE, key.len())?;
        Ok(overlay(&mut store)?.delete(&key)?)
    })?;
    state.func_wrap("scan", |mut store: Store<'_>, (start, end, limit): ScanRange| {
        charge(&mut store, costs::SCAN, start.len() + end.as_ref().map_or(0, Vec::len))?;
        let page = overlay(&mut store)?.scan(&start, end.as_deref(), limit)?;
        paged(&mut store, page)
    })
}

fn link_before(before: &mut LinkerInstance<'_, Guest>) -> Answer<()> {
    before.func_wrap("get", |mut store: Store<'_>, (key,): (Vec<u8>,)| {
        charge(&mut store, costs::LOOKUP, key.len())?;
        let value = overlay(&mut store)?.get_before(&key)?;
        lookup(&mut store, value)
    })?;
    before.func_wrap("scan", |mut store: Store<'_>, (start, end, limit): ScanRange| {
        charge(&mut store, costs::SCAN, start.len() + end.as_ref().map_or(0, Vec::len))?;
        let page = overlay(&mut store)?.scan_before(&start, end.as_deref(), limit)?;
        paged(&mut store, page)
    })
}

fn link_events(events: &mut LinkerInstance<'_, Guest>) -> Answer<()> {
    events.func_wrap("emit", |mut store: Store<'_>, (name, data): (String, Vec<u8>)| {
        charge(&mut store, costs::WRITE, name.len() + data.len())?;
        Ok(overlay(&mut store)?.emit(&name, &data)?)
    })
}

fn link_timers(timers: &mut LinkerInstance<'_, Guest>) -> Answer<()> {
    timers.func_wrap(
        "schedule",
        |mut store: Store<'_>, (id, at, payload): (Vec<u8>, types::Timestamp, Vec<u8>)| {
            charge(&mut store, costs::WRITE, id.len() + payload.len())?;
            let at = Timestamp::new(at.millis, at.counter);
            Ok(overlay(&mut store)?.schedule(&id, at, &payload)?)
        },
    )?;
    timers.func_wrap("cancel", |mut store: Store<'_>, (id,): (Vec<u8>,)| {
        charge(&mut store, costs::WRITE, id.len())?;
        Ok((overlay(&mut store)?.cancel(&id)?,))
    })
}

fn link_log(log: &mut LinkerInstance<'_, Guest>) -> Answer<()> {
    log.func_wrap("write", |mut store: Store<'_>, (level, message): (log::Level, String)| {
        charge(&mut store, 0, message.len())?;
        store.data_mut().log.write(level, &message);
        Ok(())
    })
}

type ScanRange = (Vec<u8>, Option<Vec<u8>>, u32);

/// Takes the fuel of a host call: the call, the work, the bytes that came with it.
fn charge(store: &mut Store<'_>, work: u64, bytes: usize) -> Answer<()> {
    let price = costs::HOST_CALL + work + costs::BYTE * bytes as u64;
    take(store, price)
}

fn take(store: &mut Store<'_>, price: u64) -> Answer<()> {
    let left = store.get_fuel()?;
    store.as_context_mut().set_fuel(left.saturating_sub(price))?;
    if left < price { Err(OutOfFuel.into()) } else { Ok(()) }
}

fn overlay<'a>(store: &'a mut Store<'_>) -> Answer<&'a mut Overlay> {
    store.data_mut().overlay.as_mut().ok_or_else(|| NoRun.into())
}

/// Takes the fuel of the answer, then copies it.
fn lookup(store: &mut Store<'_>, value: Option<bytes::Bytes>) -> Answer<(Option<Vec<u8>>,)> {
    take(store, costs::BYTE * value.as_ref().map_or(0, bytes::Bytes::len) as u64)?;
    Ok((value.map(Vec::from),))
}

fn paged(store: &mut Store<'_>, page: Page) -> Answer<(state::Page,)> {
    let bytes: usize = page.pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    take(store, costs::SCAN_PAIR * page.pairs.len() as u64 + costs::BYTE * bytes as u64)?;
    let pairs =
        page.pairs.into_iter().map(|(key, value)| state::Pair { key: key.into(), value: value.into() });
    Ok((state::Page { pairs: pairs.collect(), next: page.next.map(Vec::from) },))
}
