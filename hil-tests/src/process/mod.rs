//! The real programs, as an operator runs them: started with flags and files, watched by their output, killed
//! with signal 9 or stopped with SIGTERM, always gone when dropped.

mod broker;
mod child;
mod cloud;
mod edge;
mod role;
mod scene;

pub use broker::Broker;
pub use child::{Child, Output, program, run};
pub use cloud::{Cloud, Ports};
pub use edge::{Buffer, Edge, Source, Tuning};
pub use role::{Doors, Role};
pub use scene::{Scene, eventually};
