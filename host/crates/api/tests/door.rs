//! A node of one voter, in memory, behind a real door: what clients see over real gRPC and HTTP.

#[path = "door/house.rs"]
mod house;

#[path = "door/communities.rs"]
mod communities;
#[path = "door/ending.rs"]
mod ending;
#[path = "door/foreign.rs"]
mod foreign;
#[path = "door/imports.rs"]
mod imports;
#[path = "door/uploads.rs"]
mod uploads;
