//! What a command has at hand: a client, an actor, a way to print.

use crate::{arguments::Global, output};
use althing_client::{Actor, Client, ConnectError, Options};
use serde::Serialize;
use std::{fmt, io};

/// What a command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    /// A client of the nodes that were named.
    pub(crate) async fn client(&self) -> Result<Client, ConnectError> {
        self.client_of(self.global.server.clone()).await
    }

    /// A client of other nodes.
    pub(crate) async fn client_of(&self, addresses: Vec<String>) -> Result<Client, ConnectError> {
        let options = Options { patience: self.global.patience, ..Options::default() };
        Client::connect_with(addresses, options).await
    }

    /// Who asks.
    pub(crate) fn actor(&self) -> Actor {
        Actor { id: self.global.actor.clone(), roles: self.global.roles.clone() }
    }

    /// Prints an answer.
    pub(crate) fn print(&self, shown: &(impl Serialize + fmt::Display)) -> io::Result<()> {
        output::print(self.global.output, shown)
    }
}
