//! The types of `wit/`, generated. Calls and host functions are our own ([`crate::run`],
//! [`crate::host`]): they charge fuel, and look up only the export that is called.

/// World `migrating-reducer`, which includes `reducer`.
mod reducer {
    wasmtime::component::bindgen!({ path: "../../../wit", world: "migrating-reducer" });
}

/// World `validator`.
mod validator {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        world: "validator",
        with: {
            "althing:reducer/types@0.1.0": super::reducer::althing::reducer::types,
            "althing:reducer/state@0.1.0": super::reducer::althing::reducer::state,
            "althing:reducer/log@0.1.0": super::reducer::althing::reducer::log,
        },
    });
}

pub(crate) use reducer::{
    althing::reducer::{log, state, types},
    exports::althing::reducer::reduction,
};
pub(crate) use validator::exports::althing::reducer::validation;
