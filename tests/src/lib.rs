//! The harness of the cluster stories in `tests/`: it starts real `althing` processes, breaks them, and
//! looks at them from outside, through the public client and the command line.
//!
//! Nothing here knows the inside of a node. What goes wrong in the harness itself ends the test with
//! the last words of every node.

pub mod chaos;
pub mod cluster;
pub mod command;
mod compiled;
pub mod components;
pub mod damage;
pub mod disk;
pub mod follower;
pub mod linear;
pub mod load;
pub mod metrics;
pub mod network;
pub mod nth;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod readers;
pub mod replicas;
pub mod sim;
pub mod simulated;
pub mod skip;
pub mod soak;
pub mod surfaces;
pub mod wait;
